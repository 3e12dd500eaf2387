"""The state machine as a table: the states of a flow, the events that move it, and which event leads from where to where.

``flow.advance`` is what applies an event to a flow.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from connector.core.model import Accepted, Doubt, FlowReport, NotSent, Origin, Refused, Rejected


class State(enum.IntEnum):
    """Where a flow's send decision stands. The numbers stand in journal rows: never renumber."""

    NEW = 0  # not journalled yet
    PARKED = 1  # waiting until due; no attempt is open
    INTENT = 2  # about to be sent, or being sent
    NOT_SENT = 3  # the attempt's lease ended, or no connection: no byte left us
    DOUBT = 4  # maybe arrived
    ACCEPTED = 5
    REJECTED = 6
    EXPIRED = 7
    SUPPRESSED = 8
    UNROUTED = 9
    INVALID = 10
    UNKNOWN = 11  # maybe sent, and no way left to know

    @property
    def settled(self) -> bool:
        """No send decision is open."""
        return self >= State.ACCEPTED


_PROOF = {"accepted": State.ACCEPTED, "reported": State.ACCEPTED}
_UNPOSTED = {
    "intended": State.INTENT,
    "parked": State.PARKED,
    "expired": State.EXPIRED,
    "suppressed": State.SUPPRESSED,
    "invalid": State.INVALID,
    "gave_up": State.UNKNOWN,
    **_PROOF,
}
TRANSITIONS: dict[State, dict[str, State]] = {
    State.NEW: {
        "intended": State.INTENT,
        "parked": State.PARKED,
        "expired": State.EXPIRED,
        "suppressed": State.SUPPRESSED,
        "unrouted": State.UNROUTED,
        "invalid": State.INVALID,
    },
    State.PARKED: _UNPOSTED,
    State.NOT_SENT: _UNPOSTED,
    State.INTENT: {
        "not_sent": State.NOT_SENT,
        "refused": State.PARKED,
        "rejected": State.REJECTED,
        "doubted": State.DOUBT,
        **_PROOF,
    },
    State.DOUBT: {
        "overtaken": State.DOUBT,
        "intended": State.INTENT,
        "gave_up": State.UNKNOWN,
        **_PROOF,
    },
    # An answer that comes after a callback or search already proved the flow accepted changes nothing but the attempt's record.
    State.ACCEPTED: {
        "not_sent": State.ACCEPTED,
        "refused": State.ACCEPTED,
        "rejected": State.ACCEPTED,
        "doubted": State.ACCEPTED,
        "silent": State.ACCEPTED,
        **_PROOF,
    },
    State.REJECTED: _PROOF,  # late proof of an earlier attempt: corrected
    State.EXPIRED: _PROOF,
    State.SUPPRESSED: _PROOF,
    State.UNKNOWN: _PROOF,
    State.UNROUTED: {},
    State.INVALID: {},
}


# --------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Intended:
    """About to be sent. After a doubt this is the flagged resend."""

    word: ClassVar[str] = "intended"


@dataclass(frozen=True, slots=True)
class Parked:
    """Waits until ``due_ms`` without an open attempt."""

    due_ms: int
    reason: str
    word: ClassVar[str] = "parked"


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A later flow of the same key and class is about to be posted."""

    word: ClassVar[str] = "overtaken"


@dataclass(frozen=True, slots=True)
class Ended:
    """Ends without having been accepted: EXPIRED, SUPPRESSED, UNROUTED, INVALID, or UNKNOWN out of DOUBT."""

    state: State
    reason: str | None = None
    detail: str | None = None

    @property
    def word(self) -> str:
        """The table's word."""
        return "gave_up" if self.state is State.UNKNOWN else self.state.name.lower()


@dataclass(frozen=True, slots=True)
class Reported:
    """A provider document about attempt ``attempt`` (0: it was not called; ``asked``: the tracking id that was asked about)."""

    report: FlowReport
    origin: Origin
    attempt: int = 0
    asked: str | None = None
    word: ClassVar[str] = "reported"


@dataclass(frozen=True, slots=True)
class Proven:
    """A search found attempt ``attempt`` (0: not known which) accepted. ``guessed``: by phone, time and steps alone."""

    tracking_id: str
    attempt: int
    report: FlowReport | None
    guessed: bool = False
    word: ClassVar[str] = "accepted"


@dataclass(frozen=True, slots=True)
class Silent:
    """No news until the flow's deadline."""

    word: ClassVar[str] = "silent"


Answer = Accepted | Rejected | NotSent | Refused | Doubt
Event = Intended | Parked | Overtaken | Ended | Reported | Proven | Silent | Answer
_ANSWER_WORD: dict[type, str] = {Accepted: "accepted", Rejected: "rejected", NotSent: "not_sent", Refused: "refused", Doubt: "doubted"}


# Our own decisions: one that comes after the flow was settled meanwhile (a callback's proof, say) changes nothing.
DECISIONS = frozenset({"intended", "parked", "overtaken", "expired", "suppressed", "invalid", "gave_up"})


class IllegalMove(Exception):
    """The table has no such move: a defect of ours, never of the provider's."""


def word_of(event: Event) -> str:
    """The table's word for an event."""
    return _ANSWER_WORD.get(type(event)) or event.word  # type: ignore[union-attr]
