"""Settings to librdkafka: one frozen ``KafkaOptions``, and the configurations of producer, group member, reader and admin client.

Foreign errors are named here once: ``unavailable`` makes a ``KafkaUnavailable`` of whatever librdkafka raised.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connector.errors import KafkaUnavailable, NoSuchLog
from connector.logs import get_logger
from connector.metrics import Metrics

GroupProtocol = Literal["classic", "consumer"]
StartFrom = Literal["earliest", "latest"]
Property = str | int | float | bool
Config = dict[str, Any]  # librdkafka's properties, and callbacks

_LOG = get_logger(__name__)
_LIBRARY: Final = logging.getLogger("librdkafka")
_QUIET_S: Final = 5.0


class Sparing:
    """At most one line of a kind in ``seconds``: every client tells of a broker that is away several times a second."""

    def __init__(self, seconds: float = _QUIET_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last: dict[str, float] = {}

    def lets_through(self, kind: str) -> bool:
        """Whether a line of this kind is due. Kinds are few: librdkafka's facilities, its error names."""
        now = self._clock()
        due = kind not in self._last or now - self._last[kind] >= self._seconds
        if due:
            self._last[kind] = now
        return due

    def filter(self, record: logging.LogRecord) -> bool:
        """For a logger: librdkafka's lines begin with their facility (``FAIL``)."""
        return self.lets_through(record.getMessage().partition(" ")[0])


_LIBRARY.addFilter(Sparing())

_PRODUCER_OWNS: Final = frozenset(
    {
        "acks",
        "request.required.acks",
        "enable.idempotence",
        "enable.gapless.guarantee",
        "retries",
        "message.send.max.retries",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "message.timeout.ms",
        "delivery.timeout.ms",
        "delivery.report.only.error",
        "partitioner",
        "transactional.id",
        "transaction.timeout.ms",
    }
)
_CONSUMER_OWNS: Final = frozenset(
    {
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "partition.assignment.strategy",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "auto.offset.reset",
        "enable.auto.commit",
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "enable.auto.offset.store",
        "offset.store.method",
        "enable.partition.eof",
        "isolation.level",
        "allow.auto.create.topics",
    }
)
_CLIENT_OWNS: Final = frozenset(
    {"bootstrap.servers", "metadata.broker.list", "error_cb", "log_cb", "logger", "stats_cb", "throttle_cb", "on_commit", "on_delivery"}
)

# librdkafka's own codes, which the binding names with an underscore.
PARTITION_EOF: Final = KafkaError._PARTITION_EOF  # noqa: SLF001
FATAL: Final = KafkaError._FATAL  # noqa: SLF001
CONNECTION_FAILED: Final = KafkaError._TRANSPORT  # noqa: SLF001
MESSAGE_TIMED_OUT: Final = KafkaError._MSG_TIMED_OUT  # noqa: SLF001
PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001
NO_SUCH_LOG: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    }
)

_SILENT: Final = frozenset(
    {
        CONNECTION_FAILED,
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    }
)
_PLAIN: Final[Mapping[int, str]] = {
    CONNECTION_FAILED: "no connection",
    KafkaError._TIMED_OUT: "no answer in time",  # noqa: SLF001
    KafkaError._RESOLVE: "the host name has no address",  # noqa: SLF001
}

MESSAGE_TIMEOUT_MS: Final = 60_000
"""At least 30 s: a shorter one turns a broker's restart into dropped lanes."""
MAX_REQUEST_BYTES: Final = 64_000_000
"""What the client lets through; the topic's own limit decides. Batches stay within ``batch.size`` (1 MB), as every topic takes them."""


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """The ``kafka`` section of the settings. ``properties`` may hold passwords: never printed."""

    bootstrap_servers: str
    group_id: str = "failover-connector"
    group_protocol: GroupProtocol = "classic"
    session_timeout_ms: int = 10_000
    start_from: StartFrom = "earliest"
    properties: Mapping[str, Property] = field(default_factory=dict, repr=False)
    client_id: str = "failover-connector"


def owned_properties() -> frozenset[str]:
    """Properties of librdkafka that ``kafka.properties`` may not set, since the lane protocol rests on them (their aliases included)."""
    return _PRODUCER_OWNS | _CONSUMER_OWNS | _CLIENT_OWNS


def journal_topic(group_id: str, notifications: str) -> str:
    """Name of the journal of an input topic."""
    return f"{group_id}.{notifications}.journal"


def callbacks_topic(group_id: str, notifications: str) -> str:
    """Name of the internal callbacks topic of an input topic."""
    return f"{group_id}.{notifications}.callbacks"


def control_topic(group_id: str) -> str:
    """Name of the group's control topic (pause, resume, rollouts)."""
    return f"{group_id}.control"


def client_config(options: KafkaOptions, error_cb: Callable[[KafkaError], None] | None = None) -> Config:
    """What every client has in common, without owned properties (the settings refuse them); pass ``logger=library_logger()`` beside it."""
    config: Config = {
        "client.id": options.client_id,
        "reconnect.backoff.max.ms": 1_000,  # by default 10 s: a broker that is back would not be seen for so long
        **{name: value for name, value in options.properties.items() if name not in owned_properties()},
        "bootstrap.servers": options.bootstrap_servers,
        "log.connection.close": False,
    }
    return config | ({"error_cb": error_cb} if error_cb else {})


