"""Making topics on a real broker, and what the checks say of them."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_client import KafkaOptions
from connector.adapters.kafka_topics import Role, Severity, TopicPlan, journal_config, plan_topics
from connector.errors import ConfigError, KafkaUnavailable
from tests.conftest import NewTopicName
from tests.kafka import Broker

DAY_MS = 86_400_000


def plans(stem: str) -> tuple[TopicPlan, ...]:
    """A whole connector's topics under one stem."""
    return plan_topics(
        f"group-{stem}",
        [f"{stem}.in"],
        outputs=[f"{stem}.sends", f"{stem}.statuses"],
        dead_letters=f"{stem}.dead",
        suppressions=f"{stem}.suppressions",
        dedup_window_ms=3 * DAY_MS,
        longest_flow_ms=DAY_MS,
    )


@pytest.fixture
def stem() -> str:
    """A name nobody else has."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topics(broker: Broker) -> KafkaTopics:
    """The admin client."""
    return KafkaTopics(KafkaOptions(broker.bootstrap_servers))


@pytest.mark.broker
def test_created_topics_are_as_they_must_be(topics: KafkaTopics, topic: NewTopicName, stem: str) -> None:
    """With an input of 3 partitions: all others are made, journals and callbacks with 3, and verify finds notes at most."""
    topic(name=f"{stem}.in", partitions=3)
    wanted = plans(stem)
    created = topics.create(wanted, replication_factor=1)
    assert set(created.created) == {plan.name for plan in wanted} - {f"{stem}.in"}
    counts = topics.partition_counts([plan.name for plan in wanted])
    assert all(counts[plan.name] == 3 for plan in wanted if plan.role in {Role.JOURNAL, Role.CALLBACKS, Role.INPUT})
    topics.require(wanted)
    assert [finding for finding in topics.verify(wanted) if finding.severity is not Severity.NOTE] == []
    assert topics.create(wanted).created == ()


@pytest.mark.broker
@pytest.mark.parametrize("largest", [None, "5000000"])
def test_dead_letters_hold_the_largest_input(topics: KafkaTopics, topic: NewTopicName, stem: str, largest: str | None) -> None:
    """Created beside an input of the broker's default size or a larger one: 64 kB more than that, for the headers."""
    topic(name=f"{stem}.in", config={} if largest is None else {"max.message.bytes": largest})
    topics.create(plans(stem), replication_factor=1)
    sizes = {name: int(config["max.message.bytes"]) for name, config in topics.configs([f"{stem}.in", f"{stem}.dead"]).items()}
    assert sizes[f"{stem}.dead"] == sizes[f"{stem}.in"] + 64_000


@pytest.mark.broker
def test_a_grown_input_refuses_until_grown(topics: KafkaTopics, topic: NewTopicName, stem: str) -> None:
    """More input partitions than journal partitions: refused with the remedy, and fine after ``--grow``."""
    wanted = plans(stem)
    topic(name=f"{stem}.in", partitions=3)
    topic(name=f"group-{stem}.{stem}.in.journal", partitions=2, config=journal_config(5 * DAY_MS))
    topics.create(wanted, replication_factor=1)
    with pytest.raises(ConfigError, match="topics create --grow"):
        topics.require(wanted)
    assert topics.create(wanted, grow=True).grown == (f"group-{stem}.{stem}.in.journal",)
    topics.require(wanted)


@pytest.mark.broker
def test_wrong_settings_are_found(topics: KafkaTopics, topic: NewTopicName, stem: str) -> None:
    """A journal that forgets too early or by size, with other policy and timestamps, is told setting by setting."""
    topic(name=f"{stem}.in")
    journal = f"group-{stem}.{stem}.in.journal"
    topic(name=journal, config={"retention.ms": "1000", "retention.bytes": "1000000"})
    topics.create(plans(stem), replication_factor=1)
    found = " ".join(
        finding.what for finding in topics.verify(plans(stem)) if finding.topic == journal and finding.severity is not Severity.NOTE
    )
    for word in ("cleanup.policy", "retention.ms", "retention.bytes", "message.timestamp.type"):
        assert word in found


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["journal", "callbacks"])
def test_what_must_remember_and_may_forget_refuses_the_start(topics: KafkaTopics, topic: NewTopicName, stem: str, kind: str) -> None:
    """Retention below what the dedup window and the flows need: nothing begins on it, and the setting to alter is named."""
    topic(name=f"{stem}.in")
    topic(name=f"group-{stem}.{stem}.in.journal", config=journal_config(4 * DAY_MS) if kind == "journal" else {})
    if kind == "callbacks":
        topic(name=f"group-{stem}.{stem}.in.callbacks", config={"retention.ms": "1000"})
    topics.create(plans(stem), replication_factor=1)
    with pytest.raises(ConfigError, match=rf"retention\.ms .*\n.*hint: kafka-configs.sh .*{kind}"):
        topics.require(plans(stem))


@pytest.mark.broker
def test_a_lost_journal_is_not_made_anew(topics: KafkaTopics, topic: NewTopicName, stem: str) -> None:
    """Deleted while the group has committed offsets: neither created nor started on, and verify tells; only ``anew`` makes it."""
    wanted, journal = plans(stem), f"group-{stem}.{stem}.in.journal"
    topic(name=f"{stem}.in", partitions=2)
    topics.create(wanted, replication_factor=1)
    committed = [TopicPartition(f"{stem}.in", 1, 7)]
    asked = topics._admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(f"group-{stem}", committed)])
    asked[f"group-{stem}"].result(20)
    topics.require(wanted)
    deleted = {journal, f"group-{stem}.{stem}.in.callbacks"}
    for name in deleted:
        topics._admin.delete_topics([name])[name].result(20)
    while deleted & set(topics.metadata()):
        pass
    of_group = KafkaTopics(KafkaOptions(topics._servers, f"group-{stem}"))
    with pytest.raises(ConfigError, match="topics begin"):
        of_group.create(wanted)
    with pytest.raises(ConfigError, match="topics begin"):
        of_group.require(wanted)
    assert journal not in topics.metadata()
    told = [finding for finding in of_group.verify(wanted) if finding.topic == journal]
    assert [(finding.severity, "committed offsets" in finding.what) for finding in told] == [(Severity.REFUSE, True)]
    assert journal in of_group.create(wanted, replication_factor=1, anew=True).created
    of_group.require(wanted)


@pytest.mark.broker
def test_the_largest_message_is_known_where_settings_can_be_read(topics: KafkaTopics, topic: NewTopicName) -> None:
    """As the topic says; unknown where nobody can tell, which is no error."""
    name = topic(config={"max.message.bytes": "20000"})
    while name not in topics.metadata():
        pass
    assert topics.largest_message(name) == 20_000
    assert topics.largest_message(f"nobody-{uuid.uuid4().hex}") is None


@pytest.mark.broker
def test_ids_tell_a_topic_made_anew(topics: KafkaTopics, topic: NewTopicName) -> None:
    """Every topic has an id of its own."""
    one, two = topic(), topic()
    ids = topics.ids([one, two])
    assert ids[one] != ids[two]
    assert topics.ids([one])[one] == ids[one]


def test_a_broker_that_is_away_is_unavailable() -> None:
    """No answer is KafkaUnavailable, which callers repeat; it is never a verdict on the topics."""
    with pytest.raises(KafkaUnavailable):
        KafkaTopics(KafkaOptions("127.0.0.1:1"), 0.2).require(plans("x"))
