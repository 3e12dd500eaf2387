"""Building: each step's JSON, units, labels, callbacks, paths of what cannot be built."""

from __future__ import annotations

from typing import Any

import pytest

from connector.core.model import Api, Channel
from connector.core.request import build, recipient_of
from connector.errors import Unbuildable
from tests.unit.rules_text import ATTEMPT, PHONE, SENDER, TEMPLATE, body, built, event, one, step

SMS = "- sms: {from: ACME, body: hello}"
FREE = f"- viber: {{sender: {SENDER}, text: hello}}"
APPROVED = f"- viber: {{sender: {SENDER}, template: {TEMPLATE}, lang: en}}"
OTP = f'- viber_otp: {{sender: {SENDER}, template: {TEMPLATE}, pin: "{{{{ data.code }}}}", ttl: 60s}}'
OTP_SMS = '- sms: {from: ACME, body: "code {{ data.code }}", ttl: 2m}'
VOICE = '- voice: {from: "+302101234567", say: [{text: hello, language: en-GB}]}'


def refusal(rule_steps: str, data: dict[str, Any] | None = None, phone: str | None = PHONE) -> Unbuildable:
    """Why the request cannot be built."""
    with pytest.raises(Unbuildable) as refused:
        build(event(data, phone=phone), one(rule_steps), ATTEMPT, None)
    return refused.value


def test_an_sms_with_everything() -> None:
    """Every key of an Sms step has its place (Routee's documentation: Standard Failover)."""
    rule = one("""
        - sms:
            from: ACME
            to: "00306912345679"
            body: "Hi {{ data.name }}"
            flash: true
            transcode: false
            label: mine
            ttl: 2h
            url_shortener: {validity: 1d}
            restrictions: {templateId: "{{ data.name }}", entity: 7}
            fail_over_on: [failed]
            extra: {priority: 1, message: {encoding: "{{ data.name }}"}}
    """)
    assert step(rule, event({"name": "Ann"})) == {
        "type": "Sms",
        "order": 1,
        "to": "+306912345679",
        "from": "ACME",
        "message": {"body": "Hi Ann", "flash": True, "transcode": False, "label": f"mine|{ATTEMPT}", "encoding": "Ann"},
        "urlShortener": {"urlValidity": 86_400},
        "restrictions": {"templateId": "Ann", "entity": 7},
        "failoverOnStatuses": ["FAILED"],
        "priority": 1,
        "ttl": 120,
    }


def test_a_free_form_viber_with_everything() -> None:
    """Every key of a free-form Viber step has its place; its label is on the step (Routee's documentation: Standard Failover)."""
    rule = one(f"""
        - viber:
            sender: {SENDER}
            text: hello
            image: https://cdn.example.com/a.png
            button: {{caption: Go, url: "https://example.com/{{{{ data.id }}}}"}}
            file: {{name: a.pdf, type: pdf, url: https://example.com/a.pdf}}
            video: {{url: https://example.com/a.mp4, thumbnail: https://example.com/a.jpg, size_mb: 1.5, duration: 30s}}
            inbound_url: https://example.com/in
            expire_on_delivery: true
            ttl: 30s
            fail_over_on: [expired, expired, undelivered]
    """)
    assert step(rule, event({"id": 7})) == {
        "type": "Viber",
        "order": 1,
        "to": PHONE,
        "senderInfoTrackingId": SENDER,
        "inboundUrl": "https://example.com/in",
        "expireOnDelivery": True,
        "message": {
            "text": "hello",
            "imageUrl": "https://cdn.example.com/a.png",
            "action": {"caption": "Go", "targetUrl": "https://example.com/7"},
            "viberFile": {"fileName": "a.pdf", "fileType": "pdf", "fileUrl": "https://example.com/a.pdf"},
            "viberVideo": {
                "videoUrl": "https://example.com/a.mp4",
                "videoThumbnail": "https://example.com/a.jpg",
                "fileSize": 1.5,
                "duration": 30,
            },
        },
        "failoverOnStatuses": ["EXPIRED", "UNDELIVERED"],
        "ttl": 0.5,
        "label": ATTEMPT,
    }


