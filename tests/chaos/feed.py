"""Producing the records at a steady rate, whatever happens to the workers or the broker."""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.chaos.story import NUMBER, story

_REPEAT_AFTER = 40  # records later
_POLL_S = 0.005


class Feed(threading.Thread):
    """``produced_ms`` holds when each number was first produced; ``ends`` the next offset of each lane, as far as acknowledged."""

    def __init__(self, bootstrap_servers: str, topic: str, seed: int, rate: float, wanted: Callable[[], bool | None]) -> None:
        """``wanted``: go on? None: for good no more."""
        super().__init__(name="feed", daemon=True)
        self.produced_ms = array("q")
        self.ends: Counter[int] = Counter()
        self.unacked = 0
        self.trouble: BaseException | None = None
        self._bootstrap_servers = bootstrap_servers
        self._topic, self._seed, self._rate, self._wanted = topic, seed, rate, wanted
        self._producer = self._new_producer()

    def run(self) -> None:
        """Until no more is wanted and everything is acknowledged."""
        try:
            self._feed()
        except BaseException as error:  # noqa: BLE001 - carried over to the run, which fails with it
            self.trouble = error

    def _feed(self) -> None:
        due_at, again = time.monotonic(), list[int]()
        while (wanted := self._wanted()) is not None:
            if not wanted:  # what is held back is not made up for: the rate is a ceiling
                self._producer.poll(_POLL_S)
                due_at = time.monotonic()
                continue
            while due_at < time.monotonic():
                due_at += 1 / self._rate
                number = len(self.produced_ms)
                self.produced_ms.append(time.time_ns() // 1_000_000)
                if self._put(number):
                    again.append(number)
                while again and number - again[0] >= _REPEAT_AFTER:
                    self._put(again.pop(0))
            self._producer.poll(_POLL_S)
        while self.unacked:
            self._producer.poll(0.1)

    def _put(self, number: int) -> bool:
        """Whether it is to be produced once more, later."""
        told = story(self._seed, number)
        self.unacked += 1
        value = told.value(self.produced_ms[number])
        headers: list[tuple[str, str | bytes | None]] = [(NUMBER, number.to_bytes(8, "big"))]
        while True:
            try:
                self._producer.produce(self._topic, value, told.key, on_delivery=self._delivered, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return told.repeats

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self.unacked -= 1
        if error is not None:
            raise KafkaException(error)
        partition, offset = message.partition(), message.offset()
        if partition is not None and offset is not None:
            self.ends[partition] = max(self.ends[partition], offset + 1)

    def _new_producer(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 0,  # an outage delays, it loses nothing
                "queue.buffering.max.messages": 1_000_000,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
            }
        )
