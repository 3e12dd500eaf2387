"""A flow that is not finished, as the lane holds it: its journalled state, and what is only in memory."""

from __future__ import annotations

import asyncio
from asyncio import Future
from dataclasses import dataclass, field

from connector.core.flow import Ended, Facts, Flow
from connector.core.model import DeadLetter, MessageClass, Notification, Record, Request
from connector.services.turns import Key


def named(facts: Facts) -> dict[str, str]:
    """What every log line about a flow carries: its lane, its own id and its event's (the log takes a phone out of that one, too)."""
    return {"lane": f"{facts.source_topic}/{facts.source_partition}", "flow_id": facts.flow_id, "event_id": facts.event_id}


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A flow that ends before anything is sent, and the dead letter that must be acknowledged first."""

    end: Ended
    letter: DeadLetter | None


@dataclass(slots=True, weakref_slot=True)
class Live:
    """``lock`` lets one row of a flow be un-reported at a time. Personal data here dies with the process."""

    flow: Flow
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    record: Record | None = field(default=None, repr=False)
    notification: Notification | None = field(default=None, repr=False)
    request: Request | None = field(default=None, repr=False)
    unsendable: Unsendable | None = None
    turn: Future[None] | None = field(default=None, repr=False)
    headers: tuple[tuple[str, bytes], ...] = ()
    recipient: str | None = field(default=None, repr=False)
    recipient_sought: bool = False
    since_ms: int = 0  # epoch; from when on it waits: Kafka's timestamp, the event's own time after a take-over
    posted_at: float | None = None  # boot clock, of the own POST
    tries: int = 0  # of the present attempt's retries, or searches
    poll_deferred: int = 0  # so often, one after the other, was there no budget
    poll_alone: bool = False  # something was said of it that nobody could read: asked about at once
    ends_at: float | None = None  # boot clock of an accepted flow's deadline
    unanswered: int = 0  # how often it was asked about at its deadline without an answer
    unanswered_since: float = 0.0  # boot clock
    due: float = 0.0  # boot clock, what the agenda has for it
    busy: bool = False  # a task is at work on it
    users: int = 0  # how many are settling it
    emitted: int = 0  # number of the last output given to the outbox
    acks: frozenset[int] = frozenset()  # numbers of pending outputs that are known to be out

    def __post_init__(self) -> None:
        self.since_ms = self.record.timestamp_ms if self.record is not None else self.flow.facts.occurred_at_ms
        self.emitted = self.flow.pending[0][0] - 1 if self.flow.pending else self.flow.out

    def stand(self, flow: Flow) -> Flow:
        """A valid row says so. Gives how it stood before."""
        before, self.flow = self.flow, flow
        self.acks = self.acks.intersection(number for number, _ in flow.pending)
        if before.tracking_id != flow.tracking_id:  # another message than the one that was guessed: its deadline is its own
            self.ends_at, self.unanswered, self.poll_deferred = None, 0, 0
        return before

    @property
    def id(self) -> str:
        """Flow id."""
        return self.flow.facts.flow_id

    @property
    def key(self) -> Key | None:
        """What its order is kept by; None: no order."""
        facts = self.flow.facts
        if facts.key_hash is None or facts.message_class is None:
            return None
        return facts.key_hash, MessageClass(facts.message_class)

    @property
    def at_rest(self) -> bool:
        """Finished, nobody at work on it, every output out: its row in the journal says all there is to say."""
        return self.flow.finished and not self.busy and not self.users and self.acks.issuperset(number for number, _ in self.flow.pending)

    def forget(self) -> None:
        """Let go of the record and the message; a later attempt reads the input again."""
        self.record = self.notification = self.request = None
