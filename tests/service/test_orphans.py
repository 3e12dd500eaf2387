"""Callbacks for nobody: dead letters, acknowledged before the lane goes on, and the same ones whoever hears them again."""

from __future__ import annotations

import asyncio

import pytest

from connector.adapters.callback_codec import decode_callback
from connector.core import rows
from connector.core.flow import Ended, State
from connector.core.model import Accepted, FlowStatus, Record, RefusalKind, Refused
from connector.errors import LaneLost
from connector.ports import Entry
from connector.services import hearing
from connector.services.parts import Policy
from tests.service.world import LANE, Process, World, report

ORPHANED = "CALLBACK_ORPHANED"


async def orphan(process: Process, world: World) -> Record:
    """Routee calls for a flow that the journal does not hold."""
    record = world.record("order")
    world.records.remove(record)
    process.call_back(record, "order", report("t-9"))
    await world.clock.advance(1)
    return record


async def test_a_callback_for_an_unknown_flow_is_a_dead_letter(world: World) -> None:
    """It has the callback's bytes and its place in the callbacks topic, and names the flow; nothing else follows."""
    process = await Process(world).start()
    record = await orphan(process, world)
    [letter] = world.dead_letters.letters
    assert (letter.stage, letter.reason, letter.flow_id) == ("callback", ORPHANED, world.flow_id(record, "order"))
    assert letter.record.coordinates == f"{LANE.topic}.callbacks/{LANE.partition}/0"
    assert decode_callback(letter.record.value or b"").report.tracking_id == "t-9"
    assert (letter.event_id, letter.rule) == ("", "")
    assert process.value("callbacks_orphaned_total") == process.value("dead_letters_total", reason=ORPHANED) == 1
    assert (process.lane.flows, world.outputs("statuses"), world.outputs("sends")) == ({}, [], [])
    await process.stop()


async def test_a_callback_for_a_flow_that_was_never_sent_is_one_too(world: World) -> None:
    """The letter then says whose it is; the flow's end stays what it was."""
    process = await Process(world).start()
    record = world.record("nobody")
    await process.put(record, seconds=1)
    process.call_back(record, "", report("t-9"))
    await world.clock.advance(1)
    [letter] = world.dead_letters.letters
    assert (letter.reason, letter.event_id, letter.flow_id) == (ORPHANED, "e0", world.flow_id(record, ""))
    assert process.value("callbacks_orphaned_total") == 1
    assert world.outcomes() == [("UNROUTED", None)]
    assert process.lane.flows == {}
    await process.stop()


async def test_a_callback_that_waits_while_its_flow_ends_unsent_is_one_too(world: World) -> None:
    """A refused attempt is called back while the row is on its way that ends the flow as INVALID: a letter, and the lane goes on."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Refused(RefusalKind.THROTTLED, 429, "HTTP_429", 60_000))
    await process.put(record, seconds=1)
    [live] = process.lane.flows.values()
    process.journal.held = True
    ending = asyncio.ensure_future(process.lane.settle(live, Ended(State.INVALID, "rule_gone")))
    await world.clock.advance(1)
    process.call_back(record, "order", report("t-9"))
    await world.clock.advance(1)
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(1)
    assert (await ending).state is State.INVALID
    assert [letter.reason for letter in world.dead_letters.letters] == [ORPHANED]
    assert world.outcomes() == [("INVALID", "rule_gone")]
    assert process.value("lane_drops_total") == 0
    await process.stop()


async def test_a_callback_for_a_flow_that_waits_unsent_is_one_too(world: World) -> None:
    """No row of it says that it was sent, so the call is of an earlier life of the event; it neither proves nor delays the send."""
    process = await Process(world).start()
    world.provider.gate.clear()
    first, second = world.record(), world.record()
    flow_id = world.answer(second, "order", Accepted("t-2", 200))
    await process.put(first, second, seconds=1)
    process.call_back(second, "order", report("t-9"))
    await world.clock.advance(1)
    assert [letter.flow_id for letter in world.dead_letters.letters] == [flow_id]
    world.provider.gate.set()
    await world.clock.advance(5)
    assert world.posts(flow_id) == [1]
    await process.stop()


async def test_a_callback_for_a_flow_that_retention_took_is_an_orphan(world: World) -> None:
    """Later than the journal remembers, nobody can say what it is about: the dead letter can."""
    process = await Process(world, Policy(flow_deadline_s=1.0)).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=2)
    process.call_back(record, "order", report("t-1"))
    await world.clock.advance(5)
    await process.stop()
    assert world.dead_letters.letters == []
    log = world.journal_logs[LANE]
    log[:] = [None if entry is not None and world.flow_id(record, "order").encode() in entry.key else entry for entry in log]
    later = await Process(world).start()
    later.call_back(record, "order", report("t-1"))
    await world.clock.advance(2)
    assert [(letter.reason, letter.flow_id) for letter in world.dead_letters.letters] == [(ORPHANED, world.flow_id(record, "order"))]
    await later.stop()


async def test_a_zombie_calls_no_flow_of_its_successor_an_orphan(world: World) -> None:
    """It wakes up, hears what its successor's flow was called back, and does not know the flow: it finds itself fenced instead."""
    zombie = await Process(world).start()
    successor = await Process(world).start()
    record = world.record("order")
    world.answer(record, "order", Accepted("t-9", 200))
    await successor.put(record)
    zombie.call_back(record, "order", report("t-9"))
    successor.feed.deliver(LANE)
    await world.clock.advance(0.1)
    assert (zombie.value("callbacks_orphaned_total"), zombie.value("fenced_total")) == (0, 1)
    assert world.dead_letters.letters == []
    assert [event["status"] for event in world.outputs("statuses")] == ["QUEUED", "SUCCEEDED"]
    await zombie.kill()
    await successor.stop()


