"""Whose a candidate without a label is: for how long the tracking ids of other flows of the lane must be known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from connector.core.doubt import CLOCK_SKEW_MS
from connector.core.flow import Flow, State

if TYPE_CHECKING:
    from connector.services.lane import Lane

CANDIDATE_WINDOW_MS = 60_000  # a search looks from this long before the first POST in question
_KEPT_MS = 3_600_000
IN_QUESTION = frozenset({"INTENT", "DOUBT"})  # outcomes of attempts that may have been accepted


def in_question_since_ms(flow: Flow) -> int:
    """When the first POST of the flow was made that may have been accepted: a search again counts from there, so that none escapes it."""
    return min((line.at_ms for line in flow.attempts if line.outcome in IN_QUESTION), default=flow.facts.occurred_at_ms)


def needed_since_ms(flows: Iterable[Flow], now_ms: int) -> int:
    """Ids accepted before this explain no candidate of any search to come: of one of ``flows``, nor of a POST that is yet to be made.

    Not only a flow in doubt asks: one that is to be sent again is asked about from its first POST on, should it come into doubt again.
    """
    asking = [in_question_since_ms(flow) for flow in flows if _may_ask(flow)]
    return min(asking, default=now_ms) - CANDIDATE_WINDOW_MS - CLOCK_SKEW_MS


def ids_of(flow: Flow) -> dict[str, int]:
    """The ids under which the flow stands at the provider, audited second acceptances too → time of acceptance; none where labels tell."""
    if flow.facts.labelled:
        return {}
    return {tracking_id: flow.accepted_at_ms or 0 for tracking_id in (flow.tracking_id, *flow.duplicates) if tracking_id}


def _may_ask(flow: Flow) -> bool:
    if flow.state.settled or flow.facts.labelled:
        return False
    return flow.state is State.DOUBT or any(line.outcome in IN_QUESTION for line in flow.attempts)


def prune(lane: Lane) -> None:
    """Forget what is an hour old, unless an open doubt may ask about it."""
    now_ms = lane.parts.clock.now_ms()
    old = {tracking_id: at_ms for tracking_id, at_ms in lane.own_ids.items() if at_ms < now_ms - _KEPT_MS}
    if not old:
        return
    needed_ms = needed_since_ms((live.flow for live in lane.flows.values()), now_ms)
    for tracking_id, at_ms in old.items():
        if at_ms < needed_ms:
            del lane.own_ids[tracking_id]
