"""What is known of an accepted flow, and what a new report changes in it.

Reports come from three sources, late, twice and out of order. ``merge`` is a join: every fact has a rank, the higher one stays, so that
the same reports give the same end in any order, and a report met again changes nothing.

Flow status, lowest first::

    QUEUED < IN_PROGRESS < SUCCEEDED of OTP without a delivered step < UNKNOWN (silent) < FAILED < SUCCEEDED

* SUCCEEDED, FAILED and UNKNOWN end a flow. OTP's *Succeeded* alone does not: it only says that a channel took the message,
  so such a flow goes on until its last step is final.
* ``delivered`` is a fact of its own: a step is delivered, seen or completed; in the standard service *Succeeded* implies it.
* Delivered after FAILED or UNKNOWN makes SUCCEEDED. Every change after the end is a ``correction``; a price that grew after it is one, too.
* What a report tells beside the status (price, country, operator, parts, why a step failed) is kept, and is news of its step where it
  comes late: each event of a step tells all that is known of it.

Times. A step's end and the delivery are told by the provider's clock where it says them, held between the POST and now: no clock's error
makes a negative or a future time. Where it says nothing they are the time of the report. The delivery is the first one: told after SEEN,
or after another step's, it moves back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeVar

from connector.core.coerce import parse_json
from connector.core.documents import page_flows, page_items, parse_flow
from connector.core.model import Api, Channel, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.progress import FlowProgress, StepProgress
from connector.core.reduced import reduce, report_from
from connector.core.words import STANDING, flow_reason, reason_of, status_table_markdown

__all__ = [
    "Change",
    "FlowProgress",
    "Span",
    "StepProgress",
    "accepted",
    "merge",
    "page_flows",
    "page_items",
    "parse_flow",
    "parse_json",
    "reason_group",
    "reduce",
    "report_from",
    "silent",
    "status_table_markdown",
]

Amount = TypeVar("Amount", int, Decimal)

_FLOW_RANK = {FlowStatus.QUEUED: 0, FlowStatus.IN_PROGRESS: 1, FlowStatus.UNKNOWN: 3, FlowStatus.FAILED: 4}
_ENDS = frozenset({FlowStatus.SUCCEEDED, FlowStatus.FAILED, FlowStatus.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Change:
    """One StatusEvent to write. ``step`` is None when only the flow moved; ``channel`` is then that of its last known step."""

    status: FlowStatus
    previous: FlowStatus | None
    terminal: bool
    delivered: bool
    correction: bool
    step: StepReport | None = None
    channel: Channel | None = None
    reason: str | None = None  # silent
    reason_group: str | None = None  # why the flow reached nobody, or is UNKNOWN
    raw_status: str | None = None  # the flow's word in the document that brought this
    ended_at_ms: int | None = None  # of ``step``
    delivered_at_ms: int | None = None
    delivered_by: Channel | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What a report tells of can only have happened in it: from the POST until now. None: not known."""

    since_ms: int | None = None
    now_ms: int | None = None

    def hold(self, told_ms: int | None) -> int | None:
        """The time the provider tells, inside the span; ``now_ms`` where it tells none."""
        held_ms = told_ms
        if self.now_ms is not None and (held_ms is None or held_ms > self.now_ms):
            held_ms = self.now_ms
        if held_ms is not None and self.since_ms is not None and held_ms < self.since_ms:
            held_ms = self.since_ms  # also where now is before the POST: the clock was set back
        return held_ms


_ALWAYS = Span()


def accepted(report: FlowReport | None, *, api: Api, planned: int = 0) -> tuple[FlowProgress, Change]:
    """The beginning of an accepted flow and its first StatusEvent: QUEUED, or IN_PROGRESS when the document speaks of progress.

    It takes no more from the document: whatever else it says, ``merge`` it next, with its true origin. ``planned`` is the number of the
    request's steps.
    """
    going = report is not None and _word(report) in {FlowStatus.IN_PROGRESS, FlowStatus.SUCCEEDED}
    start = FlowProgress(api, FlowStatus.IN_PROGRESS if going else FlowStatus.QUEUED, planned=planned)
    word = report.raw_status if report else None
    return start, Change(start.status, None, terminal=False, delivered=False, correction=False, raw_status=word)


