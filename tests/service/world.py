"""A process without its surroundings: lanes on fakes, one provider that answers as told, time moved by hand."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from connector.core import identity
from connector.core.model import Accepted, Api, FlowReport, Notification, Outcome, Record, Request
from connector.core.notification import to_notification
from connector.core.routing import RoutingTable
from connector.errors import LaneLost, Undecodable
from connector.metrics import Metrics
from connector.ports import LaneId, Unanswered
from connector.rules_file import load_rules
from connector.services.intake import Intake
from connector.services.parts import Parts, Policy
from connector.services.throttle import Throttle
from tests.fakes import (
    FakeCallbackFeed,
    FakeClock,
    FakeDeadLetters,
    FakeJournal,
    FakeOutbox,
    FakePast,
    FakeSource,
)
from tests.fakes.journal import Logs
from tests.fakes.outbox import Emitted

LANE = LaneId("notifications", 0)
RULES = """
rules:
  - name: code
    match: {type: code}
    class: otp
    send: otp
    steps: [{sms: {from: ACME, body: "Code {{ data.pin }}", ttl: 60s}}]
  - name: order
    match: {type: order}
    class: transactional
    steps: [{sms: {from: ACME, body: "Order {{ data.id }}", ttl: 10m}}]
  - name: sale
    match: {type: sale}
    class: marketing
    steps: [{sms: {from: ACME, body: "Sale", ttl: 10m}}]
  - name: twin-a
    match: {type: twin}
    class: transactional
    continue: true
    steps: [{sms: {from: ACME, body: "A", ttl: 10m}}]
  - name: twin-b
    match: {type: twin}
    class: transactional
    steps: [{sms: {from: ACME, body: "B", ttl: 10m}}]
"""
Answer = Outcome | Callable[[Request], Outcome] | None


class JsonDecoder:
    """JSON only."""

    async def decode(self, record: Record) -> Notification:
        try:
            content = orjson.loads(record.value or b"")
        except orjson.JSONDecodeError as error:
            raise Undecodable("BAD_JSON", "not JSON") from error
        return to_notification(record, content, {})


class Provider:
    """Answers each POST with the next prepared answer (default: accepted); None never answers. Tracking answers from ``accepted``."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._ids = itertools.count(1)
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.posts: list[str] = []
        self.accepted: dict[str, list[str]] = defaultdict(list)  # flow id → tracking ids
        self.reports: dict[str, FlowReport] = {}
        self.search_unanswered = False
        self.searches = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def accept(self, request: Request) -> Accepted:
        """Take it; the search finds it from now on."""
        flow_id, n = request.attempt_id.rsplit(".", 1)
        tracking_id = f"track-{next(self._ids)}"
        self.accepted[flow_id].append(tracking_id)
        self.reports[tracking_id] = FlowReport(
            tracking_id,
            None,
            labels=(f"{flow_id}.{n}",) if request.labelled else (),
            signature=request.signature,
            recipients=(request.recipient.lstrip("+"),),
            created_at_ms=self._clock.now_ms(),
        )
        return Accepted(tracking_id, 200, None)

    async def send(self, request: Request, may_start: Callable[[], bool]) -> Outcome:
        from connector.core.model import NotSent

        await self.gate.wait()
        if not may_start():
            return NotSent("lease_over")
        self.posts.append(request.attempt_id)
        flow_id = request.attempt_id.rsplit(".", 1)[0]
        answer: Answer = self.answers[flow_id].pop(0) if self.answers[flow_id] else self.accept
        if answer is None:
            await asyncio.Event().wait()
        if callable(answer):
            return answer(request)
        assert answer is not None
        return answer

    async def flow(self, api: Api, tracking_id: str) -> FlowReport | Unanswered:
        return self.reports.get(tracking_id, Unanswered("not_found", 404))

    async def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        self.searches += 1
        if self.search_unanswered:
            return Unanswered("http_500", 500)
        return tuple(report for report in self.reports.values() if recipient.lstrip("+") in report.recipients)


