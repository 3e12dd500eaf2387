"""``failover-connector topics begin``: what it needs of Kafka."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from contextlib import AsyncExitStack
from typing import NamedTuple

from connector import wiring
from connector.adapters.kafka_admin import Created, KafkaTopics
from connector.adapters.kafka_client import callbacks_topic
from connector.adapters.kafka_journal import KafkaJournal
from connector.adapters.kafka_offsets import GroupOffsets
from connector.adapters.kafka_outbox import KafkaOutbox
from connector.adapters.kafka_producer import KafkaProducer
from connector.adapters.kafka_reader import ReadingPool
from connector.core import rows
from connector.metrics import Metrics
from connector.ports import LaneId
from connector.services.begin import Beginning, begin
from connector.settings import Settings

_FLUSH_S = 5.0


class Begun(NamedTuple):
    """Topics that were made, and where each lane begins that had nothing to go on with."""

    created: Created
    lanes: dict[LaneId, int]


async def begin_lanes(settings: Settings) -> Begun:
    """Make missing topics, lost journals included; begin every lane whose journal is new. Raises KafkaUnavailable, LaneLost."""
    options = wiring.kafka_options(settings)
    topics, metrics = KafkaTopics(options), Metrics()
    created = await asyncio.to_thread(
        topics.create, wiring.topic_plans(settings, shadow=False), replication_factor=settings.topics.replication_factor, anew=True
    )
    partitions = {name: found.partitions for name, found in (await asyncio.to_thread(topics.metadata)).items()}
    inputs = tuple(settings.topics.notifications)
    ids = await asyncio.to_thread(topics.ids, inputs)
    lanes: dict[LaneId, int] = {}
    async with AsyncExitStack() as stack:
        producer = KafkaProducer(options, metrics)
        stack.push_async_callback(producer.close, _FLUSH_S)
        pool = ReadingPool(options, metrics, scans=1, looks=1)
        stack.push_async_callback(pool.close)
        offsets = GroupOffsets(options)
        stack.push_async_callback(offsets.close)
        journal = KafkaJournal(options.group_id, producer, pool)
        outbox = KafkaOutbox(producer, pool, wiring.output_topics(settings), partitions, wiring.encoder(settings, None).encode)
        for lane in (LaneId(name, number) for name in inputs for number in range(partitions[name])):
            called = callbacks_topic(options.group_id, lane.topic)
            callbacks = (await pool.ends({called: lane.partition}))[called]
            at = Beginning(await offsets.places(lane), callbacks, ids.get(lane.topic))
            claim = rows.claim_row(secrets.token_hex(12), f"{socket.gethostname()}/{os.getpid()}", time.time_ns() // 1_000_000)
            place = await begin(lane, at, journal, outbox, claim)
            if place is not None:
                lanes[lane] = place
    return Begun(created, lanes)
