"""The simulator as an oracle: it takes what the contract shows and refuses what the contract refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.simulator import recipient_for
from tests.unit.simulator_box import (
    OTP,
    STANDARD,
    TRANSACTIONAL,
    Box,
    JsonDoc,
    flow,
    otp_sms,
    sms,
    template,
    viber,
    viber_otp,
    voice,
)
from tests.unit.simulator_samples import HOW_TO_STANDARD, HOW_TO_TRANSACTIONAL

TO = recipient_for("viber_ok", 12)

VIDEO = {"videoUrl": "https://v.url", "videoThumbnail": "https://t.url", "fileSize": 20, "duration": 60}


@pytest.mark.parametrize(
    ("path", "doc"),
    [
        (STANDARD, HOW_TO_STANDARD),
        (TRANSACTIONAL, HOW_TO_TRANSACTIONAL),
        (STANDARD, flow(sms(TO, urlShortener={}, restrictions={"anything": 1}))),
        (STANDARD, flow(sms(TO, message={"body": "x", "urlShortener": {"urlValidity": 3600}}))),
        (STANDARD, flow(viber(TO, ttl=0.5, message={"viberVideo": VIDEO}))),
        (STANDARD, flow(viber(TO, message={"viberFile": {"fileName": "a.pdf", "fileType": "pdf", "fileUrl": "https://f.url"}}))),
        (STANDARD, flow(viber(TO, failoverOnStatuses=["expired"]))),
        (TRANSACTIONAL, flow(template(TO, seq=4), voice(TO, 2))),
        (OTP, flow(viber_otp("306912345671"), otp_sms("+306912345671", 2), strategy="")),
        (OTP, flow(otp_sms(["+306912345671"]))),
        (OTP, flow(viber_otp(TO, templateType="with_reason", businessName="ACME", templateLang="el"))),
    ],
)
def test_takes_what_the_contract_shows(path: str, doc: JsonDoc) -> None:
    """A documented request is accepted and breaks nothing."""
    box = Box()
    status, _ = box.post(path, doc)
    assert status == 200
    assert box.simulator.violations == {}
    assert len(box.simulator.provider.flows) == 1


def _set(*path_and_value: object) -> Callable[[JsonDoc], None]:
    """Change the value at a path, the last argument being the new one."""
    *path, value = path_and_value

    def change(doc: JsonDoc) -> None:
        place: Any = doc
        for part in path[:-1]:
            place = place[part]
        if value is _GONE:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


_GONE = object()
_S1: tuple[str | int, ...] = ("flow", 0)


@pytest.mark.parametrize(
    ("base", "change", "kind"),
    [
        (flow(sms(TO)), _set("flow", []), "empty_flow"),
        (flow(sms(TO)), _set("flow", _GONE), "missing_field"),
        (flow(sms(TO)), _set(*_S1, "type", "Email"), "unknown_step_type"),
        (flow(sms(TO)), _set(*_S1, "type", "sms"), "unknown_step_type"),
        (flow(sms(TO)), _set(*_S1, "order", _GONE), "missing_field"),
        (flow(sms(TO)), _set(*_S1, "order", 0), "out_of_range"),
        (flow(sms(TO), sms(TO, 2)), _set("flow", 1, "order", 1), "duplicate_order"),
        (flow(sms(TO)), _set(*_S1, "ttl", 0), "ttl_range"),
        (flow(sms(TO)), _set(*_S1, "ttl", 1441), "ttl_range"),
        (flow(sms(TO)), _set(*_S1, "ttl", 1.5), "wrong_type"),
        (flow(sms(TO)), _set(*_S1, "from", _GONE), "missing_field"),
        (flow(sms(TO)), _set(*_S1, "from", "TwelveLetters"), "too_long"),
        (flow(sms(TO)), _set(*_S1, "to", "306912345678"), "bad_phone"),
        (flow(sms(TO)), _set(*_S1, "message", "body", " "), "missing_field"),
        (flow(sms(TO)), _set(*_S1, "message", "label", "x" * 351), "too_long"),
        (flow(sms(TO)), _set(*_S1, "message", "flash", "yes"), "wrong_type"),
        (flow(sms(TO)), _set(*_S1, "urlShortener", {"urlValidity": 3599}), "out_of_range"),
        (flow(sms(TO)), _set(*_S1, "failoverOnStatuses", ["EXPIRED"]), "bad_trigger"),
        (flow(sms(TO)), _set(*_S1, "failoverOnStatuses", "FAILED"), "wrong_type"),
        (flow(sms(TO)), _set("callback", {"strategy": "OnEnd", "url": "https://a.b"}), "bad_strategy"),
        (flow(sms(TO)), _set("callback", {"strategy": {}, "url": "https://a.b"}), "bad_strategy"),
        (flow(sms(TO)), _set("callback", {"strategy": "OnStep"}), "missing_field"),
        (flow(viber(TO)), _set(*_S1, "ttl", 0.4), "ttl_range"),
        (flow(viber(TO)), _set(*_S1, "ttl", 1.25), "ttl_range"),
        (flow(viber(TO)), _set(*_S1, "templateId", "0aac888f-2ee2-4112-9659-1755a951966a"), "template_on_standard"),
        (flow(viber(TO)), _set(*_S1, "templateLang", "en"), "template_on_standard"),
        (flow(viber(TO)), _set(*_S1, "templateParams", {}), "template_on_standard"),
        (flow(viber(TO)), _set(*_S1, "senderInfoTrackingId", _GONE), "missing_field"),
        (flow(viber(TO)), _set(*_S1, "message", {}), "missing_field"),
        (flow(viber(TO)), _set(*_S1, "message", "text", "x" * 1001), "too_long"),
        (flow(viber(TO)), _set(*_S1, "message", "imageUrl", "http://plain.url"), "bad_url"),
        (flow(viber(TO)), _set(*_S1, "message", "action", {"caption": "x" * 31}), "too_long"),
        (flow(viber(TO)), _set(*_S1, "message", "viberFile", {"fileType": "exe"}), "unknown_word"),
        (flow(viber(TO)), _set(*_S1, "message", "viberVideo", VIDEO | {"duration": 601}), "out_of_range"),
        (flow(viber(TO)), _set(*_S1, "message", "viberVideo", VIDEO | {"fileSize": 0}), "out_of_range"),
        (flow(voice(TO)), _set(*_S1, "to", TO), "wrong_type"),
        (flow(voice(TO)), _set(*_S1, "to", {"phone": "", "sip": "", "viber": ""}), "missing_field"),
        (flow(voice(TO)), _set(*_S1, "to", {"phone": TO, "viber": TO}), "ambiguous"),
        (flow(voice(TO)), _set(*_S1, "dialPlan", "verbs", []), "missing_field"),
        (flow(voice(TO)), _set(*_S1, "dialPlan", "verbs", 0, "type", "DIAL"), "unknown_word"),
        (flow(voice(TO)), _set(*_S1, "dialPlan", "verbs", 0, "message", "language", "tlh"), "unknown_word"),
        (flow(voice(TO)), _set(*_S1, "failoverOnStatuses", ["Ringing"]), "bad_trigger"),
    ],
)
def test_refuses_what_the_standard_send_refuses(base: JsonDoc, change: Callable[[JsonDoc], None], kind: str) -> None:
    """One breach: 400 in the platform's shape, nothing accepted, the breach in the ledger by its kind."""
    _refused(STANDARD, base, change, kind, 400)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_set(*_S1, "message", {"text": "free"}), "message_on_template"),
        (_set(*_S1, "label", "mine"), "label_on_template"),
        (_set(*_S1, "templateId", _GONE), "missing_field"),
        (_set(*_S1, "templateId", "not-a-uuid"), "bad_uuid"),
        (_set(*_S1, "templateLang", _GONE), "missing_field"),
        (_set(*_S1, "templateParams", []), "wrong_type"),
        (_set(*_S1, "deliveryScope", "EVERYWHERE"), "unknown_word"),
    ],
)
def test_refuses_what_the_transactional_send_refuses(change: Callable[[JsonDoc], None], kind: str) -> None:
    """Free-form Viber, a client label or half a template: 400."""
    _refused(TRANSACTIONAL, flow(template(TO), sms(TO, 2)), change, kind, 400)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_set(*_S1, voice(TO)), "voice_in_otp"),
        (_set(*_S1, "type", "Viber"), "unknown_step_type"),
        (_set(*_S1, "type", []), "unknown_step_type"),
        (_set(*_S1, "ttl", _GONE), "missing_field"),
        (_set(*_S1, "ttl", -1), "ttl_range"),
        (_set(*_S1, "ttl", 1.5), "wrong_type"),
        (_set(*_S1, "pin", "123"), "too_short"),
        (_set(*_S1, "pin", "12345678901"), "too_long"),
        (_set(*_S1, "pin", 847291), "wrong_type"),
        (_set(*_S1, "templateId", "basic"), "bad_uuid"),
        (_set(*_S1, "templateType", "with_everything"), "unknown_word"),
        (_set(*_S1, "templateType", "with_business_name"), "missing_field"),
        (_set(*_S1, "templateLang", "tlh"), "unknown_word"),
        (_set(*_S1, "to", []), "missing_field"),
        (_set("flow", 1, "order", 1), "duplicate_order"),
        (_set("flow", 1, "message", {}), "missing_field"),
        (_set("callback", {}), "missing_field"),
    ],
)
def test_refuses_what_the_otp_send_refuses(change: Callable[[JsonDoc], None], kind: str) -> None:
    """Voice, a PIN of the wrong length, a missing ttl: 422 with the place in ``detail``."""
    body = _refused(OTP, flow(viber_otp(TO), otp_sms(TO, 2)), change, kind, 422)
    assert body["detail"][0]["loc"][0] == "body"


