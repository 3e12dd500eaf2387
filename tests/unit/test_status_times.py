"""When things happened, and what they cost: one timeline per flow, whatever clock tells it and whoever holds the lane."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core import rows
from connector.core.documents import parse_flow
from connector.core.flow import Flow, Silent, advance
from connector.core.model import Accepted, Api, Channel, Doubt, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.moves import Intended, Reported
from connector.core.progress import FlowProgress
from connector.core.status import merge
from connector.core.timeline import took
from connector.core.words import STANDING
from tests.unit.flows import NOW, facts
from tests.unit.routee_samples import sample
from tests.unit.test_documents import json_values

POSTED, TAKEN = NOW, NOW + 500
VIBER = StepReport(1, Channel.VIBER, StepStatus.EXPIRED, "EXPIRED", reason_group="EXPIRED", updated_at_ms=NOW + 10_000)
SMS = StepReport(2, Channel.SMS, StepStatus.DELIVERED, "Delivered", price=Decimal("0.03"), updated_at_ms=NOW + 12_000)
SUCCEEDED, FAILED, GOING = FlowStatus.SUCCEEDED, FlowStatus.FAILED, FlowStatus.IN_PROGRESS


def taken(api: Api = Api.STANDARD) -> Flow:
    """Posted at ``POSTED``, accepted at ``TAKEN``."""
    return advance(advance(Flow(facts(api=api)), Intended(), POSTED), Accepted("t1", 200, None), TAKEN)


def told(flow: Flow, report: FlowReport, now_ms: int = NOW + 20_000) -> Flow:
    """A callback."""
    return advance(flow, Reported(report, Origin.CALLBACK, 1), now_ms)


def doc(status: FlowStatus | None, *steps: StepReport, **more: Any) -> FlowReport:  # noqa: ANN401 - any of the report's fields
    """A provider's document."""
    return FlowReport("t1", status, steps=steps, **more)


def statuses(flow: Flow) -> list[Any]:
    """Bodies of its StatusEvents."""
    return [event.body for _, event in flow.pending if event.kind == "status"]


def test_one_event_tells_every_time() -> None:
    """Event, POST, acceptance, the step's end, delivery: each in the row that is about it, with its price."""
    flow = told(taken(), doc(GOING, VIBER))
    flow = told(flow, doc(SUCCEEDED, VIBER, SMS, total_price=Decimal("0.04"), raw_status="Succeeded"))
    _, expired, delivered = statuses(flow)
    assert (expired["step"]["ended_at"], expired["delivered_at"], expired["delivered_by"]) == (NOW + 10_000, None, None)
    assert [delivered[name] for name in ("occurred_at", "sent_at", "accepted_at")] == [NOW - 1000, POSTED, TAKEN]
    assert [delivered[name] for name in ("delivered_at", "delivered_by", "raw_status")] == [NOW + 12_000, "sms", "Succeeded"]
    assert (delivered["step"]["ended_at"], delivered["step"]["price"], delivered["total_price"]) == (NOW + 12_000, "0.03", "0.04")


def test_two_steps_of_one_document_have_their_own_times() -> None:
    """The step that failed does not know yet of the delivery that came after it."""
    _, expired, delivered = statuses(told(taken(), doc(SUCCEEDED, VIBER, SMS)))
    assert (expired["delivered"], expired["delivered_at"], expired["step"]["ended_at"]) == (False, None, NOW + 10_000)
    assert (delivered["delivered"], delivered["delivered_at"]) == (True, NOW + 12_000)


@pytest.mark.parametrize(
    ("said", "held"), [(None, 20_000), (-1, 0), (0, 0), (7_000, 7_000), (20_000, 20_000), (3_600_000, 20_000), (-(10**14), 0)]
)
def test_no_clock_makes_a_negative_or_a_future_time(said: int | None, held: int) -> None:
    """Routee's time counts between the POST and now; its own word stays beside it."""
    step = replace(SMS, updated_at_ms=None if said is None else NOW + said)
    body = statuses(told(taken(), doc(SUCCEEDED, step)))[-1]
    assert (body["step"]["ended_at"], body["delivered_at"]) == (NOW + held, NOW + held)
    assert body["step"]["updated_at"] == step.updated_at_ms


