"""One piece of work at a time, shared by all who ask for it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """``await flight()`` joins the running work, or begins it. A waiter that is cancelled leaves the work to the others."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None

    @property
    def running(self) -> bool:
        """Whether the work is under way."""
        return self._task is not None and not self._task.done()

    def begin(self) -> asyncio.Task[T]:
        """The running work, begun if need be."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_take_note)
        return self._task

    async def __call__(self) -> T:
        """The work's result, or its exception."""
        return await asyncio.shield(self.begin())

    async def aclose(self) -> None:
        """Cancel what is running and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> T:
        return await self._work()


def _take_note(task: asyncio.Task[T]) -> None:
    """Nobody may be left to see the exception; that is no reason for a warning."""
    if not task.cancelled():
        task.exception()
