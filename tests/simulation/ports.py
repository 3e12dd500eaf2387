"""The ports of one simulated process, on the simulated Kafka."""

from __future__ import annotations

import asyncio
import functools
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from connector.core.model import DeadLetter, OutputEvent, Record
from connector.errors import KafkaUnavailable, LaneLost
from connector.ports import Callback, Entry, Heard, LaneId
from tests.simulation.kafka import Broker, Producer, Row
from tests.simulation.loop import Process, SimLoop

OUTPUTS = {"send": "sends", "status": "statuses"}


class SimClock:
    """The boot clock goes on evenly, also for the stopped; ``skew_ms`` is how far the wall clock has been stepped."""

    def __init__(self, loop: SimLoop, epoch_ms: int, booted: float) -> None:
        self.skew_ms = 0
        self._loop = loop
        self._epoch_ms = epoch_ms
        self._booted = booted

    def now_ms(self) -> int:
        return self._epoch_ms + int(self._loop.time() * 1000) + self.skew_ms

    def boot(self) -> float:
        return self._booted + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


class SimJournal:
    """``ports.Journal``."""

    def __init__(self, broker: Broker, producer: Producer, epochs: dict[LaneId, int]) -> None:
        self._broker = broker
        self._producer = producer
        self._epochs = epochs  # filled: each lane's own last CLAIM
        self.slowness = 1.0

    def append(self, lane: LaneId, key: bytes, value: bytes) -> Future[int]:
        report = self._producer.produce(f"journal {lane}", key, value, LaneLost)
        if key.startswith(b"claim|"):
            report.add_done_callback(functools.partial(self._claimed, lane))
        return report

    def _claimed(self, lane: LaneId, report: Future[int]) -> None:
        if not report.cancelled() and report.exception() is None:
            self._epochs[lane] = report.result()

    async def scan(self, lane: LaneId, past: int) -> AsyncIterator[Sequence[Entry]]:
        log = self._broker.log(f"journal {lane}")
        position = 0
        while position <= past or position < log.end:
            await self._broker.reach(self.slowness)
            behind = min(position + self._broker.rng.randint(1, 40), log.end)
            batch = [_entry(row) for row in log.read(position, behind - 1)]
            position = behind
            if batch:
                yield batch

    async def begin(self, lane: LaneId) -> int:
        await self._broker.reach()
        return 0

    async def between(self, lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        await self._broker.reach()
        log = self._broker.log(f"journal {lane}")
        if last >= log.end:
            raise KafkaUnavailable("the log ends before")
        return [_entry(row) for row in log.read(first, last)]


def _entry(row: Row) -> Entry:
    return Entry(row.offset, row.key, row.value, row.timestamp_ms)


class SimOutbox:
    """``ports.Outbox``: one partition per topic, shared by all lanes. ``tag`` of a row is (lane, epoch of its author)."""

    def __init__(self, broker: Broker, producer: Producer) -> None:
        self._broker = broker
        self._producer = producer
        self.epochs: dict[LaneId, int] = {}

    def emit(
        self, lane: LaneId, event: OutputEvent, recipient: str | None, headers: Sequence[tuple[str, bytes]]
    ) -> Future[tuple[str, int]]:
        topic = OUTPUTS[event.kind]
        sent = self._producer.produce(topic, event.flow_id.encode(), (event, recipient), LaneLost, (lane, self.epochs.get(lane, -1)))
        placed: Future[tuple[str, int]] = self._broker.loop.create_future()
        sent.add_done_callback(functools.partial(_place, placed, topic))
        return placed

    async def ends(self, lane: LaneId) -> Mapping[str, int]:
        await self._broker.reach()
        return {topic: self._broker.log(topic).end for topic in OUTPUTS.values()}

    async def ids_since(self, lane: LaneId, start: Mapping[str, int], wanted: Collection[str]) -> set[str]:
        ids: set[str] = set()
        for topic in OUTPUTS.values():
            await self._broker.reach()
            log = self._broker.log(topic)
            end = log.end
            await self._broker.reach()
            ids |= {row.value[0].id for row in log.read(start.get(topic, 0), end - 1)}
        return ids.intersection(wanted)


def _place(placed: Future[tuple[str, int]], topic: str, sent: Future[int]) -> None:
    if placed.done() or sent.cancelled():
        return
    error = sent.exception()
    if error is not None:
        placed.set_exception(error)
        placed.exception()
    else:
        placed.set_result((topic, sent.result()))


class SimDeadLetters:
    """``ports.DeadLetters``."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def put(self, letter: DeadLetter) -> None:
        await self._producer.produce("dead letters", letter.id.encode(), letter, KafkaUnavailable)


class SimPast:
    """``ports.Past``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def record(self, lane: LaneId, offset: int) -> Record | None:
        await self._broker.reach()
        found = self._broker.log(f"input {lane}").read(offset, offset)
        return found[0].value if found else None


class SimSink:
    """``ports.CallbackSink``."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def put(self, callback: Callback) -> None:
        await self._producer.produce(f"callbacks {callback.lane}", callback.flow_id.encode(), callback, KafkaUnavailable)


class SimFeed:
    """``ports.CallbackFeed``."""

    def __init__(self, broker: Broker, process: Process, lanes: Sequence[LaneId]) -> None:
        self._broker = broker
        self._process = process
        self._items: deque[tuple[int, Heard]] = deque()
        self._ready = asyncio.Event()
        self._ended = False
        self._generation = 0
        self._live: dict[LaneId, int] = {}
        self._held: set[LaneId] = set()
        self._position: dict[LaneId, int] = {}
        for lane in lanes:
            broker.log(f"callbacks {lane}").followers.append(functools.partial(self._poke, lane))

    def follow(self, lane: LaneId, offset: int | None) -> None:
        self._generation += 1
        self._live[lane] = self._generation
        self._held.discard(lane)
        self._position[lane] = offset or 0
        self._poke(lane)

    def unfollow(self, lane: LaneId) -> None:
        self._live.pop(lane, None)

    def hold(self, lane: LaneId, held: bool) -> None:
        (self._held.add if held else self._held.discard)(lane)
        self._poke(lane)

    async def end(self, lane: LaneId) -> int:
        await self._broker.reach()
        return self._broker.log(f"callbacks {lane}").end

    def close(self) -> None:
        """``events`` ends."""
        self._ended = True
        self._ready.set()

    async def events(self) -> AsyncIterator[Sequence[Heard]]:
        while not self._ended:
            while self._items:
                generation, heard = self._items.popleft()
                if self._live.get(heard.lane) == generation:
                    yield [heard]
            await self._ready.wait()
            self._ready.clear()

    def _poke(self, lane: LaneId) -> None:
        if lane in self._live and self._process.alive:
            self._broker.loop.on(self._process, self._broker.rng.random() * 0.05, self._pump, lane)

    def _pump(self, lane: LaneId) -> None:
        if lane not in self._live or lane in self._held:
            return
        if self._broker.down:
            self._broker.loop.on(self._process, 0.5, self._pump, lane)
            return
        log = self._broker.log(f"callbacks {lane}")
        for row in log.read(self._position[lane], log.end - 1):
            record = Record(f"callbacks {lane}", lane.partition, row.offset, 0, None, None)  # what it says is in row.value
            self._items.append((self._live[lane], Heard(lane, record, row.value)))
        self._position[lane] = log.end
        self._ready.set()
