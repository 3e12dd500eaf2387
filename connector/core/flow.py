"""The life of one (notification × rule), and the one function that moves a flow through it (the table: ``moves``).

``advance`` is the only writer of flow state: the answer of a send, a callback and a poll all end here. It returns the next frozen
``Flow``, with the output events that the move causes appended to ``pending``; or the *same object* where nothing changed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import assert_never

from connector.core import status
from connector.core.attempts import Attempt, kept
from connector.core.model import (
    Accepted,
    Api,
    Doubt,
    FlowReport,
    InDoubt,
    MessageClass,
    NotSent,
    Origin,
    OutputEvent,
    Refused,
    Rejected,
)
from connector.core.moves import (
    DECISIONS,
    TRANSITIONS,
    Ended,
    Event,
    IllegalMove,
    Intended,
    Overtaken,
    Parked,
    Proven,
    Reported,
    Silent,
    State,
    word_of,
)
from connector.core.outputs import emit_send, emit_status

__all__ = [
    "TRANSITIONS",
    "Attempt",
    "Ended",
    "Event",
    "Facts",
    "Flow",
    "IllegalMove",
    "Intended",
    "Overtaken",
    "Parked",
    "Proven",
    "Reported",
    "Silent",
    "State",
    "advance",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What never changes in a flow's life. Holds no phone, no text."""

    flow_id: str
    digest: bytes  # of the event's identity
    event_id: str
    event_type: str
    siblings: tuple[str, ...]  # rule names of all flows of this event, in order; ("",) for UNROUTED and INVALID
    rule: str
    rules_version: str
    api: Api | None
    message_class: MessageClass | None
    tenant: str | None
    source_topic: str
    source_partition: int
    source_offset: int
    occurred_at_ms: int
    expires_at_ms: int
    key_hash: bytes | None = None
    recipient_hash: bytes | None = None
    channels: tuple[str, ...] = ()
    signature: tuple[str, ...] = ()
    labelled: bool = False
    ttl_total_ms: int = 0
    in_doubt: InDoubt | None = None  # the rule's own choice


@dataclass(frozen=True, slots=True)
class Flow:
    """Whole state of a flow; each journal row carries all of it."""

    facts: Facts
    state: State = State.NEW
    attempt: int = 0
    attempts: tuple[Attempt, ...] = ()
    ever_posted: bool = False
    ever_doubted: bool = False
    resent: bool = False
    overtaken: bool = False  # a later flow of the same key and class was posted: never resent any more
    called: bool = False  # an attempt's URL was called by a body that names no id: it arrived, so it is never sent again
    reason: str | None = None
    detail: str | None = None
    tracking_id: str | None = None
    proven: int = 0  # the attempt that was accepted
    guessed: bool = False  # no label and no call has said that ``tracking_id`` is ours
    duplicates: tuple[str, ...] = ()  # tracking ids of further acceptances, audited
    progress: status.FlowProgress | None = None
    accepted_at_ms: int | None = None
    changed_at_ms: int = 0
    due_ms: int | None = None
    out: int = 0
    seq: int = 0
    pending: tuple[tuple[int, OutputEvent], ...] = ()  # (number, event) of the outputs not known to be acknowledged

    @property
    def finished(self) -> bool:
        """Settled, and no status is awaited any more."""
        return self.state.settled and (self.progress is None or self.progress.terminal or self.progress.finished)

    @property
    def next_attempt(self) -> int:
        """N of the next INTENT: the same where no byte of it left us, else the next."""
        unsent = bool(self.attempts) and self.attempts[-1].outcome == "NOT_SENT"
        return self.attempt if unsent else self.attempt + 1

    @property
    def posted_at_ms(self) -> int | None:
        """When the accepted attempt was posted; the first one, where it is not known which was accepted."""
        first = self.attempts[0].at_ms if self.attempts else None
        return next((line.at_ms for line in self.attempts if line.n == self.proven), first)

    def acked(self, numbers: Collection[int]) -> Flow:
        """The same flow with these outputs known to be acknowledged. (Acks of two topics come in any order.)"""
        pending = tuple(entry for entry in self.pending if entry[0] not in numbers)
        return self if len(pending) == len(self.pending) else replace(self, pending=pending)


