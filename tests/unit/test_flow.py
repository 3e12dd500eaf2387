"""The state machine: its table, and what no walk through it can ever do."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import rows
from connector.core.documents import parse_flow
from connector.core.flow import (
    TRANSITIONS,
    Ended,
    Event,
    Flow,
    IllegalMove,
    Intended,
    Overtaken,
    Parked,
    Proven,
    Reported,
    Silent,
    State,
    advance,
)
from connector.core.identity import output_id
from connector.core.model import (
    Accepted,
    Api,
    Channel,
    Doubt,
    FlowReport,
    FlowStatus,
    NotSent,
    Origin,
    RefusalKind,
    Refused,
    Rejected,
    StepReport,
    StepStatus,
)
from connector.core.moves import DECISIONS, word_of
from connector.core.timeline import timeline
from tests.unit.flows import EVENTS, NOW, any_event, facts, walk, walks

Steps = list[tuple[Flow, Event, Flow]]
NEW = Flow(facts())
INTENT = advance(NEW, Intended(), NOW)
DOUBT = advance(INTENT, Doubt("timeout"), NOW)
ACCEPTED = advance(INTENT, Accepted("t1", 200), NOW)


def sends(flow: Flow) -> list[tuple[object, object, object]]:
    """Outcome, correction and duplicate of the send events."""
    bodies = [event.body for _, event in flow.pending if event.kind == "send"]
    return [(body["outcome"], body["correction"], body["duplicate"]) for body in bodies]


# ------------------------------------------------------------------------------------------------------------ the table


def test_the_table_names_every_state_and_event() -> None:
    """No state without a row, no word without an event; nobody goes back to NEW."""
    assert TRANSITIONS.keys() == set(State)
    words = {word for row in TRANSITIONS.values() for word in row}
    assert words == EVENTS.keys() - {"proven"}
    assert State.NEW not in {target for row in TRANSITIONS.values() for target in row.values()}
    assert words >= DECISIONS


def test_settled_states_are_left_only_by_proof() -> None:
    """What is decided stays decided, but for late proof of an acceptance; UNROUTED and INVALID are final."""
    for state, row in TRANSITIONS.items():
        if state.settled:
            assert {target for target in row.values() if target is not state} <= {State.ACCEPTED}
    assert not TRANSITIONS[State.UNROUTED]
    assert not TRANSITIONS[State.INVALID]


def test_unknown_comes_only_from_maybe_sent() -> None:
    """A flow that was never posted has no way to UNKNOWN."""
    assert "gave_up" not in TRANSITIONS[State.NEW]
    assert "gave_up" not in TRANSITIONS[State.INTENT]


def test_the_numbers_of_states_stand_in_journals() -> None:
    """Never renumbered."""
    assert [(state.name, state.value) for state in State] == [
        ("NEW", 0),
        ("PARKED", 1),
        ("INTENT", 2),
        ("NOT_SENT", 3),
        ("DOUBT", 4),
        ("ACCEPTED", 5),
        ("REJECTED", 6),
        ("EXPIRED", 7),
        ("SUPPRESSED", 8),
        ("UNROUTED", 9),
        ("INVALID", 10),
        ("UNKNOWN", 11),
    ]


@given(walks, any_event)
def test_what_the_table_does_not_know_is_refused(steps: Steps, event: Event) -> None:
    """IllegalMove; only our own decision about a flow that was settled meanwhile changes nothing instead."""
    flow = steps[-1][2] if steps else NEW
    word = word_of(event)
    if word in TRANSITIONS[flow.state]:
        return
    if flow.state.settled and word in DECISIONS:
        assert advance(flow, event, NOW) is flow
    else:
        with pytest.raises(IllegalMove, match=flow.state.name):
            advance(flow, event, NOW)


# ---------------------------------------------------------------------------------------------------------------- walks


@given(walks)
def test_outputs_are_numbered_without_a_gap(steps: Steps) -> None:
    """Every output is pending until it is acked, its number is the next, its id follows from it; statuses count from 1."""
    for before, _, after in steps:
        assert after.pending[: len(before.pending)] == before.pending
        assert [number for number, _ in after.pending] == list(range(1, after.out + 1))
        assert all(event.id == output_id(after.facts.flow_id, number) for number, event in after.pending)
        seqs = [event.body["seq"] for _, event in after.pending if event.kind == "status"]
        assert seqs == list(range(1, after.seq + 1))


@given(walks)
def test_one_decision_and_at_most_one_correction(steps: Steps) -> None:
    """One send event that is neither correction nor duplicate, exactly when settled; one correction at most; duplicates have own ids."""
    for _, _, after in steps:
        told = sends(after)
        decisions = [one for one in told if not one[1] and not one[2]]
        assert len(decisions) == after.state.settled
        assert sum(bool(one[1]) for one in told) <= 1
        assert sum(bool(one[2]) for one in told) == len(set(after.duplicates)) == len(after.duplicates)
        assert after.tracking_id not in after.duplicates


@given(walks)
def test_attempts_rise_by_one(steps: Steps) -> None:
    """The next n after every attempt of which a byte may have left; the same n only after NOT_SENT."""
    for before, event, after in steps:
        assert [line.n for line in after.attempts] == list(range(1, after.attempt + 1))
        if isinstance(event, Intended):
            unsent = bool(before.attempts) and before.attempts[-1].outcome == "NOT_SENT"
            assert after.attempt == before.attempt + (not unsent)
            assert (after.state, after.due_ms) == (State.INTENT, None)


@given(walks)
def test_a_flow_that_was_in_doubt_is_never_called_unsent(steps: Steps) -> None:
    """Not EXPIRED, SUPPRESSED or INVALID: UNKNOWN."""
    for _, _, after in steps:
        if after.ever_doubted:
            assert after.state not in {State.EXPIRED, State.SUPPRESSED, State.INVALID}
        if after.state is State.DOUBT:
            assert after.ever_doubted
            assert after.ever_posted


@given(walks)
def test_the_first_proof_stays(steps: Steps) -> None:
    """Accepted is for ever, under the first id; whatever contradicts it is a duplicate. Only a guess gives way, and only to a call."""
    for before, event, after in steps:
        if before.state is State.ACCEPTED:
            assert after.state is State.ACCEPTED
            if before.guessed and isinstance(event, Reported) and event.attempt:
                continue
            assert (after.tracking_id, after.proven, after.accepted_at_ms) == (before.tracking_id, before.proven, before.accepted_at_ms)
            assert set(before.duplicates) <= set(after.duplicates)


@given(walks)
def test_a_resend_is_flagged(steps: Steps) -> None:
    """``resent`` begins with the intent out of DOUBT, and stays."""
    for before, event, after in steps:
        assert after.resent is (before.resent or (isinstance(event, Intended) and before.state is State.DOUBT))


@given(walks)
def test_the_same_news_again_is_the_same_object(steps: Steps) -> None:
    """A document heard twice writes no second row."""
    for _, event, after in steps:
        if isinstance(event, Reported | Proven | Silent | Overtaken):
            assert advance(after, event, NOW) is after


@given(walks)
def test_flows_end(steps: Steps) -> None:
    """``finished``: settled, and no status awaited; only an accepted flow has statuses."""
    for _, _, after in steps:
        assert (after.progress is None) is (after.tracking_id is None)
        if after.finished:
            assert after.state.settled
        if after.state.settled and after.state is not State.ACCEPTED:
            assert after.finished


@given(walks, st.sets(st.integers(0, 12)))
def test_acked_outputs_leave_and_others_stay(steps: Steps, numbers: set[int]) -> None:
    """In any order; nothing acked, nothing new."""
    flow = steps[-1][2] if steps else NEW
    after = flow.acked(numbers)
    assert [number for number, _ in after.pending] == [number for number, _ in flow.pending if number not in numbers]
    assert after.acked(numbers) is after
    assert (after.out, after.seq) == (flow.out, flow.seq)


# --------------------------------------------------------------------------------------------------------- single moves


def test_an_acceptance_tells_the_send_and_the_first_status() -> None:
    """ACCEPTED with its id, then QUEUED as number 1; what the answer says beyond is merged in."""
    report = FlowReport("t1", FlowStatus.IN_PROGRESS)
    flow = advance(INTENT, Accepted("t1", 201, report), NOW + 5)
    (_, send), (_, first) = flow.pending
    assert (send.body["outcome"], send.body["tracking_id"], send.body["sent_at"]) == ("ACCEPTED", "t1", NOW)
    assert send.body["attempts"] == [{"n": 1, "at": NOW, "outcome": "ACCEPTED", "http_status": 201, "reason": None}]
    assert (first.body["seq"], first.body["status"], first.body["origin"]) == (1, "IN_PROGRESS", "RESPONSE")
    assert sends(ACCEPTED) == [("ACCEPTED", False, False)]


def test_an_acceptance_of_an_unrouted_api_counts_as_standard() -> None:
    """A row without an API cannot be accepted, but must not break either."""
    flow = advance(Flow(facts(api=None), State.INTENT, 1), Accepted("t1", 200), NOW)
    assert flow.progress is not None
    assert flow.progress.api is Api.STANDARD


@pytest.mark.parametrize("state", [State.REJECTED, State.EXPIRED, State.SUPPRESSED, State.UNKNOWN])
def test_late_proof_is_a_correction(state: State) -> None:
    """A second send event, ACCEPTED, ``correction: true``; the reason of the wrong end is gone."""
    flow = Flow(facts(), state, 1, reason="x", detail="y", out=1)
    after = advance(flow, Reported(FlowReport("t1", FlowStatus.SUCCEEDED), Origin.CALLBACK, 1), NOW)
    assert sends(after) == [("ACCEPTED", True, False)]
    assert (after.reason, after.detail, after.proven, after.out) == (None, None, 1, 4)


def test_a_second_acceptance_is_a_duplicate() -> None:
    """By callback or search, with an id of its own; told once."""
    proof = Proven("t2", 2, None)
    after = advance(ACCEPTED, proof, NOW)
    assert sends(after) == [("ACCEPTED", False, False), ("ACCEPTED", False, True)]
    assert after.pending[-1][1].body["tracking_id"] == "t2"
    assert advance(after, Reported(FlowReport("t2", FlowStatus.FAILED), Origin.CALLBACK, 2), NOW) is after


def test_no_more_duplicates_than_posts() -> None:
    """Whoever has one URL may call it with any number of ids: a row does not grow with them."""
    flow = ACCEPTED
    for number in range(50):
        flow = advance(flow, Reported(FlowReport(f"id-{number}", FlowStatus.SUCCEEDED), Origin.CALLBACK, 1), NOW + 20)
    assert flow.duplicates == ("id-0",)
    assert sum(duplicate is True for _, _, duplicate in sends(flow)) == 1


def test_silent_stays_said() -> None:
    """Later news without an end do not take the reason away."""
    flow = advance(ACCEPTED, Silent(), NOW + 1000)
    step = StepReport(1, Channel.VIBER, StepStatus.SENT, "Sent")
    flow = advance(flow, Reported(FlowReport("t1", FlowStatus.IN_PROGRESS, steps=(step,)), Origin.CALLBACK, 1), NOW + 2000)
    last = flow.pending[-1][1].body
    assert (last["status"], last["reason"]) == ("UNKNOWN", "silent")


def test_a_word_that_no_table_knows_is_told_with_the_end() -> None:
    """A flow that Routee calls by a new word ends as UNKNOWN, and says which word it was; from its row, too."""
    report = parse_flow({"trackingId": "t1", "status": "Cancelled", "messages": []})
    assert report is not None
    flow = advance(ACCEPTED, Reported(report, Origin.CALLBACK, 1), NOW + 20)
    flow = rows.flow_of(*rows.flow_row(flow, 1, 1))
    last = advance(flow, Silent(), NOW + 1000).pending[-1][1].body
    assert (last["status"], last["reason"], last["raw_status"]) == ("UNKNOWN", "silent", "Cancelled")


def test_an_id_is_the_same_in_other_letters() -> None:
    """UUIDs: a callback in capitals is news of the same flow, whose first spelling stays; nor is a duplicate told twice."""
    after = advance(ACCEPTED, Reported(FlowReport("T1", FlowStatus.SUCCEEDED), Origin.CALLBACK, 1), NOW)
    assert (after.tracking_id, after.duplicates, after.finished) == ("t1", (), True)
    assert advance(ACCEPTED, Proven("T1", 1, None), NOW) is ACCEPTED
    twice = advance(ACCEPTED, Proven("t2", 2, None), NOW)
    assert advance(twice, Proven("T2", 2, None), NOW) is twice


def test_a_poll_asks_by_id_so_another_id_in_its_answer_is_no_duplicate() -> None:
    """Attempt 0: asked by tracking id."""
    after = advance(ACCEPTED, Reported(FlowReport("T1", FlowStatus.SUCCEEDED), Origin.POLL), NOW)
    assert after.duplicates == ()
    assert after.finished


def test_a_document_without_an_id_accepts_nothing() -> None:
    """Called back, a flow in doubt remembers that it arrived, and stays in doubt; a poll says nothing; of an accepted one it is news."""
    news = Reported(FlowReport(None, FlowStatus.FAILED), Origin.CALLBACK, 1)
    assert advance(DOUBT, news, NOW) == replace(DOUBT, called=True)
    assert advance(DOUBT, replace(news, origin=Origin.POLL, attempt=0), NOW) is DOUBT
    assert advance(ACCEPTED, news, NOW).finished


@pytest.mark.parametrize(
    ("answer", "state", "word"),
    [
        (NotSent("dns"), State.NOT_SENT, "NOT_SENT"),
        (Refused(RefusalKind.AUTH, 401, "x"), State.PARKED, "REFUSED"),
        (Rejected(400, "x", "y"), State.REJECTED, "REJECTED"),
        (Doubt("reset"), State.DOUBT, "DOUBT"),
    ],
)
def test_every_answer_is_written_into_its_attempt(answer: NotSent | Refused | Rejected | Doubt, state: State, word: str) -> None:
    """And leads where the table says; after a proof it changes only the attempt's line, if at all."""
    after = advance(INTENT, answer, NOW)
    assert (after.state, after.attempts[0].outcome, after.attempts[0].reason) == (state, word, answer.reason)
    assert after.ever_posted is not isinstance(answer, NotSent)
    proven = advance(INTENT, Proven("t1", 0, None), NOW)
    assert advance(proven, answer, NOW).attempts == proven.attempts
    second = advance(advance(DOUBT, Intended(), NOW), Proven("t1", 1, None), NOW)
    late = advance(second, answer, NOW)
    assert [line.outcome for line in late.attempts] == ["ACCEPTED", word]
    assert (late.state, late.pending) == (State.ACCEPTED, second.pending)


