"""The checker of the promise: facts that keep every law pass, and each broken law is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.proof.checker import LAWS, check, problems
from tests.proof.facts import (
    CallbackSeen,
    Commit,
    ExpectedEvent,
    ExpectedFlow,
    Facts,
    Fate,
    JournalRow,
    Letter,
    Post,
    RowKind,
    SendSeen,
    StatusSeen,
)

LANE = "in/0"
OTHER = "in/1"


def _event(offset: int, flow_id: str, message_class: str | None, fate: Fate, *, key: bytes = b"key") -> ExpectedEvent:
    flow = ExpectedFlow(flow_id, "rule" if message_class else "", message_class, fate, message_class in {"otp", "transactional"})
    return ExpectedEvent(LANE, offset, key, b"value %d" % offset, (flow,), expires_at=100_000.0)


def _row(offset: int, flow_id: str, state: str, attempt: int, epoch: int, *outcomes: str) -> JournalRow:
    attempts = tuple(enumerate(outcomes, 1))
    return JournalRow(LANE, offset, offset * 1000.0, RowKind.FLOW, epoch, flow_id, state, attempt, 0, attempts)


def _mark(offset: int, kind: RowKind, epoch: int = -1) -> JournalRow:
    return JournalRow(LANE, offset, offset * 1000.0, kind, epoch)


def _send(flow_id: str, outcome: str, *outcomes: str, tracking_id: str | None = None, resent: bool = False) -> SendSeen:
    attempts = tuple(enumerate(outcomes, 1))
    return SendSeen(f"{flow_id}#1", flow_id, outcome, tracking_id, attempts, resent, duplicate=False, correction=False, settled_at=50_000.0)


def _status(flow_id: str, seq: int, status: str, previous: str | None, *, terminal: bool = False, correction: bool = False) -> StatusSeen:
    return StatusSeen(f"{flow_id}#s{seq}", flow_id, seq, status, previous, terminal, correction)


def _letter(flow_id: str, offset: int) -> Letter:
    headers = {
        "__connect.errors.topic": "in",
        "__connect.errors.partition": "0",
        "__connect.errors.offset": str(offset),
        "failover.reason": "BAD",
    }
    return Letter(f"{flow_id}#0", flow_id, headers, b"value %d" % offset)


def good() -> Facts:
    """Two owners of one lane: a plain flow, one resent after a doubt, a marketing one left unknown, one rejected, one invalid."""
    return Facts(
        events=(
            _event(0, "plain", "transactional", Fate.SENT),
            _event(1, "again", "otp", Fate.SENT),
            _event(2, "maybe", "marketing", Fate.SENT),
            _event(3, "no", "transactional", Fate.REJECTED),
            _event(4, "bad", None, Fate.INVALID),
            ExpectedEvent(LANE, 5, b"key", None, ()),
            replace(_event(6, "plain", "transactional", Fate.SENT), repeat=True),
            _event(7, "late", "otp", Fate.SENT, key=b"other"),
        ),
        posts=(
            Post(1, 2500.0, "plain", 1, "standard", "t-plain"),
            Post(2, 3500.0, "again", 1, "otp", None),
            Post(3, 4500.0, "maybe", 1, "standard", None),
            Post(4, 9500.0, "no", 1, "standard", None),
            Post(5, 13_500.0, "no", 2, "standard", None),
            Post(6, 14_500.0, "again", 2, "otp", "t-again"),
        ),
        rows=(
            _mark(0, RowKind.CLAIM),
            _mark(1, RowKind.CHECKPOINT, 0),
            _row(2, "plain", "INTENT", 1, 0, "INTENT"),
            _row(3, "again", "INTENT", 1, 0, "INTENT"),
            _row(4, "maybe", "INTENT", 1, 0, "INTENT"),
            _row(5, "plain", "ACCEPTED", 1, 0, "ACCEPTED"),
            _mark(6, RowKind.CLAIM),
            _row(7, "again", "INTENT", 2, 0, "DOUBT", "INTENT"),  # a zombie's: void
            _row(8, "again", "DOUBT", 1, 6, "DOUBT"),
            _row(9, "no", "INTENT", 1, 6, "INTENT"),
            _row(10, "maybe", "DOUBT", 1, 6, "DOUBT"),
            _row(11, "no", "PARKED", 1, 6, "REFUSED"),
            _row(12, "maybe", "UNKNOWN", 1, 6, "DOUBT"),
            _row(13, "no", "INTENT", 2, 6, "REFUSED", "INTENT"),
            _row(14, "again", "INTENT", 2, 6, "DOUBT", "INTENT"),
            _row(15, "again", "ACCEPTED", 2, 6, "DOUBT", "ACCEPTED"),
            _row(16, "no", "REJECTED", 2, 6, "REFUSED", "REJECTED"),
            _row(17, "bad", "INVALID", 0, 6),
            _row(18, "late", "EXPIRED", 0, 6),
        ),
        sends=(
            _send("plain", "ACCEPTED", "ACCEPTED", tracking_id="t-plain"),
            _send("plain", "ACCEPTED", "ACCEPTED", tracking_id="t-plain"),  # a zombie's copy
            _send("maybe", "UNKNOWN", "DOUBT"),
            _send("again", "ACCEPTED", "DOUBT", "ACCEPTED", tracking_id="t-again", resent=True),
            _send("no", "REJECTED", "REFUSED", "REJECTED"),
            _send("bad", "INVALID"),
            replace(_send("late", "EXPIRED"), settled_at=100_000.0),
        ),
        statuses=(
            _status("plain", 1, "QUEUED", None),
            _status("plain", 2, "SUCCEEDED", "QUEUED", terminal=True),
            _status("plain", 3, "SUCCEEDED", "SUCCEEDED", terminal=True, correction=True),
            _status("again", 1, "SUCCEEDED", None, terminal=True),
        ),
        letters=(_letter("bad", 4), _letter("bad", 4)),
        commits=(Commit(LANE, 1, 2000.0), Commit(LANE, 8, 18_000.0), Commit(LANE, 8, None), Commit(OTHER, 0, None)),
        callbacks_stored=(CallbackSeen("plain", 1, "t-plain", "done"), CallbackSeen("plain", 1, "t-plain", "done")),
        callbacks_acked=(CallbackSeen("plain", 1, "t-plain", "done"),),
        resend_wait=5000.0,
        expiry_grace=1000.0,
    )


def _without(facts: Facts, part: str, flow_id: str) -> Facts:
    return replace(facts, **{part: tuple(entry for entry in getattr(facts, part) if entry.flow_id != flow_id)})  # type: ignore[arg-type]


def _without_row(facts: Facts, offset: int) -> Facts:
    return replace(facts, rows=tuple(row for row in facts.rows or () if row.offset != offset))


def _changed(facts: Facts, part: str, number: int, **changes: object) -> Facts:
    entries = list(getattr(facts, part))
    entries[number] = replace(entries[number], **changes)
    return replace(facts, **{part: tuple(entries)})  # type: ignore[arg-type]


def _more(facts: Facts, part: str, *more: object) -> Facts:
    return replace(facts, **{part: (*getattr(facts, part), *more)})  # type: ignore[arg-type]


BROKEN: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "an event without a send decision": ("I1", lambda facts: _without(facts, "sends", "no")),
    "two decisions": ("I1", lambda facts: _more(facts, "sends", replace(_send("no", "REJECTED"), id="no#2"))),
    "an accepted flow without an end": ("I1", lambda facts: _changed(facts, "statuses", 3, terminal=False)),
    "an acceptance that the provider does not know": ("I1", lambda facts: _changed(facts, "sends", 0, tracking_id="t-else")),
    "rejected, yet accepted": ("I1", lambda facts: _changed(facts, "posts", 4, tracking_id="t-no")),
    "unknown without a doubt": ("I1", lambda facts: _changed(facts, "sends", 2, attempts=((1, "INTENT"),))),
    "unknown against a callback's proof": (
        "I1",
        lambda facts: _more(facts, "callbacks_stored", CallbackSeen("maybe", 1, "t-maybe", "done")),
    ),
    "expired before its time": ("I1", lambda facts: _changed(facts, "sends", 6, settled_at=50_000.0)),
    "rejected where it should be sent": ("I1", lambda facts: _changed(facts, "sends", 6, outcome="REJECTED")),
    "outputs of nobody's flow": ("I1", lambda facts: _more(facts, "sends", _send("ghost", "UNROUTED"))),
    "a flow accepted twice": ("I2", lambda facts: _more(facts, "posts", Post(9, 3000.0, "plain", 2, "standard", "t-2"))),
    "an unflagged second acceptance": (
        "I2",
        lambda facts: _changed(_changed(facts, "posts", 1, tracking_id="t-1"), "sends", 3, resent_after_doubt=False),
    ),
    "marketing accepted twice": (
        "I2",
        lambda facts: _more(
            _changed(_changed(facts, "posts", 2, tracking_id="t-1"), "sends", 2, resent_after_doubt=True),
            "posts",
            Post(9, 15_000.0, "maybe", 2, "standard", "t-2"),
        ),
    ),
    "an attempt posted twice": ("I2", lambda facts: _more(facts, "posts", Post(9, 4000.0, "again", 1, "otp", None))),
    "a POST without a label": ("I2", lambda facts: _more(facts, "posts", Post(9, 4000.0, None, None, "otp", None))),
    "a resend without a doubt in the journal": ("I3", lambda facts: _without_row(facts, 8)),
    "a resend before the doubt was waited out": ("I3", lambda facts: replace(facts, resend_wait=12_000.0)),
    "an attempt after an answer": ("I3", lambda facts: _changed(facts, "rows", 13, attempts=((1, "ACCEPTED"), (2, "INTENT")))),
    "a resend that is not flagged": ("I3", lambda facts: _changed(facts, "sends", 3, resent_after_doubt=False)),
    "a second resend": (
        "I3",
        lambda facts: _more(
            facts,
            "rows",
            _row(22, "again", "DOUBT", 2, 6, "DOUBT", "DOUBT"),
            _row(40, "again", "INTENT", 3, 6, "DOUBT", "DOUBT", "INTENT"),
        ),
    ),
    "marketing resent": (
        "I3",
        lambda facts: _changed(facts, "rows", 12, state="INTENT", attempt=2, attempts=((1, "DOUBT"), (2, "INTENT"))),
    ),
    "a POST without an INTENT": ("I4", lambda facts: _without_row(facts, 2)),
    "a POST on a void INTENT": ("I4", lambda facts: _without_row(facts, 14)),
    "a POST before its INTENT": ("I4", lambda facts: _changed(facts, "posts", 0, at=1990.0)),
    "a commit past an event without a row": ("I5", lambda facts: _without_row(facts, 17)),
    "a commit before the row": ("I5", lambda facts: _changed(facts, "commits", 1, at=17_500.0)),
    "a hole in seq": ("I6", lambda facts: _changed(facts, "statuses", 2, seq=4)),
    "statuses out of order": ("I6", lambda facts: replace(facts, statuses=(facts.statuses[1], facts.statuses[0], *facts.statuses[2:]))),
    "a status that follows from nothing": ("I6", lambda facts: _changed(facts, "statuses", 1, previous="FAILED")),
    "news after the end that is no correction": ("I6", lambda facts: _changed(facts, "statuses", 2, correction=False)),
    "statuses of a flow that was never accepted": ("I6", lambda facts: _more(facts, "statuses", _status("no", 1, "QUEUED", None))),
    "a later event posted first": ("I7", lambda facts: _changed(facts, "posts", 0, seq=6)),
    "a lost dead letter": ("I8", lambda facts: replace(facts, letters=())),
    "other bytes in a dead letter": ("I8", lambda facts: _changed(facts, "letters", 0, value=b"else")),
    "a dead letter of another record": ("I8", lambda facts: replace(facts, letters=(_letter("bad", 3),))),
    "a dead letter of a good event": ("I8", lambda facts: _more(facts, "letters", _letter("plain", 0))),
    "a POST after the expiry": ("I9", lambda facts: _changed(facts, "posts", 5, at=101_001.0)),
    "a POST of an invalid event": ("I9", lambda facts: _more(facts, "posts", Post(9, 3000.0, "bad", 1, "standard", None))),
    "an answered callback that is not stored": (
        "I10",
        lambda facts: _more(facts, "callbacks_acked", CallbackSeen("again", 2, "t-again", "done")),
    ),
    "one of two equal callbacks lost": ("I10", lambda facts: replace(facts, callbacks_acked=tuple(facts.callbacks_acked or ()) * 3)),
}


def test_good_facts_break_no_law_and_every_law_is_checked() -> None:
    """Zombies' void rows and copies, known refusals, flagged resends and declared unknowns are lawful."""
    verdict = check(good())
    assert verdict.problems == ()
    assert (verdict.checked, verdict.skipped) == (tuple(LAWS), {})
    assert {name: verdict.figures[name] for name in ("copies", "void_rows", "resent", "unknown_not_accepted", "accepted_twice")} == {
        "copies": 2,
        "void_rows": 1,
        "resent": 1,
        "unknown_not_accepted": 1,
        "accepted_twice": 0,
    }


