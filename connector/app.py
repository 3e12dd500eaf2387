"""The composition root: opens the adapters, runs the lanes on them, takes all down in order (``wiring``: what each is made with).

Stop order: not ready → lanes drain (intake, what has not begun, what is under way, checkpoint, commit) → leave the group → callbacks →
producer → the provider's connections → admin port.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Literal, TypeVar

from connector import __version__, wiring
from connector.adapters import open_files
from connector.adapters.callback_codec import decode_callback, encode_callback
from connector.adapters.clock import SystemClock
from connector.adapters.encode import EventEncoder
from connector.adapters.http_server import HttpServer, admin_app, callbacks_app
from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_callbacks import KafkaCallbackFeed
from connector.adapters.kafka_group import GroupSource
from connector.adapters.kafka_outbox import KafkaCallbackSink, KafkaDeadLetters
from connector.adapters.kafka_producer import KafkaProducer
from connector.adapters.kafka_reader import ReadingPool
from connector.adapters.registry import SchemaRegistry
from connector.adapters.routee import Routee
from connector.core.routing import RoutingTable
from connector.errors import ConfigError, KafkaUnavailable, RegistryUnavailable
from connector.logs import get_logger
from connector.metrics import Metrics, process_registry
from connector.rules_file import load_rules
from connector.services import breakers, gauges
from connector.services.callbacks import Ingress
from connector.services.intake import Intake, revoke_grace_s
from connector.services.stopping import unless
from connector.settings import Settings, dotted, redacted
from connector.unenforced import unenforced

Role = Literal["all", "worker", "ingress"]
T = TypeVar("T")
log = get_logger("app")
_TELL_EVERY_S = 2.0
_FLUSH_S = 5.0
_LAST_WORDS_S = 4.0  # beyond its grace time a drained lane still writes a checkpoint, and commits
_ASK_S = 5.0  # a stop waits for the question that is being asked


class Connector:
    """One process of the connector."""

    def __init__(self, settings: Settings, role: Role, rules: RoutingTable) -> None:
        self.settings = settings
        self.role = role
        self.rules = rules
        self.clock = SystemClock()
        self.metrics = Metrics(process_registry())
        self.options = wiring.kafka_options(settings)
        self.intake: Intake | None = None
        self.started_up = False
        self.stopping = asyncio.Event()
        self.asked_to_stop = False  # by a signal; ``stopping`` is also set when the work ends by itself
        self.metrics.build_info.labels(__version__).set(1)
        if role != "ingress":
            self.metrics.lanes.labels("running")  # 0 while Kafka is away at the start, too: an alert asks for it
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
        keepers = self.intake.keepers.items()
        refused = {str(lane): keeper.refusal for lane, keeper in keepers if keeper.refusal is not None}
        lanes = {str(lane): keeper.state for lane, keeper in keepers}
        reason = "no member of the consumer group: Kafka was away, or nothing was heard of this process" if self.intake.expelled else None
        return self.intake.ready, {"lanes": lanes, "refused": refused, **({"reason": reason} if reason else {})}

    # ----------------------------------------------------------------------------------------------------------------- run

    async def run(self) -> int:
        """Exit code: 0 after a clean stop."""
        self._announce()
        async with AsyncExitStack() as stack:
            admin = HttpServer(admin_app(self, self.metrics), self.settings.admin.listen, "admin.listen")
            await admin.start()
            stack.push_async_callback(self._close, "admin port", lambda: admin.stop(1.0))
            topics = await unless(self.stopping, self._await_topics())
            if topics is not None:
                await self._serve(stack, topics)
        log.info("stopped", code=0)
        return 0

    def _announce(self) -> None:
        """What a reader of the log needs first; all the rest for whoever looks closely."""
        settings = self.settings
        log.info(
            "starting",
            version=__version__,
            role=self.role,
            group=settings.kafka.group_id,
            kafka=settings.kafka.bootstrap_servers,
            topics=list(settings.topics.notifications),
            rules=self.rules.version,
            routee=settings.routee.base_url,
            admin=settings.admin.listen,
            callbacks=settings.callbacks.listen if self._listens else None,
            open_files=open_files.limit(),
        )
        log.debug("settings", **dotted(redacted(settings)))

    @property
    def _listens(self) -> bool:
        """Whether this process takes callbacks."""
        return self.role != "worker" and self.settings.callbacks.public_url is not None

    async def _serve(self, stack: AsyncExitStack, topics: wiring.Topics) -> None:
        """Callbacks, lanes, or both, as the role says."""
        producer = KafkaProducer(self.options, self.metrics)
        stack.push_async_callback(self._close, "producer", lambda: producer.close(_FLUSH_S))
        if self._listens:
            sink = KafkaCallbackSink(self.options.group_id, producer, encode_callback)
            ingress = Ingress(sink, self.settings.callbacks.keys, self.clock, self.metrics)
            server = HttpServer(callbacks_app(ingress), self.settings.callbacks.listen, "callbacks.listen")
            await server.start()
            stack.push_async_callback(self._close, "callbacks port", lambda: server.stop(2.0))
        if self.role == "ingress":
            self.started_up = True
            log.info("ready")
            await self.stopping.wait()
            return
        registry = self._registry(stack)
        encoder = wiring.encoder(self.settings, registry)
        if await unless(self.stopping, self._await_registry(encoder)):
            await self._work(self._open(stack, producer, registry, encoder), topics)

    def _open(
        self, stack: AsyncExitStack, producer: KafkaProducer, registry: SchemaRegistry | None, encoder: EventEncoder
    ) -> wiring.Opened:
        """What only a worker needs. Nobody joins the group yet."""
        routee = Routee(wiring.routee_options(self.settings, self.metrics))
        stack.push_async_callback(self._close, "provider", routee.aclose)
        pool = ReadingPool(self.options, self.metrics)
        stack.push_async_callback(self._close, "readers", pool.close)
        inputs = tuple(self.settings.topics.notifications)
        release_wait_s = revoke_grace_s(wiring.policy(self.settings)) + _LAST_WORDS_S
        return wiring.Opened(
            producer=producer,
            pool=pool,
            source=GroupSource(self.options, inputs, self.metrics, release_wait_s=release_wait_s),
            feed=KafkaCallbackFeed(self.options, pool, self.metrics, decode_callback),
            dead_letters=wiring.dead_letters(self.settings, producer, self.metrics),
            routee=routee,
            registry=registry,
            encoder=encoder,
        )

    async def _work(self, opened: wiring.Opened, topics: wiring.Topics) -> None:
        """The lanes, until asked to stop."""
        parts = wiring.parts(self.settings, opened, topics, self.clock, self.metrics, lambda: self.rules)
        self.intake = Intake(parts, wiring.share_of(self.settings, topics.partitions))
        async with TaskGroup() as tasks:
            working = [
                tasks.create_task(parts.throttle.run()),
                tasks.create_task(breakers.watch(parts.throttle, opened.routee, self.clock, parts.policy.breaker_probe_s)),
                tasks.create_task(self._tell(opened.source, self.intake)),
                tasks.create_task(self._learn_room(opened.dead_letters)),
            ]
            intake = tasks.create_task(self.intake.run())
            self.started_up = True
            log.info("ready")
            await asyncio.wait({intake, tasks.create_task(self.stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
            self.stopping.set()
            grace_s = self.settings.shutdown.grace.total_seconds()
            await self._close("lanes", functools.partial(self.intake.stop, grace_s))
            await self._close("group", opened.source.close)
            await self._close("callbacks feed", opened.feed.close)
            for task in working:
                task.cancel()

    async def _close(self, part: str, close: Callable[[], Awaitable[None]]) -> None:
        """Close one part, and say how long it took: a stop that lasts must be explainable."""
        begun = self.clock.boot()
        await close()
        log.debug("part_closed", part=part, took_s=round(self.clock.boot() - begun, 2))

    async def _tell(self, source: GroupSource, intake: Intake) -> None:
        """What is better counted now and then than kept up."""
        while True:
            unfetched_s = {topic: lag.seconds for topic, lag in source.lag().items()}
            for topic, seconds in unfetched_s.items():
                self.metrics.lag_seconds.labels(topic).set(seconds)
            intake.parts.throttle.tell()
            gauges.tell(self.metrics, intake.lanes, self.clock.now_ms(), unfetched_s)
            await self.clock.sleep(_TELL_EVERY_S)

    async def _learn_room(self, letters: KafkaDeadLetters) -> None:
        """How large a dead letter may be. Nobody waits for it: until it is known, Kafka's refusal of a larger one tells."""
        letters.max_bytes = await asyncio.to_thread(KafkaTopics(self.options, _ASK_S).largest_message, self.settings.topics.dead_letters)

    # ------------------------------------------------------------------------------------------------------------- waiting

    async def _await_topics(self) -> wiring.Topics:
        """The topics, once the broker is there and they are right. Raises ConfigError for wrong topics: nothing was begun."""
        topics = KafkaTopics(self.options, _ASK_S)
        try:
            return await self._retry("kafka_unavailable", lambda: asyncio.to_thread(self._check_topics, topics))
        except ConfigError as error:
            log.error("start_refused", problems=[str(problem) for problem in error.problems])  # noqa: TRY400 - a remedy, not a trace
            raise

    def _check_topics(self, topics: KafkaTopics) -> wiring.Topics:
        plans = wiring.topic_plans(self.settings, shadow=False)
        if self.settings.topics.create:
            for name in topics.create(plans, replication_factor=self.settings.topics.replication_factor).created:
                log.info("topic_created", topic=name)
        topics.require(plans)
        ids = topics.ids(tuple(self.settings.topics.notifications))
        return wiring.Topics({name: metadata.partitions for name, metadata in topics.metadata().items()}, ids)

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


async def run(settings: Settings, role: Role) -> int:
    """Run until SIGTERM or SIGINT. Gives the exit code. Raises ConfigError.

    A second signal ends the process on the spot, exit code 1: as safe as kill -9, and as quick, whatever is away just then.
    """
    rules, _ = load_rules(settings.rules, os.environ)
    if problems := unenforced(settings, rules):
        raise ConfigError(problems)
    wiring.rest_collector()
    open_files.raise_limit()
    connector = Connector(settings, role, rules)

    def stop() -> None:
        if connector.asked_to_stop:
            log.warning("stopped", code=1)
            sys.stderr.flush()
            os._exit(1)
        connector.asked_to_stop = True
        log.info("stopping")
        connector.stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return await connector.run()
