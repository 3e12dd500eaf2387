"""Starts: what a lane is refused for, where it goes on, and what it reports of the doubts it inherited."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from connector.core import rows
from connector.core.model import Doubt
from connector.ports import BegunAnew
from tests.service.world import LANE, Process, World, report


def events(told: list[Any], name: str) -> list[dict[str, Any]]:
    """Log lines of that name."""
    return [dict(line) for line in told if line["event"] == name]


async def refused(world: World) -> str:
    """Start a process that must refuse its lane: nothing is sent, and readiness and the gauge show it. Gives the reason."""
    posts = len(world.provider.posts)
    process = await Process(world).start()
    await world.clock.advance(60)
    keeper = process.intake.keepers[LANE]
    assert (keeper.state, process.intake.ready) == ("refused", False)
    assert process.value("lanes", state="refused") == 1
    assert len(world.provider.posts) == posts
    assert keeper.refusal is not None
    await process.stop()
    return keeper.refusal


async def test_a_deleted_journal_refuses_its_lane(world: World) -> None:
    """Offsets are committed, the journal is new: nothing is sent again, and the remedy is named."""
    first = await Process(world).start()
    await first.put(*(world.record(key=str(n)) for n in range(3)), seconds=3)
    await first.stop()
    world.journal_logs[LANE].clear()
    world.record()
    assert "topics begin" in await refused(world)
    assert "topics begin" in await refused(world)  # the refused claim's own row makes the journal no better


async def test_lost_group_offsets_send_nothing_again(world: World) -> None:
    """Committed offsets that expired: the lane goes on from its checkpoint, and does not even read what is done."""
    first = await Process(world).start()
    await first.put(*(world.record(key=str(n)) for n in range(3)), seconds=5)
    await first.stop()
    world.committed.clear()
    second = await Process(world).start()
    await second.put(world.record(), seconds=5)
    assert len(world.provider.posts) == 4
    assert (second.value("events_total"), second.value("duplicates_total")) == (1, 0)
    await second.stop()


async def test_the_latest_start_is_kept_from_the_first_moment(world: World) -> None:
    """With ``start_from: latest``, what comes between the first claim and the first commit is not skipped by the next start."""
    world.record()
    first = Process(world)
    first.source.begin = 1
    await first.start()
    await first.kill()
    record = world.record()
    second = Process(world)
    second.source.begin = 2
    await second.start()
    await world.clock.advance(5)
    assert world.provider.posts == [f"{world.flow_id(record, 'order')}.1"]
    await second.stop()


async def test_an_input_shorter_than_what_was_read_refuses_its_lane(world: World) -> None:
    """The topic was made anew under a broker that tells no ids, or cut off."""
    first = await Process(world).start()
    await first.put(*(world.record(key=str(n)) for n in range(3)), seconds=5)
    await first.stop()
    second = Process(world)
    second.source.end = 2
    await second.start()
    await world.clock.advance(12)  # a new leader may show the end late
    keeper = second.intake.keepers[LANE]
    assert (keeper.state, len(world.provider.posts)) == ("refused", 3)
    assert "ends at 2" in (keeper.refusal or "")
    await second.stop()


async def test_unread_input_that_retention_took_is_told(world: World) -> None:
    """The lane goes on behind the gap; the gap is an error line and a number."""
    first = await Process(world).start()
    await first.put(world.record(), seconds=5)
    await first.stop()
    for _ in range(5):
        world.record()
    second = Process(world)
    second.source.first = 4
    with capture_logs() as told:
        await second.start()
    await world.clock.advance(30)
    assert [(line["records"], line["start"]) for line in events(told, "input_gone")] == [(3, 4)]
    assert second.value("input_gone_total", topic="notifications") == 3
    assert len(world.provider.posts) == 3
    await second.stop()


async def test_a_mirrored_journal_refuses_its_lane(world: World) -> None:
    """Rows that claim to be written under a later epoch than their own place: a copy of another log."""
    world.journal_logs[LANE].clear()
    first = await Process(world).start()
    await first.put(world.record(), seconds=3)
    await first.stop()
    del world.journal_logs[LANE][0]
    world.journal_logs[LANE][:] = [entry and entry._replace(offset=offset) for offset, entry in enumerate(world.journal_logs[LANE])]
    assert "mirrored" in await refused(world)


async def test_a_foreign_journal_refuses_its_lane(world: World) -> None:
    """What is no row of ours is never taken for one."""
    first = await Process(world).start()
    await first.stop()
    entry = world.journal_logs[LANE][0]
    assert entry is not None
    world.journal_logs[LANE][0] = entry._replace(value=b"{}")
    assert "journal" in await refused(world)


async def test_a_recreated_input_refuses_its_lane(world: World) -> None:
    """Another topic id than the checkpoint's."""
    first = await Process(world).start()
    await first.stop()
    last = rows.checkpoint_row(rows.Checkpoint(-1, {}, None, 0, "another"), 0, 9)
    log = world.journal_logs[LANE]
    entry = log[0]
    assert entry is not None
    log.append(entry._replace(offset=len(log), key=last[0], value=last[1]))
    second = Process(world)
    second.parts.topic_ids[LANE.topic] = "this"  # type: ignore[index]
    await second.start()
    assert "created anew" in (second.intake.keepers[LANE].refusal or "")
    await second.stop()


