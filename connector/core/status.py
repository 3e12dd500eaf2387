"""What is known of an accepted flow, and what a new report changes in it.

Reports come from three sources, late, twice and out of order. ``merge`` is a join: every fact has a rank, the higher one stays, so that
the same reports give the same end in any order, and a report met again changes nothing.

Flow status, lowest first::

    QUEUED < IN_PROGRESS < SUCCEEDED of OTP without a delivered step < UNKNOWN (silent) < FAILED < SUCCEEDED

* SUCCEEDED, FAILED and UNKNOWN end a flow. OTP's *Succeeded* alone does not: it only says that a channel took the message,
  so such a flow goes on until its last step is final.
* ``delivered`` is a fact of its own: a step is delivered, seen or completed; in the standard service *Succeeded* implies it.
* Delivered after FAILED or UNKNOWN makes SUCCEEDED. Every change after the end is a ``correction``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from connector.core.coerce import parse_json
from connector.core.documents import page_flows, page_items, parse_flow
from connector.core.model import Api, Channel, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.reduced import reduce, report_from
from connector.core.words import STANDING, status_table_markdown

__all__ = [
    "Change",
    "FlowProgress",
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

# These letters stand in journal rows: never change one.
_API_LETTERS = {Api.STANDARD: "s", Api.TRANSACTIONAL: "t", Api.OTP: "o"}
_CHANNEL_LETTERS = {Channel.SMS: "s", Channel.VIBER: "v", Channel.VOICE: "c"}
_FLOW_LETTERS = {
    FlowStatus.QUEUED: "Q",
    FlowStatus.IN_PROGRESS: "I",
    FlowStatus.SUCCEEDED: "S",
    FlowStatus.FAILED: "F",
    FlowStatus.UNKNOWN: "U",
}
_STEP_LETTERS = {
    StepStatus.QUEUED: "Q",
    StepStatus.SENT: "T",
    StepStatus.RINGING: "R",
    StepStatus.DELIVERED: "D",
    StepStatus.SEEN: "S",
    StepStatus.COMPLETED: "C",
    StepStatus.BUSY: "B",
    StepStatus.NO_ANSWER: "N",
    StepStatus.EXPIRED: "E",
    StepStatus.UNDELIVERED: "U",
    StepStatus.FAILED: "F",
    StepStatus.UNSENT: "X",
    StepStatus.UNKNOWN: "K",
}
_API_OF = {letter: api for api, letter in _API_LETTERS.items()}
_CHANNEL_OF = {letter: channel for channel, letter in _CHANNEL_LETTERS.items()}
_FLOW_OF = {letter: status for status, letter in _FLOW_LETTERS.items()}
_STEP_OF = {letter: status for status, letter in _STEP_LETTERS.items()}
_COMPACT_STEP = re.compile(r"(\d+)([a-z])([A-Z])", re.ASCII)
_COMPACT_STEPS = re.compile(r"(?:\d+[a-z][A-Z])*", re.ASCII)
_DELIVERED, _TERMINAL, _SILENT = 1, 2, 4
_COMPACT_FIELDS = 5

_FLOW_RANK = {FlowStatus.QUEUED: 0, FlowStatus.IN_PROGRESS: 1, FlowStatus.UNKNOWN: 3, FlowStatus.FAILED: 4}
_ENDS = frozenset({FlowStatus.SUCCEEDED, FlowStatus.FAILED, FlowStatus.UNKNOWN})


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The furthest status known of one step."""

    order: int
    channel: Channel
    status: StepStatus

    @property
    def rank(self) -> int:
        """How far it is: only a higher rank replaces it."""
        return STANDING[self.status].rank

    @property
    def final(self) -> bool:
        """Whether nothing more is to come, but for a late SEEN."""
        return STANDING[self.status].final


@dataclass(frozen=True, slots=True)
class FlowProgress:
    """All that is known of an accepted flow; small, and free of personal data. Steps are ordered by (order, channel)."""

    api: Api
    status: FlowStatus = FlowStatus.QUEUED
    delivered: bool = False
    terminal: bool = False  # its end was told; what comes later is a correction
    steps: tuple[StepProgress, ...] = ()
    status_code: int | None = None  # while FAILED
    total_price: Decimal | None = None
    planned: int = 0  # steps of the request, 0: not known
    silenced: bool = False  # given up at its deadline

    @property
    def finished(self) -> bool:
        """Whether it needs no more polling.

        A standard flow is finished with its terminal status. An OTP flow that is SUCCEEDED is so only when its last step is final, and is
        either a success or the last one there can be.
        """
        if self.silenced or self.status in {FlowStatus.FAILED, FlowStatus.UNKNOWN}:
            return True
        if self.status is not FlowStatus.SUCCEEDED or self.api is not Api.OTP:
            return self.status is FlowStatus.SUCCEEDED
        if not self.steps or not self.steps[-1].final:
            return False
        return self.delivered or len(self.steps) >= self.planned

    def step(self, order: int, channel: Channel) -> StepProgress | None:
        """What is known of one step."""
        return next((step for step in self.steps if (step.order, step.channel) == (order, channel)), None)

    def compact(self) -> list[Any]:
        """A short JSON-able list for a journal row, such as ``["oS3", "1vE2sD", 2, null, "0.0468"]``; trailing nulls are left out."""
        flags = _DELIVERED * self.delivered | _TERMINAL * self.terminal | _SILENT * self.silenced
        fields: list[Any] = [
            f"{_API_LETTERS[self.api]}{_FLOW_LETTERS[self.status]}{flags}",
            "".join(f"{step.order}{_CHANNEL_LETTERS[step.channel]}{_STEP_LETTERS[step.status]}" for step in self.steps),
            self.planned,
            self.status_code,
            None if self.total_price is None else f"{self.total_price:f}",
        ]
        while fields[-1] is None:
            fields.pop()
        return fields

    @classmethod
    def from_compact(cls, fields: Sequence[Any]) -> FlowProgress:
        """What ``compact`` wrote. Raises ValueError for anything else."""
        try:
            padded = list(fields)
            padded.extend([None] * (_COMPACT_FIELDS - len(fields)))
            head, steps, planned, code, price = padded
            flags = int(head[2:])
            return cls(
                api=_API_OF[head[0]],
                status=_FLOW_OF[head[1]],
                delivered=bool(flags & _DELIVERED),
                terminal=bool(flags & _TERMINAL),
                steps=_steps_of(steps),
                status_code=code,
                total_price=None if price is None else Decimal(price),
                planned=planned,
                silenced=bool(flags & _SILENT),
            )
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError("not a flow's compact progress") from error


