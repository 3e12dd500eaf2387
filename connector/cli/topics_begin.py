"""``failover-connector topics begin``: what it needs of Kafka."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

from connector import wiring
from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_client import callbacks_topic, journal_topic
from connector.adapters.kafka_journal import KafkaJournal
from connector.adapters.kafka_offsets import GroupOffsets
from connector.adapters.kafka_outbox import KafkaOutbox
from connector.adapters.kafka_producer import KafkaProducer
from connector.adapters.kafka_reader import ReadingPool
from connector.core import rows
from connector.core.resume import Places
from connector.metrics import Metrics
from connector.ports import LaneId
from connector.services.begin import Beginning, begin, beginning
from connector.settings import Settings

_FLUSH_S = 5.0


class Begun(NamedTuple):
    """Topics that were made, and where each lane begins that had nothing to go on with.

    ``looked``: how many lanes there are; ``uncommitted``: those of them for which the group has no committed offset.
    """

    created: tuple[str, ...]
    lanes: dict[LaneId, int]
    looked: int
    uncommitted: int


async def begin_lanes(settings: Settings) -> Begun:
    """Make missing topics, lost journals included; begin every lane whose journal is new. Raises KafkaUnavailable, LaneLost."""
    topics = KafkaTopics(wiring.kafka_options(settings))
    created = await asyncio.to_thread(
        topics.create, wiring.topic_plans(settings, shadow=False), replication_factor=settings.topics.replication_factor, anew=True
    )
    partitions = {name: found.partitions for name, found in (await asyncio.to_thread(topics.metadata)).items()}
    ids = await asyncio.to_thread(topics.ids, tuple(settings.topics.notifications))

    async def begin_one(lane: LaneId, places: Places, tools: _Tools) -> int | None:
        called = callbacks_topic(settings.kafka.group_id, lane.topic)
        callbacks = (await tools.pool.ends({called: lane.partition}))[called]
        claim = rows.claim_row(secrets.token_hex(12), f"{socket.gethostname()}/{os.getpid()}", time.time_ns() // 1_000_000)
        outbox = KafkaOutbox(tools.producer, tools.pool, wiring.output_topics(settings), partitions, wiring.encoder(settings, None).encode)
        return await begin(lane, Beginning(places, callbacks, ids.get(lane.topic)), tools.journal, outbox, claim)

    return await _each_lane(settings, partitions, created.created, begin_one)


async def would_begin(settings: Settings) -> Begun:
    """What ``begin_lanes`` would make and begin; nothing is written. Raises KafkaUnavailable."""
    found = await asyncio.to_thread(KafkaTopics(wiring.kafka_options(settings)).metadata)
    missing = tuple(plan.name for plan in wiring.topic_plans(settings, shadow=False) if plan.name not in found)

    async def look(lane: LaneId, places: Places, tools: _Tools) -> int | None:
        if journal_topic(settings.kafka.group_id, lane.topic) in missing:
            return places.committed
        return await beginning(lane, places, tools.journal)

    return await _each_lane(settings, {name: one.partitions for name, one in found.items()}, missing, look)


class _Tools(NamedTuple):
    producer: KafkaProducer
    pool: ReadingPool
    journal: KafkaJournal


async def _each_lane(
    settings: Settings,
    partitions: Mapping[str, int],
    created: tuple[str, ...],
    act: Callable[[LaneId, Places, _Tools], Awaitable[int | None]],
) -> Begun:
    options, metrics = wiring.kafka_options(settings), Metrics()
    ids = [LaneId(name, number) for name in settings.topics.notifications for number in range(partitions.get(name, 0))]
    lanes: dict[LaneId, int] = {}
    uncommitted = 0
    async with AsyncExitStack() as stack:
        producer = KafkaProducer(options, metrics)
        stack.push_async_callback(producer.close, _FLUSH_S)
        pool = ReadingPool(options, metrics, scans=1, looks=1)
        stack.push_async_callback(pool.close)
        offsets = GroupOffsets(options)
        stack.push_async_callback(offsets.close)
        tools = _Tools(producer, pool, KafkaJournal(options.group_id, producer, pool))
        for lane in ids:
            places = await offsets.places(lane)
            uncommitted += places.committed is None
            place = await act(lane, places, tools)
            if place is not None:
                lanes[lane] = place
    return Begun(created, lanes, len(ids), uncommitted)
