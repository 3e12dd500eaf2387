"""A flow in doubt: what a complete search proves, when "not there" counts, and what follows (docs/how-it-works.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from connector.core.coerce import digits
from connector.core.documents import ANY_KIND
from connector.core.model import FlowReport, InDoubt, MessageClass

_FLOW_LABEL = re.compile(r"(?:.*\|)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([1-9]\d{0,5})", re.ASCII | re.DOTALL)
_SEARCH_GAPS_MS = (500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 30_000)
_SHORTEST_PHONE = 8
CLOCK_SKEW_MS = 60_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a search: the doubted attempt and how its flow would look at the provider."""

    flow_id: str
    attempt: int  # the doubted n
    lowest: int  # no attempt below was ever in doubt
    labelled: bool  # Request.labelled
    signature: tuple[str, ...]  # Request.signature
    since_ms: int  # when it may have been created: 60 s before the first POST in question
    until_ms: int
    recipient: str = field(default="", repr=False)  # E.164 or digits; empty: not compared


@dataclass(frozen=True, slots=True)
class Hit:
    """One flow at the provider that is ours; ``attempt`` is None where no label tells it."""

    tracking_id: str
    attempt: int | None
    report: FlowReport


@dataclass(frozen=True, slots=True)
class Found:
    """The doubted flow was accepted under this id. ``duplicates`` were accepted too, each an attempt of its own."""

    tracking_id: str
    attempt: int | None
    report: FlowReport
    duplicates: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Something may be ours, so it is never sent again. ``passing``: its label is not visible *yet*, so a later search can tell."""

    tracking_ids: tuple[str, ...]
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing there can be ours. Conclusive only once ``wait_ms`` has passed."""


Verdict = Found | Ambiguous | Absent


def judge(question: Question, candidates: Sequence[FlowReport], owned: Callable[[str], bool]) -> Verdict:
    """What a *complete* search proves. ``owned(tracking_id)``: another known flow has this id.

    A label of the flow is proof, whatever the attempt: the lowest attempt from ``lowest`` on wins, the others are duplicates.
    No such label, where ours would be visible (``labelled``): absent, unless a flow does not show its first step, and so its label, yet.
    Where ours would not be visible, every unexplained flow (same phone, time and steps, not owned, without another flow's label) may be
    ours: one is, several cannot be told apart.
    """
    hits, nameless = _labelled_hits(question, candidates)
    if hits:
        best = min(hits, key=lambda hit: _order_of(hit, question.lowest))
        return Found(best.tracking_id, best.attempt, best.report, tuple(hit for hit in hits if hit is not best))
    if nameless:
        return Ambiguous(())
    unexplained = [one for one in candidates if _may_be_ours(question, one, owned)]
    if not unexplained:
        return Absent()
    ids = tuple(dict.fromkeys(one.tracking_id for one in unexplained if one.tracking_id))
    if question.labelled:
        return Ambiguous(ids, passing=True)
    if len(ids) == 1 and all(one.tracking_id for one in unexplained):
        return Found(ids[0], question.attempt if question.attempt == question.lowest else None, _fullest(unexplained))
    return Ambiguous(ids)


def _labelled_hits(question: Question, candidates: Sequence[FlowReport]) -> tuple[list[Hit], bool]:
    """One hit per tracking id; and whether a flow with our label has no id at all."""
    found: dict[str, list[tuple[int, FlowReport]]] = {}
    nameless = False
    for report in candidates:
        attempts = [attempt for flow_id, attempt in _flow_labels(report) if flow_id == question.flow_id.casefold()]
        if attempts and report.tracking_id:
            found.setdefault(report.tracking_id, []).append((min(attempts), report))
        nameless = nameless or (bool(attempts) and not report.tracking_id)
    hits = [Hit(key, min(n for n, _ in seen), _fullest([report for _, report in seen])) for key, seen in found.items()]
    return sorted(hits, key=lambda hit: _order_of(hit, question.lowest)), nameless


def _order_of(hit: Hit, lowest: int) -> tuple[bool, int, int, str]:
    attempt = hit.attempt or 0
    return attempt < lowest, attempt, hit.report.created_at_ms or 0, hit.tracking_id


def _flow_labels(report: FlowReport) -> list[tuple[str, int]]:
    """Labels of the form ``flow_id.n`` or ``prefix|flow_id.n``."""
    matches = (_FLOW_LABEL.fullmatch(label.casefold()) for label in report.labels)
    return [(match[1], int(match[2])) for match in matches if match]


