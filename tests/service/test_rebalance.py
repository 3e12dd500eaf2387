"""Lanes that come and go: revoked, lost, claimed by two, refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from connector.core.model import Doubt, FlowStatus, NotSent, Record, RefusalKind, Refused
from connector.errors import KafkaUnavailable, LaneLost
from connector.ports import Entry, LaneId
from connector.services.parts import Policy
from connector.services.throttle import Breaker
from tests.service.world import LANE, Process, World, report

OTHER = LaneId("notifications", 1)


async def test_a_revoked_lane_ends_its_post_first(world: World) -> None:
    """The group waits for the POST under way; it is settled and committed, and the next owner sends nothing."""
    first = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")
    world.provider.answering.clear()
    await first.put(record, seconds=1)
    released = first.source.revoke(LANE)
    await world.clock.advance(3)
    assert not released.is_set()
    world.provider.answering.set()
    await world.clock.advance(1)
    assert released.is_set()
    assert world.outcomes() == [("ACCEPTED", None)]
    assert world.committed[LANE] == 1
    second = await Process(world).start()
    await world.clock.advance(60)
    assert world.posts(flow) == [1]
    assert second.value("adopted_flows_total") == 0
    await second.stop()
    await first.kill()


async def test_a_post_that_outlasts_the_grace_is_a_doubt_for_the_next(world: World) -> None:
    """The group is released after L + T at most; the next owner searches, and does not send again what it finds."""
    first = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", world.provider.lose_reply)
    world.provider.answering.clear()
    world.provider.timeout_s = 60.0
    await first.put(record, seconds=1)
    released = first.source.revoke(LANE)
    await world.clock.advance(12)
    assert not released.is_set()
    await world.clock.advance(2)
    assert released.is_set()
    world.provider.answering.set()
    second = await Process(world).start()
    assert second.value("adopted_flows_total") == 1
    await world.clock.advance(200)
    assert world.posts(flow) == [1, 2]  # the cut request never reached Routee
    assert [(event["outcome"], event["resent_after_doubt"]) for event in world.outputs("sends")] == [("ACCEPTED", True)]
    await second.stop()
    await first.kill()


async def test_a_stop_meanwhile_ends_the_post_of_a_revoked_lane(world: World) -> None:
    """Told to stop while a lane is being given back: its POST is settled first, so that the next owner inherits no doubt."""
    first = await Process(world).start()
    world.provider.answering.clear()
    await first.put(world.record(), seconds=1)
    first.source.revoke(LANE)
    await world.clock.advance(1)
    answering = asyncio.create_task(answer_in(world, 2.0))
    await first.stop()
    await world.clock.advance(2)
    assert answering.done()
    assert world.outcomes() == [("ACCEPTED", None)]
    second = await Process(world).start()
    assert second.value("adopted_flows_total") == 0
    await second.stop()


async def answer_in(world: World, seconds: float) -> None:
    """Answers that wait come then."""
    await world.clock.sleep(seconds)
    world.provider.answering.set()


async def test_a_post_that_began_late_is_waited_for(world: World) -> None:
    """Revoked just after the intent, sent near the end of its lease, answered near the end of T: settled here, no doubt for anybody."""
    first = await Process(world).start()
    world.provider.gate.clear()
    await first.put(world.record(), seconds=0.2)
    released = first.source.revoke(LANE)
    await world.clock.advance(2.5)
    world.provider.answering.clear()
    world.provider.gate.set()
    await world.clock.advance(9)
    assert not released.is_set()
    world.provider.answering.set()
    await world.clock.advance(1)
    assert released.is_set()
    assert world.outcomes() == [("ACCEPTED", None)]
    second = await Process(world).start()
    assert second.value("adopted_flows_total") == 0
    await second.stop()
    await first.kill()


async def test_what_has_not_begun_is_left_to_the_next(world: World) -> None:
    """A flow that waits for a breaker has no row: it is not committed, and the next owner sends it, unflagged."""
    first = await Process(world).start()
    first.throttle.open(Breaker.BALANCE)
    records = [world.record(key=str(n)) for n in range(3)]
    await first.put(*records, seconds=1)
    released = first.source.revoke(LANE)
    await world.clock.advance(1)
    assert released.is_set()
    assert world.committed.get(LANE, 0) == 0
    second = await Process(world).start()
    await world.clock.advance(2)
    assert sorted(world.provider.posts) == sorted(f"{world.flow_id(record, 'order')}.1" for record in records)
    await second.stop()
    await first.kill()


async def test_a_retry_is_left_to_the_next(world: World) -> None:
    """A flow between two attempts does not hold the group up."""
    first = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", Refused(RefusalKind.THROTTLED, 429, "x", 4000))
    await first.put(record, seconds=0.5)
    released = first.source.revoke(LANE)
    await world.clock.advance(0.5)
    assert released.is_set()
    second = await Process(world).start()
    await world.clock.advance(5)
    assert world.posts(flow) == [1, 2]
    await second.stop()
    await first.kill()


async def test_a_lost_lane_is_dropped_at_once(world: World) -> None:
    """Somebody else has it: no commit, no row, no POST any more."""
    first = await Process(world).start()
    first.throttle.open(Breaker.BALANCE)
    await first.put(world.record(), seconds=1)
    rows = len(world.journal_logs[LANE])
    first.source.lose(LANE)
    await world.clock.advance(0.1)
    first.throttle.close(Breaker.BALANCE)
    await world.clock.advance(10)
    assert (world.provider.posts, world.committed.get(LANE, 0), len(world.journal_logs[LANE])) == ([], 0, rows)
    assert first.intake.keepers == {}
    await first.kill()


async def test_a_lane_that_comes_back_is_claimed_anew(world: World) -> None:
    """Lost and assigned in one breath: the old tenure does not disturb the new one."""
    process = await Process(world).start()
    await process.put(world.record(), seconds=2)
    process.source.lose(LANE)
    process.source.assign(LANE)
    await world.clock.advance(2)
    await process.put(world.record(), seconds=3)
    assert len(world.provider.posts) == 2
    assert world.committed[LANE] == 2
    await process.stop()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_lane_that_comes_back_hears_its_callbacks(world: World, times: int) -> None:
    """The old tenure ends later than the lane comes back: the new one begins behind it, and its callbacks stay followed."""
    process = await Process(world).start()
    record = world.record()
    await process.put(record, seconds=2)
    process.lane.background(slow_to_end(world))
    for _ in range(times):
        process.source.lose(LANE)
        process.source.assign(LANE)
        await world.clock.advance(0.1)
    assert process.intake.keepers[LANE].state == "claiming"
    await world.clock.advance(3)
    assert process.intake.keepers[LANE].state == "running"
    process.call_back(record, "order", report("track-1", FlowStatus.SUCCEEDED))
    await world.clock.advance(2)
    assert [event["status"] for event in world.outputs("statuses")][-1] == "SUCCEEDED"
    await process.stop()


async def test_a_lane_that_is_lost_while_it_drains_is_claimed_anew(world: World) -> None:
    """Revoked with a POST under way, then lost and assigned again: the drain is cut, and the new tenure hears its callbacks."""
    process = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", world.provider.lose_reply)
    world.provider.answering.clear()
    await process.put(record, seconds=1)
    process.source.revoke(LANE)
    await world.clock.advance(1)
    process.source.lose(LANE)
    process.source.assign(LANE)
    await world.clock.advance(1)
    assert process.intake.keepers[LANE].state == "running"
    process.call_back(record, "order", report("track-1", FlowStatus.SUCCEEDED))
    await world.clock.advance(30)
    assert world.posts(flow) == [1]
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_what_a_lost_lane_emitted_is_waited_for(world: World) -> None:
    """Outputs of the old tenure that arrive after the lane has come back are told once: the new one looks for them when they are there."""
    process = await Process(world).start()
    process.outbox.held = True
    await process.put(world.record(), seconds=1)
    process.source.lose(LANE)
    process.source.assign(LANE)
    await world.clock.advance(2)
    assert process.intake.keepers[LANE].state == "claiming"
    process.outbox.held = False
    process.outbox.land()
    await world.clock.advance(5)
    assert process.intake.keepers[LANE].state == "running"
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_a_lane_that_comes_back_while_it_is_still_claimed_flows(world: World) -> None:
    """Taken away and given again in the middle of its claim: that claim's end neither starts nor stops the next one's input."""
    process = Process(world)
    process.journal.before_scan = lambda: setattr(process.journal, "held", True)
    await process.start()
    process.source.revoke(LANE)
    await world.clock.advance(1)
    process.source.assign(LANE)
    await world.clock.advance(1)
    process.journal.before_scan = lambda: None
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(5)
    assert process.intake.keepers[LANE].state == "running"
    await process.put(world.record(), seconds=5)
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_a_keeper_that_does_not_end_holds_its_lane_up_for_a_while_only(world: World) -> None:
    """The next one begins when its patience is over; a lane that leaves again while it waits is given back at once."""
    process = await Process(world).start()
    process.lane.background(slow_to_end(world, 600))
    process.source.lose(LANE)
    process.source.assign(LANE)
    await world.clock.advance(1)
    released = process.source.revoke(LANE)
    await world.clock.advance(0.1)
    assert released.is_set()
    process.source.assign(LANE)
    await world.clock.advance(17)
    assert process.intake.keepers[LANE].state == "claiming"
    await world.clock.advance(3)
    assert process.intake.keepers[LANE].state == "running"
    await world.clock.advance(600)
    assert LANE in process.feed.position  # what the old one lets go of, now that it ends, is the new one's
    await process.put(world.record(), seconds=5)
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def slow_to_end(world: World, seconds: float = 2) -> None:
    """A task of a lane that, once cancelled, waits for a read in a thread."""
    try:
        await asyncio.Event().wait()
    finally:
        await world.clock.sleep(seconds)


async def test_two_that_were_told_to_claim(world: World) -> None:
    """The lane flips as long as both believe in it; each event is sent once, and no output id has two contents."""
    first, second = Process(world), Process(world)
    await first.start()
    await second.start()
    for _ in range(10):
        record = world.record(key=None)
        first.source.put(record)
        second.source.put(record)
        await world.clock.advance(1)
    await world.clock.advance(200)
    assert sorted(world.posts(world.flow_id(record, "order"))[0] for record in world.records) == [1] * 10
    assert all(len(found) == 1 for found in world.provider.accepted.values())
    contents = {(event["id"], event["outcome"]) for event in world.outputs("sends")}
    assert len(contents) == 10
    await first.kill()
    await second.stop()


@pytest.mark.parametrize("wait_s", [0.5, 60.0])
async def test_a_retry_goes_on_with_its_number(world: World, wait_s: float) -> None:
    """Refused (n+1) and not sent (same n) are known: the claimant needs no search."""
    first = await Process(world).start()
    refused, unsent = world.record(key="a"), world.record(key="b")
    flows = (
        world.answer(refused, "order", Refused(RefusalKind.THROTTLED, 429, "x", int(wait_s * 1000))),
        world.answer(unsent, "order", NotSent("dns")),
    )
    await first.put(refused, unsent, seconds=0.05)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(wait_s + 10)
    assert [world.posts(flow) for flow in flows] == [[1, 2], [1, 1]]
    assert world.provider.searches == 0
    await second.stop()


async def test_a_marketing_flow_in_flight_is_never_sent_again(world: World) -> None:
    """Killed during the POST: not found is not enough for this class."""
    first = await Process(world).start()
    record = world.record("sale")
    flow = world.answer(record, "sale", Doubt("reset"))
    world.provider.answering.clear()
    await first.put(record, seconds=1)
    await first.kill()
    world.provider.answering.set()
    second = await Process(world).start()
    await world.clock.advance(70)
    assert world.posts(flow) == [1]
    assert world.outcomes() == [("UNKNOWN", "not_found")]
    await second.stop()


async def test_a_stop_ends_a_backoff(world: World) -> None:
    """A lane that cannot be claimed does not hold the group up."""
    process = Process(world)
    process.journal.held = True
    await process.start()
    for _ in range(8):
        process.journal.lose()
        await world.clock.advance(8)
    process.journal.lose()
    await world.clock.advance(0.1)
    released = process.source.revoke(LANE)
    await world.clock.advance(0.1)
    assert released.is_set()
    await process.kill()


async def test_a_foreign_journal_is_refused_until_a_person_acts(world: World) -> None:
    """The lane stands, says so in the metrics, sends nothing, and can still be given back."""
    world.journal_logs[LANE].append(Entry(0, b"x", b"not a row of ours", 0))
    process = await Process(world).start()
    await process.put(world.record(), seconds=60)
    assert process.intake.keepers[LANE].state == "refused"
    assert not process.intake.ready
    assert process.value("lanes", state="refused") == 1
    assert world.provider.posts == []
    released = process.source.revoke(LANE)
    await world.clock.advance(1)
    assert released.is_set()
    assert process.value("lanes", state="refused") == 0
    await process.kill()


async def test_a_mirrored_journal_is_refused(world: World) -> None:
    """Rows whose epoch does not lie before them: another journal's offsets."""
    first = await Process(world).start()
    await first.put(world.record(), seconds=5)
    await first.kill()
    log = [entry for entry in world.journal_logs[LANE] if entry is not None][1:]
    world.journal_logs[LANE][:] = [entry._replace(offset=offset) for offset, entry in enumerate(log)]
    second = await Process(world).start()
    assert second.intake.keepers[LANE].state == "refused"
    await second.kill()


