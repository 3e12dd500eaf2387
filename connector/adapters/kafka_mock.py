"""librdkafka's mock cluster in this process: a Kafka without a server, for the demo and quick tests.

It knows groups, offsets, headers and other processes; it has no compaction and no retention by time (5 MB stay per partition), takes no
CreateTopics (``make_topic`` does it from the inside) and has no topic configurations. Never evidence for crash safety.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Final, Self

from confluent_kafka import cimpl

from connector.errors import KafkaUnavailable

_PRODUCER: Final = 0
_ERROR_BYTES: Final = 256
_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_SIGNATURES: Final[dict[str, tuple[type | None, list[type]]]] = {
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (_INT, [_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t]),
    "rd_kafka_new": (_POINTER, [_INT, _POINTER, _TEXT, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, _INT]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, [_POINTER]),
    "rd_kafka_mock_topic_create": (_INT, [_POINTER, _TEXT, _INT, _INT]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_POINTER, ctypes.c_int32]),
}


class MockCluster:
    """``with MockCluster() as cluster:`` … ``cluster.bootstrap_servers``, ``cluster.make_topic("notifications", 4)``."""

    def __init__(self, brokers: int = 1) -> None:
        """Raises KafkaUnavailable where this platform's librdkafka cannot be reached."""
        self._library = _library()
        reason = ctypes.create_string_buffer(_ERROR_BYTES)
        settings = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(settings, b"log_level", b"0", reason, _ERROR_BYTES)
        self._client = self._library.rd_kafka_new(_PRODUCER, settings, reason, _ERROR_BYTES)
        if not self._client:
            raise KafkaUnavailable(f"mock cluster: {reason.value.decode(errors='replace')}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, brokers)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._replicas = brokers
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def make_topic(self, name: str, partitions: int) -> None:
        """Create a topic before its first use (first use alone would give it 4 partitions). Raises KafkaUnavailable if it is there."""
        error = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, self._replicas)
        if error:
            raise KafkaUnavailable(f"mock cluster: topic {name} cannot be made (code {error})")

    def close(self) -> None:
        """End it; what it holds is gone."""
        if self._cluster is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _library() -> ctypes.CDLL:
    """The librdkafka that the binding itself is linked with: looking a name up in the binding finds it."""
    try:
        library = ctypes.CDLL(cimpl.__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as cause:
        raise KafkaUnavailable("mock cluster: this build of confluent-kafka does not export it; give --kafka HOST:PORT") from cause
    return library
