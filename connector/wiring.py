"""What each part is made with: settings → the cluster, its topics, the account, the lanes' times; adapters → the ports of a lane."""

from __future__ import annotations

import gc
import os
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connector.adapters.decode import RecordDecoder
from connector.adapters.encode import EventEncoder
from connector.adapters.kafka_callbacks import KafkaCallbackFeed
from connector.adapters.kafka_client import KafkaOptions
from connector.adapters.kafka_group import GroupSource
from connector.adapters.kafka_journal import KafkaJournal
from connector.adapters.kafka_outbox import KafkaDeadLetters, KafkaOutbox
from connector.adapters.kafka_producer import KafkaProducer
from connector.adapters.kafka_reader import KafkaPast, ReadingPool
from connector.adapters.kafka_topics import TopicPlan, plan_topics
from connector.adapters.registry import SchemaRegistry
from connector.adapters.routee import Routee, RouteeOptions, reads_at_once
from connector.core import identity
from connector.core.model import MessageClass
from connector.core.routing import RoutingTable
from connector.metrics import Metrics
from connector.ports import Clock, LaneId
from connector.services.callbacks import callback_urls
from connector.services.parts import Parts, Policy
from connector.services.polls import Polls
from connector.services.throttle import Throttle
from connector.settings import Settings, milliseconds


@dataclass(frozen=True, slots=True)
class Topics:
    """The cluster's topics as they were at the start: partitions of each, and the broker's ids of the inputs."""

    partitions: Mapping[str, int]
    ids: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """The adapters of one worker."""

    producer: KafkaProducer
    pool: ReadingPool
    source: GroupSource
    feed: KafkaCallbackFeed
    dead_letters: KafkaDeadLetters
    routee: Routee
    registry: SchemaRegistry | None
    encoder: EventEncoder


def rest_collector() -> None:
    """Let Python's collector run rarely: lanes hold a dozen objects for each live flow, which it would walk again and again for nothing.

    What has no cycles is freed at once in any case.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def kafka_options(settings: Settings) -> KafkaOptions:
    """The ``kafka`` section as the adapters take it."""
    kafka = settings.kafka
    return KafkaOptions(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.group_id,
        group_protocol=kafka.group_protocol,
        session_timeout_ms=milliseconds(kafka.session_timeout),
        start_from=kafka.start_from,
        properties=kafka.properties,
    )


def topic_plans(settings: Settings, *, shadow: bool) -> tuple[TopicPlan, ...]:
    """Every topic of this connector, inputs first; ``shadow``: also that of a shadow run."""
    topics = settings.topics
    return plan_topics(
        settings.kafka.group_id,
        tuple(topics.notifications),
        outputs=(topics.sends, topics.statuses, *((topics.shadow,) if shadow else ())),
        dead_letters=topics.dead_letters,
        suppressions=topics.suppressions,
        dedup_window_ms=milliseconds(settings.lane.dedup_window),
        longest_flow_ms=milliseconds(settings.longest_flow),
    )


def output_topics(settings: Settings) -> dict[str, str]:
    """Kind of an output event → its topic."""
    return {"send": settings.topics.sends, "status": settings.topics.statuses}


def encoder(settings: Settings, registry: SchemaRegistry | None) -> EventEncoder:
    """How outputs are written."""
    return EventEncoder(
        settings.format.output,
        registry=registry,
        privacy=settings.privacy.recipient,
        pepper=settings.pepper,
        topics=output_topics(settings),
    )


def routee_options(settings: Settings, metrics: Metrics) -> RouteeOptions:
    """The ``routee`` section as the adapter takes it."""
    routee = settings.routee
    otp_secret = routee.otp.application_secret
    return RouteeOptions(
        auth_url=routee.auth_url,
        base_url=routee.base_url,
        application_id=routee.application_id,
        application_secret=routee.application_secret.get_secret_value(),
        otp_application_id=routee.otp.application_id,
        otp_application_secret=otp_secret.get_secret_value() if otp_secret else None,
        timeout_s=routee.timeout.total_seconds(),
        max_connections=routee.max_in_flight,
        ca_file=str(routee.ca_file) if routee.ca_file else None,
        proxy=routee.proxy,
        on_token=lambda result: metrics.token_requests.labels(result).inc(),
        on_answer=lambda _api, seconds: metrics.provider_seconds.observe(seconds),
    )


def policy(settings: Settings) -> Policy:
    """Times and bounds of a lane."""
    return Policy(
        lease_s=settings.lane.lease.total_seconds(),
        timeout_s=settings.routee.timeout.total_seconds(),
        provider_lag_s=settings.lane.provider_lag.total_seconds(),
        transactional_wait_s=settings.doubt.transactional_wait.total_seconds(),
        give_up_s=settings.doubt.give_up.total_seconds(),
        expiry_ms={kind: milliseconds(settings.expiry.of(kind)) for kind in MessageClass},
        dedup_window_ms=milliseconds(settings.lane.dedup_window),
        poll_schedule_s=tuple(step.total_seconds() for step in settings.polling.schedule),
        class_schedules_s={
            kind: tuple(step.total_seconds() for step in schedule) for kind, schedule in settings.polling.schedules.chosen.items()
        },
        flow_deadline_s=settings.polling.flow_deadline.total_seconds(),
        buffer_records=settings.lane.buffer.records,
        buffer_bytes=settings.lane.buffer.bytes,
        park_max_rows=settings.lane.park_max_rows,
        otp_label_visible=settings.routee.otp_label_visible,
        copy_headers=settings.topics.copy_headers,
    )


def throttle(settings: Settings, clock: Clock, metrics: Metrics) -> Throttle:
    """Who may POST now, by the account's limits."""
    routee = settings.routee
    return Throttle(clock, metrics, routee.rate, routee.max_in_flight, settings.poll_share, policy(settings).breaker_probe_s)


