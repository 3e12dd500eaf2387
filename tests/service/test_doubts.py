"""A POST whose outcome is unknown: what the search proves, what follows by class, and late proof."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core.model import Accepted, Channel, Doubt, FlowStatus, NotSent, RefusalKind, Refused, StepReport, StepStatus
from connector.services.parts import Policy
from tests.service.world import LANE, RULES, Answer, Process, World, report

LOST = Doubt("timeout")
NEVER = """
rules:
  - name: order
    match: {type: order}
    class: transactional
    in_doubt: never
    steps: [{sms: {from: ACME, body: "Order {{ data.id }}", ttl: 10m}}]
  - name: sale
    match: {type: sale}
    class: marketing
    in_doubt: resend
    steps: [{sms: {from: ACME, body: "Sale", ttl: 10m}}]
"""


async def test_absence_counts_only_after_deadline_and_lag(world: World) -> None:
    """T + V (30 s) from the own POST: searched early and often, resent not before, and then once, flagged and counted."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST)
    await process.put(record, seconds=29)
    assert world.posts(flow) == [1]
    assert world.provider.searches >= 5
    await world.clock.advance(35)
    assert world.posts(flow) == [1, 2]
    [event] = world.outputs("sends")
    assert (event["outcome"], event["resent_after_doubt"]) == ("ACCEPTED", True)
    assert [line["outcome"] for line in event["attempts"]] == ["DOUBT", "ACCEPTED"]
    assert process.value("resends_total", **{"class": "otp"}) == 1
    await process.stop()


async def test_a_transactional_flow_waits_longer(world: World) -> None:
    """T + 120 s, since a second order message is worse than a late one."""
    process = await Process(world).start()
    record = world.record("order")
    flow = world.answer(record, "order", LOST)
    await process.put(record, seconds=129)
    assert world.posts(flow) == [1]
    await world.clock.advance(35)
    assert world.posts(flow) == [1, 2]
    await process.stop()


async def test_a_claimant_waits_for_the_lease_too(world: World) -> None:
    """An inherited doubt: L + T + V (33 s) from the claim, since the former owner may have begun late."""
    first = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST)
    await first.put(record, seconds=1)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(32)
    assert world.posts(flow) == [1]
    await world.clock.advance(35)
    assert world.posts(flow) == [1, 2]
    await second.stop()


