"""What may stop a flow just before its INTENT, in order (docs/how-it-works.md); asked again for each resend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.flow import Ended, Facts, State
from connector.core.model import MessageClass
from connector.services.live import Live

if TYPE_CHECKING:
    from connector.services.lane import Lane


def gate(lane: Lane, live: Live) -> Ended | None:
    """How the flow ends instead of being sent; None: it may go on."""
    flow = live.flow
    if flow.called:
        return Ended(State.UNKNOWN, "called_back")
    if flow.state is State.DOUBT and flow.overtaken:
        return Ended(State.UNKNOWN, "overtaken")
    if flow.facts.expires_at_ms <= lane.parts.clock.now_ms():
        return _instead(live, State.EXPIRED, "expired")
    if lane.newest.supersedes(flow.facts):
        return _instead(live, State.SUPPRESSED, "superseded")
    if flow.ever_doubted and flow.facts.rules_version != lane.parts.rules().version:
        return Ended(State.UNKNOWN, "rules_changed")  # the resend would be another message
    return None


def _instead(live: Live, state: State, reason: str) -> Ended:
    """A flow that may have been sent cannot be called unsent: what forbids a resend leaves it UNKNOWN."""
    return Ended(State.UNKNOWN if live.flow.ever_doubted else state, reason)


class Newest:
    """A waiting code is worthless once a newer one exists: same rule and recipient, later ``occurred_at``."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, bytes], tuple[int, int]] = {}  # latest occurred_at, latest expiry: not always of the same code

    def note(self, facts: Facts) -> None:
        """This flow exists. One of which no message could be made is no newer code."""
        if facts.message_class is MessageClass.OTP and facts.recipient_hash is not None and facts.channels:
            key = (facts.rule, facts.recipient_hash)
            occurred_ms, expires_ms = self._newest.get(key, (0, 0))
            self._newest[key] = max(facts.occurred_at_ms, occurred_ms), max(facts.expires_at_ms, expires_ms)

    def supersedes(self, facts: Facts) -> bool:
        """A newer one than this flow is known."""
        if facts.recipient_hash is None or facts.message_class is not MessageClass.OTP:
            return False
        return self._newest.get((facts.rule, facts.recipient_hash), (0, 0))[0] > facts.occurred_at_ms

    def prune(self, now_ms: int) -> None:
        """Forget phones whose codes have all expired, the older ones too: nothing can be waiting any more."""
        self._newest = {key: times for key, times in self._newest.items() if times[1] > now_ms}
