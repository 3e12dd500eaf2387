"""What a rule says about itself: API, class, and the keys that the lane asks for."""

from __future__ import annotations

import pytest

from connector.core.model import Api, Channel, InDoubt, MessageClass
from connector.core.rules import CallbackMode, Limit, QuietHours
from connector.errors import Unbuildable
from tests.unit.rules_text import SENDER, TEMPLATE, document, event, load, one, problems

STEPS = {
    "sms": "- sms: {from: A, body: b, ttl: 2m}",
    "voice": '- voice: {from: "+302101234567", say: [{text: hi, language: en-GB}]}',
    "free": f"- viber: {{sender: {SENDER}, text: hi}}",
    "template": f"- viber: {{sender: {SENDER}, template: {TEMPLATE}, lang: en}}",
    "otp": f"- viber_otp: {{sender: {SENDER}, template: {TEMPLATE}, pin: '1234', ttl: 60s}}",
}


def flow(*kinds: str) -> str:
    """Steps of these kinds."""
    return "\n".join(STEPS[kind] for kind in kinds)


@pytest.mark.parametrize(
    ("kinds", "head", "api", "message_class"),
    [
        (("otp",), "", Api.OTP, MessageClass.OTP),
        (("otp", "sms"), "", Api.OTP, MessageClass.OTP),
        (("sms",), "class: otp", Api.OTP, MessageClass.OTP),
        (("sms", "sms"), "send: otp", Api.OTP, MessageClass.OTP),
        (("template",), "", Api.TRANSACTIONAL, MessageClass.TRANSACTIONAL),
        (("sms", "voice", "template"), "", Api.TRANSACTIONAL, MessageClass.TRANSACTIONAL),
        (("template",), "class: otp", Api.TRANSACTIONAL, MessageClass.OTP),
        (("sms",), "send: transactional", Api.TRANSACTIONAL, MessageClass.TRANSACTIONAL),
        (("sms",), "", Api.STANDARD, MessageClass.MARKETING),
        (("free", "sms", "voice"), "", Api.STANDARD, MessageClass.MARKETING),
        (("free",), "class: transactional", Api.STANDARD, MessageClass.TRANSACTIONAL),
        (("sms", "voice"), "class: otp", Api.STANDARD, MessageClass.OTP),
    ],
)
def test_send_and_class_follow_from_the_steps(kinds: tuple[str, ...], head: str, api: Api, message_class: MessageClass) -> None:
    """The decision table of docs/rules.md, and class from send unless it is given."""
    rule = one(flow(*kinds), head)
    assert (rule.api, rule.message_class) == (api, message_class)
    assert (rule.api_inferred, rule.class_inferred) == ("send" not in head, "class" not in head)


@pytest.mark.parametrize(
    ("kinds", "head", "words"),
    [
        (("otp", "voice"), "", "Voice is not available on the OTP API"),
        (("otp", "template"), "", "a Viber template step does not go with a Viber OTP step"),
        (("otp", "free"), "", "a free-form Viber step does not go with a Viber OTP step"),
        (("template", "free"), "", "free-form Viber is rejected (400) by POST /failover/transactional"),
        (("template",), "send: standard", "template fields are rejected (400) by POST /failover"),
        (("otp",), "send: standard", "for the OTP API only"),
        (("otp",), "send: transactional", "for the OTP API only"),
        (("free",), "send: transactional", "a free-form Viber step does not go with send: transactional"),
        (("sms", "voice"), "send: otp", "Voice is not available on the OTP API"),
        (("otp",), "class: marketing", "not for marketing"),
    ],
)
def test_steps_that_fit_no_api_are_refused_with_the_table(kinds: tuple[str, ...], head: str, words: str) -> None:
    """A flow that no single API takes is told at load, with the decision table as hint."""
    problem = problems(document(flow(*kinds), head))[0]
    assert words in problem
    assert "approved Viber template, Sms, Voice → transactional" in problem


@pytest.mark.parametrize(
    ("kinds", "head", "words"),
    [
        (("sms",), "", "marketing was only inferred"),
        (("template",), "class: marketing", "approved transactional templates"),
        (("otp",), "callback: on_completion", "no callback strategy"),
        (("sms",), "class: marketing", None),
        (("template",), "", None),
    ],
)
def test_warnings(kinds: tuple[str, ...], head: str, words: str | None) -> None:
    """What is possible but probably not meant is a warning with its line."""
    _, warnings = load(document(flow(*kinds), head))
    assert [words in str(warning) and str(warning).startswith("rules.yaml:") for warning in warnings if words] == ([True] if words else [])
    assert words or not warnings


def test_all_rule_keys() -> None:
    """Every key of a rule ends in the rule."""
    rule = one(
        flow("sms"),
        """
        class: transactional
        expires_after: 90m
        tenant: "{{ data.shop }}"
        label: mine
        in_doubt: never
        dedupe_key: "{{ data.id }}-{{ type }}"
        quiet_hours: {from: 21:30, to: 08:00, timezone: Europe/Athens}
        limit: {count: 3, per: 1d}
        callback: none
        continue: true
        """,
    )
    notification = event({"shop": "s1", "id": 7})
    assert (rule.name, rule.where, rule.expires_after_ms) == ("r", "rules.yaml:2", 5_400_000)
    assert (rule.tenant_of(notification), rule.dedupe_key_of(notification)) == ("s1", "7-t")
    assert (rule.in_doubt, rule.quiet_hours, rule.limit) == (InDoubt.NEVER, QuietHours(1290, 480, "Europe/Athens"), Limit(3, 86_400_000))
    assert (rule.callback, rule.continues, rule.default) == (CallbackMode.NONE, True, False)
    assert (rule.channels, rule.validity_ms) == ((Channel.SMS,), 120_000)


def test_defaults() -> None:
    """What a rule does not say is None, or the event's own."""
    rule = one(flow("sms"))
    assert (rule.tenant_of(event()), rule.dedupe_key_of(event()), rule.in_doubt, rule.expires_after_ms) == (None, None, None, None)
    assert (rule.callback, rule.continues) == (CallbackMode.ON_STEP, False)
    assert one(flow("sms"), "tenant: fixed").tenant_of(event()) == "fixed"


def test_a_tenant_that_is_missing() -> None:
    """A tenant that the event lacks is unbuildable, with its path."""
    with pytest.raises(Unbuildable) as refused:
        one(flow("sms"), 'tenant: "{{ data.shop }}"').tenant_of(event())
    assert refused.value.path == "rules.r.tenant"


def test_the_summary_says_what_was_inferred() -> None:
    """One line for ``check``."""
    steps = flow("template") + "\n- if: 'true'\n  sms: {from: A, body: b, ttl: 2h}\n"
    assert one(steps, "class: otp").summary() == (
        "r (rules.yaml:2): send: transactional (inferred), class: otp; viber template → sms (if); tries for at most 130m"
    )
    assert "viber otp" in one(flow("otp")).summary()


def test_two_loads_give_equal_rules() -> None:
    """Rules are values."""
    assert one(flow("sms", "free")) == one(flow("sms", "free"))
