"""The ingress on fakes: what is genuine reaches Kafka before it is answered, what is not costs nothing and learns nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import orjson
import pytest

from connector.core.capability import CallbackClaim, mint
from connector.core.model import FlowStatus
from connector.metrics import Metrics
from connector.ports import Callback, LaneId
from connector.services.callbacks import NOTHING_SAID, FailureBuckets, Ingress, callback_urls
from tests.fakes.callbacks import FakeCallbackFeed, FakeCallbackSink
from tests.fakes.clock import FakeClock, settle

KEYS = (b"k" * 32,)
LANE = LaneId("notifications", 3)
FLOW = "30830fad-21ed-49b0-89d0-bbada2fd5640"
CLAIM = CallbackClaim(LANE.topic, LANE.partition, FLOW, 2, bytes(range(16)))
DOCUMENT = {
    "trackingId": "4e6f",
    "status": "Succeeded",
    "messages": [{"type": "Sms", "order": 1, "to": "+306912345678", "status": {"name": "Delivered"}, "body": "Your code is 1234"}],
}


class StuckSink:
    """Kafka that never answers."""

    def __init__(self) -> None:
        self.waiting = 0

    async def put(self, callback: Callback) -> None:
        self.waiting += 1
        await asyncio.Event().wait()


class Bench:
    """An ingress with everything around it."""

    def __init__(self, secrets: Sequence[bytes] = KEYS) -> None:
        self.feed = FakeCallbackFeed()
        self.sink = FakeCallbackSink(self.feed)
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.ingress = Ingress(self.sink, secrets, self.clock, self.metrics)
        self.reads = 0

    def reader(self, body: bytes | None) -> Callable[[], Awaitable[bytes | None]]:
        async def read() -> bytes | None:
            self.reads += 1
            return body

        return read

    async def call(self, body: bytes | None = orjson.dumps(DOCUMENT), token: tuple[str, str] | None = None, source: str = "1.2.3.4") -> int:
        kid, text = token or mint(KEYS, CLAIM)
        return await self.ingress.receive(kid, text, source, self.reader(body))

    def counted(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("failover_callbacks_total", {"result": result}) or 0


async def test_a_genuine_callback_is_in_kafka_before_the_answer() -> None:
    """200 means: acknowledged, with the claim's lane, flow, attempt and digest, reduced to what no person can be told by."""
    bench = Bench()
    assert await bench.call() == 200
    [callback] = bench.feed.logs[LANE]
    assert callback is not None
    assert (callback.lane, callback.flow_id, callback.attempt, callback.event_digest) == (LANE, FLOW, 2, CLAIM.event_digest)
    assert callback.received_ms == bench.clock.now_ms()
    assert callback.report.status is FlowStatus.SUCCEEDED
    assert callback.report.tracking_id == "4e6f"
    assert callback.report.recipients == ()
    assert "1234" not in repr(callback.report)
    assert bench.counted("accepted") == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"hello": 1}'])
async def test_a_genuine_call_with_an_unreadable_body_still_reaches_the_lane(body: bytes) -> None:
    """It says that something changed: the lane is told so (and polls), Routee is not made to call for 40 hours."""
    bench = Bench()
    assert await bench.call(body) == 200
    [callback] = bench.feed.logs[LANE]
    assert callback is not None
    assert callback.report == NOTHING_SAID
    assert bench.counted("unparsable") == 1


async def test_a_body_that_did_not_come_whole_was_no_call() -> None:
    """No 200, so whoever called calls again; and nobody makes work for a lane by sending half of something, again and again."""
    bench = Bench()
    assert await bench.call(None) == 408
    assert not bench.feed.logs
    assert bench.counted("cut") == 1
    assert await bench.call() == 200


