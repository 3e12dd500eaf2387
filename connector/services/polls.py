"""Asking about silent flows with few requests: one page of a time window answers many of them.

A flow that is due waits a moment for others (``gather_s``). Those accepted in the same minute, the finest window that the provider's search
knows, are then looked up together, page by page; what a page shows of flows that were not due yet is taken, too. A flow that is in no page,
or for which reading pages would cost more than asking, is asked about alone; OTP's always are, since its list knows no window.
"""

from __future__ import annotations

import asyncio
import enum
from asyncio import Future
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from connector.core.flow import Reported
from connector.core.model import Api, FlowReport, Origin
from connector.ports import LaneId, Unanswered

if TYPE_CHECKING:
    from connector.services.lane import Lane
    from connector.services.live import Live

_MINUTE_MS = 60_000
_LONGEST_GATHERING_S = 15.0
_FEWEST = 3  # fewer than these are asked about one by one
_PATIENCE = 3  # pages that may answer nobody, where the provider does not say how many there are
_MAX_PAGES = 1000
_WAIT_S, _WAITS = 0.25, 20
_AT_ONCE = 16
_LAST_AT_ONCE = 8  # an outage's overdue flows hold up no other poll


class Postponed(enum.Enum):
    """Why a due flow has no answer: the budget is spent, or whoever asked for it is gone. It comes again soon."""

    POSTPONED = "postponed"


class _Alone(enum.Enum):
    """No page shows it."""

    ALONE = "alone"


Answer = FlowReport | Unanswered | Postponed
POSTPONED = Postponed.POSTPONED


@dataclass(slots=True)
class _Due:
    """A flow that waits for its answer; ``last``: this is its deadline, so it is asked about whatever the budget says."""

    lane: Lane
    live: Live
    last: bool
    answer: Future[FlowReport | Postponed | _Alone]

    def tell(self, answer: FlowReport | Postponed | _Alone) -> None:
        """Once."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Polls:
    """One per process, for all its lanes."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        """``at_once``: requests under way; fewer than there are connections for reads, so that a doubt's search finds one."""
        self._free = asyncio.Semaphore(at_once)
        self._lanes: WeakValueDictionary[LaneId, Lane] = WeakValueDictionary()
        self._followed: WeakValueDictionary[str, Live] = WeakValueDictionary()  # by tracking id, in lower case
        self._gathering: list[_Due] = []
        self._last = asyncio.Semaphore(_LAST_AT_ONCE)

    def follow(self, lane: Lane, live: Live) -> None:
        """An accepted flow whose end is awaited: a page that shows it answers it."""
        if live.flow.facts.api is not Api.OTP and live.flow.tracking_id is not None:
            self._lanes[lane.id] = lane
            self._followed[live.flow.tracking_id.casefold()] = live

    async def ask(self, lane: Lane, live: Live, api: Api, tracking_id: str, *, last: bool, alone: bool = False) -> Answer:
        """What the provider says of a flow that is due. ``last``: its deadline has come; ``alone``: at once, it waits for no others."""
        if api is not Api.OTP and not alone:
            answer = await self._together(lane, live, last=last)
            if not isinstance(answer, _Alone):
                return answer
        if not last:
            return await self._ask(lane, live, api, tracking_id, last=False)
        async with self._last:
            return await self._ask(lane, live, api, tracking_id, last=True)

    async def _ask(self, lane: Lane, live: Live, api: Api, tracking_id: str, *, last: bool) -> Answer:
        async with self._free:
            if live.flow.finished or not lane.polls.may_poll(last=last):
                return POSTPONED
            lane.parts.metrics.poll_requests.labels("flow").inc()
            return await lane.parts.tracking.flow(api, tracking_id)

    # ------------------------------------------------------------------------------------------------------------ gathering

    async def _together(self, lane: Lane, live: Live, *, last: bool) -> FlowReport | Postponed | _Alone:
        due = _Due(lane, live, last, asyncio.get_running_loop().create_future())
        self._gathering.append(due)
        if len(self._gathering) > 1:
            return await due.answer
        gathered = self._gathering  # the first one asks for all; whoever comes while it asks begins the next gathering
        try:
            await lane.parts.clock.sleep(gather_s(lane.parts.policy.poll_schedule_s))
            self._gathering = []
            await self._ask_for_all(lane, gathered)
        finally:
            if self._gathering is gathered:
                self._gathering = []
            for one in gathered:
                one.tell(POSTPONED)
        return due.answer.result()

    async def _ask_for_all(self, lane: Lane, gathered: list[_Due]) -> None:
        minutes: defaultdict[int, dict[str, _Due]] = defaultdict(dict)
        for due in gathered:
            flow = due.live.flow
            if not flow.finished and not due.answer.done() and flow.tracking_id is not None:
                minutes[(flow.accepted_at_ms or 0) // _MINUTE_MS][flow.tracking_id.casefold()] = due
        for minute, wanted in sorted(minutes.items()):
            if len(wanted) >= _FEWEST:
                await self._read_minute(lane, minute, wanted)
            for due in wanted.values():
                due.tell(_Alone.ALONE)

    async def _read_minute(self, lane: Lane, minute: int, wanted: Mapping[str, _Due]) -> None:
        """Page by page, until nobody waits any more, or pages answer fewer flows than they cost requests."""
        since_ms = minute * _MINUTE_MS
        for number in range(_MAX_PAGES):
            waiting = [due for due in wanted.values() if not due.answer.done()]
            if not waiting:
                return
            if not await _allowed(lane, last=any(due.last for due in waiting)):
                for due in waiting:
                    due.tell(POSTPONED)
                return
            lane.parts.metrics.poll_requests.labels("window").inc()
            async with self._free:
                page = await lane.parts.tracking.page(Api.STANDARD, since_ms, since_ms + _MINUTE_MS, number)
            if isinstance(page, Unanswered):
                return
            for report in page.flows:
                self._take(report, wanted)
            unanswered = sum(not due.answer.done() for due in wanted.values())
            answered = len(wanted) - unanswered
            ahead = _PATIENCE + answered - number - 1 if page.pages is None else unanswered - (page.pages - number - 1)
            if page.is_last or ahead < 0:
                return

    def _take(self, report: FlowReport, wanted: Mapping[str, _Due]) -> None:
        """An answer for who waits for it; news for any other flow of ours whose end is awaited."""
        tracking_id = (report.tracking_id or "").casefold()
        if (due := wanted.get(tracking_id)) is not None:
            due.tell(report)
            return
        live = self._followed.get(tracking_id)
        if live is None or live.flow.finished:
            return
        facts = live.flow.facts
        lane = self._lanes.get(LaneId(facts.source_topic, facts.source_partition))
        if lane is not None and lane.owned and not lane.draining and lane.flows.get(live.id) is live:
            lane.hear(_settle(lane, live, report), lambda: None)


async def _allowed(lane: Lane, *, last: bool) -> bool:
    """Pages that were read are not read again for want of a moment's patience with the budget."""
    for _ in range(_WAITS):
        if lane.polls.may_poll(last=last):
            return True
        await lane.parts.clock.sleep(_WAIT_S)
    return False


async def _settle(lane: Lane, live: Live, report: FlowReport) -> None:
    before = live.flow
    after = await lane.settle(live, Reported(report, Origin.POLL, asked=report.tracking_id))
    if after is not before:
        lane.parts.metrics.polls.labels("changed").inc()


def gather_s(schedule_s: tuple[float, ...]) -> float:
    """How long the first flow that is due waits for others: half of the schedule's first step, 15 seconds at most."""
    return min(_LONGEST_GATHERING_S, schedule_s[0] / 2)