def test_a_template_viber_never_has_a_label() -> None:
    """A template step carries template fields, always a ttl, and no label even where the rule has one (400 otherwise)."""
    rule = one(
        f"""
        - viber:
            sender: {SENDER}
            template: "{{{{ data.template }}}}"
            lang: "{{{{ recipient.locale }}}}"
            params: {{order_id: "{{{{ data.id }}}}", count: 3, gift: true, price: 1.5}}
            device_scope: all
            seq: 9
        """,
        "label: mine",
    )
    assert step(rule, event({"id": 1, "template": TEMPLATE}, locale="el_GR")) == {
        "type": "Viber",
        "order": 1,
        "to": PHONE,
        "senderInfoTrackingId": SENDER,
        "templateId": TEMPLATE,
        "templateLang": "el",
        "templateParams": {"order_id": "1", "count": 3, "gift": True, "price": 1.5},
        "deliveryScope": "ALL_DEVICES",
        "seq": 9,
        "ttl": 10,
    }


def test_a_call_with_everything() -> None:
    """``to`` is an object, verbs keep their order, the plan is spelled dialPlan, and there is neither ttl nor label."""
    rule = one("""
        - voice:
            from: "+302101234567"
            verbs:
              - play: {url: http://example.com/a.wav, repeat: 2, barge_in: true}
              - say: {text: "Hi {{ data.name }}", language: el-GR, gender: male}
            machine_detection: continue
            event_url: https://example.com/machine
            fail_over_on: [busy, no_answer]
    """)
    assert step(rule, event({"name": "Ann"})) == {
        "type": "Voice",
        "order": 1,
        "to": {"phone": PHONE, "sip": "", "viber": ""},
        "from": "+302101234567",
        "dialPlan": {
            "verbs": [
                {"type": "PLAY", "fileURL": "http://example.com/a.wav", "repeat": 2, "bargeIn": True},
                {"type": "SAY", "message": {"text": "Hi Ann", "language": "el-GR", "gender": "male"}},
            ]
        },
        "machineDetection": {"strategy": "Continue", "eventUrl": "https://example.com/machine"},
        "failoverOnStatuses": ["Busy", "NoAnswer"],
    }


def test_an_otp_flow() -> None:
    """OTP steps have ttl in seconds and the label on the step; their callback has no strategy (Routee's documentation: OTP Failover)."""
    rule = one(
        f"""
        - viber_otp:
            sender: {SENDER}
            template: {TEMPLATE}
            lang: pt-BR
            pin: "{{{{ data.code }}}}"
            template_type: with_business_name
            business_name: ACME
            ttl: 90s
            extra: {{validity: "{{{{ data.minutes }}}}"}}
        - sms: {{body: "code {{{{ data.code }}}}", ttl: 2m, label: backup}}
        """,
        "label: mine",
    )
    document = built(rule, event({"code": "1234", "minutes": 5}), "https://hooks.example.com/x")
    assert document == {
        "flow": [
            {
                "type": "ViberOtp",
                "order": 1,
                "to": PHONE,
                "senderInfoTrackingId": SENDER,
                "templateId": TEMPLATE,
                "pin": "1234",
                "templateLang": "br",
                "templateType": "with_business_name",
                "businessName": "ACME",
                "validity": "5",
                "ttl": 90,
                "label": f"mine|{ATTEMPT}",
            },
            {"type": "Sms", "order": 2, "to": PHONE, "message": {"body": "code 1234"}, "ttl": 120, "label": f"backup|{ATTEMPT}"},
        ],
        "callback": {"url": "https://hooks.example.com/x"},
    }


@pytest.mark.parametrize(
    ("head", "url", "callback"),
    [
        ("", "https://h/x", {"strategy": "OnStep", "url": "https://h/x"}),
        ("callback: on_completion", "https://h/x", {"strategy": "OnCompletion", "url": "https://h/x"}),
        ("callback: none", "https://h/x", None),
        ("", None, None),
    ],
)
def test_callbacks(head: str, url: str | None, callback: dict[str, str] | None) -> None:
    """The strategy follows the rule; without a public address or with ``none`` there is no callback."""
    assert built(one(SMS, head), callback_url=url).get("callback") == callback


def test_extra_at_the_root() -> None:
    """A rule's ``extra`` is added beside the flow."""
    document = built(one(SMS, 'extra: {restrictions: {id: ["{{ data.a }}", 2]}}'), event({"a": 1}))
    assert document["restrictions"] == {"id": ["1", 2]}


@pytest.mark.parametrize(
    ("steps", "visible", "labelled"),
    [
        (SMS, False, True),
        (FREE + "\n" + VOICE, False, True),
        (VOICE + "\n" + SMS, False, False),
        (APPROVED + "\n" + SMS, False, False),
        (SMS + "\n" + APPROVED, False, True),
        (OTP, False, False),
        (OTP, True, True),
    ],
)
def test_labelled_is_about_the_first_step(steps: str, visible: bool, labelled: bool) -> None:
    """A flow counts as labelled where tracking will show the first step's label."""
    request = build(event({"code": "1234"}), one(steps), ATTEMPT, None, otp_label_visible=visible)
    assert request.labelled is labelled


