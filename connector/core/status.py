"""What is known of an accepted flow, and what a new report changes in it.

Reports come from three sources, late, twice and out of order. ``merge`` is a join: every fact has a rank, the higher one stays, so that
the same reports give the same end in any order, and a report met again changes nothing.

Flow status, lowest first::

    QUEUED < IN_PROGRESS < SUCCEEDED of OTP without a delivered step < UNKNOWN (silent) < FAILED < SUCCEEDED

* SUCCEEDED, FAILED and UNKNOWN end a flow. OTP's *Succeeded* alone does not: it only says that a channel took the message,
  so such a flow goes on until its last step is final.
* ``delivered`` is a fact of its own: a step is delivered, seen or completed; in the standard service *Succeeded* implies it.
* Delivered after FAILED or UNKNOWN makes SUCCEEDED. Every change after the end is a ``correction``; a price that grew after it is one, too.

Times. A step's end and the delivery are told by the provider's clock where it says them, held between the POST and now: no clock's error
makes a negative or a future time. Where it says nothing they are the time of the report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from connector.core.coerce import parse_json
from connector.core.documents import page_flows, page_items, parse_flow
from connector.core.model import Api, Channel, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.progress import FlowProgress, StepProgress
from connector.core.reduced import reduce, report_from
from connector.core.words import STANDING, flow_reason, status_table_markdown

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
    "reduce",
    "report_from",
    "silent",
    "status_table_markdown",
]

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
    reason_group: str | None = None  # why the flow is FAILED or UNKNOWN
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
    standing = STANDING[step.status]
    if known is not None and standing.rank <= known.rank:
        return None
    ended_at_ms = _end_of(step, known, span) if standing.final else None
    others = [other for other in progress.steps if other is not known]
    steps = [*others, StepProgress(step.order, step.channel, step.status, ended_at_ms)]
    delivered = progress.delivered or standing.success
    first = standing.success and progress.delivered_by is None
    return replace(
        progress,
        steps=tuple(sorted(steps, key=_place)),
        delivered=delivered,
        status=_settled(progress.status, delivered=delivered),
        delivered_at_ms=ended_at_ms if delivered and not progress.delivered else progress.delivered_at_ms,
        delivered_by=step.channel if first else progress.delivered_by,
    )


def _end_of(step: StepReport, known: StepProgress | None, span: Span) -> int | None:
    """When a final step ended. SEEN after DELIVERED ends nothing anew; a receipt after a failure does."""
    if known is not None and known.success and known.ended_at_ms is not None:
        return known.ended_at_ms
    delivered_at_ms = step.delivered_at_ms if STANDING[step.status].success else None
    return span.hold(step.updated_at_ms if delivered_at_ms is None else delivered_at_ms)


def _place(step: StepProgress) -> tuple[int, Channel]:
    return step.order, step.channel


def _with_flow(progress: FlowProgress, report: FlowReport, origin: Origin, span: Span) -> FlowProgress:
    word = _word(report)
    if word is FlowStatus.SUCCEEDED and origin is Origin.RESPONSE:
        word = FlowStatus.IN_PROGRESS
    delivered = progress.delivered or (word is FlowStatus.SUCCEEDED and progress.api is not Api.OTP)
    status = _settled(_higher(progress, word, delivered=delivered) if word else progress.status, delivered=delivered)
    code = report.status_code if word is FlowStatus.FAILED and progress.status_code is None else progress.status_code
    prices = [price for price in (progress.total_price, report.total_price) if price is not None]
    after = replace(
        progress,
        status=status,
        delivered=delivered,
        status_code=code if status is FlowStatus.FAILED else None,
        odd_word=report.raw_status if report.raw_status and report.status is None else progress.odd_word,
        total_price=max(prices, default=None),  # it grows step by step, so the highest is the latest
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
    lost = after.status in {FlowStatus.FAILED, FlowStatus.UNKNOWN}
    known = after.step(step.order, step.channel) if step else None
    return Change(
        status=after.status,
        previous=before.status,
        terminal=after.terminal,
        delivered=after.delivered,
        correction=was_terminal,
        step=step,
        channel=step.channel if step else (after.steps[-1].channel if after.steps else None),
        reason="silent" if after.silenced and after.status is FlowStatus.UNKNOWN else None,
        reason_group=flow_reason(after.status_code, report.steps if report else ()) if lost else None,
        raw_status=report.raw_status if report else after.odd_word,
        ended_at_ms=known.ended_at_ms if known else None,
        delivered_at_ms=after.delivered_at_ms,
        delivered_by=after.delivered_by,
    )
