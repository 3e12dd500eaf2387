"""Each port twice: the fake of ``tests/fakes``, and the real one on a real broker."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from connector.adapters.encode import EventEncoder
from connector.adapters.kafka_archive import KafkaArchive
from connector.adapters.kafka_callbacks import KafkaCallbackFeed
from connector.adapters.kafka_client import callbacks_topic, journal_topic
from connector.adapters.kafka_group import GroupSource
from connector.adapters.kafka_outbox import KafkaCallbackSink, KafkaOutbox
from connector.adapters.kafka_reader import KafkaPast
from connector.core.events import status_event
from connector.core.model import FlowReport, FlowStatus, Origin, OutputEvent, Record
from connector.core.status import Change
from connector.ports import Archive, Callback, CallbackFeed, CallbackSink, Journal, LaneId, Outbox, Past, Source
from tests.fakes import FakeArchive, FakeCallbackFeed, FakeCallbackSink, FakeJournal, FakeOutbox, FakePast, FakeSource
from tests.processes import Process, options
from tests.unit import flows

BOTH = ["fake", pytest.param("real", marks=pytest.mark.broker)]


@dataclass
class Journals:
    """``process()`` makes the journal of one more process; all share the logs."""

    lanes: tuple[LaneId, LaneId]
    process: Callable[[], Journal]


@pytest.fixture(params=BOTH)
async def journals(request: pytest.FixtureRequest) -> AsyncIterator[Journals]:
    """Two lanes' journals."""
    name = f"input-{uuid.uuid4().hex[:8]}"
    lanes = (LaneId(name, 0), LaneId(name, 1))
    if request.param == "fake":
        logs = FakeJournal().logs
        yield Journals(lanes, lambda: FakeJournal(logs))
        return
    settings = options(request.getfixturevalue("broker"))
    request.getfixturevalue("topic")(name=journal_topic(settings.group_id, name), partitions=2)
    async with AsyncExitStack() as stack:
        processes: list[Process] = []

        def process() -> Journal:
            processes.append(Process(settings))
            return processes[-1].journal

        stack.push_async_callback(_close, processes)
        yield Journals(lanes, process)


async def _close(processes: list[Process]) -> None:
    for process in processes:
        await process.__aexit__(None, None, None)


@pytest.fixture(params=BOTH)
async def outbox(request: pytest.FixtureRequest) -> AsyncIterator[Outbox]:
    """An outbox with a topic for each kind."""
    if request.param == "fake":
        yield FakeOutbox()
        return
    topic = request.getfixturevalue("topic")
    topics = {"send": topic("sends", partitions=2), "status": topic("statuses", partitions=3)}
    async with Process(options(request.getfixturevalue("broker"))) as process:
        counts = {topics["send"]: 2, topics["status"]: 3}
        yield KafkaOutbox(process.producer, process.pool, topics, counts, lambda event, to: f"{event.id} {to}".encode())


@dataclass
class Callbacks:
    """A sink, the feed behind it, and a way to put bytes that are no callback."""

    lane: LaneId
    sink: CallbackSink
    feed: CallbackFeed
    garble: Callable[[], Awaitable[object]]


@pytest.fixture(params=BOTH)
async def callbacks(request: pytest.FixtureRequest) -> AsyncIterator[Callbacks]:
    """One lane's callbacks."""
    lane = LaneId(f"input-{uuid.uuid4().hex[:8]}", 1)
    if request.param == "fake":
        fake = FakeCallbackFeed()

        async def garble_fake() -> None:
            fake.put(lane, None)

        yield Callbacks(lane, FakeCallbackSink(fake), fake, garble_fake)
        return
    settings = options(request.getfixturevalue("broker"))
    place = callbacks_topic(settings.group_id, lane.topic)
    request.getfixturevalue("topic")(name=place, partitions=2)
    async with Process(settings) as process:

        def decode(value: bytes) -> Callback:
            return callback(lane, int(value))

        async def garble() -> None:
            await process.producer.produce(place, lane.partition, b"", b"no number")

        feed = KafkaCallbackFeed(settings, process.pool, process.metrics, decode)
        sink = KafkaCallbackSink(settings.group_id, process.producer, lambda put: str(put.attempt).encode())
        yield Callbacks(lane, sink, feed, garble)
        await feed.close()


def callback(lane: LaneId, number: int) -> Callback:
    """A callback told apart by its attempt."""
    return Callback(lane, "flow", b"\0" * 16, number, 0, FlowReport(None, None))


@dataclass
class Archives:
    """``append`` writes a row, ``tell`` a StatusEvent; the archive looks on."""

    lanes: tuple[LaneId, LaneId]
    archive: Archive
    append: Callable[[LaneId, bytes, bytes], Awaitable[int]]
    tell: Callable[[LaneId, str, int], Awaitable[object]]