async def test_whoever_waits_for_a_proof_that_fails_hears_so(world: World) -> None:
    """One row is asked for many: where it finds the lane taken over, none of them may go on."""
    process = await Process(world).start()
    keeper = process.intake.keepers[LANE]
    assert keeper._hearing is not None
    proofs = [asyncio.ensure_future(keeper._hearing._prove()) for _ in range(3)]
    log = world.journal_logs[LANE]
    log.append(Entry(len(log), *rows.claim_row("somebody", "else", 0), 0))
    await world.clock.advance(0.1)
    assert [type(proof.exception()) for proof in proofs] == [LaneLost] * 3
    await process.kill()


async def test_one_row_proves_the_lane_owned_for_many_orphans(world: World) -> None:
    """A flood of them costs the journal next to nothing."""
    process = await Process(world).start()
    before = len(world.journal_logs[LANE])
    for _ in range(200):
        record = world.record("order")
        world.records.remove(record)
        process.call_back(record, "order", report("t-9"))
    await world.clock.advance(1)
    assert len(world.dead_letters.letters) == 200
    assert len(world.journal_logs[LANE]) - before <= 20
    await process.stop()


async def test_a_callback_before_the_sends_answer_is_no_orphan(world: World) -> None:
    """It is held by the flow's row and applied: the send is proven, and no letter is written."""
    process = await Process(world).start()
    world.provider.answering.clear()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    process.call_back(record, "order", report("t-1", FlowStatus.SUCCEEDED))
    await world.clock.advance(1)
    world.provider.answering.set()
    await world.clock.advance(2)
    assert world.dead_letters.letters == []
    assert [event["tracking_id"] for event in world.outputs("sends")] == ["t-1"]
    await process.stop()


