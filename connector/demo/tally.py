"""What the screen shows: counts by class, the latest flows, and what happened to the connector itself."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from connector.core.model import MessageClass
from connector.demo.seen import FlowSeen

NO_CLASS: Final = "none"
COLUMNS: Final = (*(kind.value for kind in MessageClass), NO_CLASS)
_FEED: Final = 30
_PLAIN_EVERY: Final = 3  # of the flows without a story, so many are shown
_HASH: Final = 8

Counts = Mapping[str, int]  # by column


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    counts: Counts
    style: str = ""

    @property
    def total(self) -> int:
        """Over all classes."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Ended:
    """One flow that has ended, as people read it; ``words`` are texts with their styles."""

    person: str
    event: str
    words: tuple[tuple[str, str], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to the connector."""

    at_s: float
    style: str
    text: str


@dataclass(slots=True)
class Tally:
    """Grows with the run. ``kinds`` maps each flow to its column, ``people`` each recipient's digits."""

    kinds: dict[str, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    produced: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)
    feed: deque[Ended] = field(default_factory=lambda: deque(maxlen=_FEED))
    moments: list[Moment] = field(default_factory=list)
    _plain: int = 0

    def hear(self, flow: FlowSeen, age_s: float) -> None:
        """A flow changed, so long after its event."""
        if flow.flow_id in self.ended or not flow.has_ended:
            return
        self.ended.add(flow.flow_id)
        words = tuple(_words(flow))
        if len(words) == 1 and flow.outcome == "ACCEPTED":
            self._plain += 1
            if self._plain % _PLAIN_EVERY != 1:
                return
        send = flow.sends[-1]
        person = str(send["recipient"] or "–")[:_HASH]
        self.feed.append(Ended(person, str(send["event_type"] or "?"), words, age_s))

    def rows(self, flows: Iterable[FlowSeen], posts: Iterable[str | None], doubts: Counts) -> tuple[Row, ...]:
        """The table as it stands. ``posts``: recipients of all POSTs that Routee saw; ``doubts``: flows in doubt now."""
        counted: dict[str, Counter[str]] = {name: Counter() for name, _, _ in _FACTS}
        for flow in flows:
            kind = self.kinds.get(flow.flow_id, NO_CLASS)
            for name, holds, _ in _FACTS:
                counted[name][kind] += holds(flow)
        sent = Counter(self.people.get(digits or "", NO_CLASS) for digits in posts)
        return (
            Row("events", self.produced, "bold"),
            Row("POSTs to Routee", sent),
            *(Row(name, counted[name], style) for name, _, style in _FACTS),
            Row("in doubt now", doubts, "yellow"),
        )


_FACTS: Final[tuple[tuple[str, Callable[[FlowSeen], bool], str], ...]] = (
    ("accepted", lambda flow: flow.outcome == "ACCEPTED", "bold"),
    ("  delivered", lambda flow: flow.is_delivered, "green"),
    ("    by fail-over", lambda flow: flow.is_delivered and flow.has_failed_over, "cyan"),
    ("  not delivered", lambda flow: flow.is_terminal and not flow.is_delivered and not flow.is_silent, ""),
    ("  never reported", lambda flow: flow.is_silent and not flow.is_delivered, ""),
    ("rejected", lambda flow: flow.outcome == "REJECTED", ""),
    ("expired, not sent", lambda flow: flow.outcome == "EXPIRED", ""),
    ("invalid", lambda flow: flow.outcome == "INVALID", ""),
    ("unrouted", lambda flow: flow.outcome == "UNROUTED", ""),
    ("unknown if sent", lambda flow: flow.outcome == "UNKNOWN", "yellow"),
    ("resent after doubt", lambda flow: flow.was_resent, "yellow"),
)
_DONE: Final = {"DELIVERED": "green", "SEEN": "green", "COMPLETED": "green", "QUEUED": "", "SENT": "", "RINGING": ""}


def _words(flow: FlowSeen) -> Iterable[tuple[str, str]]:
    """``viber EXPIRED``, ``sms DELIVERED``: what became of a flow, in order."""
    send = flow.sends[-1]
    tries = len({attempt["n"] for attempt in send["attempts"]})
    if flow.was_resent:
        yield "resent after doubt", "yellow"
    elif tries > 1:
        yield f"{tries - 1} × “not now”", "dim"
    if flow.outcome != "ACCEPTED":
        yield _ending(flow), "yellow" if flow.outcome == "UNKNOWN" else "magenta"
        return
    how = " (polled)" if flow.statuses[-1]["origin"] == "POLL" else ""
    for order, channel, status in flow.steps:
        yield f"{channel} {status}{how if order == flow.steps[-1][0] else ''}", _DONE.get(status, "cyan")
    if flow.is_silent:
        yield "no more news: UNKNOWN", "yellow"


def _ending(flow: FlowSeen) -> str:
    reason = flow.sends[-1]["reason"]
    match flow.outcome:
        case "INVALID":
            return f"dead letter: {reason}"
        case "UNKNOWN":
            return "in doubt, UNKNOWN"
        case "EXPIRED":
            return "too old: not sent"
        case "UNROUTED":
            return "no rule: not sent"
        case _:
            return f"{flow.outcome} {reason or ''}".rstrip()
