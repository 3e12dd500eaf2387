"""What the lanes of this process hold now, told to the metrics from time to time: counted, not kept up, so that it can never drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from connector.core.flow import State
from connector.core.model import MessageClass
from connector.metrics import Metrics
from connector.services.lane import Lane

_WAITING = frozenset({State.NEW, State.PARKED, State.INTENT, State.NOT_SENT})
_OPEN = (State.NEW, State.PARKED, State.INTENT, State.NOT_SENT, State.DOUBT, State.ACCEPTED)


def tell(metrics: Metrics, lanes: Iterable[Lane], now_ms: int, unfetched_s: Mapping[str, float]) -> None:
    """Set the gauges that speak of flows, outputs and held input. Lanes between two claims hold nothing.

    ``unfetched_s``: for each input topic, the age in seconds of what waits to be fetched; 0 when all is.
    """
    states: Counter[State] = Counter()
    doubts: Counter[str] = Counter()
    waiting_s = dict(unfetched_s)
    oldest_ms = now_ms
    remembered = pending = held = 0
    for lane in lanes:
        waiting_s[lane.id.topic] = max(waiting_s.get(lane.id.topic, 0.0), (now_ms - _waits_since_ms(lane, now_ms)) / 1000)
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
    for topic, seconds in waiting_s.items():
        metrics.oldest_waiting_seconds.labels(topic).set(seconds)
    metrics.oldest_doubt_seconds.set((now_ms - oldest_ms) / 1000)
    metrics.ledger_flows.set(remembered)
    metrics.outputs_pending.set(pending)
    metrics.input_paused.labels("buffer").set(held)


def _waits_since_ms(lane: Lane, now_ms: int) -> int:
    """From when on the lane's oldest undecided event has waited. A doubt waits for Routee's tracking, and has a gauge of its own."""
    since_ms = [now_ms, *(live.since_ms for live in lane.flows.values() if live.flow.state in _WAITING)]
    if lane.backlog.oldest_ms is not None:
        since_ms.append(lane.backlog.oldest_ms)
    return min(since_ms)
