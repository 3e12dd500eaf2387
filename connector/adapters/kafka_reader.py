"""Reading by hand: scans to the end of a log, short ranges, single records; each consumer has a thread of its own.

Two kinds of seats: *scans* may take minutes (a claim), *looks* must be quick (a gap is read while a lane waits), so one never queues
behind the other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from connector.adapters.kafka_client import (
    NO_SUCH_LOG,
    PARTITION_EOF,
    KafkaOptions,
    error_counter,
    error_of,
    library_logger,
    reader_config,
    unavailable,
)
from connector.core.model import Record
from connector.errors import KafkaUnavailable, LaneRefused
from connector.metrics import Metrics
from connector.ports import Entry, LaneId

T = TypeVar("T")

BATCH: Final = 10_000
_AHEAD: Final = 256  # records read in one go when one is asked for
_KEPT: Final = 4096  # records of all lanes
_KEPT_BYTES: Final = 8_000_000
_LEADER_S: Final = 5.0
_LEADER_RETRY_S: Final = 0.05
_LEADERLESS: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
_TURN_S: Final = 0.5  # one turn of waiting in the thread; between turns a scan can be cut


@dataclass(slots=True)
class Cursor:
    """How far one read has come. ``ended`` is the log's end as last reported, None until then."""

    topic: str
    partition: int
    position: int
    ended: int | None = None


class _Cut(KafkaUnavailable):
    """A read was ended because its caller was cancelled; nothing is wrong with the consumer."""


