"""What is wrong with topics, from what the broker says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.adapters.kafka_topics import (
    Finding,
    Metadata,
    Role,
    Severity,
    TopicPlan,
    lost_journals,
    plan_topics,
    setting_findings,
    structure_findings,
)

HOUR_MS = 3_600_000
PLANS = plan_topics(
    "g",
    ["in"],
    outputs=["sends", "statuses"],
    dead_letters="dead",
    suppressions="stop",
    dedup_window_ms=72 * HOUR_MS,
    longest_flow_ms=HOUR_MS,
)
SOUND = {"max.message.bytes": "1048588", "min.insync.replicas": "2", "unclean.leader.election.enable": "false"}


def shown() -> dict[str, Metadata]:
    """Metadata of topics as planned, three replicas each."""
    return {plan.name: Metadata(1 if plan.role is Role.CONTROL else 6, 3) for plan in PLANS}


def configured() -> dict[str, dict[str, str]]:
    """Settings of topics as planned."""
    room = {"dead": {"max.message.bytes": "2000000"}}
    return {plan.name: {**SOUND, "cleanup.policy": "delete", **plan.config, **room.get(plan.name, {})} for plan in PLANS}


def findings(**changed: str) -> list[Finding]:
    """Findings after one topic's settings were changed (names with ``__`` for dots)."""
    name = changed.pop("topic")
    configs = configured()
    configs[name] |= {key.replace("__", "."): value for key, value in changed.items()}
    return setting_findings(PLANS, shown(), configs)


def test_the_journal_outlives_dedup_and_flows() -> None:
    """Retention = dedup window + longest flow + 24 h; callbacks at least the dedup window."""
    by_role = {plan.role: plan for plan in PLANS}
    assert by_role[Role.JOURNAL].config["retention.ms"] == str((72 + 1 + 24) * HOUR_MS)
    assert by_role[Role.CALLBACKS].config["retention.ms"] == str(72 * HOUR_MS)
    assert (by_role[Role.JOURNAL].name, by_role[Role.CALLBACKS].name, by_role[Role.CONTROL].name) == (
        "g.in.journal",
        "g.in.callbacks",
        "g.control",
    )


def test_topics_as_planned_have_no_findings() -> None:
    """Nothing is told of what is right."""
    assert structure_findings(PLANS, shown()) == []
    assert setting_findings(PLANS, shown(), configured()) == []


@pytest.mark.parametrize("missing", [plan.name for plan in PLANS])
def test_a_missing_topic_refuses_the_start(missing: str) -> None:
    """Each topic is needed; the remedy is the command that makes it (a journal's only while nothing beside it was made)."""
    found = shown()
    del found[missing]
    if missing == "g.in.journal":
        del found["g.in.callbacks"]
    (finding,) = [finding for finding in structure_findings(PLANS, found) if finding.topic == missing]
    assert finding.severity is Severity.REFUSE
    assert finding.remedy == "failover-connector topics create"


@pytest.mark.parametrize("missing", [("g.in.journal",), ("g.in.journal", "g.in.callbacks")])
def test_a_journal_that_was_there_once_is_not_simply_made_anew(missing: tuple[str, ...]) -> None:
    """Committed offsets, or a callbacks topic, tell of it: the remedy is the command by which a person takes it upon himself."""
    found = {name: metadata for name, metadata in shown().items() if name not in missing}
    told = {finding.topic: finding for finding in structure_findings(PLANS, found, frozenset({"in"}))}
    assert set(told) == set(missing)
    assert told["g.in.journal"].severity is Severity.REFUSE
    assert "topics begin" in told["g.in.journal"].remedy
    assert "committed" in told["g.in.journal"].what
    beside = [finding.topic for finding in lost_journals(PLANS, found, frozenset())]
    assert beside == (["g.in.journal"] if "g.in.callbacks" in found else [])


def test_a_new_input_of_a_group_at_work_is_no_loss() -> None:
    """Another input's committed offsets and callbacks say nothing about this one's journal."""
    plans = plan_topics("g", ["in", "more"], outputs=[], dead_letters="dead", dedup_window_ms=HOUR_MS, longest_flow_ms=HOUR_MS)
    assert lost_journals(plans, shown() | {"more": Metadata(3, 3)}, frozenset({"in"})) == []


@pytest.mark.parametrize(("count", "remedy"), [(5, "topics create --grow"), (7, "delete g.in.journal")])
def test_other_partition_counts_refuse_the_start(count: int, remedy: str) -> None:
    """Fewer partitions than the input can be grown, more cannot be taken back."""
    (finding,) = structure_findings(PLANS, shown() | {"g.in.journal": Metadata(count, 3)})
    assert (finding.topic, finding.severity) == ("g.in.journal", Severity.REFUSE)
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"topic": "g.in.journal", "cleanup__policy": "delete"}, Severity.REFUSE),
        ({"topic": "g.in.journal", "retention__ms": str(96 * HOUR_MS)}, Severity.REFUSE),
        ({"topic": "g.in.journal", "retention__bytes": "1000000000"}, Severity.REFUSE),
        ({"topic": "g.in.journal", "message__timestamp__type": "CreateTime"}, Severity.FIX),
        ({"topic": "g.in.journal", "segment__ms": "1000"}, Severity.NOTE),
        ({"topic": "g.in.journal", "unclean__leader__election__enable": "true"}, Severity.FIX),
        ({"topic": "g.in.callbacks", "retention__ms": "1000"}, Severity.REFUSE),
        ({"topic": "g.control", "cleanup__policy": "delete"}, Severity.FIX),
        ({"topic": "sends", "cleanup__policy": "compact"}, Severity.FIX),
        ({"topic": "sends", "min__insync__replicas": "1"}, Severity.FIX),
        ({"topic": "dead", "max__message__bytes": "1048588"}, Severity.FIX),
        ({"topic": "in", "max__message__bytes": "10000000"}, Severity.FIX),
    ],
)
def test_each_wrong_setting_is_one_finding(changed: dict[str, str], severity: Severity) -> None:
    """Each is told once, with a remedy that names the setting or the topic."""
    (finding,) = findings(**changed)
    assert finding.severity is severity
    assert finding.topic in finding.remedy


@pytest.mark.parametrize("fine", [{"retention__ms": "-1"}, {"cleanup__policy": "delete,compact"}, {"retention__ms": str(10**13)}])
def test_more_than_needed_is_fine(fine: dict[str, str]) -> None:
    """Keeping for ever, or the policies in another order, is no finding."""
    assert findings(topic="g.in.journal", **fine) == []


def test_one_replica_is_only_a_note() -> None:
    """A laptop has one broker: that is told, not refused."""
    found = {name: replace(metadata, replicas=1) for name, metadata in shown().items()}
    told = setting_findings(PLANS, found, configured())
    assert {finding.severity for finding in told} == {Severity.NOTE}


def test_a_topic_may_stand_for_itself() -> None:
    """A plan without a partition count leaves it to the broker."""
    assert structure_findings((TopicPlan("any", Role.OUTPUT),), {"any": Metadata(17, 3)}) == []
