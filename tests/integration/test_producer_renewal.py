"""A producer that broke for good is followed by another one."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from connector.adapters import kafka_producer
from connector.adapters.kafka_client import KafkaOptions
from connector.adapters.kafka_mock import MockCluster
from connector.adapters.kafka_producer import KafkaProducer
from connector.errors import LaneLost
from connector.metrics import Metrics

_NO_THREAD = -172


async def test_a_session_that_cannot_be_made_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread is to be had for it at first. Until then every produce fails, and says so."""
    real, failures = Producer, [1]

    def make(*args: object, **kwargs: object) -> object:
        if failures:
            failures.pop()
            raise KafkaException(KafkaError(_NO_THREAD, "Unable to create thread"))
        return real(*args, **kwargs)

    with MockCluster() as cluster:
        cluster.make_topic("t", 1)
        producer = KafkaProducer(KafkaOptions(cluster.bootstrap_servers, "g"), Metrics())
        await producer.produce("t", 0, b"k", b"v")
        monkeypatch.setattr(kafka_producer, "Producer", make)
        producer._session.fatal.set()
        async with asyncio.timeout(30):
            while True:
                try:
                    await producer.produce("t", 0, b"k", b"v")
                    break
                except LaneLost:
                    await asyncio.sleep(0.1)
        assert (failures, producer.generation) == ([], 2)
        await producer.close(1)
