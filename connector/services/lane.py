"""One lane while this process owns it: the data path from an input record to a settled send. Start reading at ``Lane.handle``.

A ``Lane`` lives for one epoch. Whatever shakes its ownership raises ``LaneLost`` and ends it; the ``Keeper`` claims anew.
"""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress

from connector.core import rows
from connector.core.flow import Event, Flow, Intended, Overtaken, Parked, State, advance
from connector.core.model import Doubt, NotSent, Outcome, Record, RefusalKind, Refused, Request
from connector.core.prefix import Prefix
from connector.errors import LaneLost, LaneStopped, Undecodable
from connector.logs import get_logger
from connector.ports import LaneId
from connector.services import counts, letters, planning
from connector.services.agenda import Agenda
from connector.services.backlog import Backlog
from connector.services.claim import Claimed
from connector.services.emitter import Emitter
from connector.services.gates import gate
from connector.services.live import Live, Unsendable, named
from connector.services.parts import Parts
from connector.services.retries import Retry, limited, retry_after
from connector.services.rows import RowReader, RowWriter
from connector.services.throttle import Breaker, PollBudget
from connector.services.turns import Turns

log = get_logger("lane")
_RECENT = 2000
_BREAKERS = {RefusalKind.AUTH: Breaker.AUTH, RefusalKind.BALANCE: Breaker.BALANCE}