async def test_what_nobody_signed_is_refused_unread() -> None:
    """404 whatever is wrong with it, its body is never read, nothing reaches Kafka."""
    bench = Bench()
    kid, token = mint(KEYS, CLAIM)
    other_kid, other = mint((b"x" * 32,), CLAIM)
    for forged in ((kid, other), (other_kid, token), (other_kid, other), (kid, token[:-1]), ("", ""), ("é", "\ud800")):
        assert await bench.call(token=forged) == 404
    assert bench.reads == 0
    assert not bench.feed.logs
    assert bench.counted("forged") == 6


async def test_kafka_away_is_503_and_a_later_call_goes_through() -> None:
    """Routee calls again after a 503; what was not handed over was not answered with 200."""
    bench = Bench()
    bench.sink.unavailable = True
    assert await bench.call() == 503
    assert bench.counted("unavailable") == 1
    bench.sink.unavailable = False
    assert await bench.call() == 200


async def test_a_slow_kafka_is_503_within_the_budget() -> None:
    """Routee waits 2 s at most: an answer is given in time even when Kafka gives none."""
    bench = Bench()
    ingress = Ingress(StuckSink(), KEYS, bench.clock, bench.metrics, budget_s=0.01)
    assert await ingress.receive(*mint(KEYS, CLAIM), "1.2.3.4", bench.reader(b"{}")) == 503
    assert bench.counted("unavailable") == 1


async def test_too_many_at_once_are_503() -> None:
    """What waits for Kafka is bounded; a forged call takes no place among them."""
    bench = Bench()
    sink = StuckSink()
    ingress = Ingress(sink, KEYS, bench.clock, bench.metrics, budget_s=60, most_waiting=2)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(ingress.receive(*mint(KEYS, CLAIM), "1.2.3.4", bench.reader(b"{}"))) for _ in range(2)]
        await settle()
        assert sink.waiting == 2
        assert await ingress.receive(*mint(KEYS, CLAIM), "1.2.3.4", bench.reader(b"{}")) == 503
        assert await ingress.receive("k", "t", "1.2.3.4", bench.reader(b"{}")) == 404
        for task in waiting:
            task.cancel()
    assert bench.counted("overloaded") == 1
    after = Ingress(bench.sink, KEYS, bench.clock, bench.metrics, most_waiting=1)
    assert [await after.receive(*mint(KEYS, CLAIM), "1.2.3.4", bench.reader(b"{}")) for _ in range(3)] == [200] * 3


async def test_failures_are_limited_by_source_and_genuine_calls_never() -> None:
    """A source with too many failures hears 429 for further ones; a genuine call through the same address is taken all the same."""
    bench = Bench()
    answers = [await bench.call(token=("k", "t")) for _ in range(25)]
    assert answers == [404] * 20 + [429] * 5
    assert await bench.call() == 200
    assert await bench.call(token=("k", "t"), source="5.6.7.8") == 404
    await bench.clock.advance(3)
    assert [await bench.call(token=("k", "t")) for _ in range(4)] == [404] * 3 + [429]


def test_the_buckets_are_bounded() -> None:
    """However many addresses call, memory holds the last ones only."""
    buckets = FailureBuckets(FakeClock(), sources=100)
    assert all(buckets.spend(str(number)) for number in range(10_000))
    assert len(buckets._buckets) == 100


async def test_the_urls_of_a_lane_are_taken_in() -> None:
    """What the lane puts into a request is what the ingress understands."""
    bench = Bench()
    url = callback_urls("https://hooks.example.com", KEYS)(LANE, FLOW, 2, CLAIM.event_digest)
    assert url is not None
    kid, token = url.removeprefix("https://hooks.example.com/callbacks/v1/").split("/")
    assert await bench.call(token=(kid, token)) == 200
    assert len(bench.feed.logs[LANE]) == 1


def test_without_a_public_url_there_are_no_callbacks() -> None:
    """No ``public_url`` means polls only: no URL is put into any request."""
    assert callback_urls(None, ())(LANE, FLOW, 1, bytes(16)) is None
