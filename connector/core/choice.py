"""Which of the three sends a rule needs: the decision table of docs/rules.md.

======================================================  ======================
the flow has                                            send
======================================================  ======================
a Viber OTP step, perhaps Sms                           otp
a Viber template, perhaps Sms or Voice                  transactional
free-form Viber, Sms or Voice                           standard
only Sms, and ``class: otp``                            otp
======================================================  ======================
"""

from __future__ import annotations

from connector.core.fields import Draft
from connector.core.model import Api, JsonObject, MessageClass

_ALLOWED: dict[Api, frozenset[str]] = {
    Api.STANDARD: frozenset({"sms", "voice", "viber"}),
    Api.TRANSACTIONAL: frozenset({"sms", "voice", "viber_template"}),
    Api.OTP: frozenset({"sms", "viber_otp"}),
}
_WORDS = {
    "sms": "an Sms step",
    "voice": "a Voice step",
    "viber": "a free-form Viber step",
    "viber_template": "a Viber template step",
    "viber_otp": "a Viber OTP step",
}
_WHY = {
    (Api.OTP, "voice"): "Voice is not available on the OTP API",
    (Api.OTP, "viber"): "the OTP API takes only OTP templates on Viber",
    (Api.OTP, "viber_template"): "the OTP API takes only OTP templates on Viber: use viber_otp",
    (Api.TRANSACTIONAL, "viber"): "free-form Viber is rejected (400) by POST /failover/transactional",
    (Api.TRANSACTIONAL, "viber_otp"): "Viber OTP templates are for the OTP API only",
    (Api.STANDARD, "viber_template"): "template fields are rejected (400) by POST /failover; templates need send: transactional",
    (Api.STANDARD, "viber_otp"): "Viber OTP templates are for the OTP API only",
}
_TABLE = (
    "verification code: Viber OTP, Sms → otp; approved Viber template, Sms, Voice → transactional; free-form Viber, Sms, Voice → standard"
)
_CLASS_OF = {Api.OTP: MessageClass.OTP, Api.TRANSACTIONAL: MessageClass.TRANSACTIONAL, Api.STANDARD: MessageClass.MARKETING}


def kind_of(step: JsonObject) -> str:
    """sms, voice, viber, viber_template or viber_otp."""
    if "viber" in step:
        return "viber_template" if "template" in step["viber"] else "viber"
    return next(kind for kind in ("sms", "voice", "viber_otp") if kind in step)


def choose_api(draft: Draft, doc: JsonObject) -> tuple[Api, bool]:
    """The API of ``send:``, else the one the steps ask for, and whether it was inferred. Steps that do not fit are noted as flaws."""
    kinds = [kind_of(step) for step in doc["steps"]]
    inferred = "send" not in doc
    api = _inferred(kinds, doc.get("class")) if inferred else Api(doc["send"])
    for index, kind in enumerate(kinds):
        if kind not in _ALLOWED[api]:
            cause = _cause(kinds, api) if inferred else f"send: {api}"
            draft.at("steps", index).flaw(f"{_WORDS[kind]} does not go with {cause}: {_WHY[api, kind]}", _TABLE)
    if api is Api.OTP and "callback" in doc and doc["callback"] == "on_completion":
        draft.at("callback").warn("the OTP API knows no callback strategy: it calls at every change", "callback: none asks for no calls")
    return api, inferred


def choose_class(draft: Draft, doc: JsonObject, api: Api) -> tuple[MessageClass, bool]:
    """``class:``, else the one that goes with the API, and whether it was inferred."""
    if "class" not in doc:
        if api is Api.STANDARD:
            draft.warn(
                "class: marketing was only inferred: the flow expires after a day, goes last, and is never sent again when in doubt",
                "write class: marketing if that is right, class: transactional if it is not",
            )
        return _CLASS_OF[api], True
    chosen = MessageClass(doc["class"])
    if chosen is MessageClass.MARKETING and api is Api.OTP:
        draft.at("class").flaw("the OTP API is for verification codes only, not for marketing", _TABLE)
    elif chosen is MessageClass.MARKETING and api is Api.TRANSACTIONAL:
        draft.at("class").warn("class: marketing with approved transactional templates", _TABLE)
    return chosen, False


def _inferred(kinds: list[str], wanted_class: str | None) -> Api:
    if "viber_otp" in kinds:
        return Api.OTP
    if "viber_template" in kinds:
        return Api.TRANSACTIONAL
    return Api.OTP if wanted_class == MessageClass.OTP and set(kinds) == {"sms"} else Api.STANDARD


def _cause(kinds: list[str], api: Api) -> str:
    return _WORDS["viber_otp"] if api is Api.OTP and "viber_otp" in kinds else _WORDS["viber_template"]
