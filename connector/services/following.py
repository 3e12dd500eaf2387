"""After the send: callbacks, polls, and the deadline that lets no flow stay open for ever (docs/how-it-works.md)."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.core import identity, outlook
from connector.core.flow import Flow, IllegalMove, Reported, Silent, State
from connector.core.model import DeadLetter, FlowReport, Origin, Record
from connector.logs import get_logger
from connector.ports import Callback, Heard, Unanswered
from connector.services import counts, letters, planning
from connector.services.live import Live, named
from connector.services.polls import POSTPONED, Postponed

if TYPE_CHECKING:
    from connector.services.lane import Lane

log = get_logger("following")
_DEFERRED_MS, _LONGEST_DEFERRED_MS, _MOST_DEFERRED = 2000, 60_000, 6
_FIRST_AGAIN_S, _LAST_AGAIN_S = 5.0, 600.0  # between two last questions that nobody answered
_PATIENCE_S = 3600.0  # so long a last question is repeated
_UNSENT = frozenset({State.NEW, State.UNROUTED, State.INVALID})


def next_poll_ms(lane: Lane, live: Live) -> int:
    """The next point of the schedule (``outlook.poll_ms``), at the latest the deadline; behind it, the next try of the last question.

    As the wall clock would have it now: only how far away it is counts.
    """
    policy, kind = lane.parts.policy, live.flow.facts.message_class
    schedule_s = policy.class_schedules_s.get(kind, policy.poll_schedule_s) if kind is not None else policy.poll_schedule_s
    now_ms = lane.parts.clock.now_ms()
    left_ms = math.ceil((_ends_at(lane, live) - lane.parts.clock.boot()) * 1000)
    if live.poll_deferred:  # its budget was spent: a little later instead of at the next point, and later each time
        wait_ms = min(_DEFERRED_MS * 2 ** (live.poll_deferred - 1), _LONGEST_DEFERRED_MS) * outlook.jitter_of(live.id)
        return now_ms + int(min(wait_ms, left_ms) if left_ms > 0 else wait_ms)
    if live.unanswered:
        again_s = min(_FIRST_AGAIN_S * 2.0 ** (live.unanswered - 1), _LAST_AGAIN_S)
        return now_ms + int(again_s * 1000 * outlook.jitter_of(live.id))
    return min(now_ms + left_ms, outlook.poll_ms(live.flow, schedule_s, now_ms))


def _ends_at(lane: Lane, live: Live) -> float:
    """Boot clock of the flow's deadline: as far away as it was when this process learnt of the acceptance, whatever the wall clock does."""
    if live.ends_at is None:
        given_ms = int(lane.parts.policy.flow_deadline_s * 1000)
        left_ms = outlook.deadline_ms(live.flow, given_ms) - lane.parts.clock.now_ms()
        most_ms = live.flow.facts.ttl_total_ms + given_ms  # it was accepted in the future: the clock was set back since
        live.ends_at = lane.parts.clock.boot() + min(left_ms, most_ms) / 1000
    return live.ends_at


async def poll(lane: Lane, live: Live) -> None:
    """Ask the provider about a silent flow; at its deadline end it as UNKNOWN, reason ``silent``.

    Only an answer tells that the provider knows no end: a last question that nobody answered is asked again, for an hour.
    """
    facts, tracking_id = live.flow.facts, live.flow.tracking_id
    if facts.api is None or tracking_id is None:
        return
    overdue = lane.parts.clock.boot() >= _ends_at(lane, live)
    alone, live.poll_alone = live.poll_alone, False
    answer = await lane.parts.polls.ask(lane, live, facts.api, tracking_id, last=overdue, alone=alone)
    live.poll_deferred = min(live.poll_deferred + 1, _MOST_DEFERRED) if answer is POSTPONED else 0
    if isinstance(answer, Postponed) or live.flow.tracking_id != tracking_id:
        return
    before = live.flow
    if isinstance(answer, Unanswered):
        result = "not_found" if answer.reason == "not_found" else "unanswered"
    else:
        counts.words(lane.parts.metrics, answer)
        after = await lane.settle(live, Reported(answer, Origin.POLL, asked=tracking_id))
        result = "unchanged" if after is before else "changed"
    lane.parts.metrics.polls.labels(result).inc()
    if overdue and not live.flow.finished and (result != "unanswered" or _in_vain(lane, live)):
        lane.parts.metrics.silent_flows.labels(facts.api.value).inc()
        log.warning("flow_silent", **named(live.flow.facts), tracking_id=tracking_id)
        await lane.settle(live, Silent())


