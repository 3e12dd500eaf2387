"""``ports.Outbox``, ``ports.DeadLetters`` and ``ports.CallbackSink``: everything that leaves through the process's one producer."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
import zlib
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from confluent_kafka import Message

from connector.adapters.kafka_client import callbacks_topic
from connector.adapters.kafka_producer import KafkaProducer, MessageTooLarge
from connector.adapters.kafka_reader import ReadingPool, headers_of
from connector.core.model import DeadLetter, OutputEvent, Record
from connector.errors import KafkaUnavailable, LaneLost, NoSuchLog
from connector.metrics import Metrics
from connector.ports import Callback, LaneId

ID: Final = "failover.id"
KIND: Final = "failover.kind"
_OWN_PREFIXES: Final = ("failover.", "__connect.errors.")
_MOVED_S: Final = 24 * 3600  # longer than any lane is left without a checkpoint while it emits
_ERRORS: Final[Mapping[str, str]] = {"decode": "connector.errors.Undecodable", "callback": "connector.errors.InputError"}

_LONGEST_KEY: Final = 16_384  # of a letter without its value: it must fit every topic, or its lane would stand still
_LONGEST_COPIED: Final = 8_192  # of an input's header on outputs (W3C baggage has no more): what no topic takes would stop the lane
_LONGEST_KEPT: Final = 249  # a topic's name; what claims to be an original's coordinate and is longer is none

PRODUCER_ROOM: Final = 64_000
"""Bytes beside the record that a dead letter needs for its headers."""


def partition_of(lane: LaneId, count: int) -> int:
    """The output partition of all events of a lane: a stable hash, the same in every process and release."""
    return zlib.crc32(str(lane).encode()) % count


class KafkaOutbox:
    """Outputs by kind. The *topic* of ``emit``, ``ends`` and ``ids_since`` is opaque to lanes: ``<topic>/<partition>``.

    It names the partition too, so that a checkpoint's OUT stays right when an output topic gets more partitions.
    """

    def __init__(
        self,
        producer: KafkaProducer,
        pool: ReadingPool,
        topics: Mapping[str, str],
        partitions: Mapping[str, int],
        encode: Callable[[OutputEvent, str | None], bytes],
        *,
        content_type: str = "",
    ) -> None:
        """``topics``: kind → topic; ``partitions``: topic → count (``kafka_admin.partition_counts``), as of the start."""
        self._producer = producer
        self._pool = pool
        self._topics = topics
        self._partitions = partitions
        self._encode = encode
        self._headers: tuple[tuple[str, bytes], ...] = (("content-type", content_type.encode()),) if content_type else ()

    def emit(
        self, lane: LaneId, event: OutputEvent, recipient: str | None, headers: Sequence[tuple[str, bytes]]
    ) -> Future[tuple[str, int]]:
        """Queue one event; the future gives (place, offset), or raises LaneLost. A copied header of more than 8 kB is left out."""
        topic = self._topics[event.kind]
        partition = partition_of(lane, self._partitions[topic])
        copied = (header for header in headers if len(header[1]) <= _LONGEST_COPIED)
        all_headers = ((ID, event.id.encode()), (KIND, event.kind.encode()), *self._headers, *copied)
        value = self._encode(event, recipient)
        sent = self._producer.produce(topic, partition, event.flow_id.encode(), value, all_headers, LaneLost)
        placed: Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
        sent.add_done_callback(functools.partial(_place, placed, f"{topic}/{partition}"))
        return placed

    async def ends(self, lane: LaneId) -> Mapping[str, int]:
        """End offset per place of this lane. Raises KafkaUnavailable."""
        here = {topic: partition_of(lane, self._partitions[topic]) for topic in set(self._topics.values())}
        return {f"{topic}/{here[topic]}": end for topic, end in (await self._pool.ends(here)).items()}

    async def ids_since(self, lane: LaneId, start: Mapping[str, int], wanted: Collection[str]) -> set[str]:
        """Which of the ``wanted`` are in the places of ``start``, from there to the end; a place that is gone holds none.

        In present places that ``start`` does not name, the last day is looked through.
        """
        ids: set[str] = set()
        present = await self.ends(lane)
        for place in {**start, **present}:
            try:
                ids |= await self._ids(place, start.get(place), wanted)
            except NoSuchLog:
                if place in present:
                    raise
        return ids

    async def _ids(self, place: str, start: int | None, wanted: Collection[str]) -> set[str]:
        topic, _, number = place.rpartition("/")
        partition = int(number)
        if start is None:  # the output topic has grown and this lane's events moved on
            start = await self._pool.first_since(topic, partition, int((time.time() - _MOVED_S) * 1000))
        end = (await self._pool.ends({topic: partition}))[topic]
        if start is None or start >= end:
            return set()
        async with aclosing(self._pool.scan(topic, partition, past=end - 1, start=start)) as batches:
            return await _ids_below(batches, end, wanted)


class KafkaDeadLetters:
    """Records that can never be processed, whole, with the reason in their headers."""

    def __init__(
        self,
        producer: KafkaProducer,
        topic: str,
        metrics: Metrics,
        *,
        max_bytes: int | None = None,
        coordinates_only: bool = False,
    ) -> None:
        """``max_bytes``: the topic's ``max.message.bytes`` where known; ``coordinates_only``: no key, value or header of the record."""
        self._producer = producer
        self._topic = topic
        self._metrics = metrics
        self.max_bytes = max_bytes
        self._coordinates_only = coordinates_only

    async def put(self, letter: DeadLetter) -> None:
        """Returns once acknowledged; raises KafkaUnavailable. A value too large for the topic is replaced by its SHA-256 and size.

        Such a letter leaves out the record's own headers, too, and a key of more than 16 kB.
        """
        headers = letter_headers(letter)
        if self._coordinates_only:
            await self._produce(None, None, headers)
            return
        record = letter.record
        own = tuple(header for header in record.headers if not header[0].startswith(_OWN_PREFIXES))
        if self.max_bytes is None or record.size + PRODUCER_ROOM <= self.max_bytes:
            try:
                await self._produce(record.key, record.value, (*own, *headers))
            except MessageTooLarge:
                pass  # the topic's limit is not known here, or was lowered
            else:
                return
        self._metrics.dead_letters_truncated.inc()
        key = None if record.key is not None and len(record.key) > _LONGEST_KEY else record.key
        await self._produce(key, None, (*headers, *_stand_in(record.value or b"")))

    async def _produce(self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> None:
        await self._producer.produce(self._topic, -1, key, value, headers, KafkaUnavailable)


class KafkaCallbackSink:
    """Callbacks into the internal topic, beside the lane they belong to."""

    def __init__(self, group_id: str, producer: KafkaProducer, encode: Callable[[Callback], bytes]) -> None:
        self._group_id = group_id
        self._producer = producer
        self._encode = encode

    async def put(self, callback: Callback) -> None:
        """Returns once acknowledged; raises KafkaUnavailable."""
        topic = callbacks_topic(self._group_id, callback.lane.topic)
        value = self._encode(callback)
        await self._producer.produce(topic, callback.lane.partition, callback.flow_id.encode(), value, (), KafkaUnavailable)


def letter_headers(letter: DeadLetter) -> tuple[tuple[str, bytes], ...]:
    """The headers of docs/events.md, as text. A replayed record's original coordinates and replay number stay what they were."""
    record = letter.record
    error = _ERRORS.get(letter.stage, "connector.errors.Unbuildable")
    texts = {
        ID: letter.id,
        KIND: "dead_letter",
        "__connect.errors.topic": record.topic,
        "__connect.errors.partition": str(record.partition),
        "__connect.errors.offset": str(record.offset),
        "__connect.errors.stage": letter.stage,
        "__connect.errors.exception.class.name": error,
        "__connect.errors.exception.message": letter.detail,
        "failover.reason": letter.reason,
        "failover.path": letter.path,
        "failover.event_id": letter.event_id,
        "failover.flow_id": letter.flow_id,
        "failover.rule": letter.rule,
        "failover.rules_version": letter.rules_version,
        "failover.replay": _kept(record, "failover.replay", "0"),
        "failover.original.topic": _kept(record, "failover.original.topic", record.topic),
        "failover.original.partition": _kept(record, "failover.original.partition", str(record.partition)),
        "failover.original.offset": _kept(record, "failover.original.offset", str(record.offset)),
        "failover.original.timestamp": _kept(record, "failover.original.timestamp", str(record.timestamp_ms)),
    }
    return tuple((name, text.encode()) for name, text in texts.items())


def _kept(record: Record, name: str, otherwise: str) -> str:
    found = record.header(name)
    return otherwise if found is None or len(found) > _LONGEST_KEPT else found.decode(errors="replace")


def _stand_in(value: bytes) -> tuple[tuple[str, bytes], ...]:
    return (
        ("failover.value.sha256", hashlib.sha256(value).hexdigest().encode()),
        ("failover.value.size", str(len(value)).encode()),
    )


async def _ids_below(batches: AsyncIterator[list[Message]], end: int, wanted: Collection[str]) -> set[str]:
    """The wanted ids before ``end``: other lanes go on writing here, so the log's own end may never be reached."""
    ids: set[str] = set()
    async for batch in batches:
        found = (id_.decode(errors="replace") for message in batch if (id_ := _id_of(message)) is not None)
        ids.update(id_ for id_ in found if id_ in wanted)
        if any((message.offset() or 0) >= end - 1 for message in batch[-1:]):
            break
    return ids


def _id_of(message: Message) -> bytes | None:
    return next((value for name, value in reversed(headers_of(message)) if name == ID), None)


def _place(placed: Future[tuple[str, int]], place: str, sent: Future[int]) -> None:
    if placed.done() or sent.cancelled():
        placed.cancel()
    elif (error := sent.exception()) is not None:
        placed.set_exception(error)
        placed.exception()
    else:
        placed.set_result((place, sent.result()))
