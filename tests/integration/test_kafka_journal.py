"""Reading journals while the cleaner works, and when nobody answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Consumer, Message

from connector.adapters.kafka_client import KafkaOptions, journal_topic, reader_config
from connector.adapters.kafka_reader import KafkaPast, ReadingPool, Seat
from connector.errors import KafkaUnavailable
from connector.metrics import Metrics
from connector.ports import Entry, LaneId
from tests.conftest import NewTopicName
from tests.kafka import Broker
from tests.processes import Process, options

BUSY_CLEANER = {
    "cleanup.policy": "compact,delete",
    "segment.bytes": str(1024 * 1024),
    "min.cleanable.dirty.ratio": "0.01",
    "min.compaction.lag.ms": "0",
    "compression.type": "uncompressed",
}


@pytest.fixture
async def process(broker: Broker) -> AsyncIterator[Process]:
    """One process."""
    async with Process(options(broker)) as made:
        yield made


async def scanned(process: Process, lane: LaneId, past: int) -> list[Entry]:
    """All rows of a scan."""
    return [entry async for batch in process.journal.scan(lane, past) for entry in batch]


@pytest.mark.broker
async def test_rows_that_compaction_took_are_simply_missing(process: Process, topic: NewTopicName) -> None:
    """After the cleaner came, a scan gives the last row of each key at its own offset, and ``between`` leaves the holes out."""
    lane = LaneId("input", 0)
    topic(name=journal_topic(process.settings.group_id, "input"), config=BUSY_CLEANER)
    rows = [process.journal.append(lane, b"key-%d" % (number % 10), b"%d" % number * 400) for number in range(6000)]
    last = (await asyncio.gather(*rows))[-1]
    async with asyncio.timeout(40):
        while len(kept := await scanned(process, lane, last)) == last + 1:  # noqa: ASYNC110 - the cleaner tells nobody
            await asyncio.sleep(0.2)
    assert {row.key: row.offset for row in kept} == {b"key-%d" % (number % 10): number for number in range(5990, 6000)}
    assert all(row.value == b"%d" % row.offset * 400 for row in kept)
    offsets = [row.offset for row in kept]
    assert offsets == sorted(set(offsets))
    hole = next(offset for offset in range(last) if offset not in offsets)
    assert list(await process.journal.between(lane, hole, hole)) == []
    assert {row.offset for row in await process.journal.between(lane, 0, last)} <= set(offsets)  # the cleaner may have gone on


@pytest.mark.broker
async def test_a_long_scan_comes_in_batches_and_can_be_left(process: Process, topic: NewTopicName) -> None:
    """Batches hold at most 10,000 rows; a scan left early gives its seat back; a whole one goes to the log's end, not to ``past``."""
    lane = LaneId("input", 0)
    topic(name=journal_topic(process.settings.group_id, "input"))
    rows = [process.journal.append(lane, b"k%d" % number, b"") for number in range(25_000)]
    last = (await asyncio.gather(*rows))[-1]
    for _ in range(5):  # more often than there are seats
        scan = process.journal.scan(lane, last)
        first = await anext(scan)
        assert 0 < len(first) <= 10_000
        await scan.aclose()  # type: ignore[attr-defined]
    assert len(await scanned(process, lane, 0)) == 25_000


@pytest.mark.broker
async def test_a_gap_is_read_beside_a_scan(process: Process, topic: NewTopicName) -> None:
    """Claims that take every scan seat do not keep a gap from being read."""
    lane = LaneId("input", 0)
    topic(name=journal_topic(process.settings.group_id, "input"))
    last = [await process.journal.append(lane, b"k", b"v") for _ in range(3)][-1]
    scans = [process.journal.scan(lane, last) for _ in range(2)]
    for scan in scans:
        await anext(scan)
    assert len(await process.journal.between(lane, 0, last)) == 3
    for scan in scans:
        await scan.aclose()  # type: ignore[attr-defined]


@pytest.mark.broker
async def test_single_rows_are_read_one_after_the_other_without_a_pause(process: Process, topic: NewTopicName) -> None:
    """A topic that is replayed asks for one row for each of its records: the library must not rest a second between two reads."""
    lane = LaneId("input", 0)
    topic(name=journal_topic(process.settings.group_id, "input"))
    last = (await asyncio.gather(*(process.journal.append(lane, b"k%d" % n, b"v" * 300) for n in range(2000))))[-1]
    async with asyncio.timeout(5):
        for offset in range(0, last, 20):
            assert [row.offset for row in await process.journal.between(lane, offset, offset)] == [offset]


