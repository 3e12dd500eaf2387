"""When an attempt that is known not to be accepted is followed by another (docs/how-it-works.md)."""

from __future__ import annotations

from dataclasses import dataclass

from connector.core.backoff import Backoff
from connector.core.flow import Attempt
from connector.core.model import NotSent, Outcome, RefusalKind, Refused, Rejected
from connector.services.parts import Policy
from connector.services.throttle import Breaker

_SERVER_TRIES = 3
_BACKOFF = Backoff(first_ms=200, cap_ms=30_000)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay_ms``; ``release``: the wait is too long to hold the key and the memory, so the flow is parked."""

    delay_ms: int
    reason: str
    release: bool
    breaker: Breaker | None = None


def retry_after(outcome: Outcome, tries: int, policy: Policy, chance: float, *, refused_before: bool = False) -> Retry:
    """``outcome`` is NotSent or Refused; ``tries`` counts it, from 1. ``refused_before``: the attempt before this met 401 or 403, too."""
    backoff_ms = _BACKOFF.delay_ms(tries, chance)
    reason, breaker = "retry", None
    if isinstance(outcome, NotSent):
        reason = outcome.reason
    if isinstance(outcome, Refused):
        reason = outcome.reason
        if outcome.kind is RefusalKind.AUTH:
            # The first refusal may be a stale token: one new token at once. The second is the account's, and so is that of a token itself.
            refused = refused_before or not outcome.posted
            backoff_ms, breaker = (_probe_ms(policy), Breaker.AUTH) if refused else (0, None)
        elif outcome.kind is RefusalKind.BALANCE:
            backoff_ms, breaker = _probe_ms(policy), Breaker.BALANCE
        elif outcome.retry_after_ms is not None:
            backoff_ms = max(outcome.retry_after_ms, backoff_ms)
    return Retry(backoff_ms, reason, backoff_ms > policy.short_retry_s * 1000 or breaker is not None, breaker)


def limited(outcome: Outcome, attempts: tuple[Attempt, ...]) -> Outcome:
    """OTP's 200 Failed with statusCode 0 is met three times at most; then it is the provider's no."""
    if not isinstance(outcome, Refused) or outcome.kind is not RefusalKind.SERVER:
        return outcome
    earlier = sum(line.outcome == "REFUSED" and line.reason == outcome.reason for line in attempts)
    if earlier + 1 < _SERVER_TRIES:
        return outcome
    return Rejected(outcome.http_status, outcome.reason, outcome.detail)


def _probe_ms(policy: Policy) -> int:
    return int(policy.breaker_probe_s * 1000)