class Seat:
    """One consumer and its thread. Everything in it runs in that thread, one call at a time."""

    def __init__(self, config: Callable[[], dict[str, object]], name: str) -> None:
        self._config = config
        self._consumer: Consumer | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._known: set[str] = set()
        self.cut = threading.Event()  # the caller was cancelled: a long read gives up at its next turn

    async def run(self, function: Callable[[Consumer], T]) -> T:
        """Run it in the thread; the call is awaited to its end even when cancelled, so that reads never overlap."""
        call = asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, function)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            self.cut.set()
            while not call.done():  # a draining lane cancels again and again; the seat is nobody else's before its thread is free
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([call])
            self.cut.clear()
            call.exception()
            raise

    def begin(self, consumer: Consumer, topic: str, partition: int, start: int, patience_s: float) -> None:
        """Thread: read that log from ``start`` on."""
        if topic not in self._known:
            consumer.list_topics(topic, timeout=patience_s)  # or the library takes two thirds of a second to find out who leads it
            self._known.add(topic)
        consumer.assign([TopicPartition(topic, partition, start)])

    async def renew(self) -> None:
        """Let the next call have a new consumer: this one may have gone deaf for a partition, as after a broker's restart."""
        await self.run(lambda _: self._give_up())

    def _give_up(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._known.clear()
        if consumer is not None:
            consumer.close()

    def _guarded(self, function: Callable[[Consumer], T]) -> T:
        if self._consumer is None:
            self._consumer = Consumer(self._config(), logger=library_logger())
        try:
            return self._led(self._consumer, function)
        except _Cut:
            raise
        except KafkaUnavailable:
            self._give_up()
            raise

    @staticmethod
    def _led(consumer: Consumer, function: Callable[[Consumer], T]) -> T:
        deadline = time.monotonic() + _LEADER_S
        while True:
            try:
                return function(consumer)
            except KafkaException as cause:
                error = error_of(cause)
                # A topic just made, or a broker just gone: who leads is not known everywhere yet.
                if error is None or error.code() not in _LEADERLESS or time.monotonic() > deadline:
                    raise unavailable("reading", cause) from cause
                time.sleep(_LEADER_RETRY_S)

    async def close(self) -> None:
        """Close the consumer and end the thread. May be called again."""
        if self._consumer is not None:
            await self.renew()
        self._thread.shutdown(wait=False)


class ReadingPool:
    """Consumers for reading outside the group; made when first used, kept connected."""

    def __init__(self, options: KafkaOptions, metrics: Metrics, *, scans: int = 2, looks: int = 2, patience_s: float = 30.0) -> None:
        """``patience_s``: without any sign of the broker for that long, a read raises KafkaUnavailable."""
        report = error_counter(metrics)
        self._patience_s = patience_s
        # Nothing is waited for at a log's end: the broker would keep both its news and the next read's answer back for that long.
        scanning = {"fetch.wait.max.ms": 10}
        looking = {"fetch.wait.max.ms": 10, "queued.min.messages": 100, "fetch.queue.backoff.ms": 1}
        self._scans = self._seats(scans, lambda: reader_config(options, error_cb=report) | scanning, "kafka-scan")
        self._looks = self._seats(looks, lambda: reader_config(options, error_cb=report) | looking, "kafka-look")

    @staticmethod
    def _seats(count: int, config: Callable[[], dict[str, object]], name: str) -> asyncio.Queue[Seat]:
        seats: asyncio.Queue[Seat] = asyncio.Queue(maxsize=count)
        for number in range(count):
            seats.put_nowait(Seat(config, f"{name}-{number}"))
        return seats

    async def scan(
        self, topic: str, partition: int, *, past: int = -1, start: int = OFFSET_BEGINNING
    ) -> AsyncGenerator[list[Message], None]:
        """Messages from ``start`` until the position is beyond ``past`` and the end of the log was reported *there*.

        Batches of at most ``BATCH``. Raises KafkaUnavailable when nothing moves for ``patience_s``, LaneRefused when it may not be read.
        """
        async with _seated(self._scans) as seat:
            cursor = Cursor(topic, partition, max(start, 0))
            await seat.run(lambda consumer: seat.begin(consumer, topic, partition, start, self._patience_s))
            try:
                heard = time.monotonic()
                while cursor.ended is None or cursor.ended <= past:
                    batch, moved = await seat.run(lambda consumer: _turn(consumer, cursor))
                    heard = self._still_patient(heard, moved=moved)
                    if batch:
                        yield batch
            except KafkaUnavailable:
                await seat.renew()
                raise
            finally:
                await seat.run(lambda consumer: consumer.unassign())

    async def between(self, topic: str, partition: int, first: int, last: int) -> list[Message]:
        """The messages with first ≤ offset ≤ last that are still there. Raises KafkaUnavailable where the log ends before ``last``.

        Whoever asks knows of that message: a broker that does not show it has just begun to lead, and will.
        """
        if first > last:
            return []
        async with _seated(self._looks) as seat:
            return await seat.run(lambda consumer: self._range(consumer, seat, LaneId(topic, partition), first, last))

    async def ahead(self, topic: str, partition: int, first: int, count: int) -> list[Message]:
        """The message at ``first``, if it is still there, and those behind it, at most ``count``, that came along with it."""
        async with _seated(self._looks) as seat:
            return await seat.run(lambda consumer: self._range(consumer, seat, LaneId(topic, partition), first, first, count - 1))

    def _range(self, consumer: Consumer, seat: Seat, log: LaneId, first: int, last: int, more: int = 0) -> list[Message]:
        found: list[Message] = []
        cursor = Cursor(log.topic, log.partition, first)
        seat.begin(consumer, log.topic, log.partition, first, self._patience_s)
        try:
            heard = time.monotonic()
            while cursor.position <= last:
                if seat.cut.is_set():
                    raise _Cut("reading: cut off")  # never a part as if it were all: what is missing would count as gone
                batch, moved = _turn(consumer, cursor, min(last - cursor.position + 1 + more, BATCH))
                heard = self._still_patient(heard, moved=moved)
                begun_anew = bool(batch) and _offset(batch[0]) < first  # as librdkafka does when ``first`` lies beyond the end
                if begun_anew or (cursor.ended is not None and cursor.ended <= last):
                    raise KafkaUnavailable(f"reading {log}: it ends before {last}, which was there")
                found += [message for message in batch if first <= _offset(message) <= last + more]
        finally:
            consumer.unassign()
        return found

    def _still_patient(self, heard: float, *, moved: bool) -> float:
        now = time.monotonic()
        if not moved and now - heard > self._patience_s:
            raise KafkaUnavailable("reading: no answer from the broker")
        return now if moved else heard

    async def ends(self, partitions: Mapping[str, int]) -> dict[str, int]:
        """End offset (high watermark) of one partition per topic."""

        def ask(consumer: Consumer) -> dict[str, int]:
            return {
                topic: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self._patience_s)[1]
                for topic, partition in partitions.items()
            }

        async with _seated(self._looks) as seat:
            return await seat.run(ask)

    async def first(self, topic: str, partition: int) -> int:
        """First offset that is still there (low watermark)."""

        def ask(consumer: Consumer) -> int:
            return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self._patience_s)[0])

        async with _seated(self._looks) as seat:
            return await seat.run(ask)

    async def first_since(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Offset of the first message at or after that time; None when there is none."""

        def ask(consumer: Consumer) -> int | None:
            (found,) = consumer.offsets_for_times([TopicPartition(topic, partition, timestamp_ms)], timeout=self._patience_s)
            return found.offset if found.offset >= 0 else None

        async with _seated(self._looks) as seat:
            return await seat.run(ask)

    async def close(self) -> None:
        """Close every consumer, once its present read has ended."""
        for seats in (self._scans, self._looks):
            for _ in range(seats.maxsize):
                await (await seats.get()).close()


class KafkaPast:
    """``ports.Past`` on the input topics. Whoever takes a lane over needs its last records, nearly in order: many are read at once."""

    def __init__(self, pool: ReadingPool) -> None:
        self._pool = pool
        self._near: OrderedDict[tuple[LaneId, int], Record] = OrderedDict()
        self._bytes = 0
        self._reading: defaultdict[LaneId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def record(self, lane: LaneId, offset: int) -> Record | None:
        """The record at exactly that offset, or None when retention or compaction took it. Raises KafkaUnavailable."""
        async with self._reading[lane]:  # the next one asked for will mostly have come along
            if (lane, offset) not in self._near:
                self._keep(lane, await self._pool.ahead(lane.topic, lane.partition, offset, _AHEAD))
            return self._near.get((lane, offset))

    def _keep(self, lane: LaneId, messages: Sequence[Message]) -> None:
        for message in reversed(messages):  # what is asked for is kept longest
            record = record_of(message)
            known = self._near.pop((lane, record.offset), None)
            self._near[lane, record.offset] = record
            self._bytes += record.size - (known.size if known else 0)
        while len(self._near) > 1 and (len(self._near) > _KEPT or self._bytes > _KEPT_BYTES):
            self._bytes -= self._near.popitem(last=False)[1].size


@asynccontextmanager
async def _seated(seats: asyncio.Queue[Seat]) -> AsyncIterator[Seat]:
    seat = await seats.get()
    try:
        yield seat
    finally:
        seats.put_nowait(seat)


def _turn(consumer: Consumer, cursor: Cursor, wanted: int = BATCH) -> tuple[list[Message], bool]:
    """Wait a little for something, then take what is there: the messages, and whether the broker gave any sign of life."""
    first = consumer.poll(_TURN_S)
    if first is None:
        return [], False
    got = [first, *(consumer.consume(wanted - 1, 0) if wanted > 1 else ())]
    batch = [message for message in got if message.error() is None]
    if batch:
        cursor.position, cursor.ended = _offset(batch[-1]) + 1, None
    if len(batch) == len(got):
        return batch, True
    moved = bool(batch)
    for message in got:
        error = message.error()
        if error is None:
            continue
        if error.code() == PARTITION_EOF:
            if not batch or _offset(message) >= cursor.position:  # else rows came behind this end in the same turn
                cursor.position = cursor.ended = _offset(message)
            moved = True
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise LaneRefused(f"{cursor.topic} may not be read: give this principal the ACL operation Read on it")
        elif error.code() in NO_SUCH_LOG or error.fatal():  # just created and not yet known everywhere, perhaps
            raise unavailable(f"reading {cursor.topic}/{cursor.partition}", error)
    return batch, moved


def _offset(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset


def entry_of(message: Message) -> Entry:
    """One row as it stands in the log."""
    offset = message.offset()
    return Entry(-1 if offset is None else offset, message.key() or b"", message.value() or b"", message.timestamp()[1])


def record_of(message: Message) -> Record:
    """One input record, undecoded."""
    return Record(
        message.topic() or "",
        message.partition() or 0,
        _offset(message),
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers_of(message),
    )


def headers_of(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """Headers as (name, bytes), in their order."""
    headers: object = message.headers()
    if not headers:
        return ()
    pairs: Sequence[tuple[str, str | bytes | None]] = list(headers.items()) if isinstance(headers, dict) else list(headers)  # type: ignore[call-overload]
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs)
