"""What a claimant knows, whatever a former owner's late rows, the cleaner, and a second death do to the journal it reads."""

from __future__ import annotations

import pytest

from connector.core import rows
from connector.core.flow import State
from connector.core.model import Doubt, FlowReport, FlowStatus, Rejected
from connector.core.rows import Checkpoint
from connector.ports import Entry
from tests.service.world import LANE, Process, World, report

LateRows = list[tuple[bytes, bytes]]


def land(world: World, late: LateRows) -> None:
    """Rows of somebody who is gone."""
    log = world.journal_logs[LANE]
    for key, value in late:
        log.append(Entry(len(log), key, value, 0))


def compact(world: World) -> None:
    """The cleaner has come: of each key only the last row is left."""
    log = world.journal_logs[LANE]
    last = {entry.key: entry.offset for entry in log if entry is not None}
    for entry in [entry for entry in log if entry is not None]:
        if entry.offset < last[entry.key]:
            log[entry.offset] = None


def told(world: World) -> list[str]:
    """Ids of all outputs."""
    return [event["id"] for topic in ("sends", "statuses") for event in world.outputs(topic)]


async def die_posting(world: World) -> tuple[str, LateRows]:
    """A worker that posted a flow and died with the row of its outcome still on its way: the flow's id, and that row."""
    process = await Process(world).start()
    record = world.record()
    world.provider.answering.clear()
    await process.put(record, seconds=0.1)
    process.journal.held = True
    world.provider.answering.set()
    await world.clock.advance(0.2)
    late = [(key, value) for _, key, value, _ in process.journal.in_flight]
    await process.kill()
    assert [rows.head_of(value).state for _, value in late] == [State.ACCEPTED]
    return world.flow_id(record, "order"), late


async def claim_meanwhile(world: World, late: LateRows) -> Process:
    """A worker that claims; between its CLAIM and its reading those rows land, and the cleaner comes."""

    def meanwhile() -> None:
        land(world, late)
        compact(world)

    process = Process(world)
    process.journal.before_scan = meanwhile
    return await process.start()


async def test_what_lands_behind_the_claim_while_it_is_read_counts(world: World) -> None:
    """The cleaner drops an INTENT for an outcome that landed above the CLAIM: who stopped reading there would send it again."""
    flow_id, late = await die_posting(world)
    second = await claim_meanwhile(world, late)
    await world.clock.advance(200)
    assert world.posts(flow_id) == [1]
    assert world.outcomes() == [("ACCEPTED", None)]
    await second.stop()


async def test_an_inherited_output_is_told_once_however_many_claim(world: World) -> None:
    """What a claimant told of a zombie's row stands under its own epoch: the next one does not tell it again."""
    _, late = await die_posting(world)
    second = await claim_meanwhile(world, late)
    await world.clock.advance(30)
    once = told(world)
    assert len(once) == 2
    await second.kill()
    third = await Process(world).start()
    await world.clock.advance(30)
    assert told(world) == once
    await third.stop()


async def test_a_zombies_late_checkpoint_overrides_nothing(world: World) -> None:
    """It speaks for outputs that the owner has told since: the next claimant must look for them where the owner did."""
    first = await Process(world).start()
    first.outbox.held = True
    await first.put(world.record(), seconds=0.1)
    accepted = world.journal_logs[LANE][-1]
    assert accepted is not None
    await first.kill()
    second = await Process(world).start()
    once = told(world)
    assert len(once) == 2
    zombies = Checkpoint(accepted.offset, await second.outbox.ends(LANE), None, 1)
    land(world, [rows.checkpoint_row(zombies, rows.head_of(accepted.value).epoch, 9)])
    await second.kill()
    third = await Process(world).start()
    await world.clock.advance(30)
    assert told(world) == once
    await third.stop()


@pytest.mark.parametrize("cleaned", [False, True])
async def test_a_zombies_late_row_hides_nothing(world: World, cleaned: bool) -> None:
    """Its INTENT lands after the owner's REJECTED; whichever the cleaner would drop, the next owner knows how the flow ended."""
    zombie = await Process(world).start()
    record = world.record()
    flow_id = world.answer(record, "order", Rejected(400, "400001000"))
    zombie.journal.held = True
    await zombie.put(record, seconds=0.1)
    late = [(key, value) for _, key, value, _ in zombie.journal.in_flight]
    await zombie.kill()
    owner = await Process(world).start()
    await world.clock.advance(10)
    assert world.outcomes() == [("REJECTED", "400001000")]
    land(world, late)
    if cleaned:
        compact(world)
    await owner.kill()
    third = await Process(world).start()
    await world.clock.advance(400)
    assert world.posts(flow_id) == [1]
    assert world.outcomes() == [("REJECTED", "400001000")]
    await third.stop()


