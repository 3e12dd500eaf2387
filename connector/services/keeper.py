"""Keeping one lane for as long as the group assigns it: claim → serve → drain, and claim anew after every loss."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Mapping, Sequence

from connector.core.flow import State
from connector.core.model import Record
from connector.errors import KafkaUnavailable, LaneLost, LaneRefused, LaneStopped
from connector.logs import get_logger
from connector.ports import Heard, LaneId
from connector.services import inherited, planning
from connector.services.checkpoints import Checkpoints
from connector.services.claim import Claimed, claim
from connector.services.forgetting import forget
from connector.services.hearing import Hearing
from connector.services.lane import Lane
from connector.services.live import Live
from connector.services.parts import Parts
from connector.services.stopping import unless, within

log = get_logger("keeper")
_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.2, 5.0
_TURN = 200  # rows queued in one go
_LAST_ROWS_S = 2.0
_STEADY_S = 30.0  # a tenure that lasted this long resets the backoff


class Keeper:
    """The life of one assignment. ``run`` ends after ``stop`` or ``drop``."""

    def __init__(self, lane: LaneId, parts: Parts) -> None:
        self.id = lane
        self.parts = parts
        self.lane: Lane | None = None
        self.state = "new"
        self.refusal: str | None = None  # why, and what to do, once the state is "refused"
        self._stop = asyncio.Event()
        self._grace_s = 0.0
        # Not bounded here: the backlog holds the input long before, and a bounded queue would let one lane stop the others' intake.
        self._records: asyncio.Queue[Record] = asyncio.Queue()
        self.on_their_way: tuple[asyncio.Future[tuple[str, int]], ...] = ()  # outputs of the last tenure that Kafka had not acknowledged
        self._hearing: Hearing | None = None
        self._succeeded = False
        self._enter("claiming")

    async def run(self) -> None:
        """Own the lane until told otherwise. A refused lane stays refused, and says so: a person must act."""
        backoff_s = _FIRST_BACKOFF_S
        while not self._stop.is_set():
            started = self.parts.clock.boot()
            try:
                await self._tenure()
            except* (LaneLost, KafkaUnavailable) as group:
                self._account(group)
            except* LaneRefused as group:
                self.refusal = str(_innermost(group))
                self._enter("refused")
                log.error("lane_refused", lane=str(self.id), reason=self.refusal)  # noqa: TRY400 - a remedy, not a trace
                await self._stop.wait()
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # a TaskGroup whose children fail too hides that it was cancelled
            if self._stop.is_set():
                break
            self._enter("claiming")
            backoff_s = _FIRST_BACKOFF_S if self.parts.clock.boot() - started > _STEADY_S else min(backoff_s * 2, _LAST_BACKOFF_S)
            await unless(self._stop, self._pause(backoff_s))
        self._enter("gone")

    async def run_after(self, earlier: Mapping[asyncio.Task[None], Keeper], patience_s: float) -> None:
        """``run``, once the lane's earlier keepers are gone, and what they emitted is in the outputs or lost, as after each tenure.

        Two at once would take the input and the callbacks away from each other. One that will not end is not waited for beyond
        ``patience_s``: whatever it still writes, the fence makes void.
        """
        if earlier:
            await unless(self._stop, within(self.parts.clock, patience_s, _gone(earlier)))
        if not self._stop.is_set():
            for keeper in earlier.values():
                keeper.succeed()
        await self.run()

    def stop(self, grace_s: float) -> None:
        """Drain: nothing new is begun; what is under way may end within the grace time."""
        self._grace_s = grace_s
        self._stop.set()

    def drop(self) -> None:
        """Somebody else owns the lane already: forget it at once."""
        self._stop.set()
        if self.lane is not None:
            self.lane.writer.lose("group_lost")

    def succeed(self) -> None:
        """Another keeper of this lane begins: its input and callbacks are that one's."""
        self._succeeded = True

    def offer(self, record: Record) -> None:
        """A record of this lane. Between tenures it is left: the next one starts the input anew."""
        if self.lane is not None and self.state == "running":
            self.lane.backlog.arrive(record)
            self._records.put_nowait(record)

    def hear(self, heard: Heard) -> None:
        """A callback of this lane. Between tenures it is left: the next one follows them anew."""
        if self._hearing is not None and self.state == "running":
            self._hearing.offer(heard)

    # ---------------------------------------------------------------------------------------------------------- one tenure

    async def _tenure(self) -> None:
        """From CLAIM to the last commit of one epoch. Raises an exception group."""
        self._records = asyncio.Queue()
        claimed = await unless(self._stop, claim(self.id, self.parts))
        if claimed is None:
            return
        lane = None
        try:
            async with TaskGroup() as tasks:
                lane = self.lane = Lane(self.id, self.parts, claimed, tasks)
                checkpoints = Checkpoints(lane, claimed)
                doubts = await unless(self._stop, self._settle_in(lane, checkpoints, claimed))
                if doubts is None:
                    raise LaneStopped  # noqa: TRY301 - nothing has begun: the next owner adopts what this one did not
                for work in (self._work(lane), lane.agenda.run(), checkpoints.run(), checkpoints.run_commits(), self._watch(lane)):
                    lane.background(work)
                hearing = self._hearing = Hearing(lane, checkpoints.prove)
                lane.background(hearing.run())
                lane.background(forget(lane))
                lane.background(inherited.report(lane, doubts))
                self._start_input(lane, claimed)
                await self._stop.wait()
                if lane.owned:
                    await self._drain(lane, checkpoints)
                raise LaneStopped  # noqa: TRY301 - the way to end a TaskGroup's other tasks
        except* LaneStopped:
            pass
        finally:
            self.lane = self._hearing = None
            if not self._succeeded:
                self.parts.feed.unfollow(self.id)
            if lane is not None:
                self.on_their_way = lane.emitter.unacked()
                lane.writer.lose("closed")
                lane.polls.close()
                lane.backlog.clear(flow_on=not self._succeeded)

    async def _pause(self, backoff_s: float) -> None:
        """Before the next claim: what this process itself still has on its way must be in the outputs, or lost, when their tail is read."""
        await self.parts.clock.sleep(backoff_s * (0.5 + self.parts.chance()))
        if self.on_their_way:
            await asyncio.wait(self.on_their_way)

    async def _settle_in(self, lane: Lane, checkpoints: Checkpoints, claimed: Claimed) -> list[Live]:
        await checkpoints.restate()
        return await self._adopt(lane, claimed)

    async def _adopt(self, lane: Lane, claimed: Claimed) -> list[Live]:
        """Every flow that is not settled gets a row of this epoch before anybody acts on it; order of keys is by input offset.

        Gives those in doubt.
        """
        adopted = [Live(flow) for flow in sorted(claimed.adopt, key=lambda flow: flow.facts.source_offset)]
        await self._readopt(lane, adopted)
        hold_ms = self.parts.clock.now_ms() + int(self.parts.policy.short_retry_s * 1000)
        for live in adopted:
            waits = live.flow.state is State.NOT_SENT or (live.flow.state is State.PARKED and (live.flow.due_ms or 0) <= hold_ms)
            if waits:
                lane.begin(live)  # ahead of the input in its key's order
        lane.polls.take_over(claimed.checkpoint.polls, len(claimed.follow))
        for flow in claimed.follow:
            lane.flows[flow.facts.flow_id] = live = Live(flow)
            lane.neighbours.note(flow)
            lane.agenda.schedule(live)
        states = Counter((str(flow.facts.message_class or ""), flow.state.name.lower()) for flow in claimed.adopt)
        log.info(
            "lane_claimed",
            lane=str(self.id),
            epoch=claimed.epoch.epoch,
            start=claimed.start,
            adopted=len(adopted),
            followed=len(claimed.follow),
            classes=inherited.by_class(states),
        )
        return [live for live in adopted if live.flow.state is State.DOUBT]

    async def _readopt(self, lane: Lane, adopted: Sequence[Live]) -> None:
        """Their rows go out one behind the other: nobody else is at work on them yet, so neither locks nor tasks are needed."""
        for number, live in enumerate(adopted, 1):
            lane.flows[live.id] = live
            if live.flow.pending:
                await planning.find_recipient(lane, live)
            lane.queue(live, live.flow)
            lane.backlog.park(int(live.flow.state is State.PARKED))
            if number % _TURN == 0:
                await asyncio.sleep(0)
        await lane.writer.drained()

    def _start_input(self, lane: Lane, claimed: Claimed) -> None:
        self._enter("running")
        self.parts.feed.follow(self.id, claimed.checkpoint.callbacks)
        self.parts.source.start(self.id, claimed.start)
        lane.backlog.started()

    async def _work(self, lane: Lane) -> None:
        """Records one after the other: order of keys and of rows follows from it."""
        while True:
            record = await self._records.get()
            self.parts.metrics.events.labels(record.topic).inc()
            await lane.handle(record)

    async def _watch(self, lane: Lane) -> None:
        await asyncio.shield(lane.lost)

    async def _drain(self, lane: Lane, checkpoints: Checkpoints) -> None:
        """Stop order: intake → what has not begun → what is under way, within the grace time → checkpoint → commit.

        Kafka may be away just then: what it has not acknowledged soon after the grace time is the next owner's to find out.
        """
        self._enter("draining")
        if not self._succeeded:
            self.parts.source.hold([self.id], held=True)
        lane.draining = True
        deadline = self.parts.clock.boot() + self._grace_s
        while lane.at_work and self.parts.clock.boot() < deadline:
            for task in tuple(lane.cuttable):
                task.cancel()
            await self.parts.clock.sleep(0.01)
        left_s = max(deadline - self.parts.clock.boot(), 0.0)
        if not await within(self.parts.clock, left_s + _LAST_ROWS_S, self._conclude(checkpoints)):
            lane.writer.lose("grace_over")

    @staticmethod
    async def _conclude(checkpoints: Checkpoints) -> None:
        await checkpoints.write()
        await checkpoints.commit()

    # ------------------------------------------------------------------------------------------------------------- counting

    def _account(self, group: BaseExceptionGroup[LaneLost | KafkaUnavailable]) -> None:
        first = _innermost(group)
        reason = first.reason if isinstance(first, LaneLost) else "kafka_unavailable"
        self.parts.metrics.lane_drops.labels(reason).inc()
        log.warning("lane_dropped", lane=str(self.id), reason=reason, detail=None if isinstance(first, LaneLost) else str(first))

    def _enter(self, state: str) -> None:
        lanes = self.parts.metrics.lanes
        if self.state in {"claiming", "running", "draining", "refused"}:
            lanes.labels(self.state).dec()
        if state != "gone":
            lanes.labels(state).inc()
        self.state = state


async def _gone(keepers: Mapping[asyncio.Task[None], Keeper]) -> None:
    await asyncio.wait(keepers)
    if waiting := [future for keeper in keepers.values() for future in keeper.on_their_way]:
        await asyncio.wait(waiting)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