@pytest.mark.parametrize("case", BROKEN)
def test_each_broken_law_is_named(case: str) -> None:
    """One thing wrong in good facts is found under its law."""
    law, plant = BROKEN[case]
    assert law in {problem.law for problem in problems(plant(good()))}


def test_a_flagged_second_acceptance_is_lawful() -> None:
    """The declared class: OTP resent after a doubt, both accepted, audited."""
    verdict = check(_changed(good(), "posts", 1, tracking_id="t-1"))
    assert verdict.problems == ()
    assert verdict.figures["accepted_twice"] == 1


def test_the_providers_word_stands_above_the_story() -> None:
    """What it should have refused but took is rightly ACCEPTED, with its statuses; what it did not take is not."""
    taken = _changed(_changed(good(), "posts", 4, tracking_id="t-no"), "sends", 4, outcome="ACCEPTED", tracking_id="t-no")
    taken = _more(taken, "statuses", _status("no", 1, "SUCCEEDED", None, terminal=True))
    assert problems(taken) == []
    assert {problem.law for problem in problems(_changed(taken, "posts", 4, tracking_id=None))} >= {"I1"}


def test_an_accepted_flow_has_no_dead_letter_whatever_chance_decided() -> None:
    """Where no fate is told, too: a letter is lawful only for what was never accepted."""
    event = good().events[0]
    facts = _changed(good(), "events", 0, flows=(replace(event.flows[0], fate=None),))
    assert problems(facts) == []
    assert {problem.law for problem in problems(_more(facts, "letters", _letter(event.flows[0].flow_id, event.offset)))} == {"I8"}


