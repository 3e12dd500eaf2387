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
from connector.core.model import Accepted, Api, Doubt, FlowReport, FlowStatus, Notification, NotSent, Outcome, Record, Request
from connector.core.notification import to_notification
from connector.core.routing import RoutingTable
from connector.errors import LaneLost, RegistryUnavailable, Undecodable
from connector.metrics import Metrics
from connector.ports import Callback, LaneId, Page, Unanswered
from connector.rules_file import load_rules
from connector.services import gauges
from connector.services.intake import Intake
from connector.services.lane import Lane
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
    """JSON only, once the registry can be reached."""

    unreachable = False
    asked = 0

    async def decode(self, record: Record) -> Notification:
        self.asked += 1
        if self.unreachable:
            raise RegistryUnavailable("fake")
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
        self.times: list[float] = []  # boot clock of each post
        self.accepted: dict[str, list[str]] = defaultdict(list)  # flow id → tracking ids
        self.reports: dict[str, FlowReport] = {}
        self.search_unanswered = False
        self.searches = 0
        self.polls: list[str] = []
        self.pages: list[int] = []  # numbers of the pages of windows that were asked for
        self.page_size = 100
        self.page_unanswered = False
        self.tells_pages = True
        self.gate = asyncio.Event()  # cleared: no connection is got
        self.gate.set()
        self.answering = asyncio.Event()  # cleared: requests are read, answers wait
        self.answering.set()
        self.timeout_s = 10.0
        self.cut: list[Request] = []

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

    async def _answers(self, request: Request) -> bool:
        """Whether the answer comes within T. A request whose sender is gone meanwhile may still be taken: it is in ``cut``."""
        deadline = self._clock.boot() + self.timeout_s
        try:
            while not self.answering.is_set() and self._clock.boot() < deadline:
                await self._clock.sleep(0.1)
        except asyncio.CancelledError:
            self.cut.append(request)
            raise
        return self.answering.is_set()

    def lose_reply(self, request: Request) -> Doubt:
        """Take it, but nobody hears of it."""
        self.accept(request)
        return Doubt("timeout")

    async def send(self, request: Request, may_start: Callable[[], bool]) -> Outcome:
        await self.gate.wait()
        if not may_start():
            return NotSent("lease_over")
        self.posts.append(request.attempt_id)
        self.times.append(self._clock.boot())
        flow_id = request.attempt_id.rsplit(".", 1)[0]
        answer: Answer = self.answers[flow_id].pop(0) if self.answers[flow_id] else self.accept
        if not await self._answers(request):
            return Doubt("timeout")
        if answer is None:
            await asyncio.Event().wait()
        if callable(answer):
            return answer(request)
        assert answer is not None
        return answer

    async def flow(self, api: Api, tracking_id: str) -> FlowReport | Unanswered:
        self.polls.append(tracking_id)
        return self.reports.get(tracking_id, Unanswered("not_found", 404))

    async def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        self.searches += 1
        if self.search_unanswered:
            return Unanswered("http_500", 500)
        return tuple(report for report in self.reports.values() if recipient.lstrip("+") in report.recipients)

    async def page(self, api: Api, since_ms: int, until_ms: int, number: int) -> Page | Unanswered:
        assert api is Api.STANDARD
        self.pages.append(number)
        if self.page_unanswered:
            return Unanswered("http_500", 500)
        listed = [one for one in self.reports.values() if one.created_at_ms is not None and since_ms <= one.created_at_ms <= until_ms]
        pages = -(-len(listed) // self.page_size)
        shown = tuple(listed[number * self.page_size : (number + 1) * self.page_size])
        return Page(shown, number + 1 >= pages, pages if self.tells_pages else None)


class World:
    """What outlives a process (Kafka, the provider) and the processes on it."""

    def __init__(self, tmp_path: Path, rules: str = RULES) -> None:
        self._folder = tmp_path
        self.table: RoutingTable
        self.reload(rules)
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        self.journal_logs: Logs = defaultdict(list)
        self.output_logs: dict[str, list[Emitted]] = {"sends": [], "statuses": []}
        self.records: list[Record] = []
        self.callback_logs: defaultdict[LaneId, list[Callback | None]] = defaultdict(list)
        self.committed: dict[LaneId, int] = {}
        self.dead_letters = FakeDeadLetters()
        self.past = FakePast()
        self.decoder = JsonDecoder()
        self._offsets = itertools.count()

    def record(self, type_: str = "order", key: str | None = "k", event_id: str | None = None, *, expires_s: float | None = None) -> Record:
        """The next input record."""
        offset = next(self._offsets)
        event = {
            "event_id": event_id or f"e{offset}",
            "type": type_,
            "occurred_at": self.clock.now_ms(),
            "recipient": {"phone": "+306912345678"},
            "expires_at": None if expires_s is None else self.clock.now_ms() + int(expires_s * 1000),
            "data": {"id": "1", "pin": "1234"},
        }
        return self.put(orjson.dumps(event), key, offset)

    def reload(self, rules: str) -> None:
        """These rules are in force now."""
        (self._folder / "rules.yaml").write_text(rules)
        self.table = load_rules(self._folder / "rules.yaml", {})[0]

    def answer(self, record: Record, rule: str, *answers: Answer) -> str:
        """Prepare the answers to the flow's next posts; gives its flow id."""
        flow_id = self.flow_id(record, rule)
        self.provider.answers[flow_id] = list(answers)
        return flow_id

    def posts(self, flow_id: str) -> list[int]:
        """Attempts of a flow that were posted."""
        return [int(post.rsplit(".", 1)[1]) for post in self.provider.posts if post.startswith(flow_id)]

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Outcome and reason of every SendEvent."""
        return [(event["outcome"], event["reason"]) for event in self.outputs("sends")]

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

    def __init__(
        self, world: World, policy: Policy | None = None, *, rate: float = 1000.0, in_flight: int = 256, share: float = 0.1
    ) -> None:
        self.world = world
        self.journal = FakeJournal(world.journal_logs, world.clock.now_ms)
        self.outbox = FakeOutbox(world.output_logs)
        self.source = FakeSource()
        self.source.offsets = world.committed
        self.source.put(*world.records)
        self.feed = FakeCallbackFeed(world.callback_logs)
        self.metrics = Metrics()
        self.policy = policy or Policy(poll_schedule_s=(30.0, 120.0))
        self.throttle = Throttle(world.clock, self.metrics, rate, in_flight, share, self.policy.breaker_probe_s)
        self.parts = Parts(
            clock=world.clock,
            source=self.source,
            decoder=world.decoder,
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
        self.unfetched_s = 0.0  # age of what is not fetched yet

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

    @property
    def lane(self) -> Lane:
        """The lane, while it is owned."""
        lane = self.intake.keepers[LANE].lane
        assert lane is not None
        return lane

    async def put(self, *records: Record, seconds: float = 1.0) -> None:
        """Let new input flow, and time pass."""
        self.source.put(*records)
        await self.world.clock.advance(seconds)

    def call_back(self, record: Record, rule: str, report: FlowReport, attempt: int = 1) -> None:
        """Routee calls the URL of this attempt."""
        digest = identity.digest(orjson.loads(record.value or b"")["event_id"])
        callback = Callback(LANE, self.world.flow_id(record, rule), digest, attempt, self.world.clock.now_ms(), report)
        self.feed.put(LANE, callback)

    def value(self, name: str, **labels: str) -> float:
        """A metric, the sum over the labels that are not given; 0 where it was never touched."""
        gauges.tell(self.metrics, self.intake.lanes, self.world.clock.now_ms(), dict.fromkeys([LANE.topic], self.unfetched_s))
        samples = (sample for metric in self.metrics.registry.collect() for sample in metric.samples)
        return sum(sample.value for sample in samples if sample.name == f"failover_{name}" and labels.items() <= sample.labels.items())

    async def kill(self, *, rows_land: bool = False, outputs_land: bool = False) -> None:
        """kill -9: nothing more of it happens; what is in flight lands or not."""
        assert self.task is not None
        self.journal.append = _dead  # type: ignore[method-assign,assignment]
        self.outbox.emit = _dead  # type: ignore[method-assign,assignment]
        self.journal.lose(landed=rows_land)
        self.outbox.lose(landed=outputs_land)
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


def report(tracking_id: str | None, status: FlowStatus | None = FlowStatus.SUCCEEDED) -> FlowReport:
    """What a callback or poll says of a flow."""
    return FlowReport(tracking_id, status)


_NONCES = itertools.count()


def _dead(*_: object) -> asyncio.Future[Any]:
    """What a dead process produces never lands; that its tasks hear of it only lets the test go on."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(LaneLost("killed"))
    future.exception()
    return future
