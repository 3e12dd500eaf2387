"""What the process tells of the flows it holds."""

from __future__ import annotations

import pytest

from connector.core.model import Doubt, MessageClass, NotSent, RefusalKind, Refused
from connector.services.parts import Policy
from tests.service.world import Process, World

LOST = Doubt("timeout")


async def test_flows_are_counted_by_state(world: World) -> None:
    """Each unfinished flow is counted once, where it stands; a finished one only in the ledger."""
    process = await Process(world).start()
    doubt, refused, no_connection, accepted, unrouted = (
        world.record("order", key="1"),
        world.record("sale", key="2"),
        world.record("order", key="3"),
        world.record("order", key="4"),
        world.record("nobody", key="5"),
    )
    world.answer(doubt, "order", LOST)
    world.answer(refused, "sale", Refused(RefusalKind.THROTTLED, 429, "HTTP_429", retry_after_ms=600_000))
    world.answer(no_connection, "order", *[NotSent("refused")] * 99)
    await process.put(doubt, refused, no_connection, accepted, unrouted, seconds=2)
    counted = {state: process.value("flows", state=state) for state in ("new", "parked", "intent", "not_sent", "doubt", "accepted")}
    assert counted == {"new": 0, "parked": 1, "intent": 0, "not_sent": 1, "doubt": 1, "accepted": 1}
    assert process.value("ledger_flows") == 5
    await process.stop()


async def test_doubts_are_counted_right_after_a_take_over(world: World) -> None:
    """A doubt that another process began is one doubt here, as old as it is, and none when it ends; no class falls below 0."""
    first = await Process(world).start()
    record = world.record("order")
    world.answer(record, "order", LOST)
    await first.put(record, seconds=20)
    assert first.value("doubts", **{"class": "transactional"}) == 1
    assert first.value("oldest_doubt_seconds") == pytest.approx(20, abs=0.5)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(10)
    assert second.value("doubts", **{"class": "transactional"}) == 1
    assert second.value("oldest_doubt_seconds") == pytest.approx(30.5, abs=1)
    await world.clock.advance(200)
    assert [second.value("doubts", **{"class": kind}) for kind in MessageClass] == [0, 0, 0]
    assert second.value("oldest_doubt_seconds") == 0
    await second.stop()


async def test_held_input_and_waiting_outputs_show(world: World) -> None:
    """A full buffer is one lane held back; events that Kafka has not acknowledged are pending."""
    process = await Process(world, Policy(buffer_records=2)).start()
    world.provider.gate.clear()
    await process.put(world.record(key="1"), world.record(key="2"), seconds=1)
    assert (process.value("input_paused", reason="buffer"), process.value("outputs_pending")) == (1, 0)
    process.outbox.held = True
    world.provider.gate.set()
    await world.clock.advance(2)
    assert process.value("outputs_pending") > 0
    process.outbox.held = False
    process.outbox.land()
    await world.clock.advance(2)
    assert (process.value("input_paused", reason="buffer"), process.value("outputs_pending")) == (0, 0)
    await process.stop()


async def test_the_way_to_the_post_does_not_count_the_answer(world: World) -> None:
    """``send_seconds`` ends at the first POST, once per flow, however long its answer takes and however often nothing was sent."""
    process = await Process(world).start()
    world.provider.answering.clear()
    await process.put(world.record(), seconds=8)
    world.provider.answering.set()
    unconnected = world.record()
    world.answer(unconnected, "order", NotSent("refused"), NotSent("refused"), world.provider.accept)
    await process.put(unconnected, seconds=8)
    assert len(world.provider.posts) == 4
    assert process.value("send_seconds_count") == 2
    assert process.value("send_seconds_sum") < 4
    assert process.value("provider_seconds_count") == 0  # the adapter tells it, from the first byte on
    await process.stop()


async def test_the_oldest_undecided_event_shows_wherever_it_waits(world: World) -> None:
    """Behind a slow provider, in a long retry, after a take-over, behind a registry that is away, or unfetched: its age is told."""
    process = await Process(world).start()
    topic = {"topic": "notifications"}
    assert process.value("oldest_waiting_seconds", **topic) == 0
    world.provider.gate.clear()
    await process.put(world.record(key="1"), seconds=90)
    await process.put(world.record(key="2"), seconds=10)
    assert process.value("oldest_waiting_seconds", **topic) == pytest.approx(100, abs=1)
    world.provider.gate.set()
    await world.clock.advance(10)
    assert process.value("oldest_waiting_seconds", **topic) == 0
    parked = world.record("order", key="3")
    world.answer(parked, "order", Refused(RefusalKind.THROTTLED, 429, "HTTP_429", retry_after_ms=600_000))
    await process.put(parked, seconds=70)
    assert process.value("oldest_waiting_seconds", **topic) == pytest.approx(70, abs=1)
    await process.kill()
    process = await Process(world).start()
    assert process.value("oldest_waiting_seconds", **topic) == pytest.approx(70.5, abs=1)
    await world.clock.advance(600)
    assert process.value("oldest_waiting_seconds", **topic) == 0
    world.decoder.unreachable = True
    await process.put(world.record(key="4"), world.record(key="5"), seconds=30)
    assert process.value("oldest_waiting_seconds", **topic) == pytest.approx(30, abs=1)
    process.unfetched_s = 40.0
    assert process.value("oldest_waiting_seconds", **topic) == 40
    world.decoder.unreachable = False
    process.unfetched_s = 0.0
    await world.clock.advance(30)
    assert process.value("oldest_waiting_seconds", **topic) == 0
    await process.stop()


async def test_a_doubt_is_not_waiting_to_be_sent(world: World) -> None:
    """It has a gauge of its own: an alert on waiting events must not fire for a search that takes its time."""
    process = await Process(world).start()
    record = world.record("order")
    world.answer(record, "order", LOST)
    await process.put(record, seconds=20)
    assert process.value("oldest_doubt_seconds") == pytest.approx(20, abs=0.5)
    assert process.value("oldest_waiting_seconds", topic="notifications") == 0
    await process.stop()
