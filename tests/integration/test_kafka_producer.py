"""The one producer: order, limits, and what its futures say when something breaks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import KafkaError

from connector.adapters.kafka_client import FATAL, KafkaOptions
from connector.adapters.kafka_producer import KafkaProducer, MessageTooLarge
from connector.errors import KafkaUnavailable, LaneLost
from connector.metrics import Metrics
from tests.conftest import NewTopicName
from tests.kafka import Broker
from tests.processes import eventually, options

NOWHERE = KafkaOptions("127.0.0.1:1")


@pytest.fixture
async def producer(broker: Broker) -> AsyncIterator[KafkaProducer]:
    """A producer on the real broker."""
    made = KafkaProducer(options(broker), Metrics())
    yield made
    await made.close(5)


@pytest.mark.broker
async def test_a_full_queue_keeps_the_call_order(broker: Broker, topic: NewTopicName) -> None:
    """When librdkafka's queue is full, messages wait and land in call order all the same."""
    settings = KafkaOptions(broker.bootstrap_servers, properties={"queue.buffering.max.messages": 50})
    producer = KafkaProducer(settings, Metrics())
    name = topic("journal")
    futures = [producer.produce(name, 0, None, b"%d" % number) for number in range(500)]
    assert producer._waiting
    time.sleep(0.7)  # noqa: ASYNC251 - the loop is busy: places get free, and those that wait have not been told
    futures += [producer.produce(name, 0, None, b"%d" % number) for number in range(500)]
    assert await asyncio.gather(*futures) == list(range(1000))
    await producer.close(5)


@pytest.mark.broker
async def test_a_fatal_error_fails_what_is_open_and_brings_a_new_producer(producer: KafkaProducer, topic: NewTopicName) -> None:
    """All futures get an answer, LaneLost; the next generation works."""
    name = topic("journal")
    await producer.produce(name, 0, None, b"before")
    session = producer._session
    session.fatal.set()
    session._on_error(KafkaError(FATAL, "planted", fatal=True))
    refused = producer.produce(name, 0, None, b"between")
    with pytest.raises(LaneLost, match="producer_fatal"):
        await refused
    await eventually(lambda: producer.generation == 2)
    assert await producer.produce(name, 0, None, b"after") == 1


@pytest.mark.broker
async def test_what_was_in_flight_at_a_fatal_error_is_answered(broker: Broker, topic: NewTopicName) -> None:
    """Messages queued when the fatal error comes either landed or raise LaneLost: none hangs."""
    settings = KafkaOptions(broker.bootstrap_servers, properties={"linger.ms": 5000})
    producer = KafkaProducer(settings, Metrics())
    futures = [producer.produce(topic("journal"), 0, None, b"x") for _ in range(3)]
    producer._session._on_error(KafkaError(FATAL, "planted", fatal=True))
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(answer, LaneLost) for answer in answers)
    await producer.close(1)


@pytest.mark.broker
async def test_too_large_a_message_is_told_apart(producer: KafkaProducer, topic: NewTopicName) -> None:
    """The topic's own limit gives MessageTooLarge to those who can do without the value, LaneLost to lanes; the producer lives on."""
    name = topic("dead-letters", config={"max.message.bytes": "20000"})
    with pytest.raises(MessageTooLarge):
        await producer.produce(name, 0, None, _noise(30_000), failed=KafkaUnavailable)
    with pytest.raises(LaneLost, match="message_too_large"):
        await producer.produce(name, 0, None, _noise(30_000))
    assert await producer.produce(name, 0, None, b"small") == 0


async def test_nothing_hangs_when_the_broker_never_comes() -> None:
    """Closing answers every future, and later calls are refused at once."""
    producer = KafkaProducer(NOWHERE, Metrics())
    stuck = producer.produce("journal", 0, None, b"x")
    with pytest.raises(LaneLost, match="producer_closed"):
        await _closed(producer, stuck)
    with pytest.raises(KafkaUnavailable):
        await producer.produce("journal", 0, None, b"x", failed=KafkaUnavailable)


async def _closed(producer: KafkaProducer, future: asyncio.Future[int]) -> int:
    await producer.close(0.2)
    return await future


def _noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(1).randbytes(size)  # noqa: S311 - no secret
