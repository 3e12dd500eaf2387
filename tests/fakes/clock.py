"""Time moved by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools


async def settle(turns: int = 1000) -> None:
    """Let everything that can run now run: until the loop has nothing left, or ``turns`` are over."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    for _ in range(turns):
        await asyncio.sleep(0)
        if not ready and ready is not None:
            return


class FakeClock:
    """``advance`` wakes the sleepers in the order of their deadlines; nothing else moves the time. ``step`` moves only the wall clock."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._wall_ms = now_ms
        self._boot = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self._wall_ms + round((self._boot - 1000.0) * 1000)

    def boot(self) -> float:
        return self._boot

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._boot + max(seconds, 0), next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        end = self._boot + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            self._boot = max(self._boot, due)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._boot = end
        await settle()

    def step(self, milliseconds: int) -> None:
        self._wall_ms += milliseconds
