"""What happens to the demo's people. A story is a kind of event, what Routee makes of it, and how it must end."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connector.core.model import MessageClass

OTP, TRANSACTIONAL, MARKETING = MessageClass.OTP, MessageClass.TRANSACTIONAL, MessageClass.MARKETING


@dataclass(frozen=True, slots=True)
class Story:
    """``scenario`` names the simulator's story of the recipient; ``ends`` the outcome of the SendEvent.

    ``rule`` is empty where none is reached; ``raw`` replaces the whole record; ``late_s``: how long ago it happened.
    """

    type: str
    rule: str
    message_class: MessageClass | None
    scenario: str
    ends: str = "ACCEPTED"
    data: Mapping[str, Any] = field(default_factory=dict)
    late_s: float = 0.0
    phone: str | None = None  # instead of the scenario's
    raw: bytes | None = None

    @property
    def is_dead(self) -> bool:
        """Ends as a dead letter."""
        return self.ends == "INVALID"


def _login(scenario: str, ends: str = "ACCEPTED", **other: Any) -> Story:  # noqa: ANN401 - fields of Story
    return Story("auth.login_code", "login-code", OTP, scenario, ends, **{"data": {"code": "428190"}, **other})


def _order(scenario: str, ends: str = "ACCEPTED", **other: Any) -> Story:  # noqa: ANN401 - fields of Story
    return Story("order.shipped", "order-shipped", TRANSACTIONAL, scenario, ends, **{"data": {"order_id": "GR-20418"}, **other})


def _sale(scenario: str, ends: str = "ACCEPTED", **other: Any) -> Story:  # noqa: ANN401 - fields of Story
    return Story("campaign.flash_sale", "flash-sale", MARKETING, scenario, ends, **{"data": {"percent": 40}, **other})


_RESET = Story("auth.password_reset", "password-reset", OTP, "viber_ok", data={"code": "771204"})
_VISIT = Story("appointment.reminder", "appointment-reminder", TRANSACTIONAL, "viber_ok", data={"starts_at": "10:30", "place": "Ermou 1"})
_BILL = Story("invoice.issued", "invoice", TRANSACTIONAL, "seen_after_delivered", data={"pdf_url": "https://cdn.example.com/invoice.pdf"})
_ALERT = Story("security.sign_in", "security-alert", TRANSACTIONAL, "voice_busy_then_sms", data={"severity": "high"})
_VIDEO = Story("campaign.video", "product-video", MARKETING, "viber_ok")
_CALL = Story("courier.at_door", "courier-at-door", TRANSACTIONAL, "viber_ok")
_SILENT = Story("courier.at_door", "courier-at-door", TRANSACTIONAL, "silent")
_NO_RULE = Story("newsletter.opened", "", None, "viber_ok", "UNROUTED")
_NO_TYPE = Story("", "", None, "viber_ok", "INVALID", raw=b'{"event_id": null, "recipient": {"phone": "+306900100000"}}')
_CUT_JSON = Story("", "", None, "viber_ok", "INVALID", raw=b'{"event_id": "e-1", "type": "order.shi')
_CUT_AVRO = Story("", "", None, "viber_ok", "INVALID", raw=b"\xc3\x01\x00\x01\x02\x03\x04\x05\x06\x07 no schema has this fingerprint")

_MINUTES = 60.0
_SPECIAL: Final[Sequence[Story]] = (
    # fails over, each class
    _login("viber_expired_sms_ok"),
    _order("viber_expired_sms_ok"),
    _sale("viber_expired_sms_ok"),
    # never sent
    _login("viber_ok", "EXPIRED", late_s=15 * _MINUTES),
    _CUT_JSON,
    _NO_RULE,
    # Routee says no, or not now
    _order("rejected_400", "REJECTED"),
    _order("throttled_429"),
    # doubt: sent, and no answer
    _login("cut_after_accept"),
    _login("cut_before_accept"),
    _sale("cut_before_accept", "UNKNOWN"),
    # callbacks that do not come, or come wrongly
    _SILENT,
    _order("no_callbacks"),
    _sale("duplicate_callbacks"),
    # the second round of all that
    _ALERT,
    _login("all_fail"),
    _order("never_answering_accepted"),
    _order("error_500_not_accepted"),
    _sale("all_fail"),
    _login("viber_ok", "INVALID", data={}),
    _sale("rejected_400", "REJECTED"),
    _order("reordered_callbacks"),
    _sale("truncated_json"),
    _sale("viber_ok", "EXPIRED", late_s=600 * _MINUTES),
    _order("viber_ok", "INVALID", phone="+30 690"),
    _login("throttled_429"),
    _order("late_callbacks"),
    _NO_TYPE,
    _CUT_AVRO,
    _sale("seen_after_delivered"),
    _order("callback_before_answer"),
    _login("otp_failed_0"),
    _order("unauthorized_once"),
)
_PLAIN: Final[Sequence[Story]] = (
    *[_login("viber_ok")] * 10,
    *[_RESET] * 5,
    *[_order("viber_ok")] * 9,
    *[_sale("viber_ok")] * 10,
    _login("viber_expired_sms_ok"),
    _order("viber_expired_sms_ok"),
    _sale("viber_expired_sms_ok"),
    _VISIT,
    _BILL,
    _VIDEO,
    _CALL,
)
_SPECIAL_SHARE: Final = 2  # every second event, as long as there are new stories
_ROUND: Final = len(_SPECIAL) * 3  # so many events before the special stories come again


def draw(count: int, rng: random.Random) -> list[Story]:
    """``count`` stories, mixed; the special ones first in line, so that few events show them too. The same for the same chance."""
    chosen: list[Story] = []
    while len(chosen) < count:
        wanted = min(_ROUND, count - len(chosen))
        special = list(_SPECIAL[: max(1, wanted // _SPECIAL_SHARE)])
        plain = [rng.choice(_PLAIN) for _ in range(wanted - len(special))]
        chosen += rng.sample(special + plain, wanted)
    return chosen