def test_a_day_of_refusals_makes_no_endless_row() -> None:
    """The first attempts, the last ones and whatever is in question stay; numbers go on."""
    flow = advance(advance(NEW, Intended(), NOW), Refused(RefusalKind.THROTTLED, 429, "HTTP_429"), NOW)
    flow = advance(advance(flow, Intended(), NOW), Doubt("timeout"), NOW)
    for _ in range(3000):
        flow = advance(advance(flow, Intended(), NOW), Refused(RefusalKind.THROTTLED, 429, "HTTP_429"), NOW)
        assert len(flow.attempts) <= 21
    assert [line.n for line in flow.attempts] == [1, 2, 3, 4, *range(flow.attempt - 16, flow.attempt + 1)]
    assert flow.attempt == 3002
    late = advance(flow, Intended(), NOW)
    for _ in range(30):
        late = advance(advance(late, Doubt("timeout"), NOW), Intended(), NOW)
    assert sum(line.outcome == "DOUBT" for line in late.attempts) == 31


def test_parked_flows_say_until_when_and_why() -> None:
    """``due_ms`` and reason stand in the row, and go with the next intent."""
    parked = advance(advance(INTENT, NotSent("dns"), NOW), Parked(NOW + 9, "dns"), NOW)
    assert (parked.state, parked.due_ms, parked.reason, parked.next_attempt) == (State.PARKED, NOW + 9, "dns", 1)
    again = advance(parked, Intended(), NOW)
    assert (again.attempt, again.due_ms, again.reason) == (1, None, None)


