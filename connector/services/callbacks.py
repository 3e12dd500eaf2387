"""The ingress: a callback is verified, reduced, handed over durably, and only then answered with 200.

Answers: 200 taken · 404 for everything that no key of ours has signed (other paths and methods count as that), always by the same path ·
429 for more of that from a source whose bucket is empty (a genuine call is never counted nor slowed) · 408 for a body that did not come
whole in time, 503 when Kafka is away or too many wait: Routee calls again (OTP callbacks are never repeated, so the lane polls those).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from connector.core.capability import CallbackClaim, callback_url, mint, verify
from connector.core.coerce import parse_json
from connector.core.documents import parse_flow
from connector.core.model import FlowReport
from connector.errors import KafkaUnavailable
from connector.logs import get_logger
from connector.metrics import Metrics
from connector.ports import Callback, CallbackSink, Clock, LaneId

MOST_WAITING: Final = 512
"""Callbacks that may wait for Kafka at once."""
BUDGET_S: Final = 1.8
"""How long Kafka may take: Routee wants its answer within 2 s (Routee's documentation: callbacks)."""
NOTHING_SAID: Final = FlowReport(tracking_id=None, status=None)
"""The report of a genuine call whose body cannot be read: it says that something changed, so the lane polls."""

_LOG = get_logger(__name__)


class FailureBuckets:
    """A token bucket per source for failed calls only, for a bounded number of sources; the longest quiet one is forgotten first."""

    def __init__(self, clock: Clock, burst: int = 20, per_second: float = 1.0, sources: int = 10_000) -> None:
        self._clock = clock
        self._burst = burst
        self._per_second = per_second
        self._sources = sources
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # source → (tokens, when counted)

    def spend(self, source: str) -> bool:
        """Count a failure; False once the source has had too many."""
        now = self._clock.boot()
        tokens, since = self._buckets.pop(source, (float(self._burst), now))
        tokens = min(tokens + (now - since) * self._per_second, float(self._burst))
        allowed = tokens >= 1
        self._buckets[source] = (tokens - 1 if allowed else tokens, now)
        while len(self._buckets) > self._sources:
            self._buckets.popitem(last=False)
        return allowed


def callback_urls(public_url: str | None, secrets: Sequence[bytes]) -> Callable[[LaneId, str, int, bytes], str | None]:
    """Make what a lane asks for an attempt's URL: (lane, flow_id, attempt, event_digest) → URL, or None where there are no callbacks."""

    def url(lane: LaneId, flow_id: str, attempt: int, event_digest: bytes) -> str | None:
        if public_url is None:
            return None
        kid, token = mint(secrets, CallbackClaim(lane.topic, lane.partition, flow_id, attempt, event_digest))
        return callback_url(public_url, kid, token)

    return url


class Ingress:
    """Takes callbacks in. One per process; ``receive`` runs once per call, as many at a time as there are calls."""

    def __init__(
        self,
        sink: CallbackSink,
        secrets: Sequence[bytes],
        clock: Clock,
        metrics: Metrics,
        *,
        budget_s: float = BUDGET_S,
        most_waiting: int = MOST_WAITING,
        limit: FailureBuckets | None = None,
    ) -> None:
        self._sink = sink
        self._secrets = tuple(secrets)
        self._clock = clock
        self._limit = FailureBuckets(clock) if limit is None else limit
        self._budget_s = budget_s
        self._most_waiting = most_waiting
        self._waiting = 0
        self._away = False
        self._seconds = metrics.callback_seconds
        self._results = metrics.callbacks

    async def receive(self, kid: str, token: str, source: str, read: Callable[[], Awaitable[bytes | None]]) -> int:
        """The HTTP status of one call. ``read`` gives the body (empty: too large; None: cut or too slow) asked of genuine calls only."""
        claim = verify(self._secrets, kid, token)
        if claim is None:
            allowed = self._limit.spend(source)
            return self._answer("forged", 404) if allowed else self._answer("limited", 429)
        if self._waiting >= self._most_waiting:
            return self._answer("overloaded", 503)
        self._waiting += 1
        try:
            body = await read()
            return self._answer("cut", 408) if body is None else await self._take(claim, body)
        finally:
            self._waiting -= 1

    async def _take(self, claim: CallbackClaim, body: bytes) -> int:
        started = self._clock.boot()
        report = parse_flow(parse_json(body))
        handed = await self._hand_over(_callback(claim, report or NOTHING_SAID, self._clock.now_ms()))
        self._seconds.observe(self._clock.boot() - started)
        if not handed:
            return self._answer("unavailable", 503)
        if report is None:
            _LOG.warning(
                "callback_unparsable",
                lane=f"{claim.topic}/{claim.partition}",
                flow_id=claim.flow_id,
                attempt=claim.attempt,
                bytes=len(body),
            )
            return self._answer("unparsable", 200)
        return self._answer("accepted", 200)

    async def _hand_over(self, callback: Callback) -> bool:
        """Whether Kafka has it, for certain, within the budget. A late success makes a repeat, which does no harm."""
        try:
            async with asyncio.timeout(self._budget_s):
                await self._sink.put(callback)
        except (KafkaUnavailable, TimeoutError) as error:
            if not self._away:
                _LOG.warning("callbacks_unavailable", reason=str(error) or "too slow")
            self._away = True
            return False
        self._away = False
        return True

    def _answer(self, result: str, status: int) -> int:
        self._results.labels(result).inc()
        return status


def _callback(claim: CallbackClaim, report: FlowReport, now_ms: int) -> Callback:
    """What goes on to the lane: no phone among it."""
    lane = LaneId(claim.topic, claim.partition)
    return Callback(lane, claim.flow_id, claim.event_digest, claim.attempt, now_ms, replace(report, recipients=()))
