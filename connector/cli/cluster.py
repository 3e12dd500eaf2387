"""From the settings to the cluster: how to reach it, and which topics must be there."""

from __future__ import annotations

from connector.adapters.kafka_client import KafkaOptions
from connector.adapters.kafka_topics import TopicPlan, plan_topics
from connector.settings import Settings, milliseconds


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
