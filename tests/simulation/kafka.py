"""Logs that outlive processes, and each process's way to them: rows that land late, never, twice or unheard, in order per process and log.

What the lane protocol assumes of Kafka is kept, nothing more: an acknowledged row is not lost; rows of one producer land in a log in the
order of their calls; compaction keeps the last row of a key and every offset.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from connector.errors import KafkaUnavailable
from tests.simulation.loop import Process, SimLoop

MESSAGE_TIMEOUT_S = 30.0  # as the connector's producer
_PATIENCE_S = 5.0  # how long a reader waits for a broker that is away
_LONGEST_DELAY_S = 25.0  # of rows on the wire of a process that was stopped


@dataclass(slots=True)
class Row:
    """One row, with what only the simulation knows of it."""

    offset: int
    key: bytes
    value: Any
    timestamp_ms: int
    author: Process
    queued_at: float  # virtual time of the produce call
    landed_at: float
    tag: object = None
    is_copy: bool = False  # the broker's second copy of the row before it
    gone: bool = False  # compacted away


@dataclass(slots=True)
class Log:
    """One partition."""

    name: str
    rows: list[Row] = field(default_factory=list)
    followers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Next offset."""
        return len(self.rows)

    def read(self, first: int, last: int) -> list[Row]:
        """What is still there with first ≤ offset ≤ last."""
        return [row for row in self.rows[max(first, 0) : last + 1] if not row.gone]

    def compact(self, rng: Random) -> int:
        """Remove some or all rows below some offset whose key has a later row."""
        if not self.rows:
            return 0
        last = {row.key: row.offset for row in self.rows}
        below, share, removed = rng.randint(0, self.end), rng.choice((0.3, 1.0, 1.0)), 0
        for row in self.rows[:below]:
            if not row.gone and last[row.key] != row.offset and rng.random() < share:
                row.gone = True
                removed += 1
        return removed


@dataclass(slots=True)
class Weather:
    """How likely each trouble is for one row, and how long a normal way takes."""

    usual_s: float = 0.002
    slow: float = 0.0  # the row takes up to ``slow_s``
    slow_s: float = 5.0
    late_ack: float = 0.0  # it lands in time, but is acknowledged up to ``slow_s`` later
    timed_out: float = 0.0  # no answer in 30 s; it lands before that, after, or never
    unknown: float = 0.0  # it lands, its offset is not told
    twice: float = 0.0  # two copies land


class Broker:
    """Logs by name, and whether they can be reached."""

    def __init__(self, loop: SimLoop, rng: Random, epoch_ms: int) -> None:
        self.loop = loop
        self.rng = rng
        self.weather = Weather()
        self.logs: dict[str, Log] = {}
        self.up_at = 0.0
        self.unanswered: set[bytes] = set()  # keys of rows whose producer gave up: what it queued behind them may come before them
        self.epoch_ms = epoch_ms

    def log(self, name: str) -> Log:
        """The log of that name."""
        found = self.logs.get(name)
        if found is None:
            found = self.logs[name] = Log(name)
        return found

    @property
    def down(self) -> bool:
        """Away at the moment."""
        return self.loop.time() < self.up_at

    def now_ms(self) -> int:
        """The broker's own clock."""
        return self.epoch_ms + int(self.loop.time() * 1000)

    def land(self, log: Log, key: bytes, value: object, author: Process, queued_at: float, tag: object = None) -> Row:
        """A row is in the log, for good."""
        row = Row(log.end, key, value, self.now_ms(), author, queued_at, self.loop.time(), tag)
        log.rows.append(row)
        for told in tuple(log.followers):
            told()
        return row

    async def reach(self, slowness: float = 1.0) -> None:
        """The time of one request. Raises KafkaUnavailable when the broker stays away."""
        await asyncio.sleep(self.rng.random() * 0.006 * slowness)
        if self.down:
            away_s = self.up_at - self.loop.time()
            await asyncio.sleep(min(away_s, _PATIENCE_S))
            if away_s > _PATIENCE_S:
                raise KafkaUnavailable("simulated")


@dataclass(slots=True, eq=False)
class _Item:
    key: bytes
    value: object
    tag: object
    future: Future[int]
    failed: Callable[[str], Exception]
    queued_at: float
    land_at: float = 0.0
    timed_out: bool = False
    unknown: bool = False
    twice: bool = False
    late_ack_s: float = 0.0
    lost: bool = False


