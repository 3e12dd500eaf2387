"""The laws of ``ports.Source``."""

from __future__ import annotations

from connector.ports import Assigned, LaneId, Revoked
from tests.contract.ports.conftest import Sources
from tests.processes import Member, member


async def assigned(joined: Member, sources: Sources) -> None:
    """Wait until the member has both lanes."""
    await joined.until(lambda: joined.lanes == set(sources.lanes))


async def filled(sources: Sources, lane: LaneId, count: int) -> None:
    """Put that many records."""
    for number in range(count):
        await sources.put(lane, b"%d" % number)


async def test_lanes_are_silent_until_started(sources: Sources) -> None:
    """An assigned lane gives nothing before ``start``, while a started one flows."""
    one, two = sources.lanes
    await filled(sources, one, 3)
    await filled(sources, two, 3)
    async with member(sources.source, sources.close) as joined:
        await assigned(joined, sources)
        sources.source.start(two, 0)
        await joined.until(lambda: joined.offsets(two) == [0, 1, 2])
        assert joined.offsets(one) == []
        sources.source.start(one, 0)
        await joined.until(lambda: joined.offsets(one) == [0, 1, 2])


async def test_records_flow_from_exactly_the_start(sources: Sources) -> None:
    """The first record is the one at ``start``'s offset; later ones follow in order."""
    lane, _ = sources.lanes
    await filled(sources, lane, 5)
    async with member(sources.source, sources.close) as joined:
        await assigned(joined, sources)
        sources.source.start(lane, 2)
        await joined.until(lambda: len(joined.offsets(lane)) == 3)
        await sources.put(lane, b"later")
        await joined.until(lambda: len(joined.offsets(lane)) == 4)
        assert joined.offsets(lane) == [2, 3, 4, 5]
        assert joined.records[lane][-1].value == b"later"


async def test_a_lane_can_be_started_again_further_back(sources: Sources) -> None:
    """A second ``start`` begins at its own offset, and nothing of the first comes in between."""
    lane, _ = sources.lanes
    await filled(sources, lane, 6)
    async with member(sources.source, sources.close) as joined:
        await assigned(joined, sources)
        sources.source.start(lane, 4)
        await joined.until(lambda: joined.offsets(lane) == [4, 5])
        sources.source.start(lane, 1)
        await joined.until(lambda: len(joined.offsets(lane)) >= 7)
        assert joined.offsets(lane) == [4, 5, 1, 2, 3, 4, 5]


async def test_a_held_lane_loses_nothing(sources: Sources) -> None:
    """Records put while a lane is held arrive once it is let go, in order; other lanes flow on."""
    one, two = sources.lanes
    await filled(sources, one, 2)
    async with member(sources.source, sources.close, at=lambda _: 0) as joined:
        await joined.until(lambda: joined.offsets(one) == [0, 1])
        sources.source.hold([one], held=True)
        await filled(sources, one, 2)
        await filled(sources, two, 2)
        await joined.until(lambda: joined.offsets(two) == [0, 1])
        sources.source.hold([one], held=False)
        await joined.until(lambda: len(joined.offsets(one)) == 4)
        assert joined.offsets(one) == [0, 1, 2, 3]


async def test_a_lane_that_is_started_flows_whatever_was_held(sources: Sources) -> None:
    """A hold belongs to the start before it."""
    lane, _ = sources.lanes
    await filled(sources, lane, 2)
    async with member(sources.source, sources.close, at=lambda _: 0) as joined:
        await joined.until(lambda: joined.offsets(lane) == [0, 1])
        sources.source.hold([lane], held=True)
        sources.source.start(lane, 1)
        await joined.until(lambda: joined.offsets(lane) == [0, 1, 1])


async def test_commits_are_remembered(sources: Sources) -> None:
    """Before any commit there is no committed offset, and ``begin`` is where ``start_from`` says; after it, what was committed."""
    lane, other = sources.lanes
    await filled(sources, lane, 3)
    async with member(sources.source, sources.close, at=lambda _: 0) as joined:
        await assigned(joined, sources)
        before = await sources.source.places(lane)
        assert (before.committed, before.first, before.begin) == (None, 0, 0)
        assert before.end >= 3
        assert await sources.source.commit({lane: 2})
        assert (await sources.source.places(lane)).committed == 2
        assert (await sources.source.places(other)).committed is None


async def test_the_end_is_a_revocation(sources: Sources) -> None:
    """Leaving the group revokes the lanes first, and then the events end."""
    async with member(sources.source, sources.close, at=lambda _: 0) as joined:
        await assigned(joined, sources)
    assert isinstance(joined.seen[0], Assigned)
    assert isinstance(joined.seen[-1], Revoked)
    assert joined.lanes == set()
