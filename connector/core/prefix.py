"""The contiguous prefix of what was taken in order and is done out of order: offsets to commit, callbacks taken."""

from __future__ import annotations

from collections import deque


class Prefix:
    """Offsets are taken in rising order (holes are allowed) and done in any order. ``position`` is next-to-read behind the done prefix.

    It never goes back: an offset below it that is delivered again changes nothing.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self._taken: deque[int] = deque()
        self._done: set[int] = set()

    def take(self, offset: int) -> None:
        """``offset`` was consumed."""
        self._taken.append(offset)

    def done(self, offset: int) -> None:
        """``offset`` needs no more care."""
        self._done.add(offset)
        while self._taken and self._taken[0] in self._done:
            self._done.discard(self._taken[0])
            self.position = max(self.position, self._taken.popleft() + 1)

    @property
    def open(self) -> int:
        """How many taken offsets lie behind the position (done ones after an open one included)."""
        return len(self._taken)