def _steps_of(compact: str) -> tuple[StepProgress, ...]:
    if compact == "":
        return ()
    if not _COMPACT_STEPS.fullmatch(compact):
        raise ValueError("not compact steps")
    return tuple(StepProgress(int(one[1]), _CHANNEL_OF[one[2]], _STEP_OF[one[3]]) for one in _COMPACT_STEP.finditer(compact))


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


def accepted(report: FlowReport | None, *, api: Api, planned: int = 0) -> tuple[FlowProgress, Change]:
    """The beginning of an accepted flow and its first StatusEvent: QUEUED, or IN_PROGRESS when the document speaks of progress.

    It takes no more from the document: whatever else it says, ``merge`` it next, with its true origin. ``planned`` is the number of the
    request's steps.
    """
    going = report is not None and _word(report) in {FlowStatus.IN_PROGRESS, FlowStatus.SUCCEEDED}
    start = FlowProgress(api, FlowStatus.IN_PROGRESS if going else FlowStatus.QUEUED, planned=planned)
    return start, Change(start.status, None, terminal=False, delivered=False, correction=False)


def merge(progress: FlowProgress, report: FlowReport, origin: Origin) -> tuple[FlowProgress, tuple[Change, ...]]:
    """``progress`` and what ``report`` adds to it, with one Change for each step that moved.

    The flow's own move goes with the last step that moved, or stands alone. An answer's *Succeeded* (origin RESPONSE) counts as
    IN_PROGRESS: it only says that the message was taken (Routee's documentation: OTP Failover).
    """
    states = [progress]
    moved: list[StepReport] = []
    for step in report.steps:
        further = _with_step(states[-1], step)
        if further is not None:
            states.append(further)
            moved.append(step)
    last = _with_flow(states[-1], report, origin)
    if moved:
        states[-1] = last
        return last, tuple(
            _change(before, after, progress.terminal, step) for before, after, step in zip(states, states[1:], moved, strict=False)
        )
    if (last.status, last.delivered, last.terminal) != (progress.status, progress.delivered, progress.terminal):
        return last, (_change(progress, last, progress.terminal, None),)
    return last, ()


def silent(progress: FlowProgress) -> tuple[FlowProgress, Change]:
    """The flow's deadline passed without an end: UNKNOWN, or SUCCEEDED when a step is known as delivered. Later proof corrects it."""
    status = _settled(_higher(progress, FlowStatus.UNKNOWN, delivered=progress.delivered), delivered=progress.delivered)
    after = replace(progress, status=status, terminal=True, silenced=True)
    return after, replace(_change(progress, after, progress.terminal, None), reason="silent")


def _with_step(progress: FlowProgress, step: StepReport) -> FlowProgress | None:
    """The progress with this step's news, or None when it is none."""
    known = progress.step(step.order, step.channel)
    standing = STANDING[step.status]
    if known is not None and standing.rank <= known.rank:
        return None
    others = tuple(other for other in progress.steps if other is not known)
    steps = (*others, StepProgress(step.order, step.channel, step.status))
    delivered = progress.delivered or standing.success
    return replace(
        progress,
        steps=tuple(sorted(steps, key=lambda one: (one.order, one.channel))),
        delivered=delivered,
        status=_settled(progress.status, delivered=delivered),
    )


def _with_flow(progress: FlowProgress, report: FlowReport, origin: Origin) -> FlowProgress:
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
        total_price=max(prices, default=None),  # it grows step by step, so the highest is the latest
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


def _change(before: FlowProgress, after: FlowProgress, was_terminal: bool, step: StepReport | None) -> Change:
    return Change(
        status=after.status,
        previous=before.status,
        terminal=after.terminal,
        delivered=after.delivered,
        correction=was_terminal,
        step=step,
        channel=step.channel if step else (after.steps[-1].channel if after.steps else None),
    )
