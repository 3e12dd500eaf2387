"""Group membership → lanes: who is kept here, which records and callbacks go where, and what share of the rate that is."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Callable

from connector.logs import get_logger
from connector.ports import Arrived, Assigned, BegunAnew, LaneId, Lost, Revoked
from connector.services.keeper import Keeper
from connector.services.lane import Lane
from connector.services.parts import Parts, Policy

log = get_logger("intake")
_LEAST_GRACE_S = 8.0
_PATIENCE_S = 5.0  # beyond the grace time, with an earlier keeper of a lane that comes back


def revoke_grace_s(policy: Policy) -> float:
    """How long a lane may drain while the group waits for it: a POST begins within L of its intent, and takes T at most."""
    return max(_LEAST_GRACE_S, policy.lease_s + policy.timeout_s)


class Intake:
    """One per process. ``share_of`` gives the part (0…1) of the account's rate that a set of lanes is owed."""

    def __init__(self, parts: Parts, share_of: Callable[[frozenset[LaneId]], float]) -> None:
        self.parts = parts
        self._share_of = share_of
        self.keepers: dict[LaneId, Keeper] = {}
        self._running: dict[LaneId, asyncio.Task[None]] = {}
        self._leaving: dict[LaneId, dict[asyncio.Task[None], Keeper]] = {}
        self.expelled = False  # from the group, most likely because Kafka was away for longer than its session timeout
        self.assigned_once = False
        self._stopping = False

    async def run(self) -> None:
        """Until the source closes or this is cancelled."""
        async with TaskGroup() as tasks:
            feeding = tasks.create_task(self._hear())
            async for event in self.parts.source.events():
                match event:
                    case Arrived():
                        for record in event.records:
                            keeper = self.keepers.get(LaneId(record.topic, record.partition))
                            if keeper is not None:
                                keeper.offer(record)
                    case Assigned():
                        self._take(tasks, event.lanes)
                    case Revoked():
                        tasks.create_task(self._give_back(event, self._end(event.lanes)))
                    case BegunAnew():
                        if (kept := self.keepers.get(event.lane)) is not None and kept.lane is not None:
                            kept.lane.writer.lose("input_begun_anew")  # the next claim refuses it, with the remedy
                    case Lost():
                        self.expelled = self.expelled or event.expelled
                        self._forget(event.lanes)
            feeding.cancel()

    async def stop(self, grace_s: float) -> None:
        """Drain every lane, side by side, those that are being given back included; lanes that come later are left to the other members."""
        self._stopping = True
        for keeper in self.keepers.values():
            keeper.stop(grace_s)
        ending = [*self._running.values(), *(run for leaving in self._leaving.values() for run in leaving)]
        if ending:
            await asyncio.wait(ending)

    @property
    def ready(self) -> bool:
        """A member of the group, and every lane is being served: none at all, where others are enough."""
        return self.assigned_once and not self.expelled and all(keeper.state == "running" for keeper in self.keepers.values())

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Those that are claimed now."""
        return tuple(keeper.lane for keeper in self.keepers.values() if keeper.lane is not None)

    def _take(self, tasks: TaskGroup, lanes: tuple[LaneId, ...]) -> None:
        self.assigned_once, self.expelled = True, False
        if not lanes:
            return
        for lane in lanes:
            if lane in self.keepers or self._stopping:
                continue
            self.keepers[lane] = keeper = Keeper(lane, self.parts)
            patience_s = revoke_grace_s(self.parts.policy) + _PATIENCE_S
            self._running[lane] = tasks.create_task(keeper.run_after(self._earlier(lane), patience_s))
        log.info("lanes_assigned", lanes=[str(lane) for lane in lanes])
        self.parts.metrics.rebalances.labels("assigned").inc()
        self._share()

    def _end(self, lanes: tuple[LaneId, ...]) -> list[asyncio.Task[None]]:
        """Tell their keepers to end: at once, for the lanes may be ours again with the next event."""
        ending = []
        for lane in lanes:
            if lane in self.keepers:
                keeper, running = self._part_with(lane)
                keeper.stop(revoke_grace_s(self.parts.policy))
                ending.append(running)
        return ending

    async def _give_back(self, event: Revoked, ending: list[asyncio.Task[None]]) -> None:
        """Drained, the group may go on. What is cut here is a doubt for the next owner, never a loss."""
        try:
            if ending:
                await asyncio.wait(ending)
        finally:
            event.release()
        log.info("lanes_revoked", lanes=[str(lane) for lane in event.lanes])
        self.parts.metrics.rebalances.labels("revoked").inc()
        self._share()

    def _forget(self, lanes: tuple[LaneId, ...]) -> None:
        for lane in lanes:
            if lane in self.keepers:
                self._part_with(lane)
            for keeper in self._earlier(lane).values():  # one may have been draining
                keeper.drop()
        log.warning("lanes_lost", lanes=[str(lane) for lane in lanes])
        self.parts.metrics.rebalances.labels("lost").inc()
        self._share()

    def _part_with(self, lane: LaneId) -> tuple[Keeper, asyncio.Task[None]]:
        """The lane is no longer kept; its keeper is to be told to end."""
        keeper, running = self.keepers.pop(lane), self._running.pop(lane)
        self._leaving[lane] = {**self._earlier(lane), running: keeper}
        return keeper, running

    def _earlier(self, lane: LaneId) -> dict[asyncio.Task[None], Keeper]:
        """Keepers of the lane that are still at its end, or whose last outputs are still on their way."""
        leaving = self._leaving.pop(lane, {})
        still = {run: one for run, one in leaving.items() if not run.done() or any(not future.done() for future in one.on_their_way)}
        if still:
            self._leaving[lane] = still
        return still

    def _share(self) -> None:
        self.parts.throttle.set_share(self._share_of(frozenset(self.keepers)))

    async def _hear(self) -> None:
        async for batch in self.parts.feed.events():
            for heard in batch:
                keeper = self.keepers.get(heard.lane)
                if keeper is not None:
                    keeper.hear(heard)
            await asyncio.sleep(0)  # whoever has much to catch up with is not alone
