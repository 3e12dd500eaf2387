"""The real Routee adapter on a provider that is a table: answers as raw bytes, time by the world's clock.

Everything of ours from the lane down to the reader of HTTP bytes is the real code; only sockets are missing. What is answered to a POST
(``Reply``) and whether, when and how its flow shows in a search (``Search``) are chosen apart, since that is what a lost reply is.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import trustme

from connector.adapters import http_client
from connector.adapters.http_answer import AnswerReader
from connector.adapters.http_client import HttpClient, Target
from connector.adapters.http_pool import Limits
from connector.adapters.routee import PATHS, Routee, RouteeOptions
from connector.core.model import Api, Failure, FlowReport, Outcome, Record, Request
from connector.core.model import Reply as Whole
from connector.ports import Page, Unanswered
from tests.fakes import FakeClock
from tests.service.world import Process, Provider, World

SENDER = "6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10"
TEMPLATE = "7d2b0c9e-1c51-4b6a-8a55-0d6f2b9f3c41"
RULES = f"""
rules:
  - name: login      # class otp, its label shows
    match: {{type: login}}
    class: otp
    send: standard
    steps: [{{sms: {{from: ACME, body: "Code {{{{ data.pin }}}}", ttl: 1m}}}}]
  - name: code       # class otp, sent as OTP: no label shows
    match: {{type: code}}
    class: otp
    send: otp
    steps:
      - viber_otp: {{sender: {SENDER}, template: {TEMPLATE}, lang: en, pin: "{{{{ data.pin }}}}", ttl: 30s}}
      - sms: {{from: ACME, body: "Code {{{{ data.pin }}}}", ttl: 60s}}
  - name: order      # transactional, its label shows
    match: {{type: order}}
    class: transactional
    steps: [{{sms: {{from: ACME, body: "Order", ttl: 10m}}}}]
  - name: notice     # transactional, Viber template first: no label shows
    match: {{type: notice}}
    class: transactional
    steps:
      - viber: {{sender: {SENDER}, template: {TEMPLATE}, lang: en, ttl: 10m}}
      - sms: {{from: ACME, body: "Notice", ttl: 10m}}
  - name: call       # transactional, Voice first: no label shows
    match: {{type: call}}
    class: transactional
    steps:
      - voice: {{from: "+302101234567", say: [{{text: "Call", language: en-GB}}]}}
      - sms: {{from: ACME, body: "Call", ttl: 10m}}
  - name: sale       # marketing, its label shows
    match: {{type: sale}}
    class: marketing
    steps: [{{sms: {{from: ACME, body: "Sale", ttl: 10m}}}}]
  - name: ring       # marketing, Voice first: no label shows
    match: {{type: ring}}
    class: marketing
    steps: [{{voice: {{from: "+302101234567", say: [{{text: "Sale", language: en-GB}}]}}}}]
"""
PATH_OTP = PATHS[Api.OTP]
SENDS = frozenset(PATHS.values())
ID = "TRACKING"  # as long as the ids that take its place, so that lengths stay right
STANDARD_SEARCH, OTP_SEARCH = "/failover/tracking", "/failover-otp/otp/failover"


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes back for a POST. ``raw``: the bytes, ``ID`` in them standing for the flow's id. ``unsent``: why not a byte left us."""

    raw: bytes = b""
    ending: str = "open"  # open, closed, reset, silent
    unsent: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """How a flow whose reply was lost shows."""

    shows_after_s: float | None = 0.0  # None: never taken
    others: int = 0  # flows of other people's making to the same phone, listed before ours, each with another flow's label
    strangers: int = 0  # flows to the same phone that nothing explains
    page_size: int = 100  # the most the provider puts on a page
    trouble: Callable[[int, float], bytes | None] = lambda _page, _age_s: None  # instead of a page; age of the first POST


@dataclass(slots=True)
class Post:
    """One POST as the provider saw it."""

    at: float
    path: str
    attempt_id: str
    tracking_id: str
    body: dict[str, Any] = field(repr=False)