def test_a_parked_flow_may_be_posted_late() -> None:
    """A long wait releases the key."""
    facts = _changed(good(), "posts", 0, seq=7)
    assert problems(facts)
    parked = JournalRow(LANE, 19, 2000.0, RowKind.FLOW, 6, "plain", "PARKED", 0)
    assert problems(_more(facts, "rows", parked)) == []


@pytest.mark.parametrize(("at", "found"), [(9500.0, set()), (10_500.0, {"I7"})])
def test_a_request_that_arrives_after_it_was_given_up_is_not_out_of_order(at: float, found: set[str]) -> None:
    """In doubt before the later flow of the key was posted: the sender kept the order. In doubt only after that: it did not."""
    parked = tuple(replace(row, state="NOT_SENT") if row.offset == 11 else row for row in good().rows or ())
    facts = _changed(replace(good(), rows=parked), "events", 2, flows=(ExpectedFlow("maybe", "rule", "transactional", Fate.SENT, False),))
    late = _changed(facts, "posts", 2, seq=4)
    doubt = JournalRow(LANE, 10, at, RowKind.FLOW, 6, "maybe", "DOUBT", 1, 0, ((1, "DOUBT"),))
    rows = tuple(doubt if row.offset == 10 else row for row in late.rows or ())
    assert {problem.law for problem in problems(_changed(replace(late, rows=rows), "posts", 3, seq=3))} == found


def test_a_flow_left_to_chance_must_still_agree_with_the_provider() -> None:
    """Without a known fate every outcome is right that the provider's ledger bears out."""
    facts = good()
    events = tuple(replace(event, flows=tuple(replace(flow, fate=None) for flow in event.flows)) for event in facts.events)
    assert problems(replace(facts, events=events)) == []
    assert {problem.law for problem in problems(replace(facts, events=events, posts=facts.posts[1:]))} >= {"I1"}


@pytest.mark.parametrize(
    ("part", "value", "laws"),
    [
        ("rows", None, {"I3", "I4", "I5", "I7"}),
        ("rows_whole", False, {"I3", "I4", "I5", "I7"}),
        ("commits", None, {"I5"}),
        ("callbacks_acked", None, {"I10"}),
        ("callbacks_stored", None, {"I10"}),
    ],
)
def test_a_law_that_cannot_be_checked_is_named(part: str, value: object, laws: set[str]) -> None:
    """Nothing is skipped silently."""
    verdict = check(replace(good(), **{part: value}))  # type: ignore[arg-type]
    assert set(verdict.skipped) == laws
    assert set(verdict.checked) == set(LAWS) - laws