def test_late_seen_is_one_correction_and_moves_no_time() -> None:
    """SEEN after DELIVERED: the delivery was when it was."""
    flow = told(taken(), doc(SUCCEEDED, replace(SMS, channel=Channel.VIBER)))
    seen = StepReport(2, Channel.VIBER, StepStatus.SEEN, "SEEN", updated_at_ms=NOW + 60_000)
    late = told(told(flow, doc(SUCCEEDED, seen), NOW + 61_000), doc(SUCCEEDED, seen), NOW + 62_000)
    assert late.seq == flow.seq + 1
    body = statuses(late)[-1]
    assert (body["correction"], body["delivered_at"], body["step"]["ended_at"]) == (True, NOW + 12_000, NOW + 12_000)
    assert body["step"]["updated_at"] == NOW + 60_000


def test_delivered_after_failed_is_one_correction_with_its_time() -> None:
    """The step ended anew, and the flow was delivered then; the reason is gone."""
    lost = replace(SMS, status=StepStatus.UNDELIVERED, raw_status="Undelivered", reason_group="UNREACHABLE")
    flow = told(taken(), doc(FAILED, lost, status_code=2))
    failed = statuses(flow)[-1]
    assert (failed["status_code"], failed["reason_group"], failed["delivered_at"]) == (2, "UNREACHABLE", None)
    there = replace(SMS, updated_at_ms=NOW + 40_000)
    late = told(told(flow, doc(SUCCEEDED, there), NOW + 50_000), doc(SUCCEEDED, there), NOW + 51_000)
    assert late.seq == flow.seq + 1
    body = statuses(late)[-1]
    assert (body["status"], body["previous"], body["correction"], body["reason_group"]) == ("SUCCEEDED", "FAILED", True, None)
    assert (body["delivered_at"], body["step"]["ended_at"]) == (NOW + 40_000, NOW + 40_000)


def test_a_price_that_grows_after_the_end_is_one_correction() -> None:
    """The last ``total_price`` is the flow's cost: none is lost, and none is told twice. Before the end it waits for the next event."""
    flow = told(taken(), doc(GOING, VIBER))
    assert told(flow, doc(GOING, VIBER, total_price=Decimal("0.01"))).seq == flow.seq
    ended = told(flow, doc(SUCCEEDED, VIBER, SMS))
    late = told(ended, doc(SUCCEEDED, VIBER, SMS, total_price=Decimal("0.04")))
    late = told(late, doc(SUCCEEDED, VIBER, SMS, total_price=Decimal("0.04")))
    late = told(late, doc(SUCCEEDED, VIBER, total_price=Decimal("0.01")))
    assert late.seq == ended.seq + 1
    body = statuses(late)[-1]
    assert (body["total_price"], body["correction"], body["step"], body["status"]) == ("0.04", True, None, "SUCCEEDED")


def test_what_comes_late_with_the_same_status_is_news_of_its_step() -> None:
    """Callbacks tell neither price nor operator in time, tracking does: one event with all that is known, a correction after the end."""
    flow = told(taken(), doc(SUCCEEDED, replace(SMS, price=None, country="GR")))
    polled = replace(SMS, price=Decimal("0.03"), operator="Cosmote", parts=2)
    late = told(told(flow, doc(SUCCEEDED, polled)), doc(SUCCEEDED, polled))
    late = told(late, doc(SUCCEEDED, replace(SMS, price=Decimal("0.01"), parts=1)))  # an older document: nothing new
    assert late.seq == flow.seq + 1
    body = statuses(late)[-1]
    assert (body["status"], body["previous"], body["correction"]) == ("SUCCEEDED", "SUCCEEDED", True)
    told_of_it = {name: body["step"][name] for name in ("status", "raw_status", "price", "country", "operator", "parts", "ended_at")}
    assert told_of_it == {
        "status": "DELIVERED",
        "raw_status": "Delivered",
        "price": "0.03",
        "country": "GR",
        "operator": "Cosmote",
        "parts": 2,
        "ended_at": NOW + 12_000,
    }


def test_a_late_document_that_is_behind_still_tells_the_price() -> None:
    """SENT with a price, after DELIVERED without: the event says DELIVERED, by its own raw word, and when that was."""
    flow = told(taken(), doc(SUCCEEDED, replace(SMS, price=None, detail="Delivered")))
    late = told(flow, doc(GOING, replace(SMS, status=StepStatus.SENT, raw_status="Sent", detail="Sent", updated_at_ms=NOW + 5_000)))
    body = statuses(late)[-1]
    step = {name: body["step"][name] for name in ("status", "raw_status", "detail", "reason_group", "price", "updated_at", "ended_at")}
    assert step == {
        "status": "DELIVERED",
        "raw_status": "Delivered",
        "detail": "Delivered",
        "reason_group": None,
        "price": "0.03",
        "updated_at": None,
        "ended_at": NOW + 12_000,
    }
    assert late.seq == flow.seq + 1


