"""What is known of an accepted flow, and its short form in journal rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from connector.core.model import Api, Channel, FlowStatus, StepStatus
from connector.core.words import STANDING

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
_TOLD = ("raw_status", "reason_group", "detail", "price", "country", "operator", "parts")  # in rows, in this order: only add behind it


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The furthest status known of one step, and all that was told of it beside.

    In rows that older releases wrote an ended step may have no time, and none of what follows it here.
    """

    order: int
    channel: Channel
    status: StepStatus
    ended_at_ms: int | None = None  # when it came to its end; None before
    raw_status: str | None = None  # the provider's word for ``status``
    reason_group: str | None = None
    detail: str | None = None
    price: Decimal | None = None
    country: str | None = None
    operator: str | None = None
    parts: int | None = None

    @property
    def rank(self) -> int:
        """How far it is: only a higher rank replaces it."""
        return STANDING[self.status].rank

    @property
    def final(self) -> bool:
        """Whether nothing more is to come, but for a late SEEN."""
        return STANDING[self.status].final

    @property
    def success(self) -> bool:
        """Whether it reached the person."""
        return STANDING[self.status].success


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
    delivered_at_ms: int | None = None  # when a message first reached the person
    delivered_by: Channel | None = None  # on which channel; None where no step says it
    odd_word: str | None = None  # the provider's last word for the flow that no table knows: told with its end, if it has no other

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

    @property
    def undelivered(self) -> bool:
        """Whether it came to its end and reached nobody. (Of one given up as UNKNOWN nobody knows.)"""
        ended = self.terminal or self.finished
        return ended and not self.delivered and self.status is not FlowStatus.UNKNOWN

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
        return _without_last_nulls(fields)

    def times(self) -> list[Any] | None:
        """Beside ``compact`` in a row: when and by which channel it was delivered, then each step's end; ``[1764, "s", 1700, 1764]``."""
        ends = [step.ended_at_ms for step in self.steps]
        if self.delivered_at_ms is None and self.delivered_by is None and not any(ends):
            return None
        return [self.delivered_at_ms, None if self.delivered_by is None else _CHANNEL_LETTERS[self.delivered_by], *ends]

    def told(self) -> list[list[Any]]:
        """Beside ``compact`` in a row: of each step its raw word and its other facts; ``[["EXPIRED", "EXPIRED"], ["Delivered"]]``."""
        return [_without_last_nulls(_told_of(step)) for step in self.steps]

    @classmethod
    def from_compact(
        cls, fields: Sequence[Any], times: Sequence[Any] | None = None, told: Sequence[Any] | None = None, odd_word: str | None = None
    ) -> FlowProgress:
        """What ``compact``, ``times`` and ``told`` wrote; rows of older releases have no more than the first. Raises ValueError."""
        try:
            padded = list(fields)
            padded.extend([None] * (_COMPACT_FIELDS - len(fields)))
            head, steps, planned, code, price = padded
            flags = int(head[2:])
            delivered_at, delivered_by, *ends = times or (None, None)
            return cls(
                api=_API_OF[head[0]],
                status=_FLOW_OF[head[1]],
                delivered=bool(flags & _DELIVERED),
                terminal=bool(flags & _TERMINAL),
                steps=_steps_of(steps, ends, told or ()),
                status_code=code,
                total_price=None if price is None else Decimal(price),
                planned=planned,
                silenced=bool(flags & _SILENT),
                delivered_at_ms=None if delivered_at is None else int(delivered_at),
                delivered_by=None if delivered_by is None else _CHANNEL_OF[delivered_by],
                odd_word=odd_word,
            )
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError("not a flow's compact progress") from error


def _steps_of(compact: str, ends: Sequence[int | None], told: Sequence[Sequence[Any]]) -> tuple[StepProgress, ...]:
    if compact == "":
        return ()
    if not _COMPACT_STEPS.fullmatch(compact):
        raise ValueError("not compact steps")
    found = _COMPACT_STEP.findall(compact)
    if (ends and len(ends) != len(found)) or (told and len(told) != len(found)):
        raise ValueError("not the steps' times and facts")
    return tuple(
        [
            StepProgress(int(order), _CHANNEL_OF[channel], _STEP_OF[status], end, **_told_from(facts or ()))
            for (order, channel, status), end, facts in zip_longest(found, ends, told)
        ]
    )


def _told_of(step: StepProgress) -> list[Any]:
    facts = [getattr(step, name) for name in _TOLD]
    return [f"{fact:f}" if isinstance(fact, Decimal) else fact for fact in facts]


def _told_from(facts: Sequence[Any]) -> dict[str, Any]:
    known = dict(zip(_TOLD, facts, strict=False))
    if known.get("price") is not None:
        known["price"] = Decimal(known["price"])
    return known


def _without_last_nulls(fields: list[Any]) -> list[Any]:
    while fields and fields[-1] is None:
        fields.pop()
    return fields