def _in_vain(lane: Lane, live: Live) -> bool:
    """One more last question without an answer: whether it has been so for long enough."""
    now = lane.parts.clock.boot()
    if live.unanswered == 0:
        live.unanswered_since = now
    live.unanswered += 1
    return now - live.unanswered_since >= _PATIENCE_S


async def hear(lane: Lane, heard: Heard, prove: Callable[[], Awaitable[None]], waits: Callable[[], None]) -> None:
    """Apply one callback. It may come before the send's answer, twice, late, out of order, or for nobody: then it is a dead letter.

    The letter is acknowledged before the callback counts as taken, so that no crash can lose it; ``waits`` is called when that
    takes long. Raises LaneLost, LaneStopped.
    """
    callback = heard.callback
    if callback is None:
        letter = _callback_letter("CALLBACK_UNREADABLE", "the bytes are no callback", heard.record)
        await letters.put(lane, letter, {"lane": str(lane.id)}, waits)
    else:
        live = await _find(lane, callback)
        if live is None or live.flow.state in _UNSENT:
            await _orphan(lane, heard.record, callback, live, prove, waits)
        else:
            report, before = callback.report, live.flow
            counts.words(lane.parts.metrics, report)
            try:
                await lane.settle(live, Reported(report, Origin.CALLBACK, callback.attempt))
            except IllegalMove:
                if live.flow.state not in _UNSENT:
                    raise
                await _orphan(lane, heard.record, callback, live, prove, waits)  # it ended unsent while the callback waited for its turn
            if report.status is None and (report.tracking_id is None or report == FlowReport(report.tracking_id, None)):
                # Nobody could read its body, or the status in it: ask instead. A doubt's search is hurried by the first one only.
                live.poll_alone = not live.flow.finished
                if live.flow.state is State.ACCEPTED or live.flow is not before:
                    lane.agenda.schedule(live, now=live.poll_alone)
        if live is not None:
            lane.let_go(live)
    lane.callbacks.done(heard.record.offset)


async def _find(lane: Lane, callback: Callback) -> Live | None:
    """The flow that was called back. While its first row is on its way, nobody can say whether it was sent: that is waited for."""
    live = lane.flows.get(callback.flow_id)
    if live is not None and live.flow.state is State.NEW:
        async with live.lock:
            pass
        live = lane.flows.get(callback.flow_id)
    return live or await _revive(lane, callback)


async def _orphan(
    lane: Lane, record: Record, callback: Callback, live: Live | None, prove: Callable[[], Awaitable[None]], waits: Callable[[], None]
) -> None:
    """Whoever wakes up after the lane was taken over does not know what the new owner sent: first ``prove`` that it was still owned."""
    await prove()
    letter = replace(_callback_letter("CALLBACK_ORPHANED", "the flow is not known", record), flow_id=callback.flow_id)
    known = {"lane": str(lane.id), "flow_id": callback.flow_id}
    if live is not None:
        facts, known = live.flow.facts, named(live.flow.facts)
        said = "the flow was never sent"
        letter = replace(letter, detail=said, event_id=facts.event_id, rule=facts.rule, rules_version=facts.rules_version)
    log.warning("callback_orphaned", **known, attempt=callback.attempt)
    await letters.put(lane, letter, known, waits)
    lane.parts.metrics.callbacks_orphaned.inc()


def _callback_letter(reason: str, detail: str, record: Record) -> DeadLetter:
    """Of a callback of which nothing comes. Callbacks are read again after a take-over: each time its letter has the same id."""
    letter_id = identity.letter_id(record.coordinates, record.timestamp_ms)
    return DeadLetter(letter_id, record, "callback", reason, detail, path="", event_id="", flow_id="", rule="", rules_version="")


async def _revive(lane: Lane, callback: Callback) -> Live | None:
    """A finished flow, as its last row says: late facts still come as corrections."""

    def about(flows: Collection[Flow]) -> bool:
        return any(flow.facts.flow_id == callback.flow_id for flow in flows)

    recent = lane.recent.pop(callback.flow_id, None)
    found = [recent] if recent is not None else await planning.recall(lane, callback.event_digest, about)
    live = lane.flows.get(callback.flow_id)  # another callback may have been quicker
    if live is not None:
        return live
    for flow in found:
        if flow.facts.flow_id == callback.flow_id:
            lane.flows[callback.flow_id] = live = Live(replace(flow, pending=()))
            return live
    return None
