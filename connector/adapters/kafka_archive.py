"""``ports.Archive``: journals and statuses read from outside, without a group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing

from confluent_kafka import OFFSET_BEGINNING, Message

from connector.adapters.encode import decode_event
from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_client import KafkaOptions, journal_topic
from connector.adapters.kafka_outbox import partition_of
from connector.adapters.kafka_reader import ReadingPool, entry_of
from connector.core.events import STATUS
from connector.core.model import JsonObject
from connector.errors import KafkaUnavailable, Undecodable
from connector.metrics import Metrics
from connector.ports import Ends, Entry, LaneId


class KafkaArchive:
    """One consumer that joins no group, and an admin client that changes nothing. Close it at the end."""

    def __init__(self, options: KafkaOptions, inputs: Sequence[str], statuses: str, *, patience_s: float = 15.0) -> None:
        """``patience_s``: how long the broker may be silent while it is read; one that is not there is found out in five seconds."""
        self._group_id = options.group_id
        self._inputs = tuple(inputs)
        self._statuses = statuses
        self._topics = KafkaTopics(options, patience_s)
        self._pool = ReadingPool(options, Metrics(), scans=1, looks=1, patience_s=patience_s)
        self._counts: Mapping[str, int] = {}

    async def lanes(self) -> Sequence[LaneId]:
        """Every lane that has a journal, inputs in the order of the settings."""
        names = [*(journal_topic(self._group_id, topic) for topic in self._inputs), self._statuses]
        self._counts = await asyncio.to_thread(self._topics.partition_counts, names)
        missing = [name for name in names[:-1] if name not in self._counts]
        if missing:
            raise KafkaUnavailable(f"there is no topic {missing[0]}: is kafka.group_id right, and has this group ever run on this cluster?")
        return [LaneId(topic, number) for topic in self._inputs for number in range(self._counts[journal_topic(self._group_id, topic)])]

    async def ends(self, lane: LaneId) -> Ends:
        """Where its logs end."""
        journal = journal_topic(self._group_id, lane.topic)
        found = await self._pool.ends({journal: lane.partition, lane.topic: lane.partition})
        return Ends(found[journal], found[lane.topic])

    async def rows(self, lane: LaneId) -> AsyncGenerator[Sequence[Entry], None]:
        """Its journal, oldest row first."""
        async with aclosing(self._pool.scan(journal_topic(self._group_id, lane.topic), lane.partition)) as batches:
            async for batch in batches:
                yield [entry_of(message) for message in batch]

    async def statuses(self, lane: LaneId, flow_ids: Collection[str], since_ms: int) -> AsyncGenerator[Sequence[JsonObject], None]:
        """Its StatusEvents; none where the topic is missing. An event that this release cannot read is left out."""
        if self._statuses not in self._counts:
            return
        partition = partition_of(lane, self._counts[self._statuses])
        start: int | None = OFFSET_BEGINNING
        if since_ms > 0:
            start = await self._pool.first_since(self._statuses, partition, since_ms)
        if start is None:
            return
        wanted = {flow_id.encode() for flow_id in flow_ids}
        async with aclosing(self._pool.scan(self._statuses, partition, start=start)) as batches:
            async for batch in batches:
                yield [body for message in batch if message.key() in wanted and (body := _body(message)) is not None]

    async def statuses_cut(self, lane: LaneId) -> bool:
        """Whether the log begins behind 0: retention, or a person, took what was before."""
        if self._statuses not in self._counts:
            return False
        return await self._pool.first(self._statuses, partition_of(lane, self._counts[self._statuses])) > 0

    async def close(self) -> None:
        """Close the consumers."""
        await self._pool.close()


def _body(message: Message) -> JsonObject | None:
    try:
        return decode_event(message.value() or b"", STATUS)
    except Undecodable:
        return None
