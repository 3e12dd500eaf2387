"""The journal as lists. Several journals may share ``logs``: each is then one process, with rows of its own in flight."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence

from connector.errors import KafkaUnavailable, LaneLost
from connector.ports import Entry, LaneId

Logs = defaultdict[LaneId, list[Entry | None]]  # None: compacted away


class FakeJournal:
    """Rows land one loop turn after ``append``; with ``held`` they stay in flight until ``land`` or ``lose``.

    ``before_scan``: what happens between a CLAIM and its reading.
    """

    def __init__(self, logs: Logs | None = None, now_ms: Callable[[], int] = lambda: 1_800_000_000_000) -> None:
        self.logs: Logs = defaultdict(list) if logs is None else logs
        self.begins: defaultdict[LaneId, int] = defaultdict(int)  # what retention took lies below
        self._now_ms = now_ms
        self.held = False
        self.unavailable = False
        self.before_scan: Callable[[], None] = lambda: None
        self.in_flight: deque[tuple[LaneId, bytes, bytes, Future[int]]] = deque()

    def append(self, lane: LaneId, key: bytes, value: bytes) -> Future[int]:
        loop = asyncio.get_running_loop()
        future: Future[int] = loop.create_future()
        self.in_flight.append((lane, key, value, future))
        loop.call_soon(lambda: None if self.held else self.land(1))
        return future

    def land(self, count: int | None = None) -> None:
        for _ in range(min(len(self.in_flight), len(self.in_flight) if count is None else count)):
            lane, key, value, future = self.in_flight.popleft()
            self.logs[lane].append(Entry(len(self.logs[lane]), key, value, self._now_ms()))
            if not future.done():
                future.set_result(len(self.logs[lane]) - 1)

    def lose(self, *, landed: bool = False) -> None:
        """Everything in flight gets no answer; ``landed``: although it is in the log."""
        for lane, key, value, future in self.in_flight:
            if landed:
                self.logs[lane].append(Entry(len(self.logs[lane]), key, value, self._now_ms()))
            future.set_exception(LaneLost("produce_failed"))
        self.in_flight.clear()

    async def scan(self, lane: LaneId, past: int) -> AsyncIterator[Sequence[Entry]]:
        self.before_scan()
        position = 0
        while position < len(self.logs[lane]) or position <= past:
            batch, position = self.logs[lane][position : position + 100], min(position + 100, len(self.logs[lane]))
            yield [entry for entry in batch if entry is not None]
            await asyncio.sleep(0)

    async def begin(self, lane: LaneId) -> int:
        if self.unavailable:
            raise KafkaUnavailable("fake")
        return self.begins[lane]

    async def between(self, lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        if self.unavailable:
            raise KafkaUnavailable("fake")
        if first <= last and last >= len(self.logs[lane]):
            raise KafkaUnavailable("the log ends before")
        return [entry for entry in self.logs[lane][first : last + 1] if entry is not None]
