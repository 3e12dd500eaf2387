"""Whose a candidate without a label is, when the neighbour that it belongs to has ended long ago, or before a take-over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core.model import Channel, Doubt, RefusalKind, Refused, StepReport, StepStatus
from connector.services.parts import Policy
from tests.service.world import Process, World, report

VOICE = """
rules:
  - name: order
    match: {type: order}
    class: transactional
    expires_after: 12h
    steps: [{voice: {from: "+302101234567", say: [{text: "Order", language: en-GB}]}}]
"""
LABELLED_CODES = """
rules:
  - name: code
    match: {type: code}
    class: otp
    send: transactional
    steps: [{sms: {from: ACME, body: "Code {{ data.pin }}", ttl: 60s}}]
"""
LOST = Doubt("timeout")
DELIVERED = replace(report("track-1"), steps=(StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered"),))


@pytest.mark.parametrize("away_s", [600, 4200])
async def test_a_neighbours_id_is_known_as_long_as_an_open_doubt_may_ask(world: World, away_s: float) -> None:
    """Taken over an hour later, with checkpoints before absence is conclusive: the doubted flow is sent again, under its own id."""
    world.reload(VOICE)
    first = await Process(world).start()
    sent, doubted = world.record("order", key="a"), world.record("order", key="b")
    flow = world.answer(doubted, "order", LOST)
    await first.put(sent, seconds=1)
    await first.put(doubted, seconds=1)
    await first.kill()
    await world.clock.advance(away_s)
    second = await Process(world).start()
    await world.clock.advance(400)
    assert world.posts(flow) == [1, 2]
    assert len({event["tracking_id"] for event in world.outputs("sends")}) == 2
    await second.stop()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_neighbours_id_is_known_to_a_resend_that_comes_into_doubt(world: World, restart: bool) -> None:
    """The resend waited an hour and is asked about from the first POST on: what a neighbour got then stays the neighbour's."""
    world.reload(VOICE)
    process = await Process(world).start()
    sent, doubted = world.record("order", key="a"), world.record("order", key="b")
    flow = world.answer(doubted, "order", LOST, Refused(RefusalKind.THROTTLED, 429, "x", 4_200_000), LOST)
    await process.put(sent, seconds=1)
    process.call_back(sent, "order", replace(DELIVERED, steps=(StepReport(1, Channel.VOICE, StepStatus.DELIVERED, "Delivered"),)))
    await process.put(doubted, seconds=600)
    assert world.posts(flow) == [1, 2]
    if restart:
        await process.stop()
        process = await Process(world).start()
    await world.clock.advance(4500)
    assert world.posts(flow) == [1, 2, 3]
    assert [(event["outcome"], event["reason"]) for event in world.outputs("sends")] == [("ACCEPTED", None), ("UNKNOWN", "not_found")]
    await process.stop()


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


@pytest.mark.parametrize("restart", [False, True])
async def test_a_second_acceptance_is_the_flows_own_too(world: World, restart: bool) -> None:
    """An audited duplicate's id is no stranger's candidate either, neither now nor after a take-over."""
    process = await Process(world).start()
    record = world.record("code", key="a")
    await process.put(record, seconds=1)
    process.call_back(record, "code", DELIVERED)
    process.call_back(record, "code", replace(DELIVERED, tracking_id="track-99"))
    await world.clock.advance(10)
    if restart:
        await process.stop()
        process = await Process(world).start()
    assert {"track-1", "track-99"} <= set(process.lane.neighbours.ids)
    await process.stop()


async def test_a_doubt_ends_however_many_are_sent_to_its_phone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone that monitoring uses: some POST to it is always under way. doubt.give_up is 100 s here."""
    world.reload(VOICE)
    process = await Process(world, Policy(give_up_s=100.0, transactional_wait_s=30.0, poll_schedule_s=(3000.0,))).start()

    async def answers(_: object) -> bool:
        await world.clock.sleep(2.5)
        return True

    monkeypatch.setattr(world.provider, "_answers", answers)
    for number in range(5):
        await process.put(world.record("order", key=str(number)), seconds=1)
    lost = world.record("order", key="first")
    flow = world.answer(lost, "order", world.provider.lose_reply)
    await process.put(lost, seconds=1)
    for number in range(300):
        await process.put(world.record("order", key=f"later-{number}"), seconds=1)
    told = [event["outcome"] for event in world.outputs("sends") if event["flow_id"] == flow]
    await process.kill()
    assert told


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_newer_code_is_known_after_a_take_over(world: World, restart: bool, labelled: bool) -> None:
    """The older code waits (429), the newer one is delivered; after a take-over the older one must still be worthless.

    Whether it went by an API whose tracking shows our label makes no difference.
    """
    if labelled:
        world.reload(LABELLED_CODES)
    process = await Process(world).start()
    older = world.record("code", key="a")
    flow = world.answer(older, "code", Refused(RefusalKind.THROTTLED, 429, "x", 20_000))
    await process.put(older, seconds=1)
    newer = world.record("code", key="a")
    await process.put(newer, seconds=1)
    process.call_back(newer, "code", DELIVERED)
    await world.clock.advance(5)
    if restart:
        await process.kill()
        process = await Process(world).start()
    await world.clock.advance(60)
    posts = world.posts(flow)
    await process.kill()
    assert posts == [1], world.outcomes()
