"""What can go wrong with one answer, and how often: by magic recipient (scenarios.py), by rate, or for a while at run time."""

from __future__ import annotations

import dataclasses
import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Wire(enum.Enum):
    """What happens on the connection instead of, or to, the answer."""

    WHOLE = "whole"
    RESET = "reset"  # RST without an answer
    SILENCE = "silence"  # the connection stays open, nothing is ever written
    CUT_BODY = "cut_body"  # headers promise more body than comes before FIN
    HALF_JSON = "half_json"  # whole HTTP, half a JSON document


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail a request. ``accepts``: the provider took the flow although the answer does not say so."""

    name: str
    meaning: str
    accepts: bool = False
    status: int | None = None  # of the answer; None: the ordinary one
    wire: Wire = Wire.WHOLE
    otp_code: int | None = None  # statusCode of an OTP 200 Failed


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("rejected", "400", status=400),
        Fault("throttled", "429 with Retry-After", status=429),
        Fault("unauthorized", "401", status=401),
        Fault("forbidden", "403", status=403),
        Fault("redirect", "307 to another place", status=307),
        Fault("error_500", "500, not accepted", status=500),
        Fault("error_500_accepted", "500, although accepted", status=500, accepts=True),
        Fault("error_503", "503, not accepted", status=503),
        Fault("cut", "connection reset, not accepted", wire=Wire.RESET),
        Fault("cut_accepted", "connection reset after the flow was accepted", wire=Wire.RESET, accepts=True),
        Fault("never", "no answer ever, not accepted", wire=Wire.SILENCE),
        Fault("never_accepted", "no answer ever, although accepted", wire=Wire.SILENCE, accepts=True),
        Fault("truncated", "accepted; whole HTTP answer, half a JSON document", wire=Wire.HALF_JSON, accepts=True),
        Fault("cut_body", "accepted; the body ends before Content-Length", wire=Wire.CUT_BODY, accepts=True),
        Fault("id_less", "accepted; 200 without an id", status=200, accepts=True),
        Fault("balance", "insufficient balance: 400001009, or OTP 200 Failed with 1", status=400, otp_code=1),
        Fault("otp_failed_0", "OTP: 200 Failed, statusCode 0", otp_code=0),
        Fault("otp_failed_1", "OTP: 200 Failed, statusCode 1", otp_code=1),
        Fault("otp_failed_2", "OTP: 200 Failed, statusCode 2", otp_code=2),
        Fault("otp_failed_3", "OTP: 200 Failed, statusCode 3", otp_code=3),
    )
}

_PAIR = 2
_ANSWER_ONLY = frozenset(
    {"rejected", "throttled", "unauthorized", "forbidden", "redirect", "error_500", "error_503", "cut", "never", "truncated", "cut_body"}
)


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates of faults over all requests. ``sends``, ``tracking`` and ``tokens`` map names of ``FAULTS`` to probabilities (0..1).

    ``tracking`` and ``tokens`` know only faults without an acceptance; a 401 storm is ``sends`` and ``tracking`` with ``unauthorized: 1``.
    """

    sends: Mapping[str, float] = field(default_factory=dict)
    tracking: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    retry_after_s: float | None = 1.0  # of every 429; None: no Retry-After header
    latency_s: tuple[float, float] | None = None  # over SimulatorOptions.latency_s
    balance: float = 100.0  # ≤ 0: every send is refused, GET /accounts/me/balance shows it
    callback_loss: float = 0.0
    callback_duplicate: float = 0.0
    callback_delay_s: float = 0.0  # provider time, added to every callback
    callback_reorder: float = 0.0  # held back until the flow's next one is out; the last one never is
    callback_late: float = 0.0
    callback_late_s: float = 300.0  # provider time, added to those that are late

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown fault name or a rate outside 0..1."""
        for group, known in (("sends", FAULTS.keys()), ("tracking", _ANSWER_ONLY), ("tokens", _ANSWER_ONLY)):
            for name, rate in getattr(self, group).items():
                if name not in known:
                    raise ValueError(f"{group}: unknown fault {name!r}; there are: {', '.join(sorted(known))}")
                _check_rate(f"{group}.{name}", rate)
        for name in ("callback_loss", "callback_duplicate", "callback_reorder", "callback_late"):
            _check_rate(name, getattr(self, name))
        durations = (
            self.callback_delay_s,
            self.callback_late_s,
            0 if self.retry_after_s is None else self.retry_after_s,
            *(self.latency_s or ()),
        )
        if not all(_is_number(value) and value >= 0 for value in durations) or not _is_number(self.balance):
            raise ValueError("durations must be numbers of seconds, the balance a number")
        if self.latency_s is not None and len(self.latency_s) != _PAIR:
            raise ValueError("latency_s must be [least, most]")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_rate(name: str, rate: float) -> None:
    if not _is_number(rate) or not 0 <= rate <= 1:
        raise ValueError(f"{name}: {rate!r} is no rate between 0 and 1")


class FaultBoard:
    """The faults in force now: a standing setting, and changes that last for a while. ``clock`` gives seconds."""

    def __init__(self, standing: Faults, clock: Callable[[], float], rng: random.Random) -> None:
        self._standing = standing
        self._passing: list[tuple[float, dict[str, Any]]] = []
        self._clock = clock
        self._rng = rng
        self._now = standing

    def change(self, changes: Mapping[str, Any], for_s: float | None = None) -> Faults:
        """Put ``changes`` (fields of Faults) in force, for good or for ``for_s`` seconds. Raises ValueError, then nothing has changed."""
        known = {entry.name for entry in dataclasses.fields(Faults)}
        if unknown := set(changes) - known:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}")
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
        try:
            changed = dataclasses.replace(self._standing, **plain)
        except (TypeError, AttributeError):
            raise ValueError("wrong type") from None
        if for_s is None:
            self._standing = changed
        else:
            self._passing.append((self._clock() + for_s, plain))
        self._fold()
        return self._now

    def now(self) -> Faults:
        """What is in force at this moment."""
        if self._passing and min(until for until, _ in self._passing) <= self._clock():
            self._fold()
        return self._now

    def draw(self, rates: Mapping[str, float]) -> Fault | None:
        """At most one fault, by one throw of the dice over all rates."""
        if not rates:
            return None
        throw = self._rng.random()
        for name, rate in rates.items():
            if throw < rate:
                return FAULTS[name]
            throw -= rate
        return None

    def _fold(self) -> None:
        now = self._clock()
        self._passing = [(until, changes) for until, changes in self._passing if until > now]
        folded = self._standing
        for _, changes in self._passing:
            folded = dataclasses.replace(folded, **changes)
        self._now = folded