def merge(progress: FlowProgress, report: FlowReport, origin: Origin, span: Span = _ALWAYS) -> tuple[FlowProgress, tuple[Change, ...]]:
    """``progress`` and what ``report`` adds to it, with one Change for each step that moved.

    The flow's own move goes with the last step that moved, or stands alone. An answer's *Succeeded* (origin RESPONSE) counts as
    IN_PROGRESS: it only says that the message was taken (Routee's documentation: OTP Failover).
    """
    states = [progress]
    moved: list[StepReport] = []
    for step in report.steps:
        further = _with_step(states[-1], step, span)
        if further is not None:
            states.append(further)
            moved.append(step)
    last = _with_flow(states[-1], report, origin, span)
    if moved:
        states[-1] = last
        return last, tuple(
            [
                _change(before, after, progress.terminal, step, report)
                for before, after, step in zip(states, states[1:], moved, strict=False)
            ]
        )
    dearer = progress.terminal and last.total_price != progress.total_price
    if dearer or (last.status, last.delivered, last.terminal) != (progress.status, progress.delivered, progress.terminal):
        return last, (_change(progress, last, progress.terminal, None, report),)
    return last, ()


def silent(progress: FlowProgress) -> tuple[FlowProgress, Change]:
    """The flow's deadline passed without an end: UNKNOWN, or SUCCEEDED when a step is known as delivered. Later proof corrects it."""
    status = _settled(_higher(progress, FlowStatus.UNKNOWN, delivered=progress.delivered), delivered=progress.delivered)
    after = replace(progress, status=status, terminal=True, silenced=True)
    return after, replace(_change(progress, after, progress.terminal, None, None), reason="silent")


def _with_step(progress: FlowProgress, step: StepReport, span: Span) -> FlowProgress | None:
    """The progress with this step's news, or None when it is none."""
    known = progress.step(step.order, step.channel)
    now = _with_facts(_advanced(known, step, span), step)
    if now == known:
        return None
    others = [other for other in progress.steps if other is not known]
    delivered = progress.delivered or now.success
    after = replace(
        progress,
        steps=tuple(sorted([*others, now], key=_place)),
        delivered=delivered,
        status=_settled(progress.status, delivered=delivered),
    )
    return _with_delivery(after, progress, now) if now.success else after


def _advanced(known: StepProgress | None, step: StepReport, span: Span) -> StepProgress:
    """Where the step stands with this report: a higher rank replaces a lower one."""
    standing = STANDING[step.status]
    if known is None or standing.rank > known.rank:
        return replace(
            known or StepProgress(step.order, step.channel, step.status),
            status=step.status,
            raw_status=step.raw_status,
            reason_group=step.reason_group,
            detail=step.detail,
            ended_at_ms=_end_of(step, known, span) if standing.final else None,
        )
    if known.status is step.status and step.reason_group and (known.reason_group is None or (step.detail and known.detail is None)):
        return replace(known, reason_group=step.reason_group, detail=step.detail)  # why it failed is told later than that it did
    return replace(known, ended_at_ms=_end_of(step, known, span)) if known.success and standing.success else known


def _end_of(step: StepReport, known: StepProgress | None, span: Span) -> int | None:
    """When a final step ended. SEEN after DELIVERED ends nothing anew; a receipt after a failure does.

    When it was delivered may be told after that it was, or after it was seen: it was when it was.
    """
    delivered_at_ms = step.delivered_at_ms if STANDING[step.status].success else None
    told_ms = step.updated_at_ms if delivered_at_ms is None else delivered_at_ms
    if known is None or not known.success:
        return span.hold(told_ms)
    if known.ended_at_ms is None or told_ms is None:
        return known.ended_at_ms
    return min(known.ended_at_ms, span.hold(told_ms) or told_ms)


def _with_facts(now: StepProgress, step: StepReport) -> StepProgress:
    """And what the report tells beside the status: it may come late, and in parts. What grows is at its highest."""
    return replace(
        now,
        price=_most(now.price, step.price),
        country=now.country or step.country,
        operator=now.operator or step.operator,
        parts=_most(now.parts, step.parts),
    )


def _with_delivery(after: FlowProgress, before: FlowProgress, step: StepProgress) -> FlowProgress:
    """When and on which channel a message first reached the person, now that ``step`` did: reports of two steps come in any order."""
    if before.delivered and before.delivered_at_ms is None:  # of an older release
        return replace(after, delivered_by=before.delivered_by or step.channel)
    earlier = before.delivered_at_ms is None or (step.ended_at_ms is not None and step.ended_at_ms < before.delivered_at_ms)
    return replace(
        after,
        delivered_at_ms=step.ended_at_ms if earlier else before.delivered_at_ms,
        delivered_by=step.channel if earlier or before.delivered_by is None else before.delivered_by,
    )


