"""The life of accepted flows: the documented state machine, in provider time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connector.simulator.model import Api, Flow, Step
from connector.simulator.plan import FINAL, SUCCESS, Change, plan_step
from connector.simulator.switches import Switches

_FIRST_STEP_S = 0.2
_FLOW_FAILS_S = 2.0


@dataclass(frozen=True, slots=True)
class Moment:
    """Something changed: in a step, in the flow, or both. ``is_end``: the flow reached its end with this change."""

    flow: Flow
    is_end: bool
    is_late: bool  # the flow had ended before


class Walk:
    """All flows under way. Time does not pass by itself: ``run(now)`` does everything that is due, in order.

    ``on_change`` hears of every change of status, ``on_due`` of every time at which something will be due. Times are seconds;
    ``time_scale`` provider seconds pass in one.
    """

    def __init__(self, switches: Switches, time_scale: float) -> None:
        self.on_change: Callable[[Moment], None] = lambda _moment: None
        self.on_due: Callable[[float], None] = lambda _due: None
        self._switches = switches
        self._scale = time_scale
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0

    @property
    def next_due(self) -> float | None:
        """When something is to happen next."""
        return self._due[0][0] if self._due else None

    def run(self, now: float) -> None:
        """Do all that is due by ``now``."""
        while self._due and self._due[0][0] <= now:
            due, _, act = heapq.heappop(self._due)
            act(due)

    def begin(self, flow: Flow) -> None:
        """A flow was accepted at ``flow.created``."""
        flow.updated = flow.created
        if flow.api is Api.OTP:
            flow.status = "InProgress"
            self._start_step(flow, 0, flow.created)
            if len(flow.steps) == 1:
                self._finish(flow, flow.created, "Succeeded", None, is_silent=True)
        else:
            self.at(flow.created, _FIRST_STEP_S, lambda now: self._start_flow(flow, now))
        fails = flow.fails_with
        if fails is not None:
            self.at(flow.created, _FLOW_FAILS_S, lambda now: self._break(flow, now, fails))

    def at(self, since: float, after_s: float, act: Callable[[float], None]) -> None:
        """Have ``act(due)`` called ``after_s`` provider seconds after ``since``."""
        self._count += 1
        due = since + after_s / self._scale
        heapq.heappush(self._due, (due, self._count, act))
        self.on_due(due)

    def _start_flow(self, flow: Flow, now: float) -> None:
        flow.status = "InProgress"
        self._start_step(flow, 0, now)
        self._tell(flow, now)

    def _start_step(self, flow: Flow, index: int, now: float) -> None:
        flow.current = index
        step = flow.steps[index]
        word = "failed" if step.is_unapproved else flow.scenario.outcome(step.channel)
        if flow.fails_with is not None:
            word = "silent"
        holds = step.channel == "Viber" and step.doc.get("expireOnDelivery") is True
        changes = plan_step(step.channel, word, step.ttl_s, flow.rng, expires_on_delivery=holds)
        step.started = now
        self._apply(step, changes[0], now)
        self._queue(flow, step, changes, 1)

    def _queue(self, flow: Flow, step: Step, changes: Sequence[Change], index: int) -> None:
        if index < len(changes):
            self.at(step.started, changes[index].after_s, lambda now: self._change(flow, step, changes, index, now))

    def _change(self, flow: Flow, step: Step, changes: Sequence[Change], index: int, now: float) -> None:
        if flow.status_code in {0, 1} and flow.is_over:
            return  # the whole flow broke: its steps stand still
        self._apply(step, changes[index], now)
        self._queue(flow, step, changes, index + 1)
        was_over = flow.is_over
        if flow.api is Api.OTP:
            self._settle_otp(flow, step, now)
        elif not was_over:
            self._settle(flow, step, now)
        self._tell(flow, now, was_over=was_over)

    def _apply(self, step: Step, change: Change, now: float) -> None:
        if step.status == "DELIVERED" and change.status == "EXPIRED":
            step.expired_on_delivery = now
        step.status, step.detailed, step.description = change.status, change.detailed, change.description
        step.updated = now

    def _settle(self, flow: Flow, step: Step, now: float) -> None:
        """What a step's new status means for its flow."""
        status = (step.status or "").lower()
        if status not in FINAL or (status == "delivered" and step.doc.get("expireOnDelivery") is True and step.channel == "Viber"):
            return
        has_next = flow.current + 1 < len(flow.steps)
        if status in step.triggers and has_next:
            self._start_step(flow, flow.current + 1, now)
        elif status in SUCCESS:
            self._finish(flow, now, "Succeeded", None)
        else:
            self._finish(flow, now, "Failed", 2 if status in step.triggers else 3)

    def _settle_otp(self, flow: Flow, step: Step, now: float) -> None:
        """OTP: Succeeded says that a channel took it, not that it was delivered."""
        status = (step.status or "").lower()
        if status not in FINAL or step is not flow.steps[flow.current]:
            return
        if status in SUCCESS:
            self._finish(flow, now, "Succeeded", None)
        elif flow.current + 1 < len(flow.steps):
            self._tell(flow, now)
            self._start_step(flow, flow.current + 1, now)
            if flow.current + 1 == len(flow.steps):
                self._finish(flow, now, "Succeeded", None)
        elif self._switches.is_on("otp_fails_after_succeeded") or not flow.is_over:
            self._finish(flow, now, "Failed", 2)

    def _break(self, flow: Flow, now: float, code: int) -> None:
        if not flow.is_over or flow.api is Api.OTP:
            was_over = flow.is_over and flow.api is not Api.OTP
            self._finish(flow, now, "Failed", code)
            self._tell(flow, now, was_over=was_over)

    def _finish(self, flow: Flow, now: float, status: str, code: int | None, *, is_silent: bool = False) -> None:
        flow.status, flow.status_code = status, code
        flow.termination_channel = flow.steps[flow.current].channel if flow.current >= 0 else None
        if not is_silent:
            flow.updated = now

    def _tell(self, flow: Flow, now: float, *, was_over: bool = False) -> None:
        flow.updated = now
        self.on_change(Moment(flow, is_end=flow.is_over and not was_over, is_late=was_over))