def _refused(path: str, base: JsonDoc, change: Callable[[JsonDoc], None], kind: str, status: int) -> JsonDoc:
    doc = copy.deepcopy(base)
    change(doc)
    box = Box()
    answered, body = box.post(path, doc)
    assert answered == status
    assert box.simulator.violations[kind] >= 1
    assert len(box.simulator.provider.flows) == 0
    if status == 400:
        assert body["code"].startswith("400")
        assert body["developerMessage"]
    assert isinstance(body, dict)
    return body


def test_oddities_pass_and_are_noted() -> None:
    """What the provider would not notice is accepted, and counted: a repeated label, OnChange, foreign fields, Expect."""
    box = Box()
    box.send(flow(viber(TO, label="mine")))
    box.send(flow(viber(TO, label="mine"), strategy="OnChange"))
    box.send(flow(otp_sms(TO, failoverOnStatuses=["FAILED"]), strategy="OnStep"), OTP)
    box.post(STANDARD, flow(viber(TO)), expect="100-continue")
    assert box.simulator.violations == {"repeated_label": 1, "on_change": 1, "foreign_key": 2, "expect_header": 1}
    assert box.simulator.ledger.summary()["accepted"] == 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
STEP_KEYS = sorted(set(viber(TO)) | set(sms(TO)) | set(voice(TO)) | set(viber_otp(TO)) | {"label", "seq", "failoverOnStatuses"})


@settings(deadline=None)
@example(path=OTP, step=otp_sms(TO), changes={"failoverOnStatuses": [None]}, callback=None)
@given(
    path=st.sampled_from([STANDARD, TRANSACTIONAL, OTP]),
    step=st.sampled_from([viber(TO), sms(TO), voice(TO), viber_otp(TO), otp_sms(TO), template(TO)]),
    changes=st.dictionaries(st.sampled_from(STEP_KEYS), json_values, max_size=3),
    callback=json_values,
)
def test_no_json_breaks_it(path: str, step: JsonDoc, changes: JsonDoc, callback: object) -> None:
    """Whatever JSON comes, the answer is 200, 400 or 422, and the request is in the ledger."""
    box = Box()
    reply = box.request("POST", path, orjson.dumps({"flow": [step | changes], "callback": callback}))
    assert reply.status in {200, 400, 422}
    assert box.simulator.ledger.requests["send"] == 1
    box.advance(5)


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'"flow"', b"\xff\xfe"])
def test_no_bytes_break_it(body: bytes) -> None:
    """A body that is no JSON object is refused like any other."""
    box = Box()
    assert box.request("POST", STANDARD, body).status == 400
    assert box.request("POST", OTP, body).status == 422