class World:
    """What outlives a process (Kafka, the provider) and the processes on it."""

    def __init__(self, tmp_path: Path, rules: str = RULES) -> None:
        (tmp_path / "rules.yaml").write_text(rules)
        self.table: RoutingTable = load_rules(tmp_path / "rules.yaml", {})[0]
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        self.journal_logs: Logs = defaultdict(list)
        self.output_logs: dict[str, list[Emitted]] = {"sends": [], "statuses": []}
        self.records: list[Record] = []
        self.committed: dict[LaneId, int] = {}
        self.dead_letters = FakeDeadLetters()
        self.past = FakePast()
        self._offsets = itertools.count()

    def record(self, type_: str = "order", key: str | None = "k", event_id: str | None = None, **data: Any) -> Record:
        """The next input record."""
        offset = next(self._offsets)
        event = {
            "event_id": event_id or f"e{offset}",
            "type": type_,
            "occurred_at": self.clock.now_ms(),
            "recipient": {"phone": "+306912345678"},
            "data": {"id": "1", "pin": "1234", **data},
        }
        return self.put(orjson.dumps(event), key, offset)

    def put(self, value: bytes | None, key: str | None = "k", offset: int | None = None) -> Record:
        offset = next(self._offsets) if offset is None else offset
        record = Record(LANE.topic, LANE.partition, offset, self.clock.now_ms(), key.encode() if key else None, value)
        self.records.append(record)
        self.past.put(record)
        return record

    def outputs(self, topic: str) -> list[dict[str, Any]]:
        """Bodies of an output topic."""
        return [dict(event.body) | {"id": event.id} for event, _, _ in self.output_logs[topic]]

    def flow_id(self, record: Record, rule: str) -> str:
        """Of a canonical record and a rule."""
        return identity.flow_id(orjson.loads(record.value or b"")["event_id"], rule)


class Process:
    """One worker on the world."""

    def __init__(self, world: World, policy: Policy | None = None) -> None:
        self.world = world
        self.journal = FakeJournal(world.journal_logs)
        self.outbox = FakeOutbox(world.output_logs)
        self.source = FakeSource()
        self.source.offsets = world.committed
        self.source.put(*world.records)
        self.feed = FakeCallbackFeed()
        self.metrics = Metrics()
        self.policy = policy or Policy(poll_schedule_s=(30.0, 120.0))
        self.throttle = Throttle(world.clock, self.metrics, 1000.0, 256)
        self.parts = Parts(
            clock=world.clock,
            source=self.source,
            decoder=JsonDecoder(),
            past=world.past,
            journal=self.journal,
            outbox=self.outbox,
            dead_letters=world.dead_letters,
            sender=world.provider,
            tracking=world.provider,
            feed=self.feed,
            throttle=self.throttle,
            metrics=self.metrics,
            policy=self.policy,
            rules=lambda: world.table,
            callback_url=lambda *_: None,
            pseudonym=lambda value: identity.pseudonym(b"pepper", value),
            chance=lambda: 0.5,
            nonce=lambda: f"nonce-{id(self)}-{next(_NONCES)}",
            host="test",
        )
        self.intake = Intake(self.parts, lambda lanes: float(bool(lanes)))
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> Process:
        """Join the group and get the lane."""
        self.task = asyncio.create_task(self._run())
        self.source.assign(LANE)
        await self.world.clock.advance(0.5)
        return self

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.throttle.run())
            tasks.create_task(self.intake.run())

    async def put(self, *records: Record, seconds: float = 1.0) -> None:
        """Let new input flow, and time pass."""
        self.source.put(*records)
        await self.world.clock.advance(seconds)

    async def kill(self) -> None:
        """kill -9: nothing more of it happens; rows in flight may have landed or not."""
        assert self.task is not None
        self.journal.append = _dead  # type: ignore[method-assign,assignment]
        self.outbox.emit = _dead  # type: ignore[method-assign,assignment]
        self.journal.lose()
        self.outbox.lose()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def stop(self) -> None:
        """SIGTERM."""
        assert self.task is not None
        stopping = asyncio.create_task(self.intake.stop(5.0))
        for _ in range(200):
            await self.world.clock.advance(0.1)
            if stopping.done():
                break
        await stopping
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


_NONCES = itertools.count()


def _dead(*_: object) -> asyncio.Future[Any]:
    """What a dead process produces never lands; that its tasks hear of it only lets the test go on."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(LaneLost("killed"))
    future.exception()
    return future
