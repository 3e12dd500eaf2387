"""Whatever the event holds: building gives a body that obeys the contract, or Unbuildable. The limits are written here a second time."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.model import Notification, Recipient
from connector.core.request import build
from connector.errors import Unbuildable
from tests.unit.rules_text import ATTEMPT, SENDER, TEMPLATE, body, table
from tests.unit.test_template import JSON

RULES = table(f"""
    rules:
      - name: standard
        match: {{type: standard}}
        class: marketing
        label: "{{{{ data.label | default('x') }}}}"
        continue: true
        steps:
          - viber:
              sender: "{{{{ data.sender }}}}"
              text: "{{{{ data.text }}}}"
              image: "{{{{ data.url }}}}"
              button: {{caption: "{{{{ data.text }}}}", url: "{{{{ data.url }}}}"}}
              file: {{name: "{{{{ data.text }}}}", type: pdf, url: "{{{{ data.url }}}}"}}
              ttl: 90s
          - if: "data.a is defined"
            sms: {{from: "{{{{ data.sender }}}}", body: "{{{{ data.text }}}}", ttl: 2h, restrictions: {{a: "{{{{ data.a }}}}"}}}}
          - voice: {{from: "{{{{ data.sender }}}}", say: [{{text: "{{{{ data.text }}}}", language: el-GR}}]}}
      - name: plain
        match: {{type: standard}}
        class: marketing
        when: "data.a is defined and data.a"
        steps:
          - sms: {{from: "{{{{ data.sender }}}}", to: "{{{{ data.phone | default(recipient.phone) }}}}", body: "{{{{ data.text }}}}"}}
      - name: transactional
        match: {{type: transactional}}
        label: "{{{{ data.label | default('x') }}}}"
        steps:
          - viber:
              sender: {SENDER}
              template: {TEMPLATE}
              lang: "{{{{ data.lang }}}}"
              params: {{a: "{{{{ data.a }}}}"}}
          - sms: {{from: ACME, body: "{{{{ data.text }}}}"}}
      - name: otp
        match: {{type: otp}}
        steps:
          - viber_otp: {{sender: {SENDER}, template: {TEMPLATE}, lang: "{{{{ data.lang }}}}", pin: "{{{{ data.pin }}}}", ttl: 60s}}
          - sms: {{body: "{{{{ data.text }}}}", ttl: 61s}}
""")

GOOD = {
    "sender": st.sampled_from(["ACME", "54321", "+30210", "A" * 12, "1" * 17]),
    "text": st.text(max_size=40) | st.text(min_size=900, max_size=1100) | st.just("\U0001f600" * 501),
    "url": st.sampled_from(["https://example.com/a", "http://example.com/a", "https://", "https://a b", "https://x/" + "y" * 1000]),
    "lang": st.sampled_from(["en", "el-GR", "pt-BR", "xx", ""]),
    "pin": st.integers(0, 10**11) | st.text(max_size=12),
    "label": st.text(max_size=400),
    "phone": st.sampled_from(["+306912345678", "12", "x"]),
    "a": JSON,
}
DATA = st.fixed_dictionaries({}, optional=GOOD) | st.fixed_dictionaries(
    {
        "sender": st.just("ACME"),
        "url": st.just("https://example.com/a"),
        "lang": st.just("el-GR"),
        "text": GOOD["text"],
        "pin": GOOD["pin"],
    },
    optional={"a": st.integers(), "label": GOOD["label"]},
)
PHONES = st.none() | st.text(max_size=20) | st.sampled_from(["+306912345678", "00306912345678", "+12025550123"])
EVENTS = st.builds(
    lambda kind, phone, data, whole: Notification("e", "e", kind, 0, None, None, Recipient(phone), data, whole),
    st.sampled_from(["standard", "transactional", "otp"]),
    PHONES,
    DATA,
    st.dictionaries(st.text(max_size=5), JSON, max_size=3),
)

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
LANGUAGES = frozenset(
    {
        *("ar", "be", "bg", "br", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hr", "id", "it", "ja", "ko"),
        *("my", "nl", "pl", "pt", "ru", "sk", "sr", "sv", "th", "tr", "uk", "vi"),
    }
)


def is_phone(value: object) -> bool:
    """E.164 with +."""
    return isinstance(value, str) and re.fullmatch(r"\+[1-9]\d{4,16}", value) is not None


def check_sms(step: dict[str, Any], *, otp: bool) -> None:
    """Routee's documentation: Standard Failover, OTP Failover."""
    assert is_phone(step["to"])
    assert step["message"]["body"].strip()
    if otp:
        assert set(step) <= {"type", "order", "to", "ttl", "label", "from", "message"}
        assert set(step["message"]) == {"body"}
        return
    sender = step["from"]
    assert (sender.isdigit() and len(sender) <= 16) or (1 <= len(sender) <= 11 and not sender.startswith("+"))
    assert "label" not in step
    assert len(step["message"]["label"]) <= 350
    assert step["message"]["label"].endswith(ATTEMPT)
    assert "ttl" not in step or (isinstance(step["ttl"], int) and 1 <= step["ttl"] <= 1440)


