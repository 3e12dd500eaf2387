"""What one process of the connector holds of Kafka, for tests that need one or several of them on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from connector.adapters.kafka_client import KafkaOptions
from connector.adapters.kafka_journal import KafkaJournal
from connector.adapters.kafka_producer import KafkaProducer
from connector.adapters.kafka_reader import ReadingPool
from connector.core.model import Record
from connector.metrics import Metrics
from connector.ports import Arrived, Assigned, LaneId, Lost, Revoked, Source, SourceEvent
from tests.kafka import Broker


def options(broker: Broker, group_id: str | None = None) -> KafkaOptions:
    """Options of a group nobody else is in."""
    return KafkaOptions(broker.bootstrap_servers, group_id or f"group-{uuid.uuid4().hex[:8]}", session_timeout_ms=6000)


async def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for what another thread brings about without telling the loop."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


class Process:
    """One producer, one reading pool, the journal on both."""

    def __init__(self, settings: KafkaOptions) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.producer = KafkaProducer(settings, self.metrics)
        self.pool = ReadingPool(settings, self.metrics)
        self.journal = KafkaJournal(settings.group_id, self.producer, self.pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.producer.close(5)
        await self.pool.close()


class Member:
    """A group member that notes what it is told.

    It starts lanes where ``at`` says (None: not at all), and gives revoked ones back when ``gate`` is open.
    """

    def __init__(self, source: Source, at: Callable[[LaneId], int] | None) -> None:
        self.source = source
        self.at = at
        self.lanes: set[LaneId] = set()
        self.seen: list[SourceEvent] = []
        self.records: dict[LaneId, list[Record]] = {}
        self.released: set[LaneId] = set()
        self.after_release: list[Record] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.moved = asyncio.Condition()

    async def run(self) -> None:
        """Until the source ends."""
        async for event in self.source.events():
            self.seen.append(event)
            await self._moved()
            if isinstance(event, Assigned):
                self.lanes.update(event.lanes)
                self.released.difference_update(event.lanes)
                for lane in event.lanes:
                    if self.at is not None:
                        self.source.start(lane, self.at(lane))
            elif isinstance(event, Revoked):
                await self.gate.wait()
                event.release()
                self.lanes.difference_update(event.lanes)
                self.released.update(event.lanes)
            elif isinstance(event, Lost):
                self.lanes.difference_update(event.lanes)
            elif isinstance(event, Arrived):
                for record in event.records:
                    lane = LaneId(record.topic, record.partition)
                    self.records.setdefault(lane, []).append(record)
                    if lane in self.released:
                        self.after_release.append(record)
            await self._moved()

    async def _moved(self) -> None:
        async with self.moved:
            self.moved.notify_all()

    async def until(self, holds: Callable[[], bool], seconds: float = 30) -> None:
        """Wait for what the events will bring."""
        async with asyncio.timeout(seconds), self.moved:
            await self.moved.wait_for(holds)

    def offsets(self, lane: LaneId) -> list[int]:
        """Offsets delivered, in order."""
        return [record.offset for record in self.records.get(lane, [])]


@asynccontextmanager
async def member(
    source: Source, close: Callable[[], Awaitable[object]], at: Callable[[LaneId], int] | None = None
) -> AsyncIterator[Member]:
    """A member at work; leaves the group at the end."""
    joined = Member(source, at)
    running = asyncio.create_task(joined.run())
    try:
        yield joined
    finally:
        joined.gate.set()
        await close()
        await running
