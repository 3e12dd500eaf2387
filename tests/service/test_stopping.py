"""Waiting that a stop, or time, ends."""

from __future__ import annotations

import asyncio

import pytest

from connector.services.stopping import unless, within
from tests.fakes.clock import FakeClock, settle


class Work:
    """Something to wait for, which says how it ended."""

    def __init__(self) -> None:
        self.ended = ""
        self.go = asyncio.Event()

    async def run(self) -> int:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.ended = "cancelled"
            raise
        self.ended = "done"
        return 7


async def test_work_that_ends_first_gives_its_result() -> None:
    """A stop that does not come changes nothing, for results and for errors."""
    stop, work = asyncio.Event(), Work()
    work.go.set()
    assert await unless(stop, work.run()) == 7
    with pytest.raises(ZeroDivisionError):
        await unless(stop, asyncio.to_thread(lambda: 1 // 0))


async def test_a_stop_ends_the_work() -> None:
    """None, and the work has ended by then: nothing goes on behind one's back."""
    stop, work = asyncio.Event(), Work()
    waiting = asyncio.ensure_future(unless(stop, work.run()))
    await settle()
    stop.set()
    assert await waiting is None
    assert work.ended == "cancelled"


async def test_whoever_waits_can_be_cancelled() -> None:
    """Then the work is cancelled, too."""
    stop, work = asyncio.Event(), Work()
    waiting = asyncio.ensure_future(unless(stop, work.run()))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended == "cancelled"


async def test_work_within_its_time_comes_to_its_end() -> None:
    """True, and its error is the caller's."""
    work, clock = Work(), FakeClock()
    work.go.set()
    assert await within(clock, 1.0, work.run())
    with pytest.raises(ZeroDivisionError):
        await within(clock, 1.0, asyncio.to_thread(lambda: 1 // 0))


async def test_work_beyond_its_time_is_cut() -> None:
    """False, once the work has ended by its cancellation; not a moment before its time."""
    work, clock = Work(), FakeClock()
    waiting = asyncio.create_task(within(clock, 5.0, work.run()))
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.2)
    assert (await waiting, work.ended) == (False, "cancelled")