@pytest.fixture(params=BOTH)
async def archives(request: pytest.FixtureRequest) -> AsyncIterator[Archives]:
    """A group of two lanes."""
    name = f"input-{uuid.uuid4().hex[:8]}"
    lanes = (LaneId(name, 0), LaneId(name, 1))
    if request.param == "fake":
        journal, outbox = FakeJournal(), FakeOutbox()

        async def tell_fake(lane: LaneId, flow_id: str, seq: int) -> None:
            await outbox.emit(lane, status(flow_id, seq), None, ())

        archive = FakeArchive(journal.logs, outbox.logs["statuses"], dict.fromkeys(lanes, 0))
        yield Archives(lanes, archive, journal.append, tell_fake)
        return
    settings = options(request.getfixturevalue("broker"))
    topic = request.getfixturevalue("topic")
    topic(name=name, partitions=2)
    topic(name=journal_topic(settings.group_id, name), partitions=2)
    statuses = topic("statuses", partitions=3)
    real = KafkaArchive(settings, [name], statuses)
    async with Process(settings) as process:
        outbox_ = KafkaOutbox(process.producer, process.pool, {"status": statuses}, {statuses: 3}, EventEncoder("avro").encode)

        async def tell(lane: LaneId, flow_id: str, seq: int) -> None:
            await outbox_.emit(lane, status(flow_id, seq), None, ())

        yield Archives(lanes, real, process.journal.append, tell)
        await real.close()


def status(flow_id: str, seq: int) -> OutputEvent:
    """A whole StatusEvent, as the state machine would make it."""
    facts = flows.facts(flow_id=flow_id)
    change = Change(FlowStatus.QUEUED, None, terminal=False, delivered=False, correction=False)
    return status_event(facts, number=seq, seq=seq, change=change, origin=Origin.RESPONSE, observed_at_ms=flows.NOW)


@dataclass
class Pasts:
    """``put`` writes an input record and gives it back as it stands; ``gone`` is an offset that holds nothing any more."""

    lane: LaneId
    past: Past
    put: Callable[[bytes], Awaitable[Record]]


@pytest.fixture(params=BOTH)
async def pasts(request: pytest.FixtureRequest) -> AsyncIterator[Pasts]:
    """One input partition."""
    if request.param == "fake":
        lane, fake = LaneId("input", 0), FakePast()

        async def put_fake(value: bytes) -> Record:
            record = Record("input", 0, len(fake.records), 1, b"key", value, (("h", b"1"), ("h", None)))
            fake.put(record)
            return record

        yield Pasts(lane, fake, put_fake)
        return
    lane = LaneId(request.getfixturevalue("topic")("input"), 0)
    async with Process(options(request.getfixturevalue("broker"))) as process:

        async def put(value: bytes) -> Record:
            offset = await process.producer.produce(lane.topic, 0, b"key", value, (("h", b"1"), ("h", None)))
            return Record(lane.topic, 0, offset, 1, b"key", value, (("h", b"1"), ("h", None)))

        yield Pasts(lane, KafkaPast(process.pool), put)


@dataclass
class Sources:
    """A group with one member and two lanes; ``put`` writes an input record."""

    lanes: tuple[LaneId, LaneId]
    source: Source
    put: Callable[[LaneId, bytes], Awaitable[object]]
    close: Callable[[], Awaitable[object]]


@pytest.fixture(params=BOTH)
async def sources(request: pytest.FixtureRequest) -> AsyncIterator[Sources]:
    """A member that is given both lanes as soon as its events are read."""
    if request.param == "fake":
        yield fake_sources()
        return
    name = request.getfixturevalue("topic")("input", partitions=2)
    lanes = (LaneId(name, 0), LaneId(name, 1))
    async with Process(options(request.getfixturevalue("broker"))) as process:
        source = GroupSource(process.settings, [name], process.metrics)

        async def put(lane: LaneId, value: bytes) -> None:
            await process.producer.produce(lane.topic, lane.partition, b"key", value)

        yield Sources(lanes, source, put, source.close)
        await source.close()


def fake_sources() -> Sources:
    """The same, by hand."""
    lanes = (LaneId("input", 0), LaneId("input", 1))
    source = FakeSource()
    source.assign(*lanes)

    async def put(lane: LaneId, value: bytes) -> None:
        source.put(Record(lane.topic, lane.partition, len(source.records[lane]), 1, b"key", value))

    async def close() -> None:
        source.revoke(*lanes)
        source.close()

    return Sources(lanes, source, put, close)


def event(number: int, kind: str = "send") -> OutputEvent:
    """An output event told apart by its id."""
    return OutputEvent(f"id-{number}", kind, f"flow-{number}", {"n": number})
