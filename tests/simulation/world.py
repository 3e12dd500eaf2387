"""One run: a setting played out on the simulated Kafka and Routee, until everything has settled."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol, TypeAlias

from connector.core import identity
from connector.core.model import OutputEvent, Record
from connector.metrics import Metrics
from connector.ports import LaneId
from tests.simulation.group import Coordinator, SimSource
from tests.simulation.kafka import Broker, Producer, Row, Weather
from tests.simulation.loop import Process, SimLoop
from tests.simulation.ports import OUTPUTS, SimClock
from tests.simulation.routee import Post, Routee
from tests.simulation.setting import EPOCH_MS, RULES_OF, Coming, Fault, Setting
from tests.simulation.worker import Worker

LONGEST_S = 1500.0  # from the healing to the end
_LOOK_S = 1.0


class Program(Protocol):
    """What a simulated process runs, as the world knows it: it feeds it, harms it, and asks whether it rests."""

    process: Process
    exited: bool  # by SIGTERM, in its own time
    clock: SimClock
    producer: Producer
    source: SimSource

    async def run(self) -> None:
        """Until it is stopped."""
        ...

    def stop(self) -> None:
        """SIGTERM."""
        ...

    def rests(self, lane: LaneId, end: int) -> bool:
        """It runs the lane, has dealt with all records below ``end``, and has nothing under way."""
        ...

    def condition(self) -> list[str]:
        """Each of its lanes in words, for a run that does not settle."""
        ...

    def slow_claims(self, factor: float) -> None:
        """Its reading of journals takes so much longer; 1 is as usual."""
        ...

    def call_back(self, url: str, body: bytes) -> asyncio.Future[int]:
        """Routee calls this process; gives the HTTP status."""
        ...


Hire: TypeAlias = Callable[["World", Process], Program]


class World:
    """Kafka, the provider, the processes, and who harms them. ``hire`` makes what a new process runs."""

    def __init__(self, setting: Setting, hire: Hire = Worker) -> None:
        self.setting = setting
        self._hire = hire
        self.rng = Random(f"{setting.seed} on the way")  # noqa: S311 - a seed that replays is the point
        self.loop = SimLoop(self.rng, shuffled=setting.shuffled)
        self.broker = Broker(self.loop, self.rng, EPOCH_MS)
        self.broker.weather = setting.weather
        self.coordinator = Coordinator(self.broker, setting.lanes)
        self.routee = Routee(self.broker, self.rng, setting.policy.lease_s, setting.policy.timeout_s, setting.policy.provider_lag_s)
        self.routee.moods = setting.moods
        self.routee.fates = setting.fates
        self.routee.call_back = self._call_back
        self.routee.on_post = self._posted
        self.routee.trace = self.note
        self.metrics = _metrics()
        self.nonces = itertools.count()
        self.workers: dict[int, Program] = {}
        self.healed = False
        self.settled = False
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self.lane_of: dict[str, LaneId] = {}
        self.ended: dict[str, str] = {}  # flow id → how a program without outputs ended a message it does not send, by its own word
        self.crashes: list[str] = []
        self._starts: Counter[int] = Counter()
        for lane in setting.lanes:
            self.broker.log(f"journal {lane}").followers.append(functools.partial(self._row_landed, lane))
        for topic in OUTPUTS.values():
            self.broker.log(topic).followers.append(functools.partial(self._output_landed, topic))

    # ------------------------------------------------------------------------------------------------------------ the course

    def run(self) -> World:
        """Play it."""
        self.loop.run(self._main())
        return self

    @property
    def trace_hash(self) -> str:
        """Of everything noted on the way."""
        return hashlib.blake2b("\n".join(self.lines).encode(), digest_size=8).hexdigest()

    def note(self, line: str) -> None:
        """One line of the trace."""
        self.lines.append(f"{self.loop.time():10.4f}  {line}")

    async def _main(self) -> None:
        setting, loop = self.setting, self.loop
        self.coordinator.run()
        for slot in range(setting.slots):
            loop.in_world(self.rng.random() * 0.5 if setting.shuffled else 0.0, self.start, slot)
        for one in setting.coming:
            loop.in_world(one.at, self._produce, one)
        for fault in setting.faults:
            loop.in_world(fault.at, self.harm, fault)
        loop.in_world(self.rng.uniform(0, 2), self._compact)
        await asyncio.sleep(setting.heal_at)
        self.heal()
        end = loop.time() + LONGEST_S
        calm = 0.0
        while loop.time() < end and not self.settled:
            await asyncio.sleep(_LOOK_S)
            calm = calm + _LOOK_S if self._is_quiet() else 0.0
            self.settled = calm >= setting.calm_s
        self.note(f"settled: {self.settled}")

    def _is_quiet(self) -> bool:
        """Nothing is to come any more: from the input, the provider, or a lane."""
        if self.routee.pending:
            return False
        for lane in self.setting.lanes:
            end = self.broker.log(f"input {lane}").end
            if self.coordinator.committed.get(lane, 0) != end and not self.counts["forget_commits"]:
                return False
            member = self.coordinator.owner[lane]
            worker = None if member is None else self._worker_of(member.process)
            if worker is None or not worker.rests(lane, end):
                return False
        return True

    def lane_of_attempt(self, attempt_id: str) -> LaneId:
        """Of the flow whose attempt that is."""
        return self.lane_of[attempt_id.rsplit(".", 1)[0]]

    def _worker_of(self, process: Process) -> Program | None:
        return next((worker for worker in self.workers.values() if worker.process is process), None)

    def _produce(self, one: Coming) -> None:
        now_ms = self.broker.now_ms()
        log = self.broker.log(f"input {one.lane}")
        value = one.value(now_ms)
        record = Record(one.lane.topic, one.lane.partition, log.end, now_ms, one.key, value)
        event_id = one.event_id if one.kind else record.coordinates
        for rule in RULES_OF.get(one.kind or "", ()) or ("",):
            self.lane_of[identity.flow_id(event_id, rule)] = one.lane
        self.broker.land(log, one.key or b"", record, self.loop.world, self.loop.time(), one)
        self.note(f"INPUT {one.lane}@{record.offset} {one.kind!r} {one.event_id}")

    # --------------------------------------------------------------------------------------------------------- the processes

    def start(self, slot: int) -> None:
        """A new process in this slot."""
        self._starts[slot] += 1
        process = Process(f"p{slot}.{self._starts[slot]}")
        process.on_kill = functools.partial(self._died, slot, process)
        if slot == 0 and self._starts[slot] == 1:
            process.kill_at = self.setting.kill_at
        self.workers[slot] = self._hire(self, process)
        self.note(f"START {process.name}")
        self.loop.create_task(self.workers[slot].run(), context=process.context.copy())
        if slot == 0 and self._starts[slot] == 1 and self.setting.freeze_at:
            self._freeze_at(process, self.setting.freeze_at, self.setting.freeze_s)

    def _freeze_at(self, process: Process, step: int, seconds: float) -> None:
        process.freeze_at = step
        process.on_freeze = functools.partial(self.freeze, process, seconds)

    def _died(self, slot: int, process: Process) -> None:
        worker = self.workers[slot]
        self.note(f"DIED {process.name} after {process.steps} steps")
        if not worker.exited:
            self.counts["kills"] += 1
            worker.producer.cut(dead=True)
        self.loop.in_world(self.setting.restart_s * (0.5 + self.rng.random()), self.start, slot)

    def freeze(self, process: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        worker = self._worker_of(process)
        if not process.running or self.healed or worker is None:
            return
        self.counts["freezes"] += 1
        self.note(f"FREEZE {process.name} for {seconds:.3f}")
        self.loop.freeze(process)
        worker.producer.cut(dead=False)
        self.loop.in_world(seconds, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        if process.frozen:
            self.note(f"THAW {process.name}")
            self.loop.thaw(process)

    def kill(self, process: Process) -> None:
        """kill -9."""
        if not self.healed:
            self.loop.kill(process)

    def _running(self) -> Iterator[Program]:
        return (worker for worker in self.workers.values() if worker.process.running and not worker.exited)

    def _call_back(self, url: str, body: bytes) -> asyncio.Future[int] | None:
        running = list(self._running())
        if not running or (self.workers and self.rng.random() < 0.05 and not self.healed):
            return None
        return self.rng.choice(running).call_back(url, body)

    # ------------------------------------------------------------------------------------------------------------ the harm

    def _posted(self, post: Post) -> None:
        if not self.healed and self.rng.random() < self.setting.aim_at_post:
            self._hit(post.sender)

    def _row_landed(self, lane: LaneId) -> None:
        row: Row = self.broker.log(f"journal {lane}").rows[-1]
        self.note(f"ROW {lane}@{row.offset} {row.key.decode()} by {row.author.name}")
        if not self.healed and row.value[1] == 2 and row.value[2] == 2 and self.rng.random() < self.setting.aim_at_intent:
            (self._usurp if self.rng.random() < 0.4 else self._hit)(row.author)

    def _output_landed(self, topic: str) -> None:
        row = self.broker.log(topic).rows[-1]
        event: OutputEvent = row.value[0]
        word = event.body["outcome" if event.kind == "send" else "status"]
        self.note(f"OUT {topic}@{row.offset} {event.flow_id} {word} {event.id} by {row.author.name}")

    def _hit(self, process: Process) -> None:
        delay_s = self.rng.choice((0.0, 0.0, self.rng.random() * 0.01, self.rng.random()))
        if self.rng.random() < 0.5:
            self.loop.in_world(delay_s, self.kill, process)
        else:
            self.loop.in_world(delay_s, self.freeze, process, self.rng.choice((1.0, 5.0, 15.0, 30.0)))

    def _usurp(self, process: Process) -> None:
        """The group takes its lanes away, which it hears of later; meanwhile it waits for a connection until its lease is nearly over."""
        self.routee.dawdling.add(process)
        for worker in self.workers.values():
            if worker.process is process and worker.source.member is not None:
                self.coordinator.leave(worker.source.member)

    def harm(self, fault: Fault) -> None:  # noqa: C901, PLR0912 - one case per fault, nothing else
        """One planned fault."""
        worker = self.workers.get(fault.slot)
        if self.healed or worker is None or not worker.process.alive:
            return
        self.counts[fault.kind] += 1
        self.note(f"FAULT {fault.kind} {worker.process.name} {fault.amount:.3f}")
        process, loop = worker.process, self.loop
        match fault.kind:
            case "kill":
                loop.kill(process)
            case "kill_all":
                for other in tuple(self.workers.values()):
                    loop.kill(other.process)
            case "kill_soon":
                process.kill_at = process.steps + int(fault.amount)
            case "freeze":
                self.freeze(process, fault.amount)
            case "freeze_soon":
                self._freeze_at(process, process.steps + self.rng.randint(1, 200), fault.amount)
            case "stop":
                worker.stop()
            case "cut_off":
                if worker.source.member is not None:
                    worker.source.member.cut_until = loop.time() + fault.amount
            case "broker_down":
                self.broker.up_at = max(self.broker.up_at, loop.time() + fault.amount)
            case "rebalance":
                self.coordinator.rebalance()
            case "forget_commits":
                self.coordinator.forget_some(self.rng.choice(self.setting.lanes))
            case "fatal":
                process.context.copy().run(worker.producer.fatal)
            case "step":
                worker.clock.skew_ms = max(-15_000, min(15_000, worker.clock.skew_ms + int(fault.amount)))
            case _:
                worker.slow_claims(60.0)

    def _compact(self) -> None:
        for lane in self.setting.lanes:
            if self.rng.random() < 0.7 and (removed := self.broker.log(f"journal {lane}").compact(self.rng)):
                self.note(f"COMPACT {lane}: {removed}")
        self.loop.in_world(self.rng.choice((0.05, 1.0, 5.0)), self._compact)

    def heal(self) -> None:
        """No more harm; all that was harmed goes on."""
        self.note("HEAL")
        self.healed = True
        self.broker.weather = Weather()
        self.broker.up_at = 0.0
        self.routee.moods.calm()
        for worker in self.workers.values():
            worker.slow_claims(1.0)
            self._thaw(worker.process)
            if worker.source.member is not None:
                worker.source.member.cut_until = 0.0


@functools.cache
def _metrics() -> Metrics:
    """One for all processes: registering two hundred instruments costs more than a run."""
    return Metrics()