@pytest.mark.parametrize(("rule", "found", "outcome"), [("code", True, "resolved"), ("code", False, "resent"), ("sale", False, "unknown")])
async def test_inherited_doubts_are_reported_once_all_have_ended(world: World, rule: str, found: bool, outcome: str) -> None:
    """At the claim how many there are, by class; at the end what became of each, in one line and in a counter."""
    first = await Process(world).start()
    record = world.record(rule)
    world.answer(record, rule, world.provider.lose_reply if found else Doubt("timeout"))
    await first.put(record, seconds=0.05)
    await first.kill(rows_land=True)
    kind = {"code": "otp", "sale": "marketing"}[rule]
    second = Process(world)
    with capture_logs() as told:
        await second.start()
        assert [line["classes"] for line in events(told, "lane_claimed")] == [{kind: {"doubt": 1}}]
        assert second.value("adopted_flows_total", **{"class": kind}) == 1
        await world.clock.advance(0.2 if found else 20)
        assert not found or len(events(told, "restart_report")) <= 1
        await world.clock.advance(100)
    (report,) = events(told, "restart_report")
    totals = {"resolved": 0, "resent": 0, "unknown": 0, outcome: 1}
    assert {name: report[name] for name in totals} == totals
    assert (report["unresolved"], report["classes"]) == (1, {kind: {outcome: 1}})
    assert second.value("inherited_doubts_total", outcome=outcome, **{"class": kind}) == 1
    await second.stop()


async def test_a_calm_start_has_nothing_to_report(world: World) -> None:
    """A clean stop leaves no doubts, so no report comes."""
    first = await Process(world).start()
    await first.put(world.record(), seconds=3)
    await first.stop()
    with capture_logs() as told:
        second = await Process(world).start()
        await world.clock.advance(30)
    assert events(told, "restart_report") == []
    assert events(told, "lane_claimed")[0]["classes"] == {}
    await second.stop()


@pytest.mark.parametrize("open_post", [False, True])
async def test_a_stop_does_not_wait_for_kafka_for_ever(world: World, open_post: bool) -> None:
    """Rows that are not acknowledged: the stop ends soon after its grace time, and the next owner finds out."""
    process = await Process(world).start()
    record = world.record()
    world.provider.answering.clear()
    if open_post:
        await process.put(record, seconds=1)
    process.journal.held = True
    if not open_post:
        await process.put(record, seconds=1)
    world.provider.answering.set()
    began = world.clock.boot()
    await process.stop()
    assert world.clock.boot() - began < 9  # a grace of 5 s
    assert process.value("lane_drops_total", reason="grace_over") == 1
    assert world.committed.get(LANE, 0) == int(open_post)  # an INTENT that stands is the next owner's
    second = await Process(world).start()
    await world.clock.advance(300)
    assert [event["outcome"] for event in world.outputs("sends")] == ["ACCEPTED"]
    assert len(world.provider.accepted[world.flow_id(record, "order")]) == 1
    await second.stop()