def test_why_a_step_failed_may_be_told_later_than_that_it_did() -> None:
    """Undelivered, then the detail that makes it permanent; the same detail again, or another one, is no news."""
    bare = {"type": "Viber", "order": 1, "status": {"name": "UNDELIVERED"}}
    opted_out = {"type": "Viber", "order": 1, "status": {"name": "UNDELIVERED", "reason": {"detailedStatus": "Opted Out"}}}
    other = {"type": "Viber", "order": 1, "status": {"name": "FAILED", "reason": {"detailedStatus": "System Failure"}}}
    flow = taken()
    for step in (bare, opted_out, opted_out, other):
        report = parse_flow({"trackingId": "t1", "status": "InProgress", "messages": [step]})
        assert report is not None
        flow = told(flow, report)
    reasons = [(body["step"]["reason_group"], body["step"]["permanent"], body["step"]["detail"]) for body in statuses(flow)[1:]]
    assert reasons == [("UNKNOWN", None, None), ("BLOCKED", True, "Opted Out")]


def test_a_failed_flow_keeps_its_reason_in_later_corrections() -> None:
    """A price that comes after FAILED, in a document without the step: why the flow failed stands in each of its events."""
    flow = told(taken(), doc(FAILED, VIBER, status_code=2))
    late = told(flow, doc(FAILED, total_price=Decimal("0.04")))
    assert [body["reason_group"] for body in statuses(late)[1:]] == ["EXPIRED", "EXPIRED"]


@pytest.mark.parametrize("seen_first", [True, False])
def test_the_delivery_is_when_it_was_whichever_comes_first(seen_first: bool) -> None:
    """SEEN may be heard before DELIVERED, and the second step before the first: the earliest delivery counts, and its channel."""
    delivered = replace(SMS, channel=Channel.VIBER, order=1, price=None)
    seen = replace(delivered, status=StepStatus.SEEN, raw_status="SEEN", updated_at_ms=NOW + 15_000)
    some = [doc(GOING, seen), doc(GOING, delivered)]
    flow = taken()
    for report in some if seen_first else reversed(some):
        flow = told(flow, report)
    assert flow.progress is not None
    assert (flow.progress.delivered_at_ms, flow.progress.steps[0].ended_at_ms) == (NOW + 12_000, NOW + 12_000)
    body = statuses(flow)[-1]
    assert (body["step"]["status"], body["step"]["ended_at"], body["delivered_at"]) == ("SEEN", NOW + 12_000, NOW + 12_000)
    flow = told(flow, doc(SUCCEEDED, replace(SMS, updated_at_ms=NOW + 11_000)))
    assert [statuses(flow)[-1][name] for name in ("delivered_at", "delivered_by")] == [NOW + 11_000, "sms"]
    flow = told(flow, doc(SUCCEEDED, replace(SMS, order=3, updated_at_ms=NOW + 13_000)))
    assert [statuses(flow)[-1][name] for name in ("delivered_at", "delivered_by")] == [NOW + 11_000, "sms"]


def test_what_was_told_of_a_step_outlives_its_next_status() -> None:
    """SENT with a price, DELIVERED without one, in either order: the same is known in the end, and the last event has all of it."""
    sent = replace(SMS, status=StepStatus.SENT, raw_status="Sent", country="GR", operator="Cosmote", parts=2, updated_at_ms=NOW + 5_000)
    there = replace(SMS, price=None)
    some = [doc(GOING, sent), doc(SUCCEEDED, there)]
    one, other = told(told(taken(), some[0]), some[1]), told(told(taken(), some[1]), some[0])
    assert one.progress == other.progress
    for flow in (one, other):
        step = statuses(flow)[-1]["step"]
        assert [step[name] for name in ("status", "price", "country", "operator", "parts")] == ["DELIVERED", "0.03", "GR", "Cosmote", 2]


