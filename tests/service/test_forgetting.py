"""The memory of ended flows is as long as the journal, and no longer."""

from __future__ import annotations

from connector.core.identity import digest
from tests.service.world import LANE, Process, World, report


async def finished(world: World, process: Process, count: int) -> list[int]:
    """So many events that came to their end; gives the offsets of their last rows."""
    for number in range(count):
        record = world.record(event_id=f"event-{number}")
        await process.put(record, seconds=1)
        process.call_back(record, "order", report(None))
        await world.clock.advance(1)
    settled = process.lane.ledger.settled
    return [settled.find(digest(f"event-{number}"))[-1] for number in range(count)]


def retention(world: World, process: Process, begin: int) -> None:
    """What lies below ``begin`` is gone."""
    world.journal_logs[LANE][:begin] = [None] * begin
    process.journal.begins[LANE] = begin


async def test_what_retention_took_is_forgotten_within_the_epoch(world: World) -> None:
    """A lane that is never claimed anew does not grow for ever; what is still in the journal is known as before."""
    process = await Process(world).start()
    offsets = await finished(world, process, 3)
    retention(world, process, offsets[1])
    settled = process.lane.ledger.settled
    held = len(settled)
    await world.clock.advance(61)
    assert [settled.find(digest(f"event-{number}")) for number in range(3)] == [[], [offsets[1]], [offsets[2]]]
    assert len(settled) < held
    posts = len(world.provider.posts)
    await process.put(world.record(event_id="event-1"), world.record(event_id="event-2"), seconds=2)
    assert len(world.provider.posts) == posts, "a known event was sent again"
    assert process.value("duplicates_total") == 2
    await process.stop()


async def test_nothing_is_forgotten_while_the_beginning_is_not_known(world: World) -> None:
    """Kafka away: the lane goes on, and asks again later."""
    process = await Process(world).start()
    offsets = await finished(world, process, 2)
    retention(world, process, offsets[1])
    process.journal.unavailable = True
    settled = process.lane.ledger.settled
    await world.clock.advance(61)
    assert settled.find(digest("event-0")) == [offsets[0]]
    process.journal.unavailable = False
    await world.clock.advance(61)
    assert settled.find(digest("event-0")) == []
    assert process.value("lane_drops_total") == 0
    await process.stop()
