"""The whole thing as processes: a real broker, the simulator with its ledger, workers of ``failover-connector run``; and what they left.

``Crew`` starts and kills them, ``Event``s go in, ``Findings`` come out of the simulator's ledger and the topics.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connector.adapters import avro
from connector.core import identity
from connector.simulator import recipient_for

PARTITIONS = 6
_NO_COORDINATOR = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
RULES = """
rules:
  - name: login-code
    match: {type: auth.login_code}
    steps:
      - viber_otp:
          sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10
          template: 0aac888f-2ee2-4112-9659-1755a951966a
          pin: "{{ data.code }}"
          ttl: 5s
      - sms: {from: ACME, body: "Your code is {{ data.code }}", ttl: 10s}
  - name: order-shipped
    match: {type: order.shipped}
    steps:
      - viber:
          sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10
          template: 1b6a4b43-4b7e-4a11-8a43-2f0d7d6c1e55
          lang: en
          params: {id: "{{ data.order_id }}"}
          ttl: 30s
      - sms: {from: ACME, body: "Order {{ data.order_id }} has shipped", ttl: 1m}
  - name: flash-sale
    match: {type: campaign.flash_sale}
    class: marketing
    steps:
      - viber: {sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10, text: "50 % off today", ttl: 30s}
      - sms: {from: ACME, body: "50 % off today", ttl: 1m}