def test_overtaken_is_remembered_once() -> None:
    """A second time changes nothing."""
    once = advance(DOUBT, Overtaken(), NOW)
    assert (once.overtaken, once.state) == (True, State.DOUBT)
    assert advance(once, Overtaken(), NOW) is once


def test_silence_ends_an_accepted_flow_once() -> None:
    """UNKNOWN by TIMEOUT; a finished flow is not ended again."""
    silent = advance(ACCEPTED, Silent(), NOW)
    *_, (_, last) = silent.pending
    assert (last.body["status"], last.body["origin"], last.body["terminal"]) == ("UNKNOWN", "TIMEOUT", True)
    assert silent.finished
    assert advance(silent, Silent(), NOW) is silent
    assert advance(Flow(facts(), State.ACCEPTED), Silent(), NOW).progress is None


def test_an_accepted_flow_without_progress_is_a_defect() -> None:
    """No row of ours says so."""
    with pytest.raises(IllegalMove, match="progress"):
        advance(Flow(facts(), State.ACCEPTED), Reported(FlowReport("t1", None), Origin.POLL), NOW)


def test_a_fact_without_a_change_still_updates_the_progress() -> None:
    """A price alone is no status event, but is kept for the next one."""
    report = FlowReport("t1", None, total_price=None, status_code=3)
    assert advance(ACCEPTED, Reported(report, Origin.POLL), NOW) is ACCEPTED
    failed = advance(ACCEPTED, Reported(FlowReport("t1", FlowStatus.FAILED, 1), Origin.POLL), NOW + 1)
    assert failed.changed_at_ms == NOW + 1
    assert failed.pending[-1][1].body["status_code"] == 1