async def test_a_second_doubt_ends_the_flow(world: World) -> None:
    """Resent once; in doubt again it is UNKNOWN, never posted a third time."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST, LOST)
    await process.put(record, seconds=170)
    assert world.posts(flow) == [1, 2]
    assert world.outcomes() == [("UNKNOWN", "not_found")]
    await process.stop()


@pytest.mark.parametrize(
    ("type_", "posts", "outcomes"), [("order", [1], [("UNKNOWN", "not_found")]), ("sale", [1, 2], [("ACCEPTED", None)])]
)
async def test_a_rule_may_choose(world: World, type_: str, posts: list[int], outcomes: list[tuple[str, str | None]]) -> None:
    """``in_doubt`` of the rule goes before the class."""
    world.reload(NEVER)
    process = await Process(world).start()
    record = world.record(type_)
    flow = world.answer(record, type_, LOST)
    await process.put(record, seconds=70)
    assert world.posts(flow) == posts
    assert world.outcomes() == outcomes
    await process.stop()


async def test_a_search_that_keeps_failing_gives_up(world: World) -> None:
    """No answer for ``doubt.give_up``: UNKNOWN, and never resent, for nothing proves it absent."""
    process = await Process(world, replace(Policy(), give_up_s=60)).start()
    world.provider.search_unanswered = True
    record = world.record("code", expires_s=600)
    flow = world.answer(record, "code", LOST)
    await process.put(record, seconds=59)
    assert world.outcomes() == []
    await world.clock.advance(40)
    assert world.posts(flow) == [1]
    assert world.outcomes() == [("UNKNOWN", "search_failed")]
    await process.stop()


async def test_the_default_patience_is_a_quarter_of_an_hour(world: World) -> None:
    """15 minutes of failing searches are waited out."""
    process = await Process(world).start()
    world.provider.search_unanswered = True
    record = world.record("order")
    world.answer(record, "order", LOST)
    await process.put(record, seconds=890)
    assert world.outcomes() == []
    await world.clock.advance(60)
    assert world.outcomes() == [("UNKNOWN", "search_failed")]
    await process.stop()


async def test_late_proof_corrects_unknown(world: World) -> None:
    """A callback after UNKNOWN: a second SendEvent, ACCEPTED, as correction; then the statuses."""
    process = await Process(world).start()
    record = world.record("sale")
    world.answer(record, "sale", LOST)
    await process.put(record, seconds=70)
    assert world.outcomes() == [("UNKNOWN", "not_found")]
    process.call_back(record, "sale", report("late-1"))
    await world.clock.advance(1)
    _, correction = world.outputs("sends")
    assert (correction["outcome"], correction["correction"], correction["tracking_id"]) == ("ACCEPTED", True, "late-1")
    assert [event["status"] for event in world.outputs("statuses")][-1] == "SUCCEEDED"
    await process.stop()


async def test_late_proof_corrects_unknown_after_a_restart(world: World) -> None:
    """What the journal says of a finished flow is enough."""
    first = await Process(world).start()
    record = world.record("sale")
    world.answer(record, "sale", LOST)
    await first.put(record, seconds=70)
    await first.stop()
    second = await Process(world).start()
    second.call_back(record, "sale", report("late-1"))
    await world.clock.advance(1)
    assert world.outcomes() == [("UNKNOWN", "not_found"), ("ACCEPTED", None)]
    assert len({event["id"] for event in world.outputs("sends")}) == 2
    await second.stop()


async def test_a_second_acceptance_is_an_audited_duplicate(world: World) -> None:
    """Both attempts were accepted after all: a SendEvent with ``duplicate: true``, once, and a counter."""
    process = await Process(world).start()
    record = world.record("code")
    world.answer(record, "code", LOST, Accepted("second", 200))
    await process.put(record, seconds=70)
    for _ in range(2):
        process.call_back(record, "code", report("first"), attempt=1)
        await world.clock.advance(1)
    accepted, duplicate = world.outputs("sends")
    assert (accepted["tracking_id"], accepted["duplicate"]) == ("second", False)
    assert (duplicate["tracking_id"], duplicate["duplicate"], duplicate["outcome"]) == ("first", True, "ACCEPTED")
    assert process.value("double_accepts_total", **{"class": "otp"}) == 1
    await process.stop()


async def test_a_callback_during_the_wait_for_a_connection_stops_the_resend(world: World) -> None:
    """Proof of the first attempt between INTENT(2) and its first byte: nothing is posted."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST)
    await process.put(record, seconds=28)
    world.provider.gate.clear()
    while process.lane.flows[flow].flow.attempt == 1:
        await world.clock.advance(0.5)
    process.call_back(record, "code", report("first"), attempt=1)
    await world.clock.advance(0.5)
    world.provider.gate.set()
    await world.clock.advance(5)
    assert world.posts(flow) == [1]
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_a_doubt_that_expires_is_unknown(world: World) -> None:
    """The expiry only forbids the resend; it may have been sent, so it is not EXPIRED."""
    process = await Process(world).start()
    record = world.record("code", expires_s=20)
    flow = world.answer(record, "code", LOST)
    await process.put(record, seconds=70)
    assert world.posts(flow) == [1]
    assert world.outcomes() == [("UNKNOWN", "expired")]
    await process.stop()


async def test_a_resend_that_is_refused_until_it_expires_is_unknown(world: World) -> None:
    """Parked after a doubt and then expired: still maybe sent."""
    process = await Process(world).start()
    record = world.record("code", expires_s=60)
    flow = world.answer(record, "code", LOST, Refused(RefusalKind.THROTTLED, 429, "HTTP_429", 60_000))
    await process.put(record, seconds=150)
    assert world.posts(flow) == [1, 2]
    assert world.outcomes() == [("UNKNOWN", "expired")]
    await process.stop()


