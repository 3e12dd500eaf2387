"""What is due in a lane: parked flows, doubts, silent flows. Times follow from the flows' state; nothing is stored.

Those are times of the wall clock; what is waited for is how far away they are when they are noted, on the clock that never steps: a wall
clock that is set back delays nothing that was begun, and one that is set forward lets nothing come at once.
"""

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
    """A heap of (due, flow id), by the boot clock; an entry that the flow's own ``due`` no longer confirms is stale."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._heap: list[tuple[float, str]] = []

    def schedule(self, live: Live, *, now: bool = False) -> None:
        """Note when this flow needs care next; ``now``: at the next tick."""
        clock = self._lane.parts.clock
        now_ms = clock.now_ms()
        due_ms = now_ms if now else self._due_ms(live, now_ms)
        if due_ms is not None:
            live.due = clock.boot() + (due_ms - now_ms) / 1000
            heapq.heappush(self._heap, (live.due, live.id))

    async def run(self) -> None:
        """Wake what is due; ends by cancellation."""
        clock = self._lane.parts.clock
        while True:
            now = clock.boot()
            while self._heap and self._heap[0][0] <= now:
                due, flow_id = heapq.heappop(self._heap)
                live = self._lane.flows.get(flow_id)
                if live is not None and not live.busy and live.due == due:
                    self._wake(live)
            await clock.sleep(_TICK_S)

    def _due_ms(self, live: Live, now_ms: int) -> int | None:
        flow = live.flow
        if flow.finished:
            return None
        match flow.state:
            case State.PARKED:
                return min(flow.due_ms or now_ms, flow.facts.expires_at_ms)
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
