"""Reduced callbacks to bytes and back, on their way through the internal callbacks topic (single objects of callback.avsc)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connector.adapters import avro
from connector.adapters.encode import decimal, micros, milliseconds
from connector.core.events import int64, money, step_body
from connector.core.model import Channel, FlowReport, FlowStatus, JsonObject, StepReport, StepStatus
from connector.errors import Undecodable
from connector.ports import Callback, LaneId


class MalformedCallback(ValueError):
    """The bytes are no callback of this release or an earlier one."""


def encode_callback(callback: Callback) -> bytes:
    """The callback without any phone: ``report.recipients`` stays behind."""
    return avro.schema("callback").single_object(
        {
            "topic": callback.lane.topic,
            "partition": callback.lane.partition,
            "flow_id": callback.flow_id,
            "event_digest": callback.event_digest,
            "attempt": callback.attempt,
            "received_at": micros(callback.received_ms),
            "report": _report_body(callback.report),
        }
    )


def decode_callback(value: bytes) -> Callback:
    """What ``encode_callback`` was given, without recipients. Raises MalformedCallback, and nothing else, for any other bytes."""
    schema = avro.schema("callback")
    written = avro.versions("callback").get(value[len(avro.SINGLE_OBJECT) : avro.SINGLE_OBJECT_HEADER])
    if written is None or not value.startswith(avro.SINGLE_OBJECT):
        raise MalformedCallback("not in a callback schema of this release or an earlier one")
    try:
        body: Any = written.read(value, avro.SINGLE_OBJECT_HEADER, None if written is schema else schema)
        return Callback(
            lane=LaneId(body["topic"], body["partition"]),
            flow_id=body["flow_id"],
            event_digest=body["event_digest"],
            attempt=body["attempt"],
            received_ms=milliseconds(body["received_at"]),
            report=_report(body["report"]),
        )
    except (Undecodable, ValueError) as error:  # ValueError: a word none of the enums has
        raise MalformedCallback(f"not a callback: {type(error).__name__}") from None


def _report_body(report: FlowReport) -> dict[str, object]:
    return {
        "tracking_id": report.tracking_id,
        "status": None if report.status is None else str(report.status),
        "status_code": int64(report.status_code),
        "total_price": decimal(money(report.total_price)),
        "steps": [
            {
                **step_body(step),
                "price": decimal(money(step.price)),
                "updated_at": micros(step.updated_at_ms),
                "created_at": micros(step.created_at_ms),
                "sent_at": micros(step.sent_at_ms),
                "delivered_at": micros(step.delivered_at_ms),
            }
            for step in report.steps
        ],
        "flow_kind": report.flow_kind,
        "created_at": micros(report.created_at_ms),
        "updated_at": micros(report.updated_at_ms),
        "labels": list(report.labels),
        "signature": list(report.signature),
        "unknown_words": list(report.unknown_words),
        "raw_status": report.raw_status,
    }


def _report(body: JsonObject) -> FlowReport:
    return FlowReport(
        tracking_id=body["tracking_id"],
        status=None if body["status"] is None else FlowStatus(body["status"]),
        status_code=body["status_code"],
        total_price=body["total_price"],
        steps=tuple(_step(step) for step in body["steps"]),
        flow_kind=body["flow_kind"],
        created_at_ms=_ms(body["created_at"]),
        updated_at_ms=_ms(body["updated_at"]),
        labels=tuple(body["labels"]),
        signature=tuple(body["signature"]),
        unknown_words=tuple(body["unknown_words"]),
        raw_status=body["raw_status"],
    )


def _step(body: JsonObject) -> StepReport:
    facts = {
        name: body[name]
        for name in ("order", "raw_status", "reason_group", "detail", "permanent", "retryable", "country", "operator", "parts")
    }
    return StepReport(
        **facts,
        channel=Channel(body["channel"]),
        status=StepStatus(body["status"]),
        price=body["price"],
        updated_at_ms=_ms(body["updated_at"]),
        created_at_ms=_ms(body["created_at"]),
        sent_at_ms=_ms(body["sent_at"]),
        delivered_at_ms=_ms(body["delivered_at"]),
    )


def _ms(when: datetime | None) -> int | None:
    return None if when is None else milliseconds(when)
