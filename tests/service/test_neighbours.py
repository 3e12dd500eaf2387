"""Whose a candidate without a label is, when the neighbour that it belongs to has ended long ago, or before a take-over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core.model import Channel, Doubt, StepReport, StepStatus
from tests.service.world import Process, World, report

LOST = Doubt("timeout")
DELIVERED = replace(report("track-1"), steps=(StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered"),))


@pytest.mark.parametrize("ago_s", [2, 50])
async def test_a_new_doubt_knows_a_neighbour_that_ended_before_the_claim(world: World, ago_s: float) -> None:
    """Two codes to one phone, a restart between them: the first was delivered, the second got lost and is sent again."""
    await world.clock.advance(1000)
    first = await Process(world).start()
    delivered = world.record("code", key="a")
    await first.put(delivered, seconds=1)
    first.call_back(delivered, "code", DELIVERED)
    await world.clock.advance(1)
    assert world.flow_id(delivered, "code") not in first.lane.flows
    await world.clock.advance(ago_s)
    await first.stop()
    second = await Process(world).start()
    doubted = world.record("code", key="a")
    flow = world.answer(doubted, "code", LOST)
    await second.put(doubted, seconds=100)
    assert world.posts(flow) == [1, 2]
    assert [event["tracking_id"] for event in world.outputs("sends")] == ["track-1", "track-2"]
    await second.stop()