def advance(flow: Flow, event: Event, now_ms: int) -> Flow:  # noqa: C901 - one case per event, nothing else
    """The flow after ``event`` at ``now_ms``; the same object when nothing changed. Raises IllegalMove."""
    target = TRANSITIONS[flow.state].get(word_of(event))
    if target is None and flow.state.settled and word_of(event) in DECISIONS:
        return flow
    if target is None:
        raise IllegalMove(f"{flow.state.name} has no {word_of(event)!r}")
    match event:
        case Intended():
            return _intend(flow, now_ms)
        case Parked():
            return replace(flow, state=target, due_ms=event.due_ms, reason=event.reason)
        case Overtaken():
            return flow if flow.overtaken else replace(flow, overtaken=True)
        case Ended():
            return _end(flow, target, event.reason, event.detail, now_ms)
        case Reported():
            return _hear(flow, event, now_ms)
        case Accepted():
            return _accept(flow, event.tracking_id, flow.attempt, event.report, Origin.RESPONSE, event.http_status, now_ms)
        case Proven():
            return _find(flow, event, now_ms)
        case Silent():
            return _silence(flow, now_ms)
        case Rejected() | NotSent() | Refused() | Doubt():
            return _answer(flow, event, target, now_ms)
        case _:
            assert_never(event)


def _intend(flow: Flow, now_ms: int) -> Flow:
    """INTENT(n): the same n only where no byte of it left us. Out of DOUBT it is the one flagged resend."""
    n = flow.next_attempt
    earlier = kept(tuple(attempt for attempt in flow.attempts if attempt.n < n))
    resent = flow.resent or flow.state is State.DOUBT
    return replace(
        flow, state=State.INTENT, attempt=n, attempts=(*earlier, Attempt(n, now_ms)), resent=resent, due_ms=None, reason=None, detail=None
    )


def _answer(flow: Flow, answer: Rejected | NotSent | Refused | Doubt, target: State, now_ms: int) -> Flow:
    """An answer other than acceptance. In ACCEPTED (proven meanwhile) only the attempt's record changes."""
    word = {"not_sent": "NOT_SENT", "refused": "REFUSED", "rejected": "REJECTED", "doubted": "DOUBT"}[word_of(answer)]
    http_status = None if isinstance(answer, NotSent) else answer.http_status
    lines = _recorded(flow, word, http_status, answer.reason)
    if flow.state is State.ACCEPTED:
        return replace(flow, attempts=lines)
    match answer:
        case Rejected():
            return _end(replace(flow, attempts=lines, ever_posted=True), target, answer.reason, answer.detail, now_ms)
        case NotSent():
            return replace(flow, attempts=lines, state=target, reason=answer.reason)
        case Refused():
            return replace(flow, attempts=lines, state=target, reason=answer.reason, ever_posted=True)
        case Doubt():
            return replace(flow, attempts=lines, state=target, reason=answer.reason, ever_posted=True, ever_doubted=True, due_ms=None)
        case _:
            assert_never(answer)


def _end(flow: Flow, target: State, reason: str | None, detail: str | None, now_ms: int) -> Flow:
    """A settled state without acceptance, with its SendEvent.

    A flow that ever was in doubt cannot be called EXPIRED, SUPPRESSED or INVALID: it may have been sent, so it is UNKNOWN.
    """
    if flow.ever_doubted and target in {State.EXPIRED, State.SUPPRESSED, State.INVALID}:
        target, reason = State.UNKNOWN, reason or target.name.lower()
    ended = replace(flow, state=target, reason=reason, detail=detail, due_ms=None, changed_at_ms=now_ms)
    return emit_send(ended, now_ms)


def _find(flow: Flow, event: Proven, now_ms: int) -> Flow:
    """A search's hit; a guess says nothing where a call was quicker."""
    is_known = flow.state is State.ACCEPTED
    if is_known and event.guessed and not _is_one(event.tracking_id, flow.tracking_id):
        return flow
    found = _accept(flow, event.tracking_id, event.attempt or flow.attempt, event.report, Origin.POLL, None, now_ms)
    return replace(found, guessed=True) if event.guessed and not is_known else found


