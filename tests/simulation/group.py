"""A consumer group: who owns which lane in the coordinator's eyes, who still believes to, and what each is told when."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from connector.core.model import Record
from connector.core.resume import Places
from connector.ports import Arrived, Assigned, LaneId, Lost, Revoked, SourceEvent
from tests.simulation.kafka import Broker
from tests.simulation.loop import Process

SESSION_S = 6.0
_TICK_S = 0.5
_RELEASE_S = 12.0
_BATCH = 5


@dataclass(frozen=True, slots=True)
class Commit:
    """One accepted commit, in virtual seconds."""

    lane: LaneId
    offset: int
    at: float


@dataclass(slots=True, eq=False)
class Member:
    """One membership; a process that was evicted joins again as another."""

    source: SimSource
    heard: float
    cut_until: float = 0.0  # the coordinator hears nothing of it, although it works on
    gone: bool = False

    @property
    def process(self) -> Process:
        """Whose it is."""
        return self.source.process


class Coordinator:
    """Ownership as the broker sees it."""

    def __init__(self, broker: Broker, lanes: Sequence[LaneId]) -> None:
        self.broker = broker
        self.lanes = tuple(lanes)
        self.members: list[Member] = []
        self.owner: dict[LaneId, Member | None] = dict.fromkeys(lanes)
        self.target: dict[LaneId, Member | None] = dict.fromkeys(lanes)
        self.revoking: dict[LaneId, Member] = {}
        self.committed: dict[LaneId, int] = {}
        self.commits: list[Commit] = []
        self.unstable_until = 0.0

    def run(self) -> None:
        """Watch the sessions, from now on."""
        loop, now = self.broker.loop, self.broker.loop.time()
        for member in tuple(self.members):
            if member.process.running and member.cut_until <= now and not self.broker.down:
                member.heard = now
            elif self.broker.down:
                member.heard += _TICK_S
            if now - member.heard > SESSION_S:
                self.leave(member)
        loop.in_world(_TICK_S, self.run)

    def join(self, source: SimSource) -> Member:
        """A new member; lanes are dealt out anew."""
        member = Member(source, self.broker.loop.time())
        self.members.append(member)
        self.rebalance()
        return member

    def leave(self, member: Member) -> None:
        """It left or was evicted: its lanes are free at once, whatever it believes."""
        if member.gone:
            return
        member.gone = True
        self.members.remove(member)
        for lane in self.lanes:
            if self.owner[lane] is member:
                self.owner[lane] = None
            if self.revoking.get(lane) is member:
                del self.revoking[lane]
        self.rebalance()

    def rebalance(self) -> None:
        """Deal the lanes out in some way, and have the moves begin."""
        rng, loop = self.broker.rng, self.broker.loop
        self.unstable_until = loop.time() + rng.random() * 0.5
        shuffled = rng.sample(self.members, len(self.members))
        even = rng.random() < 0.7
        for position, lane in enumerate(self.lanes):
            self.target[lane] = None if not shuffled else shuffled[position % len(shuffled)] if even else rng.choice(shuffled)
        loop.in_world(rng.random() * 0.3, self._move)

    def _move(self) -> None:
        for lane in self.lanes:
            owner, target = self.owner[lane], self.target[lane]
            if target is None or target.gone or target is owner:
                continue
            if owner is None:
                self.owner[lane] = target
                target.source.tell(functools.partial(target.source.assigned, target, lane))
            elif lane not in self.revoking:
                self.revoking[lane] = owner
                owner.source.tell(functools.partial(owner.source.revoked, owner, lane))

    def released(self, member: Member, lane: LaneId) -> None:
        """A revoked lane is free."""
        if self.revoking.get(lane) is member:
            del self.revoking[lane]
            if self.owner[lane] is member:
                self.owner[lane] = None
        self._move()

    def commit(self, member: Member, lane: LaneId, offset: int) -> bool:
        """Accepted from any member of the present generation."""
        now = self.broker.loop.time()
        if member.gone or self.broker.down or (now < self.unstable_until and self.broker.rng.random() < 0.5):
            return False
        self.committed[lane] = offset
        self.commits.append(Commit(lane, offset, now))
        return True

    def forget_some(self, lane: LaneId) -> None:
        """A committed offset goes back to an earlier one, or is lost."""
        earlier = [commit.offset for commit in self.commits if commit.lane == lane]
        self.committed[lane] = self.broker.rng.choice([0, *earlier])


class SimSource:
    """``ports.Source`` of one process."""

    def __init__(self, coordinator: Coordinator, process: Process) -> None:
        self.process = process
        self.member: Member | None = None
        self._answered: Member | None = None  # whose eviction the coordinator has told us
        self._coordinator = coordinator
        self._broker = coordinator.broker
        self._items: deque[SourceEvent | tuple[LaneId, int, list[Record]]] = deque()
        self._ready = asyncio.Event()
        self._ended = False
        self._told_at = 0.0
        self._believes: dict[LaneId, Member] = {}
        self._tenures: dict[LaneId, int] = {}  # how often each lane was assigned: a release counts for its own tenure only
        self._live: dict[LaneId, int] = {}
        self._generation = 0
        self._position: dict[LaneId, int] = {}
        self._held: set[LaneId] = set()
        self._pumping: set[LaneId] = set()
        for lane in coordinator.lanes:
            self._broker.log(f"input {lane}").followers.append(functools.partial(self._poke, lane))

    # ------------------------------------------------------------------------------------------------ the coordinator's word

    def tell(self, what: Callable[[], None]) -> None:
        """Something reaches this member a little later, in order, as a step of its process."""
        loop = self._broker.loop
        self._told_at = max(self._told_at, loop.time() + self._broker.rng.random() * 0.1)
        if not self._ended:
            loop.on(self.process, self._told_at - loop.time(), what)

    def assigned(self, member: Member, lane: LaneId) -> None:
        """The lane is ours."""
        if self._is_past(member):
            return
        self._believes[lane] = member
        self._tenures[lane] = self._tenures.get(lane, 0) + 1
        self._held.discard(lane)
        self._put(Assigned((lane,)))

    def revoked(self, member: Member, lane: LaneId) -> None:
        """The lane is taken back, once it is released."""
        loop = self._broker.loop
        if self._is_past(member):
            return
        if self._believes.get(lane) is not member:
            loop.in_world(0.0, self._coordinator.released, member, lane)
            return
        done, tenure = False, self._tenures[lane]

        def release() -> None:
            nonlocal done
            if not done and self.process.alive:
                done = True
                if self._tenures[lane] == tenure:
                    self._forget(lane)
                loop.in_world(self._broker.rng.random() * 0.05, self._coordinator.released, member, lane)

        def waited() -> None:
            if not done and self._tenures[lane] == tenure and lane in self._believes:
                self._put(Lost((lane,)))
                release()

        self._put(Revoked((lane,), release))
        loop.on(self.process, _RELEASE_S, waited)

    def _is_past(self, member: Member) -> bool:
        """An evicted member learns of it by its next word with the coordinator: all lost, then it joins again."""
        if member.gone and member is self.member:
            self._lose()
        return member.gone

    def _lose(self) -> None:
        lanes = tuple(self._believes)
        for lane in lanes:
            self._forget(lane)
        if lanes:
            self._put(Lost(lanes))
        self.member = None
        self._broker.loop.on(self.process, 0.2, self._join)

    def _heartbeat(self) -> None:
        if self._ended:
            return
        member = self.member
        if member is not None and member.gone and member.cut_until <= self._broker.loop.time() and not self._broker.down:
            if self._answered is member:
                self._lose()
            self._answered = member  # the answer takes its time: a zombie is at work until then
        self._broker.loop.on(self.process, 0.3 + self._broker.rng.random() * 2.0, self._heartbeat)

    def _join(self) -> None:
        if self._ended or self.member is not None:
            return
        if self._broker.down:
            self._broker.loop.on(self.process, 1.0, self._join)
            return
        self.member = self._coordinator.join(self)

    def _forget(self, lane: LaneId) -> None:
        self._believes.pop(lane, None)
        self._live.pop(lane, None)

    def _put(self, item: SourceEvent | tuple[LaneId, int, list[Record]]) -> None:
        self._items.append(item)
        self._ready.set()

    # ------------------------------------------------------------------------------------------------------------- the port

    async def events(self) -> AsyncIterator[SourceEvent]:
        """Joins the group."""
        self._join()
        self._heartbeat()
        while True:
            while self._items:
                item = self._items.popleft()
                if isinstance(item, tuple):
                    lane, generation, records = item
                    if self._live.get(lane) == generation:
                        yield Arrived(tuple(records))
                else:
                    yield item
            if self._ended:
                return
            await self._ready.wait()
            self._ready.clear()

    def start(self, lane: LaneId, offset: int) -> None:
        if not self.process.alive:
            return
        self._generation += 1
        self._live[lane] = self._generation
        self._position[lane] = offset
        self._held.discard(lane)
        self._poke(lane)

    def hold(self, lanes: Sequence[LaneId], held: bool) -> None:
        for lane in lanes:
            (self._held.add if held else self._held.discard)(lane)
            self._poke(lane)

    async def commit(self, offsets: Mapping[LaneId, int]) -> bool:
        member, loop = self.member, self._broker.loop
        if member is None or self._ended or any(lane not in self._believes for lane in offsets):
            return False
        answer: asyncio.Future[bool] = loop.create_future()
        loop.in_world(self._broker.rng.random() * 0.02, self._commit, member, dict(offsets), answer)
        return await answer

    def _commit(self, member: Member, offsets: dict[LaneId, int], answer: asyncio.Future[bool]) -> None:
        refused = [lane for lane, offset in offsets.items() if not self._coordinator.commit(member, lane, offset)]
        self._broker.loop.on(self.process, 0.002, _answer, answer, not refused)

    async def places(self, lane: LaneId) -> Places:
        await self._broker.reach()
        return Places(self._coordinator.committed.get(lane), 0, self._broker.log(f"input {lane}").end, 0)

    def close(self) -> None:
        """Leave the group."""
        self._ended = True
        self._ready.set()
        if self.member is not None:
            self._broker.loop.in_world(0.01, self._coordinator.leave, self.member)

    # ------------------------------------------------------------------------------------------------------------- fetching

    def _poke(self, lane: LaneId) -> None:
        if lane in self._live and lane not in self._pumping and self.process.alive:
            self._pumping.add(lane)
            self._broker.loop.on(self.process, self._broker.rng.random() * 0.02, self._pump, lane)

    def _pump(self, lane: LaneId) -> None:
        self._pumping.discard(lane)
        if lane not in self._live or lane in self._held:
            return
        if self._broker.down:
            self._pumping.add(lane)
            self._broker.loop.on(self.process, 0.5, self._pump, lane)
            return
        first = self._position[lane]
        rows = self._broker.log(f"input {lane}").read(first, first + self._broker.rng.randint(0, _BATCH - 1))
        if rows:
            self._position[lane] = rows[-1].offset + 1
            self._put((lane, self._live[lane], [row.value for row in rows]))
            self._poke(lane)


def _answer(future: asyncio.Future[bool], accepted: bool) -> None:
    if not future.done():
        future.set_result(accepted)
