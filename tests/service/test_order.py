"""Order per (Kafka key, class) of first POSTs; what releases a key; what a later flow makes of an earlier one."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from connector.core.model import Doubt, NotSent, RefusalKind, Refused
from tests.service.world import LANE, Process, World, report

LOST = Doubt("timeout")


def busy(retry_after_s: float) -> Refused:
    """429."""
    return Refused(RefusalKind.THROTTLED, 429, "HTTP_429", int(retry_after_s * 1000))


def numbers(world: World, *flows: str) -> list[int]:
    """Posts as positions in ``flows``."""
    return [flows.index(post.rsplit(".", 1)[0]) for post in world.provider.posts]


async def test_one_key_is_sent_in_order(world: World) -> None:
    """However often the first one has no connection, the second waits for it."""
    process = await Process(world).start()
    first, second = world.record(), world.record()
    flows = world.answer(first, "order", NotSent("dns"), NotSent("dns"), busy(2)), world.answer(second, "order")
    await process.put(first, second, seconds=10)
    assert numbers(world, *flows) == [0, 0, 0, 0, 1]
    await process.stop()


async def test_an_answer_is_waited_for(world: World) -> None:
    """While the first POST of a key is under way the second is not begun."""
    process = await Process(world).start()
    first, second = world.record(), world.record()
    flows = world.flow_id(first, "order"), world.flow_id(second, "order")
    world.provider.answering.clear()
    await process.put(first, second, seconds=2)
    assert numbers(world, *flows) == [0]
    world.provider.answering.set()
    await world.clock.advance(1)
    assert numbers(world, *flows) == [0, 1]
    await process.stop()


@pytest.mark.parametrize("other", [("order", "b"), ("sale", "a"), ("order", None)])
async def test_another_key_or_class_does_not_wait(world: World, other: tuple[str, str | None]) -> None:
    """Order is per key *and* class; without a key there is none."""
    process = await Process(world).start()
    first, second = world.record("order", key="a"), world.record(other[0], key=other[1])
    flows = world.answer(first, "order", *[NotSent("dns")] * 3), world.flow_id(second, other[0])
    await process.put(first, second, seconds=10)
    assert numbers(world, *flows)[:2] == [0, 1]
    await process.stop()


async def test_a_long_wait_releases_the_key(world: World) -> None:
    """Retry-After of a minute: the next of the key goes, the first later."""
    process = await Process(world).start()
    first, second = world.record(), world.record()
    flows = world.answer(first, "order", busy(60)), world.flow_id(second, "order")
    await process.put(first, second, seconds=70)
    assert numbers(world, *flows) == [0, 1, 0]
    await process.stop()


async def test_a_flow_parked_without_a_connection_keeps_its_number(world: World) -> None:
    """No byte left us: also after a long wait it is the same attempt."""
    process = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", *[NotSent("dns")] * 8)
    await process.put(record, seconds=120)
    assert world.posts(flow) == [1] * 9
    await process.stop()


async def test_a_doubt_releases_the_key_and_is_overtaken(world: World) -> None:
    """The next of the key is posted; the doubted one is then never resent, though it is conclusively absent."""
    process = await Process(world).start()
    first, second = world.record(), world.record()
    flows = world.answer(first, "order", LOST), world.flow_id(second, "order")
    await process.put(first, second, seconds=5)
    assert numbers(world, *flows) == [0, 1]
    await world.clock.advance(170)
    assert numbers(world, *flows) == [0, 1]
    assert sorted(world.outcomes(), key=str) == [("ACCEPTED", None), ("UNKNOWN", "overtaken")]
    await process.stop()


async def test_an_overtaken_doubt_can_still_be_found(world: World) -> None:
    """Overtaking forbids only the resend."""
    process = await Process(world).start()
    first, second = world.record(), world.record()
    world.answer(first, "order", world.provider.lose_reply)
    await process.put(first, second, seconds=10)
    assert world.outcomes() == [("ACCEPTED", None)] * 2
    assert len(world.provider.posts) == 2
    await process.stop()


async def test_overtaking_survives_the_process(world: World) -> None:
    """It stands in the journal before the later flow is posted: a claimant does not resend either."""
    first = await Process(world).start()
    one, two = world.record(), world.record()
    flow = world.answer(one, "order", LOST)
    await first.put(one, two, seconds=3)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(200)
    assert world.posts(flow) == [1]
    assert ("UNKNOWN", "overtaken") in world.outcomes()
    await second.stop()


async def test_what_expires_while_it_overtakes_is_not_sent(world: World) -> None:
    """The rows of those it overtakes may take their time; the expiry is asked again as the last act before the first byte."""
    process = await Process(world).start()
    first, second = world.record(), world.record(expires_s=8)
    world.answer(first, "order", LOST)
    flow = world.flow_id(second, "order")
    await process.put(first, seconds=1)
    process.journal.held = True
    await process.put(second, seconds=9)
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(2)
    assert world.posts(flow) == []
    assert ("EXPIRED", "expired") in world.outcomes()
    await process.stop()


async def test_a_flow_of_another_key_does_not_overtake(world: World) -> None:
    """The doubted flow is resent."""
    process = await Process(world).start()
    first, second = world.record(key="a"), world.record(key="b")
    flow = world.answer(first, "order", LOST)
    await process.put(first, second, seconds=170)
    assert world.posts(flow) == [1, 2]
    await process.stop()


async def test_one_that_comes_while_a_resend_waits_is_behind_it(world: World) -> None:
    """The resend takes its place in the queue of its key: who is behind it waits, and does not overtake."""
    process = await Process(world).start()
    first, second = world.record("code"), world.record("code")
    flows = world.answer(first, "code", LOST), world.flow_id(second, "code")
    await process.put(first, seconds=28)
    world.provider.gate.clear()
    while process.lane.flows[flows[0]].flow.attempt == 1:
        await world.clock.advance(0.5)
    await process.put(second, seconds=0.5)
    world.provider.gate.set()
    await world.clock.advance(5)
    assert numbers(world, *flows) == [0, 0, 1]
    await process.stop()


async def test_doubts_that_end_while_they_are_overtaken(world: World) -> None:
    """One of two overtaken doubts is proven and finished in the very moment: the later flow is posted all the same."""
    process = await Process(world).start()
    doubted = [world.record(), world.record()]
    for record in doubted:
        world.answer(record, "order", LOST)
    await process.put(doubted[0], seconds=0.3)
    await process.put(doubted[1], seconds=0.3)
    later = world.record()
    process.journal.held = True
    process.call_back(doubted[1], "order", report("there"))
    process.call_back(doubted[0], "order", report("here"))
    await world.clock.advance(0.1)
    await process.put(later, seconds=0.1)  # it waits for the first one's row, to write that it overtakes it
    process.journal.land(1)
    await world.clock.advance(0.1)
    assert world.flow_id(doubted[1], "order") not in process.lane.flows
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(2)
    assert world.posts(world.flow_id(later, "order")) == [1]
    await process.stop()


async def test_a_claimant_begins_with_the_oldest_of_a_key(world: World) -> None:
    """Parked flows that are due soon take their places by input offset, whichever was written last."""
    first = await Process(world).start()
    one, two = world.record(), world.record()
    flows = world.answer(one, "order", busy(6), busy(6)), world.answer(two, "order", busy(10))
    await first.put(one, two, seconds=8)
    await first.kill()
    log = world.journal_logs[LANE]
    last = {entry.key: entry.offset for entry in log if entry is not None}
    log[:] = [entry if entry is None or last[entry.key] == entry.offset else None for entry in log]  # compacted
    assert numbers(world, *flows) == [0, 1, 0]
    second = await Process(world).start()
    await world.clock.advance(10)
    assert numbers(world, *flows)[3:] == [0, 1]
    await second.stop()


async def test_a_waiting_code_is_superseded(world: World) -> None:
    """Same rule and recipient, a later ``occurred_at``: the parked older one ends SUPPRESSED."""
    process = await Process(world).start()
    older = world.record("code", key="a")
    flow = world.answer(older, "code", busy(30))
    await process.put(older, seconds=1)
    await process.put(world.record("code", key="b"), seconds=40)
    assert world.posts(flow) == [1]
    assert sorted(world.outcomes(), key=str) == [("ACCEPTED", None), ("SUPPRESSED", "superseded")]
    await process.stop()


async def test_a_code_of_which_no_message_could_be_made_supersedes_none(world: World) -> None:
    """The older one is all that its person can get; after a take-over, too."""
    first = await Process(world).start()
    older = world.record("code", key="a")
    flow = world.answer(older, "code", busy(30))
    await first.put(older, seconds=1)
    broken = world.put((world.record("code", key="b").value or b"").replace(b'"pin"', b'"pon"'), "b")
    await first.put(broken, seconds=5)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(40)
    assert world.posts(flow) == [1, 2]
    assert ("INVALID", "TEMPLATE_UNDEFINED") in world.outcomes()
    await second.stop()


async def test_a_waiting_code_is_superseded_after_a_take_over(world: World) -> None:
    """The claimant knows the newer code, also when that was sent by its predecessor."""
    first = await Process(world).start()
    older = world.record("code", key="a")
    flow = world.answer(older, "code", busy(30))
    await first.put(older, seconds=1)
    await first.put(world.record("code", key="b"), seconds=5)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(40)
    assert world.posts(flow) == [1]
    assert ("SUPPRESSED", "superseded") in world.outcomes()
    await second.stop()


async def test_a_doubted_code_that_is_superseded_is_unknown(world: World) -> None:
    """It may have been sent, so it is not called SUPPRESSED."""
    process = await Process(world).start()
    older = world.record("code", key=None)
    flow = world.answer(older, "code", LOST)
    await process.put(older, seconds=1)
    await process.put(world.record("code", key=None), seconds=70)
    assert world.posts(flow) == [1]
    assert ("UNKNOWN", "superseded") in world.outcomes()
    await process.stop()


async def test_an_order_is_not_superseded(world: World) -> None:
    """Only codes are."""
    process = await Process(world).start()
    older = world.record("order", key="a")
    flow = world.answer(older, "order", busy(30))
    await process.put(older, seconds=1)
    await process.put(world.record("order", key="b"), seconds=40)
    assert world.posts(flow) == [1, 2]
    await process.stop()


async def test_a_claimant_restores_the_order_of_a_key(world: World) -> None:
    """A flow that waits for a short retry goes before what the claimant reads from the input."""
    first = await Process(world).start()
    one, two = world.record(), world.record()
    flows = world.answer(one, "order", NotSent("dns"), NotSent("dns")), world.flow_id(two, "order")
    await first.put(one, seconds=0.1)
    await first.kill()
    world.provider.answers[flows[0]] = [NotSent("dns")] * 2
    second = Process(world)
    second.source.put(two)
    await second.start()
    await world.clock.advance(10)
    posts = numbers(world, *flows)
    assert posts[-1] == 1
    assert posts.count(1) == 1
    await second.stop()


async def test_a_record_of_the_future_suppresses_no_later_code(world: World) -> None:
    """A producer whose clock is a month ahead writes the event's time and Kafka's."""
    process = await Process(world).start()
    wrong, ahead_ms = world.record("code", key="a"), 30 * 86_400_000
    event = orjson.loads(wrong.value or b"")
    wrong = replace(
        wrong, timestamp_ms=wrong.timestamp_ms + ahead_ms, value=orjson.dumps(event | {"occurred_at": event["occurred_at"] + ahead_ms})
    )
    world.past.put(wrong)
    await process.put(wrong, seconds=1)
    assert process.value("clamped_times_total") == 1
    for number in range(3):
        await world.clock.advance(600)
        await process.put(world.record("code", key=f"k{number}"), seconds=2)
        assert world.outcomes()[-1] == ("ACCEPTED", None)
    await process.stop()


async def test_what_expires_while_it_is_parked_ends_then(world: World) -> None:
    """However long Routee said to wait."""
    process = await Process(world).start()
    record = world.record("code")
    world.answer(record, "code", busy(3600))
    await process.put(record, seconds=240)
    assert world.outcomes() == [("EXPIRED", "expired")]
    await process.stop()
