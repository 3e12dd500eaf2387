"""What leaves: outputs after a growth, dead letters whole and cut, as a consumer finds them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from connector.adapters.kafka_outbox import KafkaDeadLetters, KafkaOutbox, partition_of
from connector.adapters.kafka_reader import record_of
from connector.core.model import DeadLetter, OutputEvent, Record
from connector.ports import LaneId
from tests.conftest import NewTopicName
from tests.kafka import Broker
from tests.processes import Process, options

pytestmark = pytest.mark.broker

RECORD = Record(
    "notifications", 4, 77, 1_700_000_000_000, b"key", b"\xffgarbage", (("ce_id", b"9"), ("traceparent", b"00-1"), ("nothing", None))
)
LETTER = DeadLetter("id-1", RECORD, "decode", "BAD_JSON", "no JSON", "data.x", "event-1", "flow-1", "", "v1")


@pytest.fixture
async def process(broker: Broker) -> AsyncIterator[Process]:
    """One process."""
    async with Process(options(broker)) as made:
        yield made


async def written(process: Process, topic: str) -> list[Record]:
    """Everything in partition 0."""
    return [record_of(message) async for batch in process.pool.scan(topic, 0) for message in batch]


async def test_an_event_carries_its_id_kind_and_given_headers(process: Process, topic: NewTopicName) -> None:
    """Key flow_id; headers failover.id, failover.kind, content-type, and those copied from the input; the body is the encoder's."""
    name = topic("sends")
    outbox = KafkaOutbox(
        process.producer,
        process.pool,
        {"send": name},
        {name: 1},
        lambda event, to: f"{event.flow_id}/{to}".encode(),
        content_type="application/json",
    )
    event = OutputEvent("id-1", "send", "flow-1", {})
    assert await outbox.emit(LaneId("in", 0), event, "+301", (("traceparent", b"00-1"),)) == (f"{name}/0", 0)
    (found,) = await written(process, name)
    assert (found.key, found.value) == (b"flow-1", b"flow-1/+301")
    assert dict(found.headers) == {
        "failover.id": b"id-1",
        "failover.kind": b"send",
        "content-type": b"application/json",
        "traceparent": b"00-1",
    }


async def test_a_checkpoint_stays_right_when_an_output_grows(process: Process, topic: NewTopicName, broker: Broker) -> None:
    """OUT names the partition too: ids are found in the old place, and in the new one the lane has moved to."""
    name = topic("sends")
    lane = next(LaneId("in", number) for number in range(100) if partition_of(LaneId("in", number), 2) == 1)

    def outbox(owner: Process, count: int) -> KafkaOutbox:
        return KafkaOutbox(owner.producer, owner.pool, {"send": name}, {name: count}, lambda event, to: b"x")

    before = outbox(process, 1)
    await before.emit(lane, OutputEvent("old", "send", "f", {}), None, ())
    out = await before.ends(lane)
    await before.emit(lane, OutputEvent("late", "send", "f", {}), None, ())
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_partitions([NewPartitions(name, 2)])[name].result(30)
    async with Process(process.settings) as restarted:
        after = outbox(restarted, 2)
        place, _ = await after.emit(lane, OutputEvent("new", "send", "f", {}), None, ())
        assert place == f"{name}/1"
        assert await after.ids_since(lane, out, {"old", "late", "new"}) == {"late", "new"}


async def test_a_dead_letter_is_whole(process: Process, topic: NewTopicName) -> None:
    """Original key, bytes and headers, with the reason and the coordinates as text headers."""
    name = topic("dead-letters")
    await KafkaDeadLetters(process.producer, name, process.metrics).put(LETTER)
    (found,) = await written(process, name)
    assert (found.key, found.value) == (RECORD.key, RECORD.value)
    assert found.headers[:3] == RECORD.headers
    assert dict(found.headers[3:]) == {
        "failover.id": b"id-1",
        "failover.kind": b"dead_letter",
        "__connect.errors.topic": b"notifications",
        "__connect.errors.partition": b"4",
        "__connect.errors.offset": b"77",
        "__connect.errors.stage": b"decode",
        "__connect.errors.exception.class.name": b"connector.errors.Undecodable",
        "__connect.errors.exception.message": b"no JSON",
        "failover.reason": b"BAD_JSON",
        "failover.path": b"data.x",
        "failover.event_id": b"event-1",
        "failover.flow_id": b"flow-1",
        "failover.rule": b"",
        "failover.rules_version": b"v1",
        "failover.replay": b"0",
        "failover.original.topic": b"notifications",
        "failover.original.partition": b"4",
        "failover.original.offset": b"77",
        "failover.original.timestamp": b"1700000000000",
    }


