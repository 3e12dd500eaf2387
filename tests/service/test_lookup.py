"""Looking flows up beside a running connector: everything is found, nothing is disturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from connector.core import identity
from connector.core.flow import State
from connector.core.model import Doubt, FlowStatus, MessageClass, Record, Rejected
from connector.core.wanted import Listed, Wanted
from connector.ports import Entry, LaneId
from connector.services.lookup import Found, Looked, find, list_flows
from tests.fakes import FakeArchive
from tests.service.world import LANE, Process, World, report

Ask = Callable[[str], Wanted]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Kafka and the provider."""
    return World(tmp_path)


def archive_of(world: World, *, waiting: int = 0) -> FakeArchive:
    """The world's topics."""
    return FakeArchive(world.journal_logs, world.output_logs["statuses"], {LANE: len(world.records) + waiting})


def wanted(name: str) -> Wanted:
    """With the world's pepper."""
    return Wanted.of(name, lambda value: identity.pseudonym(b"pepper", value))


def quiet(_what: str, _done: int, _total: int) -> None:
    """No progress."""


async def show(world: World, name: str) -> tuple[Found, ...]:
    """What is found under a name."""
    return (await find(archive_of(world), wanted(name), quiet))[0]


async def told(process: Process, record: Record, status: FlowStatus) -> None:
    """Routee calls with this status."""
    flow_id = process.world.flow_id(record, "order")
    process.call_back(record, "order", report(process.world.provider.accepted[flow_id][0], status))
    await process.world.clock.advance(2)


async def test_a_flow_is_found_with_all_its_statuses(world: World) -> None:
    """By each of its names; in ``seq`` order; the owner of its lane beside it."""
    process = await Process(world).start()
    record = world.record()
    await process.put(record, seconds=3)
    await told(process, record, FlowStatus.IN_PROGRESS)
    await told(process, record, FlowStatus.SUCCEEDED)
    flow_id = world.flow_id(record, "order")
    for name in ("e0", flow_id, world.provider.accepted[flow_id][0], "notifications/0/0", "+30 691 234 5678"):
        [found] = await show(world, name)
        assert (found.row.flow.facts.flow_id, found.row.flow.state, found.unread) == (flow_id, State.ACCEPTED, "")
        assert [body["status"] for body in found.statuses] == ["QUEUED", "IN_PROGRESS", "SUCCEEDED"]
        assert (found.lane, found.owner and found.owner.host) == (LANE, "test")
    await process.stop()


async def test_what_became_no_message_is_found_by_its_phone(world: World) -> None:
    """No rule, or nothing to be built: whoever asks about a person hears of it."""
    process = await Process(world).start()
    await process.put(world.record("strange"), world.put((world.record("order").value or b"").replace(b'"id":', b'"no":')), seconds=3)
    states = {found.row.flow.state for found in await show(world, "+30 691 234 5678")}
    assert states >= {State.UNROUTED, State.INVALID}
    await process.stop()


async def test_all_flows_of_an_event_are_shown(world: World) -> None:
    """Two rules, two flows."""
    process = await Process(world).start()
    await process.put(world.record("twin"), world.record(), seconds=3)
    assert sorted(found.row.flow.facts.rule for found in await show(world, "e0")) == ["twin-a", "twin-b"]
    assert len(await show(world, "+306912345678")) == 3
    await process.stop()


async def test_what_is_not_out_yet_is_read_from_the_journal(world: World) -> None:
    """Statuses that wait for their acknowledgement are told all the same, and the topic is not searched for them."""
    process = await Process(world).start()
    process.outbox.held_topics = {"statuses"}
    await process.put(world.record(), seconds=3)
    archive = archive_of(world)
    [found] = (await find(archive, wanted("e0"), quiet))[0]
    assert [body["status"] for body in found.statuses] == ["QUEUED"]
    assert (found.unread, archive.read) == ("", 0)
    await process.kill()


async def test_reading_ends_with_the_last_status_of_the_flow(world: World) -> None:
    """What others were told later is not read."""
    process = await Process(world).start()
    record = world.record(key="a")
    await process.put(record, seconds=3)
    await told(process, record, FlowStatus.SUCCEEDED)  # its row has only this one's content
    await process.put(*(world.record(key=str(number)) for number in range(5)), seconds=5)
    archive = archive_of(world)
    [found] = (await find(archive, wanted("e0"), quiet))[0]
    assert (len(found.statuses), archive.read) == (2, 1)
    assert len(world.output_logs["statuses"]) == 7
    await process.stop()


async def test_missing_statuses_are_said(world: World) -> None:
    """Retention took them, or the topic may not be read: the journal's part is shown, with the reason."""
    process = await Process(world).start()
    record = world.record()
    await process.put(record, seconds=3)
    await told(process, record, FlowStatus.SUCCEEDED)
    archive = archive_of(world)
    archive.statuses_unavailable = True
    [found] = (await find(archive, wanted("e0"), quiet))[0]
    assert found.unread == "1 of 2 statuses were not found: fake"
    world.output_logs["statuses"].clear()
    archive = archive_of(world)
    archive.cut = True
    [found] = (await find(archive, wanted("e0"), quiet))[0]
    assert found.unread.startswith("1 of 2 statuses were not found: retention took them")
    await process.stop()