def test_what_the_request_says_of_itself() -> None:
    """Api, recipient, channels, signature and the sum of the ttls, defaults included, are those of the steps."""
    request = build(event(), one(f"{APPROVED}\n{SMS}\n{VOICE}"), ATTEMPT, None)
    assert (request.api, request.attempt_id, request.recipient) == (Api.TRANSACTIONAL, ATTEMPT, PHONE)
    assert request.channels == (Channel.VIBER, Channel.SMS, Channel.VOICE)
    assert request.signature == (f"Viber:{TEMPLATE}", "Sms", "Voice")
    assert request.ttl_total_ms == (10 + 1200) * 60_000
    assert "ttl" not in body(request)["flow"][1]


def test_steps_with_a_condition() -> None:
    """A step whose condition does not hold is left out, the rest is numbered anew, and none left is unbuildable."""
    steps = """
        - if: "data.vip"
          voice: {from: ACME, play: [{url: https://example.com/a.wav}]}
        - if: "data.sms | default(true)"
          sms: {from: ACME, body: hello}
    """
    rule = one(steps)
    assert [found["type"] for found in built(rule, event({"vip": True}))["flow"]] == ["Voice", "Sms"]
    (only,) = built(rule, event({"vip": False}))["flow"]
    assert (only["type"], only["order"]) == ("Sms", 1)
    assert refusal(steps, {"vip": False, "sms": False}).reason == "NO_STEPS"
    assert refusal(steps).path == "rules.r.steps[0].if"


@pytest.mark.parametrize(
    ("steps", "data", "reason", "path"),
    [
        ('- sms: {from: A, body: "{{ data.x }}"}', {}, "TEMPLATE_UNDEFINED", "steps[0].sms.body"),
        ('- sms: {from: A, body: "{{ data.x }}"}', {"x": " "}, "FIELD_EMPTY", "steps[0].sms.body"),
        ('- sms: {from: "{{ data.x }}", body: b}', {"x": "ABCDEFGHIJKL"}, "FIELD_TOO_LONG", "steps[0].sms.from"),
        ('- sms: {from: "{{ data.x }}", body: b}', {"x": " "}, "FIELD_EMPTY", "steps[0].sms.from"),
        ('- sms: {from: "{{ data.x }}", body: b}', {"x": "a\nb"}, "FIELD_INVALID", "steps[0].sms.from"),
        ('- sms: {from: "{{ data.x }}", body: b}', {"x": "+30210"}, "FIELD_INVALID", "steps[0].sms.from"),
        ('- sms: {from: A, to: "{{ data.x }}", body: b}', {"x": "nobody"}, "PHONE_UNPARSABLE", "steps[0].sms.to"),
        (SMS.replace("}", ', label: "{{ data.x }}"}'), {"x": "x" * 310}, "FIELD_TOO_LONG", "steps[0].sms.label"),
        (FREE.replace("hello", '"{{ data.x }}"'), {"x": "\U0001f600" * 501}, "FIELD_TOO_LONG", "steps[0].viber.text"),
        (FREE.replace("}", ', image: "{{ data.x }}"}'), {"x": "http://example.com/a.png"}, "FIELD_INVALID", "steps[0].viber.image"),
        (
            APPROVED.replace("}", ', params: {order_id: "{{ data.x }}"}}'),
            {},
            "TEMPLATE_UNDEFINED",
            "steps[0].viber.params.order_id",
        ),
        (APPROVED.replace(TEMPLATE, '"{{ data.x }}"'), {"x": "7"}, "FIELD_INVALID", "steps[0].viber.template"),
        (OTP, {"code": 123}, "FIELD_TOO_SHORT", "steps[0].viber_otp.pin"),
        (OTP, {"code": "12345678901"}, "FIELD_TOO_LONG", "steps[0].viber_otp.pin"),
        (OTP.replace('}}"', '}}", lang: "{{ data.lang }}"'), {"code": 1234, "lang": "xx"}, "FIELD_INVALID", "steps[0].viber_otp.lang"),
        (VOICE.replace("hello", '"{{ data.x }}"'), {"x": ""}, "FIELD_EMPTY", "steps[0].voice.say[0].text"),
    ],
)
def test_what_cannot_be_built_has_its_path(steps: str, data: dict[str, Any], reason: str, path: str) -> None:
    """Each refusal names the field of the rule and never the value."""
    refused = refusal(steps, data)
    assert (refused.reason, refused.path) == (reason, f"rules.r.{path}")
    assert not data.get("x") or not str(data["x"]).strip() or f"{data['x']}:" not in f"{refused.detail}:"


