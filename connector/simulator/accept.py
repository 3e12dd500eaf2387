"""From a valid request body to a flow: the documented defaults filled in, steps in their order."""

from __future__ import annotations

import random
import zlib

from connector.simulator.documents import phone_of
from connector.simulator.ledger import attempt_of
from connector.simulator.model import Api, Flow, Json, Step
from connector.simulator.otp_rules import TEMPLATE_IDS, UNAPPROVED_TEMPLATE
from connector.simulator.provider import Provider
from connector.simulator.rules import channel_of
from connector.simulator.scenarios import SCENARIOS, Scenario, scenario_of
from connector.simulator.switches import Switches

_DEFAULT_TRIGGERS = {
    "Sms": ["Undelivered", "Failed"],
    "Viber": ["Expired", "Failed", "Undelivered"],
    "Voice": ["Busy", "NoAnswer"],
}
_DEFAULT_TTL_MIN = {"Sms": 1200.0, "Viber": 10.0, "Voice": 0.0}
_MINUTE_S = 60


def steps_in(doc: object) -> list[Json]:
    """The steps of a body that may be anything at all."""
    flow = doc.get("flow") if isinstance(doc, dict) else None
    return [step for step in flow if isinstance(step, dict)] if isinstance(flow, list) else []


def label_in(doc: object) -> str | None:
    """The label that says whose attempt it is: at step level (Viber, OTP), in an Sms step's message, or a transactional step's ``seq``."""
    labels: list[str] = []
    for step in steps_in(doc):
        message = step.get("message")
        inside = message.get("label") if isinstance(message, dict) else None
        labels.extend(label for label in (step.get("label"), inside, step.get("seq")) if isinstance(label, str) and label)
    return next((label for label in labels if attempt_of(label)[0] is not None), labels[0] if labels else None)


def recipient_in(doc: object) -> str | None:
    """Digits of the first step's recipient, if it has a readable one."""
    steps = steps_in(doc)
    try:
        first = min(steps, key=lambda step: step.get("order", 0))
        digits = phone_of(first).lstrip("+")
    except (ValueError, TypeError, IndexError):
        return None
    return digits if digits.isdigit() else None


def scenario_for(recipient: str | None, default: str) -> Scenario:
    """The magic number's scenario, else the default one."""
    return scenario_of(recipient or "") or SCENARIOS[default]


def template_fault(doc: Json, api: Api) -> str | None:
    """Why a template would not be taken: unapproved, or a predefined OTP template without its pin."""
    return next((fault for step in steps_in(doc) if (fault := _step_fault(step, api)) is not None), None)


def _step_fault(step: Json, api: Api) -> str | None:
    if not str(step.get("type")).lower().startswith("viber"):
        return None
    template = step.get("templateId")
    if template == UNAPPROVED_TEMPLATE:
        return "the template is not approved"
    if api is Api.TRANSACTIONAL and template in TEMPLATE_IDS and "pin" not in (step.get("templateParams") or {}):
        return "the template's parameter pin is missing"
    return None


def flow_from(doc: Json, api: Api, provider: Provider, scenario: Scenario, recipient: str) -> Flow:
    """A flow as accepted now."""
    label = label_in(doc)
    chance = zlib.crc32(f"{provider.seed}|{label or recipient}".encode())
    steps = [_step(step, api, provider) for step in sorted(doc["flow"], key=lambda step: step["order"])]
    return Flow(
        api=api,
        tracking_id=provider.new_id(),
        created=provider.clock(),
        steps=steps,
        recipient=recipient,
        scenario=scenario,
        rng=random.Random(chance),  # noqa: S311 - chance to be repeated, not to be kept secret
        label=label,
        callback=doc.get("callback"),
        fails_with=scenario.flow_fails,
    )


def _step(given: Json, api: Api, provider: Provider) -> Step:
    switches = provider.switches
    if api is Api.OTP:
        channel = "Sms" if given["type"] == "Sms" else "Viber"
        ttl_s = float(given["ttl"])
        doc = {"templateLang": "en", **given} if channel == "Viber" else dict(given)
    else:
        channel = channel_of(given["type"], switches) or "Sms"
        doc = _with_defaults(given, api, channel, provider)
        ttl_s = 0.0 if channel == "Voice" else float(doc.get("ttl") or _DEFAULT_TTL_MIN[channel]) * _MINUTE_S
    return Step(
        doc=doc,
        channel=channel,
        order=given["order"],
        ttl_s=ttl_s,
        triggers=frozenset() if api is Api.OTP else _triggers(given.get("failoverOnStatuses"), channel, switches),
        message_id=provider.new_id(),
        is_unapproved=switches.word("template_check") == "async" and _step_fault(given, api) is not None,
    )


def _with_defaults(given: Json, api: Api, channel: str, provider: Provider) -> Json:
    doc = {"failoverOnStatuses": _DEFAULT_TRIGGERS[channel], **given}
    if channel != "Voice":
        doc.setdefault("ttl", int(_DEFAULT_TTL_MIN[channel]))
    if channel == "Viber" and api is Api.TRANSACTIONAL:
        doc.setdefault("templateParams", {})
        doc.setdefault("deliveryScope", "PRIMARY_DEVICE")
        doc.setdefault("seq", str(provider.rng.getrandbits(40)))
    return doc


def _triggers(given: list[str] | None, channel: str, switches: Switches) -> frozenset[str]:
    if given is None or (not given and switches.word("empty_triggers") == "default"):
        given = _DEFAULT_TRIGGERS[channel]
    return frozenset(word.lower() for word in given)
