"""What the connector's topics must be, and what is wrong with those that are there. Pure: ``kafka_admin`` asks the broker."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from connector.adapters.kafka_client import callbacks_topic, control_topic, journal_topic
from connector.adapters.kafka_outbox import PRODUCER_ROOM
from connector.core.resume import BEGIN

HOUR_MS: Final = 3_600_000
REMEDY: Final = "failover-connector topics create"
GROW: Final = "failover-connector topics create --grow"
FORGOTTEN: Final = f"to go on at the committed offsets: {BEGIN}; or give the group a new kafka.group_id"


class Role(enum.StrEnum):
    """What a topic is for."""

    INPUT = "input"
    OUTPUT = "output"
    DEAD_LETTERS = "dead_letters"
    JOURNAL = "journal"
    CALLBACKS = "callbacks"
    CONTROL = "control"
    SUPPRESSIONS = "suppressions"


REMEMBERING: Final = frozenset({Role.JOURNAL, Role.CALLBACKS})
"""What the promise rests on."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What one topic must be. ``partitions_of`` names the topic whose partition count it must have; else ``partitions`` (-1: any)."""

    name: str
    role: Role
    partitions: int = -1
    partitions_of: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)  # as created
    least_retention_ms: int | None = None
    least_retention_is: str = ""  # what it is made of, for a person


class Severity(enum.StrEnum):
    """REFUSE: ``run`` does not start. FIX: the promise does not hold. NOTE: worth knowing."""

    REFUSE = "refuse"
    FIX = "fix"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a topic."""

    topic: str
    severity: Severity
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}\n    remedy: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """One topic as the broker shows it."""

    partitions: int
    replicas: int


def plan_topics(
    group_id: str,
    notifications: Sequence[str],
    *,
    outputs: Sequence[str],
    dead_letters: str,
    suppressions: str | None = None,
    dedup_window_ms: int,
    longest_flow_ms: int,
) -> tuple[TopicPlan, ...]:
    """Every topic of one connector, inputs first. ``longest_flow_ms``: the longest life of a flow."""
    journal_ms = dedup_window_ms + longest_flow_ms + 24 * HOUR_MS
    journal_is = "lane.dedup_window + the longest flow + 24 h"
    plans = [TopicPlan(name, Role.INPUT) for name in notifications]
    for name in notifications:
        journal = journal_config(journal_ms)
        plans.append(TopicPlan(journal_topic(group_id, name), Role.JOURNAL, -1, name, journal, journal_ms, journal_is))
        callbacks = {"cleanup.policy": "delete", "retention.ms": str(dedup_window_ms), "retention.bytes": "-1"}
        plans.append(TopicPlan(callbacks_topic(group_id, name), Role.CALLBACKS, -1, name, callbacks, dedup_window_ms, "lane.dedup_window"))
    plans.append(TopicPlan(control_topic(group_id), Role.CONTROL, 1, None, {"cleanup.policy": "compact"}))
    plans += [TopicPlan(name, Role.OUTPUT, config={"cleanup.policy": "delete"}) for name in outputs]
    plans.append(TopicPlan(dead_letters, Role.DEAD_LETTERS, config={"cleanup.policy": "delete"}))
    if suppressions is not None:
        plans.append(TopicPlan(suppressions, Role.SUPPRESSIONS, config={"cleanup.policy": "compact"}))
    return tuple(plans)


def journal_config(retention_ms: int) -> dict[str, str]:
    """A journal's settings."""
    return {
        "cleanup.policy": "compact,delete",
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        "segment.ms": str(HOUR_MS),
        "segment.bytes": str(64 * 1024 * 1024),
        "min.cleanable.dirty.ratio": "0.1",
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
    }


def letter_room(plans: Sequence[TopicPlan], configs: Mapping[str, Mapping[str, str]]) -> int:
    """The ``max.message.bytes`` that dead letters need: the largest input's, and room for their headers."""
    inputs = [plan.name for plan in plans if plan.role is Role.INPUT and plan.name in configs]
    return max((_number(configs[name], "max.message.bytes") for name in inputs), default=0) + PRODUCER_ROOM


def count_of(plan: TopicPlan, found: Mapping[str, Metadata]) -> int:
    """Partitions it should have; -1 leaves it to the broker."""
    if plan.partitions_of is None:
        return plan.partitions
    return found[plan.partitions_of].partitions if plan.partitions_of in found else -1


def structure_findings(plans: Sequence[TopicPlan], found: Mapping[str, Metadata], read: Collection[str] = ()) -> list[Finding]:
    """Missing topics and wrong partition counts. ``read``: inputs in which the group has committed offsets."""
    findings = lost_journals(plans, found, read)
    lost = {finding.topic for finding in findings}
    for plan in plans:
        here, count = found.get(plan.name), count_of(plan, found)
        if plan.name in lost:
            continue
        if here is None:
            findings.append(Finding(plan.name, Severity.REFUSE, f"the {plan.role} topic is missing", REMEDY))
        elif count not in {-1, here.partitions}:
            told = f"as {plan.partitions_of}" if plan.partitions_of else "by design"
            remedy = GROW if here.partitions < count else f"delete {plan.name} if it holds nothing of use, then {REMEDY}"
            findings.append(Finding(plan.name, Severity.REFUSE, f"{here.partitions} partitions, must be {count} ({told})", remedy))
    return findings