def _hear(flow: Flow, event: Reported, now_ms: int) -> Flow:
    """A callback or poll: news of the accepted flow, or the proof that an attempt was accepted. A call outweighs a guess."""
    report = event.report
    if flow.state is State.ACCEPTED and event.asked and not _is_one(event.asked, flow.tracking_id):
        return flow  # what was asked about was a guess, and was disowned meanwhile
    other = report.tracking_id is not None and not _is_one(report.tracking_id, flow.tracking_id)
    if flow.guessed and event.attempt and report.tracking_id is not None:
        flow = _disowned(flow) if other else replace(flow, guessed=False)
    if flow.state is not State.ACCEPTED or (other and event.attempt):
        if report.tracking_id is None:
            is_news = event.origin is Origin.CALLBACK and not flow.called and not flow.state.settled
            return replace(flow, called=True) if is_news else flow
        return _accept(flow, report.tracking_id, event.attempt or flow.attempt, report, event.origin, None, now_ms)
    return _merge(flow, report, event.origin, now_ms)


def _accept(
    flow: Flow, tracking_id: str, attempt: int, report: FlowReport | None, origin: Origin, http_status: int | None, now_ms: int
) -> Flow:
    """The first proven acceptance wins; another tracking id is an audited duplicate; the same one is no news."""
    if flow.state is State.ACCEPTED:
        if _is_one(tracking_id, flow.tracking_id):
            return _merge(flow, report, origin, now_ms) if report else flow
        return _duplicate(flow, tracking_id, now_ms)
    correction = flow.state.settled
    progress, change = status.accepted(report, api=flow.facts.api or Api.STANDARD, planned=len(flow.facts.channels))
    if flow.progress is not None:  # what was told so far was somebody else's
        change = replace(change, previous=flow.progress.status, correction=True)
    accepted = replace(
        flow,
        attempts=_recorded(flow, "ACCEPTED", http_status, None, attempt),
        state=State.ACCEPTED,
        tracking_id=tracking_id,
        proven=attempt,
        ever_posted=True,
        reason=None,
        detail=None,
        due_ms=None,
        progress=progress,
        changed_at_ms=now_ms,
    )
    # The clock may have been set back since the POST: nothing is accepted before it is sent.
    accepted = replace(accepted, accepted_at_ms=max(now_ms, accepted.posted_at_ms or now_ms))
    accepted = emit_status(emit_send(accepted, now_ms, correction=correction), change, origin, now_ms)
    return _merge(accepted, report, origin, now_ms) if report else accepted


def _disowned(flow: Flow) -> Flow:
    """A call names another message than the guessed one: the flow is as if it had come out of its doubt as UNKNOWN."""
    lines = tuple([replace(line, outcome="DOUBT") if line.n == flow.proven else line for line in flow.attempts])
    return replace(flow, state=State.UNKNOWN, attempts=lines, tracking_id=None, guessed=False)


def _is_one(tracking_id: str, other: str | None) -> bool:
    """Whether these are the same id: UUIDs, which one service may spell in other letters than another. The first spelling is kept."""
    return other is not None and tracking_id.casefold() == other.casefold()


def _duplicate(flow: Flow, tracking_id: str, now_ms: int) -> Flow:
    if any(_is_one(tracking_id, known) for known in flow.duplicates) or len(flow.duplicates) >= flow.attempt:
        return flow  # known, or more of them than were ever posted
    return emit_send(replace(flow, duplicates=(*flow.duplicates, tracking_id)), now_ms, duplicate_id=tracking_id)


def _merge(flow: Flow, report: FlowReport, origin: Origin, now_ms: int) -> Flow:
    if flow.progress is None:
        raise IllegalMove("an accepted flow without progress")
    progress, changes = status.merge(flow.progress, report, origin, status.Span(flow.posted_at_ms, now_ms))
    if not changes and progress == flow.progress:
        return flow
    merged = replace(flow, progress=progress, changed_at_ms=now_ms if changes else flow.changed_at_ms)
    for change in changes:
        merged = emit_status(merged, change, origin, now_ms)
    return merged


def _silence(flow: Flow, now_ms: int) -> Flow:
    if flow.progress is None or flow.finished:
        return flow
    progress, change = status.silent(flow.progress)
    return emit_status(replace(flow, progress=progress, changed_at_ms=now_ms), change, Origin.TIMEOUT, now_ms)


def _recorded(flow: Flow, outcome: str, http_status: int | None, reason: str | None, attempt: int = 0) -> tuple[Attempt, ...]:
    """The flow's ``attempts``, this one's line with its outcome; why it was in doubt stays."""
    n = attempt or flow.attempt
    return tuple(
        [
            Attempt(n, line.at_ms, outcome, http_status, reason or (line.reason if line.outcome == "DOUBT" else None))
            if line.n == n and line.outcome != "ACCEPTED"
            else line
            for line in flow.attempts
        ]
    )
