"""Reduced callbacks to bytes and back, on their way through the internal callbacks topic (single objects of callback.avsc)."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from connector.adapters import avro
from connector.adapters.encode import decimal, micros, milliseconds
from connector.core.events import int64, money, step_body
from connector.core.model import Channel, FlowReport, FlowStatus, JsonObject, StepReport, StepStatus
from connector.errors import Undecodable
from connector.logs import get_logger
from connector.ports import Callback, LaneId

_LOG = get_logger(__name__)
_OUR_LABEL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\.[0-9]{1,6})?(?![0-9])", re.ASCII | re.IGNORECASE)
"""A flow's or an attempt's id, wherever it stands in a label."""


class MalformedCallback(ValueError):
    """The bytes are no callback."""


def encode_callback(callback: Callback) -> bytes:
    """The callback without any phone: ``report.recipients`` stay behind, of labels all but the ids of flows and attempts.

    So do template ids, and a kind of flow that is no word: what a provider's field holds is its affair, and no lane asks for them.
    """
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
    """What ``encode_callback`` was given, without recipients. Raises MalformedCallback, and nothing else, for any other bytes.

    Of a later release's callback, its beginning: whose it is and Routee's id, but no status, so that the lane asks Routee itself.
    """
    if not value.startswith(avro.SINGLE_OBJECT):
        raise MalformedCallback("no single object")
    schema, fingerprint = avro.schema("callback"), value[len(avro.SINGLE_OBJECT) : avro.SINGLE_OBJECT_HEADER]
    written = avro.versions("callback").get(fingerprint)
    try:
        if written is None:
            body: Any = _beginning().read(value, avro.SINGLE_OBJECT_HEADER, rest=True)
            uuid.UUID(body["flow_id"])  # of bytes that are no callback, next to none come so far
            _tell_later(fingerprint.hex())
        else:
            body = written.read(value, avro.SINGLE_OBJECT_HEADER, None if written is schema else schema)
        return Callback(
            lane=LaneId(body["topic"], body["partition"]),
            flow_id=body["flow_id"],
            event_digest=body["event_digest"],
            attempt=body["attempt"],
            received_ms=milliseconds(body["received_at"]),
            report=_known_report(body["report"]) if written else _unsaid(body["report"]),
        )
    except (Undecodable, ValueError) as error:
        raise MalformedCallback(f"not a callback: {type(error).__name__}") from None


@lru_cache(maxsize=1)
def _beginning() -> avro.Schema:
    """The seven fields that every release's callback begins with, in this order and with these types."""
    whole = orjson.loads(avro.schema("callback").text)
    report = whole["fields"][-1]["type"]
    report["fields"] = report["fields"][:1]
    return avro.Schema(orjson.dumps(whole).decode())


@lru_cache(maxsize=16)
def _tell_later(fingerprint: str) -> None:
    """Once for each schema."""
    _LOG.warning("callback_of_later_release", fingerprint=fingerprint)


def _known_report(body: JsonObject) -> FlowReport:
    try:
        return _report(body)
    except ValueError:  # a word that none of the enums has: a later release's, not to be guessed at
        return _unsaid(body)


def _unsaid(body: JsonObject) -> FlowReport:
    return FlowReport(tracking_id=body["tracking_id"], status=None)


def _our_labels(labels: tuple[str, ...]) -> list[str]:
    """Their ids alone: the rest of a label is a rule's text, which may hold anything of the event."""
    return list(dict.fromkeys(found for label in labels for found in _OUR_LABEL.findall(label)))


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
        "flow_kind": report.flow_kind if report.flow_kind and report.flow_kind.isalpha() else None,
        "created_at": micros(report.created_at_ms),
        "updated_at": micros(report.updated_at_ms),
        "labels": _our_labels(report.labels),
        "signature": [word.partition(":")[0] for word in report.signature],
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
