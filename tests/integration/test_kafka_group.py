"""The group's member on a real broker: rebalances, races and limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connector.adapters.kafka_client import KafkaOptions
from connector.adapters.kafka_group import GroupSource
from connector.metrics import Metrics
from connector.ports import Arrived, BegunAnew, LaneId, Lost, Revoked
from tests.conftest import NewTopicName
from tests.kafka import Broker
from tests.processes import Process, eventually, member, options

pytestmark = pytest.mark.broker


@pytest.fixture
async def process(broker: Broker) -> AsyncIterator[Process]:
    """Puts the records."""
    async with Process(options(broker)) as made:
        yield made


def joined_source(settings: KafkaOptions, name: str, *, release_wait_s: float = 12.0) -> GroupSource:
    """One more member of the group."""
    return GroupSource(settings, [name], Metrics(), release_wait_s=release_wait_s)


async def fill(process: Process, lane: LaneId, count: int, value: bytes = b"v") -> None:
    """Put that many records."""
    await asyncio.gather(*(process.producer.produce(lane.topic, lane.partition, b"k", value) for _ in range(count)))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_no_record_of_a_released_lane_is_delivered(process: Process, topic: NewTopicName, broker: Broker, protocol: str) -> None:
    """A second member takes over half of the lanes: the first commits before it lets go, then sees nothing of them; no record is missed."""
    name = topic("input", partitions=4)
    lanes = {LaneId(name, partition) for partition in range(4)}
    settings = KafkaOptions(broker.bootstrap_servers, f"group-{name}", protocol, session_timeout_ms=6000)  # type: ignore[arg-type]
    for lane in lanes:
        await fill(process, lane, 3)
    one, two = joined_source(settings, name), joined_source(settings, name)
    async with member(one, one.close, at=lambda _: 0) as first:
        await first.until(lambda: sum(map(len, first.records.values())) == 12)
        first.gate.clear()
        async with member(two, two.close, at=lambda _: 3) as second:
            await first.until(lambda: any(isinstance(event, Revoked) for event in first.seen))
            (revoked,) = (event for event in first.seen if isinstance(event, Revoked))
            assert await one.commit(dict.fromkeys(revoked.lanes, 3))
            for lane in lanes:
                await fill(process, lane, 2)
            first.gate.set()
            await second.until(lambda: second.lanes == set(revoked.lanes) and sum(map(len, second.records.values())) == 4)
            await first.until(lambda: sum(map(len, first.records.values())) == 16)
            assert first.lanes | second.lanes == lanes
            assert all(second.offsets(lane) == [3, 4] for lane in second.lanes)
            assert all(first.offsets(lane) == [0, 1, 2, 3, 4] for lane in first.lanes)
            assert all(first.offsets(lane) == [0, 1, 2] for lane in second.lanes)
            assert first.after_release == []
            assert not await one.commit(dict.fromkeys(revoked.lanes, 5))
            assert (await two.places(revoked.lanes[0])).committed == 3


async def test_lanes_not_released_in_time_are_lost(process: Process, topic: NewTopicName) -> None:
    """A revocation waits only so long; then the lanes go, and their owner is told that they are lost."""
    name = topic("input", partitions=2)
    one, two = joined_source(process.settings, name, release_wait_s=0.3), joined_source(process.settings, name)
    async with member(one, one.close) as first:
        await first.until(lambda: len(first.lanes) == 2)
        first.gate.clear()
        async with member(two, two.close) as second:
            await second.until(lambda: len(second.lanes) == 1)
            first.gate.set()
            await first.until(lambda: any(isinstance(event, Lost) for event in first.seen))
            lost = next(event for event in first.seen if isinstance(event, Lost))
            assert set(lost.lanes) == second.lanes


async def test_starting_over_and_over_never_delivers_a_stale_record(process: Process, topic: NewTopicName) -> None:
    """Whatever was on its way, the first record after each ``start`` is the one asked for, and the next one follows."""
    lane = LaneId(topic("input"), 0)
    await fill(process, lane, 3000)
    source = joined_source(process.settings, lane.topic)
    async with member(source, source.close) as joined:
        await joined.until(lambda: joined.lanes == {lane})
        for turn in range(15):
            offset = turn * 977 % 2900
            joined.records.clear()
            source.start(lane, offset)
            await joined.until(lambda: len(joined.offsets(lane)) >= 2)
            assert joined.offsets(lane)[:2] == [offset, offset + 1]


async def test_a_slow_reader_loses_nothing_and_bounds_what_waits(process: Process, topic: NewTopicName) -> None:
    """While nobody takes what was fetched, fetching rests; afterwards every record comes, once, in order."""
    lane = LaneId(topic("input"), 0)
    await fill(process, lane, 20_000, b"x" * 500)
    source = joined_source(process.settings, lane.topic)
    events = source.events()
    await anext(events)
    source.start(lane, 0)
    offsets: list[int] = []
    await eventually(lambda: source._handover._paused)
    async with asyncio.timeout(60):
        waiting = source._handover._given - source._handover._taken
        while len(offsets) < 20_000:
            event = await anext(events)
            assert isinstance(event, Arrived)
            offsets += [record.offset for record in event.records]
    assert offsets == list(range(20_000))
    assert waiting < 20_000 * 4500 / 2
    closing = asyncio.create_task(source.close())
    async for event in events:
        assert isinstance(event, Revoked)
        event.release()
    await closing


async def test_the_latest_start_skips_what_was_there(process: Process, topic: NewTopicName) -> None:
    """With ``start_from: latest`` and nothing committed, the start is the end of the log as of now."""
    lane = LaneId(topic("input"), 0)
    await fill(process, lane, 5)
    settings = KafkaOptions(process.settings.bootstrap_servers, f"group-{lane.topic}", start_from="latest")
    source = joined_source(settings, lane.topic)
    try:
        assert await source.places(lane) == (None, 0, 5, 5)
    finally:
        await source.close()


async def test_records_of_aborted_transactions_are_not_delivered(broker: Broker, process: Process, topic: NewTopicName) -> None:
    """The input is read committed: what was aborted is a hole, like a transaction's markers."""
    lane = LaneId(topic("input"), 0)
    writer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": lane.topic})
    await asyncio.to_thread(writer.init_transactions, 30)
    for fate in (writer.abort_transaction, writer.commit_transaction):
        writer.begin_transaction()
        writer.produce(lane.topic, b"v", partition=0)
        await asyncio.to_thread(writer.flush, 30)
        await asyncio.to_thread(fate, 30)
    while (await process.pool.ends({lane.topic: 0}))[lane.topic] < 4:  # noqa: ASYNC110 - a commit is answered before its marker stands
        await asyncio.sleep(0.02)
    await fill(process, lane, 1)
    source = joined_source(process.settings, lane.topic)
    async with member(source, source.close, at=lambda _: 0) as joined:
        await joined.until(lambda: len(joined.offsets(lane)) == 2)
        assert joined.offsets(lane) == [2, 4]


