"""Routee as far as a lane can see it: POSTs whose answers get lost, acceptances that come late, searches that lag, callbacks.

What the connector assumes of it is kept, nothing more: no request is accepted later than T + V after its POST began, and a complete
search that begins then shows what was accepted by then.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import orjson

from connector.core.documents import parse_flow
from connector.core.model import Accepted, Api, Channel, Doubt, FlowReport, NotSent, Outcome, RefusalKind, Refused, Rejected, Request
from connector.ports import LaneId, Page, Unanswered
from tests.simulation.kafka import Broker
from tests.simulation.loop import CURRENT, Process
from tests.simulation.ports import SimClock

_NEVER = 10_000.0
_PAGE = 4
_CALLBACK_ANSWER_S = 5.0
_TYPES = {Channel.SMS: "Sms", Channel.VIBER: "Viber", Channel.VOICE: "Voice"}


@dataclass(slots=True)
class Post:
    """One POST whose first byte has left."""

    seq: int
    at: float  # virtual time
    at_ms: int  # by the sender's wall clock
    flow_id: str
    attempt: int
    api: Api
    lane: LaneId
    sender: Process
    journal_end: int
    fate: str
    accepted_at: float | None = None
    accepted_at_ms: int | None = None
    tracking_id: str | None = None


@dataclass(slots=True)
class _Accepted:
    """A flow at the provider; ``changes``: when which step has which status."""

    post: Post
    request: Request
    created_ms: int
    visible_at: float
    shown_at: float  # when its first step, and so its label, can be seen
    changes: list[tuple[float, str, list[str]]]  # (virtual time, flow status, step statuses so far)
    url: str | None


@dataclass(slots=True)
class Moods:
    """How likely each trouble is for one request."""

    lost_reply: float = 0.0
    cut_reply: float = 0.0
    late: float = 0.0
    vanished: float = 0.0
    server_error: float = 0.0
    throttled: float = 0.0
    unauthorised: float = 0.0
    rejected: float = 0.0
    otp_failed: float = 0.0
    slow: float = 0.0
    no_connection: float = 0.0
    pool_wait: float = 0.0
    search_fails: float = 0.0
    silent: float = 0.0  # the flow never ends
    callback_missing: float = 0.0
    callback_odd: float = 0.0  # twice, late, out of order
    edge: float = 0.0  # a wait is as long as it may just be

    def calm(self) -> None:
        """No more trouble."""
        for name in self.__dataclass_fields__:
            setattr(self, name, 0.0)


@dataclass(slots=True)
class Answered:
    """A callback that was answered with 200."""

    lane: LaneId
    flow_id: str
    attempt: int
    tracking_id: str


class Routee:
    """The provider's truth: ``posts`` in order, every acceptance, every answered callback."""

    def __init__(self, broker: Broker, rng: Random, lease_s: float, timeout_s: float, lag_s: float) -> None:
        self.loop = broker.loop
        self.broker = broker
        self.rng = rng
        self.moods = Moods()
        self.fates: dict[tuple[str, int], str] = {}  # (flow id, attempt) → fate that is not drawn
        self.posts: list[Post] = []
        self.flows: dict[str, _Accepted] = {}
        self.answered: list[Answered] = []
        self.dawdling: set[Process] = set()  # whose next connection takes as long as the lease just allows
        self.pending = 0  # acceptances and callbacks still to come
        self.call_back: Callable[[str, bytes], asyncio.Future[int] | None] = lambda _url, _body: None
        self.on_post: Callable[[Post], None] = lambda _post: None
        self.trace: Callable[[str], None] = lambda _line: None
        self._lease_s = lease_s
        self._timeout_s = timeout_s
        self._lag_s = lag_s
        self._ids = itertools.count(1)

    # ------------------------------------------------------------------------------------------------------------- sending

    def post(self, request: Request, sender: Process, clock: SimClock, lane: LaneId) -> tuple[Post, asyncio.Future[Outcome]]:
        """The first byte leaves now; the future gives the answer, if ever one comes."""
        flow_id, n = request.attempt_id.rsplit(".", 1)
        fate = self.fates.get((flow_id, int(n))) or self._fate(request)
        end = self.broker.log(f"journal {lane}").end
        post = Post(len(self.posts), self.loop.time(), clock.now_ms(), flow_id, int(n), request.api, lane, sender, end, fate)
        self.posts.append(post)
        self.trace(f"POST {request.attempt_id} by {sender.name}: {fate}")
        reply: asyncio.Future[Outcome] = self.loop.create_future()
        arrives_s = self.rng.random() * 0.05
        if fate == "slow":
            arrives_s += self.share() * self._timeout_s * 0.95
        if fate in {"accepted", "slow", "lost", "cut", "late", "error_accepted"}:
            if fate == "late":
                arrives_s = self._timeout_s + self.share() * self._lag_s * 0.95
            self.pending += 1
            self.loop.in_world(arrives_s, self._accept, post, request, sender, reply)
        else:
            self.loop.in_world(arrives_s, self._refuse, post, sender, reply)
        self.on_post(post)
        return post, reply

    def share(self) -> float:
        """Of the longest wait there may be."""
        return 1.0 if self.moods.edge and self.rng.random() < self.moods.edge else self.rng.random()

    def pool_wait_s(self, sender: Process) -> float:
        """Until a connection is free: at the edge it comes when the lease is nearly over."""
        dawdles = sender in self.dawdling
        self.dawdling.discard(sender)
        if not dawdles and self.rng.random() >= self.moods.pool_wait:
            return self.rng.random() * 0.002
        if dawdles or (self.moods.edge and self.rng.random() < self.moods.edge):
            return self._lease_s * (0.9 + self.rng.random() * 0.1)
        return self.rng.random() * 6

    def _fate(self, request: Request) -> str:
        moods, draw = self.moods, self.rng.random()
        chances = [
            ("lost", moods.lost_reply),
            ("cut", moods.cut_reply),
            ("late", moods.late),
            ("vanished", moods.vanished),
            ("error_accepted", moods.server_error / 2),
            ("error", moods.server_error / 2),
            ("throttled", moods.throttled),
            ("unauthorised", moods.unauthorised),
            ("rejected", moods.rejected),
            ("otp_failed", moods.otp_failed if request.api is Api.OTP else 0.0),
            ("slow", moods.slow),
        ]
        for fate, chance in chances:
            if draw < chance:
                return fate
            draw -= chance
        return "accepted"

    def _accept(self, post: Post, request: Request, sender: Process, reply: asyncio.Future[Outcome]) -> None:
        self.pending -= 1
        now = self.loop.time()
        post.tracking_id = f"track-{next(self._ids):04d}"
        post.accepted_at, post.accepted_at_ms = now, self.broker.now_ms()
        latest = post.at + self._timeout_s + self._lag_s
        visible_at = now + self.share() ** 2 * max(latest - now, 0.0)
        shown_at = visible_at
        if request.api is not Api.OTP and self.rng.random() < 0.2:  # an OTP list is one of deliveries: each shows its step
            shown_at += self.share() * max(latest - visible_at, 0.0)
        callback = orjson.loads(request.body).get("callback")
        flow = self.flows[post.tracking_id] = _Accepted(
            post, request, self.broker.now_ms(), visible_at, shown_at, self._walk(request, now), callback and callback["url"]
        )
        self.trace(f"ACCEPT {request.attempt_id} as {post.tracking_id}")
        document = self.document(post.tracking_id, now)
        if post.fate in {"accepted", "slow"}:
            self._answer(sender, reply, Accepted(post.tracking_id, 200, parse_flow(document)))
        elif post.fate == "cut":
            self._answer(sender, reply, Doubt("reset"))
        elif post.fate == "error_accepted":
            self._answer(sender, reply, Doubt("HTTP_503", 503))
        self._plan_callbacks(flow)

    def _refuse(self, post: Post, sender: Process, reply: asyncio.Future[Outcome]) -> None:
        outcomes: dict[str, Outcome] = {
            "error": Doubt("HTTP_500", 500),
            "throttled": Refused(RefusalKind.THROTTLED, 429, "HTTP_429", self.rng.choice((None, 1000, 8000))),
            "unauthorised": Refused(RefusalKind.AUTH, 401, "HTTP_401"),
            "rejected": Rejected(400, "400001000", "simulated"),
            "otp_failed": Refused(RefusalKind.SERVER, 200, "OTP_0"),
        }
        if post.fate in outcomes:
            self._answer(sender, reply, outcomes[post.fate])

    def _answer(self, sender: Process, reply: asyncio.Future[Outcome], outcome: Outcome) -> None:
        def arrive() -> None:
            if not reply.done():
                reply.set_result(outcome)

        self.loop.on(sender, self.rng.random() * 0.05, arrive)

    def _walk(self, request: Request, now: float) -> list[tuple[float, str, list[str]]]:
        """What will be seen of it, and when."""
        rng, at = self.rng, now
        changes: list[tuple[float, str, list[str]]] = [(now, "Queued", [])]
        steps: list[str] = []
        count = len(request.channels)
        for position in range(count):
            at += rng.random() * 2
            changes.append((at, "InProgress", [*steps, "Sent"]))
            if rng.random() < self.moods.silent:
                return changes
            at += rng.random() * 6
            if rng.random() < 0.6 or (position + 1 == count and rng.random() < 0.5):
                changes.append((at, "Succeeded", [*steps, "Delivered"]))
                return changes
            steps = [*steps, "Undelivered"]
            changes.append((at, "Failed" if position + 1 == count else "InProgress", list(steps)))
        return changes

    # --------------------------------------------------------------------------------------------------------------- asking

    def document(self, tracking_id: str, at: float) -> dict[str, Any]:
        """A flow as callbacks and tracking show it at that time."""
        flow = self.flows[tracking_id]
        _, status, steps = [change for change in flow.changes if change[0] <= at][-1]
        kinds = [_TYPES[channel] for channel in flow.request.channels]
        if flow.request.api is Api.OTP:
            shown = [
                {"role": "failover" if order else "primary", "status": word, "channel": kind.lower()}
                for order, (kind, word) in enumerate(zip(kinds, steps, strict=False))
            ]
            return {"flowId": tracking_id, "status": status, "statusCode": None, "steps": shown}
        messages = [
            {"type": kind, "order": order, "status": {"name": word}}
            for order, (kind, word) in enumerate(zip(kinds, steps, strict=False), 1)
        ]
        return {"trackingId": tracking_id, "status": status, "messages": messages}

    def report(self, tracking_id: str, *, in_search: bool = False) -> FlowReport:
        """The same as it is parsed; a search also shows phone, steps and labels, as soon as they can be seen."""
        flow, now = self.flows[tracking_id], self.loop.time()
        parsed = parse_flow(self.document(tracking_id, now))
        assert parsed is not None
        if not in_search:
            return parsed
        shown = now >= flow.shown_at
        request = flow.request
        return replace(
            parsed,
            labels=(request.attempt_id,) if request.labelled and shown else (),
            signature=request.signature if shown else (),
            recipients=(request.recipient.lstrip("+"),),
            created_at_ms=flow.created_ms,
        )

    def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...]:
        """What can be seen now of the flows to this phone; OTP flows have a list of their own."""
        now = self.loop.time()
        return tuple(
            self.report(tracking_id, in_search=True)
            for tracking_id, flow in self.flows.items()
            if flow.visible_at <= now
            and (flow.request.api is Api.OTP) is (api is Api.OTP)
            and flow.request.recipient.lstrip("+") == recipient.lstrip("+")
            and since_ms <= flow.created_ms <= until_ms
        )

    def page(self, since_ms: int, until_ms: int, number: int) -> Page:
        """What can be seen now of all flows but OTP's, a few on each page."""
        now = self.loop.time()
        seen = [
            tracking_id
            for tracking_id, flow in self.flows.items()
            if flow.visible_at <= now and flow.request.api is not Api.OTP and since_ms <= flow.created_ms <= until_ms
        ]
        shown = seen[number * _PAGE : (number + 1) * _PAGE]
        pages = -(-len(seen) // _PAGE)
        return Page(tuple(self.report(one, in_search=True) for one in shown), number + 1 >= pages, pages)

    # ------------------------------------------------------------------------------------------------------------- callbacks

    def _plan_callbacks(self, flow: _Accepted) -> None:
        if flow.url is None:
            return
        rng, moods = self.rng, self.moods
        for at, _, _ in flow.changes[1:] if rng.random() < 0.7 else flow.changes[-1:]:
            if rng.random() < moods.callback_missing:
                continue
            odd = rng.random() < moods.callback_odd
            delays = [rng.random() * 20 if odd else rng.random() * 0.2]
            if odd and rng.random() < 0.5:
                delays.append(rng.random() * 20)
            for delay in delays:
                self.pending += 1
                self.loop.in_world(at + delay - self.loop.time(), self._call, flow, at, 0)

    def _call(self, flow: _Accepted, at: float, tries: int) -> None:
        assert flow.url is not None
        assert flow.post.tracking_id is not None
        answer = self.call_back(flow.url, orjson.dumps(self.document(flow.post.tracking_id, at)))
        ended = False

        def end(status: int) -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            post = flow.post
            if status == 200:
                self.pending -= 1
                self.answered.append(Answered(post.lane, post.flow_id, post.attempt, post.tracking_id or ""))
            elif tries < 4 and flow.request.api is not Api.OTP:
                self.loop.in_world(3.0 * 2**tries, self._call, flow, at, tries + 1)
            else:
                self.pending -= 1

        if answer is None:
            end(0)
            return
        answer.add_done_callback(lambda done: end(done.result()), context=self.loop.world.context.copy())
        self.loop.in_world(_CALLBACK_ANSWER_S, end, 0)


@dataclass(slots=True)
class Client:
    """``ports.Sender``, ``ports.Tracking`` and ``ports.Probe`` of one process."""

    routee: Routee
    process: Process
    clock: SimClock
    timeout_s: float
    lane_of: Callable[[str], LaneId]
    asked: int = field(default=0)

    async def send(self, request: Request, may_start: Callable[[], bool]) -> Outcome:
        rng, moods = self.routee.rng, self.routee.moods
        await asyncio.sleep(self.routee.pool_wait_s(self.process))
        if rng.random() < moods.no_connection:
            return NotSent(rng.choice(("refused", "dns", "tls")))
        if not self.process.alive or not may_start():
            return NotSent("lease_over")
        _, reply = self.routee.post(request, self.process, self.clock, self.lane_of(request.attempt_id))
        try:
            async with asyncio.timeout(self.timeout_s):
                return await reply
        except TimeoutError:
            return Doubt("timeout")

    async def flow(self, api: Api, tracking_id: str) -> FlowReport | Unanswered:
        await self._way()
        if self.routee.rng.random() < self.routee.moods.search_fails:
            return Unanswered("http_500", 500)
        if tracking_id not in self.routee.flows:
            return Unanswered("not_found", 404)
        return self.routee.report(tracking_id)

    async def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        self.asked += 1
        await self._way()
        if self.routee.rng.random() < self.routee.moods.search_fails:
            return Unanswered(*self.routee.rng.choice((("throttled", 429), ("http_500", 500), ("timeout", None))))
        found = self.routee.search(api, recipient, since_ms, until_ms)
        await self._way()
        return found

    async def page(self, api: Api, since_ms: int, until_ms: int, number: int) -> Page | Unanswered:
        await self._way()
        if self.routee.rng.random() < self.routee.moods.search_fails:
            return Unanswered("http_500", 500)
        return self.routee.page(since_ms, until_ms, number)

    async def auth_probe(self) -> bool | Unanswered:
        await self._way()
        return self.routee.rng.random() >= self.routee.moods.unauthorised

    async def balance(self) -> bool | Unanswered:
        await self._way()
        return True

    async def _way(self) -> None:
        rng = self.routee.rng
        await asyncio.sleep(rng.random() * (2.0 if rng.random() < self.routee.moods.slow else 0.05))


def caller() -> Process | None:
    """The process whose step runs."""
    return CURRENT.get()
