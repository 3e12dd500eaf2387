"""The composition root: opens the adapters, wires the lanes, runs them, and takes everything down in order.

Stop order: not ready → lanes drain (intake, what has not begun, what is under way, checkpoint, commit) → leave the group → callbacks →
producer → the provider's connections → admin port.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import time
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Literal, TypeVar

from connector import __version__
from connector.adapters.callback_codec import decode_callback, encode_callback
from connector.adapters.decode import RecordDecoder
from connector.adapters.encode import EventEncoder
from connector.adapters.http_server import HttpServer, admin_app, callbacks_app
from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_callbacks import KafkaCallbackFeed
from connector.adapters.kafka_group import GroupSource
from connector.adapters.kafka_journal import KafkaJournal
from connector.adapters.kafka_outbox import KafkaCallbackSink, KafkaDeadLetters, KafkaOutbox
from connector.adapters.kafka_producer import KafkaProducer
from connector.adapters.kafka_reader import KafkaPast, ReadingPool
from connector.adapters.registry import SchemaRegistry
from connector.adapters.routee import Routee, RouteeOptions
from connector.cli.cluster import kafka_options, topic_plans
from connector.core import identity
from connector.core.model import MessageClass
from connector.core.routing import RoutingTable
from connector.errors import ConfigError, KafkaUnavailable, RegistryUnavailable
from connector.logs import get_logger
from connector.metrics import Metrics, process_registry
from connector.rules_file import load_rules
from connector.services import breakers, gauges
from connector.services.callbacks import Ingress, callback_urls
from connector.services.intake import Intake
from connector.services.parts import Parts, Policy
from connector.services.throttle import Throttle
from connector.settings import Settings, milliseconds, redacted
from connector.unenforced import unenforced

Role = Literal["all", "worker", "ingress"]
T = TypeVar("T")
log = get_logger("app")
_TELL_EVERY_S = 2.0
_FLUSH_S = 5.0


class SystemClock:
    """The machine's time."""

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def boot(self) -> float:
        """Seconds; counts suspended time where the system can (Linux)."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep; at once when ``seconds`` is not positive."""
        await asyncio.sleep(max(0.0, seconds))


