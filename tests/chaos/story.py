"""What every input record is and how it must end: a function of the seed and its number, so that nothing has to be remembered."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

import orjson

from connector.adapters import avro
from connector.core import identity
from connector.simulator import recipient_for
from tests.proof.facts import ExpectedFlow, Fate

RULES: Final = """
rules:
  - name: login-code
    match: {type: auth.login_code}
    steps:
      - viber_otp:
          sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10
          template: 0aac888f-2ee2-4112-9659-1755a951966a
          pin: "{{ data.code }}"
          ttl: 5s
      - sms: {from: ACME, body: "Your code is {{ data.code }}", ttl: 10s}
  - name: order-shipped
    match: {type: order.shipped}
    steps:
      - viber:
          sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10
          template: 1b6a4b43-4b7e-4a11-8a43-2f0d7d6c1e55
          lang: en
          params: {id: "{{ data.order_id }}"}
          ttl: 30s
      - sms: {from: ACME, body: "Order {{ data.order_id }} has shipped", ttl: 1m}
  - name: flash-sale
    match: {type: campaign.flash_sale}
    class: marketing
    callback: on_completion
    steps:
      - viber: {sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10, text: "50 % off today", ttl: 30s}
      - sms: {from: ACME, body: "50 % off today", ttl: 1m}
"""
NUMBER: Final = "chaos.number"
"""Header of every record: its number, eight bytes."""
LONGEST_CODE_MS: Final = 15_000.0
"""The steps of a login code take so long. With less time left they are cut; with too little, the code ends as EXPIRED before it expires."""
EXPIRY_MS: Final = {"otp": 180_000, "transactional": 6 * 3_600_000, "marketing": 24 * 3_600_000}

_RULE_OF: Final = {
    "auth.login_code": ("login-code", "otp"),
    "order.shipped": ("order-shipped", "transactional"),
    "campaign.flash_sale": ("flash-sale", "marketing"),
}
_USUAL: Final = ("viber_ok",) * 24 + (
    "viber_expired_sms_ok",
    "viber_expired_sms_ok",
    "all_fail",
    "seen_after_delivered",
    "duplicate_callbacks",
    "reordered_callbacks",
    "no_callbacks",
    "callback_before_answer",
)
_RARE: Final = (
    "rejected_400",
    "throttled_429",
    "unauthorized_once",
    "error_500_not_accepted",
    "error_500_accepted",
    "cut_before_accept",
    "cut_after_accept",
    "never_answering",
    "never_answering_accepted",
    "truncated_json",
    "cut_mid_body",
    "id_less_2xx",
    "redirected",
)
_RARE_SHARE: Final = 0.04
_KEYS: Final = 4000


@dataclass(frozen=True, slots=True)
class Story:
    """One record to be. ``repeats``: it is produced a second time, as producers do."""

    number: int
    event_id: str
    type: str
    scenario: str
    phone: str
    fate: Fate
    key: bytes
    garbage: bool
    repeats: bool
    code: str

    def value(self, now_ms: int) -> bytes:
        """The record's bytes at that time; JSON and Avro by turns."""
        if self.garbage:
            return b"\x00garbage" + self.number.to_bytes(8, "big")
        occurred_ms = now_ms - 48 * 3_600_000 if self.fate is Fate.EXPIRED else now_ms
        recipient: dict[str, Any] = {"phone": self.phone, "id": None, "locale": None, "timezone": None}
        data = {"code": self.code, "order_id": str(self.number)}
        body = {"event_id": self.event_id, "type": self.type, "recipient": recipient, "data": data}
        if self.number % 2:
            return orjson.dumps({**body, "occurred_at": occurred_ms})
        times = {"occurred_at": occurred_ms * 1000, "expires_at": None}
        return avro.schema("notification").single_object({**body, **times, "tenant": None})

    def flow(self, coordinates: str) -> ExpectedFlow:
        """Its only flow, once its first copy stands at ``topic/partition/offset``."""
        rule, message_class = _RULE_OF.get(self.type, ("", None))
        if self.garbage:
            return ExpectedFlow(identity.flow_id(coordinates, ""), "", None, self.fate, may_resend=False)
        may_resend = message_class in {"otp", "transactional"}
        return ExpectedFlow(identity.flow_id(self.event_id, rule), rule, message_class, self.fate, may_resend)

    def expires_ms(self, now_ms: int) -> float | None:
        """When it must not be sent any more, if it was produced at ``now_ms``."""
        message_class = _RULE_OF.get(self.type, ("", None))[1]
        return None if message_class is None or self.garbage or self.fate is Fate.EXPIRED else now_ms + EXPIRY_MS[message_class]


def story(seed: int, number: int) -> Story:
    """The ``number``-th record of a run."""
    chance = random.Random(seed * 1_000_003 + number)  # noqa: S311 - a mix, not a secret
    type_ = chance.choice(tuple(_RULE_OF))
    scenario = chance.choice(_RARE if chance.random() < _RARE_SHARE else _USUAL)
    if type_ == "auth.login_code" and number % 211 == 5:
        scenario = chance.choice(("otp_failed_0", "otp_failed_2", "silent"))
    phone = recipient_for(scenario, number % 100_000)
    fate = Fate.REJECTED if scenario in {"rejected_400", "otp_failed_2"} else Fate.SENT
    garbage = number % 194 == 7
    if number % 97 == 7:
        fate, phone = Fate.INVALID, "12"
    elif number % 101 == 13:
        fate, type_ = Fate.UNROUTED, "nobody.knows"
    elif number % 103 == 63:
        fate = Fate.EXPIRED
    return Story(
        number=number,
        event_id=f"chaos-{seed}-{number}",
        type=type_,
        scenario=scenario,
        phone=phone,
        fate=fate,
        key=b"customer-%d" % chance.randrange(_KEYS),
        garbage=garbage,
        repeats=number % 89 == 5,
        code=f"{chance.randrange(10**6):06d}",
    )
