"""What a consumer without a journal does under the same faults: the two usual ways, of our own decoding, routing and building.

Both read a lane in order, deliver up to 32 records at once, and commit behind the batch when each of them has been dealt with. 429, 401
and connections that never were are tried again until the message has expired. They differ in what no answer means to them.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector.core import identity
from connector.core.model import Accepted, Doubt, MessageClass, Notification, NotSent, Record, Refused, Rejected, Request
from connector.core.request import build
from connector.core.rules import Rule
from connector.errors import KafkaUnavailable, Unbuildable, Undecodable
from connector.ports import Arrived, Assigned, BegunAnew, LaneId, Lost, Revoked, SourceEvent
from connector.services.retries import retry_after
from tests.simulation.group import SimSource
from tests.simulation.kafka import Producer
from tests.simulation.loop import Process
from tests.simulation.ports import SimClock
from tests.simulation.routee import Client
from tests.simulation.setting import EPOCH_MS, rules
from tests.simulation.worker import JsonDecoder

if TYPE_CHECKING:
    from tests.simulation.world import Hire, World

_AT_ONCE = 32
_TRIES = 3
_PAUSE_S = 0.5
_GRACE_S = 5.0


class Habit(enum.StrEnum):
    """What is done about a timeout, a cut connection or a 5xx."""

    COMMIT_AFTER_SEND = "commit-after-send"  # nothing: the request left, that was its chance
    RETRY_ON_TIMEOUT = "retry-on-timeout"  # the POST is repeated, three in all


@dataclass(eq=False)
class _Tenure:
    """One lane for as long as it is believed to be ours."""

    lane: LaneId
    records: deque[Record] = field(default_factory=deque)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    position: int = 0  # behind the last record dealt with
    busy: bool = False
    stopping: bool = False  # the batch at hand is the last
    lost: bool = False  # nothing is committed any more

    def stop(self) -> None:
        """End with the batch at hand, and its commit."""
        self.stopping = True
        self.more.set()


class Consumer:
    """``world.Program``: a usual consumer."""

    def __init__(self, habit: Habit, world: World, process: Process) -> None:
        setting = world.setting
        self.world = world
        self.process = process
        self.exited = False
        self.clock = SimClock(world.loop, EPOCH_MS, world.rng.random() * 1000)
        self.producer = Producer(world.broker, process)
        self.source = SimSource(world.coordinator, process)
        self._habit = habit
        self._policy = setting.policy
        self._decoder = JsonDecoder()
        self._client = Client(world.routee, process, self.clock, setting.policy.timeout_s, world.lane_of_attempt)
        self._tenures: dict[LaneId, _Tenure] = {}

    # ------------------------------------------------------------------------------------------------- as the world knows it

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                async for event in self.source.events():
                    self._hear(tasks, event)
                for tenure in self._stopped(self._tenures):  # a lane may have been given to it while it stopped
                    tenure.lost = True
        except Exception as error:  # noqa: BLE001 - a finding, whatever it is
            self.world.crashes.append(f"{self.process.name} crashed: {error!r}")
        self.exited = True
        self.world.loop.in_world(0.05, self.world.loop.kill, self.process)

    def _hear(self, tasks: asyncio.TaskGroup, event: SourceEvent) -> None:
        match event:
            case Assigned(lanes):
                for lane in lanes:
                    tenure = self._tenures[lane] = _Tenure(lane)
                    tasks.create_task(self._keep(tenure))
            case Arrived(records):
                for record in records:
                    self._take(record)
            case Revoked(lanes, release):
                tasks.create_task(self._release(self._stopped(lanes), release))
            case Lost(lanes):
                for tenure in self._stopped(lanes):
                    tenure.lost = True
            case BegunAnew():  # no simulated input is
                pass

    def stop(self) -> None:
        self.world.loop.create_task(self._stop(), context=self.process.context.copy())

    def rests(self, lane: LaneId, end: int) -> bool:
        tenure = self._tenures.get(lane)
        return tenure is not None and not tenure.busy and not tenure.stopping and tenure.position == end

    def condition(self) -> list[str]:
        return [f"{self.process.name} {lane} at {one.position}, busy: {one.busy}" for lane, one in self._tenures.items()]

    def slow_claims(self, factor: float) -> None:
        """It has nothing to claim."""

    def call_back(self, url: str, body: bytes) -> asyncio.Future[int]:
        answer: asyncio.Future[int] = self.world.loop.create_future()
        answer.set_result(200)
        return answer

    # ------------------------------------------------------------------------------------------------------------ the lanes

    def _take(self, record: Record) -> None:
        tenure = self._tenures.get(LaneId(record.topic, record.partition))
        if tenure is not None:
            tenure.records.append(record)
            tenure.more.set()

    def _stopped(self, lanes: Iterable[LaneId]) -> list[_Tenure]:
        """These lanes' tenures, told to end with the batch at hand."""
        tenures = [tenure for lane in lanes if (tenure := self._tenures.get(lane)) is not None]
        for tenure in tenures:
            tenure.stop()
        return tenures

    async def _ended(self, tenures: list[_Tenure]) -> None:
        while any(tenure.busy for tenure in tenures):
            await self.clock.sleep(0.05)

    async def _release(self, tenures: list[_Tenure], release: Callable[[], None]) -> None:
        await self._ended(tenures)
        release()

    async def _stop(self) -> None:
        tenures = self._stopped(self._tenures)
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._ended(tenures)
        except TimeoutError:
            for tenure in tenures:
                tenure.lost = True
        self.source.close()

    async def _keep(self, tenure: _Tenure) -> None:
        tenure.position = await self._committed(tenure.lane)
        if tenure.stopping:
            return
        self.source.start(tenure.lane, tenure.position)
        while not tenure.stopping:
            if not tenure.records:
                tenure.more.clear()
                await tenure.more.wait()
                continue
            tenure.busy = True
            batch = [tenure.records.popleft() for _ in range(min(_AT_ONCE, len(tenure.records)))]
            async with asyncio.TaskGroup() as tasks:
                for record in batch:
                    tasks.create_task(self._deliver(tenure, record))
            await self._commit(tenure, batch[-1].offset + 1)
            tenure.busy = False

    async def _committed(self, lane: LaneId) -> int:
        while True:
            try:
                return (await self.source.places(lane)).committed or 0
            except KafkaUnavailable:
                await self.clock.sleep(_PAUSE_S)

    async def _commit(self, tenure: _Tenure, offset: int) -> None:
        while not tenure.lost:
            if await self.source.commit({tenure.lane: offset}):
                tenure.position = offset
                return
            await self.clock.sleep(_PAUSE_S)

    # ---------------------------------------------------------------------------------------------------------- the messages

    async def _deliver(self, tenure: _Tenure, record: Record) -> None:
        """Every message of one record. What is no event is passed over."""
        if record.value is None:
            return
        try:
            notification = await self._decoder.decode(record)
        except Undecodable:
            return
        for rule in rules().route(notification):
            await self._send(tenure, notification, rule)

    async def _send(self, tenure: _Tenure, notification: Notification, rule: Rule) -> None:
        """One message, until the answer, whatever it is, or the habit says that this was all."""
        flow_id = identity.flow_id(notification.identity, rule.name)
        expires_at_ms = _expires_at_ms(notification, self._policy.expiry_ms[rule.message_class])
        doubts = 0
        for n in itertools.count(1):
            if tenure.lost:
                return
            request = self._request(notification, rule, identity.attempt_id(flow_id, n), expires_at_ms)
            if request is None:
                self.world.ended[flow_id] = "EXPIRED"
                return
            match await self._client.send(request, lambda: True):
                case NotSent() | Refused() as outcome:
                    pause_ms = retry_after(outcome, n, self._policy, self.world.rng.random()).delay_ms
                    await self.clock.sleep(max(pause_ms / 1000, _PAUSE_S))
                case Doubt():
                    doubts += 1
                    if self._habit is Habit.COMMIT_AFTER_SEND or doubts == _TRIES:
                        return
                    await self.clock.sleep(_PAUSE_S)
                case Rejected():
                    self.world.ended[flow_id] = "REJECTED"
                    return
                case Accepted():
                    return

    def _request(self, notification: Notification, rule: Rule, attempt_id: str, expires_at_ms: int) -> Request | None:
        """None: it has expired, or too little time is left for a code."""
        left_ms = expires_at_ms - self.clock.now_ms()
        if left_ms <= 0:
            return None
        try:
            return build(notification, rule, attempt_id, None, remaining_ms=left_ms if rule.message_class is MessageClass.OTP else None)
        except Unbuildable:
            return None


def _expires_at_ms(notification: Notification, class_ms: int) -> int:
    by_class = notification.occurred_at_ms + class_ms
    return by_class if notification.expires_at_ms is None else min(by_class, notification.expires_at_ms)


BASELINES: Mapping[str, Hire] = {habit.value: functools.partial(Consumer, habit) for habit in Habit}