async def test_a_replayed_record_keeps_its_origin(process: Process, topic: NewTopicName) -> None:
    """A dead letter of a replay names the first original, its own coordinates, and the replay's number; nothing is there twice."""
    name = topic("dead-letters")
    replayed = replace(
        RECORD, offset=99, headers=(("failover.original.offset", b"5"), ("failover.replay", b"2"), ("failover.reason", b"OLD"))
    )
    await KafkaDeadLetters(process.producer, name, process.metrics).put(replace(LETTER, record=replayed))
    (found,) = await written(process, name)
    headers = dict(found.headers)
    assert len(headers) == len(found.headers)
    assert (headers["failover.original.offset"], headers["__connect.errors.offset"]) == (b"5", b"99")
    assert (headers["failover.replay"], headers["failover.reason"]) == (b"2", b"BAD_JSON")


@pytest.mark.parametrize("limit_known", [True, False])
async def test_too_large_a_value_is_replaced_by_its_hash(process: Process, topic: NewTopicName, limit_known: bool) -> None:
    """What the topic cannot take ends as SHA-256 and size, and is counted, whether the limit was known before or not."""
    name = topic("dead-letters", config={"max.message.bytes": "20000"})
    value = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(1000))
    letters = KafkaDeadLetters(process.producer, name, process.metrics, max_bytes=20_000 if limit_known else None)
    await letters.put(replace(LETTER, record=replace(RECORD, value=value)))
    (found,) = await written(process, name)
    assert found.value is None
    assert found.header("failover.value.sha256") == hashlib.sha256(value).hexdigest().encode()
    assert found.header("failover.value.size") == b"32000"
    assert process.metrics.registry.get_sample_value("failover_dead_letters_truncated_total") == 1


@pytest.mark.parametrize("large", ["key", "header", "origin"])
async def test_no_record_is_too_large_for_a_letter(process: Process, topic: NewTopicName, large: str) -> None:
    """Whatever of a record is too large for the topic, its letter is written: else its lane would stand still for ever."""
    name = topic("dead-letters", config={"max.message.bytes": "20000"})
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(1000))
    record = {
        "key": replace(RECORD, key=noise),
        "header": replace(RECORD, headers=(("anything", noise),)),
        "origin": replace(RECORD, headers=(("failover.original.topic", noise),)),
    }[large]
    await KafkaDeadLetters(process.producer, name, process.metrics).put(replace(LETTER, record=record))
    (found,) = await written(process, name)
    assert found.header("failover.reason") == b"BAD_JSON"


async def test_a_header_that_no_topic_takes_is_not_copied(process: Process, topic: NewTopicName) -> None:
    """An input's header may be larger than the outputs' topics allow; the event goes out without it."""
    name = topic("sends")
    outbox = KafkaOutbox(process.producer, process.pool, {"send": name}, {name: 1}, lambda _event, _to: b"body")
    headers = (("traceparent", b"00-1"), ("tracestate", b"x" * 8_193))
    await outbox.emit(LaneId("in", 0), OutputEvent("id-1", "send", "flow-1", {}), None, headers)
    (found,) = await written(process, name)
    assert (found.header("traceparent"), found.header("tracestate")) == (b"00-1", None)


async def test_coordinates_only_leaves_the_record_out(process: Process, topic: NewTopicName) -> None:
    """With ``privacy.dead_letters: coordinates`` neither key nor value nor a header of the record is copied."""
    name = topic("dead-letters")
    await KafkaDeadLetters(process.producer, name, process.metrics, coordinates_only=True).put(LETTER)
    (found,) = await written(process, name)
    assert (found.key, found.value) == (None, None)
    assert found.header("failover.original.offset") == b"77"
    assert found.header("ce_id") is None


async def test_a_place_that_is_gone_holds_no_claim_up(process: Process, topic: NewTopicName) -> None:
    """An output was renamed and the old topic deleted: a checkpoint that still names it asks for nothing there."""
    name = topic("sends")
    outbox = KafkaOutbox(process.producer, process.pool, {"send": name}, {name: 1}, lambda event, to: b"x")
    lane = LaneId("in", 0)
    await outbox.emit(lane, OutputEvent("here", "send", "f", {}), None, ())
    assert await outbox.ids_since(lane, {"gone-sends/0": 5, f"{name}/0": 0}, {"here", "lost"}) == {"here"}