def producer_config(options: KafkaOptions, error_cb: Callable[[KafkaError], None]) -> Config:
    """The one idempotent producer: ``acks=all``, rows of a partition land in call order or not at all."""
    tunable: Config = {"linger.ms": 1, "compression.type": "lz4", "message.max.bytes": MAX_REQUEST_BYTES}
    return (
        tunable
        | client_config(options, error_cb)
        | {
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": MESSAGE_TIMEOUT_MS,
            "partitioner": "murmur2_random",  # used only where no partition is given (dead letters): as Java's clients do
        }
    )


def group_config(options: KafkaOptions, error_cb: Callable[[KafkaError], None]) -> Config:
    """The member of the consumer group on the input topics."""
    tunable: Config = {"queued.min.messages": 2_000, "queued.max.messages.kbytes": 16_384, "fetch.wait.max.ms": 100}
    classic: Config = {
        "session.timeout.ms": options.session_timeout_ms,
        # Only by its heartbeat's answer a member hears that another has gone and lanes are free.
        "heartbeat.interval.ms": min(max(options.session_timeout_ms // 4, 200), 1000),
        "partition.assignment.strategy": "cooperative-sticky",
    }
    return (
        tunable
        | client_config(options, error_cb)
        | {
            "group.id": options.group_id,
            "group.protocol": options.group_protocol,
            "auto.offset.reset": "earliest",  # for an offset that retention took away; first starts are decided by ``start_from``
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
        }
        | (classic if options.group_protocol == "classic" else {})
    )


def reader_config(options: KafkaOptions, *, group_id: str | None = None, error_cb: Callable[[KafkaError], None] | None = None) -> Config:
    """A consumer that is assigned by hand and never joins a group; reads to the high watermark and reports each log's end."""
    # The default of fetch.queue.backoff.ms is 1 s: so long a log that filled the queue is left alone, by the next read of it, too.
    tunable: Config = {
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.error.backoff.ms": 100,
        "fetch.queue.backoff.ms": 10,
    }
    return (
        tunable
        | client_config(options, error_cb)
        | {
            "group.id": group_id or f"{options.group_id}.reader",  # librdkafka wants one; nothing is joined or committed under it
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
            "allow.auto.create.topics": False,
        }
    )


def library_logger() -> logging.Logger:
    """Where librdkafka's own lines go."""
    return _LIBRARY


def error_counter(metrics: Metrics) -> Callable[[KafkaError], None]:
    """Make an ``error_cb``: each is counted by name, not each is logged. librdkafka goes on trying by itself."""
    log = Sparing()

    def report(error: KafkaError) -> None:
        metrics.kafka_errors.labels(error.name()).inc()
        if error.fatal() or log.lets_through(error.name()):
            _LOG.warning("kafka_error", code=error.name(), detail=error.str(), fatal=error.fatal())

    return report


def error_of(exception: KafkaException) -> KafkaError | None:
    """The ``KafkaError`` inside an exception of librdkafka's, if there is one."""
    first = exception.args[0] if exception.args else None
    return first if isinstance(first, KafkaError) else None


def is_begun_anew(consumer: Consumer, topic: str, partition: int, position: int) -> bool:
    """Whether a log ends before what was read of it (its topic was deleted and created anew, or cut off): its offsets count anew.

    librdkafka has then gone to its start by itself; anything else below the position is a repetition. Asks no broker.
    """
    return 0 <= consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)[1] < position


def unavailable(
    doing: str, cause: BaseException | KafkaError | None, servers: str = "", *, waited_s: float | None = None
) -> KafkaUnavailable:
    """Map a foreign error: ``doing`` says what was asked of the broker, ``servers`` where it was looked for.

    ``waited_s``: how long an answer was waited for by somebody whom the broker has answered before: it is there, only silent about this.
    """
    error = error_of(cause) if isinstance(cause, KafkaException) else cause
    said = f"{doing}: {_words(error)}"
    if isinstance(error, KafkaError) and error.code() in NO_SUCH_LOG:
        return NoSuchLog(f"{said} (at {servers})" if servers else said)
    if not servers:
        return KafkaUnavailable(said)
    silent = not isinstance(error, KafkaError) or error.code() in _SILENT
    if silent and waited_s is not None:
        return KafkaUnavailable(f"the broker did not answer: {doing}, within {waited_s:g} s (at {servers})")
    return KafkaUnavailable(f"no broker answers at {servers} (kafka.bootstrap_servers): {said}" if silent else f"{said} (at {servers})")


def _words(error: BaseException | KafkaError | None) -> str:
    """Its name, but plain words for the usual ways not to reach a broker."""
    if not isinstance(error, KafkaError):
        return type(error).__name__
    if "connection refused" in str(error.str()).lower():
        return "connection refused"
    return _PLAIN.get(error.code(), error.name())
