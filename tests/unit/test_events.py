"""SendEvent and StatusEvent bodies: the fields of the public page, in its order, fit for a journal row."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.events import int64, money, send_event, status_event
from connector.core.identity import output_id
from connector.core.model import Api, Channel, FlowStatus, MessageClass, Origin, StepReport, StepStatus

SEND_FIELDS = [
    "id",
    "flow_id",
    "event_id",
    "event_type",
    "rule",
    "rules_version",
    "api",
    "class",
    "tenant",
    "outcome",
    "reason",
    "detail",
    "tracking_id",
    "attempts",
    "resent_after_doubt",
    "duplicate",
    "correction",
    "recipient",
    "channels",
    "source",
    "occurred_at",
    "sent_at",
    "settled_at",
]
STATUS_FIELDS = [
    "id",
    "flow_id",
    "event_id",
    "tracking_id",
    "rule",
    "api",
    "class",
    "tenant",
    "seq",
    "status",
    "previous",
    "terminal",
    "delivered",
    "correction",
    "channel",
    "step",
    "status_code",
    "total_price",
    "origin",
    "accepted_at",
    "observed_at",
    "raw_status",
    "reason",
    "reason_group",
    "delivered_at",
    "delivered_by",
    "occurred_at",
    "sent_at",
]
STEP_FIELDS = [
    "order",
    "channel",
    "status",
    "raw_status",
    "reason_group",
    "detail",
    "permanent",
    "retryable",
    "price",
    "country",
    "operator",
    "parts",
    "updated_at",
    "created_at",
    "sent_at",
    "delivered_at",
    "ended_at",
]


@dataclass(frozen=True)
class Flow:
    """What the builders ask of a flow."""

    flow_id: str = "f-1"
    event_id: str = "e-1"
    event_type: str | None = "order.shipped"
    rule: str | None = "shipped"
    rules_version: str | None = "v1"
    api: Api | None = Api.OTP
    message_class: MessageClass | None = MessageClass.OTP
    tenant: str | None = None
    channels: tuple[Channel, ...] = (Channel.VIBER, Channel.SMS)
    source_topic: str = "notifications"
    source_partition: int = 3
    source_offset: int = 42
    occurred_at_ms: int | None = 1_764_000_000_000


@dataclass(frozen=True)
class Moved:
    """What the builders ask of a change."""

    status: FlowStatus = FlowStatus.SUCCEEDED
    previous: FlowStatus | None = FlowStatus.QUEUED
    terminal: bool = True
    delivered: bool = True
    correction: bool = False
    step: StepReport | None = None
    channel: Channel | None = Channel.SMS
    reason: str | None = None
    reason_group: str | None = None
    raw_status: str | None = None
    ended_at_ms: int | None = None
    delivered_at_ms: int | None = None
    delivered_by: Channel | None = None


STEP = StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered", price=Decimal("0.0500"), parts=2, updated_at_ms=5)


def test_a_send_event_has_every_public_field_in_order() -> None:
    """SendEvent's fields are those of the public page, in its order; what is unknown is null."""
    event = send_event(Flow(), number=2, outcome="ACCEPTED", attempts=[{"n": 1, "at": 5, "outcome": "accepted", "extra": 1}])
    assert list(event.body) == SEND_FIELDS
    assert (event.id, event.kind, event.flow_id) == (output_id("f-1", 2), "send", "f-1")
    assert event.body["id"] == event.id
    assert event.body["attempts"] == [{"n": 1, "at": 5, "outcome": "accepted", "http_status": None, "reason": None}]
    assert event.body["source"] == {"topic": "notifications", "partition": 3, "offset": 42}
    assert (event.body["api"], event.body["class"], event.body["channels"]) == ("otp", "otp", ["viber", "sms"])
    assert event.body["recipient"] is None


def test_an_unrouted_event_has_nulls_not_empty_words() -> None:
    """Where nothing was routed, rule, api, class and type are null."""
    flow = Flow(event_type="", rule="", rules_version="", api=None, message_class=None, channels=())
    body = send_event(flow, number=1, outcome="UNROUTED").body
    assert [body[name] for name in ("event_type", "rule", "rules_version", "api", "class", "tenant")] == [None] * 6


def test_a_status_event_has_every_public_field_in_order() -> None:
    """StatusEvent's and its step's fields are those of the public page, in its order."""
    event = status_event(Flow(), number=3, seq=2, change=Moved(step=STEP), origin=Origin.POLL, total_price="0.10", status_code=2**70)
    assert list(event.body) == STATUS_FIELDS
    assert list(event.body["step"]) == STEP_FIELDS
    assert (event.id, event.kind, event.body["seq"]) == (output_id("f-1", 3), "status", 2)
    assert (event.body["status"], event.body["previous"], event.body["origin"]) == ("SUCCEEDED", "QUEUED", "POLL")
    assert (event.body["total_price"], event.body["step"]["price"], event.body["status_code"]) == ("0.1", "0.05", None)


def test_a_first_status_of_the_flow_alone_has_no_step() -> None:
    """Without a step and a previous status both are null."""
    body = status_event(Flow(), number=1, seq=1, change=Moved(previous=None, channel=None), origin=Origin.RESPONSE).body
    assert (body["step"], body["previous"], body["channel"]) == (None, None, None)


def test_bodies_survive_a_journal_row() -> None:
    """A pending event read back from JSON is the same."""
    for event in (
        send_event(Flow(), number=1, outcome="ACCEPTED", sent_at_ms=5),
        status_event(Flow(), number=2, seq=1, change=Moved(step=STEP), origin=Origin.CALLBACK),
    ):
        assert orjson.loads(orjson.dumps(event.body)) == event.body


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0.0500", "0.05"),
        (Decimal("1E+3"), "1000"),
        ("-0", "0"),
        (Decimal("-1.5"), "-1.5"),
        ("0.0000004", "0"),
        ("999999999999.999999", "999999999999.999999"),
        ("999999999999.9999999", None),
        ("1e12", None),
        ("NaN", None),
        ("a lot", None),
        (Decimal("1E+999999"), None),
    ],
)
def test_money_is_its_shortest_decimal_text(value: Decimal | str | None, expected: str | None) -> None:
    """Amounts fit decimal(18,6) or are null."""
    assert money(value) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(min_value=-(10**13), max_value=10**13, places=8))
def test_money_is_never_far_off(value: Decimal) -> None:
    """What is kept is the amount, to half of the last decimal, and reads back as itself."""
    text = money(value)
    if text is None:
        assert abs(value) >= Decimal("999999999999.9999995")
    else:
        assert abs(Decimal(text) - value) <= Decimal("0.0000005")
        assert money(text) == text


def test_numbers_beyond_64_bits_are_null() -> None:
    """A provider's absurd number is dropped, not a crash."""
    assert (int64(None), int64(2**63 - 1), int64(2**63)) == (None, 2**63 - 1, None)
