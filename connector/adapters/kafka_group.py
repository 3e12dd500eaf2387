"""``ports.Source``: the member of the consumer group on the input topics.

One thread owns the consumer (librdkafka's ``Consumer`` may be used by one thread only): it polls, also while fetching rests, and runs the
calls that the event loop posts to it. A lane's records carry the *generation* of the ``start`` they belong to; what an earlier
generation still had on its way is dropped, so after ``start``, ``release`` or ``Lost`` nothing stale is ever delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import queue
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connector.adapters.kafka_client import KafkaOptions, error_counter, error_of, group_config, is_begun_anew, library_logger
from connector.adapters.kafka_handover import Commands, Handover
from connector.adapters.kafka_offsets import GroupOffsets, Lag, LaneState, lag_of
from connector.adapters.kafka_reader import record_of
from connector.core.model import Record
from connector.core.resume import Places
from connector.logs import get_logger
from connector.metrics import Metrics
from connector.ports import Arrived, Assigned, BegunAnew, LaneId, Lost, Revoked, SourceEvent

_LOG = get_logger(__name__)
_POLL_S: Final = 0.05
_LAG_EVERY_S: Final = 1.0
_BATCH: Final = 500
_PERMITS: Final = 16 * 1024 * 1024
_RECORD_COST: Final = 4096  # beside its bytes: bounds the number of small records that wait, too
_REBUILD_AFTER_S: Final = 1.0
_WAKE_S: Final = 0.2


class _Fetched(NamedTuple):
    groups: list[tuple[LaneId, int, list[Record]]]


class GroupSource:
    """Make it on the running loop; iterating ``events`` joins the group."""

    def __init__(self, options: KafkaOptions, topics: Sequence[str], metrics: Metrics, *, release_wait_s: float = 12.0) -> None:
        """``release_wait_s``: how long a revocation waits for ``Revoked.release``; then the lanes are ``Lost``."""
        loop = asyncio.get_running_loop()
        self._options = options
        self._topics = list(topics)
        self._metrics = metrics
        self._release_wait_s = release_wait_s
        self._count_error = error_counter(metrics)
        self._handover: Handover[SourceEvent | _Fetched] = Handover(loop, _PERMITS)
        self._commands = Commands()
        self._commits: queue.SimpleQueue[tuple[Mapping[LaneId, int], asyncio.Future[bool]]] = queue.SimpleQueue()
        self._offsets = GroupOffsets(options)
        self._generations = itertools.count(1)
        self._live: dict[LaneId, int] = {}  # loop side: the generation whose records may be delivered
        self._lanes: dict[LaneId, LaneState] = {}  # thread side
        self._lag: Mapping[str, Lag] = {}
        self._broken = False
        self._closing = threading.Event()
        self._gone = asyncio.Event()
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name="kafka-group", daemon=True)

    # ------------------------------------------------------------------------------------------------------ the loop's side

    async def events(self) -> AsyncIterator[SourceEvent]:
        """Everything that happens, in order; ends after ``close``."""
        self._thread.start()
        async for item in self._handover.items():
            if isinstance(item, _Fetched):
                records = tuple(record for lane, generation, group in item.groups if self._live.get(lane) == generation for record in group)
                if records:
                    yield Arrived(records)
                continue
            if isinstance(item, Lost):
                self._forget_live(item.lanes)
            yield item

    def start(self, lane: LaneId, offset: int) -> None:
        """Seek to ``offset`` and let the lane's records flow, whatever was held; may be called again (a lane claimed anew)."""
        generation = self._live[lane] = next(self._generations)
        self._commands.post(functools.partial(self._start, lane, offset, generation))

    def hold(self, lanes: Sequence[LaneId], held: bool) -> None:
        """Pause or resume fetching; what was fetched before may still arrive."""
        self._commands.post(functools.partial(self._hold, tuple(lanes), held))

    async def commit(self, offsets: Mapping[LaneId, int]) -> bool:
        """Commit next-to-read offsets; False when refused, or when a lane is not this member's any more."""
        if self._gone.is_set():
            return False
        future: asyncio.Future[bool] = self._loop.create_future()
        self._commits.put((dict(offsets), future))
        self._commands.post(self._commit)
        return await future

    async def places(self, lane: LaneId) -> Places:
        """The group's committed offset and the log's ends. Raises KafkaUnavailable."""
        return await self._offsets.places(lane)

    def lag(self) -> Mapping[str, Lag]:
        """Per topic, as of the last second; the worst lane's age. Costs nothing."""
        return self._lag

    async def close(self) -> None:
        """Leave the group: lanes are ``Revoked`` first, so go on reading ``events`` until it ends."""
        self._closing.set()
        if self._thread.ident is not None:
            await self._gone.wait()
        await self._offsets.close()

    def _release(self, generations: Mapping[LaneId, int], released: threading.Event) -> None:
        """Given back: what was fetched for these starts is not delivered any more. A lane that came back meanwhile has a later one."""
        for lane, generation in generations.items():
            if self._live.get(lane) == generation:
                del self._live[lane]
        self._commands.post(released.set)  # behind every commit posted so far

    def _forget_live(self, lanes: tuple[LaneId, ...]) -> None:
        for lane in lanes:
            self._live.pop(lane, None)

    def _bury(self) -> None:
        self._gone.set()
        self._commands.run()

    # ------------------------------------------------------------------------------------------------------ the thread's side

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while not self._closing.is_set():
                self._be_member()
        except Exception as broken:  # noqa: BLE001 - carried over to whoever reads the events
            error = broken
        self._handover.end(error)
        self._loop.call_soon_threadsafe(self._bury)

    def _be_member(self) -> None:
        """One consumer's life: until close, or a fatal error (then all lanes are lost and a new consumer joins)."""
        self._broken = False
        consumer = self._consumer = Consumer(group_config(self._options, self._on_error), logger=library_logger())
        try:
            consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
            self._poll_on(consumer)
            if self._broken:
                self._lose(tuple(self._lanes))
                self._closing.wait(_REBUILD_AFTER_S)
        finally:
            consumer.close()  # always: a consumer that is merely dropped waits for ever inside its destructor
            self._lanes.clear()

    def _poll_on(self, consumer: Consumer) -> None:
        measured = 0.0
        while not self._closing.is_set() and not self._broken:
            self._commands.run()
            self._steer()
            first = consumer.poll(_POLL_S)
            if first is not None:
                self._deliver([first, *consumer.consume(_BATCH - 1, 0)])
            if time.monotonic() - measured > _LAG_EVERY_S:
                measured = time.monotonic()
                self._lag = lag_of(consumer, self._topics, self._lanes)

    def _on_error(self, error: KafkaError) -> None:
        self._count_error(error)
        self._broken = self._broken or error.fatal()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            partition.offset = 0  # any place: nothing flows before ``start`` seeks, and nobody need ask for the committed offset
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        lanes = _lanes_of(partitions)
        for lane in lanes:
            self._lanes[lane] = LaneState()
        self._handover.put(Assigned(lanes))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lanes = tuple(lane for lane in _lanes_of(partitions) if lane in self._lanes)
        if lanes:
            released, generations = threading.Event(), {lane: self._lanes[lane].generation for lane in lanes}
            self._handover.put(Revoked(lanes, functools.partial(self._release, generations, released)))
            deadline = time.monotonic() + self._release_wait_s
            while not released.is_set() and time.monotonic() < deadline:
                self._commands.run(_POLL_S)
            if not released.is_set():
                self._handover.put(Lost(lanes))
            self._forget(lanes)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._lose(_lanes_of(partitions))
        consumer.incremental_unassign(partitions)

    def _lose(self, lanes: tuple[LaneId, ...]) -> None:
        self._forget(lanes)
        if lanes:
            self._handover.put(Lost(lanes, expelled=True))

    def _forget(self, lanes: tuple[LaneId, ...]) -> None:
        for lane in lanes:
            self._lanes.pop(lane, None)

    def _start(self, lane: LaneId, offset: int, generation: int) -> None:
        if (state := self._lanes.get(lane)) is not None:
            state.generation, state.position, state.seek, state.held = generation, offset, True, False

    def _hold(self, lanes: tuple[LaneId, ...], held: bool) -> None:
        for lane in lanes:
            if (state := self._lanes.get(lane)) is not None:
                state.held = held

    def _steer(self) -> None:
        """Bring the consumer to what the lanes want: paused, or flowing from their position."""
        full = self._handover.full()
        resting: list[TopicPartition] = []
        for lane, state in self._lanes.items():
            if state.generation == 0 or state.held or full:
                if not state.paused:
                    state.paused = True
                    resting.append(TopicPartition(lane.topic, lane.partition))
            elif state.paused or state.seek:
                self._let_flow(TopicPartition(lane.topic, lane.partition, state.position), state)
        if resting:
            self._consumer.pause(resting)

    def _let_flow(self, here: TopicPartition, state: LaneState) -> None:
        """Resume, then seek, always both: resuming alone leaves librdkafka's broker thread asleep for up to a second."""
        try:
            self._consumer.resume([here])
            self._consumer.seek(here)
        except KafkaException:  # just assigned, its fetcher is not up yet: again at the next turn
            self._consumer.pause([here])
            state.paused = True
            return
        state.paused = state.seek = False
        if here.offset == 0:  # a seek to 0 alone does not wake it either; a request does
            with contextlib.suppress(KafkaException):
                self._consumer.get_watermark_offsets(here, timeout=_WAKE_S)

    def _deliver(self, messages: list[Message]) -> None:
        groups: dict[LaneId, list[Record]] = {}
        weight = 0
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(error)
                continue
            record = record_of(message)
            lane = LaneId(record.topic, record.partition)
            state = self._lanes.get(lane)
            if state is None or not state.is_flowing:
                continue
            if record.offset >= state.position:
                state.position, state.timestamp_ms = record.offset + 1, record.timestamp_ms
                groups.setdefault(lane, []).append(record)
                weight += record.size + _RECORD_COST
            elif is_begun_anew(self._consumer, lane.topic, lane.partition, state.position):
                state.generation = 0  # whatever follows is of another log
                self._handover.put(BegunAnew(lane))
        if groups:
            self._handover.put(_Fetched([(lane, self._lanes[lane].generation, group) for lane, group in groups.items()]), weight)

    def _commit(self) -> None:
        """One request for every commit asked for so far."""
        asked: list[tuple[Mapping[LaneId, int], asyncio.Future[bool]]] = []
        while not self._commits.empty():
            asked.append(self._commits.get_nowait())
        owned = {lane: offset for offsets, _ in asked for lane, offset in offsets.items() if lane in self._lanes}
        done = self._committed_lanes(owned) if owned else set()
        for offsets, future in asked:
            self._loop.call_soon_threadsafe(_resolve, future, all(lane in done for lane in offsets))

    def _committed_lanes(self, offsets: Mapping[LaneId, int]) -> set[LaneId]:
        wanted = [TopicPartition(lane.topic, lane.partition, offset) for lane, offset in offsets.items()]
        try:
            answers = self._consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as refused:
            error = error_of(refused)
            _LOG.warning("commit_refused", code=error.name() if error else "UNKNOWN", lanes=[str(lane) for lane in offsets])
            return set()
        return {LaneId(answer.topic, answer.partition) for answer in answers if answer.error is None}


def _lanes_of(partitions: Sequence[TopicPartition]) -> tuple[LaneId, ...]:
    return tuple(LaneId(partition.topic, partition.partition) for partition in partitions)


def _resolve(future: asyncio.Future[bool], done: bool) -> None:
    if not future.done():
        future.set_result(done)