def test_the_same_seen_document_twice_is_no_news() -> None:
    """DELIVERED came without a time; SEEN tells when it was delivered, by a callback and again by a poll."""
    delivered = replace(SMS, channel=Channel.VIBER, updated_at_ms=None)
    seen = replace(delivered, status=StepStatus.SEEN, raw_status="Seen", updated_at_ms=NOW + 15_000, delivered_at_ms=NOW + 12_000)
    flow = told(told(taken(), doc(SUCCEEDED, delivered)), doc(SUCCEEDED, seen))
    assert statuses(flow)[-1]["delivered_at"] == NOW + 12_000
    assert told(flow, doc(SUCCEEDED, seen)) is flow


def test_an_event_of_a_step_gives_the_reason_that_is_known() -> None:
    """A call that was terminated had no balance; a later document that calls it failed, with a price, does not change why."""
    flow = taken()
    for word, price in (("Terminated", None), ("Failed", 0.03)):
        voice = {"type": "Voice", "order": 1, "status": {"name": word}, "price": price}
        report = parse_flow({"trackingId": "t1", "status": "InProgress", "messages": [voice]})
        assert report is not None
        flow = told(flow, report)
    steps = [(body["step"]["raw_status"], body["step"]["reason_group"], body["step"]["price"]) for body in statuses(flow)[1:]]
    assert steps == [("Terminated", "BALANCE", None), ("Terminated", "BALANCE", "0.03")]


def test_when_it_was_delivered_may_be_told_later_than_that_it_was() -> None:
    """OTP's webhook need not have the time, tracking has it: once."""
    flow = told(taken(), doc(SUCCEEDED, replace(SMS, updated_at_ms=None)))
    late = told(told(flow, doc(SUCCEEDED, SMS)), doc(SUCCEEDED, SMS))
    assert [body["delivered_at"] for body in statuses(late)[1:]] == [NOW + 20_000, NOW + 12_000]


def test_succeeded_of_an_otp_is_no_delivery_and_has_no_time_of_it() -> None:
    """Routee's documented example: Succeeded, Viber expired, SMS queued. The delivery follows the step."""
    report = parse_flow(sample("otp_tracking"))
    assert report is not None
    flow = told(taken(Api.OTP), replace(report, tracking_id="t1"))
    body = statuses(flow)[-1]
    assert (body["status"], body["delivered"], body["delivered_at"], body["delivered_by"]) == ("SUCCEEDED", False, None, None)
    body = statuses(told(flow, doc(SUCCEEDED, SMS)))[-1]
    assert (body["delivered"], body["delivered_at"], body["delivered_by"]) == (True, NOW + 12_000, "sms")


def test_a_delivery_that_no_step_tells_has_the_flows_time() -> None:
    """The standard service's Succeeded is proof by itself; a step that says so later names the channel, and moves no time."""
    flow = told(taken(), doc(SUCCEEDED, updated_at_ms=NOW + 9_000))
    assert (statuses(flow)[-1]["delivered_at"], statuses(flow)[-1]["delivered_by"]) == (NOW + 9_000, None)
    body = statuses(told(flow, doc(SUCCEEDED, SMS)))[-1]
    assert (body["delivered_at"], body["delivered_by"]) == (NOW + 9_000, "sms")


def test_silence_has_its_reason() -> None:
    """The deadline passed: UNKNOWN, and why."""
    body = statuses(advance(taken(), Silent(), NOW + 10**7))[-1]
    assert [body[name] for name in ("status", "reason", "reason_group", "raw_status", "origin")] == [
        "UNKNOWN",
        "silent",
        "UNKNOWN",
        None,
        "TIMEOUT",
    ]


@pytest.mark.parametrize(("code", "group"), [(0, "PROVIDER"), (1, "BALANCE"), (2, "EXPIRED"), (3, "EXPIRED"), (None, "EXPIRED")])
def test_a_failed_flow_has_a_reason_group(code: int | None, group: str) -> None:
    """By its statusCode; where that only says that no step is left, by the last step that failed; without any, UNKNOWN."""
    assert statuses(told(taken(), doc(FAILED, VIBER, status_code=code)))[-1]["reason_group"] == group
    bare = {0: "PROVIDER", 1: "BALANCE"}.get(-1 if code is None else code, "UNKNOWN")
    assert statuses(told(taken(), doc(FAILED, status_code=code)))[-1]["reason_group"] == bare