def test_a_missing_phone() -> None:
    """An event without a phone is unbuildable, unless each step says where to."""
    assert refusal(SMS, phone=None).path == "recipient.phone"
    rule = one(f'- sms: {{from: A, body: b, to: "{PHONE}"}}')
    assert build(event(phone=None), rule, ATTEMPT, None).recipient == PHONE


OTHER = "+306900000001"
TO = '- {sms: {from: A, body: b, to: "{{ data.to }}"}, if: "data.mine"}'
TO_OR_PHONE = TO + "\n" + SMS


@pytest.mark.parametrize(
    ("steps", "data", "phone", "recipient"),
    [
        (None, {}, "0030 691 234 5678", PHONE),
        (None, {}, None, None),
        (None, {}, "call me", None),
        ('- sms: {from: A, body: "{{ data.missing }}"}', {}, PHONE, PHONE),
        (TO_OR_PHONE, {"mine": True, "to": OTHER}, PHONE, OTHER),
        (TO_OR_PHONE, {"mine": False}, PHONE, PHONE),
        (TO_OR_PHONE, {"mine": True}, PHONE, None),
        (TO, {"mine": False}, PHONE, None),
    ],
)
def test_the_recipient_is_known_where_the_message_is_not(
    steps: str | None, data: dict[str, Any], phone: str | None, recipient: str | None
) -> None:
    """An event of which no message can be made still says whom it was for: by the rule's own ``to`` where it has one, else by its phone."""
    assert recipient_of(event(data, phone=phone), None if steps is None else one(steps)) == recipient


def test_secrets_hold_what_is_personal() -> None:
    """Phones in both forms, the PIN and every text made from the event are named as secrets, the longest first, and repr hides them."""
    request = build(event({"code": "847291"}), one(f"{OTP}\n{OTP_SMS}"), ATTEMPT, None)
    assert request.secrets == (PHONE, PHONE[1:], "code 847291", "847291")
    assert "847291" not in repr(request)
    assert PHONE not in repr(request)


@pytest.mark.parametrize(
    ("remaining", "ttls"),
    [(180_000, [60, 120]), (500_000, [60, 120]), (100_500, [60, 40]), (61_000, [60, 1]), (30_000, [29, 1]), (2_000, [1, 1])],
)
def test_ttls_are_cut_from_the_last_step(remaining: int, ttls: list[int]) -> None:
    """What does not fit into the remaining time is cut, last step first, never under the API's minimum."""
    request = build(event({"code": "1234"}), one(f"{OTP}\n{OTP_SMS}"), ATTEMPT, None, remaining_ms=remaining)
    assert [found["ttl"] for found in body(request)["flow"]] == ttls
    assert request.ttl_total_ms == sum(ttls) * 1000 <= remaining


def test_too_late_for_any_ttl() -> None:
    """When even the shortest ttls outlive the message, it is not built."""
    with pytest.raises(Unbuildable, match="TTL_OVER"):
        build(event(), one(f"{FREE}\n{SMS}"), ATTEMPT, None, remaining_ms=89_000)


def test_a_default_ttl_is_written_once_it_is_cut() -> None:
    """Routee's own default would be longer than what is left."""
    request = build(event(), one(SMS), ATTEMPT, None, remaining_ms=150_000)
    assert body(request)["flow"][0]["ttl"] == 2


def test_the_body_is_the_same_every_time() -> None:
    """Building twice gives the same bytes: the intent that was journalled is what is sent."""
    rule, notification = one(f"{FREE}\n{SMS}"), event()
    assert build(notification, rule, ATTEMPT, None) == build(notification, rule, ATTEMPT, None)


def test_a_label_that_grows_too_long() -> None:
    """The user's label and the attempt's id together keep to 350 characters."""
    with pytest.raises(Unbuildable) as refused:
        build(event(), one(SMS, f"label: {'x' * 300}"), "a" * 50, None)
    assert (refused.value.reason, refused.value.path) == ("FIELD_TOO_LONG", "rules.r.steps[0].sms.label")


def test_a_text_that_is_no_unicode() -> None:
    """Half a surrogate pair cannot be sent, and does not crash."""
    with pytest.raises(Unbuildable, match="NOT_JSON"):
        build(event(), one(SMS), ATTEMPT, "https://hooks.example.com/\ud800")