async def test_a_claim_above_ours_ends_the_claim(world: World) -> None:
    """Seen while the journal is read: back off, claim anew, and own it then."""
    first, second = Process(world), Process(world)
    await first.start()
    second.journal.held = True
    await second.start()
    third = Process(world)
    third.journal.held = True
    await third.start()
    second.journal.land()
    third.journal.land()
    second.journal.held = third.journal.held = False
    await world.clock.advance(0.1)
    assert second.value("lane_drops_total", reason="superseded") == 1
    for process in (first, second):
        await process.kill()
    await third.stop()


async def test_readiness_and_lanes_are_told(world: World) -> None:
    """Ready once every lane is served; the gauge counts by state."""
    process = Process(world)
    process.journal.held = True
    assert not process.intake.ready
    await process.start()
    assert (process.intake.ready, process.value("lanes", state="claiming")) == (False, 1)
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(1)
    assert (process.intake.ready, process.value("lanes", state="running")) == (True, 1)
    await process.stop()
    assert process.value("lanes", state="running") == 0


async def test_the_share_follows_the_lanes(world: World) -> None:
    """Without a lane nothing of the rate is ours."""
    process = await Process(world, replace(Policy(), timeout_s=1)).start()
    assert process.value("rate_limit") == 1000
    process.source.revoke(LANE)
    await world.clock.advance(1)
    assert process.value("rate_limit") == 0
    await process.kill()


