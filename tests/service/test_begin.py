"""``topics begin``: a person takes it upon himself to go on where a journal was lost."""

from __future__ import annotations

import pytest

from connector.core import rows
from connector.core.resume import Places
from connector.errors import LaneLost
from connector.services.begin import Beginning, begin
from tests.service.world import LANE, Process, World


async def begun(world: World, process: Process, nonce: str = "by-hand") -> int | None:
    """Run it on the world's lane."""
    at = Beginning(await process.source.places(LANE), len(world.callback_logs[LANE]), None)
    return await begin(LANE, at, process.journal, process.outbox, rows.claim_row(nonce, "test", 0))


async def test_a_begun_lane_goes_on_at_the_committed_offset(world: World) -> None:
    """After a lost journal: nothing of what was read is sent again, everything after it is."""
    first = await Process(world).start()
    await first.put(*(world.record(key=str(n)) for n in range(3)), seconds=3)
    await first.stop()
    world.journal_logs[LANE].clear()
    after = world.record()
    refused = await Process(world).start()
    assert refused.intake.keepers[LANE].state == "refused"
    assert await begun(world, refused) == 3
    await refused.stop()
    second = await Process(world).start()
    await world.clock.advance(3)
    assert world.provider.posts[3:] == [f"{world.flow_id(after, 'order')}.1"]
    assert second.value("callbacks_orphaned_total") == 0
    await second.stop()


async def test_a_lane_with_a_history_is_left_alone(world: World) -> None:
    """Not even a CLAIM is written: its owner goes on."""
    process = await Process(world).start()
    await process.put(world.record(), seconds=3)
    length = len(world.journal_logs[LANE])
    assert await begun(world, process) is None
    assert len(world.journal_logs[LANE]) == length
    await process.stop()


async def test_a_group_without_offsets_has_nothing_to_begin(world: World) -> None:
    """``start_from`` decides there."""
    assert await begun(world, Process(world)) is None
    assert world.journal_logs[LANE] == []


async def test_two_beginnings_at_once_do_not_both_count(world: World) -> None:
    """A row between the CLAIM and its checkpoint means that somebody else is at it."""
    process = Process(world)
    at = Beginning(Places(5, 0, 9, 0), 0, None)

    async def intrude(lane: object) -> dict[str, int]:
        process.journal.append(LANE, *rows.claim_row("other", "test", 0))
        return {}

    process.outbox.ends = intrude  # type: ignore[method-assign]
    with pytest.raises(LaneLost):
        await begin(LANE, at, process.journal, process.outbox, rows.claim_row("one", "test", 0))
