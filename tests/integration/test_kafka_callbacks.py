"""The callbacks feed, where only a real broker can show it: a topic that goes and comes again under a follower."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import AdminClient

from connector.adapters.kafka_callbacks import KafkaCallbackFeed
from connector.adapters.kafka_client import callbacks_topic
from connector.core.model import FlowReport
from connector.ports import Callback, LaneId
from tests.conftest import NewTopicName
from tests.kafka import Broker
from tests.processes import Process, eventually, options

pytestmark = pytest.mark.broker


async def test_a_topic_made_anew_under_a_follower_is_heard_from_its_start(topic: NewTopicName, broker: Broker) -> None:
    """Deleted and created anew while its lane follows it: what the new log has is delivered, with its own offsets, once each."""
    settings = options(broker)
    lane = LaneId("anew", 0)
    name = topic(name=callbacks_topic(settings.group_id, lane.topic))
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    heard: list[tuple[int, int]] = []
    async with Process(settings) as process:
        decode = lambda value: Callback(lane, "f", b"", int(value), 0, FlowReport(None, None))  # noqa: E731 - as short as it is
        feed = KafkaCallbackFeed(settings, process.pool, process.metrics, decode)

        async def read() -> None:
            async for batch in feed.events():
                heard.extend((one.record.offset, one.callback.attempt) for one in batch if one.callback is not None)

        reading = asyncio.create_task(read())
        feed.follow(lane, 0)
        for number in range(5):
            await process.producer.produce(name, 0, b"", str(number).encode())
        await eventually(lambda: len(heard) == 5)
        await asyncio.to_thread(admin.delete_topics([name])[name].result, 30)
        await eventually(lambda: name not in admin.list_topics(timeout=10).topics, 30)
        topic(name=name)
        async with Process(settings) as another:
            for number in (7, 8):
                await another.producer.produce(name, 0, b"", str(number).encode())
        await eventually(lambda: len(heard) == 7, 30)
        assert heard[5:] == [(0, 7), (1, 8)]
        await feed.close()
        await reading