class Wire:
    """One process's rows on their way to one log, first in, first out."""

    def __init__(self, producer: Producer, log: Log) -> None:
        self._producer = producer
        self._log = log
        self._leave_at = 0.0
        self._land_at = 0.0
        self._ack_at = 0.0
        self._flying: list[_Item] = []
        self.open: list[_Item] = []

    def send(self, item: _Item) -> None:
        """Queue it; it leaves the process in a moment."""
        loop, rng = self._producer.broker.loop, self._producer.broker.rng
        self.open.append(item)
        self._leave_at = max(self._leave_at, loop.time() + rng.random() * 0.001)
        loop.on(self._producer.process, self._leave_at - loop.time(), self._leave, item)

    def _leave(self, item: _Item) -> None:
        """It is on the wire: what becomes of the process does not stop it any more."""
        if item.future.done():
            return
        broker = self._producer.broker
        loop, rng, weather = broker.loop, broker.rng, broker.weather
        way_s = rng.random() * 2 * weather.usual_s
        if rng.random() < weather.slow:
            way_s = rng.random() * weather.slow_s
        item.land_at = max(self._land_at, loop.time() + way_s)
        if rng.random() < weather.timed_out:
            item.timed_out = True
            broker.unanswered.add(item.key)
            item.lost = rng.random() < 0.4
            fails_at = loop.time() + MESSAGE_TIMEOUT_S
            if not item.lost and rng.random() < 0.5:
                item.land_at = max(item.land_at, fails_at + rng.random() * 10)
            self._land_at = max(item.land_at, fails_at)
            loop.on(self._producer.process, MESSAGE_TIMEOUT_S, self._fail, item, "produce_timed_out")
        else:
            self._land_at = item.land_at
            item.unknown = rng.random() < weather.unknown
            item.twice = rng.random() < weather.twice
            item.late_ack_s = rng.random() * weather.slow_s if rng.random() < weather.late_ack else 0.0
        self._flying.append(item)
        loop.in_world(item.land_at - loop.time(), self._land)

    def _land(self) -> None:
        """Whatever is due, from the front: what was delayed holds back what is behind it."""
        broker = self._producer.broker
        loop = broker.loop
        while self._flying:
            due = max(self._flying[0].land_at, broker.up_at)
            if due > loop.time():
                loop.in_world(due - loop.time(), self._land)
                return
            item = self._flying.pop(0)
            if not item.lost:
                self._arrive(item)

    def _arrive(self, item: _Item) -> None:
        broker = self._producer.broker
        loop = broker.loop
        row = broker.land(self._log, item.key, item.value, self._producer.process, item.queued_at, item.tag)
        offset = row.offset
        if item.twice:
            second = broker.land(self._log, item.key, item.value, self._producer.process, item.queued_at, item.tag)
            second.is_copy = True
            offset = broker.rng.choice((offset, second.offset))
        if item.timed_out:
            return
        self._ack_at = max(self._ack_at, loop.time() + broker.rng.random() * broker.weather.usual_s + item.late_ack_s)
        loop.on(self._producer.process, self._ack_at - loop.time(), self._ack, item, offset)

    def _ack(self, item: _Item, offset: int) -> None:
        self._close(item)
        if item.unknown:
            self._fail(item, "offset_unknown")
        elif not item.future.done():
            item.future.set_result(offset)

    def _fail(self, item: _Item, reason: str) -> None:
        self._close(item)
        if not item.future.done():
            item.future.set_exception(item.failed(reason))
            item.future.exception()  # a dropped lane does not look at its futures any more

    def _close(self, item: _Item) -> None:
        if item in self.open:
            self.open.remove(item)

    def cut(self, *, dead: bool) -> None:
        """The process was stopped or killed: what it has on the wire lands late, or (if it is dead) from some row on never."""
        broker = self._producer.broker
        rng = broker.rng
        delay_s = rng.random() * _LONGEST_DELAY_S if rng.random() < 0.4 else 0.0
        keep = rng.randint(0, len(self._flying)) if dead else len(self._flying)
        for position, item in enumerate(self._flying):
            item.land_at += delay_s
            item.lost = item.lost or position >= keep
        self._land_at += delay_s

    def fatal(self) -> None:
        """The producer's session ended: whatever is open is failed; what is on the wire lands, or from some row on does not."""
        keep = self._producer.broker.rng.randint(0, len(self._flying))
        for position, item in enumerate(self._flying):
            item.lost = item.lost or position >= keep
        for item in tuple(self.open):
            self._fail(item, "producer_fatal")


class Producer:
    """The one idempotent producer of a process."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.broker = broker
        self.process = process
        self._wires: dict[str, Wire] = {}

    def produce(self, log: str, key: bytes, value: object, failed: Callable[[str], Exception], tag: object = None) -> Future[int]:
        """Queue one row; the future gives its offset or raises ``failed(reason)``. The dead produce nothing."""
        loop = self.broker.loop
        future: Future[int] = loop.create_future()
        if not self.process.alive:
            return future
        wire = self._wires.get(log)
        if wire is None:
            wire = self._wires[log] = Wire(self, self.broker.log(log))
        wire.send(_Item(key, value, tag, future, failed, loop.time()))
        return future

    @property
    def open(self) -> bool:
        """Something is not acknowledged."""
        return any(wire.open for wire in self._wires.values())

    def cut(self, *, dead: bool) -> None:
        """The process was stopped or killed."""
        for wire in self._wires.values():
            wire.cut(dead=dead)

    def fatal(self) -> None:
        """A fatal error: every row that is not acknowledged has an unknown fate."""
        for wire in self._wires.values():
            wire.fatal()