async def test_a_callback_that_comes_while_the_first_row_is_on_its_way_is_held(world: World) -> None:
    """Whether its flow was sent is asked once the row stands, not before."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    process.journal.held = True
    await process.put(record, seconds=0.5)
    process.call_back(record, "order", report("t-1"))
    await world.clock.advance(0.5)
    assert world.dead_letters.letters == []
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(3)
    assert world.dead_letters.letters == []
    assert [event["tracking_id"] for event in world.outputs("sends")] == ["t-1"]
    await process.stop()


async def test_a_checkpoint_does_not_pass_a_letter_that_is_on_its_way(world: World) -> None:
    """Whenever the process dies, the next owner hears the callback again and writes the letter."""
    first = await Process(world).start()
    world.dead_letters.acking.clear()
    await orphan(first, world)
    await first.put(world.record(), seconds=10)
    assert first.value("checkpoints_total") >= 2
    await first.kill()
    world.dead_letters.acking.set()
    second = await Process(world).start()
    await world.clock.advance(2)
    assert [letter.reason for letter in world.dead_letters.letters] == [ORPHANED]
    await second.stop()


async def test_without_dead_letters_only_what_needs_one_waits(world: World) -> None:
    """While no letter can be written its callback counts as unheard; messages go out meanwhile, and the lane is not claimed again."""
    process = await Process(world).start()
    world.dead_letters.unavailable = True
    await orphan(process, world)
    first, bad, last = world.record(), world.put(b"{"), world.record(key="other")
    await process.put(first, bad, last, seconds=100)
    assert world.dead_letters.letters == []
    assert (process.value("lane_drops_total"), process.value("callbacks_orphaned_total")) == (0, 0)
    assert world.outcomes() == [("ACCEPTED", None)] * 2
    assert (process.lane.callbacks.position, world.committed) == (0, {LANE: bad.offset})
    world.dead_letters.unavailable = False
    await world.clock.advance(6)
    assert sorted(letter.reason for letter in world.dead_letters.letters) == ["BAD_JSON", ORPHANED]
    assert process.lane.callbacks.position == 1
    await process.stop()


async def test_orphans_that_wait_for_their_letters_hold_up_no_callback(world: World) -> None:
    """A lost journal makes hundreds of them at once: the callbacks behind them are about flows that are known."""
    process = await Process(world).start()
    record = world.record()
    await process.put(record, seconds=1)
    world.dead_letters.unavailable = True
    for _ in range(600):
        await orphan(process, world)
    process.call_back(record, "order", report("track-1"))
    await world.clock.advance(5)
    assert world.outputs("statuses")[-1]["status"] == "SUCCEEDED"
    world.dead_letters.unavailable = False
    await world.clock.advance(6)
    assert len(world.dead_letters.letters) == 600
    assert process.lane.callbacks.position == 601
    await process.stop()


async def test_so_many_callbacks_wait_behind_a_letter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind one that is not done is kept in memory, and heard again after a restart: it is bounded."""
    monkeypatch.setattr(hearing, "MOST_BEHIND", 20)
    process = await Process(world).start()
    record = world.record()
    await process.put(record, seconds=1)
    world.dead_letters.unavailable = True
    await orphan(process, world)
    for _ in range(50):
        process.call_back(record, "order", report("track-1", FlowStatus.IN_PROGRESS))
    await world.clock.advance(5)
    assert process.lane.callbacks.open == 20
    world.dead_letters.unavailable = False
    await world.clock.advance(10)
    assert (process.lane.callbacks.open, process.lane.callbacks.position) == (0, 51)
    await process.stop()


async def test_a_stop_does_not_wait_for_the_dead_letter_topic(world: World) -> None:
    """What it does not take is written by the next tenure."""
    process = await Process(world).start()
    world.dead_letters.unavailable = True
    await orphan(process, world)
    await world.clock.advance(10)
    await process.stop()
    assert process.value("lane_drops_total") == 0
    world.dead_letters.unavailable = False
    second = await Process(world).start()
    await world.clock.advance(5)
    assert [letter.reason for letter in world.dead_letters.letters] == [ORPHANED]
    await second.stop()


async def test_a_letter_written_again_after_a_take_over_has_the_same_id(world: World) -> None:
    """Callbacks behind the last checkpoint are heard twice: whoever reads the dead letters drops repeats by id."""
    first = await Process(world).start()
    await orphan(first, world)
    await orphan(first, world)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(10)
    ids = [letter.id for letter in world.dead_letters.letters]
    assert (len(ids), len(set(ids))) == (4, 2)
    assert ids[:2] == ids[2:]
    await second.stop()
    third = await Process(world).start()
    await world.clock.advance(10)
    assert len(world.dead_letters.letters) == 4
    await third.stop()


async def test_a_callback_that_no_longer_parses_is_a_dead_letter(world: World) -> None:
    """Its bytes are kept, the checkpoint moves on, and the next one is heard."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    process.feed.put(LANE, None)
    process.call_back(record, "order", report("t-1"))
    await world.clock.advance(5)
    [letter] = world.dead_letters.letters
    assert (letter.stage, letter.reason, letter.flow_id, letter.record.value) == ("callback", "CALLBACK_UNREADABLE", "", b"\xc3")
    assert process.value("callbacks_orphaned_total") == 0
    assert process.lane.callbacks.position == 2
    assert [event["status"] for event in world.outputs("statuses")] == ["QUEUED", "SUCCEEDED"]
    await process.stop()
