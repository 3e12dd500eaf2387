"""The callbacks of one lane on their way to their flows: applied some hundred at once, and back-pressure of its own for the rest."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from connector.errors import LaneStopped
from connector.ports import Heard
from connector.services import following
from connector.services.backlog import MOST_BEHIND

if TYPE_CHECKING:
    from connector.services.lane import Lane

_AT_ONCE = 256
_LOOK_AGAIN_S = 1.0
_MOST = 2000  # so many waiting, and the lane's feed rests; at half of it, it goes on


class Hearing:
    """One tenure's. What still waits at its end is heard by the next one: the checkpoint passes only what was applied."""

    def __init__(self, lane: Lane, prove: Callable[[], Awaitable[None]]) -> None:
        """``prove``: returns once it is known that the lane was owned when it was called; raises LaneLost."""
        self._lane = lane
        self._prove = prove
        self._waiting: deque[Heard] = deque()
        self._came = asyncio.Event()
        self.free = asyncio.Semaphore(_AT_ONCE)
        self.letters = 0  # callbacks that wait for the dead-letter topic
        self._next = lane.callbacks.position
        self._held = False

    def offer(self, heard: Heard) -> None:
        """A callback came. Never waits, so that no lane holds up another one's."""
        if heard.record.offset < self._next:  # the log was made anew under way: the next claim finds where to go on
            self._lane.writer.lose("callbacks_begun_anew")
            return
        self._next = heard.record.offset + 1
        self._waiting.append(heard)
        self._came.set()
        if len(self._waiting) >= _MOST:
            self._hold(held=True)

    async def run(self) -> None:
        """Apply them, begun in their order, until the lane drains; ends by cancellation too."""
        lane = self._lane
        while True:
            await self._came.wait()
            while lane.callbacks.open >= MOST_BEHIND:
                await lane.parts.clock.sleep(_LOOK_AGAIN_S)
            await self.free.acquire()
            if lane.draining:
                return
            heard = self._waiting.popleft()
            if not self._waiting:
                self._came.clear()
            if len(self._waiting) <= _MOST // 2:
                self._hold(held=False)
            lane.callbacks.take(heard.record.offset)
            place = _Place(self)
            lane.hear(self._hear(heard, place), place.leave)

    async def _hear(self, heard: Heard, place: _Place) -> None:
        with suppress(LaneStopped):
            await following.hear(self._lane, heard, self._prove, place.leave_to_wait)

    def _hold(self, *, held: bool) -> None:
        if held is not self._held:
            self._held = held
            self._lane.parts.feed.hold(self._lane.id, held=held)


class _Place:
    """One callback's place among those that are being applied. While it waits for the dead-letter topic, others get it: so many of them."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self._left = self._waits = False

    def leave(self) -> None:
        """It is applied, or never will be by this tenure."""
        if not self._left:
            self._left = True
            self._hearing.free.release()
        if self._waits:
            self._waits = False
            self._hearing.letters -= 1

    def leave_to_wait(self) -> None:
        """Its letter is not taken: that may last."""
        if not self._left and self._hearing.letters < _MOST:
            self._hearing.letters += 1
            self._left = self._waits = True
            self._hearing.free.release()
