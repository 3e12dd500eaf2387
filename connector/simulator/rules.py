"""What /failover and /failover/transactional refuse (Routee's documentation: Standard Failover, Transactional Failover). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connector.simulator.checks import Checks, Path
from connector.simulator.model import Api
from connector.simulator.switches import Switches
from connector.simulator.voice import check_voice

_TYPES = {"sms": "Sms", "viber": "Viber", "voice": "Voice"}
_TRIGGERS = {"Sms": {"undelivered", "failed"}, "Viber": {"expired", "failed", "undelivered"}, "Voice": {"busy", "noanswer"}}
_WIDE_VOICE = {"completed", "failed", "unsent", "terminated"}
_COMMON = {"type", "order", "ttl", "failoverOnStatuses", "to"}
_KEYS = {
    "Sms": _COMMON | {"from", "message", "urlShortener", "restrictions"},
    "Viber": _COMMON
    | {"senderInfoTrackingId", "inboundUrl", "expireOnDelivery", "label", "message"}
    | {"templateId", "templateLang", "templateParams", "deliveryScope", "seq"},
    "Voice": _COMMON | {"from", "dialPlan", "dialplan", "dialPlans", "machineDetection"},
}
_TEMPLATE_FIELDS = ("templateId", "templateLang", "templateParams")
_CONTENT = ("text", "imageUrl", "action", "viberFile", "viberVideo")
_FILE_TYPES_TEXT = "doc docx rtf dot dotx odt odf fodt txt info pdf xps pdax eps xls xlsx ods fods csv xlsm xltx"
_FILE_TYPES = frozenset(_FILE_TYPES_TEXT.split())
_MINUTES = 1440
_LABEL = 350
_SENDER_DIGITS, _SENDER_CHARACTERS = 16, 11


def channel_of(value: object, switches: Switches) -> str | None:
    """``Sms``, ``Viber`` or ``Voice``; None for any other type."""
    if not isinstance(value, str):
        return None
    if switches.is_on("strict_type_case"):
        return value if value in _TYPES.values() else None
    return _TYPES.get(value.lower())


def check_send(doc: object, api: Api, switches: Switches) -> Checks:
    """All issues of a standard or transactional request body."""
    checks = Checks()
    if not isinstance(doc, dict):
        checks.note("not_object", (), "the body must be a JSON object")
        return checks
    flow = checks.listing(doc, "flow", (), required=True)
    if flow == []:
        checks.note("empty_flow", ("flow",), "at least one step")
    orders: list[int] = []
    for index, step in enumerate(flow or ()):
        at: Path = ("flow", index)
        if not isinstance(step, dict):
            checks.note("wrong_type", at, "must be an object")
            continue
        order = checks.integer(step, "order", at, 1, required=True)
        if order in orders and switches.is_on("unique_order"):
            checks.note("duplicate_order", (*at, "order"), "must be unique")
        if order is not None:
            orders.append(order)
        _check_step(checks, step, at, api, switches)
    _check_callback(checks, doc, switches)
    return checks


def _check_step(checks: Checks, step: dict[str, Any], at: Path, api: Api, switches: Switches) -> None:
    channel = channel_of(step.get("type"), switches)
    if channel is None:
        missing = step.get("type") is None
        checks.note("missing_field" if missing else "unknown_step_type", (*at, "type"), "must be one of Sms, Viber, Voice")
        return
    if not switches.is_on("unknown_step_keys"):
        for key in step.keys() - _KEYS[channel]:
            checks.note("unknown_key", (*at, key), "unknown")
    _check_triggers(checks, step, at, channel, switches)
    check = _BY_CHANNEL[channel]
    check(checks, step, at, api, switches)


def _check_triggers(checks: Checks, step: dict[str, Any], at: Path, channel: str, switches: Switches) -> None:
    triggers = checks.listing(step, "failoverOnStatuses", at)
    if triggers == [] and switches.word("empty_triggers") == "refuse":
        checks.note("bad_trigger", (*at, "failoverOnStatuses"), "must not be empty")
    allowed = _TRIGGERS[channel] | (_WIDE_VOICE if channel == "Voice" and switches.is_on("wide_voice_triggers") else set())
    for index, trigger in enumerate(triggers or ()):
        if not isinstance(trigger, str) or trigger.lower() not in allowed:
            checks.note("bad_trigger", (*at, "failoverOnStatuses", index), f"must be one of {', '.join(sorted(allowed))}")


def _check_sms(checks: Checks, step: dict[str, Any], at: Path, api: Api, switches: Switches) -> None:  # noqa: ARG001 - one signature for all channels
    sender = checks.text(step, "from", at, required=True)
    if sender and switches.is_on("sms_sender_limits"):
        longest = _SENDER_DIGITS if sender.isdigit() else _SENDER_CHARACTERS
        if len(sender) > longest:
            checks.note("too_long", (*at, "from"), f"at most {longest} characters")
    checks.phone(step.get("to"), (*at, "to"))
    checks.integer(step, "ttl", at, 1, _MINUTES)
    message = checks.mapping(step, "message", at, required=True)
    place = switches.word("url_shortener_place")
    if message is not None:
        inside = (*at, "message")
        checks.text(message, "body", inside, required=True)
        checks.flag(message, "flash", inside)
        checks.flag(message, "transcode", inside)
        checks.text(message, "label", inside, longest=_LABEL)
        _check_shortener(checks, message, inside, allowed=place in {"any", "message"})
    _check_shortener(checks, step, at, allowed=place in {"any", "step"})
    checks.mapping(step, "restrictions", at)


def _check_shortener(checks: Checks, doc: dict[str, Any], at: Path, *, allowed: bool) -> None:
    shortener = checks.mapping(doc, "urlShortener", at)
    if shortener is None:
        return
    if not allowed:
        checks.note("misplaced", (*at, "urlShortener"), "not here")
    checks.integer(shortener, "urlValidity", (*at, "urlShortener"), 3600, 2_592_000)


def _check_viber(checks: Checks, step: dict[str, Any], at: Path, api: Api, switches: Switches) -> None:
    checks.text(step, "senderInfoTrackingId", at, required=True)
    checks.phone(step.get("to"), (*at, "to"))
    checks.url(step, "inboundUrl", at)
    checks.flag(step, "expireOnDelivery", at)
    required = api is Api.TRANSACTIONAL and switches.is_on("viber_ttl_required")
    ttl = checks.number(step, "ttl", at, 0.5, _MINUTES, required=required)
    if ttl is not None and round(ttl, 1) != ttl:
        checks.note("ttl_range", (*at, "ttl"), "at most one decimal place")
    if api is Api.TRANSACTIONAL:
        _check_template(checks, step, at, switches)
    else:
        _check_free_form(checks, step, at, switches)


def _check_template(checks: Checks, step: dict[str, Any], at: Path, switches: Switches) -> None:
    for key, kind in (("message", "message_on_template"), ("label", "label_on_template")):
        if step.get(key) is not None:
            checks.note(kind, (*at, key), "rejected on /failover/transactional")
    checks.identifier(step, "templateId", at, required=True)
    checks.text(step, "templateLang", at, required=True)
    checks.mapping(step, "templateParams", at)
    checks.word(step, "deliveryScope", at, ("PRIMARY_DEVICE", "ALL_DEVICES"))
    if not switches.is_on("viber_extras_on_template"):
        for key in ("inboundUrl", "expireOnDelivery"):
            if key in step:
                checks.note("unknown_key", (*at, key), "not on a template step")


def _check_free_form(checks: Checks, step: dict[str, Any], at: Path, switches: Switches) -> None:
    refused = _TEMPLATE_FIELDS if switches.is_on("bm_extras_on_standard") else (*_TEMPLATE_FIELDS, "deliveryScope", "seq")
    for key in refused:
        if step.get(key) is not None:
            checks.note("template_on_standard", (*at, key), "rejected on /failover")
    checks.text(step, "label", at, longest=_LABEL)
    must = switches.is_on("viber_message_required")
    message = checks.mapping(step, "message", at, required=must)
    if message is not None:
        if must and all(message.get(key) is None for key in _CONTENT):
            checks.note("missing_field", (*at, "message"), "has no content")
        _check_content(checks, message, (*at, "message"))


def _check_content(checks: Checks, message: dict[str, Any], at: Path) -> None:
    checks.text(message, "text", at, longest=1000)
    checks.url(message, "imageUrl", at, https=True)
    action = checks.mapping(message, "action", at)
    if action is not None:
        checks.text(action, "caption", (*at, "action"), longest=30)
        checks.url(action, "targetUrl", (*at, "action"))
    file = checks.mapping(message, "viberFile", at)
    if file is not None:
        checks.text(file, "fileName", (*at, "viberFile"), longest=25)
        checks.word(file, "fileType", (*at, "viberFile"), _FILE_TYPES)
        checks.url(file, "fileUrl", (*at, "viberFile"), https=True)
    video = checks.mapping(message, "viberVideo", at)
    if video is not None:
        inside = (*at, "viberVideo")
        checks.url(video, "videoUrl", inside, required=True, https=True)
        checks.url(video, "videoThumbnail", inside, required=True, https=True)
        _check_positive(checks, video, "fileSize", inside, 200)
        _check_positive(checks, video, "duration", inside, 600)


def _check_positive(checks: Checks, doc: dict[str, Any], key: str, at: Path, most: int) -> None:
    if checks.number(doc, key, at, 0, most, required=True) == 0:
        checks.note("out_of_range", (*at, key), "must be positive")


def _check_callback(checks: Checks, doc: dict[str, Any], switches: Switches) -> None:
    callback = checks.mapping(doc, "callback", ())
    if callback is None:
        return
    checks.url(callback, "url", ("callback",), required=switches.is_on("callback_url_required"))
    strategy = callback.get("strategy")
    if strategy == "OnChange":
        checks.note("on_change", ("callback", "strategy"), "failover's word is OnStep", refuses=switches.is_on("strict_strategy"))
    elif strategy not in (None, "OnStep", "OnCompletion"):
        checks.note("bad_strategy", ("callback", "strategy"), "must be OnStep or OnCompletion")


_BY_CHANNEL: dict[str, Callable[[Checks, dict[str, Any], Path, Api, Switches], None]] = {
    "Sms": _check_sms,
    "Viber": _check_viber,
    "Voice": check_voice,
}
