"""A ``FlowReport`` as a small JSON object, for the callbacks topic: everything but the recipients."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connector.core.coerce import integer, money
from connector.core.model import Channel, FlowReport, FlowStatus, StepReport, StepStatus

_VERSION = 1


def reduce(report: FlowReport) -> dict[str, Any]:
    """``report`` without phones; what is absent is left out, money is decimal text."""
    return _present(
        v=_VERSION,
        tracking_id=report.tracking_id,
        status=report.status,
        status_code=report.status_code,
        total_price=_text(report.total_price),
        steps=[_reduce_step(step) for step in report.steps],
        flow_kind=report.flow_kind,
        created_at_ms=report.created_at_ms,
        updated_at_ms=report.updated_at_ms,
        labels=list(report.labels),
        signature=list(report.signature),
        unknown_words=list(report.unknown_words),
        raw_status=report.raw_status,
    )


def report_from(document: object) -> FlowReport | None:
    """The report that ``reduce`` wrote, or None for anything else."""
    if not isinstance(document, dict) or document.get("v") != _VERSION:
        return None
    try:
        return FlowReport(
            tracking_id=_string(document, "tracking_id"),
            status=FlowStatus(document["status"]) if "status" in document else None,
            status_code=integer(document.get("status_code")),
            total_price=money(document.get("total_price")),
            steps=tuple(_step(step) for step in document.get("steps", ())),
            flow_kind=_string(document, "flow_kind"),
            created_at_ms=integer(document.get("created_at_ms")),
            updated_at_ms=integer(document.get("updated_at_ms")),
            labels=_strings(document, "labels"),
            signature=_strings(document, "signature"),
            unknown_words=_strings(document, "unknown_words"),
            raw_status=_string(document, "raw_status"),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _reduce_step(step: StepReport) -> dict[str, Any]:
    return _present(
        order=step.order,
        channel=step.channel,
        status=step.status,
        raw_status=step.raw_status,
        reason_group=step.reason_group,
        detail=step.detail,
        permanent=step.permanent,
        retryable=step.retryable,
        price=_text(step.price),
        country=step.country,
        operator=step.operator,
        parts=step.parts,
        updated_at_ms=step.updated_at_ms,
        created_at_ms=step.created_at_ms,
        sent_at_ms=step.sent_at_ms,
        delivered_at_ms=step.delivered_at_ms,
    )


def _step(document: Mapping[str, Any]) -> StepReport:
    order = document["order"]
    raw_status = _string(document, "raw_status")
    if not isinstance(order, int) or raw_status is None:
        raise TypeError("a step without order or status")
    return StepReport(
        order=order,
        channel=Channel(document["channel"]),
        status=StepStatus(document["status"]),
        raw_status=raw_status,
        reason_group=_string(document, "reason_group"),
        detail=_string(document, "detail"),
        permanent=_flag(document, "permanent"),
        retryable=_flag(document, "retryable"),
        price=money(document.get("price")),
        country=_string(document, "country"),
        operator=_string(document, "operator"),
        parts=integer(document.get("parts")),
        updated_at_ms=integer(document.get("updated_at_ms")),
        created_at_ms=integer(document.get("created_at_ms")),
        sent_at_ms=integer(document.get("sent_at_ms")),
        delivered_at_ms=integer(document.get("delivered_at_ms")),
    )


def _present(**members: object) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, str) else value for name, value in members.items() if value is not None and value != []}


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _string(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def _strings(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = document.get(name, [])
    return tuple(value for value in values if isinstance(value, str))


def _flag(document: Mapping[str, Any], name: str) -> bool | None:
    value = document.get(name)
    return value if isinstance(value, bool) else None
