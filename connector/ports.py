"""What the services need of the outside: Protocols of one to four methods, each with a fake in ``tests/fakes`` and one contract suite.

Rules for every implementation: foreign exceptions are mapped to ``errors`` at this edge; HTTP trouble is a value; a method that
returns a ``Future`` has *queued* in call order before it returns (no await between the call and the queue).
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from connector.core.model import Api, DeadLetter, FlowReport, JsonObject, Notification, Outcome, OutputEvent, Record, Request
from connector.core.resume import Places


class LaneId(NamedTuple):
    """One input partition: the name of a lane, and of its partition in the journal and in the callbacks topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Clock(Protocol):
    """Time as the services see it."""

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds."""
        ...

    def boot(self) -> float:
        """Seconds on a clock that never steps and counts suspended time (leases, deadlines)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep that a test can move by hand."""
        ...


# ------------------------------------------------------------------------------------------------------------------ input


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group gives these lanes to this process, a member of it; none, if there are enough others. Input waits for ``Source.start``."""

    lanes: tuple[LaneId, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """The group takes these lanes back. The group's thread waits (bounded) for ``release()``; commits still count until then."""

    lanes: tuple[LaneId, ...]
    release: Callable[[], None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """These lanes belong to somebody else already: drop them at once, commit nothing."""

    lanes: tuple[LaneId, ...]
    expelled: bool = False  # the process is no member any more, until it is ``Assigned`` again


@dataclass(frozen=True, slots=True)
class Arrived:
    """Records of running lanes, in offset order per lane."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class BegunAnew:
    """The lane's input now ends before what was read of it: it was deleted and made anew, or cut off. Nothing more flows."""

    lane: LaneId


SourceEvent = Assigned | Revoked | Lost | Arrived | BegunAnew


class Source(Protocol):
    """The consumer group on the input topics."""

    def events(self) -> AsyncIterator[SourceEvent]:
        """Everything that happens, in order; ends after ``close``. A dead broker is waited out inside (and reported by metrics)."""
        ...

    def start(self, lane: LaneId, offset: int) -> None:
        """Seek to ``offset`` and let the lane's records flow, whatever was held before."""
        ...

    def hold(self, lanes: Sequence[LaneId], held: bool) -> None:
        """Back-pressure: pause or resume fetching of started lanes; membership is kept."""
        ...

    async def commit(self, offsets: Mapping[LaneId, int]) -> bool:
        """Commit next-to-read offsets; False when the broker refused (the lane's journal stays the truth)."""
        ...

    async def places(self, lane: LaneId) -> Places:
        """The group's committed offset and the log's ends. Raises KafkaUnavailable."""
        ...


class Past(Protocol):
    """Reading one input record again (a take-over needs the phone and the content, which no journal holds)."""

    async def record(self, lane: LaneId, offset: int) -> Record | None:
        """The record, or None when the input no longer holds it. Raises KafkaUnavailable, also where the input now ends before it."""
        ...


class Decoder(Protocol):
    """Bytes to event, by the record's own framing."""

    async def decode(self, record: Record) -> Notification:
        """Raises Undecodable (dead letter) or RegistryUnavailable (wait)."""
        ...


# ---------------------------------------------------------------------------------------------------------------- journal


class Entry(NamedTuple):
    """One row as it stands in the journal."""

    offset: int
    key: bytes
    value: bytes
    timestamp_ms: int


class Journal(Protocol):
    """The lanes' journals. Appends of one lane land in call order, through one idempotent producer."""

    def append(self, lane: LaneId, key: bytes, value: bytes) -> Future[int]:
        """Queue a row; the future gives its offset, or raises LaneLost when its fate is unknown. Futures resolve in offset order."""
        ...

    def scan(self, lane: LaneId, past: int) -> AsyncIterator[Sequence[Entry]]:
        """All rows from the log's start until the position is beyond ``past`` *and* the log's end was reported, in batches."""
        ...

    async def begin(self, lane: LaneId) -> int:
        """The log's start: rows below it are gone by retention. Raises KafkaUnavailable."""
        ...

    async def between(self, lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        """The rows still there with first ≤ offset ≤ last (holes are simply missing).

        Raises KafkaUnavailable, also where the log ends before ``last``: a row that is known is never taken for a hole.
        """
        ...


class Ends(NamedTuple):
    """Where a lane's logs end now: the next offset of its journal and of its input."""

    journal: int
    input: int


class Archive(Protocol):
    """The topics of a group as somebody sees them who only looks: no group, no commit, no row of his own."""

    async def lanes(self) -> Sequence[LaneId]:
        """Every lane that has a journal. Raises KafkaUnavailable, also where an input has no journal at all."""
        ...

    async def ends(self, lane: LaneId) -> Ends:
        """Where its logs end. Raises KafkaUnavailable."""
        ...

    def rows(self, lane: LaneId) -> AsyncGenerator[Sequence[Entry], None]:
        """Its journal from the log's start to its present end, in batches."""
        ...

    def statuses(self, lane: LaneId, flow_ids: Collection[str], since_ms: int) -> AsyncGenerator[Sequence[JsonObject], None]:
        """Its StatusEvents of these flows from about that time on to the end, as JSON has them, in batches; empty ones are progress."""
        ...

    async def statuses_cut(self, lane: LaneId) -> bool:
        """Whether the oldest of its StatusEvents' log are gone. Raises KafkaUnavailable."""
        ...


# ----------------------------------------------------------------------------------------------------------------- output


class Outbox(Protocol):
    """Send and status events on their way out. All events of a lane go to one partition of each topic (hash of the lane)."""

    def emit(
        self, lane: LaneId, event: OutputEvent, recipient: str | None, headers: Sequence[tuple[str, bytes]]
    ) -> Future[tuple[str, int]]:
        """Queue one event; the future gives (topic, offset), or raises LaneLost.

        ``recipient`` is E.164 in clear; the adapter applies the privacy setting.
        """
        ...

    async def ends(self, lane: LaneId) -> Mapping[str, int]:
        """End offset of this lane's partition, per output topic."""
        ...

    async def ids_since(self, lane: LaneId, start: Mapping[str, int], wanted: Collection[str]) -> set[str]:
        """Which of the ``wanted`` ids (header ``failover.id``) are in this lane's partitions from ``start`` to the end."""
        ...


class DeadLetters(Protocol):
    """Where records go that can never be processed."""

    async def put(self, letter: DeadLetter) -> None:
        """Returns once Kafka has acknowledged it; raises KafkaUnavailable otherwise. Too large a value is replaced by its SHA-256."""
        ...


# ----------------------------------------------------------------------------------------------------------------- routee


class Sender(Protocol):
    """One POST of one attempt. Never repeats, never follows a redirect."""

    async def send(self, request: Request, may_start: Callable[[], bool]) -> Outcome:
        """``may_start`` is asked as the last act before the first byte; False gives NotSent("lease_over")."""
        ...


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Tracking could not be asked, or answered nonsense: proves nothing."""

    reason: str  # not_found (the provider's own 404), throttled, http_<status>, or a transport reason
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of all flows of a time window. ``pages``: how many there are, None where the provider does not say."""

    flows: tuple[FlowReport, ...]
    is_last: bool
    pages: int | None = None


class Tracking(Protocol):
    """Asking the provider what became of a flow."""

    async def flow(self, api: Api, tracking_id: str) -> FlowReport | Unanswered:
        """The flow's present state."""
        ...

    async def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        """All flows to this phone in the window, every page; any missing page makes the whole answer Unanswered."""
        ...

    async def page(self, api: Api, since_ms: int, until_ms: int, number: int) -> Page | Unanswered:
        """One page (from 0) of whatever was accepted in the window, in any order. Not for the OTP service: its list knows no window."""
        ...


class Probe(Protocol):
    """Asking whether sending would work again, without sending."""

    async def auth_probe(self) -> bool | Unanswered:
        """Whether the credentials and token of every application we send with are accepted."""
        ...

    async def balance(self) -> bool | Unanswered:
        """Whether the account has money left."""
        ...


# -------------------------------------------------------------------------------------------------------------- callbacks


@dataclass(frozen=True, slots=True)
class Callback:
    """One verified, reduced callback. ``attempt`` is the n of the attempt whose URL was called."""

    lane: LaneId
    flow_id: str
    event_digest: bytes  # 16 bytes, core.identity.digest of the event's identity
    attempt: int
    received_ms: int
    report: FlowReport


class Heard(NamedTuple):
    """One record of a lane's callbacks, and what it says; None where its bytes are no callback that this release can read."""

    lane: LaneId
    record: Record
    callback: Callback | None


class CallbackSink(Protocol):
    """Where the ingress puts callbacks."""

    async def put(self, callback: Callback) -> None:
        """Returns once Kafka has acknowledged it; raises KafkaUnavailable otherwise."""
        ...


class CallbackFeed(Protocol):
    """Where the lanes take them from."""

    def follow(self, lane: LaneId, offset: int | None) -> None:
        """Deliver the lane's callbacks from ``offset`` (None, or beyond the log's end, since it was made anew: from the log's start)."""
        ...

    def unfollow(self, lane: LaneId) -> None:
        """Stop delivering."""
        ...

    def hold(self, lane: LaneId, held: bool) -> None:
        """Back-pressure: rest, or go on, delivering a followed lane's callbacks; what was fetched before may still come. None is lost."""
        ...

    async def end(self, lane: LaneId) -> int:
        """Where the lane's log ends now: the next offset. Raises KafkaUnavailable."""
        ...

    def events(self) -> AsyncIterator[Sequence[Heard]]:
        """Batches, each of one lane.

        An ``unfollow`` or a new ``follow`` holds from the next batch on. Offsets rise, until a log is made anew or cut off.
        """
        ...
