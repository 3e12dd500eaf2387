"""What is known when all is over: what should have happened, what the provider saw, and what stands in Kafka.

Plain values, gathered from a real broker and the simulator's ledger or from a simulated world. Every ``at`` is in milliseconds on one
clock common to all of them. What a setting cannot know is None: the checker then names the laws it leaves out.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class Fate(enum.StrEnum):
    """How a flow has to end, as far as its event and the provider's story of it decide that."""

    SENT = "ACCEPTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    SUPPRESSED = "SUPPRESSED"
    INVALID = "INVALID"
    UNROUTED = "UNROUTED"


@dataclass(frozen=True, slots=True)
class ExpectedFlow:
    """One flow of an event. ``fate`` None: chance decides, any end that agrees with the provider is right."""

    flow_id: str
    rule: str  # "" where none matched
    message_class: str | None
    fate: Fate | None
    may_resend: bool  # its class, or its rule, allows one flagged resend after a doubt


@dataclass(frozen=True, slots=True)
class ExpectedEvent:
    """One input record. ``repeat``: its event came before, so it has no outputs of its own. A tombstone has no flows."""

    lane: str
    offset: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    flows: tuple[ExpectedFlow, ...]
    expires_at: float | None = None
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """One request to send that the provider read. ``seq``: its order; ``tracking_id`` None: not accepted."""

    seq: int
    at: float
    flow_id: str | None
    attempt: int | None
    api: str
    tracking_id: str | None


class RowKind(enum.StrEnum):
    """What a journal row is."""

    CLAIM = "claim"
    CHECKPOINT = "checkpoint"
    FLOW = "flow"


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One row as it landed. ``state`` is the flow's, by name; ``attempts`` holds (n, outcome) of each POST so far."""

    lane: str
    offset: int
    at: float
    kind: RowKind
    epoch: int = -1
    flow_id: str = ""
    state: str = ""
    attempt: int = 0
    input_offset: int = -1
    attempts: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SendSeen:
    """One SendEvent, in the order of its topic; ``attempts`` as in JournalRow."""

    id: str
    flow_id: str
    outcome: str
    tracking_id: str | None
    attempts: tuple[tuple[int, str], ...]
    resent_after_doubt: bool
    duplicate: bool
    correction: bool
    settled_at: float


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """One StatusEvent, in the order of its topic."""

    id: str
    flow_id: str
    seq: int
    status: str
    previous: str | None
    terminal: bool
    correction: bool
    tracking_id: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    id: str
    flow_id: str
    headers: Mapping[str, str]
    value: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class CallbackSeen:
    """One callback, as answered or as stored. ``content`` is equal for equal callbacks."""

    flow_id: str
    attempt: int
    tracking_id: str | None
    content: object


@dataclass(frozen=True, slots=True)
class Commit:
    """The lane's input may go on at ``offset``: everything below is taken care of."""

    lane: str
    offset: int
    at: float | None  # None: only known to be the last one


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. ``rows``: every row that ever landed, before compaction; ``rows_whole`` False: some were gone before they were read."""

    events: Sequence[ExpectedEvent]
    posts: Sequence[Post]
    sends: Sequence[SendSeen]
    statuses: Sequence[StatusSeen]
    letters: Sequence[Letter]
    rows: Sequence[JournalRow] | None = None
    rows_whole: bool = True
    commits: Sequence[Commit] | None = None
    callbacks_stored: Sequence[CallbackSeen] | None = None
    callbacks_acked: Sequence[CallbackSeen] | None = None
    skew: float = 0.0  # how far two ``at`` may be apart in the wrong direction without meaning anything
    resend_wait: float | None = None  # least time from an INTENT to the INTENT that resends it: deadline + provider lag
    expiry_lead: float = 0.0  # how long before its expiry a flow may end as EXPIRED, since no ttl fits into what is left
    expiry_grace: float = 0.0  # from the gate that asks for the expiry to the provider: lease + deadline at most
