"""The cluster's topics: making them, and asking what they are (``kafka_topics`` says what they must be).

Everything here blocks: call it in a thread from the event loop. A broker that cannot be asked is ``KafkaUnavailable``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from connector.adapters.kafka_client import (
    CONNECTION_FAILED,
    KafkaOptions,
    client_config,
    error_of,
    library_logger,
    reader_config,
    unavailable,
)
from connector.adapters.kafka_topics import (
    REMEMBERING,
    Finding,
    Metadata,
    Role,
    Severity,
    TopicPlan,
    count_of,
    letter_room,
    lost_journals,
    setting_findings,
    structure_findings,
)
from connector.errors import ConfigError, KafkaUnavailable, Problem
from connector.logs import get_logger

T = TypeVar("T")

_LOG = get_logger(__name__)
_ASK_S: Final = 15.0
_REACH_S: Final = 5.0  # whoever mistyped an address shall not wait for it; a cluster that is there says what it has long before

_MOCK: Final = "mockCluster"  # how its cluster id begins; it never answers DescribeTopics
_FORBIDDEN: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_STARTING: Final = frozenset({KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR})
_AGAIN_S: Final = 0.2
# Journals before all that is beside them: whatever fails on the way, a callbacks topic without its journal means a journal that was lost.
_IN_TURN: Final = (frozenset({Role.INPUT}), frozenset({Role.JOURNAL}), frozenset(Role) - {Role.INPUT, Role.JOURNAL})


@dataclass(frozen=True, slots=True)
class Created:
    """What ``create`` has done."""

    created: tuple[str, ...]
    grown: tuple[str, ...]


class KafkaTopics:
    """The cluster's topics, through one admin client."""

    def __init__(self, options: KafkaOptions, ask_s: float = _ASK_S) -> None:
        """``ask_s``: how long the broker may take for one answer, about."""
        self._ask_s = ask_s
        self._reach_s = min(ask_s, _REACH_S)
        self._servers = options.bootstrap_servers
        self._heard = False
        self._met: KafkaError | None = None  # the last connection that failed
        self._group_reader = reader_config(options, group_id=options.group_id)
        try:
            # Its errors are told once, in words, by whoever asked; the library's own lines would stand before them.
            config: dict[str, Any] = {**client_config(options), "error_cb": self._meet, "log_level": 0}
            self._admin = AdminClient(config, logger=library_logger())
        except KafkaException as refused:
            raise ConfigError((Problem("kafka.properties", _refusal(refused), "see librdkafka's list of properties"),)) from None

    def metadata(self) -> dict[str, Metadata]:
        """All topics there are."""
        topics = self._ask("listing topics", lambda: self._admin.list_topics(timeout=self._reach_s).topics)
        self._heard = True
        return {
            name: Metadata(len(topic.partitions), min((len(p.replicas) for p in topic.partitions.values()), default=0))
            for name, topic in topics.items()
            if topic.error is None
        }

    def partition_counts(self, names: Sequence[str]) -> dict[str, int]:
        """Partitions per topic; a missing topic is left out."""
        found = self.metadata()
        return {name: found[name].partitions for name in names if name in found}

    def ids(self, names: Sequence[str]) -> dict[str, str]:
        """The broker's ids of topics: a topic made anew under the same name has another one. None are told by librdkafka's mock cluster."""
        if self._is_mock():
            return {}
        asked = self._admin.describe_topics(TopicCollection(list(names)), request_timeout=self._ask_s)
        return {name: str(self._wait(f"describing {name}", answer).topic_id) for name, answer in asked.items()}

    def configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Settings in force, per topic. Raises KafkaUnavailable."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        asked = self._admin.describe_configs(resources, request_timeout=self._ask_s) if resources else {}
        return {
            resource.name: {key: entry.value or "" for key, entry in self._wait("reading topic settings", answer).items()}
            for resource, answer in asked.items()
        }

    def largest_message(self, name: str) -> int | None:
        """The topic's ``max.message.bytes``; None where its settings cannot be read (no right to, or a mock cluster)."""
        try:
            return int(self.configs([name])[name]["max.message.bytes"])
        except KafkaUnavailable:
            return None

    def create(self, plans: Sequence[TopicPlan], *, replication_factor: int = -1, grow: bool = False, anew: bool = False) -> Created:
        """Create what is missing, inputs first, then journals; with ``grow``, give internal topics as many partitions as their input has.

        Returns when every topic is visible. Raises KafkaUnavailable, also when the broker says no (its reason is in the text), and
        ConfigError, before anything is made, when a journal was there once; ``anew``: a person says that it shall be made all the same.
        """
        created: list[str] = []
        grown: list[str] = []
        found = self.metadata()
        if not anew:
            _refuse(lost_journals(plans, found, self._inputs_read(plans, found)))
        for roles in _IN_TURN:
            wanted = [plan for plan in plans if plan.role in roles]
            found = self.metadata()
            missing = [self._sized(plan, plans, found) for plan in wanted if plan.name not in found]
            self._create_now(missing, found, replication_factor)
            created += [plan.name for plan in missing]
            if grow:
                grown += self._grow(wanted, found)
            self._await_visible(plans, {*created, *grown})
        return Created(tuple(created), tuple(grown))

    def _create_now(self, plans: Sequence[TopicPlan], found: Mapping[str, Metadata], replication_factor: int) -> None:
        new = [NewTopic(plan.name, count_of(plan, found), replication_factor, config=dict(plan.config)) for plan in plans]
        if new:
            for name, answer in self._admin.create_topics(new, request_timeout=self._ask_s).items():
                error = answer.exception(self._ask_s + 5)
                if not (isinstance(error, KafkaException) and _code(error) == KafkaError.TOPIC_ALREADY_EXISTS):  # somebody was quicker
                    self._wait(f"creating {name}", answer)

    def _sized(self, plan: TopicPlan, plans: Sequence[TopicPlan], found: Mapping[str, Metadata]) -> TopicPlan:
        """Dead letters must hold the largest input record; where the inputs' settings may not be read the broker's default has to do."""
        if plan.role is not Role.DEAD_LETTERS:
            return plan
        try:
            configs = self.configs([one.name for one in plans if one.role is Role.INPUT and one.name in found])
        except KafkaUnavailable as error:
            _LOG.warning("input_settings_unreadable", topic=plan.name, reason=str(error))
            return plan
        return replace(plan, config={**plan.config, "max.message.bytes": str(letter_room(plans, configs))})

    def _grow(self, plans: Sequence[TopicPlan], found: Mapping[str, Metadata]) -> list[str]:
        short = [plan.name for plan in plans if plan.name in found and found[plan.name].partitions < count_of(plan, found)]
        counts = {plan.name: count_of(plan, found) for plan in plans}
        new = [NewPartitions(name, counts[name]) for name in short]
        if new:
            for name, answer in self._admin.create_partitions(new, request_timeout=self._ask_s).items():
                self._wait(f"growing {name}", answer)
        return short

    def _await_visible(self, plans: Sequence[TopicPlan], changed: set[str]) -> None:
        """The controller has agreed; the brokers' metadata follows a little later."""
        deadline = time.monotonic() + self._ask_s
        while any(wrong.topic in changed for wrong in structure_findings(plans, self.metadata())) and time.monotonic() < deadline:
            time.sleep(0.1)

    def require(self, plans: Sequence[TopicPlan]) -> None:
        """``run``'s start-up check: raises ConfigError for every finding that refuses the start.

        A topic is missing or has another partition count, a journal was lost, or a topic that must remember may forget too early.
        """
        found = self.metadata()
        structure = structure_findings(plans, found, self._inputs_read(plans, found))
        configs = self._readable_configs([plan.name for plan in plans if plan.role in REMEMBERING and plan.name in found])
        _refuse([*structure, *setting_findings(plans, found, configs)])

    def verify(self, plans: Sequence[TopicPlan]) -> tuple[Finding, ...]:
        """Everything that is wrong, worst first."""
        found = self.metadata()
        configs = self.configs([plan.name for plan in plans if plan.name in found])
        findings = [*structure_findings(plans, found, self._inputs_read(plans, found)), *setting_findings(plans, found, configs)]
        return tuple(sorted(findings, key=lambda finding: list(Severity).index(finding.severity)))

    def _inputs_read(self, plans: Sequence[TopicPlan], found: Mapping[str, Metadata]) -> frozenset[str]:
        """Of the inputs whose journal is missing: those in which the group has committed offsets."""
        inputs = {plan.partitions_of for plan in plans if plan.role is Role.JOURNAL and plan.name not in found}
        places = [TopicPartition(name, number) for name in found if name in inputs for number in range(found[name].partitions)]
        if not places or self._is_mock():
            return frozenset()
        consumer = Consumer(self._group_reader, logger=library_logger())  # the admin client's own question crashes in a new cluster
        try:
            offsets = self._ask("asking for the group's offsets", lambda: self._committed(consumer, places))
        finally:
            consumer.close()
        for failed in (place.error for place in offsets if place.error is not None):
            raise unavailable("asking for the group's offsets", failed, self._servers)
        return frozenset(place.topic for place in offsets if place.offset > 0)

    def _committed(self, consumer: Consumer, places: list[TopicPartition]) -> list[TopicPartition]:
        """In a cluster's first minute the group's coordinator is not up yet: that is waited for. Raises KafkaException."""
        deadline = time.monotonic() + self._ask_s
        while True:
            try:
                return consumer.committed(places, timeout=self._ask_s)
            except KafkaException as cause:
                if _code(cause) not in _STARTING or time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN_S)

    def _readable_configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """As ``configs``; nothing where they may not be read, which is told."""
        if self._is_mock():
            return {}
        try:
            return self.configs(names)
        except KafkaUnavailable as error:
            if not isinstance(error.__cause__, KafkaException) or _code(error.__cause__) not in _FORBIDDEN:
                raise
            _LOG.warning("settings_unreadable", topics=list(names), reason=str(error))
            return {}

    def _is_mock(self) -> bool:
        """librdkafka's mock cluster has no topic settings, and forgets everything at its end."""
        cluster = self._ask("asking for the cluster", lambda: self._admin.list_topics(timeout=self._reach_s).cluster_id)
        return str(cluster).startswith(_MOCK)

    def _ask(self, doing: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except KafkaException as cause:
            raise self._failed(doing, cause, self._reach_s) from cause

    def _wait(self, doing: str, answer: Future[T]) -> T:
        try:
            return answer.result(self._ask_s + 5)
        except (KafkaException, FutureTimeout) as cause:
            raise self._failed(doing, cause, self._ask_s) from cause

    def _failed(self, doing: str, cause: BaseException, waited_s: float) -> KafkaUnavailable:
        """A broker that has answered before is there; of one that never did, what librdkafka met on the way says more."""
        if self._heard:
            return unavailable(doing, cause, self._servers, waited_s=waited_s)
        self._admin.poll(0)
        return unavailable(doing, self._met or cause, self._servers)

    def _meet(self, error: KafkaError) -> None:
        """librdkafka's ``error_cb``."""
        if error.code() == CONNECTION_FAILED:
            self._met = error


def _refuse(findings: Sequence[Finding]) -> None:
    problems = [
        Problem(f"topic {finding.topic}", finding.what, finding.remedy) for finding in findings if finding.severity is Severity.REFUSE
    ]
    if problems:
        raise ConfigError(tuple(problems))


def _code(exception: KafkaException) -> int | None:
    error = error_of(exception)
    return None if error is None else error.code()


def _refusal(refused: KafkaException) -> str:
    """librdkafka's complaint; of a wrong value only that it is one, for it may be a secret."""
    text = str(error.str()) if (error := error_of(refused)) is not None else ""
    return text if text.startswith("No such configuration property") else "librdkafka refuses the value of a property"