def check_viber(step: dict[str, Any], *, template: bool) -> None:
    """Routee's documentation: Standard Failover, Transactional Failover."""
    assert is_phone(step["to"])
    assert step["senderInfoTrackingId"].strip()
    assert "ttl" in step or not template
    if "ttl" in step:
        assert 0.5 <= step["ttl"] <= 1440
        assert round(step["ttl"] * 10) == step["ttl"] * 10
    if template:
        assert {"message", "label"}.isdisjoint(step)
        assert UUID.fullmatch(step["templateId"])
        assert step["templateLang"].strip()
        return
    assert {"templateId", "templateLang", "templateParams"}.isdisjoint(step)
    assert len(step["label"]) <= 350
    message = step["message"]
    assert len(message["text"].encode("utf-16-le")) // 2 <= 1000
    assert message["text"].strip()
    assert 1 <= len(message["action"]["caption"]) <= 30
    assert 1 <= len(message["viberFile"]["fileName"]) <= 25
    for url in (message["imageUrl"], message["viberFile"]["fileUrl"]):
        assert url.startswith("https://")
        assert len(url) <= 1000


def check_voice(step: dict[str, Any]) -> None:
    """Routee's documentation: Standard Failover."""
    assert {"ttl", "label", "message"}.isdisjoint(step)
    assert is_phone(step["to"]["phone"])
    assert (step["to"]["sip"], step["to"]["viber"]) == ("", "")
    assert step["from"].strip()
    assert all(verb["message"]["text"].strip() for verb in step["dialPlan"]["verbs"])


def check_otp(step: dict[str, Any]) -> None:
    """Routee's documentation: OTP Failover."""
    assert 4 <= len(step["pin"]) <= 10
    assert step["templateLang"] in LANGUAGES
    assert isinstance(step["ttl"], int)
    assert is_phone(step["to"])


def check(api: str, document: dict[str, Any]) -> None:
    """A whole body."""
    assert [step["order"] for step in document["flow"]] == list(range(1, len(document["flow"]) + 1))
    assert ("strategy" in document["callback"]) is (api != "otp")
    for step in document["flow"]:
        if step["type"] == "Sms":
            check_sms(step, otp=api == "otp")
        elif step["type"] == "Viber":
            check_viber(step, template=api == "transactional")
        elif step["type"] == "Voice":
            check_voice(step)
        else:
            assert (step["type"], api) == ("ViberOtp", "otp")
            check_otp(step)


@settings(max_examples=400, deadline=None)
@given(EVENTS)
def test_every_body_obeys_the_contract(notification: Notification) -> None:
    """No event makes routing or building raise anything but Unbuildable, and every body that is built keeps every limit."""
    refused: Unbuildable | None = None
    try:
        for rule in RULES.route(notification):
            request = build(notification, rule, ATTEMPT, "https://hooks.example.com/x")
            check(rule.api, body(request))
            assert len(request.signature) == len(request.channels) == len(body(request)["flow"])
            assert is_phone(request.recipient)
    except Unbuildable as error:
        refused = error
    assert refused is None or (re.fullmatch(r"[A-Z_]+", refused.reason) and refused.path)


def test_the_checker_sees_bodies() -> None:
    """The property above is not empty: an ordinary event of each kind is built and checked."""
    data = {"sender": "ACME", "text": "x", "url": "https://e.x/a", "lang": "en", "pin": "1234", "a": 1}
    for kind, expected in (("standard", 2), ("transactional", 1), ("otp", 1)):
        notification = Notification("e", "e", kind, 0, None, None, Recipient("+306912345678"), data, {})
        rules = RULES.route(notification)
        assert len(rules) == expected
        for rule in rules:
            check(rule.api, body(build(notification, rule, ATTEMPT, "https://h/x")))