class Connector:
    """One process of the connector."""

    def __init__(self, settings: Settings, role: Role, rules: RoutingTable) -> None:
        self.settings = settings
        self.role = role
        self.rules = rules
        self.clock = SystemClock()
        self.metrics = Metrics(process_registry())
        self.options = kafka_options(settings)
        self.intake: Intake | None = None
        self.topic_ids: Mapping[str, str] = {}
        self.started_up = False
        self.stopping = asyncio.Event()
        self.metrics.build_info.labels(__version__).set(1)
        self.metrics.rules_info.labels(rules.version).set(1)

    # -------------------------------------------------------------------------------------------------------------- health

    def live(self) -> tuple[bool, Mapping[str, object]]:
        """The loop answers, so it lives."""
        return True, {"version": __version__}

    def started(self) -> tuple[bool, Mapping[str, object]]:
        """Kafka was reached and every port is open."""
        return self.started_up, {}

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """In the group, each lane served; not while stopping."""
        if not self.started_up or self.stopping.is_set():
            return False, {"stopping": self.stopping.is_set()}
        if self.intake is None:
            return True, {}
        lanes = {str(lane): keeper.state for lane, keeper in self.intake.keepers.items()}
        return self.intake.ready, {"lanes": lanes}

    # ----------------------------------------------------------------------------------------------------------------- run

    async def run(self) -> int:
        """Exit code: 0 after a clean stop."""
        log.info("starting", version=__version__, role=self.role, settings=redacted(self.settings))
        async with AsyncExitStack() as stack:
            admin = HttpServer(admin_app(self, self.metrics), self.settings.admin.listen, "admin.listen")
            await admin.start()
            stack.push_async_callback(admin.stop, 1.0)
            counts = await self._unless_stopped(self._await_kafka())
            if counts is not None:
                await self._serve(stack, counts)
        log.info("stopped", code=0)
        return 0

    async def _serve(self, stack: AsyncExitStack, counts: Mapping[str, int]) -> None:
        producer = KafkaProducer(self.options, self.metrics)
        stack.push_async_callback(producer.close, _FLUSH_S)
        if self.role != "worker" and self.settings.callbacks.public_url is not None:
            sink = KafkaCallbackSink(self.options.group_id, producer, encode_callback)
            ingress = Ingress(sink, self.settings.callbacks.keys, self.clock, self.metrics)
            server = HttpServer(callbacks_app(ingress), self.settings.callbacks.listen, "callbacks.listen")
            await server.start()
            stack.push_async_callback(server.stop, 2.0)
        if self.role == "ingress":
            self.started_up = True
            await self.stopping.wait()
            return
        await self._work(stack, producer, counts)

    async def _work(self, stack: AsyncExitStack, producer: KafkaProducer, counts: Mapping[str, int]) -> None:
        """The lanes, until asked to stop."""
        registry = self._registry(stack)
        encoder = EventEncoder(
            self.settings.format.output,
            registry=registry,
            privacy=self.settings.privacy.recipient,
            pepper=self.settings.pepper,
            topics={"send": self.settings.topics.sends, "status": self.settings.topics.statuses},
        )
        if await self._unless_stopped(self._await_registry(encoder)) is None:
            return
        routee = Routee(self._routee_options())
        stack.push_async_callback(routee.aclose)
        parts, source, feed = self._parts(stack, producer, routee, registry, encoder, counts)
        weights = self.settings.topics.notifications
        total = sum(weight * counts[topic] for topic, weight in weights.items())
        self.intake = Intake(parts, lambda lanes: sum(weights[lane.topic] for lane in lanes) / total)
        async with TaskGroup() as tasks:
            working = [
                tasks.create_task(parts.throttle.run()),
                tasks.create_task(breakers.watch(parts.throttle, routee, self.clock, parts.policy.breaker_probe_s)),
                tasks.create_task(self._tell(source, self.intake)),
            ]
            intake = tasks.create_task(self.intake.run())
            self.started_up = True
            log.info("ready")
            await asyncio.wait({intake, tasks.create_task(self.stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
            self.stopping.set()
            await self.intake.stop(self.settings.shutdown.grace.total_seconds())
            await source.close()
            await feed.close()
            for task in working:
                task.cancel()

    def _parts(
        self,
        stack: AsyncExitStack,
        producer: KafkaProducer,
        routee: Routee,
        registry: SchemaRegistry | None,
        encoder: EventEncoder,
        counts: Mapping[str, int],
    ) -> tuple[Parts, GroupSource, KafkaCallbackFeed]:
        settings, metrics = self.settings, self.metrics
        pool = ReadingPool(self.options, metrics)
        stack.push_async_callback(pool.close)
        source = GroupSource(self.options, tuple(settings.topics.notifications), metrics)
        feed = KafkaCallbackFeed(self.options, metrics, decode_callback)
        policy = _policy(settings)
        topics = {"send": settings.topics.sends, "status": settings.topics.statuses}
        parts = Parts(
            clock=self.clock,
            source=source,
            decoder=RecordDecoder(settings.format.input, settings.fields, registry=registry),
            past=KafkaPast(pool),
            journal=KafkaJournal(self.options.group_id, producer, pool),
            outbox=KafkaOutbox(producer, pool, topics, counts, encoder.encode, content_type=encoder.content_type),
            dead_letters=KafkaDeadLetters(
                producer, settings.topics.dead_letters, metrics, coordinates_only=settings.privacy.dead_letters == "coordinates"
            ),
            sender=routee,
            tracking=routee,
            feed=feed,
            throttle=Throttle(
                self.clock,
                metrics,
                settings.routee.rate,
                settings.routee.max_in_flight,
                settings.poll_share,
                policy.breaker_probe_s,
            ),
            metrics=metrics,
            policy=policy,
            rules=lambda: self.rules,
            callback_url=callback_urls(settings.callbacks.public_url, settings.callbacks.keys),
            pseudonym=lambda value: identity.pseudonym(settings.pepper, value),
            chance=random.random,
            nonce=lambda: secrets.token_hex(12),
            topic_ids=self.topic_ids,
            host=f"{socket.gethostname()}/{os.getpid()}",
        )
        return parts, source, feed

    # ------------------------------------------------------------------------------------------------------------- waiting

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """The result of ``work``, or None when a stop was asked for first."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stop.cancel()

    async def _await_kafka(self) -> Mapping[str, int]:
        """Partition counts, once the broker is there and its topics are right. Raises ConfigError for wrong topics."""
        topics = KafkaTopics(self.options)
        plans = topic_plans(self.settings, shadow=False)
        return await self._retry("kafka_unavailable", lambda: asyncio.to_thread(self._check_topics, topics, plans))

    def _check_topics(self, topics: KafkaTopics, plans: tuple[object, ...]) -> Mapping[str, int]:
        if self.settings.topics.create:
            created = topics.create(plans, replication_factor=self.settings.topics.replication_factor)  # type: ignore[arg-type]
            for name in created.created:
                log.info("topic_created", topic=name)
        topics.require(plans)  # type: ignore[arg-type]
        self.topic_ids = topics.ids(tuple(self.settings.topics.notifications))
        return {name: metadata.partitions for name, metadata in topics.metadata().items()}

    async def _await_registry(self, encoder: EventEncoder) -> bool:
        await self._retry("registry_unavailable", encoder.prepare)
        return True

    async def _retry(self, event: str, work: Callable[[], Awaitable[T]]) -> T:
        delay = 0.5
        while True:
            try:
                return await work()
            except (KafkaUnavailable, RegistryUnavailable) as error:
                log.warning(event, reason=str(error), retry_s=delay)
                await self.clock.sleep(delay)
                delay = min(delay * 2, 15.0)

    def _registry(self, stack: AsyncExitStack) -> SchemaRegistry | None:
        chosen = self.settings.schema_registry
        if chosen.url is None:
            return None
        registry = SchemaRegistry({"url": chosen.url, **chosen.properties}, failed=self.metrics.registry_errors.inc)
        stack.push_async_callback(registry.close)
        return registry

    def _routee_options(self) -> RouteeOptions:
        routee = self.settings.routee
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
            on_token=lambda result: self.metrics.token_requests.labels(result).inc(),
            on_answer=lambda _api, seconds: self.metrics.provider_seconds.observe(seconds),
        )

    async def _tell(self, source: GroupSource, intake: Intake) -> None:
        """What is better counted now and then than kept up."""
        while True:
            for topic, lag in source.lag().items():
                self.metrics.lag_seconds.labels(topic).set(lag.seconds)
            gauges.tell(self.metrics, intake.lanes, self.clock.now_ms())
            await self.clock.sleep(_TELL_EVERY_S)


def _policy(settings: Settings) -> Policy:
    return Policy(
        lease_s=settings.lane.lease.total_seconds(),
        timeout_s=settings.routee.timeout.total_seconds(),
        provider_lag_s=settings.lane.provider_lag.total_seconds(),
        transactional_wait_s=settings.doubt.transactional_wait.total_seconds(),
        give_up_s=settings.doubt.give_up.total_seconds(),
        expiry_ms={kind: milliseconds(settings.expiry.of(kind)) for kind in MessageClass},
        dedup_window_ms=milliseconds(settings.lane.dedup_window),
        poll_schedule_s=tuple(step.total_seconds() for step in settings.polling.schedule),
        flow_deadline_s=settings.polling.flow_deadline.total_seconds(),
        buffer_records=settings.lane.buffer.records,
        buffer_bytes=settings.lane.buffer.bytes,
        otp_label_visible=settings.routee.otp_label_visible,
        copy_headers=settings.topics.copy_headers,
    )


async def run(settings: Settings, role: Role) -> int:
    """Run until SIGTERM or SIGINT; a second one cuts what is under way. Gives the exit code. Raises ConfigError."""
    rules, _ = load_rules(settings.rules, os.environ)
    if problems := unenforced(settings, rules):
        raise ConfigError(problems)
    connector = Connector(settings, role, rules)
    running = asyncio.ensure_future(connector.run())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if connector.stopping.is_set():
            running.cancel()
            return
        log.info("stopping")
        connector.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        return await running
    except asyncio.CancelledError:
        log.warning("stopped", code=1)
        return 1