@pytest.mark.broker
async def test_a_cancelled_read_leaves_the_reader_usable(process: Process, topic: NewTopicName) -> None:
    """A lane that is dropped in the middle of a read does not harm the next one."""
    lane = LaneId("input", 0)
    topic(name=journal_topic(process.settings.group_id, "input"))
    last = [await process.journal.append(lane, b"k%d" % n, b"v") for n in range(5)][-1]
    for _ in range(4):
        reading = asyncio.create_task(scanned(process, lane, last + 1000))  # waits for rows that never come
        await asyncio.wait([reading], timeout=0.3)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert [row.offset for row in await scanned(process, lane, last)] == [0, 1, 2, 3, 4]
    assert [row.offset for row in await process.journal.between(lane, 1, 2)] == [1, 2]


async def test_a_read_that_is_cancelled_again_and_again_ends_first() -> None:
    """However often its caller is cancelled, a seat is given back only when its thread is free, and the next read is not cut off."""
    seat = Seat(lambda: reader_config(KafkaOptions("127.0.0.1:1")), "seat")
    free = threading.Event()
    reading = asyncio.create_task(seat.run(lambda _: free.wait(10)))
    for _ in range(3):
        await asyncio.wait([reading], timeout=0.05)
        reading.cancel()
    await asyncio.wait([reading], timeout=0.05)
    assert not reading.done()
    free.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not seat.cut.is_set()
    await seat.close()


async def test_a_consumer_that_heard_nothing_is_replaced() -> None:
    """After a read that failed, the next one has a consumer of its own: a client may go deaf for one partition, and for good."""
    seen: list[Consumer] = []

    def deaf(consumer: Consumer) -> None:
        seen.append(consumer)
        raise KafkaUnavailable("nothing heard")

    seat = Seat(lambda: reader_config(KafkaOptions("127.0.0.1:1")), "seat")
    for _ in range(2):
        with pytest.raises(KafkaUnavailable):
            await seat.run(deaf)
    await seat.run(seen.append)
    assert len({id(consumer) for consumer in seen}) == 3
    await seat.close()


@pytest.mark.broker
async def test_a_short_log_is_read_to_its_end_at_once(process: Process, topic: NewTopicName) -> None:
    """A claim reads its journal to the end: on a quiet journal it must not wait out the broker's patience, lane after lane."""
    lane = LaneId("input", 0)
    topic(name=journal_topic(process.settings.group_id, "input"))
    last = [await process.journal.append(lane, b"k%d" % n, b"v") for n in range(5)][-1]
    async with asyncio.timeout(8):
        for _ in range(20):
            assert len(await scanned(process, lane, last)) == 5


async def test_a_silent_broker_is_unavailable() -> None:
    """Without any answer, reading ends with KafkaUnavailable instead of waiting for ever."""
    pool = ReadingPool(KafkaOptions("127.0.0.1:1"), Metrics(), patience_s=0.2)
    with pytest.raises(KafkaUnavailable):
        await pool.between("journal", 0, 0, 5)
    with pytest.raises(KafkaUnavailable):
        await pool.ends({"journal": 0})
    with pytest.raises(KafkaUnavailable):
        async for _ in pool.scan("journal", 0):
            pass
    await pool.close()


@pytest.mark.broker
async def test_input_records_are_read_many_at_once(process: Process, topic: NewTopicName, monkeypatch: pytest.MonkeyPatch) -> None:
    """A take-over asks for hundreds of records side by side: a handful of reads gives them, and what is kept stays bounded."""
    lane = LaneId(topic("input"), 0)
    written = [process.producer.produce(lane.topic, 0, b"k", b"%d" % number * 100) for number in range(6000)]
    await asyncio.gather(*written)
    reads: list[int] = []
    ahead = process.pool.ahead

    async def counted(name: str, partition: int, first: int, count: int) -> list[Message]:
        reads.append(first)
        return await ahead(name, partition, first, count)

    monkeypatch.setattr(process.pool, "ahead", counted)
    past = KafkaPast(process.pool)
    found = await asyncio.gather(*(past.record(lane, offset) for offset in range(6000)))
    assert [record.value for record in found if record is not None] == [b"%d" % number * 100 for number in range(6000)]
    assert len(reads) < 600
    assert len(past._near) <= 4096
    assert past._bytes == sum(record.size for record in past._near.values())


@pytest.mark.broker
async def test_the_first_read_of_a_topic_asks_who_leads_it(process: Process, topic: NewTopicName) -> None:
    """Left to itself the library takes two thirds of a second for each topic that is new to a consumer: a take-over would wait for four."""
    lane = LaneId("input", 0)
    topic(name=journal_topic(process.settings.group_id, "input"))
    last = await process.journal.append(lane, b"k", b"v")
    assert len(await scanned(process, lane, last)) == 1
    assert len(await process.journal.between(lane, last, last)) == 1
    pool = process.pool
    known = [seat._known for seats in (pool._scans, pool._looks) for seat in seats._queue]  # type: ignore[attr-defined]
    assert [names for names in known if names] == [{journal_topic(process.settings.group_id, "input")}] * 2
