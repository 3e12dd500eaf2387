"""Magic recipients: the last digits of ``+30 690 SS nnnnn`` say what becomes of a flow. ``SS`` is the scenario, ``nnnnn`` is free.

All of them are valid Greek mobile numbers. Any other recipient gets the default scenario (``mixed`` unless told otherwise).
A flow's first step decides. ``failover-connector simulate --list`` prints this table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from connector.simulator.faults import FAULTS, Fault

PREFIX = "30690"
_N_DIGITS = 5
_SCENARIO_DIGITS = 2
_LENGTH = len(PREFIX) + _SCENARIO_DIGITS + _N_DIGITS


class CallbackStyle(enum.Enum):
    """How the callbacks of a flow arrive."""

    PROMPT = "prompt"
    NONE = "none"
    LATE = "late"
    DUPLICATE = "duplicate"
    REORDERED = "reordered"  # all at the end, last first
    BEFORE_ANSWER = "before_answer"  # the first one before the answer of the send


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story. The three words are step outcomes known to ``walk.plan_step``; ``fault`` meets the first ``times`` POSTs (None: all)."""

    number: int
    name: str
    meaning: str
    viber: str = "delivered"
    sms: str = "delivered"
    voice: str = "completed"
    fault: Fault | None = None
    times: int | None = None
    flow_fails: int | None = None  # the whole flow fails later, with this statusCode
    callbacks: CallbackStyle = CallbackStyle.PROMPT
    is_slow: bool = False

    def outcome(self, channel: str) -> str:
        """The word for a step of ``Sms``, ``Viber`` or ``Voice``."""
        return {"Sms": self.sms, "Viber": self.viber}.get(channel, self.voice)


def _fault(number: int, name: str, fault: str, times: int | None, meaning: str) -> Scenario:
    return Scenario(number, name, meaning, fault=FAULTS[fault], times=times)


def _callbacks(number: int, name: str, style: CallbackStyle, meaning: str) -> Scenario:
    return Scenario(number, name, meaning, viber="expired", callbacks=style)


_TABLE: tuple[Scenario, ...] = (
    Scenario(0, "mixed", "by chance, from the seed: most steps succeed", viber="mixed", sms="mixed", voice="mixed"),
    # the walk
    Scenario(1, "viber_ok", "the first step succeeds, whatever its channel"),
    Scenario(2, "viber_expired_sms_ok", "Viber EXPIRED at its ttl, Sms Delivered; Voice NoAnswer", viber="expired", voice="no_answer"),
    Scenario(3, "all_fail", "every step fails: flow Failed, statusCode 2", viber="undelivered", sms="undelivered", voice="busy"),
    Scenario(4, "voice_busy_then_sms", "Voice Busy, the next step succeeds; Viber FAILED", voice="busy", viber="failed"),
    Scenario(5, "seen_after_delivered", "Viber DELIVERED ends the flow, SEEN comes later", viber="seen"),
    Scenario(
        6,
        "not_triggered",
        "the step ends in a status that is no trigger: Failed, statusCode 3",
        viber="unsent",
        sms="unsent",
        voice="terminated",
    ),
    Scenario(7, "server_error_later", "accepted, then the flow fails with statusCode 0", flow_fails=0),
    Scenario(8, "balance_later", "accepted, then the flow fails with statusCode 1", flow_fails=1),
    # refusals
    _fault(10, "rejected_400", "rejected", None, "400 for every POST"),
    _fault(11, "throttled_429", "throttled", 2, "429 with Retry-After for the first 2 POSTs"),
    _fault(12, "unauthorized_once", "unauthorized", 1, "401 for the first POST"),
    _fault(13, "balance_400", "balance", 1, "400001009 (OTP: 200 Failed 1) for the first POST"),
    _fault(14, "forbidden_once", "forbidden", 1, "403 for the first POST"),
    # doubt
    _fault(20, "error_500_not_accepted", "error_500", 1, "first POST: 500, nothing accepted"),
    _fault(21, "error_500_accepted", "error_500_accepted", 1, "first POST: 500, yet accepted"),
    _fault(22, "cut_before_accept", "cut", 1, "first POST: reset, nothing accepted"),
    _fault(23, "cut_after_accept", "cut_accepted", 1, "first POST: accepted, then reset"),
    _fault(24, "never_answering", "never", 1, "first POST: never answered, nothing accepted"),
    _fault(25, "never_answering_accepted", "never_accepted", 1, "first POST: never answered, yet accepted"),
    _fault(26, "truncated_json", "truncated", 1, "first POST: accepted, half a JSON document"),
    _fault(27, "cut_mid_body", "cut_body", 1, "first POST: accepted, the body breaks off"),
    _fault(28, "id_less_2xx", "id_less", 1, "first POST: accepted, 200 without an id"),
    _fault(29, "redirected", "redirect", 1, "first POST: 307, nothing accepted"),
    # OTP's 200 Failed
    _fault(30, "otp_failed_0", "otp_failed_0", 2, "OTP: 200 Failed 0 for the first 2 POSTs; else the flow fails with 0"),
    _fault(31, "otp_failed_1", "otp_failed_1", 1, "OTP: 200 Failed 1 for the first POST; else the flow fails with 1"),
    _fault(32, "otp_failed_2", "otp_failed_2", None, "OTP: 200 Failed 2 for every POST; else the flow fails with 2"),
    _fault(33, "otp_failed_3", "otp_failed_3", None, "OTP: 200 Failed 3 for every POST; else the flow fails with 3"),
    # callbacks; Viber expires and Sms delivers, so that there are several
    Scenario(40, "silent", "accepted, no callbacks, InProgress for ever", "silent", "silent", "silent", callbacks=CallbackStyle.NONE),
    _callbacks(41, "no_callbacks", CallbackStyle.NONE, "no callbacks; tracking works"),
    _callbacks(42, "late_callbacks", CallbackStyle.LATE, "callbacks come SimulatorOptions.late_callback_s later"),
    _callbacks(43, "duplicate_callbacks", CallbackStyle.DUPLICATE, "every callback comes twice"),
    _callbacks(44, "reordered_callbacks", CallbackStyle.REORDERED, "callbacks come after the flow's end, last first"),
    Scenario(45, "callback_before_answer", "the first callback comes before the send is answered", callbacks=CallbackStyle.BEFORE_ANSWER),
    Scenario(50, "slow", "the answer takes n mod 100 seconds (n: last digits of the number)", is_slow=True),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _TABLE}
_BY_NUMBER = {f"{scenario.number:0{_SCENARIO_DIGITS}d}": scenario for scenario in _TABLE}


def recipient_for(scenario: str, n: int = 0) -> str:
    """The ``n``-th magic number (0..99999) of a scenario, E.164 with ``+``. Raises ValueError."""
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}; there are: {', '.join(SCENARIOS)}")
    if not 0 <= n < 10**_N_DIGITS:
        raise ValueError(f"n must be between 0 and {10**_N_DIGITS - 1}")
    return f"+{PREFIX}{SCENARIOS[scenario].number:0{_SCENARIO_DIGITS}d}{n:0{_N_DIGITS}d}"


def scenario_of(digits: str) -> Scenario | None:
    """The scenario of a magic number (digits only, with country code), None for any other number."""
    if len(digits) != _LENGTH or not digits.startswith(PREFIX):
        return None
    return _BY_NUMBER.get(digits[len(PREFIX) : len(PREFIX) + _SCENARIO_DIGITS])


def slow_seconds(digits: str) -> int:
    """How long the answer to a ``slow`` number takes."""
    return int(digits[-2:])
