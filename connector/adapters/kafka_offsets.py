"""Where the lanes of a group stand: committed offsets, positions, and how far behind they are."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from connector.adapters.kafka_client import KafkaOptions, reader_config, unavailable
from connector.adapters.kafka_reader import Seat
from connector.core.resume import Places
from connector.errors import KafkaUnavailable
from connector.ports import LaneId

_ASK_S: Final = 10.0


class Lag(NamedTuple):
    """How far a topic's lanes of this process are behind: records not yet fetched, and the age of the last one fetched if there are."""

    records: int
    seconds: float


@dataclass(slots=True)
class LaneState:
    """The owner thread's view of one assigned lane."""

    generation: int = 0  # 0: assigned, not started
    position: int = 0  # the next offset to deliver; anything below is stale
    seek: bool = False  # the broker side still stands elsewhere
    held: bool = False
    paused: bool = True
    timestamp_ms: int = 0

    @property
    def is_flowing(self) -> bool:
        """Whether what arrives now belongs to the present ``start``."""
        return self.generation > 0 and not self.seek


class GroupOffsets:
    """Asks for the group's offsets beside the member, so that a slow answer never keeps the member from polling."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._seat = Seat(lambda: reader_config(options, group_id=options.group_id), "kafka-offsets")

    async def places(self, lane: LaneId) -> Places:
        """The committed offset and the log's ends. Raises KafkaUnavailable."""
        return await self._seat.run(functools.partial(self._ask, lane))

    async def close(self) -> None:
        """Let go of the broker."""
        await self._seat.close()

    def _ask(self, lane: LaneId, consumer: Consumer) -> Places:
        here = TopicPartition(lane.topic, lane.partition)
        (answer,) = consumer.committed([here], timeout=_ASK_S)
        if answer.error is not None:
            raise unavailable("asking for the committed offset", answer.error)
        first, end = consumer.get_watermark_offsets(here, timeout=_ASK_S)
        if end < 0:
            raise KafkaUnavailable("asking for the log's ends: no answer")
        begin = first if self._options.start_from == "earliest" else end
        return Places(answer.offset if answer.offset >= 0 else None, first, end, begin)


def lag_of(consumer: Consumer, topics: Sequence[str], lanes: Mapping[LaneId, LaneState]) -> dict[str, Lag]:
    """Lag per topic, from what fetching has shown the consumer: no request is made."""
    now_ms = time.time() * 1000
    lag = dict.fromkeys(topics, Lag(0, 0.0))
    for lane, state in lanes.items():
        if not state.is_flowing:
            continue
        _, high = consumer.get_watermark_offsets(TopicPartition(lane.topic, lane.partition), cached=True)
        if high > state.position:
            age = max(now_ms - state.timestamp_ms, 0) / 1000 if state.timestamp_ms else 0.0
            before = lag[lane.topic]
            lag[lane.topic] = Lag(before.records + high - state.position, max(before.seconds, age))
    return lag
