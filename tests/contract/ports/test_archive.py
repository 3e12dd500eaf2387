"""The laws of ``ports.Archive``."""

from __future__ import annotations

from tests.contract.ports.conftest import Archives


async def test_every_lane_of_the_group_is_there(archives: Archives) -> None:
    """One for each partition of the journal."""
    assert list(await archives.archive.lanes()) == list(archives.lanes)


async def test_a_journal_is_read_from_its_start_to_its_end(archives: Archives) -> None:
    """Rows as they were written, with rising offsets; the end is that of the log."""
    lane = archives.lanes[1]
    offsets = [await archives.append(lane, b"key", b"row %d" % number) for number in range(12)]
    await archives.archive.lanes()
    rows = [entry async for batch in archives.archive.rows(lane) for entry in batch]
    assert [(entry.offset, entry.key, entry.value) for entry in rows] == [(offset, b"key", b"row %d" % offset) for offset in offsets]
    assert (await archives.archive.ends(lane)).journal == offsets[-1] + 1
    assert [entry async for batch in archives.archive.rows(archives.lanes[0]) for entry in batch] == []


async def test_statuses_of_the_asked_flows_are_given_and_no_others(archives: Archives) -> None:
    """From about that time on, in the order of the topic."""
    lane = archives.lanes[0]
    for number in range(4):
        await archives.tell(lane, f"flow-{number % 2}", number + 1)
    await archives.archive.lanes()
    got = [body async for batch in archives.archive.statuses(lane, {"flow-1"}, 0) for body in batch]
    assert [(body["flow_id"], body["seq"]) for body in got] == [("flow-1", 2), ("flow-1", 4)]
    assert [body async for batch in archives.archive.statuses(lane, {"flow-1"}, 4_000_000_000_000) for body in batch] == []
    assert not await archives.archive.statuses_cut(lane)