async def test_a_row_lost_while_adopting_is_not_the_end(world: World) -> None:
    """A claimant whose first row of an inherited flow gets lost claims the lane anew; nothing but its own loss has cancelled it."""
    first = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", world.provider.lose_reply)
    world.provider.answering.clear()
    await first.put(record, seconds=1)
    await first.kill()
    world.provider.answering.set()
    second = Process(world)
    append = second.journal.append
    lost: list[bytes] = []

    def lose_once(lane: LaneId, key: bytes, value: bytes) -> asyncio.Future[int]:
        if lost or not key.startswith(flow.encode()):
            return append(lane, key, value)
        lost.append(key)
        report: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(report.set_exception, LaneLost("produce_timed_out"))
        return report

    second.journal.append = lose_once  # type: ignore[method-assign]
    await second.start()
    await world.clock.advance(10)
    assert lost
    assert second.lane.owned
    await world.clock.advance(200)
    assert [event["outcome"] for event in world.outputs("sends")] == ["ACCEPTED"]
    await second.stop()


def ready(process: Process) -> bool:
    """What ``/readyz`` says of its lanes and its membership."""
    return process.intake.ready


async def test_a_member_without_lanes_is_ready_and_one_that_was_expelled_is_not(world: World) -> None:
    """More workers than partitions are no fault; a session that timed out is one, until the group has the process back."""
    process = await Process(world).start()
    process.source.lose(LANE)
    await world.clock.advance(2)
    assert ready(process), "the others are enough"
    process.source.assign(LANE)
    await world.clock.advance(2)
    process.source.lose(LANE, expelled=True)
    await world.clock.advance(2)
    assert not ready(process)
    process.source.lose()
    await world.clock.advance(1)
    assert not ready(process)
    process.source.assign()
    await world.clock.advance(1)
    assert ready(process)
    await process.stop()


