"""What a lane is made of: the ports it uses and the times it keeps, put together once in ``app.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from connector.core.model import MessageClass
from connector.core.routing import RoutingTable
from connector.metrics import Metrics
from connector.ports import (
    CallbackFeed,
    Clock,
    DeadLetters,
    Decoder,
    Journal,
    LaneId,
    Outbox,
    Past,
    Sender,
    Source,
    Tracking,
)
from connector.services.polls import Polls
from connector.services.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Policy:
    """Times and bounds, from the settings (defaults as there). Seconds unless the name says otherwise."""

    lease_s: float = 3.0
    timeout_s: float = 10.0
    provider_lag_s: float = 20.0
    transactional_wait_s: float = 120.0
    give_up_s: float = 900.0
    expiry_ms: Mapping[MessageClass, int] = field(
        default_factory=lambda: {
            MessageClass.OTP: 180_000,
            MessageClass.TRANSACTIONAL: 21_600_000,
            MessageClass.MARKETING: 86_400_000,
        }
    )
    dedup_window_ms: int = 259_200_000
    poll_schedule_s: tuple[float, ...] = (30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0, 86400.0)
    class_schedules_s: Mapping[MessageClass, tuple[float, ...]] = field(default_factory=dict)  # in place of poll_schedule_s
    flow_deadline_s: float = 3600.0
    buffer_records: int = 2000
    buffer_bytes: int = 64_000_000
    park_max_rows: int = 20_000
    checkpoint_s: float = 3.0
    checkpoint_idle_s: float = 21_600.0  # a quarter of the journal's retention at most
    commit_s: float = 1.0
    short_retry_s: float = 5.0  # a retry within this holds the key
    breaker_probe_s: float = 5.0
    otp_label_visible: bool = False
    copy_headers: tuple[str, ...] = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a lane is given. ``rules`` gives the table in force now; ``callback_url`` the signed URL of an attempt, or None."""

    clock: Clock
    source: Source
    decoder: Decoder
    past: Past
    journal: Journal
    outbox: Outbox
    dead_letters: DeadLetters
    sender: Sender
    tracking: Tracking
    feed: CallbackFeed
    throttle: Throttle
    metrics: Metrics
    policy: Policy
    rules: Callable[[], RoutingTable]
    callback_url: Callable[[LaneId, str, int, bytes], str | None]
    pseudonym: Callable[[bytes], bytes]
    chance: Callable[[], float]
    nonce: Callable[[], str]
    host: str
    polls: Polls = field(default_factory=Polls)
    topic_ids: Mapping[str, str] = field(default_factory=dict)  # the broker's ids of the input topics, where it tells
