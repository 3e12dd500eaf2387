"""Where a flow stands and what happens next, in words that agree with what the lane will do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core import reasons
from connector.core.flow import Attempt, Flow, State
from connector.core.model import Api, Channel, FlowStatus, InDoubt, MessageClass, StepStatus
from connector.core.outlook import Times, deadline_ms, jitter_of, outlook, poll_ms, reason_words, state_words
from connector.core.status import FlowProgress, StepProgress
from tests.unit.flows import NOW, facts, walks

TIMES = Times(
    lease_ms=3_000,
    timeout_ms=10_000,
    provider_lag_ms=20_000,
    transactional_wait_ms=120_000,
    give_up_ms=900_000,
    poll_schedule_s=(30.0, 120.0),
    flow_deadline_ms=3_600_000,
)
PAST = replace(Flow(facts()), attempts=(Attempt(1, NOW, "DOUBT", None, "timeout"),), attempt=1)
EXPIRES = NOW + 3_600_000


LATE = replace(PAST, facts=facts(message_class=MessageClass.OTP, expires_at_ms=NOW + 30_000))


def accepted(progress: FlowProgress | None) -> Flow:
    """At ``NOW``."""
    return replace(PAST, state=State.ACCEPTED, progress=progress, accepted_at_ms=NOW, changed_at_ms=NOW)


def doubted(kind: MessageClass, choice: InDoubt | None = None, **changes: object) -> Flow:
    """In doubt since a POST at ``NOW``."""
    return replace(PAST, facts=facts(message_class=kind, in_doubt=choice), state=State.DOUBT, **changes)  # type: ignore[arg-type]


def ahead(flow: Flow, claimed_ms: int | None = None) -> list[tuple[int | None, str]]:
    """Time and first words of each line."""
    return [(one.at_ms, one.what) for one in outlook(flow, TIMES, NOW + 1, claimed_ms)]


@settings(deadline=None)
@given(walks, st.none() | st.integers(NOW - 10_000, NOW + 10_000))
def test_every_flow_has_a_state_and_an_outlook(steps: list[tuple[Flow, object, Flow]], claimed_ms: int | None) -> None:
    """Whatever a journal holds can be told; what has a time comes first, soonest first."""
    for _, _, flow in steps:
        assert state_words(flow)
        told = outlook(flow, TIMES, NOW, claimed_ms)
        times = [one.at_ms for one in told if one.at_ms is not None]
        assert told
        assert times == sorted(times)
        assert all(one.at_ms is None for one in told[len(times) :])
        says, remedy = reason_words(flow)
        assert says or not remedy


def test_a_waiting_flow_is_tried_when_due_or_expires() -> None:
    """PARKED has its time; NOT_SENT is tried within seconds."""
    assert ahead(replace(PAST, state=State.PARKED, due_ms=NOW + 5)) == [
        (NOW + 5, "attempt 2"),
        (EXPIRES, "not sent by then, it is EXPIRED"),
    ]
    assert ahead(replace(PAST, state=State.NOT_SENT))[0] == (EXPIRES, "not sent by then, it is EXPIRED")


def test_a_waiting_flow_that_is_never_sent_again_says_so() -> None:
    """What was called back goes out no more; what was in doubt is not called unsent."""
    called = replace(PAST, state=State.PARKED, due_ms=NOW + 5, called=True)
    for flow in (called, replace(called, state=State.NOT_SENT)):
        assert ahead(flow) == [(NOW + 5, "an attempt's URL was called: it ends as UNKNOWN (called_back)")]
    doubted_once = replace(PAST, state=State.PARKED, due_ms=NOW + 5, ever_doubted=True)
    assert ahead(doubted_once)[1] == (EXPIRES, "not sent by then, it is UNKNOWN (expired)")


def test_an_open_post_is_answered_or_doubted() -> None:
    """Within lease and timeout from its intent."""
    assert ahead(replace(PAST, state=State.INTENT)) == [(NOW + 13_000, "an answer, or the attempt is a doubt")]
    assert ahead(replace(PAST, state=State.INTENT, attempts=()))[0][0] == NOW - 1000 + 13_000


@pytest.mark.parametrize(
    ("flow", "claimed_ms", "at_ms", "then"),
    [
        (doubted(MessageClass.OTP), None, NOW + 30_000, "sent once more (attempt 2, flagged)"),
        (doubted(MessageClass.OTP), NOW - 1, NOW + 30_000, "sent once more (attempt 2, flagged)"),
        (doubted(MessageClass.OTP), NOW + 7, NOW + 7 + 33_000, "sent once more (attempt 2, flagged)"),
        (doubted(MessageClass.TRANSACTIONAL), None, NOW + 130_000, "sent once more (attempt 2, flagged)"),
        (doubted(MessageClass.MARKETING), None, NOW + 30_000, "ends as UNKNOWN"),
        (doubted(MessageClass.MARKETING, InDoubt.RESEND), None, NOW + 30_000, "sent once more (attempt 2, flagged)"),
        (doubted(MessageClass.OTP, resent=True), None, NOW + 30_000, "ends as UNKNOWN"),
        (doubted(MessageClass.OTP, overtaken=True), None, NOW + 30_000, "ends as UNKNOWN"),
        (doubted(MessageClass.OTP, called=True), None, NOW + 30_000, "ends as UNKNOWN"),
        (replace(LATE, state=State.DOUBT), None, NOW + 30_000, "ends as UNKNOWN"),
    ],
)
def test_a_doubt_says_when_absence_counts_and_what_then(flow: Flow, claimed_ms: int | None, at_ms: int, then: str) -> None:
    """As the lane protocol has it: an inherited doubt counts from the claim, with the lease; the class decides what follows."""
    told = ahead(flow, claimed_ms)
    assert told[0][0] == at_ms
    assert told[0][1].endswith(then)
    assert told[1] == (at_ms - (told[0][0] or 0) + (claimed_ms if claimed_ms and claimed_ms > NOW else NOW) + 900_000, told[1][1])
    assert told[2][0] is None


def test_a_doubt_without_a_post_on_record_counts_from_the_event() -> None:
    """Nothing is said from nothing."""
    assert ahead(replace(doubted(MessageClass.OTP), attempts=()))[0][0] == NOW - 1000 + 30_000


def test_a_followed_flow_is_polled_until_its_deadline() -> None:
    """The schedule's next point, never behind the deadline; a finished one waits for nothing."""
    under_way = accepted(FlowProgress(Api.STANDARD, FlowStatus.IN_PROGRESS))
    polled, ends = ahead(under_way)
    assert polled[0] == NOW + int(30_000 * jitter_of(under_way.facts.flow_id))
    assert ends[0] == deadline_ms(under_way, 3_600_000) == NOW + 3_600_000
    late = [one.at_ms for one in outlook(under_way, TIMES, NOW + 3_599_999, None)]
    assert late == [NOW + 3_600_000] * 2
    assert ahead(accepted(FlowProgress(Api.STANDARD, FlowStatus.FAILED)))[0][1].startswith("nothing; a late receipt")