async def test_a_worker_that_never_joined_is_not_ready(world: World) -> None:
    """It becomes so with its first answer from the group, which may be that it has nothing to do."""
    process = Process(world)
    process.task = asyncio.create_task(process.intake.run())
    await world.clock.advance(1)
    assert not ready(process)
    process.source.assign()
    await world.clock.advance(1)
    assert ready(process)
    await process.stop()


def on_other(world: World) -> Record:
    """A record of another partition."""
    return replace(world.record(), partition=1)


async def test_a_late_release_leaves_a_lane_that_came_back_flowing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lanes are revoked together; one is slow to end (a broker is silent: librdkafka's 30 s), the other one comes back meanwhile."""
    process = await Process(world).start()
    process.source.assign(OTHER)
    await world.clock.advance(0.5)

    async def begin(lane: LaneId) -> int:
        if lane != LANE:
            return 0
        asked = asyncio.create_task(world.clock.sleep(30.0))  # as Seat.run: awaited to its end even when cancelled
        cut: BaseException | None = None
        while not asked.done():
            try:
                await asyncio.wait([asked])
            except asyncio.CancelledError as error:
                cut = error
        raise cut or KafkaUnavailable("no answer")

    monkeypatch.setattr(process.journal, "begin", begin)
    await world.clock.advance(60.5)
    released = process.source.revoke(LANE, OTHER)
    await world.clock.advance(17)  # release_wait_s of app.py: max(8, L + T) + 4
    assert not released.is_set()
    process.source.lose(LANE, OTHER)
    await world.clock.advance(1)
    process.source.assign(OTHER)
    await world.clock.advance(2)
    before = on_other(world)
    await process.put(before, seconds=1)
    assert world.posts(world.flow_id(before, "order")) == [1]
    await world.clock.advance(15)
    assert released.is_set()
    assert process.intake.keepers[OTHER].state == "running"
    assert process.intake.ready
    after = on_other(world)
    await process.put(after, seconds=600)
    assert world.posts(world.flow_id(after, "order")) == [1]
    await process.kill()


async def waiting_for_the_registry(world: World) -> Process:
    """In the middle of an adoption: an inherited output needs its recipient, and no record can be decoded."""
    first = await Process(world).start()
    first.outbox.held = True
    await first.put(world.record(), seconds=1)
    await first.kill()
    world.decoder.unreachable = True
    return await Process(world).start()


async def test_an_old_keeper_takes_neither_input_nor_callbacks_away(world: World) -> None:
    """An adoption that waits for the registry is given up when the lane is taken away, and the lane is served when it comes back."""
    second = await waiting_for_the_registry(world)
    second.source.revoke(LANE)
    await world.clock.advance(17)
    second.source.lose(LANE)
    await world.clock.advance(1)
    second.source.assign(LANE)
    await world.clock.advance(18.7)
    world.decoder.unreachable = False
    await world.clock.advance(30)
    assert second.intake.keepers[LANE].state == "running"
    later = world.record()
    await second.put(later, seconds=30)
    assert world.posts(world.flow_id(later, "order")) == [1]
    assert LANE in second.feed.position
    await second.kill()


async def test_a_stop_ends_an_adoption_that_waits_for_the_registry(world: World) -> None:
    """Nothing has begun, so nothing is waited for."""
    second = await waiting_for_the_registry(world)
    stopping = asyncio.create_task(second.intake.stop(5.0))
    await world.clock.advance(300)
    ended = stopping.done()
    stopping.cancel()
    await second.kill()
    assert ended


async def test_a_stop_ends_a_claim_whose_first_row_is_not_acknowledged(world: World) -> None:
    """The checkpoint's restatement is on its way, Kafka is silent: a revocation is not held up for message.timeout.ms."""
    process = Process(world)
    process.journal.before_scan = lambda: setattr(process.journal, "held", True)
    await process.start()
    released = process.source.revoke(LANE)
    await world.clock.advance(25)
    ended = released.is_set()
    await process.kill()
    assert ended


async def test_a_lane_taken_and_given_in_one_breath_is_kept(world: World) -> None:
    """A process that was frozen finds all three waiting (the group's thread woke first): the lane is kept in the end."""
    process = await Process(world).start()
    process.source.revoke(LANE)
    process.source.lose(LANE)
    process.source.assign(LANE)
    await world.clock.advance(30)
    kept = LANE in process.intake.keepers
    await process.kill()
    assert kept