@pytest.mark.parametrize("running", [False, True])
async def test_callbacks_of_a_log_made_anew_are_heard(world: World, running: bool) -> None:
    """The callbacks topic was made anew, with the lane away or at work: what Routee was told 200 for counts, from the start."""
    process = await Process(world).start()
    first, second = world.record("code"), world.record("code", key="other")
    for record in (first, second):
        world.answer(record, "code", Doubt("timeout"))
    world.provider.search_unanswered = True
    await process.put(first, second, seconds=1)
    for _ in range(3):
        process.call_back(first, "code", report("track-1"))
    await world.clock.advance(8)  # a checkpoint says that three callbacks were heard
    assert len(world.outcomes()) == 1
    if not running:
        await process.stop()
    world.callback_logs[LANE].clear()
    with capture_logs() as told:
        if running:
            process.call_back(second, "code", report("track-2"))
        else:
            process.feed.unfollow(LANE)
            process.call_back(second, "code", report("track-2"))
            process = await Process(world).start()
        await world.clock.advance(8)
    assert world.outcomes() == [("ACCEPTED", None)] * 2
    assert [line["heard"] for line in events(told, "callbacks_begun_anew")] == [3]
    assert process.value("callbacks_begun_anew_total", topic=LANE.topic) == 1
    assert process.value("lane_drops_total", reason="callbacks_begun_anew") == running
    await process.kill()
    with capture_logs() as told:
        await (await Process(world).start()).stop()
    assert events(told, "callbacks_begun_anew") == []  # the checkpoint followed


async def test_what_the_latest_start_passes_over_is_told(world: World) -> None:
    """A lane without history under ``start_from: latest``, as a partition added later is: how many records nobody will read; told once."""
    world.record()
    world.record()
    with capture_logs() as told:
        first = Process(world)
        first.source.begin = 2
        await first.start()
        await first.stop()
        second = Process(world)
        second.source.begin = 3
        await second.start()
        await second.stop()
    assert [(line["records"], line["start"]) for line in events(told, "input_passed")] == [(2, 2)]
    assert first.value("input_passed_total", topic=LANE.topic) == 2
    assert world.provider.posts == []


async def test_an_end_that_comes_back_refuses_no_lane(world: World) -> None:
    """A broker that has just begun to lead may show less than was read, for a moment."""
    first = await Process(world).start()
    await first.put(*[world.record("order", key=str(number)) for number in range(5)], seconds=5)
    assert world.committed[LANE] == 5
    await first.stop()
    second = Process(world)
    second.source.end = 4
    await second.start()
    await world.clock.advance(2)
    second.source.end = 5
    await world.clock.advance(20)
    assert second.intake.keepers[LANE].state == "running"
    await second.stop()


async def test_an_input_that_is_begun_anew_under_way_refuses_its_lane(world: World) -> None:
    """Deleted and created anew while a lane reads it: said, and not read on as if its records were known."""
    process = await Process(world).start()
    await process.put(*[world.record("order", key=str(number)) for number in range(5)], seconds=5)
    process.source.end = 2
    process.source.queue.put_nowait(BegunAnew(LANE))
    await world.clock.advance(60)
    keeper = process.intake.keepers[LANE]
    assert keeper.state == "refused"
    assert "it ends at 2" in (keeper.refusal or "")
    assert process.value("lane_drops_total", reason="input_begun_anew") == 1
    await process.stop()