# What each of Routee's services tells of a step (docs/events.md says the same).
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("callback_new", [{"operator", "parts", "sent_at_ms"}, {"sent_at_ms"}]),
        ("tracking_parts", [{"sent_at_ms", "delivered_at_ms"}]),
        ("tracking_voice", [{"country", "operator", "parts", "created_at_ms", "sent_at_ms", "delivered_at_ms"}]),
        (
            "otp_tracking",
            [
                {"country", "operator", "parts", "updated_at_ms", "sent_at_ms", "delivered_at_ms"},
                {"country", "operator", "parts", "updated_at_ms", "sent_at_ms", "delivered_at_ms"},
            ],
        ),
    ],
)
def test_what_routee_does_not_tell_is_null(name: str, missing: list[set[str]]) -> None:
    """Routee's documented examples: every fact that one holds is in the report, and nothing is made up."""
    report = parse_flow(sample(name))
    assert report is not None
    names = ("price", "country", "operator", "parts", "updated_at_ms", "created_at_ms", "sent_at_ms", "delivered_at_ms")
    assert [{fact for fact in names if getattr(step, fact) is None} for step in report.steps] == missing


def test_an_otp_step_tells_its_times_under_its_own_names() -> None:
    """``sent_at`` and ``delivered_at`` are those of two statuses: an expired step did not expire when it was sent."""
    times = {"created_at": "2027-01-15T08:00:00Z", "sent_at": "2027-01-15T08:00:01Z", "delivered_at": "2027-01-15T08:00:02Z"}
    found = {}
    for word in ("sent", "DELIVERED", "SEEN", "EXPIRED"):
        report = parse_flow({"flowId": "f", "steps": [{"channel": "viber", "status": word, **times}]})
        assert report is not None
        step = report.steps[0]
        assert (step.created_at_ms, step.sent_at_ms, step.delivered_at_ms) == (NOW, NOW + 1000, NOW + 2000)
        found[word] = step.updated_at_ms
    assert found == {"sent": NOW + 1000, "DELIVERED": NOW + 2000, "SEEN": None, "EXPIRED": None}


# ----------------------------------------------------------------------------------------------------------------- laws

moments = st.none() | st.integers(NOW - 5_000, NOW + 90_000) | st.integers(-(2**60), 2**60)
prices = st.none() | st.decimals(0, 9, places=4)
few_words = st.none() | st.sampled_from(["EXPIRED", "Opted Out", "GR"])
steps = st.builds(
    lambda order, channel, status, updated, delivered, more: StepReport(
        order, channel, status, status.value, updated_at_ms=updated, delivered_at_ms=delivered, **more
    ),
    st.integers(1, 2),
    st.sampled_from(Channel),
    st.sampled_from(StepStatus),
    moments,
    moments,
    st.fixed_dictionaries(
        {
            "price": prices,
            "country": few_words,
            "operator": few_words,
            "parts": st.none() | st.integers(0, 3),
            "reason_group": few_words,
            "detail": few_words,
        }
    ),
)
reports = st.builds(
    lambda status, some, updated, price: doc(status, *some, updated_at_ms=updated, total_price=price),
    st.none() | st.sampled_from(FlowStatus),
    st.lists(steps, max_size=3),
    moments,
    prices,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Api), st.lists(reports, max_size=6))
def test_times_lie_between_the_post_and_the_word_of_it(api: Api, some: list[FlowReport]) -> None:
    """Whatever a provider's clock says: no time is negative or in the future, delivery has one, and it moves to no later one."""
    flow = taken(api)
    for number, report in enumerate(some):
        flow = told(flow, report, NOW + 1000 * (number + 1))
    known = None
    for body in statuses(flow):
        times = [body["delivered_at"], body["step"] and body["step"]["ended_at"]]
        assert all(POSTED <= at_ms <= body["observed_at"] for at_ms in times if at_ms is not None)
        assert (body["delivered_at"] is not None) is body["delivered"]
        assert not body["step"] or (body["step"]["ended_at"] is not None) is STANDING[StepStatus(body["step"]["status"])].final
        assert known is None or body["delivered_at"] <= known
        known = body["delivered_at"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Api), st.lists(reports, min_size=1, max_size=6), st.integers(0, 5))
