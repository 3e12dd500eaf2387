"""From an owner thread to the event loop: items in order, bounded by permits; and calls the other way."""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

Call = Callable[[], None]


class Handover(Generic[T]):
    """``put`` in the thread, ``items`` on the loop. ``full`` tells the thread to pause fetching; it may still put what cannot wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop, permits: int) -> None:
        """``permits``: the weight of items that may wait to be taken; half of it must be free again before ``full`` turns back."""
        self._loop: Final = loop
        self._permits: Final = permits
        self._items: deque[tuple[T, int]] = deque()
        self._given = 0  # weight, counted by the thread alone
        self._taken = 0  # weight, counted by the loop alone
        self._paused = False
        self._ready = asyncio.Event()
        self._end: BaseException | None = None
        self._ended = False

    def full(self) -> bool:
        """Thread: whether fetching should rest."""
        open_weight = self._given - self._taken
        self._paused = open_weight >= self._permits or (self._paused and open_weight > self._permits // 2)
        return self._paused

    def put(self, item: T, weight: int = 0) -> None:
        """Thread: hand an item over."""
        self._given += weight
        self._items.append((item, weight))
        self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """Thread: nothing follows; ``error`` is raised at the end of ``items``."""
        self._end, self._ended = error, True
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop is closed: nobody reads any more
            self._ended = True

    async def items(self) -> AsyncIterator[T]:
        """Loop: everything put, in order; ends after ``end``."""
        while True:
            while self._items:
                item, weight = self._items.popleft()
                self._taken += weight
                yield item
            if self._ended:
                break
            await self._ready.wait()
            self._ready.clear()
        if self._end is not None:
            raise self._end


class Commands:
    """Calls for an owner thread, run there in order between two polls."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def post(self, call: Call) -> None:
        """Loop: run it in the thread, some time."""
        self._calls.put(call)

    def run(self, wait_s: float = 0.0) -> None:
        """Thread: run what was asked so far, waiting at most that long for the first."""
        try:
            call = self._calls.get(timeout=wait_s) if wait_s else self._calls.get_nowait()
            while True:
                call()
                call = self._calls.get_nowait()
        except queue.Empty:
            return
