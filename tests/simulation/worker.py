"""One simulated process: the real services on the simulated ports, put together as in ``app.py``."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from connector.core import identity
from connector.core.model import Notification, Record
from connector.core.notification import to_notification
from connector.errors import Undecodable
from connector.ports import LaneId
from connector.services import breakers
from connector.services.callbacks import Ingress, callback_urls
from connector.services.intake import Intake
from connector.services.parts import Parts
from connector.services.throttle import Throttle
from tests.simulation.group import SimSource
from tests.simulation.kafka import Producer
from tests.simulation.loop import Process
from tests.simulation.ports import SimClock, SimDeadLetters, SimFeed, SimJournal, SimOutbox, SimPast, SimSink
from tests.simulation.routee import Client
from tests.simulation.setting import EPOCH_MS, rules

if TYPE_CHECKING:
    from tests.simulation.world import World

_SECRETS = (b"simulated-secret-of-32-bytes----",)
_GRACE_S = 5.0


class JsonDecoder:
    """``ports.Decoder`` for JSON."""

    async def decode(self, record: Record) -> Notification:
        try:
            content = orjson.loads(record.value or b"")
        except orjson.JSONDecodeError as error:
            raise Undecodable("BAD_JSON", "not JSON") from error
        return to_notification(record, content, {})


class Worker:
    """Made as a step of the world; ``run`` is the process's main task."""

    def __init__(self, world: World, process: Process) -> None:
        broker, setting = world.broker, world.setting
        self.world = world
        self.process = process
        self.exited = False  # by SIGTERM, in its own time
        self.clock = SimClock(world.loop, EPOCH_MS, world.rng.random() * 1000)
        self.producer = Producer(broker, process)
        self.source = SimSource(world.coordinator, process)
        self.feed = SimFeed(broker, process, setting.lanes)
        self.outbox = SimOutbox(broker, self.producer)
        self.journal = SimJournal(broker, self.producer, self.outbox.epochs)
        self.client = Client(world.routee, process, self.clock, setting.policy.timeout_s, world.lane_of_attempt)
        self.throttle = Throttle(self.clock, world.metrics, setting.rate, 16, 0.5, setting.policy.breaker_probe_s)
        self.parts = Parts(
            clock=self.clock,
            source=self.source,
            decoder=JsonDecoder(),
            past=SimPast(broker),
            journal=self.journal,
            outbox=self.outbox,
            dead_letters=SimDeadLetters(self.producer),
            sender=self.client,
            tracking=self.client,
            feed=self.feed,
            throttle=self.throttle,
            metrics=world.metrics,
            policy=replace(setting.policy),
            rules=rules,
            callback_url=callback_urls("https://callbacks.example", _SECRETS),
            pseudonym=lambda value: identity.pseudonym(b"pepper", value),
            chance=world.rng.random,
            nonce=lambda: f"nonce-{next(world.nonces)}",
            host=process.name,
        )
        self.intake = Intake(self.parts, lambda lanes: len(lanes) / len(setting.lanes))
        self._ingress = Ingress(SimSink(self.producer), _SECRETS, self.clock, world.metrics)
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until it is stopped. Whatever ends it otherwise is a crash."""
        try:
            async with asyncio.TaskGroup() as tasks:
                working = [
                    tasks.create_task(self.throttle.run()),
                    tasks.create_task(breakers.watch(self.throttle, self.client, self.clock, self.parts.policy.breaker_probe_s)),
                ]
                await self.intake.run()
                for task in working:
                    task.cancel()
        except Exception as error:  # noqa: BLE001 - a finding, whatever it is
            cause = _innermost(error)
            place = traceback.extract_tb(cause.__traceback__)[-1]
            self.world.crashes.append(f"{self.process.name} crashed in {place.name}:{place.lineno}: {cause!r}")
        self._exit()

    def stop(self) -> None:
        """SIGTERM."""
        self.world.loop.create_task(self._stop(), context=self.process.context.copy())

    def rests(self, lane: LaneId, end: int) -> bool:
        """The lane runs, its input is consumed, no flow is open, every output is acknowledged."""
        keeper = self.intake.keepers.get(lane)
        if keeper is None or keeper.lane is None or keeper.state != "running" or keeper.lane.taken.position != end:
            return False
        return not (keeper.lane.flows or keeper.lane.emitter.unacked() or keeper.lane.at_work)

    def condition(self) -> list[str]:
        """Each lane's state, and those of its open flows."""
        states = []
        for lane, keeper in self.intake.keepers.items():
            open_flows = [live.flow.state.name for live in keeper.lane.flows.values()] if keeper.lane is not None else None
            states.append(f"{self.process.name} {lane} {keeper.state} {open_flows}")
        return states

    def slow_claims(self, factor: float) -> None:
        """Reading the journal takes so much longer."""
        self.journal.slowness = factor

    async def _stop(self) -> None:
        await self.intake.stop(_GRACE_S)
        self.source.close()
        self.feed.close()

    def _exit(self) -> None:
        """The producer is flushed, then the process ends."""
        self.exited = True
        loop = self.world.loop
        loop.in_world(0.05 if not self.producer.open else 5.0, loop.kill, self.process)

    def call_back(self, url: str, body: bytes) -> asyncio.Future[int]:
        """Routee calls this process."""
        kid, token = url.rsplit("/", 2)[1:]

        async def read() -> bytes:
            await asyncio.sleep(self.world.rng.random() * 0.01)
            return body

        return self.world.loop.create_task(self._ingress.receive(kid, token, "routee", read), context=self.process.context.copy())


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