def share_of(settings: Settings, partitions: Mapping[str, int]) -> Callable[[frozenset[LaneId]], float]:
    """What part (0…1) of the account's rate a set of lanes is owed, by their topics' weights."""
    weights = settings.topics.notifications
    total = sum(weight * partitions[topic] for topic, weight in weights.items())
    return lambda lanes: sum(weights[lane.topic] for lane in lanes) / total


def parts(settings: Settings, opened: Opened, topics: Topics, clock: Clock, metrics: Metrics, rules: Callable[[], RoutingTable]) -> Parts:
    """Everything a lane is given."""
    producer, pool, encode = opened.producer, opened.pool, opened.encoder
    return Parts(
        clock=clock,
        source=opened.source,
        decoder=RecordDecoder(settings.format.input, settings.fields, registry=opened.registry),
        past=KafkaPast(pool),
        journal=KafkaJournal(settings.kafka.group_id, producer, pool),
        outbox=KafkaOutbox(producer, pool, output_topics(settings), topics.partitions, encode.encode, content_type=encode.content_type),
        dead_letters=opened.dead_letters,
        sender=opened.routee,
        tracking=opened.routee,
        feed=opened.feed,
        throttle=throttle(settings, clock, metrics),
        polls=Polls(reads_at_once(settings.routee.max_in_flight) // 2),
        metrics=metrics,
        policy=policy(settings),
        rules=rules,
        callback_url=callback_urls(settings.callbacks.public_url, settings.callbacks.keys),
        pseudonym=lambda value: identity.pseudonym(settings.pepper, value),
        chance=random.random,
        nonce=lambda: secrets.token_hex(12),
        topic_ids=topics.ids,
        host=f"{socket.gethostname()}/{os.getpid()}",
    )


def dead_letters(settings: Settings, producer: KafkaProducer, metrics: Metrics) -> KafkaDeadLetters:
    """Where records go that can never be processed."""
    coordinates_only = settings.privacy.dead_letters == "coordinates"
    return KafkaDeadLetters(producer, settings.topics.dead_letters, metrics, coordinates_only=coordinates_only)