async def test_statuses_are_looked_for_from_the_start_before_anybody_is_blamed(world: World) -> None:
    """A broker that answers times wrongly hides nothing; retention is named only where the log's beginning is gone."""
    process = await Process(world).start()
    record = world.record()
    await process.put(record, seconds=3)
    await told(process, record, FlowStatus.SUCCEEDED)
    archive = archive_of(world)
    archive.lost_before_ms = 1 << 62
    [found] = (await find(archive, wanted("e0"), quiet))[0]
    assert (len(found.statuses), found.unread) == (2, "")
    world.output_logs["statuses"].clear()
    [found] = await show(world, "e0")
    assert "retention" not in found.unread
    assert found.unread.startswith("1 of 2 statuses were not found: ")
    await process.stop()


async def test_a_look_leaves_no_trace(world: World) -> None:
    """No claim, no row, no commit: the owner goes on as if nobody had looked."""
    process = await Process(world).start()
    await process.put(world.record(), seconds=3)
    rows, committed, epoch = len(world.journal_logs[LANE]), dict(world.committed), process.lane
    await show(world, "e0")
    await list_flows(archive_of(world), Listed(), quiet)
    assert (len(world.journal_logs[LANE]), world.committed) == (rows, committed)
    await process.put(world.record(), seconds=3)
    assert process.lane is epoch
    await process.stop()


async def test_not_found_says_where_was_looked(world: World) -> None:
    """Lanes, flows, since when, and what of the input no checkpoint has seen yet."""
    process = await Process(world).start()
    await process.put(world.record(), world.record(), seconds=30)
    found, looked = await find(archive_of(world, waiting=3), wanted("e9"), quiet)
    assert found == ()
    assert looked == Looked(lanes=1, flows=2, since_ms=1_800_000_000_000, waiting=3)
    await process.stop()


async def test_progress_never_goes_back_and_ends_at_the_end(world: World) -> None:
    """Offsets read of all offsets, over all journals."""
    process = await Process(world).start()
    await process.put(*(world.record(key=str(number)) for number in range(6)), seconds=5)
    heard: list[tuple[int, int]] = []
    await list_flows(archive_of(world), Listed(), lambda _what, done, total: heard.append((done, total)))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert heard[-1] == (len(world.journal_logs[LANE]),) * 2
    await process.stop()


async def test_a_list_goes_by_state_class_and_age_oldest_first(world: World) -> None:
    """The count says how many there are beyond the limit."""
    process = await Process(world).start()
    old, rejected, young = world.record("sale", "a"), world.record("order", "b"), world.record("sale", "c")
    world.answer(old, "sale", Doubt("timeout"))
    world.answer(rejected, "order", Rejected(400, "400005000", "bad sender"))
    world.answer(young, "sale", Doubt("timeout"))
    await process.put(old, rejected, seconds=5)
    await process.put(young, seconds=3)
    archive = archive_of(world)

    async def names(listed: Listed, **options: object) -> list[str]:
        return [one.row.flow.facts.event_id for one in (await list_flows(archive, listed, quiet, **options))[0]]  # type: ignore[arg-type]

    now_ms = world.clock.now_ms()
    assert await names(Listed()) == ["e0", "e2"]
    assert await names(Listed(frozenset({"rejected", "doubt"}))) == ["e0", "e1", "e2"]
    assert await names(Listed(frozenset({"rejected"}))) == ["e1"]
    assert await names(Listed(), before_ms=now_ms - 4000) == ["e0"]
    assert await names(Listed(frozenset({"rejected", "doubt"})), classes={MessageClass.TRANSACTIONAL}) == ["e1"]
    shown, count, _ = await list_flows(archive, Listed(), quiet, limit=1)
    assert ([one.row.flow.facts.event_id for one in shown], count) == (["e0"], 2)
    await process.stop()


async def test_a_journal_that_cannot_be_read_hides_no_other(world: World) -> None:
    """It is named with the reason; the others are shown."""
    process = await Process(world).start()
    await process.put(world.record(), seconds=3)
    foreign = LaneId("another", 0)
    world.journal_logs[foreign].append(Entry(0, b"key", b"no row", 0))
    archive = FakeArchive(world.journal_logs, world.output_logs["statuses"], {LANE: 1, foreign: 0})
    found, looked = await find(archive, wanted("e0"), quiet)
    assert len(found) == 1
    assert [lane for lane, _ in looked.refused] == [foreign]
    await process.stop()


async def test_a_list_says_that_it_has_read_no_statuses(world: World) -> None:
    """Else its timeline, as JSON, would look whole."""
    process = await Process(world).start()
    await process.put(world.record(), seconds=3)
    [one], _, _ = await list_flows(archive_of(world), Listed(), quiet)
    assert one.unread == "a list reads no statuses"
    await process.stop()
