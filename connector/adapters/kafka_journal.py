"""``ports.Journal``: the lanes' journals, one topic per input topic with the same partitions."""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from connector.adapters.kafka_client import journal_topic
from connector.adapters.kafka_producer import KafkaProducer
from connector.adapters.kafka_reader import ReadingPool, entry_of
from connector.errors import LaneLost
from connector.ports import Entry, LaneId


class KafkaJournal:
    """Rows go out through the process's one producer and are read back through the pool."""

    def __init__(self, group_id: str, producer: KafkaProducer, pool: ReadingPool) -> None:
        self._group_id = group_id
        self._producer = producer
        self._pool = pool

    def append(self, lane: LaneId, key: bytes, value: bytes) -> Future[int]:
        """Queue a row; the future gives its offset, or raises LaneLost when its fate is unknown."""
        return self._producer.produce(self._topic(lane), lane.partition, key, value, failed=LaneLost)

    async def scan(self, lane: LaneId, past: int) -> AsyncIterator[Sequence[Entry]]:
        """All rows, from the log's start until the position is beyond ``past`` and the end was reported.

        Raises KafkaUnavailable when the broker is silent, LaneRefused when there is no such journal.
        """
        await self._pool.ends({self._topic(lane): lane.partition})  # warms the connection that a gap will be read through
        async with aclosing(self._pool.scan(self._topic(lane), lane.partition, past=past)) as batches:
            async for batch in batches:
                yield [entry_of(message) for message in batch]

    async def begin(self, lane: LaneId) -> int:
        """The log's start: rows below it are gone by retention."""
        return await self._pool.first(self._topic(lane), lane.partition)

    async def between(self, lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        """The rows still there with first ≤ offset ≤ last."""
        return [entry_of(message) for message in await self._pool.between(self._topic(lane), lane.partition, first, last)]

    def _topic(self, lane: LaneId) -> str:
        return journal_topic(self._group_id, lane.topic)
