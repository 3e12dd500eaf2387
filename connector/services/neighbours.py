"""Whose a candidate without a label is: what must be known of the lane's other flows, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from connector.core.doubt import CLOCK_SKEW_MS
from connector.core.flow import Facts, Flow, State
from connector.core.model import Api

CANDIDATE_WINDOW_MS = 60_000  # a search looks from this long before the first POST in question
_KEPT_MS = 3_600_000
IN_QUESTION = frozenset({"INTENT", "DOUBT"})  # outcomes of attempts that may have been accepted


def in_question_since_ms(flow: Flow) -> int:
    """When the first POST of the flow was made that may have been accepted: a search again counts from there, so that none escapes it."""
    return min((line.at_ms for line in flow.attempts if line.outcome in IN_QUESTION), default=flow.facts.occurred_at_ms)


def by_the_broker(flow: Flow, written_ms: int) -> Flow:
    """An inherited flow with the times of its POSTs by the broker's clock, where its writer's was ahead: a row tells of nothing to come.

    ``written_ms``: the broker's time of its row (0: not known). A search from the writer's time on would begin behind the message.
    """
    ahead_ms = max((line.at_ms for line in flow.attempts), default=0) - written_ms
    if written_ms <= 0 or ahead_ms <= CLOCK_SKEW_MS:
        return flow
    return replace(flow, attempts=tuple([replace(line, at_ms=line.at_ms - ahead_ms) for line in flow.attempts]))


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
    return {tracking_id.casefold(): flow.accepted_at_ms or 0 for tracking_id in (flow.tracking_id, *flow.duplicates) if tracking_id}


Phone = tuple[bytes | None, bool]


def phone_of(facts: Facts) -> Phone:
    """Whom a search asks about: the recipient, by the service that sends codes or by the others."""
    return facts.recipient_hash, facts.api is Api.OTP


class Neighbours:
    """What this lane knows of its flows without a visible label, finished ones too: a search for one of them may meet another's."""

    def __init__(self, answer_ms: int) -> None:
        self.ids: dict[str, int] = {}  # tracking id, in lower case → time of acceptance
        self._owners: dict[str, str] = {}  # of those: the flow that had it last
        self._answer_ms = answer_ms  # how long after a POST it may still be accepted
        self._lost: dict[Phone, dict[str, int]] = {}  # flows that ended in doubt, each with the time until when it may have been accepted

    def note(self, flow: Flow, since_ms: int = 0, instead_of: Flow | None = None) -> None:
        """How a flow stands, ``instead_of`` how it did; of acceptances before ``since_ms`` nothing is kept."""
        if flow.facts.labelled:
            return
        if instead_of is not None and instead_of.guessed and instead_of.tracking_id and instead_of.tracking_id != flow.tracking_id:
            self.release(instead_of.tracking_id, flow.facts.flow_id)
        if (flow.accepted_at_ms or since_ms) >= since_ms:
            for tracking_id, at_ms in ids_of(flow).items():
                self.claim(tracking_id, flow.facts.flow_id, at_ms)
        phone = phone_of(flow.facts)
        posted = [line.at_ms for line in flow.attempts if line.outcome in IN_QUESTION]
        if flow.state is State.UNKNOWN and posted and max(posted) + self._answer_ms >= since_ms:
            self._lost.setdefault(phone, {})[flow.facts.flow_id] = max(posted) + self._answer_ms
        elif phone in self._lost:
            self._lost[phone].pop(flow.facts.flow_id, None)

    def claim(self, tracking_id: str, flow_id: str, at_ms: int) -> None:
        """This flow has this id."""
        self.ids[tracking_id.casefold()] = at_ms
        self._owners[tracking_id.casefold()] = flow_id

    def release(self, tracking_id: str, flow_id: str) -> None:
        """It was a guess, and wrong: the id is somebody else's, perhaps that of a flow in doubt; unless another flow has it meanwhile."""
        if self._owners.get(tracking_id.casefold()) == flow_id:
            del self.ids[tracking_id.casefold()], self._owners[tracking_id.casefold()]

    def owns(self, tracking_id: str) -> bool:
        """A flow of this lane is known to have this id."""
        return tracking_id.casefold() in self.ids

    def may_be_lost(self, facts: Facts, since_ms: int) -> bool:
        """Another flow to this phone ended in doubt, and may have been accepted since: an id that nobody owns may be that one's."""
        others = self._lost.get(phone_of(facts), {}).items()
        return any(until_ms + CLOCK_SKEW_MS >= since_ms for flow_id, until_ms in others if flow_id != facts.flow_id)

    def prune(self, flows: Iterable[Flow], now_ms: int) -> None:
        """Forget what is an hour old, unless one of the open ``flows`` may ask about it."""
        old_ms = now_ms - _KEPT_MS
        old = [tracking_id for tracking_id, at_ms in self.ids.items() if at_ms < old_ms]
        lost = [phone for phone, until in self._lost.items() if all(until_ms < old_ms for until_ms in until.values())]
        if not old and not lost:
            return
        needed_ms = needed_since_ms(flows, now_ms)
        for tracking_id in old:
            if self.ids[tracking_id] < needed_ms:
                del self.ids[tracking_id], self._owners[tracking_id]
        for phone in lost:
            if all(until_ms < needed_ms for until_ms in self._lost[phone].values()):
                del self._lost[phone]


def _may_ask(flow: Flow) -> bool:
    if flow.state.settled or flow.facts.labelled:
        return False
    return flow.state is State.DOUBT or any(line.outcome in IN_QUESTION for line in flow.attempts)
