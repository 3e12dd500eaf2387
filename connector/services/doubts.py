"""Finding out what became of a POST whose outcome is unknown (SEMANTICS §4, lane-protocol 1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.doubt import Ambiguous, Found, Question, Verdict, class_policy, judge, next_search_ms, wait_ms
from connector.core.flow import Ended, Proven, State
from connector.core.model import InDoubt, MessageClass
from connector.logs import get_logger
from connector.ports import Unanswered
from connector.services import counts, planning
from connector.services.live import Live, named
from connector.services.neighbours import CANDIDATE_WINDOW_MS, IN_QUESTION, in_question_since_ms, phone_of

if TYPE_CHECKING:
    from connector.services.lane import Lane

log = get_logger("doubts")
_LEAST_GAP_MS = 250


def next_search_at_ms(lane: Lane, live: Live) -> int:
    """Early and often, then rarer, from the time this process knows of the doubt, and once when absence becomes conclusive."""
    now_ms = lane.parts.clock.now_ms()
    began_ms = now_ms - int((lane.parts.clock.boot() - _since(lane, live)) * 1000)
    next_ms = max(now_ms + _LEAST_GAP_MS, next_search_ms(began_ms, live.tries, lane.parts.chance()))
    conclusive_in_s = _conclusive_at(lane, live) - lane.parts.clock.boot()
    return min(next_ms, now_ms + int(conclusive_in_s * 1000) + 1) if conclusive_in_s > 0 else next_ms


async def resolve(lane: Lane, live: Live) -> None:
    """Search once, and act on what that proves. The agenda comes again while the flow stays in doubt."""
    begun = lane.parts.clock.boot()
    facts = live.flow.facts
    await planning.find_recipient(lane, live)
    if live.recipient is None or facts.api is None:
        await lane.settle(live, Ended(State.UNKNOWN, "input_gone"))
        return
    question = _question(lane, live)
    answer = await lane.parts.tracking.search(facts.api, live.recipient, question.since_ms, question.until_ms)
    live.tries += 1
    if isinstance(answer, Unanswered):
        lane.parts.metrics.searches.labels("unanswered").inc()
        if begun - _since(lane, live) > lane.parts.policy.give_up_s:
            await lane.settle(live, Ended(State.UNKNOWN, "search_failed"))
        return
    verdict = judge(question, answer, lambda tracking_id: _owned(lane, live, tracking_id))
    if isinstance(verdict, Found) and _is_guess(live, verdict) and _neighbour_in_doubt(lane, live, question.since_ms):
        verdict = Ambiguous((verdict.tracking_id,))
    if live.flow.state is State.DOUBT or (isinstance(verdict, Found) and not _is_guess(live, verdict)):
        await _act(lane, live, verdict, begun)  # else a callback was quicker: what no label proves is somebody else's


async def _act(lane: Lane, live: Live, verdict: Verdict, begun: float) -> None:
    lane.parts.metrics.searches.labels(type(verdict).__name__.lower()).inc()
    if _untold(lane, live, verdict, begun):
        await _wait_on(lane, live, begun)
        return
    if isinstance(verdict, Found):
        await _settle(lane, live, verdict)
    elif begun < _conclusive_at(lane, live):
        return
    elif isinstance(verdict, Ambiguous):
        if verdict.passing and begun - _since(lane, live) <= lane.parts.policy.give_up_s:
            return
        await lane.settle(live, Ended(State.UNKNOWN, "ambiguous"))
    elif live.flow.called:
        await lane.settle(live, Ended(State.UNKNOWN, "called_back"))
    elif _may_resend(live):
        log.warning("resend_after_doubt", **named(live.flow.facts), attempt=live.flow.next_attempt)
        live.turn = lane.turns.enqueue(live.key, live.id)
        await lane.attempt(live)
    else:
        await lane.settle(live, Ended(State.UNKNOWN, "not_found"))


async def _settle(lane: Lane, live: Live, found: Found) -> None:
    guessed = _is_guess(live, found)
    if guessed:  # at once, for a neighbour's search may be answered before our row is valid
        lane.neighbours.claim(found.tracking_id, live.id, lane.parts.clock.now_ms())
    counts.words(lane.parts.metrics, found.report)
    await lane.settle(live, Proven(found.tracking_id, found.attempt or 0, found.report, guessed))
    if guessed and live.flow.tracking_id != found.tracking_id:  # a call was quicker
        lane.neighbours.release(found.tracking_id, live.id)
    for duplicate in found.duplicates:
        await lane.settle(live, Proven(duplicate.tracking_id, duplicate.attempt or 0, None))


async def _wait_on(lane: Lane, live: Live, begun: float) -> None:
    """For what will be told soon; a phone to which some POST is always under way must not keep a doubt open for ever."""
    if begun - _since(lane, live) > lane.parts.policy.give_up_s:
        await lane.settle(live, Ended(State.UNKNOWN, "ambiguous"))


def _is_guess(live: Live, found: Found) -> bool:
    """No label says that it is ours."""
    return not any(live.id in label.casefold() for label in found.report.labels)


def _untold(lane: Lane, live: Live, verdict: Verdict, begun: float) -> bool:
    """Whose a candidate without a label is will be told soon: by a neighbour's answer, or, where it shows no step yet, by its first one."""
    if isinstance(verdict, Found) and _is_guess(live, verdict):
        bare = not verdict.report.signature and begun - _since(lane, live) <= lane.parts.policy.give_up_s
        return bare or _neighbour_posting(lane, live)
    return isinstance(verdict, Ambiguous) and _neighbour_posting(lane, live)


