"""``ports.CallbackFeed``: the lanes' partitions of the callbacks topics, followed by hand in one owner thread."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from connector.adapters.kafka_client import (
    PARTITION_EOF,
    KafkaOptions,
    callbacks_topic,
    error_counter,
    is_begun_anew,
    library_logger,
    reader_config,
)
from connector.adapters.kafka_handover import Commands, Handover
from connector.adapters.kafka_reader import ReadingPool, record_of
from connector.metrics import Metrics
from connector.ports import Callback, Heard, LaneId

_POLL_S: Final = 0.05
_BATCH: Final = 500
_PERMITS: Final = 10_000


@dataclass(slots=True)
class _Followed:
    lane: LaneId
    generation: int
    position: int  # the next offset to deliver, or a logical one before the first
    held: bool = False
    paused: bool = False


class KafkaCallbackFeed:
    """Make it on the running loop; iterating ``events`` starts it. What was fetched for an earlier ``follow`` is never delivered."""

    def __init__(self, options: KafkaOptions, pool: ReadingPool, metrics: Metrics, decode: Callable[[bytes], Callback]) -> None:
        """``decode`` raises ValueError for bytes that are no callback."""
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._pool = pool
        self._decode = decode
        self._count_error = error_counter(metrics)
        self._handover: Handover[list[tuple[int, Heard]]] = Handover(self._loop, _PERMITS)
        self._commands = Commands()
        self._generations = itertools.count(1)
        self._live: dict[LaneId, int] = {}  # loop side
        self._followed: dict[tuple[str, int], _Followed] = {}  # thread side
        self._closing = threading.Event()
        self._gone = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-callbacks", daemon=True)

    def follow(self, lane: LaneId, offset: int | None) -> None:
        """Deliver the lane's callbacks from ``offset`` (None, or beyond the log's end: from the log's start)."""
        generation = self._live[lane] = next(self._generations)
        self._commands.post(functools.partial(self._follow, lane, OFFSET_BEGINNING if offset is None else offset, generation))

    def unfollow(self, lane: LaneId) -> None:
        """Stop delivering, at once."""
        self._live.pop(lane, None)
        self._commands.post(functools.partial(self._unfollow, lane))

    def hold(self, lane: LaneId, held: bool) -> None:
        """Rest, or go on, delivering the lane's callbacks; what was fetched before may still come."""
        self._commands.post(functools.partial(self._hold, lane, self._live.get(lane), held))

    async def end(self, lane: LaneId) -> int:
        """The next offset of the lane's log. Raises KafkaUnavailable."""
        topic = callbacks_topic(self._options.group_id, lane.topic)
        return (await self._pool.ends({topic: lane.partition}))[topic]

    async def events(self) -> AsyncIterator[Sequence[Heard]]:
        """Batches, each of one lane; ends after ``close``."""
        self._thread.start()
        async for batch in self._handover.items():
            for (generation, lane), group in itertools.groupby(batch, lambda item: (item[0], item[1].lane)):
                if self._live.get(lane) == generation:  # asked anew for each: the lane may go while another one's are taken
                    yield [heard for _, heard in group]

    async def close(self) -> None:
        """Stop; ``events`` ends."""
        self._closing.set()
        if self._thread.ident is not None:
            await self._gone.wait()

    # ------------------------------------------------------------------------------------------------------ the thread's side

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._consume()
        except Exception as broken:  # noqa: BLE001 - carried over to whoever reads the events
            error = broken
        self._handover.end(error)
        self._loop.call_soon_threadsafe(self._gone.set)

    def _consume(self) -> None:
        self._consumer = Consumer(reader_config(self._options, error_cb=self._count_error), logger=library_logger())
        try:
            while not self._closing.is_set():
                self._commands.run()
                self._steer()
                first = self._consumer.poll(_POLL_S)
                if first is not None:
                    self._deliver([first, *self._consumer.consume(_BATCH - 1, 0)])
        finally:
            self._consumer.close()

    def _follow(self, lane: LaneId, offset: int, generation: int) -> None:
        self._unfollow(lane)
        topic = callbacks_topic(self._options.group_id, lane.topic)
        self._followed[topic, lane.partition] = _Followed(lane, generation, offset)
        self._consumer.incremental_assign([TopicPartition(topic, lane.partition, offset)])

    def _unfollow(self, lane: LaneId) -> None:
        place = (callbacks_topic(self._options.group_id, lane.topic), lane.partition)
        if (followed := self._followed.pop(place, None)) is not None:
            if followed.paused:  # librdkafka keeps the pause for whoever is assigned the partition next
                self._consumer.resume([TopicPartition(*place)])
            self._consumer.incremental_unassign([TopicPartition(*place)])

    def _hold(self, lane: LaneId, generation: int | None, held: bool) -> None:
        followed = self._followed.get((callbacks_topic(self._options.group_id, lane.topic), lane.partition))
        if followed is not None and followed.generation == generation:
            followed.held = held

    def _steer(self) -> None:
        """Pause the lanes that are to rest: all when too much waits to be taken; and let the others flow."""
        full = self._handover.full()
        for place, followed in self._followed.items():
            rests = full or followed.held
            if rests is followed.paused:
                continue
            followed.paused = rests
            here = TopicPartition(*place, followed.position)
            if rests:
                self._consumer.pause([here])
                continue
            self._consumer.resume([here])
            with contextlib.suppress(KafkaException):
                self._consumer.seek(here)  # wakes the fetcher, see kafka_group

    def _deliver(self, messages: list[Message]) -> None:
        batch: list[tuple[int, Heard]] = []
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() != PARTITION_EOF:
                    self._count_error(error)
                continue
            place = message.topic() or "", message.partition() or 0
            followed = self._followed.get(place)
            offset = message.offset() or 0
            if followed is not None and (offset >= followed.position or is_begun_anew(self._consumer, *place, followed.position)):
                followed.position = offset + 1
                batch.append((followed.generation, Heard(followed.lane, record_of(message), self._read(message.value()))))
        if batch:
            self._handover.put(batch, len(batch))

    def _read(self, value: bytes | None) -> Callback | None:
        try:
            return self._decode(value or b"")
        except ValueError:
            return None