async def test_other_rules_forbid_the_resend(world: World) -> None:
    """A message built by changed rules is another message: UNKNOWN."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST)
    await process.put(record, seconds=5)
    world.reload(RULES.replace("Code {{", "Your code {{"))
    await world.clock.advance(65)
    assert world.posts(flow) == [1]
    assert world.outcomes() == [("UNKNOWN", "rules_changed")]
    await process.stop()


async def test_an_inherited_doubt_whose_input_is_gone_is_unknown(world: World) -> None:
    """No journal holds a phone: without the input nobody can search."""
    first = await Process(world).start()
    record = world.record("code")
    world.answer(record, "code", LOST)
    await first.put(record, seconds=1)
    await first.kill()
    world.past.forget(LANE, record.offset)
    second = await Process(world).start()
    await world.clock.advance(10)
    assert world.outcomes() == [("UNKNOWN", "input_gone")]
    await second.stop()


async def test_an_inherited_doubt_is_settled_by_a_callback_that_came_meanwhile(world: World) -> None:
    """The claimant reads the callbacks from where the former owner stopped."""
    first = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST)
    await first.put(record, seconds=1)
    await first.kill()
    first.call_back(record, "code", report("there", FlowStatus.IN_PROGRESS))
    second = await Process(world).start()
    await world.clock.advance(60)
    assert world.posts(flow) == [1]
    assert [(event["outcome"], event["tracking_id"]) for event in world.outputs("sends")] == [("ACCEPTED", "there")]
    await second.stop()


async def test_an_unlabelled_candidate_counts_as_ours(world: World) -> None:
    """No label shows (OTP): exactly one unexplained flow to this phone is taken for ours; nothing is resent."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", world.provider.lose_reply)
    await process.put(record, seconds=60)
    assert world.posts(flow) == [1]
    assert [(event["outcome"], event["tracking_id"]) for event in world.outputs("sends")] == [("ACCEPTED", "track-1")]
    await process.stop()


async def test_several_unlabelled_candidates_are_ambiguous(world: World) -> None:
    """Two that may be ours: UNKNOWN."""
    process = await Process(world).start()
    record = world.record("code")

    def twice(request):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        world.provider.accept(request)
        return world.provider.lose_reply(request)

    flow = world.answer(record, "code", twice)
    await process.put(record, seconds=60)
    assert world.posts(flow) == [1]
    assert world.outcomes() == [("UNKNOWN", "ambiguous")]
    await process.stop()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_candidate_of_another_flow_is_not_ours(world: World, restart: bool) -> None:
    """What another known flow owns explains nothing: the doubted one is absent, and resent; after a take-over as well."""
    process = await Process(world).start()
    sent, doubted = world.record("code", key="a"), world.record("code", key="b")
    flow = world.answer(doubted, "code", LOST)
    await process.put(sent, seconds=1)
    await process.put(doubted, seconds=1)
    if restart:
        await process.kill()
        process = await Process(world).start()
    await world.clock.advance(70)
    assert world.posts(flow) == [1, 2]
    await process.stop()


async def test_a_candidate_that_shows_no_step_yet_may_be_a_labelled_neighbour(world: World) -> None:
    """Its label comes with its first step: until then it is nobody's, and the doubted flow is not called accepted for it."""
    process = await Process(world).start()
    sent, doubted = world.record("order", key="b"), world.record("code", key="a")
    flow = world.answer(doubted, "code", LOST)
    await process.put(sent, seconds=1)
    whole = world.provider.reports["track-1"]
    world.provider.reports["track-1"] = replace(whole, signature=(), labels=())
    await process.put(doubted, seconds=20)
    assert "ACCEPTED" not in {event["outcome"] for event in world.outputs("sends") if event["rule"] == "code"}
    world.provider.reports["track-1"] = whole
    await world.clock.advance(60)
    assert world.posts(flow) == [1, 2]
    await process.stop()


