"""The bodies of SendEvent and StatusEvent (docs/events.md): every field, in order, absent ones null.

They wait in journal rows until they are acknowledged, so they are JSON-able: times are epoch milliseconds, money is decimal text,
and ``recipient`` is null until the event goes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Protocol

from connector.core.identity import output_id
from connector.core.model import Api, Channel, FlowStatus, MessageClass, Origin, OutputEvent, StepReport

SEND = "send"
STATUS = "status"

_SCALE = Decimal("0.000001")  # of decimal(18,6)
_TOO_MUCH = Decimal(10) ** 12
_INT64 = range(-(2**63), 2**63)


class FlowFacts(Protocol):
    """What an output event says of its flow. ``rule`` (or empty), ``api`` and ``message_class`` are None where nothing was routed."""

    @property
    def flow_id(self) -> str:
        """Id of the flow."""
        ...

    @property
    def event_id(self) -> str:
        """The notification's own id."""
        ...

    @property
    def event_type(self) -> str | None:
        """Its type; None where nothing could be decoded."""
        ...

    @property
    def rule(self) -> str | None:
        """Name of the matched rule."""
        ...

    @property
    def rules_version(self) -> str | None:
        """Version of the rules that decided."""
        ...

    @property
    def api(self) -> Api | None:
        """Which of the three sends."""
        ...

    @property
    def message_class(self) -> MessageClass | None:
        """Class of the message."""
        ...

    @property
    def tenant(self) -> str | None:
        """Tenant, if any."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of the steps, by order."""
        ...

    @property
    def source_topic(self) -> str:
        """Input topic."""
        ...

    @property
    def source_partition(self) -> int:
        """Input partition."""
        ...

    @property
    def source_offset(self) -> int:
        """Input offset."""
        ...

    @property
    def occurred_at_ms(self) -> int | None:
        """The event's time."""
        ...


class Change(Protocol):
    """What one status fact changed in a flow; ``step`` is None when only the flow's own status moved."""

    @property
    def status(self) -> FlowStatus:
        """The flow's status now."""
        ...

    @property
    def previous(self) -> FlowStatus | None:
        """The flow's status before; None at first."""
        ...

    @property
    def terminal(self) -> bool:
        """No further change is expected."""
        ...

    @property
    def delivered(self) -> bool:
        """A message is known to have reached the person."""
        ...

    @property
    def correction(self) -> bool:
        """Replaces an earlier terminal status."""
        ...

    @property
    def step(self) -> StepReport | None:
        """The step that changed."""
        ...

    @property
    def channel(self) -> Channel | None:
        """Channel the change is about."""
        ...

    @property
    def reason(self) -> str | None:
        """Why it is UNKNOWN: silent."""
        ...

    @property
    def reason_group(self) -> str | None:
        """Why it reached nobody, or is UNKNOWN."""
        ...

    @property
    def raw_status(self) -> str | None:
        """The provider's word for the flow."""
        ...

    @property
    def ended_at_ms(self) -> int | None:
        """When the step came to its end."""
        ...

    @property
    def delivered_at_ms(self) -> int | None:
        """When a message first reached the person."""
        ...

    @property
    def delivered_by(self) -> Channel | None:
        """On which channel."""
        ...


def send_event(  # noqa: PLR0913 - one argument per fact, all named
    flow: FlowFacts,
    *,
    number: int,
    outcome: str,
    reason: str | None = None,
    detail: str | None = None,
    tracking_id: str | None = None,
    attempts: Sequence[Mapping[str, object]] = (),
    resent_after_doubt: bool = False,
    duplicate: bool = False,
    correction: bool = False,
    sent_at_ms: int | None = None,
    settled_at_ms: int | None = None,
) -> OutputEvent:
    """The flow's send decision as its ``number``-th output (from 1).

    ``attempts`` hold ``n``, ``at`` (epoch milliseconds), ``outcome``, ``http_status`` and ``reason``; what one lacks is null.
    """
    event_id = output_id(flow.flow_id, number)
    body = {
        "id": event_id,
        "flow_id": flow.flow_id,
        "event_id": flow.event_id,
        "event_type": flow.event_type or None,
        "rule": flow.rule or None,
        "rules_version": flow.rules_version or None,
        **_kind(flow),
        "outcome": str(outcome),
        "reason": reason or None,
        "detail": detail or None,
        "tracking_id": tracking_id,
        "attempts": [_attempt(attempt) for attempt in attempts],
        "resent_after_doubt": resent_after_doubt,
        "duplicate": duplicate,
        "correction": correction,
        "recipient": None,
        "channels": [str(channel) for channel in flow.channels],
        "source": {"topic": flow.source_topic, "partition": flow.source_partition, "offset": flow.source_offset},
        "occurred_at": flow.occurred_at_ms,
        "sent_at": sent_at_ms,
        "settled_at": settled_at_ms,
    }
    return OutputEvent(id=event_id, kind=SEND, flow_id=flow.flow_id, body=body)


