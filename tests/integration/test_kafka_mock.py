"""The in-process cluster of the demo."""

from __future__ import annotations

import asyncio

import pytest

from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_client import KafkaOptions, journal_topic
from connector.adapters.kafka_group import GroupSource
from connector.adapters.kafka_mock import MockCluster
from connector.errors import KafkaUnavailable
from connector.ports import LaneId
from tests.processes import Process, member


async def test_the_mock_cluster_carries_a_whole_lane() -> None:
    """Topics with chosen partition counts, a group, commits, and a journal that is read back: no server anywhere."""
    with MockCluster() as cluster:
        settings = KafkaOptions(cluster.bootstrap_servers, "demo")
        for name, partitions in (("in", 2), (journal_topic("demo", "in"), 2)):
            cluster.make_topic(name, partitions)
        assert KafkaTopics(settings).partition_counts(["in", journal_topic("demo", "in")]) == {"in": 2, "demo.in.journal": 2}
        lane = LaneId("in", 1)
        async with Process(settings) as process:
            await asyncio.gather(*(process.producer.produce("in", 1, b"k", b"%d" % number) for number in range(5)))
            source = GroupSource(settings, ["in"], process.metrics)
            async with member(source, source.close, at=lambda _: 0) as joined:
                await joined.until(lambda: joined.offsets(lane) == [0, 1, 2, 3, 4])
                assert await source.commit({lane: 5})
                assert (await source.places(lane)).committed == 5
            last = await process.journal.append(lane, b"key", b"row")
            rows = [row async for batch in process.journal.scan(lane, last) for row in batch]
            assert [(row.key, row.value) for row in rows] == [(b"key", b"row")]


def test_a_topic_is_made_once() -> None:
    """Making it again is refused, as its partitions may differ."""
    with MockCluster() as cluster:
        cluster.make_topic("in", 2)
        with pytest.raises(KafkaUnavailable):
            cluster.make_topic("in", 3)