def lost_journals(plans: Sequence[TopicPlan], found: Mapping[str, Metadata], read: Collection[str]) -> list[Finding]:
    """Journals that were there once: merely made anew, they would let history be sent again."""
    called = {plan.partitions_of for plan in plans if plan.role is Role.CALLBACKS and plan.name in found}
    findings = []
    for plan in plans:
        if plan.role is Role.JOURNAL and plan.name not in found and plan.partitions_of in {*read, *called}:
            sign = "has committed offsets" if plan.partitions_of in read else "has a callbacks topic"
            what = f"the journal is missing although the group {sign} for {plan.partitions_of}: what was sent is not known any more"
            findings.append(Finding(plan.name, Severity.REFUSE, what, FORGOTTEN))
    return findings


def setting_findings(plans: Sequence[TopicPlan], found: Mapping[str, Metadata], configs: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Wrong or risky settings of topics that are there."""
    room = letter_room(plans, configs)
    findings: list[Finding] = []
    for plan in plans:
        config = configs.get(plan.name)
        if config is not None:
            wrong = [*_policy(plan, config), *_retention(plan, config), *_tuning(plan, config), *_safety(plan, found[plan.name], config)]
            wrong += _room(plan, config, room)
            findings.extend(Finding(plan.name, severity, what, remedy) for severity, what, remedy in wrong)
    return findings


Wrong = tuple[Severity, str, str]  # severity, what, remedy


def _policy(plan: TopicPlan, config: Mapping[str, str]) -> list[Wrong]:
    wanted = plan.config.get("cleanup.policy")
    policy = config.get("cleanup.policy", "")
    if wanted is None or set(policy.split(",")) == set(wanted.split(",")):
        return []
    return [(_gravity(plan), f"cleanup.policy is {policy}, must be {wanted}", _alter(plan, f"cleanup.policy=[{wanted}]"))]


def _retention(plan: TopicPlan, config: Mapping[str, str]) -> list[Wrong]:
    least = plan.least_retention_ms
    if least is None:
        return []
    wrong: list[Wrong] = []
    if 0 <= _number(config, "retention.ms") < least:
        what = f"retention.ms is {config['retention.ms']}, must be at least {least} ({plan.least_retention_is})"
        wrong.append((_gravity(plan), what, _alter(plan, f"retention.ms={least}")))
    if _number(config, "retention.bytes") >= 0:
        what = "retention.bytes bounds it by size: rows may go before their time"
        wrong.append((_gravity(plan), what, _alter(plan, "retention.bytes=-1")))
    return wrong


def _gravity(plan: TopicPlan) -> Severity:
    """A journal or callbacks topic that forgets too early lets history be sent again: nothing may begin on it."""
    return Severity.REFUSE if plan.role in REMEMBERING else Severity.FIX


def _tuning(plan: TopicPlan, config: Mapping[str, str]) -> list[Wrong]:
    if plan.role is not Role.JOURNAL:
        return []
    wrong: list[Wrong] = []
    if config.get("message.timestamp.type") != "LogAppendTime":
        wrong.append((Severity.FIX, "message.timestamp.type is not LogAppendTime", _alter(plan, "message.timestamp.type=LogAppendTime")))
    wrong += [
        (Severity.NOTE, f"{name} is {config.get(name)}, recommended {wanted}", _alter(plan, f"{name}={wanted}"))
        for name in ("segment.ms", "segment.bytes", "min.cleanable.dirty.ratio")
        if config.get(name) != (wanted := plan.config[name])
    ]
    return wrong


def _safety(plan: TopicPlan, here: Metadata, config: Mapping[str, str]) -> list[Wrong]:
    if plan.role is Role.INPUT:
        return []
    wrong: list[Wrong] = []
    if config.get("unclean.leader.election.enable") == "true":
        wrong.append(
            (Severity.FIX, "unclean leader elections may lose acknowledged rows", _alter(plan, "unclean.leader.election.enable=false"))
        )
    if here.replicas < 2:  # noqa: PLR2004 - one copy and no other
        grow = "raise it in place (kafka-reassign-partitions.sh); never delete it: it holds what was sent"
        remedy = grow if plan.role in REMEMBERING else "create it anew with topics.replication_factor 3"
        wrong.append((Severity.NOTE, "one replica: fine for trying out, not for production", remedy))
    elif _number(config, "min.insync.replicas") < 2:  # noqa: PLR2004 - the same
        wrong.append(
            (Severity.FIX, "min.insync.replicas is 1: an acknowledged row may be on one broker only", _alter(plan, "min.insync.replicas=2"))
        )
    return wrong


def _room(plan: TopicPlan, config: Mapping[str, str], least: int) -> list[Wrong]:
    if plan.role is not Role.DEAD_LETTERS or _number(config, "max.message.bytes") >= least:
        return []
    what = f"max.message.bytes is less than the inputs' plus {PRODUCER_ROOM}: large values would be left out"
    return [(Severity.FIX, what, _alter(plan, f"max.message.bytes={least}"))]


def _number(config: Mapping[str, str], name: str) -> int:
    try:
        return int(config.get(name, ""))
    except ValueError:
        return -1


def _alter(plan: TopicPlan, setting: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {plan.name} --add-config {setting}"
