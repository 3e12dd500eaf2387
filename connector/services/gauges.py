"""What the lanes of this process hold now, told to the metrics from time to time: counted, not kept up, so that it can never drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from connector.core.flow import State
from connector.core.model import MessageClass
from connector.metrics import Metrics
from connector.services.lane import Lane

_OPEN = (State.NEW, State.PARKED, State.INTENT, State.NOT_SENT, State.DOUBT, State.ACCEPTED)


def tell(metrics: Metrics, lanes: Iterable[Lane], now_ms: int) -> None:
    """Set the gauges that speak of flows, outputs and held input. Lanes between two claims hold nothing."""
    states: Counter[State] = Counter()
    doubts: Counter[str] = Counter()
    oldest_ms = now_ms
    remembered = pending = held = 0
    for lane in lanes:
        for live in lane.flows.values():
            flow = live.flow
            if not flow.finished:
                states[flow.state] += 1
            if flow.state is State.DOUBT:
                doubts[flow.facts.message_class or ""] += 1
                oldest_ms = min([oldest_ms, *(line.at_ms for line in flow.attempts if line.outcome == "DOUBT")])
        remembered += len(lane.ledger.settled) + sum(len(event.open) for event in lane.ledger.events.values())
        pending += len(lane.emitter.unacked())
        held += lane.backlog.held
    for state in _OPEN:
        metrics.flows.labels(state.name.lower()).set(states[state])
    for kind in MessageClass:
        metrics.doubts.labels(kind).set(doubts[kind])
    metrics.oldest_doubt_seconds.set((now_ms - oldest_ms) / 1000)
    metrics.ledger_flows.set(remembered)
    metrics.outputs_pending.set(pending)
    metrics.input_paused.labels("buffer").set(held)
