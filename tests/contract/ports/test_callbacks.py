"""The laws of ``ports.CallbackSink`` and ``ports.CallbackFeed``, together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from connector.ports import CallbackFeed, Heard
from tests.contract.ports.conftest import Callbacks, callback


class Reader:
    """Takes a given number of deliveries from the feed."""

    def __init__(self, feed: CallbackFeed) -> None:
        self._batches: AsyncIterator[Sequence[Heard]] = feed.events()
        self._have: list[Heard] = []

    async def take(self, count: int) -> list[tuple[int, int | None]]:
        """(offset, attempt) of the next ones."""
        async with asyncio.timeout(30):
            while len(self._have) < count:
                self._have += await anext(self._batches)
        taken, self._have = self._have[:count], self._have[count:]
        return [(heard.record.offset, None if heard.callback is None else heard.callback.attempt) for heard in taken]


@pytest.fixture
def reader(callbacks: Callbacks) -> Reader:
    """Reads the one feed of the test."""
    return Reader(callbacks.feed)


async def test_what_is_put_is_delivered_in_order(callbacks: Callbacks, reader: Reader) -> None:
    """A followed lane gets its callbacks from the start of the log, then those put later, once each."""
    for number in range(3):
        await callbacks.sink.put(callback(callbacks.lane, number))
    callbacks.feed.follow(callbacks.lane, None)
    assert await reader.take(3) == [(0, 0), (1, 1), (2, 2)]
    await callbacks.sink.put(callback(callbacks.lane, 3))
    assert await reader.take(1) == [(3, 3)]


async def test_following_begins_at_the_offset(callbacks: Callbacks, reader: Reader) -> None:
    """From an offset on, and anew when followed again."""
    for number in range(4):
        await callbacks.sink.put(callback(callbacks.lane, number))
    callbacks.feed.follow(callbacks.lane, 2)
    assert await reader.take(2) == [(2, 2), (3, 3)]
    callbacks.feed.follow(callbacks.lane, 1)
    assert await reader.take(3) == [(1, 1), (2, 2), (3, 3)]


async def test_what_does_not_parse_is_none(callbacks: Callbacks, reader: Reader) -> None:
    """Bytes that are no callback keep their offset and come as None."""
    await callbacks.garble()
    await callbacks.sink.put(callback(callbacks.lane, 7))
    callbacks.feed.follow(callbacks.lane, None)
    assert await reader.take(2) == [(0, None), (1, 7)]


async def test_nothing_comes_after_unfollow(callbacks: Callbacks, reader: Reader) -> None:
    """Once unfollowed, a lane's callbacks wait until it is followed again."""
    callbacks.feed.follow(callbacks.lane, None)
    await callbacks.sink.put(callback(callbacks.lane, 1))
    assert await reader.take(1) == [(0, 1)]
    callbacks.feed.unfollow(callbacks.lane)
    await callbacks.sink.put(callback(callbacks.lane, 2))
    callbacks.feed.follow(callbacks.lane, 1)
    assert await reader.take(1) == [(1, 2)]


async def test_a_held_lane_loses_nothing(callbacks: Callbacks, reader: Reader) -> None:
    """What comes while a lane is held arrives once it is let go, in order, once each; other lanes flow on, and following anew lets go."""
    other = callbacks.lane._replace(partition=0)
    for lane in (callbacks.lane, other):
        callbacks.feed.follow(lane, 0)
    await callbacks.sink.put(callback(callbacks.lane, 0))
    assert await reader.take(1) == [(0, 0)]
    callbacks.feed.hold(callbacks.lane, held=True)
    await callbacks.sink.put(callback(other, 7))
    assert await reader.take(1) == [(0, 7)]  # the hold is in force by now
    for number in range(1, 4):
        await callbacks.sink.put(callback(callbacks.lane, number))
    for number in range(8, 20):
        await callbacks.sink.put(callback(other, number))
    assert await reader.take(12) == [(number - 7, number) for number in range(8, 20)]
    callbacks.feed.hold(callbacks.lane, held=False)
    assert await reader.take(3) == [(1, 1), (2, 2), (3, 3)]
    callbacks.feed.hold(callbacks.lane, held=True)
    callbacks.feed.follow(callbacks.lane, 2)
    assert await reader.take(2) == [(2, 2), (3, 3)]


async def test_a_batch_is_of_one_lane(callbacks: Callbacks) -> None:
    """A lane that goes while another one's callbacks are being taken gets none of those that were fetched beside them."""
    other = callbacks.lane._replace(partition=0)
    callbacks.feed.follow(callbacks.lane, 0)
    callbacks.feed.follow(other, 0)
    await asyncio.gather(*(callbacks.sink.put(callback((callbacks.lane, other)[number % 2], number)) for number in range(200)))
    lanes = []
    async with asyncio.timeout(30):
        async for batch in callbacks.feed.events():
            lanes.append({heard.lane for heard in batch})
            if {callbacks.lane, other} <= set().union(*lanes):
                break
    assert all(len(found) == 1 for found in lanes)


async def test_a_log_made_anew_is_heard_from_its_start(callbacks: Callbacks, reader: Reader) -> None:
    """Whoever follows from beyond the end is told where that is, and gets what the log has, in order, once each."""
    for number in range(3):
        await callbacks.sink.put(callback(callbacks.lane, number))
    assert await callbacks.feed.end(callbacks.lane) == 3
    callbacks.feed.follow(callbacks.lane, 5000)
    assert await reader.take(3) == [(0, 0), (1, 1), (2, 2)]
    await callbacks.sink.put(callback(callbacks.lane, 3))
    assert await reader.take(1) == [(3, 3)]
