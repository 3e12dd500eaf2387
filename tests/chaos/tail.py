"""Reading the journal and the group's commits as they grow: what compaction takes away later was seen before."""

from __future__ import annotations

import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, Message, TopicPartition

from connector.core import rows
from tests.proof.facts import Commit, JournalRow, RowKind

OFFSETS_TOPIC: Final = "__consumer_offsets"
_AT_ONCE: Final = 2000
_IDLE_S: Final = 0.05
_OFFSET_KEY: Final = (0, 1)  # versions of an offset commit's key; 2 is a group's


@dataclass(frozen=True, slots=True)
class Intent:
    """An INTENT that has just landed, and the process that wrote it."""

    lane: str
    pid: int


class Tail(threading.Thread):
    """Follows both topics from their beginning until ``close``. Everything public may be read from other threads."""

    def __init__(self, bootstrap_servers: str, group: str, input_topic: str, journal: str) -> None:
        super().__init__(name="tail", daemon=True)
        self.rows: list[JournalRow] = []
        self.commits: list[Commit] = []
        self.committed: Counter[int] = Counter()
        self.moved_at: dict[int, float] = {}  # lane → when a flow's row or a higher commit last came, monotonic
        self.holes = 0
        self.trouble: BaseException | None = None
        self.on_intent: Callable[[Intent], None] | None = None
        self._next: Counter[int] = Counter()
        self._owners: dict[str, int] = {}
        self._standing: dict[str, tuple[int, int]] = {}  # flow → (epoch, offset) of the row that stands
        self._open: set[str] = set()
        self._words: dict[Any, Any] = {}
        self._group, self._input, self._journal = group, input_topic, journal
        self._closing = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"{group}-tail",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "fetch.min.bytes": 4096,  # else it is woken, and the broker with it, for every single row
                "fetch.error.backoff.ms": 50,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
            }
        )

    @property
    def open_flows(self) -> int:
        """Flows whose standing row says that something is still to come."""
        return len(self._open)

    def begin(self, lanes: int, offsets_partitions: int) -> None:
        """Follow from the beginning."""
        places = [TopicPartition(self._journal, number, 0) for number in range(lanes)]
        self._consumer.assign([*places, *(TopicPartition(OFFSETS_TOPIC, number, 0) for number in range(offsets_partitions))])
        self.start()

    def run(self) -> None:
        """Until closed."""
        try:
            while not self._closing.is_set():
                messages = self._consumer.consume(_AT_ONCE, _IDLE_S)
                for message in messages:
                    if message.error() is None:
                        self._take(message)
                if len(messages) < _AT_ONCE and self.on_intent is None:
                    time.sleep(_IDLE_S)
        except BaseException as error:  # noqa: BLE001 - carried over to the run, which fails with it
            self.trouble = error
        finally:
            self._consumer.close()

    def close(self) -> None:
        """Stop following."""
        self._closing.set()
        if self.ident is not None:
            self.join(20)

    # ------------------------------------------------------------------------------------------------------------ one message

    def _take(self, message: Message) -> None:
        key, value = message.key() or b"", message.value()
        if value is None:
            return  # the group's coordinator forgets
        if message.topic() == self._journal:
            self._row(message, key, value)
        else:
            self._commit(message, key, value)

    def _row(self, message: Message, key: bytes, value: bytes) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        self.holes += offset - self._next[partition]
        self._next[partition] = offset + 1
        lane, at, head = self._same(f"{self._input}/{partition}"), float(message.timestamp()[1]), rows.head_of(value)
        if head.kind is not rows.Kind.FLOW:
            kind = RowKind(head.kind.name.lower())
            if kind is RowKind.CLAIM:
                self._owners[lane] = int(_body(value)["host"].rpartition("/")[2])
            self.rows.append(JournalRow(lane, offset, at, kind, head.epoch))
            return
        flow = self._same(rows.flow_id_of(key))
        self.moved_at[partition] = time.monotonic()
        state, attempts = head.state.name, self._same(_attempts(value)) if head.attempt else ()
        self.rows.append(JournalRow(lane, offset, at, RowKind.FLOW, head.epoch, flow, state, head.attempt, head.input_offset, attempts))
        if (head.epoch, offset) >= self._standing.get(flow, (-1, -1)):
            self._standing[flow] = (head.epoch, offset)
            (self._open.discard if head.finished else self._open.add)(flow)
        if state == "INTENT" and (hear := self.on_intent) is not None:
            hear(Intent(lane, self._owners.get(lane, 0)))

    def _same(self, value: Any) -> Any:  # noqa: ANN401 - any hashable, given back as its first equal
        return self._words.setdefault(value, value)

    def _commit(self, message: Message, key: bytes, value: bytes) -> None:
        (version,) = struct.unpack_from(">h", key)
        if version not in _OFFSET_KEY:
            return
        group, place = _text(key, 2)
        topic, place = _text(key, place)
        if (group, topic) != (self._group, self._input):
            return
        (partition,), (offset,) = struct.unpack_from(">i", key, place), struct.unpack_from(">q", value, 2)
        self.commits.append(Commit(self._same(f"{topic}/{partition}"), offset, float(message.timestamp()[1])))
        if offset > self.committed[partition]:
            self.committed[partition], self.moved_at[partition] = offset, time.monotonic()


def _body(value: bytes) -> Any:  # noqa: ANN401 - JSON
    return orjson.loads(value[rows._HEAD.size :])


def _attempts(value: bytes) -> tuple[tuple[int, str], ...]:
    return tuple((line[0], line[2]) for line in _body(value)["attempts"])


def _text(raw: bytes, place: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", raw, place)
    return raw[place + 2 : place + 2 + length].decode(), place + 2 + length