class Lane:
    """What is owned: the ledger, the rows' writer, the outputs, the order of keys, and every flow that is not finished."""

    def __init__(self, lane: LaneId, parts: Parts, claimed: Claimed, tasks: TaskGroup) -> None:
        self.id = lane
        self.parts = parts
        self.ledger = claimed.ledger
        self.claimed_at = parts.clock.boot()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.writer = RowWriter(lane, claimed.epoch, parts.journal, parts.metrics, parts.clock, self._lose)
        self.reader = RowReader(lane, parts.journal, claimed.epoch)
        self.emitter = Emitter(lane, parts.outbox, claimed.checkpoint.outputs, self.writer.lose)
        self.taken = Prefix(claimed.start)
        self.callbacks = Prefix(claimed.checkpoint.callbacks or 0)
        self.flows: dict[str, Live] = {}
        self.turns = Turns()
        self.agenda = Agenda(self)
        self.polls = PollBudget(parts.throttle)
        self.backlog = Backlog(lane, parts, lambda: self.taken.open)
        self.neighbours = claimed.neighbours
        self.newest = claimed.newest
        self.recent: OrderedDict[str, Flow] = OrderedDict()  # just finished: most late callbacks are about these, and need no read
        self.last_row = -1  # offset of the last valid row of a flow
        self.draining = False
        self.at_work: set[asyncio.Task[None]] = set()
        self.cuttable: set[asyncio.Task[None]] = set()  # those of them that have no POST under way
        self._tasks = tasks

    # ------------------------------------------------------------------------------------------------------ the data path

    async def handle(self, record: Record) -> None:
        """One input record, in offset order: decode → known? → route → build → begin. Everything consumed gets a row.

        What follows goes on beside the next records, per flow, in ``attempt``: turn → gates → INTENT → POST → settle.
        """
        self.taken.take(record.offset)
        if record.value is None:
            self._skip(record)
            return
        try:
            notification = await planning.decode(self, record)
            flows = await planning.plan(self, record, notification)
        except Undecodable as error:
            flows = await planning.undecodable(self, record, error)
        self.backlog.hold(record, len(flows))
        for live in flows:
            self.begin(live)

    async def attempt(self, live: Live) -> None:
        """One flow from its turn to a settled send decision: gates → INTENT, valid → POST once → settle."""
        if live.turn is not None:
            await live.turn
        if live.flow.due_ms is not None:
            await self.parts.clock.sleep(min((live.flow.due_ms - self.parts.clock.now_ms()) / 1000, self.parts.policy.short_retry_s))
        while (request := await self._ready(live)) is not None:
            retry = await self._post(live, request)
            if retry is None:
                return
            if retry.release:
                await self.settle(live, Parked(self.parts.clock.now_ms() + retry.delay_ms, retry.reason))
                return
            await self.parts.clock.sleep(retry.delay_ms / 1000)

    async def settle(self, live: Live, event: Event) -> Flow:
        """Apply an event to a flow, journal it, emit it. Returns when the row is valid; raises LaneLost."""
        with self._kept(live):
            if live.flow.state is not State.ACCEPTED or live.flow.guessed:  # only send events name a recipient
                await planning.find_recipient(self, live)
            async with live.lock:
                before = live.flow.acked(live.acks)
                after = advance(before, event, self.parts.clock.now_ms())
                if after is not before:
                    await self.write(live, after)
        return live.flow

    # ------------------------------------------------------------------------------------------------------------ taking in

    def begin(self, live: Live) -> None:
        """Give a flow its place in its key's order and start the attempt."""
        self.flows[live.id] = live
        self.newest.note(live.flow.facts)
        live.turn = self.turns.enqueue(live.key, live.id)
        self.spawn(live, self.attempt(live))

    def spawn(self, live: Live, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` on a flow; one at a time."""
        live.busy = True
        task = self._tasks.create_task(self._work(live, work))
        self.at_work.add(task)
        self.cuttable.add(task)
        task.add_done_callback(self.at_work.discard)
        task.add_done_callback(self.cuttable.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before its first step never gets to its work

    def hear(self, work: Coroutine[None, None, None], done: Callable[[], None]) -> None:
        """Apply a callback beside everything else; per flow in the order of arrival, since a flow's lock is fair."""
        try:
            task = self._tasks.create_task(work)
        except RuntimeError:  # the lane is being dropped: the next tenure reads this callback again
            work.close()
            done()
            return
        self.at_work.add(task)
        task.add_done_callback(self.at_work.discard)
        task.add_done_callback(lambda _: done())

    def background(self, work: Coroutine[None, None, None]) -> None:
        """Something that goes on for as long as the lane is owned."""
        self._tasks.create_task(work)

    async def _work(self, live: Live, work: Coroutine[None, None, None]) -> None:
        try:
            with suppress(LaneStopped):
                await work
        finally:
            live.busy = False
            self.turns.release(live.key, live.id)
            if live.record is not None:
                self.backlog.release(live.record)
            live.forget()
            if self.flows.get(live.id) is live:
                self.agenda.schedule(live, now=live.poll_alone and live.flow.state is State.ACCEPTED)  # asked for while it was busy
                self.let_go(live)

    def _skip(self, record: Record) -> None:
        self.parts.metrics.tombstones.inc()
        self.taken.done(record.offset)
        self.backlog.hold(record, 0)

    # -------------------------------------------------------------------------------------------------------------- sending

    async def _ready(self, live: Live) -> Request | None:
        """Every gate, then the permit. None: the flow has ended, or a callback proved it sent."""
        if self.draining:
            raise LaneStopped
        if live.flow.state.settled:
            return None
        if live.unsendable is None and (end := gate(self, live)) is not None:
            live.unsendable = Unsendable(end, None)
        request = None if live.unsendable else await planning.request_for(self, live)
        if live.unsendable is not None:
            await self._bury(live, live.unsendable)
            return None
        facts = live.flow.facts
        if request is None or facts.message_class is None:
            return None
        if await self.parts.throttle.enter(facts.message_class, facts.expires_at_ms):
            if gate(self, live) is None and (request := planning.fitted(self, live)) is not None:
                return request
            self.parts.throttle.leave()
        return await self._ready(live)  # it expired, or a newer one came, while it waited

    async def _bury(self, live: Live, unsendable: Unsendable) -> None:
        """End a flow that is not sent. Its dead letter is acknowledged first, so that no crash can lose it."""
        if unsendable.letter is not None:
            await letters.put(self, unsendable.letter, named(live.flow.facts))
        await self.settle(live, unsendable.end)

    async def _post(self, live: Live, request: Request) -> Retry | None:
        """INTENT, durable and valid, lease running; then one POST. Gives back the permit that ``_ready`` took."""
        try:
            for flow_id in self.turns.overtaken_by(live.key, live.flow.facts.source_offset):
                if (other := self.flows.get(flow_id)) is not None:  # it may have ended while another was written
                    await self.settle(other, Overtaken())
            with self._uncut():
                begun = self.parts.clock.boot()
                if (await self.settle(live, Intended())).state is not State.INTENT:
                    return None  # a callback proved an earlier attempt meanwhile
                outcome = await self._send(live, request, lambda: self._may_post(live, begun))
                await self.settle(live, outcome)
        finally:
            self.parts.throttle.leave()
        if isinstance(outcome, Doubt) and not live.flow.state.settled:
            log.warning("flow_in_doubt", **named(live.flow.facts), attempt=live.flow.attempt, reason=outcome.reason)
        if live.flow.state.settled or isinstance(outcome, Doubt):
            live.tries = 0
            return None
        live.tries += 1
        refused_before = any(line.http_status in {401, 403} for line in live.flow.attempts[-2:-1])
        retry = retry_after(outcome, live.tries, self.parts.policy, self.parts.chance(), refused_before=refused_before)
        if retry.breaker is not None:
            self.parts.throttle.open(retry.breaker)
        return retry

    async def _send(self, live: Live, request: Request, may_start: Callable[[], bool]) -> Outcome:
        outcome = await self.parts.sender.send(request, may_start)
        counts.attempt(self.parts, live, outcome)
        refused = outcome if isinstance(outcome, Refused) else None
        if not isinstance(outcome, NotSent) and (refused is None or refused.posted):
            self.parts.throttle.record(bad=isinstance(outcome, Doubt), refused=_BREAKERS.get(refused.kind) if refused else None)
            self.polls.sent()
        return limited(outcome, live.flow.attempts)

    def _may_post(self, live: Live, begun: float) -> bool:
        """The last question before the first byte: owner, not expired, no callback proved an earlier attempt, the lease is running."""
        now, due = self.parts.clock.boot(), self.parts.clock.now_ms() < live.flow.facts.expires_at_ms
        due = due and live.flow.state is State.INTENT and not live.flow.called
        if may := self.owned and due and now - begun <= self.parts.policy.lease_s:
            live.posted_at = now
        return may

    @property
    def owned(self) -> bool:
        """Nothing has shaken the ownership so far."""
        return not self.lost.done()

    @contextmanager
    def _uncut(self) -> Iterator[None]:
        """While a POST may be under way a drain waits instead of cancelling."""
        task = asyncio.current_task()
        if task is not None:
            self.cuttable.discard(task)
        try:
            yield
        finally:
            if task is not None and task in self.at_work:
                self.cuttable.add(task)

    # ------------------------------------------------------------------------------------------------------------- settling

    def queue(self, live: Live, flow: Flow) -> asyncio.Future[int]:
        """Queue the flow's row: the future is done when it is valid, and raises LaneLost. At most one of a flow may be on its way."""
        self.parts.metrics.journal_rows.inc()
        return self.writer.append(lambda k: rows.flow_row(flow, self.writer.epoch.epoch, k), lambda offset: self._stand(live, flow, offset))

    async def write(self, live: Live, flow: Flow) -> None:
        """Queue the flow's row and wait until it is valid, even when cancelled meanwhile: a half-known row would be worse."""
        waiter = self.queue(live, flow)
        cancelled: asyncio.CancelledError | None = None
        while not waiter.done():
            try:
                await asyncio.wait({waiter})
            except asyncio.CancelledError as error:
                cancelled = error
        waiter.result()
        if cancelled is not None:
            raise cancelled

    def _stand(self, live: Live, flow: Flow, offset: int) -> None:
        """The row is valid: the flow is what it says, its events go out, its input may be committed."""
        before, facts = live.stand(flow), flow.facts
        self.last_row = offset
        self._emit(live)
        counts.change(self.parts.metrics, before, flow)
        for input_offset in self.ledger.written(facts.digest, facts.flow_id):
            self.taken.done(input_offset)
        if (parked := (flow.state is State.PARKED) - (before.state is State.PARKED)) != 0:
            self.backlog.park(parked)
        if flow.state is State.DOUBT:
            self.turns.doubtful(live.key, live.id, facts.source_offset)
        elif before.state is State.DOUBT:
            self.turns.cleared(live.key, live.id)
        self.neighbours.note(flow, instead_of=before)
        if before.finished and not flow.finished:  # the cleaner may take the row that the ledger knows it by
            self.ledger.adopt(facts.digest, facts.siblings, facts.rule, facts.flow_id)
        if flow.finished:
            self.ledger.finish(facts.digest, live.id, offset)
            self.let_go(live)
        elif not live.busy:
            self.agenda.schedule(live)

    def _emit(self, live: Live) -> None:
        for number, event in live.flow.pending:
            if number <= live.emitted:
                continue
            live.emitted = number

            def acked(number: int = number, kind: str = event.kind) -> None:
                live.acks |= {number}
                self.parts.metrics.outputs.labels(kind).inc()
                self.let_go(live)

            self.emitter.emit(event, live.recipient, live.headers, acked)

    @contextmanager
    def _kept(self, live: Live) -> Iterator[None]:
        """While somebody settles a flow it is not let go: a second object of one flow would write rows that contradict the first's."""
        live.users += 1
        try:
            yield
        finally:
            live.users -= 1
            self.let_go(live)

    def let_go(self, live: Live) -> None:
        """Forget a flow whose last row says everything; a late callback reads it there."""
        if live.at_rest and self.flows.get(live.id) is live:
            del self.flows[live.id]
            self.recent[live.id] = live.flow
            if len(self.recent) > _RECENT:
                self.recent.popitem(last=False)

    def _lose(self, reason: str) -> None:
        """The writer's word that nothing more can be known valid."""
        if not self.lost.done():
            self.lost.set_exception(LaneLost(reason))
            self.lost.exception()  # heard by whoever asks; nobody need