def status_event(  # noqa: PLR0913 - as above
    flow: FlowFacts,
    *,
    number: int,
    seq: int,
    change: Change,
    origin: Origin,
    sent_at_ms: int | None = None,
    accepted_at_ms: int | None = None,
    observed_at_ms: int | None = None,
    tracking_id: str | None = None,
    status_code: int | None = None,
    total_price: Decimal | str | None = None,
) -> OutputEvent:
    """One change of a flow or step as the flow's ``number``-th output and ``seq``-th StatusEvent (both from 1)."""
    event_id = output_id(flow.flow_id, number)
    body = {
        "id": event_id,
        "flow_id": flow.flow_id,
        "event_id": flow.event_id,
        "tracking_id": tracking_id,
        "rule": flow.rule or None,
        **_kind(flow),
        "seq": seq,
        "status": str(change.status),
        "previous": _word(change.previous),
        "terminal": change.terminal,
        "delivered": change.delivered,
        "correction": change.correction,
        "channel": _word(change.channel),
        "step": None if change.step is None else {**step_body(change.step), "ended_at": change.ended_at_ms},
        "status_code": int64(status_code),
        "total_price": money(total_price),
        "origin": str(origin),
        "accepted_at": accepted_at_ms,
        "observed_at": observed_at_ms,
        **_life(change),
        "occurred_at": flow.occurred_at_ms,
        "sent_at": sent_at_ms,
    }
    return OutputEvent(id=event_id, kind=STATUS, flow_id=flow.flow_id, body=body)


def step_body(step: StepReport) -> dict[str, object]:
    """A step as it stands in callbacks; events add its end."""
    return {
        "order": int64(step.order) or 0,
        "channel": str(step.channel),
        "status": str(step.status),
        "raw_status": step.raw_status,
        "reason_group": step.reason_group,
        "detail": step.detail,
        "permanent": step.permanent,
        "retryable": step.retryable,
        "price": money(step.price),
        "country": step.country,
        "operator": step.operator,
        "parts": int64(step.parts),
        "updated_at": step.updated_at_ms,
        "created_at": step.created_at_ms,
        "sent_at": step.sent_at_ms,
        "delivered_at": step.delivered_at_ms,
    }


def money(value: Decimal | str | None) -> str | None:
    """An amount as its shortest decimal text with at most six decimals; None for what decimal(18,6) cannot hold."""
    if value is None:
        return None
    try:
        exact = Decimal(value)
        if not exact.is_finite() or abs(exact) >= _TOO_MUCH:
            return None
        amount = exact.quantize(_SCALE)
    except InvalidOperation:
        return None
    if abs(amount) >= _TOO_MUCH:  # rounded up to it
        return None
    return f"{amount.normalize() or Decimal():f}"


def int64(value: int | None) -> int | None:
    """The number, or None where no 64-bit field holds it (a provider may write anything)."""
    return value if value is not None and value in _INT64 else None


def _life(change: Change) -> dict[str, object]:
    return {
        "raw_status": change.raw_status,
        "reason": change.reason,
        "reason_group": change.reason_group,
        "delivered_at": change.delivered_at_ms,
        "delivered_by": _word(change.delivered_by),
    }


def _kind(flow: FlowFacts) -> dict[str, str | None]:
    return {"api": _word(flow.api), "class": _word(flow.message_class), "tenant": flow.tenant or None}


def _attempt(attempt: Mapping[str, object]) -> dict[str, object]:
    return {name: attempt.get(name) for name in ("n", "at", "outcome", "http_status", "reason")}


def _word(value: str | None) -> str | None:
    return None if value is None else str(value)
