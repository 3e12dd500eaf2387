"""What is due comes when it is due, whatever happens to the wall clock meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core.model import FlowStatus, RefusalKind, Refused
from connector.services.parts import Policy
from tests.service.world import Process, World, report

HOUR_MS = 3_600_000


@pytest.mark.parametrize("step_ms", [-HOUR_MS, HOUR_MS])
async def test_a_silent_flow_is_asked_about_in_its_time(world: World, step_ms: int) -> None:
    """Neither later nor at once; and again, as before, after that."""
    process = await Process(world, Policy(poll_schedule_s=(30.0, 60.0))).start()
    await process.put(world.record(), seconds=2)
    world.provider.reports["track-1"] = report("track-1", FlowStatus.IN_PROGRESS)
    world.clock.step(step_ms)
    await world.clock.advance(20)
    assert world.provider.polls == []
    await world.clock.advance(45)
    assert world.provider.polls == ["track-1"]
    await world.clock.advance(300)
    assert 3 <= len(world.provider.polls) <= 11
    await process.stop()


@pytest.mark.parametrize("step_ms", [-2 * HOUR_MS, 2 * HOUR_MS])
async def test_a_flow_has_its_time_until_its_deadline(world: World, step_ms: int) -> None:
    """An hour behind its ttl it is given up, not before, and not later."""
    process = await Process(world, Policy(poll_schedule_s=(30.0, 120.0))).start()
    await process.put(world.record("code"), seconds=2)
    world.provider.reports["track-1"] = report("track-1", FlowStatus.IN_PROGRESS)
    world.clock.step(step_ms)
    await world.clock.advance(3650)
    assert not [event for event in world.outputs("statuses") if event["terminal"]]
    await world.clock.advance(15)
    assert [event["reason"] for event in world.outputs("statuses") if event["terminal"]] == ["silent"]
    await process.stop()


@pytest.mark.parametrize("step_ms", [-HOUR_MS, HOUR_MS])
async def test_a_doubt_is_searched_in_its_time(world: World, step_ms: int) -> None:
    """A code in doubt cannot wait for an hour, nor is it taken for absent before its time."""
    process = await Process(world).start()
    record = world.record("code")
    flow_id = world.answer(record, "code", world.provider.lose_reply)
    world.provider.search_unanswered = True
    await process.put(record, seconds=3)
    before = world.provider.searches
    world.clock.step(step_ms)
    await world.clock.advance(20)
    assert before < world.provider.searches <= before + 10
    world.provider.search_unanswered = False
    await world.clock.advance(60)
    assert world.posts(flow_id) == [1]
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_a_message_that_came_before_the_clock_was_set_right_is_found(world: World) -> None:
    """Routee's clock was right all the time: by ours it took the message long before we sent it. That must not look like absence."""
    process = await Process(world).start()
    record = world.record("code")
    flow_id = world.answer(record, "code", world.provider.lose_reply)
    world.provider.search_unanswered = True
    await process.put(record, seconds=1)
    world.provider.reports["track-1"] = replace(
        world.provider.reports["track-1"], created_at_ms=(world.provider.reports["track-1"].created_at_ms or 0) - HOUR_MS
    )
    world.clock.step(-HOUR_MS)
    world.provider.search_unanswered = False
    await world.clock.advance(60)
    assert world.posts(flow_id) == [1]
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_a_retry_comes_in_its_time(world: World) -> None:
    """Routee asked for a minute's rest; an hour set back makes it no hour."""
    process = await Process(world).start()
    record = world.record()
    flow_id = world.answer(record, "order", Refused(RefusalKind.THROTTLED, 429, "HTTP_429", 60_000))
    await process.put(record, seconds=5)
    world.clock.step(-HOUR_MS)
    await world.clock.advance(50)
    assert world.posts(flow_id) == [1]
    await world.clock.advance(30)
    assert world.posts(flow_id) == [1, 2]
    await process.stop()