def test_a_take_over_changes_no_word_of_the_story(api: Api, some: list[FlowReport], taken_over: int) -> None:
    """The next owner reads the row, and tells what the first one would have told."""
    here = there = taken(api)
    for number, report in enumerate(some):
        if number == taken_over:
            there = rows.flow_of(*rows.flow_row(there, 1, 1))
        here, there = (told(flow, report, NOW + 1000 * (number + 1)) for flow in (here, there))
    assert orjson.dumps(statuses(there)) == orjson.dumps(statuses(here))


def odd(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What stands there in a true document, or any other JSON."""
    return usual | st.integers() | st.lists(st.text(max_size=3), max_size=2) | st.dictionaries(st.text(max_size=3), st.none(), max_size=2)


words = odd(st.sampled_from(["Queued", "Sent", "Delivered", "SEEN", "EXPIRED", "Failed", "Undelivered", "Lost", ""]))
clocks = odd(st.sampled_from(["2027-01-15T08:00:03Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59Z", "soon"]))
entries = st.fixed_dictionaries(
    {"status": words | st.fixed_dictionaries({"name": words, "updatedDate": clocks, "reason": odd(st.none())})},
    optional={"order": odd(st.integers(1, 2)), "price": odd(st.decimals()), "operator": odd(st.text()), "delivered_at": clocks},
)
documents = st.builds(
    lambda status, kind, some, price: {"status": status, "messages": [{"type": kind, **one} for one in some], "totalPrice": price},
    odd(st.sampled_from(["Queued", "InProgress", "Succeeded", "Failed", "Paused"])),
    st.sampled_from(["Viber", "Sms", "Voice", "Rcs"]),
    st.lists(entries, min_size=1, max_size=3),
    odd(st.none()),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Api), st.lists(documents | json_values, max_size=4))
def test_no_document_of_any_shape_moves_a_flow_backwards(api: Api, documents: list[object]) -> None:
    """Any JSON, as callback or poll: nothing raises, no step and no delivery is undone, ``seq`` has no gap, the row can be written."""
    flow = told(taken(api), doc(GOING, VIBER))
    for number, document in enumerate([*documents, sample("otp_tracking"), *documents]):
        report = parse_flow(document)
        if report is None:
            continue
        before, flow = flow, told(flow, replace(report, tracking_id="t1"), NOW + number)
        assert before.progress is not None
        assert flow.progress is not None
        assert flow.progress.delivered >= before.progress.delivered
        assert flow.progress.terminal >= before.progress.terminal
        for step in before.progress.steps:
            now = flow.progress.step(step.order, step.channel)
            assert now is not None
            assert now.rank >= step.rank
    assert [body["seq"] for body in statuses(flow)] == list(range(1, flow.seq + 1))
    assert rows.flow_of(*rows.flow_row(flow, 1, 1)) == flow


@settings(max_examples=200)
@given(st.sampled_from(["Sms", "Viber", "Voice"]), st.text(min_size=1, max_size=20).map(lambda word: f"{word.strip()}zq"))
def test_a_word_no_table_knows_is_unknown_with_its_raw_form(kind: str, word: str) -> None:
    """UNKNOWN, the word kept (a phone in it cut) and listed, so that it is counted; it is the flow's first news, and never its end."""
    report = parse_flow({"trackingId": "t1", "status": word, "messages": [{"type": kind, "status": {"name": word}}]})
    assert report is not None
    (step,) = report.steps
    assert (step.status, report.status) == (StepStatus.UNKNOWN, None)
    assert step.raw_status
    assert step.raw_status == report.raw_status
    assert report.unknown_words == (step.raw_status,)
    body = statuses(told(taken(), report))[-1]
    assert (body["step"]["raw_status"], body["raw_status"], body["terminal"]) == (step.raw_status, step.raw_status, False)


# ----------------------------------------------------------------------------------------------------------- older rows


def test_a_row_without_times_is_read() -> None:
    """Rows that an older release wrote have no times: the flow goes on, and tells those that it learns."""
    flow = told(taken(), doc(GOING, VIBER))
    key, value = rows.flow_row(flow.acked(range(99)), 1, 1)
    head, body = value[:44], json.loads(value[44:])
    del body["times"], body["told"]
    old = rows.flow_of(key, head + orjson.dumps(body))
    assert old.progress is not None
    assert [(step.order, step.channel, step.status, step.ended_at_ms, step.raw_status) for step in old.progress.steps] == [
        (1, Channel.VIBER, StepStatus.EXPIRED, None, None)
    ]
    assert statuses(told(old, doc(SUCCEEDED, SMS)))[-1]["delivered_at"] == NOW + 12_000


@pytest.mark.parametrize("times", [["x"], [1], [1, "q"], [1, "sms"], [None, None, 1, 2], ["a", "s"]])
def test_foreign_times_are_refused(times: list[object]) -> None:
    """A row that another hand wrote is not read as progress."""
    with pytest.raises(ValueError, match="compact progress"):
        FlowProgress.from_compact(["oS3", "1vD", 2], times)


@pytest.mark.parametrize("told_of", [[[], []], [5], [["Delivered", None, None, "x"]], "ab"])
def test_foreign_facts_of_steps_are_refused(told_of: Any) -> None:  # noqa: ANN401 - anything
    """The same for what stands beside the status."""
    with pytest.raises(ValueError, match="compact progress"):
        FlowProgress.from_compact(["oS3", "1vD", 2], None, told_of)


def test_a_row_of_an_older_release_tells_a_delivery_without_a_time_no_later_one() -> None:
    """Delivered it was, nobody kept when: SEEN makes no time of it."""
    old = FlowProgress.from_compact(["sS3", "1vD"])
    seen = replace(SMS, order=1, channel=Channel.VIBER, status=StepStatus.SEEN)
    progress, (change,) = merge(old, doc(SUCCEEDED, seen), Origin.POLL)
    assert (progress.delivered_at_ms, change.delivered_at_ms, change.delivered_by) == (None, None, Channel.VIBER)


def test_a_flow_that_failed_before_the_upgrade_has_the_usual_reason() -> None:
    """Its row tells no reason: that of its last step's status stands in later corrections."""
    old = FlowProgress.from_compact(["sF2", "1vE2cF", 2, 2])
    _, (change,) = merge(old, doc(FAILED, total_price=Decimal("0.04")), Origin.POLL)
    assert change.reason_group == "PROVIDER"


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    """Posted, then an hour set back: acceptance, the step's end, delivery and what was observed are not before the POST."""
    back = NOW - 3_600_000
    flow = advance(advance(Flow(facts()), Intended(), POSTED), Accepted("t1", 200, None), back)
    flow = told(flow, doc(SUCCEEDED, replace(SMS, updated_at_ms=None), VIBER), back + 1000)
    _, send = flow.pending[0]
    assert min(send.body["settled_at"], *(body[name] for body in statuses(flow) for name in ("accepted_at", "observed_at"))) == POSTED
    assert {body["step"]["ended_at"] for body in statuses(flow)[1:]} == {statuses(flow)[-1]["delivered_at"]} == {POSTED}


def test_a_send_tells_when_the_attempt_was_posted_that_was_accepted() -> None:
    """A doubt is sent again, then the first attempt turns out to have arrived: send and status tell the first one's time."""
    flow = advance(advance(Flow(facts()), Intended(), NOW), Doubt("timeout"), NOW + 10_000)
    flow = told(advance(flow, Intended(), NOW + 130_000), doc(GOING), NOW + 131_000)
    assert [event.body["sent_at"] for _, event in flow.pending] == [NOW, NOW]


def test_a_late_delivery_does_not_open_a_flow_again() -> None:
    """OTP: failed, with a step that was never heard of again; then the other one arrived after all. Its end was told: no poll."""
    waiting = StepReport(2, Channel.SMS, StepStatus.QUEUED, "queued")
    flow = told(taken(Api.OTP), doc(FAILED, VIBER, waiting))
    flow = told(flow, doc(SUCCEEDED, replace(VIBER, status=StepStatus.DELIVERED), waiting))
    assert flow.finished
    assert advance(flow, Silent(), NOW + 10**7) is flow
    assert [(body["status"], body["correction"]) for body in statuses(flow)[-1:]] == [("SUCCEEDED", True)]


def test_two_steps_of_one_channel_have_a_time_each() -> None:
    """Both SMS failed alike: neither hides the other."""
    steps = [StepReport(order, Channel.SMS, StepStatus.UNDELIVERED, "Undelivered", updated_at_ms=NOW + order * 1000) for order in (1, 2)]
    flow = told(taken(), doc(FAILED, *steps))
    assert {one.what: one.ms for one in took(flow)} == {
        "accepted": 500,
        "sms UNDELIVERED (step 1)": 1000,
        "sms UNDELIVERED (step 2)": 2000,
    }
