"""From an event and its rule to one POST, whole and final: what is journalled as intended is what is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from connector.core.fields import Field, Node, fill
from connector.core.model import Api, Notification, Request
from connector.core.phone import digits, e164
from connector.core.rules import CallbackMode, Rule
from connector.core.steps import LABEL_LIMIT, LabelPlace, Step
from connector.errors import Unbuildable

_STRATEGY = {CallbackMode.ON_STEP: "OnStep", CallbackMode.ON_COMPLETION: "OnCompletion"}  # Routee's documentation: Standard Failover
_SHORTEST_SECRET = 4  # cutting out shorter texts would eat the error message, and they identify nobody


@dataclass(slots=True)
class _Making:
    """What one build needs at hand."""

    notification: Notification
    rule: Rule
    attempt_id: str
    context: dict[str, Any]
    secrets: list[str]
    phone: str | None = None

    def recipient(self, step: Step) -> str:
        """E.164 of the step's ``to``, else of the event's phone."""
        if step.to is not None:
            return _normalised(fill(step.to, self.context, []), f"{step.path}.to")
        if self.phone is None:
            self.phone = _normalised(self.notification.recipient.phone, "recipient.phone")
        return self.phone

    def label(self, step: Step) -> str:
        """The attempt's id, after the user's own label if there is one."""
        own: Node = step.label if step.label is not None else self.rule.label
        if own is None:
            return self.attempt_id
        label = f"{own.value(self.context) if isinstance(own, Field) else own}|{self.attempt_id}"
        if len(label) > LABEL_LIMIT:
            raise Unbuildable("FIELD_TOO_LONG", f"the label would have more than {LABEL_LIMIT} characters", f"{step.path}.label")
        return label


def build(
    notification: Notification,
    rule: Rule,
    attempt_id: str,
    callback_url: str | None,
    otp_label_visible: bool = False,
    remaining_ms: int | None = None,
) -> Request:
    """The request of one attempt. Raises Unbuildable with the field's path, such as ``rules.order-shipped.steps[0].viber.params.order_id``.

    ``callback_url`` None: no callback. ``remaining_ms``: how long the message still makes sense; the ttl of an OTP-class flow is cut to
    it, last step first, never under the API's minimum; reason TTL_OVER when that is not enough.
    """
    making = _Making(notification, rule, attempt_id, rule.engine.context(notification), [])
    chosen = tuple(step for step in rule.steps if step.condition is None or step.condition.test(making.context))
    if not chosen:
        raise Unbuildable("NO_STEPS", "the conditions left no step", f"rules.{rule.name}.steps")
    ttls = _ttls(chosen) if remaining_ms is None else _cut(chosen, remaining_ms, rule.name)
    flow: list[dict[str, Any]] = []
    recipients: list[str] = []
    for order, (step, ttl) in enumerate(zip(chosen, ttls, strict=True), 1):
        recipients.append(making.recipient(step))
        flow.append(_document(step, making, order, recipients[-1], ttl))
    return Request(
        api=rule.api,
        attempt_id=attempt_id,
        body=_body(rule, flow, callback_url, making),
        recipient=recipients[0],
        channels=tuple(step.channel for step in chosen),
        signature=tuple(_signature(step, document) for step, document in zip(chosen, flow, strict=True)),
        labelled=chosen[0].label_place is not LabelPlace.NONE and (rule.api is not Api.OTP or otp_label_visible),
        ttl_total_ms=sum(ttls),
        secrets=_secrets(recipients, making.secrets),
    )


def recipient_of(notification: Notification, rule: Rule | None) -> str | None:
    """E.164 of whom this rule's message (None: any message) would go to, be the rest of it buildable or not; None: it cannot be told."""
    try:
        if rule is None or all(step.to is None for step in rule.steps):
            return e164(notification.recipient.phone)
        making = _Making(notification, rule, "", rule.engine.context(notification), [])
        first = next((step for step in rule.steps if step.condition is None or step.condition.test(making.context)), None)
        return None if first is None else making.recipient(first)
    except Unbuildable:
        return None


def _document(step: Step, making: _Making, order: int, phone: str, ttl_ms: int) -> dict[str, Any]:
    """A step's JSON. A call's ``to`` is an object of which exactly one part is filled (Routee's documentation: Standard Failover)."""
    to: str | dict[str, str] = {"phone": phone, "sip": "", "viber": ""} if step.type == "Voice" else phone
    document: dict[str, Any] = {"type": step.type, "order": order, "to": to}
    document |= fill(step.tree, making.context, making.secrets)
    if step.validity is not None and (step.validity.written or ttl_ms != step.validity.ms):
        document["ttl"] = step.validity.wire(ttl_ms)
    if step.label_place is LabelPlace.STEP:
        document["label"] = making.label(step)
    elif step.label_place is LabelPlace.MESSAGE:
        document["message"]["label"] = making.label(step)
    return document


def _body(rule: Rule, flow: list[dict[str, Any]], callback_url: str | None, making: _Making) -> bytes:
    root: dict[str, Any] = {"flow": flow}
    if callback_url is not None and rule.callback is not CallbackMode.NONE:
        root["callback"] = {"url": callback_url} if rule.api is Api.OTP else {"strategy": _STRATEGY[rule.callback], "url": callback_url}
    if rule.extra:
        root |= fill(dict(rule.extra), making.context, making.secrets)
    try:
        return orjson.dumps(root)
    except TypeError:
        raise Unbuildable("NOT_JSON", "a text holds characters that cannot be written as UTF-8", f"rules.{rule.name}") from None


def _signature(step: Step, document: dict[str, Any]) -> str:
    return f"{step.type}:{document['templateId']}" if step.templated else step.type


def _ttls(steps: tuple[Step, ...]) -> list[int]:
    return [0 if step.validity is None else step.validity.ms for step in steps]


def _cut(steps: tuple[Step, ...], remaining_ms: int, rule: str) -> list[int]:
    """The steps' ttl, cut from the last one on until their sum fits. A cut ttl is rounded down to what the API can say."""
    ttls = _ttls(steps)
    for index in reversed(range(len(steps))):
        excess, validity = sum(ttls) - remaining_ms, steps[index].validity
        if excess > 0 and validity is not None:
            wanted = max(ttls[index] - excess, 0)
            ttls[index] = max(wanted - wanted % validity.grain_ms, validity.least_ms)
    if sum(ttls) > remaining_ms:
        raise Unbuildable("TTL_OVER", "the message would outlive its use even with the shortest ttl", f"rules.{rule}.steps")
    return ttls


def _normalised(phone: str | None, path: str) -> str:
    try:
        return e164(phone)
    except Unbuildable as error:
        raise Unbuildable(error.reason, error.detail, path) from None


def _secrets(recipients: list[str], texts: Iterable[str]) -> tuple[str, ...]:
    found = dict.fromkeys(recipients)
    found |= dict.fromkeys(digits(phone) for phone in recipients)
    found |= dict.fromkeys(text for text in texts if len(text) >= _SHORTEST_SECRET)
    return tuple(sorted(found, key=len, reverse=True))  # the longest first: a text that holds the PIN goes before the PIN
