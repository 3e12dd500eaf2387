"""A lane's callbacks, held when its tenure ended."""

from __future__ import annotations

import asyncio

import pytest

from connector.adapters.kafka_callbacks import KafkaCallbackFeed
from connector.adapters.kafka_client import KafkaOptions, callbacks_topic
from connector.adapters.kafka_mock import MockCluster
from connector.core.model import FlowReport
from connector.ports import Callback, LaneId
from tests.processes import Process

LANE = LaneId("in", 0)


def decode(value: bytes) -> Callback:
    """Any."""
    return Callback(LANE, "f", b"", int(value), 0, FlowReport(None, None))


async def soon(heard: asyncio.Queue[int]) -> int | None:
    """The next offset; None: nothing comes."""
    try:
        async with asyncio.timeout(10):
            return await heard.get()
    except TimeoutError:
        return None


@pytest.mark.parametrize(("held", "apart_s"), [(False, 1.0), (True, 1.0), (True, 0.0)])
async def test_a_lane_that_was_held_hears_when_it_is_followed_anew(held: bool, apart_s: float) -> None:
    """librdkafka keeps a pause for whoever is assigned the partition next."""
    with MockCluster() as cluster:
        settings = KafkaOptions(cluster.bootstrap_servers, "demo")
        name = callbacks_topic("demo", "in")
        cluster.make_topic(name, 2)
        heard: asyncio.Queue[int] = asyncio.Queue()
        async with Process(settings) as process:
            feed = KafkaCallbackFeed(settings, process.pool, process.metrics, decode)

            async def read() -> None:
                async for batch in feed.events():
                    for one in batch:
                        heard.put_nowait(one.record.offset)

            reading = asyncio.create_task(read())
            feed.follow(LANE, 0)
            await process.producer.produce(name, 0, b"", b"0")
            assert await soon(heard) == 0
            feed.hold(LANE, held=held)
            await asyncio.sleep(0.5)  # it is paused by now
            feed.unfollow(LANE)
            await asyncio.sleep(apart_s)
            feed.follow(LANE, 1)
            await process.producer.produce(name, 0, b"", b"1")
            last = await soon(heard)
            await feed.close()
            await reading
            assert last == 1