"""
_RULE_OF = {"auth.login_code": "login-code", "order.shipped": "order-shipped", "campaign.flash_sale": "flash-sale"}
_USUAL = ("viber_ok", "viber_ok", "viber_ok", "viber_expired_sms_ok", "all_fail", "duplicate_callbacks", "reordered_callbacks")
_RARE = ("rejected_400", "throttled_429", "unauthorized_once", "error_500_accepted", "cut_after_accept", "truncated_json")


@dataclass(frozen=True, slots=True)
class Event:
    """One input event and what should become of it: ``sent``, ``rejected``, ``invalid``, ``unrouted`` or ``expired``."""

    event_id: str
    type: str
    scenario: str
    fate: str
    value: bytes
    key: bytes

    @property
    def flow_id(self) -> str:
        """Of its only flow."""
        return identity.flow_id(self.event_id, _RULE_OF.get(self.type, "") if self.fate != "unrouted" else "")


def make_events(count: int, seed: int = 1) -> list[Event]:
    """A mix of all three classes and both encodings; one in forty is bad, one in fifty of no rule or expired."""
    chance = random.Random(seed)  # noqa: S311 - a mix, not a secret
    now_ms = time.time_ns() // 1_000_000
    return [_event(number, chance, now_ms) for number in range(count)]


def _event(number: int, chance: random.Random, now_ms: int) -> Event:
    type_ = chance.choice(tuple(_RULE_OF))
    scenario = chance.choice(_RARE) if chance.random() < 0.04 else chance.choice(_USUAL)
    fate = "rejected" if scenario == "rejected_400" else "sent"
    occurred_ms, phone = now_ms, recipient_for(scenario, number)
    if number % 40 == 7:
        fate, phone = "invalid", "12"
    elif number % 100 == 13:
        fate, type_ = "unrouted", "nobody.knows"
    elif number % 100 == 63:
        fate, occurred_ms = "expired", now_ms - 48 * 3_600_000
    event_id = f"event-{number}"
    body = {
        "event_id": event_id,
        "type": type_,
        "occurred_at": occurred_ms,
        "recipient": {"phone": phone},
        "data": {"code": f"{chance.randrange(10**6):06d}", "order_id": str(number)},
    }
    value = orjson.dumps(body) if number % 2 else _avro(body)
    if number % 80 == 7:
        value = b"\x00garbage" + bytes([number % 250])
        event_id = ""  # undecodable: known by its coordinates only
    return Event(event_id, type_, scenario, fate, value, phone.encode())


def _avro(body: dict[str, Any]) -> bytes:
    recipient = {"phone": body["recipient"]["phone"], "id": None, "locale": None, "timezone": None}
    times = {"occurred_at": body["occurred_at"] * 1000, "expires_at": None}
    return avro.schema("notification").single_object({**body, **times, "tenant": None, "recipient": recipient})


@dataclass(slots=True)
class Findings:
    """What the ledger and the topics say when all is done."""

    accepted: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # flow id → tracking ids
    violations: Counter[str] = field(default_factory=Counter)
    sends: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    repeated_ids: int = 0
    letters: list[dict[str, bytes]] = field(default_factory=list)
    letter_values: Counter[bytes] = field(default_factory=Counter)
    lag: int = -1

    def problems(self, events: list[Event]) -> list[str]:
        """Everything that breaks the promise, in words; empty: nothing does."""
        found = [f"contract violation {kind} × {count}" for kind, count in self.violations.items()]
        if self.lag != 0:
            found.append(f"{self.lag} input records are not committed")
        decisions = {
            flow: [event for event in sent if not event["correction"] and not event["duplicate"]] for flow, sent in self.sends.items()
        }
        found += [f"flow {flow} has {len(sent)} send decisions" for flow, sent in decisions.items() if len(sent) != 1]
        for event in events:
            if event.event_id:
                found += self._problems_of(event, decisions)
        bad = Counter(event.value for event in events if event.fate == "invalid")
        if self.letter_values != bad:
            found.append(
                f"{sum((bad - self.letter_values).values())} dead letters missing, {sum((self.letter_values - bad).values())} too many"
            )
        if len(decisions) != len(events):
            found.append(f"{len(decisions)} flows for {len(events)} events")
        return found

    def _problems_of(self, event: Event, decisions: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
        flow = event.flow_id
        outcome = next((sent["outcome"] for sent in decisions.get(flow, [])), None)
        wanted = {"sent": "ACCEPTED"}.get(event.fate, event.fate.upper())
        accepts = len(self.accepted.get(flow, ()))
        if accepts == 0 and outcome == "UNKNOWN" and event.type == "campaign.flash_sale":
            return  # the declared class: in doubt and not to be found, marketing is never sent again
        if outcome != wanted:
            yield f"{event.event_id} ({event.scenario}) ended as {outcome}, not {wanted}"
        if accepts != (event.fate == "sent"):
            yield f"{event.event_id} ({event.scenario}) was accepted {accepts} times"
        statuses = sorted(self.statuses.get(flow, []), key=lambda status: status["seq"])
        if [status["seq"] for status in statuses] != list(range(1, len(statuses) + 1)):
            yield f"{event.event_id}: seq {[status['seq'] for status in statuses]}"
        if event.fate == "sent" and not any(status["terminal"] for status in statuses):
            yield f"{event.event_id} ({event.scenario}) never ended: {[status['status'] for status in statuses]}"


class Crew:
    """Everything that runs, on one broker, under names of its own."""

    def __init__(self, bootstrap_servers: str, folder: Path, *, rate: str = "2000/s", time_scale: float = 60.0, rules: str = RULES) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.folder = folder
        self.time_scale = time_scale
        self.name = f"crew-{uuid.uuid4().hex[:8]}"
        self.input = f"{self.name}.notifications"
        self.ledger = folder / "ledger.jsonl"
        self.simulator_port = _free_port()
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.ports: dict[int, tuple[int, int]] = {}  # worker → admin and public port; a restart keeps them, as a service's address would
        self._simulator: subprocess.Popen[bytes] | None = None
        self._rate = rate
        (folder / "rules.yaml").write_text(rules)

    def __enter__(self) -> Self:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        for future in admin.create_topics([NewTopic(self.input, PARTITIONS, 1)]).values():
            future.result(20)
        self._simulator = self._spawn(
            "simulator",
            [
                "simulate",
                "--port",
                str(self.simulator_port),
                "--seed",
                "1",
                "--time-scale",
                str(self.time_scale),
                "--ledger",
                str(self.ledger),
            ],
        )
        _await_port(self.simulator_port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in (*self.workers.values(), self._simulator):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(20)

    def settings(self, admin_port: int, public_port: int) -> dict[str, Any]:
        """One worker's settings; doubts are cleared fast."""
        return {
            "kafka": {"bootstrap_servers": self.bootstrap_servers, "group_id": self.name, "session_timeout": "6s"},
            "topics": {
                "notifications": [self.input],
                "sends": f"{self.name}.sends",
                "statuses": f"{self.name}.statuses",
                "dead_letters": f"{self.name}.dead-letters",
                "create": True,
                "replication_factor": 1,
            },
            "format": {"output": "json"},
            "routee": {
                "auth_url": f"http://127.0.0.1:{self.simulator_port}",
                "base_url": f"http://127.0.0.1:{self.simulator_port}",
                "application_id": "acceptance",
                "application_secret": "acceptance-secret",
                "rate": self._rate,
                "timeout": "3s",
            },
            "lane": {"lease": "1s", "provider_lag": "3s"},
            "doubt": {"transactional_wait": "4s"},
            "polling": {"schedule": ["3s", "6s", "12s", "20s", "30s", "45s", "60s"], "flow_deadline": "60s", "max_share": 0.5},
            "callbacks": {
                "public_url": f"http://127.0.0.1:{public_port}",
                "listen": f"127.0.0.1:{public_port}",
                "secrets": ["acceptance-0123456789abcdef0123456789abcdef"],
            },
            "admin": {"listen": f"127.0.0.1:{admin_port}"},
            "privacy": {"pepper": "acceptance-pepper-0123"},
            "shutdown": {"grace": "10s"},
        }

    def start_worker(self, number: int, role: str = "all") -> None:
        """Start (again) the worker of that number, and wait until it is up."""
        admin_port, public_port = self.ports.setdefault(number, (_free_port(), _free_port()))
        config = self.folder / f"worker-{number}.yaml"
        config.write_bytes(orjson.dumps(self.settings(admin_port, public_port)))  # JSON is YAML
        self.workers[number] = self._spawn(f"worker-{number}", ["run", "--role", role, "--config", str(config)])
        _await_port(admin_port)

    def kill(self, number: int) -> None:
        """kill -9."""
        self.workers[number].kill()
        self.workers[number].wait(20)

    def stop(self, number: int, seconds: float = 30.0) -> int:
        """SIGTERM; gives the exit code."""
        self.workers[number].terminate()
        return self.workers[number].wait(seconds)

    def produce(self, events: list[Event], per_second: float | None = None) -> None:
        """Put the events into the input, by key."""
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 5})
        begun = time.monotonic()
        for number, event in enumerate(events):
            producer.produce(self.input, event.value, event.key)
            if per_second and (ahead := begun + number / per_second - time.monotonic()) > 0:
                producer.flush()
                time.sleep(ahead)
        producer.flush(30)

    def findings(self) -> Findings:
        """Read the ledger and every topic from their beginnings."""
        found = Findings()
        for line in self.ledger.read_bytes().splitlines():
            entry = orjson.loads(line)
            found.violations.update(entry["violations"])
            if entry["accepted"]:
                found.accepted[entry["flow_id"]].append(entry["accepted"])
        seen: set[bytes] = set()
        for topic, into in (("sends", found.sends), ("statuses", found.statuses)):
            for message in self.read(f"{self.name}.{topic}"):
                id_ = dict(message.headers() or ())["failover.id"]
                found.repeated_ids += id_ in seen
                if id_ not in seen:
                    body = orjson.loads(message.value())
                    into[body["flow_id"]].append(body)
                seen.add(id_)
        letters: set[bytes] = set()
        for message in self.read(f"{self.name}.dead-letters"):
            headers = dict(message.headers() or ())
            if headers["failover.id"] not in letters:
                found.letters.append(headers)
                found.letter_values[message.value() or b""] += 1
            letters.add(headers["failover.id"])
        found.lag = self.lag()
        return found

    def wait_until_done(self, events: list[Event], seconds: float) -> Findings:
        """Read again and again until nothing is wrong any more or the time is over."""
        deadline = time.monotonic() + seconds
        while (found := self.findings()).problems(events) and time.monotonic() < deadline:
            time.sleep(2)
        return found

    def lag(self) -> int:
        """Input records behind the committed offsets of the group."""
        with self._consumer(self.name) as consumer:
            partitions = [TopicPartition(self.input, number) for number in range(PARTITIONS)]
            committed = {entry.partition: max(entry.offset, 0) for entry in _committed(consumer, partitions)}
            return sum(consumer.get_watermark_offsets(entry, 20)[1] - committed[entry.partition] for entry in partitions)

    def read(self, topic: str) -> list[Any]:
        """All messages of a topic; none if it is not there."""
        with self._consumer(f"{self.name}-reader") as consumer:
            metadata = consumer.list_topics(topic, 20).topics[topic]
            partitions = [TopicPartition(topic, number, 0) for number in metadata.partitions]
            left = sum(consumer.get_watermark_offsets(entry, 20)[1] for entry in partitions)
            consumer.assign(partitions)
            messages: list[Any] = []
            while len(messages) < left and (batch := consumer.consume(1000, 5.0)):
                messages += [message for message in batch if message.error() is None]
            return messages

    @contextlib.contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": group, "enable.auto.commit": False})
        try:
            yield consumer
        finally:
            consumer.close()

    def _spawn(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "connector", *arguments], stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """The group's offsets. A group that is new may have no coordinator yet: that is waited for. Raises KafkaException."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return consumer.committed(partitions, 20)
        except KafkaException as error:
            if error.args[0].code() not in _NO_COORDINATOR or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
