"""What /failover-otp/otp/send-failover refuses with 422 (Routee's documentation: OTP Failover). Pure."""

from __future__ import annotations

from connector.simulator.checks import Checks, Path
from connector.simulator.model import Json
from connector.simulator.switches import Switches

TEMPLATES: tuple[tuple[str, str, str], ...] = (
    ("0aac888f-2ee2-4112-9659-1755a951966a", "Basic OTP", "basic"),
    ("c2cdc028-a48b-4187-bbaf-3aaa137b6e23", "Basic, valid 5 minutes", "basic_5min"),
    ("c33cccaf-735f-4d62-8383-a76bf4999e2d", "Business/platform name", "with_business_name"),
    ("bed0942f-e07e-4879-834b-29cc4cf3ec35", "Code validity time", "with_validity"),
    ("60d67b38-b9fb-444a-80e6-754447e010c6", "Code type and validity", "with_type_and_validity"),
    ("6c929cef-29b4-4349-bc9d-2a07bdbb6e43", "Business name and validity", "with_business_and_validity_hours"),
    ("82ba31a3-db42-4e87-82e8-33fa92b9e5ed", "Type of code", "with_type"),
    ("210ee8a9-1ed5-43cd-96e4-65bba311ab40", "OTP action/platform", "with_action"),
    ("be56d97b-2a33-4c89-ac5f-f555a2c827d9", "Business name and reason", "with_reason"),
)
TEMPLATE_IDS = frozenset(template for template, _, _ in TEMPLATES)
UNAPPROVED_TEMPLATE = "ffffffff-ffff-4fff-bfff-ffffffffffff"  # the one id that nobody ever approved

_TYPES = frozenset(kind for _, _, kind in TEMPLATES)
_NAMED_BUSINESS = {"with_business_name", "with_business_and_validity_hours", "with_reason"}
_LANGUAGES_TEXT = "ar be bg br cs da de el en es fa fi fr he hi hr hu id it ja ko my nl pl pt ru sk sr sv th tr uk vi"
_LANGUAGES = frozenset(_LANGUAGES_TEXT.split())
_COMMON = {"type", "to", "order", "ttl", "label", "trackingId"}
_KEYS = {
    "Sms": _COMMON | {"from", "message"},
    "ViberOtp": _COMMON | {"senderInfoTrackingId", "templateId", "templateLang", "pin", "templateType", "businessName"},
}
_FOREIGN_KEYS = ("failoverOnStatuses",)
_TWO_STEPS = 2


def check_otp(doc: object, switches: Switches) -> Checks:
    """All issues of an OTP request body."""
    checks = Checks()
    if not isinstance(doc, dict):
        checks.note("not_object", (), "Input should be a valid dictionary")
        return checks
    flow = checks.listing(doc, "flow", (), required=True)
    if flow == []:
        checks.note("empty_flow", ("flow",), "List should have at least 1 item")
    if flow and len(flow) > _TWO_STEPS and not switches.is_on("otp_long_flows"):
        checks.note("too_long", ("flow",), "List should have at most 2 items")
    orders: set[int] = set()
    for index, step in enumerate(flow or ()):
        at: Path = ("flow", index)
        if not isinstance(step, dict):
            checks.note("wrong_type", at, "Input should be a valid dictionary")
            continue
        order = checks.integer(step, "order", at, 1, required=True)
        if order in orders:
            checks.note("duplicate_order", (*at, "order"), "must be unique")
        if order is not None:
            orders.add(order)
        _check_step(checks, step, at, switches)
    _check_callback(checks, doc)
    return checks


def _check_step(checks: Checks, step: Json, at: Path, switches: Switches) -> None:
    kind = step.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        wrong = "missing_field" if kind is None else "voice_in_otp" if kind == "Voice" else "unknown_step_type"
        checks.note(wrong, (*at, "type"), "Input should be 'ViberOtp' or 'Sms'")
        return
    if not switches.is_on("unknown_step_keys"):
        for key in step.keys() - _KEYS[kind]:
            checks.note("unknown_key", (*at, key), "Extra inputs are not permitted")
    for key in _FOREIGN_KEYS:
        if key in step:
            checks.note("foreign_key", (*at, key), "the OTP service has no such field", refuses=False)
    _check_recipients(checks, step, at)
    checks.integer(step, "ttl", at, 0, required=True)
    checks.text(step, "label", at)
    if kind == "Sms":
        checks.text(step, "from", at)
        message = checks.mapping(step, "message", at, required=True)
        if message is not None:
            checks.text(message, "body", (*at, "message"), required=True)
    else:
        _check_viber(checks, step, at)


def _check_recipients(checks: Checks, step: Json, at: Path) -> None:
    to = step.get("to")
    if to == []:
        checks.note("missing_field", (*at, "to"), "at least one recipient")
    elif isinstance(to, list):
        for index, phone in enumerate(to):
            checks.phone(phone, (*at, "to", index), plus=False)
    else:
        checks.phone(to, (*at, "to"), plus=False)


def _check_viber(checks: Checks, step: Json, at: Path) -> None:
    checks.text(step, "senderInfoTrackingId", at, required=True)
    checks.identifier(step, "templateId", at, required=True)
    checks.word(step, "templateLang", at, _LANGUAGES)
    checks.text(step, "pin", at, required=True, shortest=4, longest=10)
    kind = checks.word(step, "templateType", at, _TYPES)
    checks.text(step, "businessName", at, required=kind in _NAMED_BUSINESS)


def _check_callback(checks: Checks, doc: Json) -> None:
    callback = checks.mapping(doc, "callback", ())
    if callback is None:
        return
    checks.url(callback, "url", ("callback",), required=True)
    if "strategy" in callback:
        checks.note("foreign_key", ("callback", "strategy"), "the OTP service has no strategies", refuses=False)