async def test_the_lag_is_nothing_when_caught_up(process: Process, topic: NewTopicName) -> None:
    """A lane that has fetched everything shows no lag."""
    lane = LaneId(topic("input"), 0)
    await fill(process, lane, 10)
    source = joined_source(process.settings, lane.topic)
    async with member(source, source.close, at=lambda _: 0) as joined:
        await joined.until(lambda: len(joined.offsets(lane)) == 10)
        await eventually(lambda: source.lag().get(lane.topic) == (0, 0.0))


async def test_a_late_release_is_for_its_own_start_only() -> None:
    """A lane that was lost and came back before it was released flows on. (No broker is needed.)"""
    source = GroupSource(KafkaOptions("localhost:1", "g"), ["in"], Metrics())
    lane = LaneId("in", 0)
    source.start(lane, 0)
    before = source._live[lane]
    source._forget_live((lane,))  # Lost
    source.start(lane, 0)
    source._release({lane: before}, threading.Event())
    assert lane in source._live


async def test_an_input_made_anew_under_way_is_told(process: Process, topic: NewTopicName, broker: Broker) -> None:
    """Its records have offsets that were read before: they are no repetition, and are not passed over in silence."""
    name = topic("input", partitions=1)
    lane = LaneId(name, 0)
    settings = KafkaOptions(broker.bootstrap_servers, f"group-{name}", "classic", session_timeout_ms=6000)
    await fill(process, lane, 50)
    source = joined_source(settings, name)
    async with member(source, source.close, at=lambda _: 0) as reader:
        await reader.until(lambda: len(reader.records.get(lane, ())) == 50)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        for answer in admin.delete_topics([name]).values():
            await asyncio.to_thread(answer.result, 20)
        await asyncio.sleep(1)
        for answer in admin.create_topics([NewTopic(name, 1, 1)]).values():
            await asyncio.to_thread(answer.result, 20)
        await fill(process, lane, 5)
        await reader.until(lambda: any(isinstance(event, BegunAnew) for event in reader.seen))
        assert len(reader.records[lane]) == 50