def _fullest(reports: Iterable[FlowReport]) -> FlowReport:
    return max(reports, key=lambda report: (len(report.steps), report.updated_at_ms or 0))


def _may_be_ours(question: Question, candidate: FlowReport, owned: Callable[[str], bool]) -> bool:
    """Whether nothing explains this flow as somebody else's. What it does not show speaks neither for nor against."""
    if candidate.tracking_id is not None and owned(candidate.tracking_id):
        return False
    if any(question.flow_id.casefold() in label.casefold() for label in candidate.labels):
        return True  # our label, but cut or changed
    if _flow_labels(candidate):
        return False  # another flow's
    created_ms = candidate.created_at_ms
    if created_ms is not None and not question.since_ms <= created_ms <= question.until_ms + CLOCK_SKEW_MS:
        return False
    if candidate.recipients and question.recipient and not any(_same_phone(question.recipient, one) for one in candidate.recipients):
        return False
    if question.labelled:
        return not candidate.signature or _lacks_first_step(candidate)
    return _lacks_first_step(candidate) or _fits(question.signature, candidate.signature)


def _same_phone(ours: str, theirs: str) -> bool:
    """One is the end of the other (00 prefix, national form). Too few digits (a masked phone) cannot tell them apart."""
    one, other = sorted((digits(ours), digits(theirs)), key=len)
    return len(one) < _SHORTEST_PHONE or other.endswith(one)


def _lacks_first_step(candidate: FlowReport) -> bool:
    """A list of single deliveries may show a later step only: that tells nothing of the first."""
    return bool(candidate.steps) and min(step.order for step in candidate.steps) > 1


def _fits(ours: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether the steps shown so far are the beginning of ours."""
    return len(shown) <= len(ours) and all(_same_step(mine, theirs) for mine, theirs in zip(ours, shown, strict=False))


def _same_step(ours: str, theirs: str) -> bool:
    my_kind, _, my_template = ours.casefold().partition(":")
    kind, _, template = theirs.casefold().partition(":")
    if kind != ANY_KIND and kind.removesuffix("otp") != my_kind.removesuffix("otp"):
        return False
    return not template or template == my_template


# --------------------------------------------------------------------------------------------------------------- policy

_DEFAULT_POLICY = {MessageClass.OTP: InDoubt.RESEND, MessageClass.TRANSACTIONAL: InDoubt.WAIT, MessageClass.MARKETING: InDoubt.NEVER}


def class_policy(message_class: MessageClass, in_doubt: InDoubt | None = None) -> InDoubt:
    """What follows a conclusive "not there": the rule's choice, else by class.

    RESEND (otp) and WAIT (transactional: the same, but conclusive only after a longer wait) send once more; NEVER (marketing) ends the
    flow as UNKNOWN.
    """
    return in_doubt or _DEFAULT_POLICY[message_class]


def wait_ms(policy: InDoubt, *, inherited: bool, lease_ms: int, timeout_ms: int, lag_ms: int, transactional_wait_ms: int) -> int:
    """After how long "not there" is conclusive, by the owner's own clock.

    T + V since the start of its own POST; for an ``inherited`` doubt L + T + V since the report of its CLAIM, since the former owner
    may have begun up to L after an intent that lies before the claim. V is the provider's lag; for WAIT the longer of it and
    ``doubt.transactional_wait``.
    """
    lag = max(lag_ms, transactional_wait_ms) if policy is InDoubt.WAIT else lag_ms
    return (lease_ms if inherited else 0) + timeout_ms + lag


def next_search_ms(started_ms: int, tries: int, u: float) -> int:
    """When to search next, after ``tries`` searches of a doubt that began at ``started_ms``: early and often (0.5, 1, 2, 4, 8, 15 s …).

    ``u`` is chance in [0, 1): each time is moved by at most a quarter of its gap. Times rise with ``tries``.
    """
    gaps = _SEARCH_GAPS_MS[: tries + 1]
    later = max(0, tries + 1 - len(_SEARCH_GAPS_MS)) * _SEARCH_GAPS_MS[-1]
    return started_ms + sum(gaps) + later + int(gaps[-1] * (min(max(u, 0.0), 1.0) - 0.5) / 2)
