"""One idempotent producer per process, with awaited delivery reports.

``produce`` only queues, in call order, on the event loop. One thread polls librdkafka and hands its delivery reports over in one
``call_soon_threadsafe`` per batch, in offset order per partition. A fatal error ends the *session*: everything not yet reported fails,
and a new producer takes over.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connector.adapters.kafka_client import (
    FATAL,
    MESSAGE_TIMED_OUT,
    NO_SUCH_LOG,
    PURGED,
    KafkaOptions,
    error_counter,
    error_of,
    library_logger,
    producer_config,
)
from connector.errors import KafkaUnavailable, LaneLost
from connector.logs import get_logger
from connector.metrics import Metrics

_LOG = get_logger(__name__)
_POLL_S: Final = 0.1
_PURGE_S: Final = 5.0
_RENEW_AGAIN_S: Final = 1.0

Headers = Sequence[tuple[str, bytes | None]]
Failed = Callable[[str], Exception]
Report = tuple["Delivery", "KafkaError | int"]


class MessageTooLarge(KafkaUnavailable):
    """The topic (or the client) takes no message of that size: repeating it is useless."""


class Delivery(NamedTuple):
    """One message on its way: ``failed`` makes the exception its future raises, out of a bounded word."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    future: Future[int]
    failed: Failed