@dataclass(slots=True)
class Desk:
    """The provider's side: posts and flows by phone."""

    clock: FakeClock
    search: Search = field(default_factory=Search)
    replies: dict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))  # by phone; then: accepted
    posts: dict[str, list[Post]] = field(default_factory=lambda: defaultdict(list))
    flows: dict[str, list[tuple[float, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(list))  # shown from → document
    searches: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    searching: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: searches wait for their answer
    attempts: dict[str, str] = field(default_factory=dict)  # phone → id of the attempt that is being sent
    tokens: int = 0

    def __post_init__(self) -> None:
        self.searching.set()

    def post(self, path: str, body: dict[str, Any]) -> Reply:
        """Take a POST, or not; what is said of it is another matter."""
        phone = phone_of(body["flow"][0]["to"])
        number = len(self.posts[phone]) + 1
        tracking_id = f"{phone[-6:]}-{number}"
        attempt_id = self.attempts[phone]
        now = self.clock.boot()
        self.posts[phone].append(Post(now, path, attempt_id, tracking_id, body))
        if number == 1:
            self._others(path, phone, body)
        replies = self.replies[phone]
        reply, shows_after_s = (replies.pop(0), self.search.shows_after_s) if replies else (accepted(path), 0.0)
        if shows_after_s is not None:
            self.flows[phone].append((now + shows_after_s, self.document(path, body, phone, tracking_id)))
        return Reply(reply.raw.replace(ID.encode(), tracking_id.encode()), reply.ending, reply.unsent)

    def show(self, record: Record, n: int = 1) -> str:
        """From now on the flow of this POST is found, too; gives its id."""
        phone = phone_of_record(record)
        post = self.posts[phone][n - 1]
        self.flows[phone].append((self.clock.boot(), self.document(post.path, post.body, phone, post.tracking_id)))
        return post.tracking_id

    def page(self, path: str, phone: str, number: int | None, offset: int) -> bytes:
        """One page of what is shown of a phone, in the contract's two shapes."""
        self.searches[phone] += 1
        size, now = self.search.page_size, self.clock.boot()
        shown = [document for since, document in self.flows[phone] if since <= now]
        page = number if number is not None else offset // size
        age_s = now - self.posts[phone][0].at if self.posts[phone] else 0.0
        if (trouble := self.search.trouble(page, age_s)) is not None:
            return trouble
        items = shown[page * size : page * size + size]
        if path == OTP_SEARCH:
            return json_answer({"total": len(shown), "limit": size, "offset": offset, "results": items})
        pages = -(-len(shown) // size)
        head = {"number": page, "size": size, "totalPages": pages, "totalElements": len(shown), "last": page + 1 >= pages}
        return json_answer({"content": items, **head})

    def document(self, path: str, body: dict[str, Any], phone: str, tracking_id: str, label: str | None = None) -> dict[str, Any]:
        """A flow as tracking shows it: the first step, its label only where Routee shows one."""
        step, now = body["flow"][0], iso(self.clock.now_ms())
        if path == PATH_OTP:
            channel = "viber" if step["type"] == "ViberOtp" else "sms"
            only = {"trackingId": f"m-{tracking_id}", "role": "primary", "status": "queued", "channel": channel, "phone_number": phone[1:]}
            return {"flowId": tracking_id, "status": "InProgress", "steps": [{**only, "label": label, "created_at": now}]}
        label = label or step.get("label") or step.get("message", {}).get("label")
        message = {"type": step["type"], "order": 1, "to": phone, "createdAt": now, "status": {"name": "Queued", "updatedDate": now}}
        shown = {"label": label} if label else {}
        return {"trackingId": tracking_id, "status": "InProgress", "messages": [{**message, **shown}], "createdAt": now, "updatedAt": now}

    def _others(self, path: str, phone: str, body: dict[str, Any]) -> None:
        bare = {"flow": [{"type": body["flow"][0]["type"]}]}
        for number in range(self.search.others):
            label = f"{number:08x}-0000-5000-8000-000000000000.1"
            self.flows[phone].append((0.0, self.document(path, bare, phone, f"other-{number}", label)))
        for number in range(self.search.strangers):
            self.flows[phone].append((0.0, self.document(path, bare, phone, f"{phone[-6:]}-stranger-{number}")))


@functools.cache
def few_roots() -> str:
    """A file of one root: reading the system's for each world would be most of a test's time, and nothing here speaks TLS."""
    path = Path(tempfile.mkdtemp()) / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


class Wire(HttpClient):
    """An HTTP client whose connections are the desk: laws of ``exchange`` as documented there, answers read by the real reader."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(Limits(), ca_file=few_roots())
        self._desk = desk
        self.connect_s = 0.0  # how long a connection is waited for
        self.answer_s = 0.0  # how long after the request the answer to a POST comes

    async def exchange(
        self, target: Target, headers: bytes, body: bytes, deadline_s: float, may_start: Callable[[], bool] = lambda: True
    ) -> Whole | Failure:
        path, _, query = target.start.split(b" ")[1].decode().partition("?")
        if path in SENDS and self.connect_s:
            await self._desk.clock.sleep(self.connect_s)
        if path in SENDS and (unsent := self._unsent(body)):
            return Failure(sent=False, reason=unsent)
        if not may_start():
            return http_client._LEASE_OVER
        reply = await self._served(path, {key: values[0] for key, values in parse_qs(query).items()}, body)
        if path in SENDS and self.answer_s:
            await self._desk.clock.sleep(self.answer_s)
        reader = AnswerReader()
        outcome = None
        for half in (reply.raw[:20], reply.raw[20:]):
            outcome = outcome or (reader.feed(half) if half else None)
        if outcome is not None:
            return outcome
        if reply.ending == "closed":
            return reader.end()
        if reply.ending == "reset":
            return Failure(sent=True, reason="reset")
        await self._desk.clock.sleep(deadline_s)
        return Failure(sent=True, reason="timeout")

    def _unsent(self, body: bytes) -> str:
        replies = self._desk.replies[phone_of(json.loads(body)["flow"][0]["to"])]
        return replies.pop(0).unsent if replies and replies[0].unsent else ""

    async def _served(self, path: str, query: dict[str, str], body: bytes) -> Reply:
        desk = self._desk
        if path == "/oauth/token":
            desk.tokens += 1
            return Reply(json_answer({"access_token": f"t{desk.tokens}", "token_type": "bearer", "expires_in": 3600}))
        if path in SENDS:
            return desk.post(path, json.loads(body))
        if path in {STANDARD_SEARCH, OTP_SEARCH}:
            await desk.searching.wait()
            if path == OTP_SEARCH:
                return Reply(desk.page(path, f"+{query['phone_number'].lstrip('+')}", None, int(query["offset"])))
            (condition,) = json.loads(body)
            return Reply(desk.page(path, f"+{condition['searchTerm'].lstrip('+')}", int(query["page"]), 0))
        if path == "/accounts/me/balance":
            return Reply(json_answer({"balance": 10}))
        return Reply(self._flow(unquote(path.rpartition("/")[2])))

    def _flow(self, tracking_id: str) -> bytes:
        for flows in self._desk.flows.values():
            for _, document in flows:
                if tracking_id in {document.get("trackingId"), document.get("flowId")}:
                    return json_answer(document)
        return answer(404, b"{}")


class RealRoutee(Provider):
    """What lanes are given as sender and tracking: the adapter, on the wire."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.clock)
        self.desk = desk
        self.wire = Wire(desk)
        options = RouteeOptions("http://auth", "http://routee", "me", "secret", ca_file=few_roots())
        self._routee = Routee(options, desk.clock.now_ms)
        self._routee._sends = self.wire
        self._routee._tracking._reads._client = self.wire
        for tokens in self._routee._tokens.values():
            tokens._client, tokens._clock = self.wire, desk.clock.boot

    async def send(self, request: Request, may_start: Callable[[], bool]) -> Outcome:
        self.desk.attempts[request.recipient] = request.attempt_id
        return await self._routee.send(request, may_start)

    async def flow(self, api: Api, tracking_id: str) -> FlowReport | Unanswered:
        return await self._routee.flow(api, tracking_id)

    async def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        return await self._routee.search(api, recipient, since_ms, until_ms)

    async def page(self, api: Api, since_ms: int, until_ms: int, number: int) -> Page | Unanswered:
        return await self._routee.page(api, since_ms, until_ms, number)


def at_desk(world: World, search: Search | None = None) -> Desk:
    """Give the world the real adapter, and these rules."""
    desk = Desk(world.clock, search or Search())
    world.provider = RealRoutee(desk)
    world.reload(RULES)
    return desk


def event(world: World, rule: str, number: int = 1, *, key: str | None = None, expires_s: float | None = None) -> Record:
    """An event of the rule's type to a phone of its own (the ``number``-th)."""
    value = {
        "event_id": f"{rule}-{number}-{len(world.records)}",
        "type": rule,
        "occurred_at": world.clock.now_ms(),
        "recipient": {"phone": f"+306912{number:06d}"},
        "expires_at": None if expires_s is None else world.clock.now_ms() + int(expires_s * 1000),
        "data": {"pin": "1234"},
    }
    return world.put(json.dumps(value).encode(), key or f"key-{number}")


async def lose(process: Process, desk: Desk, rule: str, *replies: Reply, number: int = 1, expires_s: float | None = None) -> Record:
    """Send one event whose posts are answered so; the reply is lost when this returns."""
    record = event(process.world, rule, number, expires_s=expires_s)
    desk.replies[phone_of_record(record)] = list(replies)
    await process.put(record, seconds=0.1)
    return record


def fate(world: World, desk: Desk, record: Record, rule: str) -> str:
    """What became of a flow, in words: how many posts how far apart, and every SendEvent's outcome, reason and flags."""
    flow_id, phone = world.flow_id(record, rule), phone_of_record(record)
    posts = [post for post in desk.posts[phone] if post.attempt_id.startswith(flow_id)]
    gaps = [f"{later.at - sooner.at:.0f}" for sooner, later in itertools.pairwise(posts)]
    words = [f"{len(posts)} post" + (f"s, {'+'.join(gaps)} s apart" if gaps else "")]
    numbers = {post.tracking_id: f"#{post.attempt_id.rpartition('.')[2]}" for post in posts}
    for sent in world.outputs("sends"):
        if sent["flow_id"] == flow_id:
            flags = [flag for flag in ("resent_after_doubt", "duplicate", "correction") if sent[flag]]
            name = numbers.get(sent["tracking_id"], (sent["tracking_id"] or "").removeprefix(f"{phone[-6:]}-"))
            words.append(" ".join(str(part) for part in (sent["outcome"], sent["reason"], name, *flags) if part))
    return "; ".join(words)


# --------------------------------------------------------------------------------------------------------------- bytes


def answer(status: int, body: bytes = b"", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def json_answer(document: object, status: int = 200, headers: str = "") -> bytes:
    """A whole HTTP answer of JSON."""
    return answer(status, json.dumps(document).encode(), headers)


def accepted(path: str, status: int = 200) -> Reply:
    """The contract's acceptance; OTP has its own word for the id."""
    body = {"flowId": ID, "status": "InProgress"} if path == PATH_OTP else {"trackingId": ID}
    return Reply(json_answer(body, status))


def phone_of(to: object) -> str:
    """E.164 of a step's ``to``, whichever shape it has."""
    return str(to["phone"] if isinstance(to, dict) else to)


def phone_of_record(record: Record) -> str:
    """E.164 of an event."""
    return str(json.loads(record.value or b"")["recipient"]["phone"])


def iso(moment_ms: int) -> str:
    """As the contract writes times."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
