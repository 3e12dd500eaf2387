"""What is due in a lane: parked flows, doubts, silent flows. Times follow from the flows' state; nothing is stored."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from connector.core.flow import State
from connector.services import doubts, following
from connector.services.live import Live

if TYPE_CHECKING:
    from connector.services.lane import Lane

_TICK_S = 0.05
_NOT_SENT_MS = 500


class Agenda:
    """A heap of (due, flow id); an entry that the flow's own ``due_ms`` no longer confirms is stale."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._heap: list[tuple[int, str]] = []

    def schedule(self, live: Live, *, now: bool = False) -> None:
        """Note when this flow needs care next; ``now``: at the next tick."""
        due_ms = self._lane.parts.clock.now_ms() if now else self._due_ms(live)
        if due_ms is not None:
            live.due_ms = due_ms
            heapq.heappush(self._heap, (due_ms, live.id))

    async def run(self) -> None:
        """Wake what is due; ends by cancellation."""
        clock = self._lane.parts.clock
        while True:
            now_ms = clock.now_ms()
            while self._heap and self._heap[0][0] <= now_ms:
                due_ms, flow_id = heapq.heappop(self._heap)
                live = self._lane.flows.get(flow_id)
                if live is not None and not live.busy and live.due_ms == due_ms:
                    self._wake(live)
            await clock.sleep(_TICK_S)

    def _due_ms(self, live: Live) -> int | None:
        flow = live.flow
        if flow.finished:
            return None
        now_ms = self._lane.parts.clock.now_ms()
        match flow.state:
            case State.PARKED:
                return flow.due_ms or now_ms
            case State.NOT_SENT:
                return now_ms + _NOT_SENT_MS
            case State.DOUBT:
                return doubts.next_search_at_ms(self._lane, live)
            case State.ACCEPTED:
                self._lane.parts.polls.follow(self._lane, live)
                return following.next_poll_ms(self._lane, live)
            case _:
                return None

    def _wake(self, live: Live) -> None:
        lane = self._lane
        if lane.draining:
            return
        match live.flow.state:
            case State.PARKED | State.NOT_SENT:
                lane.begin(live)
            case State.DOUBT:
                lane.spawn(live, doubts.resolve(lane, live))
            case State.ACCEPTED:
                lane.spawn(live, following.poll(lane, live))
            case _:
                pass