class _Session:
    """One librdkafka producer and its polling thread; ``handed`` gets each batch of reports on the loop."""

    def __init__(
        self,
        options: KafkaOptions,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        handed: Callable[[_Session, list[Report]], None],
    ) -> None:
        self._loop = loop
        self._handed = handed
        self._count_error = error_counter(metrics)
        self._reports: list[Report] = []
        self._deadline: float | None = None
        self.fatal = threading.Event()
        self.ended = asyncio.Event()
        self._producer = Producer(producer_config(options, self._on_error), logger=library_logger())
        self._thread = threading.Thread(target=self._run, name="kafka-producer", daemon=True)
        self._thread.start()

    def send(self, delivery: Delivery) -> None:
        """Queue it in librdkafka. Raises BufferError when the queue is full, KafkaException when it can never be sent."""
        self._producer.produce(
            delivery.topic,
            delivery.value,
            delivery.key,
            delivery.partition,
            on_delivery=functools.partial(self._on_delivery, delivery),
            headers=list(delivery.headers),
        )

    def stop(self, timeout: float) -> None:
        """Let the thread flush until the deadline, fail what is left, and end (``ended``)."""
        self._deadline = time.monotonic() + timeout

    def _on_error(self, error: KafkaError) -> None:
        self._count_error(error)
        if error.fatal() or error.code() == FATAL:
            self.fatal.set()

    def _on_delivery(self, delivery: Delivery, error: KafkaError | None, message: Message) -> None:
        offset = message.offset()
        self._reports.append((delivery, error if error is not None else -1 if offset is None else offset))

    def _run(self) -> None:
        """Thread: poll and hand over until stopped or fatally broken; then flush and purge, so that every future gets its answer."""
        while self._deadline is None and not self.fatal.is_set():
            self._producer.poll(_POLL_S)
            self._hand_over()
        while not self.fatal.is_set() and len(self._producer) and time.monotonic() < (self._deadline or 0):
            self._producer.flush(_POLL_S)
            self._hand_over()
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        give_up = time.monotonic() + _PURGE_S
        while len(self._producer) and time.monotonic() < give_up:
            self._producer.poll(_POLL_S)
            self._hand_over()
        self._hand_over()
        self._producer.close()
        self._call(self.ended.set)
        self._call(functools.partial(self._handed, self, []))

    def _hand_over(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._call(functools.partial(self._handed, self, reports))

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            self.fatal.set()


class KafkaProducer:
    """The process's producer. All methods belong to the event loop that runs when it is made."""

    def __init__(self, options: KafkaOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._waiting: deque[Delivery] = deque()  # librdkafka's queue is full: kept in call order, sent as reports come in
        self._closed = False
        self.generation = 1
        self._session = self._begin()

    def produce(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        failed: Failed = LaneLost,
    ) -> Future[int]:
        """Queue one message; the future gives its offset.

        The future raises ``failed(word)`` when the message's fate is unknown or known to be bad; ``MessageTooLarge`` if ``failed`` is
        ``KafkaUnavailable`` and no repeat can help. ``partition`` -1: by the key's hash. Futures of a partition resolve in offset order.
        """
        future: Future[int] = asyncio.get_running_loop().create_future()
        delivery = Delivery(topic, partition, key, value, headers, future, failed)
        if self._closed or self._session.fatal.is_set():
            _fail(delivery, "producer_closed" if self._closed else "producer_fatal")
        elif self._waiting or not self._sent(delivery):
            self._waiting.append(delivery)
        return future

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - librdkafka's flush takes it, not asyncio
        """Flush for at most ``timeout`` seconds; what is not acknowledged by then fails."""
        self._closed = True
        while self._waiting and timeout > 0:  # only when the queue is full at the very end
            await asyncio.sleep(0.05)
            timeout -= 0.05
        self._fail_waiting("producer_closed")
        self._session.stop(max(timeout, 0))
        await self._session.ended.wait()

    def _begin(self) -> _Session:
        return _Session(self._options, self._metrics, asyncio.get_running_loop(), self._reported)

    def _sent(self, delivery: Delivery) -> bool:
        """Give it to librdkafka; False when its queue is full. An impossible message fails here."""
        try:
            self._session.send(delivery)
        except BufferError:
            return False
        except KafkaException as refused:
            error = error_of(refused)
            _fail(delivery, _word(error) if error is not None else "produce_failed")
        return True

    def _reported(self, session: _Session, reports: list[Report]) -> None:
        for delivery, outcome in reports:
            if isinstance(outcome, int) and outcome >= 0:
                if not delivery.future.done():
                    delivery.future.set_result(outcome)
            else:
                _fail(delivery, "offset_unknown" if isinstance(outcome, int) else _word(outcome, closed=self._closed))
        if session.ended.is_set() and not self._closed:
            self._renew()
        elif session.fatal.is_set():
            self._fail_waiting("producer_fatal")
        else:
            while self._waiting and self._sent(self._waiting[0]):
                self._waiting.popleft()

    def _renew(self) -> None:
        """The old session has reported everything: begin a new one. Lanes with rows in flight have heard of it by their futures."""
        self._fail_waiting("producer_fatal")
        try:
            session = self._begin()
        except (KafkaException, RuntimeError) as error:  # no thread to be had, say
            _LOG.error("kafka_fatal", reason=str(error), retry_s=_RENEW_AGAIN_S)
            asyncio.get_running_loop().call_later(_RENEW_AGAIN_S, self._renew_later)
            return
        self.generation += 1
        _LOG.error("kafka_fatal", generation=self.generation)
        self._session = session

    def _renew_later(self) -> None:
        if not self._closed:
            self._renew()

    def _fail_waiting(self, word: str) -> None:
        while self._waiting:
            _fail(self._waiting.popleft(), word)


def _fail(delivery: Delivery, word: str) -> None:
    if not delivery.future.done():
        too_large = word == "message_too_large" and delivery.failed is KafkaUnavailable
        delivery.future.set_exception(MessageTooLarge(word) if too_large else delivery.failed(word))
        delivery.future.exception()  # a dropped lane does not look at its futures any more: no "never retrieved" noise


def _word(error: KafkaError, *, closed: bool = False) -> str:
    """A bounded word for the metric ``failover_lane_drops_total{reason}``."""
    code = error.code()
    if code in PURGED and closed:
        return "producer_closed"
    if error.fatal() or code == FATAL or code in PURGED:
        return "producer_fatal"
    if code == MESSAGE_TIMED_OUT:
        return "produce_timed_out"
    if code in NO_SUCH_LOG:
        return "no_such_topic"
    if code in {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}:
        return "message_too_large"
    return "produce_failed"