async def test_a_checkpoint_does_not_pass_a_callback_that_still_waits(world: World) -> None:
    """Its flow's input cannot be read for a while, checkpoints go on, the process dies: the next owner hears the callback."""
    first = await Process(world).start()
    record = world.record("code")
    flow_id = world.answer(record, "code", world.provider.lose_reply)
    await first.put(record, seconds=0.1)
    await first.kill()
    world.provider.search_unanswered = True
    world.decoder.unreachable = True
    second = await Process(world).start()
    second.call_back(record, "code", report("track-1", FlowStatus.SUCCEEDED))
    await world.clock.advance(20)
    assert world.outcomes() == []
    await second.kill()
    world.decoder.unreachable = False
    third = await Process(world).start()
    await world.clock.advance(10)
    assert world.posts(flow_id) == [1]
    assert world.outcomes() == [("ACCEPTED", None)]
    await third.stop()


async def test_a_corrected_flow_is_known_when_the_cleaner_has_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNKNOWN, then proven by a late call and followed again: the row that the ledger knew it by is gone, the event is not forgotten."""

    async def nothing(*_: object) -> tuple[FlowReport, ...]:
        return ()

    monkeypatch.setattr(world.provider, "search", nothing)
    process = await Process(world).start()
    record = world.record("sale", event_id="same")
    flow = world.answer(record, "sale", world.provider.lose_reply)
    await process.put(record, seconds=60)
    process.call_back(record, "sale", report("track-1", None))
    await world.clock.advance(1)
    assert [outcome for outcome, _ in world.outcomes()] == ["UNKNOWN", "ACCEPTED"]
    compact(world)
    await process.put(world.record("sale", event_id="same"), seconds=5)
    assert world.posts(flow) == [1]
    assert process.value("lane_drops_total", reason="rows_replaced") == 0  # no claim was needed to know it
    await process.stop()


async def finished(world: World) -> tuple[Process, str]:
    """An event whose flow has ended, and a process that knows it by its row."""
    process = await Process(world).start()
    record = world.record(event_id="same")
    await process.put(record, seconds=1)
    process.call_back(record, "order", report("track-1", FlowStatus.SUCCEEDED))
    await world.clock.advance(20)
    return process, world.flow_id(record, "order")


async def test_a_replaced_row_of_a_repeat_is_read_anew(world: World) -> None:
    """A zombie's late row of the same key took its place: the lane is claimed anew, and nobody is messaged twice."""
    process, flow = await finished(world)
    last = [entry for entry in world.journal_logs[LANE] if entry is not None and entry.key.startswith(flow.encode())][-1]
    land(world, [(last.key, last.value)])
    compact(world)
    await process.put(world.record(event_id="same"), seconds=5)
    assert process.value("lane_drops_total", reason="rows_replaced") == 1
    assert world.posts(flow) == [1]
    await process.stop()


async def test_what_retention_took_is_forgotten(world: World) -> None:
    """Below the log's start no row was replaced: the event is met as if for the first time, and the lane goes on."""
    process, flow = await finished(world)
    log = world.journal_logs[LANE]
    process.journal.begins[LANE] = len(log)
    log[:] = [None] * len(log)
    await process.put(world.record(event_id="same"), seconds=5)
    assert process.value("lane_drops_total", reason="rows_replaced") == 0
    assert world.posts(flow) == [1, 1]
    await process.stop()


async def test_a_call_that_named_no_message_is_remembered(world: World) -> None:
    """A doubt was called back, and the process dies behind the checkpoint that says so: the next owner does not send it again."""
    first = await Process(world).start()
    record = world.record("code", expires_s=600)
    flow_id = world.answer(record, "code", Doubt("timeout"))
    await first.put(record, seconds=1)
    first.call_back(record, "code", report(None))
    await world.clock.advance(8)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(100)
    assert world.posts(flow_id) == [1]
    assert world.outcomes() == [("UNKNOWN", "called_back")]
    await second.stop()
