"""What a run does: start the connector, feed it, kill it in the middle of its sends, and wait until every event has ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from asyncio import TaskGroup
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from connector.demo.child import Child, LogLine
from connector.demo.feeder import Feeder
from connector.demo.place import LANES, Place
from connector.demo.screen import Screen
from connector.demo.seen import FlowSeen
from connector.demo.tally import Moment, Row, Tally
from connector.demo.watch import Watcher

_TICK_S: Final = 0.02
_QUIET_S: Final = 1.5  # so long nothing may come any more before it counts as the end
_PER_SECOND, _LEAST_S, _MOST_S, _FASTEST = 15, 5.0, 14.0, 100
_KILL_ADDS_S: Final = 6.0
_SLOW_ANSWER_S: Final = (0.6, 0.8)  # of Routee while a kill is prepared: under the POST's deadline
_UNANSWERED_S: Final = 0.5
_WORTH_A_KILL, _NO_SENDS_S = 5, 3.0
_PATIENCE_S, _PATIENCE_PER_KILL_S = 60.0, 25.0
_STILL_S: Final = 20.0  # no output event for so long: nothing will come any more


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    events: int
    kills: int
    seed: int

    @property
    def seconds(self) -> float:
        """Over how long the events come."""
        pace = min(_MOST_S, max(_LEAST_S, self.events / _PER_SECOND))
        return max(pace, self.events / _FASTEST) + _KILL_ADDS_S * max(0, self.kills - 1)

    @property
    def patience_s(self) -> float:
        """After so long it has failed."""
        return self.seconds + _PATIENCE_S + _PATIENCE_PER_KILL_S * self.kills


class StuckError(Exception):
    """It makes no sense to wait any longer; the text says why."""


class Show:
    """``play`` runs it. What it leaves behind is examined by ``run``."""

    def __init__(self, plan: Plan, place: Place, screen: Screen) -> None:
        self.plan = plan
        self.place = place
        self.tally = Tally()
        self.watcher = Watcher(place.settings, place.plans, self._hear)
        self.feeder = Feeder(place, self.tally, plan.events, plan.seed)
        self.child = Child(place.config, place.admin_url, self._heed)
        self.kills = 0
        self._screen = screen
        self._news_at = time.monotonic()
        self._lanes: set[str] = set()
        self._adopted = 0
        self._down_since: float | None = None

    async def play(self) -> None:
        """The whole of it, up to a moment of quiet after the last end. What is missing then, the summary tells."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.plan.patience_s), TaskGroup() as tasks:
                beside = (self.child.follow(), self.child.measure(), self._watch(), self._screen.repaint(self.rows, self.tally))
                running = [tasks.create_task(work) for work in beside]
                try:
                    await self._story(tasks)
                finally:
                    for task in running:
                        task.cancel()

    async def _story(self, tasks: TaskGroup) -> None:
        await self.child.start()
        self._tell(f"the connector is started, pid {self.child.pid}")
        feeding: asyncio.Task[None] | None = None
        try:
            await self._until(self._serves)
            feeding = tasks.create_task(self.feeder.run(self.plan.seconds))
            for number in range(1, self.plan.kills + 1):
                await self._kill(self.plan.events * number // (self.plan.kills + 1))
            await self._until(self._is_over)
            self._tell("every event has ended; waiting to see that nothing more comes")
            await self._until(lambda: time.monotonic() - self._news_at > _QUIET_S)
        except StuckError as reason:
            self._tell(str(reason), "bold red")
            if feeding is not None:
                feeding.cancel()

    def _serves(self) -> bool:
        return len(self._lanes) == LANES

    def _is_over(self) -> bool:
        return self.feeder.done and self._serves() and self.feeder.expected.keys() <= self.tally.ended

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Raises StuckError."""
        while not holds():
            if self.child.exit_code is not None:
                raise StuckError(f"the connector ended by itself, exit code {self.child.exit_code}")
            if time.monotonic() - self._news_at > _STILL_S:
                raise StuckError(f"nothing has come for {_STILL_S:.0f} s")
            await asyncio.sleep(_TICK_S)

    # ------------------------------------------------------------------------------------------------------------------ kill

    async def _kill(self, after: int) -> None:
        """Kill -9 at the worst moment: Routee has accepted messages, and has not answered yet."""
        await self._until(lambda: self._serves() and len(self.tally.ended) >= after)
        simulator = self.place.simulator
        simulator.set_faults(latency_s=_SLOW_ANSWER_S)
        give_up = time.monotonic() + _NO_SENDS_S
        await self._until(lambda: self._unanswered() >= _WORTH_A_KILL or time.monotonic() > give_up)
        unanswered, pid = self._unanswered(), self.child.pid
        await self.child.kill()
        simulator.set_faults(latency_s=None)
        self.kills += 1
        self._lanes.clear()
        self._adopted = 0
        self._down_since = time.monotonic()
        self._screen.wait_for("Kafka frees the lanes of the killed process")
        self._tell(f"kill -9 {pid}: {unanswered} of its messages are accepted by Routee, not yet answered", "bold red")
        await self.child.start()
        self._tell(f"started again, pid {self.child.pid}; Kafka frees its lanes after {self.place.session_s} s of silence")

    def _unanswered(self) -> int:
        """Messages that Routee accepted a moment ago, when it answered slowly already."""
        since = time.time() - _UNANSWERED_S
        count = 0
        for entry in reversed(self.place.simulator.ledger.entries):
            if entry.at < since:
                break
            count += entry.accepted is not None
        return count

    # -------------------------------------------------------------------------------------------------------------- watching

    def _heed(self, entry: LogLine) -> None:
        """A log line of the connector."""
        lane = str(entry.get("lane"))
        if entry.get("event") == "lane_claimed":
            self._lanes.add(lane)
            self._adopted += int(entry.get("adopted", 0))
            if self._serves():
                self._tell_serving()
        elif entry.get("event") in {"lane_dropped", "lane_refused"}:
            self._lanes.discard(lane)
            self._tell(f"{entry['event']}: {lane} ({entry.get('reason')})", "yellow")

    def _tell_serving(self) -> None:
        if self._down_since is None:
            self._tell(f"it serves {LANES} lanes")
            return
        self._screen.wait_for("")
        away, self._down_since = time.monotonic() - self._down_since, None
        self._tell(f"{LANES} lanes served again after {away:.0f} s: {self._adopted} unfinished flows read from the journal", "green")
        self._tell("where a send was open, Routee is asked before anything is sent", "green")

    def _tell(self, text: str, style: str = "") -> None:
        moment = Moment(self._screen.now_s, style, text)
        self.tally.moments.append(moment)
        self._screen.tell(moment)

    def _hear(self, flow: FlowSeen) -> None:
        """A flow changed in the output topics."""
        self.tally.hear(flow, self._age_s(flow))

    def _age_s(self, flow: FlowSeen) -> float:
        now = time.monotonic()
        return now - self.feeder.born.get(flow.flow_id, now)

    async def _watch(self) -> None:
        while True:
            if self.watcher.read():
                self._news_at = time.monotonic()
            await asyncio.sleep(_TICK_S)

    def rows(self) -> tuple[Row, ...]:
        """The table as it stands."""
        posts = (entry.recipient for entry in self.place.simulator.ledger.sends())
        return self.tally.rows(self.watcher.seen.flows.values(), posts, self.child.doubts)
