"""Back-pressure: the input is held before memory runs out, and flows again; membership is never at stake."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.model import Record, RefusalKind, Refused
from connector.services import backlog
from connector.services.backlog import Backlog
from connector.services.parts import Policy
from connector.services.throttle import Breaker
from tests.service.world import LANE, Process, World

SMALL = replace(Policy(), buffer_records=10)


class Held:
    """Parts of which only these are asked."""

    def __init__(self) -> None:
        self.held = False
        self.source = self
        self.policy = replace(Policy(), buffer_records=4, buffer_bytes=1000)
        self.metrics = self
        self.lane_buffer_records = self
        self.lane_buffer_bytes = self

    def hold(self, lanes: object, held: bool) -> None:
        """The source's."""
        assert held is not self.held
        self.held = held

    def inc(self, amount: int) -> None:
        """Both gauges'."""


def record(offset: int, size: int = 1) -> Record:
    """A record of about ``size`` bytes."""
    return Record(LANE.topic, LANE.partition, offset, 0, None, b"x" * size)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), max_size=40), st.randoms(use_true_random=False))
def test_held_exactly_while_too_much_is_in_memory(events: list[tuple[int, int]], chance) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Full at a bound, free again at half of both; every record counts once however many flows use it."""
    parts = Held()
    held_back = Backlog(LANE, parts, lambda: 0)  # type: ignore[arg-type]
    using: list[Record] = []
    left: dict[int, int] = {}
    held = False
    for offset, (flows, size) in enumerate(events):
        one = record(offset, size)
        held_back.arrive(one)
        left[offset] = one.size
        held = held or len(left) >= 4 or sum(left.values()) >= 1000
        assert parts.held is held
        held_back.hold(one, flows)
        using += [one] * flows
        gone = [one] if not flows else []
        chance.shuffle(using)
        for _ in range(chance.randint(0, len(using))):
            done = using.pop()
            held_back.release(done)
            gone += [] if done in using else [done]
        for one_gone in gone:
            del left[one_gone.offset]
        if any(True for _ in gone) and held and len(left) <= 2 and sum(left.values()) <= 500:
            held = False
        assert (held_back.records, held_back.bytes) == (len(left), sum(left.values()))
    held_back.clear(flow_on=True)
    assert (held_back.records, held_back.bytes, parts.held) == (0, 0, False)


async def test_the_input_is_held_while_nothing_can_be_sent(world: World) -> None:
    """Behind an open breaker the lane takes what it may, then no more; afterwards everything is sent."""
    process = await Process(world, SMALL).start()
    process.throttle.open(Breaker.BALANCE)
    for _ in range(30):
        await process.put(world.record("sale", key=None), seconds=0.1)
    assert LANE in process.source.held
    assert process.lane.backlog.records == 10
    process.throttle.close(Breaker.BALANCE)
    await world.clock.advance(5)
    assert len(world.provider.posts) == 30
    assert LANE not in process.source.held
    assert world.committed[LANE] == 30
    await process.stop()


async def test_a_held_lane_that_is_lost_flows_again(world: World) -> None:
    """Back-pressure ends with the tenure: the next claim starts the input for good."""
    process = await Process(world, SMALL).start()
    process.throttle.open(Breaker.BALANCE)
    for _ in range(15):
        await process.put(world.record("sale", key=None), seconds=0.1)
    assert LANE in process.source.held
    process.lane.writer.lose("test")
    process.throttle.close(Breaker.BALANCE)
    await world.clock.advance(10)
    assert sorted(world.posts(world.flow_id(one, "sale")) for one in world.records) == [[1]] * 15
    await process.stop()


async def test_so_many_records_wait_behind_one_that_is_not_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its dead letter is not taken the rest goes on, but not without end: a restart would read all of it again."""
    monkeypatch.setattr(backlog, "MOST_BEHIND", 30)
    process = await Process(world).start()
    world.dead_letters.unavailable = True
    await process.put(world.put(b"{"), seconds=1)
    for _ in range(60):
        await process.put(world.record("order", key=None), seconds=0.2)
    assert (process.lane.taken.open, LANE in process.source.held, len(world.provider.posts)) == (30, True, 29)
    world.dead_letters.unavailable = False
    await world.clock.advance(20)
    assert (len(world.provider.posts), LANE in process.source.held, world.committed[LANE]) == (60, False, 61)
    await process.stop()


async def test_parked_flows_hold_the_input_too(world: World) -> None:
    """A long Retry-After does not turn the whole topic into waiting flows; a new owner holds it at once, and in the end all are sent."""
    policy = replace(Policy(), park_max_rows=5)
    process = await Process(world, policy).start()
    wait = Refused(RefusalKind.THROTTLED, 429, "HTTP_429", retry_after_ms=60_000)
    for number in range(20):
        one = world.record("sale", key=None)
        world.answer(one, "sale", wait)
        await process.put(one, seconds=0.2)
        assert (LANE in process.source.held) is (number >= 4)
    assert (len(world.provider.posts), process.lane.backlog.parked) == (5, 5)
    await process.kill()
    process = await Process(world, policy).start()
    assert (process.lane.backlog.parked, LANE in process.source.held, len(world.provider.posts)) == (5, True, 5)
    await world.clock.advance(300)
    assert [world.posts(world.flow_id(one, "sale")) for one in world.records] == [[1, 2]] * 20
    assert (process.lane.backlog.parked, LANE in process.source.held) == (0, False)
    await process.stop()


async def test_an_unreachable_registry_stands_the_lane_still(world: World) -> None:
    """Nothing is dead-lettered, nothing lost, order is kept; the registry is asked again and again, but not stormed."""
    process = await Process(world).start()
    world.decoder.unreachable = True
    records = [world.record() for _ in range(3)]
    await process.put(*records, seconds=60)
    assert (world.provider.posts, world.dead_letters.letters, world.committed.get(LANE, 0)) == ([], [], 0)
    assert 5 < world.decoder.asked < 50
    world.decoder.unreachable = False
    await world.clock.advance(15)
    assert world.provider.posts == [f"{world.flow_id(record, 'order')}.1" for record in records]
    await process.stop()


async def test_an_unreachable_registry_delays_what_must_be_read_again(world: World) -> None:
    """After a take-over the input is decoded anew; the registry's absence is waited for there, too."""
    first = await Process(world).start()
    record = world.record("code", expires_s=600)
    world.answer(record, "code", world.provider.lose_reply)
    first.journal.held = True
    await first.put(record, seconds=1)
    first.journal.land()
    await world.clock.advance(0.01)
    await first.kill()
    world.decoder.unreachable = True
    second = await Process(world).start()
    await world.clock.advance(30)
    assert world.outcomes() == []
    world.decoder.unreachable = False
    await world.clock.advance(60)
    assert [event["outcome"] for event in world.outputs("sends")] == ["ACCEPTED"]
    await second.stop()