async def test_one_candidate_for_two_doubts_is_neither_s(world: World) -> None:
    """Two unlabelled flows to one phone are in doubt and one of them arrived: none is called accepted, none is sent again."""
    process = await Process(world).start()
    arrived, vanished = world.record("code", key="a"), world.record("code", key="b")
    flows = [world.answer(arrived, "code", world.provider.lose_reply), world.answer(vanished, "code", LOST)]
    world.provider.search_unanswered = True
    await process.put(arrived, vanished, seconds=2)
    world.provider.search_unanswered = False
    await world.clock.advance(100)
    assert [world.posts(flow) for flow in flows] == [[1], [1]]
    assert world.outcomes() == [("UNKNOWN", "ambiguous")] * 2
    await process.stop()


async def test_a_label_tells_ours_from_others(world: World) -> None:
    """Many flows to one phone at once: each is found by its own label."""
    process = await Process(world).start()
    records = [world.record("order", key=str(n)) for n in range(4)]
    for record in records:
        world.answer(record, "order", world.provider.lose_reply)
    await process.put(*records, seconds=60)
    assert len(world.provider.posts) == 4
    assert world.outcomes() == [("ACCEPTED", None)] * 4
    assert len({event["tracking_id"] for event in world.outputs("sends")}) == 4
    await process.stop()


async def test_a_resend_without_a_connection_keeps_its_number(world: World) -> None:
    """INTENT(2), no byte left: again as attempt 2, flagged once."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST, NotSent("refused"), NotSent("dns"))
    await process.put(record, seconds=80)
    assert world.posts(flow) == [1, 2, 2, 2]
    assert process.value("resends_total", **{"class": "otp"}) == 1
    assert [line["n"] for line in world.outputs("sends")[0]["attempts"]] == [1, 2]
    await process.stop()


async def test_the_gauge_counts_open_doubts(world: World) -> None:
    """``failover_doubts`` rises with a doubt and falls with its end."""
    process = await Process(world).start()
    record = world.record("sale")
    world.answer(record, "sale", LOST)
    await process.put(record, seconds=5)
    assert process.value("doubts", **{"class": "marketing"}) == 1
    await world.clock.advance(60)
    assert process.value("doubts", **{"class": "marketing"}) == 0
    await process.stop()


async def test_a_finished_neighbour_is_not_taken_for_the_doubted_one(world: World) -> None:
    """Its flow ended before the take-over, so only its row knows the tracking id; the doubted code is absent, and sent again."""
    first = await Process(world).start()
    delivered, doubted = world.record("code", key="a"), world.record("code", key="b")
    await first.put(delivered, seconds=2)
    done = replace(report("track-1"), steps=(StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered"),))
    first.call_back(delivered, "code", done)
    await world.clock.advance(5)
    assert world.flow_id(delivered, "code") not in first.lane.flows
    flow = world.answer(doubted, "code", None)
    await first.put(doubted, seconds=1)
    await first.kill()
    world.provider.answers[flow] = []
    second = await Process(world).start()
    await world.clock.advance(60)
    assert world.posts(flow) == [1, 2]
    assert [event["tracking_id"] for event in world.outputs("sends")] == ["track-1", "track-2"]
    await second.stop()


@pytest.mark.parametrize(
    ("type_", "first", "wait_s"), [("code", Doubt("timeout"), 29), ("sale", Refused(RefusalKind.THROTTLED, 429, "HTTP_429", 1000), 0.5)]
)
async def test_a_call_that_nobody_can_read_stops_what_has_no_connection_yet(world: World, type_: str, first: Answer, wait_s: float) -> None:
    """The earlier attempt's URL was called while the next one waited for a connection: it arrived, so no byte is sent."""
    process = await Process(world).start()
    record = world.record(type_)
    flow = world.answer(record, type_, first)
    await process.put(record, seconds=wait_s)
    assert world.posts(flow) == [1]
    world.provider.gate.clear()
    for _ in range(400):
        await world.clock.advance(0.1)
        if process.lane.flows[flow].flow.attempt == 2:
            break
    process.call_back(record, type_, report(None, None), attempt=1)
    await world.clock.advance(0.5)
    assert process.lane.flows[flow].flow.called
    world.provider.gate.set()
    await world.clock.advance(5)
    assert world.posts(flow) == [1]
    await process.stop()
