"""The documents the provider shows of a flow: create answers, tracking and callbacks."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

import phonenumbers

from connector.simulator.model import Flow, Json, Step
from connector.simulator.switches import Switches

APPLICATION_ID = "5b223c27e4b04b9cdaa71234"
_PRICES = {"Sms": 0.036, "Viber": 0.035, "Voice": 0.05}
_GSM_ONE, _GSM_MANY, _UNICODE_ONE, _UNICODE_MANY = 160, 153, 70, 67
_MILLIS_PER_S = 1000


def iso(seconds: float) -> str:
    """``2019-07-05T10:28:44.996Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@functools.lru_cache(maxsize=4096)
def _country(leading: str) -> str | None:
    """ISO country of the first three digits of a number."""
    for length in (1, 2, 3):
        region = phonenumbers.region_code_for_country_code(int(leading[:length] or "0"))
        if region != "ZZ":
            return region
    return None


def _parts(text: str) -> int:
    one, many = (_GSM_ONE, _GSM_MANY) if text.isascii() else (_UNICODE_ONE, _UNICODE_MANY)
    return 1 if len(text) <= one else -(-len(text) // many)


def _price(step: Step) -> float:
    return round(_PRICES[step.channel] * (_parts(_sms_text(step)) if step.channel == "Sms" else 1), 4)


def _sms_text(step: Step) -> str:
    return str((step.doc.get("message") or {}).get("body", ""))


def phone_of(doc: Json) -> str:
    """The recipient of a step, as it was written; the first of several."""
    to = doc.get("to")
    if isinstance(to, list):
        to = to[0]
    if isinstance(to, dict):
        to = to.get("phone") or to.get("viber") or to.get("sip")
    return str(to)


# ------------------------------------------------------------------------------------------------- standard, transactional


def created(flow: Flow, switches: Switches) -> Json:
    """The answer of POST /failover and /failover/transactional."""
    doc: Json = {"trackingId": flow.tracking_id, "flowKind": flow.api.value, "flow": [step.doc for step in flow.steps]}
    if flow.callback is not None:
        doc["callback"] = flow.callback
    if switches.is_on("echo_status_in_create"):
        doc["status"] = flow.status
    doc["createdAt"] = iso(flow.created)
    return doc


def tracked(flow: Flow, switches: Switches, *, is_callback: bool = False) -> Json:
    """A flow as tracking and callbacks show it: only steps that have started."""
    messages: list[Json] = []
    for step in flow.steps:
        if step.status is not None:
            messages.extend(_messages(step, switches))
    shows_channel = flow.is_over or switches.is_on("termination_in_progress")
    channel = flow.termination_channel
    if channel is None and flow.current >= 0:
        channel = flow.steps[flow.current].channel
    doc: Json = {
        "trackingId": flow.tracking_id,
        "messages": messages,
        "terminationChannel": channel if shows_channel else None,
        "status": flow.status,
        "totalPrice": round(sum(message["price"] for message in messages), 4),
        "originatingService": "Failover",
        "applicationId": APPLICATION_ID,
        "createdAt": iso(flow.created),
        "updatedAt": iso(flow.updated),
    }
    if is_callback or switches.is_on("flow_kind_in_tracking"):
        doc["flowKind"] = flow.api.value
    if is_callback or switches.is_on("status_code_in_tracking"):
        doc["statusCode"] = _status_code(flow.status_code, switches)
    return doc


def _status_code(code: int | None, switches: Switches) -> str | int | None:
    if code is None:
        return "" if switches.word("no_status_code") == "empty" else None
    return code if switches.word("status_code_type") == "int" else str(code)


def _messages(step: Step, switches: Switches) -> list[Json]:
    """One message for a step; for a long Sms one per part."""
    doc = step.doc
    phone = phone_of(doc)
    base: Json = {
        "type": step.channel,
        "to": doc["to"] if step.channel == "Voice" else phone,
        "from": doc.get("from", "Routee"),
        "country": _country(phone.lstrip("+")[:3]),
        "status": _status(step, switches),
        "order": step.order,
        "failoverOnStatuses": doc.get("failoverOnStatuses"),
        "price": _price(step),
        "createdAt": iso(step.started),
    }
    if step.channel == "Viber":
        return [base | _viber_fields(step)]
    if step.channel == "Voice":
        return [base | {"messageId": step.message_id}]
    parts = _parts(_sms_text(step))
    shown = parts if switches.is_on("sms_message_per_part") else 1
    return [base | _sms_fields(step, part, parts, shown) for part in range(1, shown + 1)]


def _status(step: Step, switches: Switches) -> Json:
    reason = {"detailedStatus": step.detailed, "description": step.description}
    if switches.word("status_keys") == "status":
        return {"status": step.status, "reason": reason, "date": iso(step.updated)}
    return {"name": step.status, "reason": reason, "updatedDate": iso(step.updated)}


def _viber_fields(step: Step) -> Json:
    doc = step.doc
    fields: Json = {
        "trackingId": step.message_id,
        "ttl": doc.get("ttl", 10),
        "expireOnDelivery": doc.get("expireOnDelivery", False),
        "expiredOnDeliveryAt": None if step.expired_on_delivery is None else iso(step.expired_on_delivery),
        "label": doc.get("label"),
        "inboundUrl": doc.get("inboundUrl"),
    }
    if "templateId" in doc:
        return fields | {key: doc.get(key) for key in ("templateId", "templateLang", "templateParams", "deliveryScope", "seq")}
    return fields | {"body": doc.get("message")}


def _sms_fields(step: Step, part: int, parts: int, shown: int) -> Json:
    message = step.doc.get("message") or {}
    return {
        "messageId": step.message_id,
        "smsId": f"{step.message_id[:-4]}{part:04d}",
        "operator": "Cosmote",
        "ttl": step.doc.get("ttl", 1200),
        "body": message.get("body"),
        "label": message.get("label"),
        "part": part,
        "parts": parts,
        "latency": max(0, round(step.updated - step.started)),
        "price": round(_price(step) / shown, 4),
    }


# -------------------------------------------------------------------------------------------------------------------- OTP


def otp_created(flow: Flow, switches: Switches) -> Json:
    """The answer of the OTP send when a channel took it (Routee's documentation: OTP Failover)."""
    steps = [step.doc | {"trackingId": step.message_id if step.status is not None else None} for step in flow.steps]
    doc: Json = {
        "flowId": flow.tracking_id,
        "status": flow.status,
        "type": flow.steps[0].channel,
        "flow": steps,
        "createdAt": iso(flow.created),
        "statusCode": None,
    }
    if switches.is_on("otp_steps_in_create"):
        doc["steps"] = otp_tracked(flow)["steps"]
    return doc


def otp_failed(code: int, now: float) -> Json:
    """HTTP 200, yet Failed (Routee's documentation: OTP Failover)."""
    error = ("Server error", "Insufficient balance", "No next step", "Failover not triggered")[code]
    return {"flowId": None, "status": "Failed", "type": None, "flow": [], "createdAt": iso(now), "error": error, "statusCode": code}


def otp_tracked(flow: Flow) -> Json:
    """An OTP flow as GET and webhooks show it (Routee's documentation: OTP tracking, callbacks)."""
    steps = otp_steps(flow)
    return {
        "flowId": flow.tracking_id,
        "status": flow.status,
        "statusCode": flow.status_code,
        "total_cost": round(sum(step["price"] for step in steps), 4),
        "steps": steps,
    }


def otp_steps(flow: Flow) -> list[Json]:
    """The started steps of an OTP flow, primary first."""
    return [_otp_step(flow, index, step) for index, step in enumerate(flow.steps) if step.status is not None]


def _otp_step(flow: Flow, index: int, step: Step) -> Json:
    status = str(step.status)
    shown: dict[str, Any] = {
        "flowId": flow.tracking_id,
        "trackingId": step.message_id,
        "role": "failover" if index else "primary",
        "status": "queued" if status.lower() == "queued" else status,
        "channel": step.channel.lower(),
        "phone_number": phone_of(step.doc).lstrip("+"),
        "label": step.doc.get("label"),
        "created_at": iso(step.started),
        "sent_at": iso(step.started),
        "detailed_status": step.detailed,
        "price": _price(step),
        "country": _country(phone_of(step.doc).lstrip("+")[:3]),
    }
    if status.lower() in {"delivered", "seen"}:
        shown |= {"delivered_at": iso(step.updated), "latency_ms": round((step.updated - step.started) * _MILLIS_PER_S)}
    elif status.lower() in {"failed", "undelivered"}:
        shown["error_message"] = step.description
    if index:
        shown["failover_from_message_token"] = flow.steps[index - 1].message_id
    return shown
