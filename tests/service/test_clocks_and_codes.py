"""What clocks apart, codes with labels, and answers that come too late may not bring about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core import rows
from connector.core.claim import Fold
from connector.core.model import Api, Channel, Doubt, FlowReport, RefusalKind, Refused, StepReport, StepStatus
from connector.ports import Unanswered
from tests.service.world import Process, World, report

VOICE = """
rules:
  - name: order
    match: {type: order}
    class: transactional
    expires_after: 12h
    steps: [{voice: {from: "+302101234567", say: [{text: "Order", language: en-GB}]}}]
"""
DELIVERED = replace(report("track-1"), steps=(StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered"),))


async def test_a_message_is_found_whose_sender_had_a_wrong_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that sent it was ten minutes ahead and died; the next owner, whose clock is right, comes five minutes later."""

    async def search(api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        """As ``RouteeTracking.search``: its window, floored and with the clock skew of a minute."""
        since_ms, until_ms = since_ms // 60_000 * 60_000, -(-(until_ms + 60_000) // 60_000) * 60_000
        return tuple(one for one in world.provider.reports.values() if since_ms <= (one.created_at_ms or 0) <= until_ms)

    monkeypatch.setattr(world.provider, "search", search)
    record = world.record("order")
    flow = world.answer(record, "order", world.provider.lose_reply)
    world.clock.step(600_000)
    first = await Process(world).start()
    await first.kill()
    world.clock.step(-600_000)
    for log in world.journal_logs.values():  # the broker's clock was right all the time, and so was the provider's
        log[:] = [entry and entry._replace(timestamp_ms=world.clock.now_ms()) for entry in log]
    (taken,) = world.provider.reports
    world.provider.reports[taken] = replace(world.provider.reports[taken], created_at_ms=world.clock.now_ms())
    await world.clock.advance(300)
    second = await Process(world).start()
    await world.clock.advance(200)
    posts = world.posts(flow)
    await second.kill()
    assert world.outcomes() == [("ACCEPTED", None)]
    assert posts == [1]


async def test_a_newer_code_counts_for_as_long_as_an_older_one_may_wait(world: World) -> None:
    """The newer one is good for half a minute, the older one for three, and waits for one (429)."""
    process = await Process(world).start()
    older = world.record("code", key="a")
    flow = world.answer(older, "code", Refused(RefusalKind.THROTTLED, 429, "x", 60_000))
    await process.put(older, seconds=1)
    await process.put(world.record("code", key="a", expires_s=35), seconds=100)
    posts = world.posts(flow)
    await process.kill()
    assert posts == [1], world.outcomes()


async def test_a_stranger_is_no_second_acceptance(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback proves the flow while its search is under way; the answer, of before, shows somebody else's flow only."""
    world.reload(VOICE)
    process = await Process(world).start()
    record = world.record("order")
    world.answer(record, "order", world.provider.lose_reply)

    async def search(*_: object) -> tuple[FlowReport, ...]:
        await world.clock.sleep(0.2)
        process.call_back(
            record, "order", replace(report("track-1", None), steps=(StepReport(1, Channel.VOICE, StepStatus.RINGING, "Ringing"),))
        )
        await world.clock.sleep(0.2)
        mine = world.provider.reports["track-1"]
        return (replace(mine, tracking_id="stranger"),)

    monkeypatch.setattr(world.provider, "search", search)
    await process.put(record, seconds=20)
    told = [(event["outcome"], event["tracking_id"], event["duplicate"]) for event in world.outputs("sends")]
    owned = process.lane.neighbours.owns("stranger")
    await process.kill()
    assert told == [("ACCEPTED", "track-1", False)]
    assert not owned


async def test_a_clock_that_jumps_forgets_no_neighbour(world: World) -> None:
    """The wall clock is two hours ahead for some seconds: what a neighbour got before must still be known as its own."""
    world.reload(VOICE)
    process = await Process(world).start()
    sent = world.record("order", key="a")
    await process.put(sent, seconds=1)
    process.call_back(sent, "order", replace(DELIVERED, steps=(StepReport(1, Channel.VOICE, StepStatus.DELIVERED, "Delivered"),)))
    await world.clock.advance(5)
    world.clock.step(7_200_000)
    await world.clock.advance(7)
    world.clock.step(-7_200_000)
    doubted = world.record("order", key="b")
    flow = world.answer(doubted, "order", Doubt("timeout"))
    await process.put(doubted, seconds=200)
    posts, told = world.posts(flow), [(event["outcome"], event["tracking_id"]) for event in world.outputs("sends")]
    await process.kill()
    assert posts == [1, 2], told


def test_a_checkpoint_tells_of_its_claim_when_retention_took_that() -> None:
    """A row of the epoch before, behind the claim, is void, though of the claim nothing but its checkpoint is left."""
    fold = Fold(epoch=100)
    fold.feed(51, *rows.checkpoint_row(rows.Checkpoint(60, {}, None, 5), 50, 1))
    head = rows._HEAD.pack(rows.FORMAT, rows.Kind.FLOW, 5, 1, 1, 7, 9, 3, bytes(16))  # epoch 7, finished
    fold.feed(55, b"flow|7", head + b"{}")
    fold.feed(100, *rows.claim_row("n", "h", 0))
    assert [row.void for row in fold.flows()] == [True]
