"""What the lane's moves mean for metrics and for the log."""

from __future__ import annotations

from connector.core.flow import Flow, State
from connector.core.model import Accepted, FlowReport, NotSent, Outcome, RefusalKind, Refused
from connector.logs import get_logger
from connector.metrics import Metrics
from connector.services.live import Live, named
from connector.services.parts import Parts

log = get_logger("counts")
_WORDS = {"Accepted": "accepted", "Rejected": "rejected", "Refused": "refused", "NotSent": "not_sent", "Doubt": "doubt"}
_MOST_TOLD = 100
_told: set[str] = set()
_RESOLUTIONS = {State.ACCEPTED: "found", State.INTENT: "resend", State.UNKNOWN: "unknown"}


def attempt(parts: Parts, live: Live, outcome: Outcome) -> None:
    """A POST has ended."""
    metrics, facts = parts.metrics, live.flow.facts
    metrics.attempts.labels(facts.api, _WORDS[type(outcome).__name__]).inc()
    if isinstance(outcome, Accepted) and outcome.report is not None:
        words(metrics, outcome.report)
    if isinstance(outcome, Refused) and outcome.kind is RefusalKind.THROTTLED:
        parts.throttle.slow_down()
    if isinstance(outcome, NotSent) and outcome.reason != "lease_over":
        parts.throttle.unreachable(outcome.reason)
    if live.flow.attempt == 1 and live.record is not None and live.posted_at is not None and not isinstance(outcome, NotSent):
        took_s = parts.clock.boot() - live.posted_at
        metrics.send_seconds.observe(max(0.0, (parts.clock.now_ms() - live.record.timestamp_ms) / 1000 - took_s))


def words(metrics: Metrics, report: FlowReport) -> None:
    """A document of the provider was read."""
    if report.unknown_words:
        metrics.status_words_unknown.inc(len(report.unknown_words))
        for word in set(report.unknown_words) - _told:
            if len(_told) < _MOST_TOLD:  # once for each: they are few, or no words
                _told.add(word)
                log.warning("status_word_unknown", word=word, tracking_id=report.tracking_id)


def change(metrics: Metrics, before: Flow, after: Flow) -> None:
    """A valid row has changed a flow."""
    facts = after.facts
    disproven = before.guessed and after.tracking_id != before.tracking_id
    if disproven or (before.state is State.UNKNOWN and after.state is not State.UNKNOWN):
        metrics.corrections.inc()
    if disproven or (before.state is not after.state and after.state.settled):
        _decided(before, after)
    if before.state is State.DOUBT and after.state is not State.DOUBT:
        _resolved(after)
    if after.resent and not before.resent:
        metrics.resends.labels(facts.message_class).inc()
    if len(after.duplicates) > len(before.duplicates):
        metrics.double_accepts.labels(facts.message_class).inc()
        log.error("double_accept", **named(facts), tracking_id=after.tracking_id, other=after.duplicates[-1])
    for _, event in after.pending:
        if event.kind == "send" and event not in (entry for _, entry in before.pending):
            metrics.sends.labels(facts.api or "", facts.message_class or "", str(event.body["outcome"])).inc()
        elif event.kind == "status" and event not in (entry for _, entry in before.pending):
            metrics.statuses.labels(facts.api or "", str(event.body["status"]), str(event.body["origin"])).inc()


def _resolved(after: Flow) -> None:
    """A doubt has ended. Found is good news; anything else is worth a look."""
    say = log.info if after.state is State.ACCEPTED else log.warning
    resolution = _RESOLUTIONS.get(after.state, after.state.name.lower())
    why = {"reason": after.reason} if after.reason else {}
    say("doubt_resolved", **named(after.facts), resolution=resolution, **why)


def _decided(before: Flow, after: Flow) -> None:
    """A send decision, or the correction of one. Its line is for looking closely: at full rate there are a thousand of them in a second."""
    said = {"outcome": after.state.name, "reason": after.reason, "tracking_id": after.tracking_id, "attempt": after.attempt}
    if before.state.settled:
        log.warning("send_corrected", **named(after.facts), before=before.state.name, **said)
    else:
        log.debug("send_decided", **named(after.facts), **said)
