"""The frozen values that everything else speaks in (words: README, "Words").

Times are epoch milliseconds, UTC (``*_ms``); money is ``Decimal``. Values that hold personal data hide it from ``repr``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

JsonObject = Mapping[str, Any]


class Api(enum.StrEnum):
    """Routee's three Failover sends."""

    STANDARD = "standard"
    TRANSACTIONAL = "transactional"
    OTP = "otp"


class MessageClass(enum.StrEnum):
    """What kind of message it is: decides expiry, priority and what happens in doubt. Lower ``priority`` goes first."""

    OTP = "otp"
    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"

    @property
    def priority(self) -> int:
        """0 is the most urgent."""
        return list(MessageClass).index(self)


class Channel(enum.StrEnum):
    """How a step reaches a phone."""

    SMS = "sms"
    VIBER = "viber"
    VOICE = "voice"


class InDoubt(enum.StrEnum):
    """What to do with a flow that is conclusively not at the provider (docs/how-it-works.md, Doubt)."""

    RESEND = "resend"
    WAIT = "wait"
    NEVER = "never"


# ---------------------------------------------------------------------------------------------------------------- input


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka message with its coordinates, undecoded. ``value`` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: tuple[tuple[str, bytes | None], ...] = field(default=(), repr=False)

    @property
    def coordinates(self) -> str:
        """``topic/partition/offset``: the identity of a record that carries no event id."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def size(self) -> int:
        """Bytes held in memory by key, value and headers, about."""
        return len(self.key or b"") + len(self.value or b"") + sum(len(n) + len(v or b"") for n, v in self.headers) + 100

    def header(self, name: str) -> bytes | None:
        """The last header of that name, as Kafka's convention says."""
        return next((value for key, value in reversed(self.headers) if key == name), None)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom the event is for, as the event says it (the phone is not yet normalised)."""

    phone: str | None = field(default=None, repr=False)
    id: str | None = field(default=None, repr=False)
    locale: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """The decoded inbound event. ``identity`` is what makes it the same event when met again."""

    identity: str
    event_id: str
    type: str
    occurred_at_ms: int
    expires_at_ms: int | None
    tenant: str | None
    recipient: Recipient
    data: JsonObject = field(repr=False)
    event: JsonObject = field(repr=False)  # the whole record, as decoded
    clamped: bool = False  # occurred_at lay more than 5 min in the future of Kafka's timestamp


# -------------------------------------------------------------------------------------------------------------- request


@dataclass(frozen=True, slots=True)
class Request:
    """One POST, whole: what was journalled as intended is what is sent."""

    api: Api
    attempt_id: str
    body: bytes = field(repr=False)  # JSON, exactly as it goes out
    recipient: str = field(repr=False)  # E.164 with +, of the first step
    channels: tuple[Channel, ...]  # by order
    signature: tuple[str, ...]  # by order: "Sms", "Viber", "Viber:<templateId>", "Voice", "ViberOtp:<templateId>"
    labelled: bool  # the first step carries the attempt's label where tracking shows it
    ttl_total_ms: int  # sum of the steps' validity
    secrets: tuple[str, ...] = field(default=(), repr=False)  # texts, PINs, phones: to be cut out of any error text


# -------------------------------------------------------------------------------------------------------- what came back


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer. ``sent`` is exact: False only when it is certain that no byte of the request left this process."""

    sent: bool
    reason: str  # bounded: dns, refused, tls, connect_timeout, pool_timeout, lease_over, timeout, reset, closed, protocol, proxy, token


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the flow; ``document`` is its answer as parsed JSON."""

    tracking_id: str
    http_status: int | None
    report: FlowReport | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider said no, for good."""

    http_status: int
    reason: str  # provider's code, or HTTP_<status>
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte was written: the same attempt is tried again."""

    reason: str


class RefusalKind(enum.StrEnum):
    """Why an attempt was refused although another one may be taken."""

    AUTH = "auth"  # 401, 403
    THROTTLED = "throttled"  # 429, 425
    SERVER = "server"  # OTP: HTTP 200 Failed with statusCode 0
    BALANCE = "balance"  # 400001009, OTP statusCode 1


@dataclass(frozen=True, slots=True)
class Refused:
    """Known not to be accepted: the next try is attempt n+1, unflagged."""

    kind: RefusalKind
    http_status: int
    reason: str
    retry_after_ms: int | None = None
    detail: str = ""

    @property
    def posted(self) -> bool:
        """False: the credentials got no token, so nothing was posted."""
        return self.reason != "TOKEN_REFUSED"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Maybe arrived. Never repeated before the provider was asked."""

    reason: str
    http_status: int | None = None


Outcome = Accepted | Rejected | NotSent | Refused | Doubt


# --------------------------------------------------------------------------------------------------------------- status


class FlowStatus(enum.StrEnum):
    """Normalised status of a flow at the provider."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class StepStatus(enum.StrEnum):
    """Normalised status of one step, all channels."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    RINGING = "RINGING"
    DELIVERED = "DELIVERED"
    SEEN = "SEEN"
    COMPLETED = "COMPLETED"
    BUSY = "BUSY"
    NO_ANSWER = "NO_ANSWER"
    EXPIRED = "EXPIRED"
    UNDELIVERED = "UNDELIVERED"
    FAILED = "FAILED"
    UNSENT = "UNSENT"
    UNKNOWN = "UNKNOWN"


class Origin(enum.StrEnum):
    """Where a status fact came from."""

    RESPONSE = "RESPONSE"
    CALLBACK = "CALLBACK"
    POLL = "POLL"
    TIMEOUT = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the provider says of one step."""

    order: int
    channel: Channel
    status: StepStatus
    raw_status: str
    reason_group: str | None = None  # UNREACHABLE, BLOCKED, EXPIRED, REJECTED, BALANCE, PROVIDER, UNKNOWN
    detail: str | None = None
    permanent: bool | None = None
    retryable: bool | None = None
    price: Decimal | None = None
    country: str | None = None
    operator: str | None = None
    parts: int | None = None
    updated_at_ms: int | None = None  # this and the times below: as the provider gives them
    created_at_ms: int | None = None
    sent_at_ms: int | None = None
    delivered_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FlowReport:
    """One provider document of any shape (send answer, callback, tracking), normalised. Holds no personal data but ``recipients``."""

    tracking_id: str | None
    status: FlowStatus | None
    status_code: int | None = None
    total_price: Decimal | None = None
    steps: tuple[StepReport, ...] = ()
    flow_kind: str | None = None
    created_at_ms: int | None = None
    updated_at_ms: int | None = None
    labels: tuple[str, ...] = ()
    signature: tuple[str, ...] = ()  # as Request.signature, of the steps shown so far; template ids where visible
    recipients: tuple[str, ...] = field(default=(), repr=False)  # digits only
    unknown_words: tuple[str, ...] = ()  # status words no table knows
    raw_status: str | None = None  # the flow's own word, as the provider wrote it


# -------------------------------------------------------------------------------------------------------------- outputs


@dataclass(frozen=True, slots=True)
class OutputEvent:
    """A SendEvent or StatusEvent on its way out; ``body`` is the event without ``recipient`` (filled in when it goes out)."""

    id: str
    kind: str  # "send" | "status"
    flow_id: str
    body: JsonObject


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that can never be processed, whole, with the reason. Of stage ``callback`` it is one of the callbacks topic."""

    id: str
    record: Record
    stage: str  # decode, route, build, callback
    reason: str
    detail: str
    path: str
    event_id: str
    flow_id: str
    rule: str
    rules_version: str