def _told(step: StepReport, now: StepProgress) -> StepReport:
    """The step as its event tells it: where it stands, which the report may be behind of, and all that is known of it."""
    if (step.status, step.reason_group, step.detail) != (now.status, now.reason_group, now.detail):
        reason = reason_of(now.status, now.raw_status or step.raw_status, now.detail)
        step = replace(
            step,
            status=now.status,
            raw_status=now.raw_status or step.raw_status,
            reason_group=now.reason_group,
            detail=now.detail,
            permanent=reason.permanent if reason else None,
            retryable=reason.retryable if reason else None,
            updated_at_ms=step.updated_at_ms if step.status is now.status else None,
        )
    return replace(step, price=now.price, country=now.country, operator=now.operator, parts=now.parts)


def _most(known: Amount | None, told: Amount | None) -> Amount | None:
    return max((amount for amount in (known, told) if amount is not None), default=None)


def _place(step: StepProgress) -> tuple[int, Channel]:
    return step.order, step.channel


def _with_flow(progress: FlowProgress, report: FlowReport, origin: Origin, span: Span) -> FlowProgress:
    word = _word(report)
    if word is FlowStatus.SUCCEEDED and origin is Origin.RESPONSE:
        word = FlowStatus.IN_PROGRESS
    delivered = progress.delivered or (word is FlowStatus.SUCCEEDED and progress.api is not Api.OTP)
    status = _settled(_higher(progress, word, delivered=delivered) if word else progress.status, delivered=delivered)
    code = report.status_code if word is FlowStatus.FAILED and progress.status_code is None else progress.status_code
    after = replace(
        progress,
        status=status,
        delivered=delivered,
        status_code=code if status is FlowStatus.FAILED else None,
        odd_word=report.raw_status if report.raw_status and report.status is None else progress.odd_word,
        total_price=_most(progress.total_price, report.total_price),  # it grows step by step, so the highest is the latest
        delivered_at_ms=span.hold(report.updated_at_ms) if delivered and not progress.delivered else progress.delivered_at_ms,
    )
    return replace(after, terminal=progress.terminal or (status in _ENDS and after.finished))


def _word(report: FlowReport) -> FlowStatus | None:
    """The document's own word; without one, what its steps show (never an end: only the provider knows whether another step follows)."""
    if report.status is not None and report.status is not FlowStatus.UNKNOWN:
        return report.status
    ranks = [STANDING[step.status].rank for step in report.steps]
    return FlowStatus.IN_PROGRESS if max(ranks, default=0) > STANDING[StepStatus.QUEUED].rank else None


def _higher(progress: FlowProgress, word: FlowStatus, *, delivered: bool) -> FlowStatus:
    taken_only = progress.api is Api.OTP and not delivered
    return max(progress.status, word, key=lambda status: _FLOW_RANK.get(status, 2 if taken_only else 5))


def _settled(status: FlowStatus, *, delivered: bool) -> FlowStatus:
    return FlowStatus.SUCCEEDED if delivered and status in {FlowStatus.FAILED, FlowStatus.UNKNOWN} else status


def _change(before: FlowProgress, after: FlowProgress, was_terminal: bool, step: StepReport | None, report: FlowReport | None) -> Change:
    now = after.step(step.order, step.channel) if step else None
    return Change(
        status=after.status,
        previous=before.status,
        terminal=after.terminal,
        delivered=after.delivered,
        correction=was_terminal,
        step=_told(step, now) if step and now else None,
        channel=step.channel if step else (after.steps[-1].channel if after.steps else None),
        reason="silent" if after.silenced and after.status is FlowStatus.UNKNOWN else None,
        reason_group=reason_group(after),
        raw_status=report.raw_status if report else after.odd_word,
        ended_at_ms=now.ended_at_ms if now else None,
        delivered_at_ms=after.delivered_at_ms,
        delivered_by=after.delivered_by,
    )


def reason_group(progress: FlowProgress) -> str | None:
    """Why a flow reached nobody, by all that is known of it; why one is UNKNOWN nobody knows."""
    if progress.undelivered:
        return flow_reason(progress.status_code, [step.reason_group or _usual_reason(step) for step in progress.steps])
    return "UNKNOWN" if progress.status is FlowStatus.UNKNOWN else None


def _usual_reason(step: StepProgress) -> str | None:
    """Of a row that an older release wrote."""
    reason = reason_of(step.status, "", None)
    return reason.group if reason else None
