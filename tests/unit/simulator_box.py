"""A simulator without sockets: requests are handed over, callbacks collected, time is moved by hand."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from connector.simulator import Simulator, SimulatorOptions
from connector.simulator.posting import Done
from connector.simulator.wire import Answer, HttpRequest

JsonDoc = dict[str, Any]
STANDARD, TRANSACTIONAL, OTP = "/failover", "/failover/transactional", "/failover-otp/otp/send-failover"
FLOW_ID = "3f2b1c8e-1111-4222-8333-944455556666"
BASIC = "Basic " + base64.b64encode(b"app:secret").decode()


class Collected:
    """Callbacks as they went out; ``status`` is what the receiver answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, JsonDoc]] = []
        self.status: int | None = 200

    def submit(self, url: str, body: bytes, done: Done) -> bool:
        self.posts.append((url, orjson.loads(body)))
        done(self.status)
        return True

    @property
    def statuses(self) -> list[str]:
        return [doc["status"] for _, doc in self.posts]


class Box:
    """One simulator with a token."""

    def __init__(self, **options: object) -> None:
        self.now = 1_800_000_000.0
        self.callbacks = Collected()
        settings = SimulatorOptions(**{"seed": 7, **options})  # type: ignore[arg-type]  # each test gives the right ones
        self.simulator = Simulator(settings, clock=lambda: self.now, posts=self.callbacks)
        self.token: str = self.new_token()["access_token"]

    def advance(self, seconds: float, step_s: float = 0.5) -> None:
        """Let time pass in small steps."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step_s)
            self.simulator.run_due()

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        path, _, query = target.partition("?")
        given = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.simulator.answer(HttpRequest(method, path, query, {name: value for name, value in given.items() if value}, body))

    def post(self, target: str, doc: object, **headers: str) -> tuple[int, Any]:
        reply = self.request("POST", target, orjson.dumps(doc), **headers)
        return reply.status, orjson.loads(reply.body)

    def get(self, target: str, **headers: str) -> tuple[int, Any]:
        reply = self.request("GET", target, b"", **headers)
        return reply.status, orjson.loads(reply.body)

    def new_token(self, authorization: str = BASIC) -> JsonDoc:
        form = {"authorization": authorization, "content-type": "application/x-www-form-urlencoded"}
        reply = self.simulator.answer(HttpRequest("POST", "/oauth/token", "", form, b"grant_type=client_credentials"))
        doc: JsonDoc = orjson.loads(reply.body)
        return doc

    def send(self, doc: JsonDoc, path: str = STANDARD) -> str:
        """POST what must be accepted; gives the tracking id."""
        status, answered = self.post(path, doc)
        assert status == 200, answered
        return str(answered.get("trackingId") or answered["flowId"])

    def track(self, tracking_id: str) -> JsonDoc:
        doc: JsonDoc = self.get(f"/failover/tracking/{tracking_id}")[1]
        return doc

    def track_otp(self, flow_id: str) -> JsonDoc:
        doc: JsonDoc = self.get(f"/failover-otp/otp/failover/{flow_id}")[1]
        return doc


# ------------------------------------------------------------------------------------------------------------- requests


def sms(to: str, order: int = 1, **extra: object) -> JsonDoc:
    """An Sms step."""
    return {"type": "Sms", "from": "ACME", "to": to, "order": order, "ttl": 30, "message": {"body": "hello"}, **extra}


def viber(to: str, order: int = 1, **extra: object) -> JsonDoc:
    """A free-form Viber step."""
    return {"type": "Viber", "senderInfoTrackingId": "s", "to": to, "order": order, "ttl": 10, "message": {"text": "hello"}, **extra}


def template(to: str, order: int = 1, **extra: object) -> JsonDoc:
    """A template Viber step."""
    ids = {"senderInfoTrackingId": "s", "templateId": "7d2f0000-0000-4000-8000-000000000001", "templateLang": "en"}
    return {"type": "Viber", "to": to, "order": order, "ttl": 10, **ids, "templateParams": {"name": "Alex"}, **extra}


def voice(to: str, order: int = 1, **extra: object) -> JsonDoc:
    """A Voice step."""
    verbs = [{"type": "SAY", "message": {"text": "hello", "language": "en-GB"}}]
    return {"type": "Voice", "from": "+302101234567", "to": {"phone": to}, "order": order, "dialPlan": {"verbs": verbs}, **extra}


def viber_otp(to: str, order: int = 1, **extra: object) -> JsonDoc:
    """A ViberOtp step."""
    ids = {"senderInfoTrackingId": "s", "templateId": "0aac888f-2ee2-4112-9659-1755a951966a", "pin": "847291"}
    return {"type": "ViberOtp", "to": to, "order": order, "ttl": 60, **ids, **extra}


def otp_sms(to: str | list[str], order: int = 1, **extra: object) -> JsonDoc:
    """An Sms step of the OTP service."""
    return {"type": "Sms", "to": to, "order": order, "ttl": 120, "from": "ACME", "message": {"body": "Your code is 847291"}, **extra}


def flow(*steps: JsonDoc, strategy: str | None = None) -> JsonDoc:
    """A request body; ``strategy`` adds a callback, the empty one a callback without a strategy."""
    doc: JsonDoc = {"flow": list(steps)}
    if strategy is not None:
        doc["callback"] = {"url": "http://127.0.0.1:1/hook", "strategy": strategy} if strategy else {"url": "http://127.0.0.1:1/hook"}
    return doc


def label(attempt: int = 1) -> str:
    """The label of an attempt of FLOW_ID."""
    return f"{FLOW_ID}.{attempt}"
