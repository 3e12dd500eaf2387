"""What the lane's moves mean for the metrics."""

from __future__ import annotations

from connector.core.flow import Flow, State
from connector.core.model import Outcome, Refused, Rejected
from connector.metrics import Metrics
from connector.services.live import Live
from connector.services.parts import Parts

_WORDS = {"Accepted": "accepted", "Rejected": "rejected", "Refused": "refused", "NotSent": "not_sent", "Doubt": "doubt"}


def attempt(parts: Parts, live: Live, outcome: Outcome) -> None:
    """A POST has ended."""
    metrics, facts = parts.metrics, live.flow.facts
    metrics.attempts.labels(facts.api, _WORDS[type(outcome).__name__]).inc()
    if (live.posted_at is not None and isinstance(outcome, Rejected | Refused)) or type(outcome).__name__ == "Accepted":
        metrics.provider_seconds.observe(parts.clock.boot() - (live.posted_at or parts.clock.boot()))
    if live.flow.attempt == 1 and live.record is not None:
        metrics.send_seconds.observe(max(0.0, (parts.clock.now_ms() - live.record.timestamp_ms) / 1000))


def change(metrics: Metrics, before: Flow, after: Flow) -> None:
    """A valid row has changed a flow."""
    facts = after.facts
    if before.state is not after.state:
        if after.state is State.DOUBT:
            metrics.doubts.labels(facts.message_class).inc()
        elif before.state is State.DOUBT:
            metrics.doubts.labels(facts.message_class).dec()
        if before.state is State.UNKNOWN:
            metrics.corrections.inc()
    if after.resent and not before.resent:
        metrics.resends.labels(facts.message_class).inc()
    if len(after.duplicates) > len(before.duplicates):
        metrics.double_accepts.labels(facts.message_class).inc()
    for _, event in after.pending:
        if event.kind == "send" and event not in (entry for _, entry in before.pending):
            metrics.sends.labels(facts.api or "", facts.message_class or "", str(event.body["outcome"])).inc()
        elif event.kind == "status" and event not in (entry for _, entry in before.pending):
            metrics.statuses.labels(facts.api or "", str(event.body["status"]), str(event.body["origin"])).inc()