def test_ends_of_a_flow_in_doubt() -> None:
    """What would forbid the send makes it UNKNOWN, with the cause as its reason."""
    parked = advance(advance(advance(DOUBT, Intended(), NOW), Refused(RefusalKind.THROTTLED, 429, "x"), NOW), Parked(NOW, "x"), NOW)
    ends = [(State.EXPIRED, "expired", "expired"), (State.SUPPRESSED, None, "suppressed"), (State.INVALID, None, "invalid")]
    for state, given_reason, told in ends:
        ended = advance(parked, Ended(state, given_reason), NOW)
        assert (ended.state, ended.reason) == (State.UNKNOWN, told)
        assert sends(ended) == [("UNKNOWN", False, False)]


@given(st.lists(any_event, max_size=12))
def test_time_is_an_argument(events: list[Event]) -> None:
    """The same walk gives the same flow."""
    assert [step[2] for step in walk(NEW, events)] == [step[2] for step in walk(NEW, events)]
    for (_, _, one), (two, _, _) in itertools.pairwise(walk(NEW, events)):
        assert one is two


def test_an_answer_about_another_message_is_no_news() -> None:
    """It was asked about before a call named the right one."""
    assert advance(ACCEPTED, Reported(FlowReport("theirs", FlowStatus.SUCCEEDED), Origin.POLL, asked="theirs"), NOW) is ACCEPTED
    told = advance(ACCEPTED, Reported(FlowReport("odd", FlowStatus.SUCCEEDED), Origin.POLL, asked="T1"), NOW)
    assert told.finished, "the document of the id that was asked about may name itself otherwise"


def test_why_it_was_in_doubt_stays() -> None:
    """Also when the attempt turns out to have been accepted: whoever looks at night sees what happened."""
    found = advance(DOUBT, Proven("t1", 1, None), NOW)
    assert [(line.outcome, line.reason) for line in found.attempts] == [("ACCEPTED", "timeout")]
    [(_, sent), *_] = found.pending
    assert sent.body["attempts"][0]["reason"] == "timeout"
    assert any(line.what == "attempt 1: ACCEPTED, as was found after a doubt: no whole answer in time" for line in timeline(found, ()))