@given(st.integers(0, 10**8))
def test_the_last_step_of_the_schedule_is_repeated(later_ms: int) -> None:
    """The next poll is always ahead, and never farther than the longest step."""
    flow = accepted(FlowProgress(Api.STANDARD))
    next_ms = poll_ms(flow, TIMES.poll_schedule_s, NOW + later_ms)
    assert NOW + later_ms < next_ms <= NOW + later_ms + int(120_000 * 1.2)


@pytest.mark.parametrize("state", [State.REJECTED, State.EXPIRED, State.SUPPRESSED, State.UNROUTED, State.INVALID])
def test_an_end_is_an_end(state: State) -> None:
    """Nothing is promised where nothing comes."""
    assert ahead(replace(PAST, state=state)) == [(None, "nothing: this is its end")]


def test_unknown_may_still_be_corrected() -> None:
    """A late proof moves it."""
    assert ahead(replace(PAST, state=State.UNKNOWN))[0][1].startswith("nothing by itself")


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (None, "Routee took it"),
        (FlowProgress(Api.STANDARD), "Routee took it; no end is known yet"),
        (FlowProgress(Api.STANDARD, steps=(StepProgress(1, Channel.VIBER, StepStatus.SENT),)), "Routee took it; viber is under way"),
        (
            FlowProgress(
                Api.STANDARD,
                FlowStatus.SUCCEEDED,
                delivered=True,
                steps=(StepProgress(1, Channel.VIBER, StepStatus.EXPIRED), StepProgress(2, Channel.SMS, StepStatus.SEEN)),
            ),
            "delivered by sms",
        ),
        (FlowProgress(Api.STANDARD, FlowStatus.SUCCEEDED, delivered=True), "delivered"),
        (FlowProgress(Api.STANDARD, FlowStatus.FAILED), "Routee took it, and no step reached the person"),
        (FlowProgress(Api.STANDARD, FlowStatus.UNKNOWN), "Routee took it, and was silent about it until the deadline"),
    ],
)
def test_acceptance_is_told_apart_from_delivery(progress: FlowProgress | None, words: str) -> None:
    """What Routee took is not yet what a person got."""
    assert state_words(accepted(progress)) == words


def test_a_flow_says_why() -> None:
    """Its own reason, else that of the open attempt; a word of Routee's that no table knows says nothing."""
    assert "no whole answer" in reason_words(doubted(MessageClass.OTP))[0]
    assert reason_words(replace(PAST, state=State.UNKNOWN, reason="not_found"))[1].startswith("Look for the label")
    assert reason_words(replace(PAST, state=State.REJECTED, reason="odd word")) == ("", "")
    assert reason_words(Flow(facts())) == ("", "")


@pytest.mark.parametrize(
    ("code", "row"),
    [
        ("http_503", reasons.ATTEMPTS["http_<status>"]),
        ("HTTP_429", reasons.PROVIDER["HTTP_<status>"]),
        ("400005000", reasons.PROVIDER["<nine digits or a word>"]),
        ("400001009", reasons.PROVIDER["400001009"]),
        ("BAD_JSON", reasons.INPUT["BAD_JSON"]),
        ("nothing.of.ours", None),
    ],
)
def test_a_code_has_its_row(code: str, row: reasons.Meaning | None) -> None:
    """Families of codes too."""
    assert reasons.meaning(code) == row
