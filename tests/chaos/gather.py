"""Facts for the checker: out of the input topic, the outputs, the provider's ledger, and what the tail has seen."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connector.adapters.callback_codec import decode_callback, encode_callback
from connector.adapters.kafka_client import PARTITION_EOF
from connector.core.coerce import parse_json
from connector.core.documents import parse_flow
from connector.ports import Callback, LaneId
from connector.services.callbacks import NOTHING_SAID
from tests.chaos.story import NUMBER, story
from tests.proof.facts import CallbackSeen, ExpectedEvent, Letter, Post, SendSeen, StatusSeen

_AT_ONCE = 2000
_BATCH_S = 0.2
_SILENCE_S = 20.0
_NO_LANE = LaneId("", 0)


@dataclass(slots=True)
class LedgerRead:
    """What the provider saw."""

    posts: list[Post] = field(default_factory=list)
    acked: list[CallbackSeen] = field(default_factory=list)
    violations: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)


def read_ledger(path: Path) -> LedgerRead:
    """The whole file, line by line."""
    read = LedgerRead()
    with path.open("rb") as lines:
        for line in lines:
            entry = orjson.loads(line)
            read.requests[entry["what"]] += 1
            read.violations.update(kind.partition(":")[0] for kind in entry["violations"])
            if entry["what"] == "send":
                at, tracking_id = entry["at"] * 1000, entry["accepted"]
                read.posts.append(Post(entry["seq"], at, entry["flow_id"], entry["attempt"], entry["api"], tracking_id))
            elif entry["what"] == "callback" and entry["flow_id"]:
                report = parse_flow(parse_json(orjson.dumps(entry["body"]))) or NOTHING_SAID
                callback = Callback(_NO_LANE, entry["flow_id"], bytes(16), entry["attempt"], 0, report)
                read.acked.append(_seen(callback))
    return read


def read_input(messages: Iterator[Message], seed: int, produced_ms: array[int]) -> Iterator[ExpectedEvent]:
    """Each record with the flows it must have had. The first copy in its lane is the event, a later one its repeat."""
    firsts: dict[int, str] = {}
    for message in messages:
        number = int.from_bytes(_headers(message)[NUMBER], "big")
        lane, offset = f"{message.topic()}/{message.partition()}", message.offset() or 0
        told = story(seed, number)
        repeat = number in firsts and not told.garbage  # what cannot be decoded is known by its coordinates only
        first = firsts.setdefault(number, f"{lane}/{offset}")
        flow = told.flow(f"{lane}/{offset}" if told.garbage else first)
        yield ExpectedEvent(lane, offset, _raw(message.key()), _raw(message.value()), (flow,), told.expires_ms(produced_ms[number]), repeat)


def read_sends(messages: Iterator[Message]) -> Iterator[SendSeen]:
    """SendEvents, in JSON."""
    for message in messages:
        body = _body(message)
        yield SendSeen(
            id=body["id"],
            flow_id=body["flow_id"],
            outcome=body["outcome"],
            tracking_id=body["tracking_id"],
            attempts=tuple((line["n"], line["outcome"]) for line in body["attempts"]),
            resent_after_doubt=body["resent_after_doubt"],
            duplicate=body["duplicate"],
            correction=body["correction"],
            settled_at=datetime.fromisoformat(body["settled_at"]).timestamp() * 1000,
        )


def read_statuses(messages: Iterator[Message]) -> Iterator[StatusSeen]:
    """StatusEvents, in JSON."""
    for message in messages:
        body = _body(message)
        words = (body["status"], body["previous"], body["terminal"], body["correction"], body["tracking_id"])
        yield StatusSeen(body["id"], body["flow_id"], body["seq"], *words)


def read_letters(messages: Iterator[Message]) -> Iterator[Letter]:
    """Dead letters."""
    for message in messages:
        headers = {name: value.decode() for name, value in _headers(message).items() if name != NUMBER}
        yield Letter(headers["failover.id"], headers["failover.flow_id"], headers, _raw(message.value()))


def read_callbacks(messages: Iterator[Message]) -> Iterator[CallbackSeen]:
    """What the ingress has put into Kafka."""
    for message in messages:
        yield _seen(decode_callback(_raw(message.value()) or b""))


def read_topic(bootstrap_servers: str, topic: str) -> Iterator[Message]:
    """All of it, partition by partition in order. Raises TimeoutError when the broker falls silent before the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "chaos-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        left = set(consumer.list_topics(topic, _SILENCE_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in left])
        heard_at = time.monotonic()
        while left:
            messages = consumer.consume(_AT_ONCE, _BATCH_S)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _SILENCE_S:
                raise TimeoutError(f"{topic}: nothing more came, {len(left)} partitions have no end yet")
            for message in messages:
                error: KafkaError | None = message.error()
                if error is None:
                    yield message
                elif error.code() == PARTITION_EOF:
                    left.discard(message.partition())
    finally:
        consumer.close()


def _seen(callback: Callback) -> CallbackSeen:
    """Equal for equal reports: what is not the provider's word is left out."""
    alike = encode_callback(replace(callback, lane=_NO_LANE, event_digest=bytes(16), received_ms=0))
    content = hashlib.blake2b(alike, digest_size=12).digest()
    return CallbackSeen(callback.flow_id, callback.attempt, callback.report.tracking_id, content)


def _headers(message: Message) -> Mapping[str, bytes]:
    return {header[0]: header[1] for header in message.headers() or () if isinstance(header[1], bytes)}


def _raw(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _body(message: Message) -> Any:  # noqa: ANN401 - JSON
    return orjson.loads(message.value() or b"")