def _neighbour_posting(lane: Lane, live: Live) -> bool:
    """A POST to the same phone is under way whose flow shows no label: a candidate may be that one's, as its answer will tell."""
    phone = live.flow.facts.recipient_hash
    posting = (other.flow.facts for other in lane.flows.values() if other.flow.state is State.INTENT)
    return any(facts.recipient_hash == phone and not facts.labelled for facts in posting)


def _neighbour_in_doubt(lane: Lane, live: Live, since_ms: int) -> bool:
    """Another flow to the same phone shows no label and is, or ended, in doubt: one candidate for two may be either's."""
    mine = live.flow.facts
    doubtful = (other.flow.facts for other in lane.flows.values() if other.flow.state is State.DOUBT and other is not live)
    open_now = any(phone_of(facts) == phone_of(mine) and not facts.labelled for facts in doubtful)
    return open_now or lane.neighbours.may_be_lost(mine, since_ms)


def _policy(live: Live) -> InDoubt:
    facts = live.flow.facts
    return class_policy(facts.message_class or MessageClass.MARKETING, facts.in_doubt)


def _may_resend(live: Live) -> bool:
    """Once; a second doubt ends as UNKNOWN. Its gates may still say no."""
    return not live.flow.resent and _policy(live) is not InDoubt.NEVER


def _since(lane: Lane, live: Live) -> float:
    """Boot clock from which this process knows of the doubt: its own POST, or its claim."""
    return live.posted_at if live.posted_at is not None else lane.claimed_at


def _conclusive_at(lane: Lane, live: Live) -> float:
    """Boot clock of the first search whose "not there" counts."""
    policy = lane.parts.policy
    waited_ms = wait_ms(
        _policy(live),
        inherited=live.posted_at is None,
        lease_ms=int(policy.lease_s * 1000),
        timeout_ms=int(policy.timeout_s * 1000),
        lag_ms=int(policy.provider_lag_s * 1000),
        transactional_wait_ms=int(policy.transactional_wait_s * 1000),
    )
    return _since(lane, live) + waited_ms / 1000


def _question(lane: Lane, live: Live) -> Question:
    flow, now_ms = live.flow, lane.parts.clock.now_ms()
    elapsed_ms = int((lane.parts.clock.boot() - _since(lane, live)) * 1000)
    # Should the wall clock have been set back since the POST, that lies where either clock says: a window beside it would prove absence.
    last_ms = max((line.at_ms for line in flow.attempts if line.outcome in IN_QUESTION), default=now_ms)
    return Question(
        flow_id=live.id,
        attempt=flow.attempt,
        lowest=min((line.n for line in flow.attempts if line.outcome in IN_QUESTION), default=1),
        labelled=flow.facts.labelled,
        signature=flow.facts.signature,
        since_ms=min(in_question_since_ms(flow), now_ms - elapsed_ms) - CANDIDATE_WINDOW_MS,
        until_ms=max(now_ms, last_ms + elapsed_ms) + CANDIDATE_WINDOW_MS,
        recipient=live.recipient or "",
    )


def _owned(lane: Lane, live: Live, tracking_id: str) -> bool:
    """Another flow of this lane is known to have this id."""
    return lane.neighbours.owns(tracking_id) and tracking_id != live.flow.tracking_id
