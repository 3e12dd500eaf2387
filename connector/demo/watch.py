"""Reading the output topics as any consumer would, into ``Seen``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connector.adapters.encode import decode_event
from connector.adapters.kafka_client import PARTITION_EOF
from connector.adapters.kafka_topics import TopicPlan
from connector.demo.seen import FlowSeen, Letter, Seen
from connector.settings import Settings

_AT_ONCE: Final = 500
_END_S: Final = 10.0


class Watcher:
    """A consumer of its own on sends, statuses and dead letters, from their beginning. ``told`` hears of every flow that changed."""

    def __init__(self, settings: Settings, plans: tuple[TopicPlan, ...], told: Callable[[FlowSeen], None]) -> None:
        self.seen = Seen()
        self._topics = settings.topics
        self._told = told
        counts = {plan.name: plan.partitions for plan in plans}
        names = (self._topics.sends, self._topics.statuses, self._topics.dead_letters)
        self._places = [TopicPartition(name, number, 0) for name in names for number in range(counts[name])]
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka.bootstrap_servers,
                "group.id": f"{settings.kafka.group_id}.watch",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self._consumer.assign(self._places)

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def read(self) -> int:
        """Take what has come so far, without waiting. Gives how many events that were."""
        taken = 0
        for message in self._consumer.consume(_AT_ONCE, 0):
            error: KafkaError | None = message.error()
            if error is None:
                self._take(message)
                taken += 1
            elif error.code() != PARTITION_EOF and error.fatal():
                raise RuntimeError(error.str())
        return taken

    def is_at_end(self) -> bool:
        """Whether everything that stands in the topics now was read. Asks the broker."""
        positions = {(one.topic, one.partition): one.offset for one in self._consumer.position(self._places)}
        for place in self._places:
            _, end = self._consumer.get_watermark_offsets(place, timeout=_END_S)
            if end > max(0, positions[place.topic, place.partition]):
                return False
        return True

    def _take(self, message: Message) -> None:
        value = message.value()
        if message.topic() == self._topics.dead_letters:
            headers = _headers(message)
            self.seen.letters.append(Letter(headers.get("failover.flow_id", ""), headers.get("failover.reason", ""), value))
            return
        body = decode_event(value or b"")
        self._told(self.seen.send(body) if message.topic() == self._topics.sends else self.seen.status(body))


def _headers(message: Message) -> Mapping[str, str]:
    return {header[0]: header[1].decode(errors="replace") for header in message.headers() or () if isinstance(header[1], bytes)}
