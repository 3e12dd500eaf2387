"""What the settings become for librdkafka."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from hypothesis import given
from hypothesis import strategies as st

from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_client import (
    Config,
    KafkaOptions,
    Sparing,
    error_counter,
    group_config,
    owned_properties,
    producer_config,
    reader_config,
    unavailable,
)
from connector.adapters.kafka_mock import MockCluster
from connector.adapters.kafka_outbox import partition_of
from connector.errors import KafkaUnavailable
from connector.metrics import Metrics
from connector.ports import LaneId

REPORT = error_counter(Metrics())


def configs(options: KafkaOptions) -> list[Config]:
    """Every configuration there is."""
    return [producer_config(options, REPORT), group_config(options, REPORT), reader_config(options)]


@given(st.dictionaries(st.sampled_from(sorted(owned_properties())), st.just("theirs")))
def test_owned_properties_never_get_through(properties: dict[str, str]) -> None:
    """What the protocol rests on is the connector's, whatever the properties say (settings refuse them before)."""
    for config in configs(KafkaOptions("host:1", "group", properties=properties)):
        assert "theirs" not in config.values()


def test_every_setting_is_owned_or_may_be_tuned() -> None:
    """Each property we fix is refused in ``kafka.properties``; the others are defaults that a user's value replaces."""
    plain = KafkaOptions("host:1", "group")
    for number, config in enumerate(configs(plain)):
        free = {name: "tuned" for name in config if name not in owned_properties() and name != "log.connection.close"}
        tuned = configs(KafkaOptions("host:1", "group", properties=dict(free)))[number]
        assert {name: tuned[name] for name in free} == free


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_librdkafka_takes_the_configurations(protocol: str) -> None:
    """Both group protocols and the producer are valid as they are."""
    options = KafkaOptions("127.0.0.1:1", "group", protocol)  # type: ignore[arg-type]
    Producer(producer_config(options, REPORT) | {"log_level": 0})
    for config in (group_config(options, REPORT), reader_config(options)):
        Consumer(config | {"log_level": 0}).close()


def test_a_broker_that_is_back_is_seen_within_about_a_second() -> None:
    """By every client; the library would wait for up to 10 s."""
    assert {config["reconnect.backoff.max.ms"] for config in configs(KafkaOptions("host:1", "group"))} == {1000}


def test_properties_never_print() -> None:
    """Passwords are among them."""
    assert "hunter2" not in repr(KafkaOptions("host:1", properties={"sasl.password": "hunter2"}))


@given(st.text(min_size=1), st.integers(0, 1000), st.integers(1, 64))
def test_a_lane_has_one_output_partition(topic: str, partition: int, count: int) -> None:
    """Within the topic's partitions, and the same every time."""
    lane = LaneId(topic, partition)
    assert partition_of(lane, count) == partition_of(LaneId(topic, partition), count)
    assert 0 <= partition_of(lane, count) < count


def test_the_output_partition_is_the_same_in_every_release() -> None:
    """Pinned: another hash would tear the order of flows that are under way."""
    assert [partition_of(LaneId("notifications", number), 12) for number in range(6)] == [2, 8, 6, 8, 7, 9]


def test_a_broker_that_is_away_does_not_flood_the_log() -> None:
    """A kind of line is written at once, then once in five seconds however often it comes; other kinds do not wait for it."""
    now = [100.0]
    sparing = Sparing(5.0, lambda: now[0])
    assert sparing.lets_through("FAIL")
    assert not any(sparing.lets_through("FAIL") for _ in range(100))
    assert sparing.lets_through("GETPID")
    now[0] += 5
    assert [sparing.lets_through("FAIL"), sparing.lets_through("FAIL")] == [True, False]


def test_a_cluster_that_is_away_is_named_by_its_address() -> None:
    """Whoever mistyped the address reads it in the error, and the setting it stands in; another refusal is not called silence."""
    topics = KafkaTopics(KafkaOptions("127.0.0.1:1"), 1.0)
    with pytest.raises(
        KafkaUnavailable, match=r"^no broker answers at 127\.0\.0\.1:1 \(kafka\.bootstrap_servers\): listing topics: connection refused$"
    ):
        topics.metadata()
    denied = unavailable("listing topics", KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), "broker:9092")
    assert str(denied) == "listing topics: TOPIC_AUTHORIZATION_FAILED (at broker:9092)"
    assert str(unavailable("reading", TimeoutError())) == "reading: TimeoutError"


@pytest.mark.parametrize("cause", [TimeoutError(), KafkaException(KafkaError(KafkaError._TIMED_OUT))])
def test_a_broker_that_is_silent_about_one_thing_is_not_called_away(cause: BaseException) -> None:
    """It has answered before: the error says what it did not answer, and how long that was waited for."""
    silent = unavailable("reading topic settings", cause, "broker:9092", waited_s=15.0)
    assert str(silent) == "the broker did not answer: reading topic settings, within 15 s (at broker:9092)"


def test_a_cluster_without_settings_is_not_away() -> None:
    """librdkafka's mock cluster tells its topics, and never answers a question about their settings."""
    with MockCluster() as cluster:
        cluster.make_topic("t", 1)
        topics = KafkaTopics(KafkaOptions(cluster.bootstrap_servers), 1.0)
        assert "t" in topics.metadata()
        with pytest.raises(KafkaUnavailable, match=r"^the broker did not answer: reading topic settings, within 1 s \(at "):
            topics.configs(["t"])


@pytest.mark.parametrize(("session_ms", "heartbeat_ms"), [(600, 200), (3000, 750), (10_000, 1000), (45_000, 1000)])
def test_a_member_hears_within_a_second_that_lanes_are_free(session_ms: int, heartbeat_ms: int) -> None:
    """Heartbeats come each second, or four times a session: a lane must not wait for its new owner's next one."""
    config = group_config(KafkaOptions("b", session_timeout_ms=session_ms), lambda _: None)
    assert config["heartbeat.interval.ms"] == heartbeat_ms
