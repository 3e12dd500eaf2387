"""The laws of ``ports.Journal``."""

from __future__ import annotations

import asyncio

import pytest

from connector.errors import KafkaUnavailable
from connector.ports import Entry, Journal, LaneId
from tests.contract.ports.conftest import Journals


async def scanned(journal: Journal, lane: LaneId, past: int) -> list[Entry]:
    """All rows of a scan."""
    return [entry async for batch in journal.scan(lane, past) for entry in batch]


async def test_appends_land_in_call_order(journals: Journals) -> None:
    """Rows of one lane get rising offsets in the order of the calls, without a gap, and their futures resolve in that order."""
    journal, (lane, _) = journals.process(), journals.lanes
    done: list[int] = []
    futures = [journal.append(lane, b"k%d" % number, b"v%d" % number) for number in range(300)]
    for future in futures:
        future.add_done_callback(lambda report: done.append(report.result()))
    offsets = await asyncio.gather(*futures)
    await asyncio.sleep(0)
    assert offsets == list(range(300))
    assert done == offsets


async def test_a_scan_gives_every_row_as_it_was_appended(journals: Journals) -> None:
    """A scan past the last row gives all rows, in offset order, with their keys and values."""
    journal, (lane, _) = journals.process(), journals.lanes
    futures = [journal.append(lane, b"k%d" % number, b"v%d" % number) for number in range(250)]
    last = (await asyncio.gather(*futures))[-1]
    rows = await scanned(journal, lane, last)
    assert [(row.offset, row.key, row.value) for row in rows] == [(n, b"k%d" % n, b"v%d" % n) for n in range(250)]
    assert all(row.timestamp_ms > 0 for row in rows)


async def test_a_scan_goes_on_to_the_end_of_the_log(journals: Journals) -> None:
    """A scan gives rows beyond ``past`` too, whoever wrote them."""
    mine, (lane, _) = journals.process(), journals.lanes
    other = journals.process()
    claim = await mine.append(lane, b"claim", b"")
    for number in range(5):
        await other.append(lane, b"k%d" % number, b"")
    assert [row.offset for row in await scanned(mine, lane, claim)] == [0, 1, 2, 3, 4, 5]


async def test_lanes_do_not_see_each_other(journals: Journals) -> None:
    """A row is in its own lane's journal only."""
    journal, (one, two) = journals.process(), journals.lanes
    await journal.append(one, b"one", b"1")
    last = await journal.append(two, b"two", b"2")
    assert [row.key for row in await scanned(journal, two, last)] == [b"two"]


async def test_another_process_makes_a_gap_that_can_be_read(journals: Journals) -> None:
    """Rows of another process lie between two offsets of this one, and ``between`` gives exactly those."""
    mine, other, (lane, _) = journals.process(), journals.process(), journals.lanes
    first = await mine.append(lane, b"row 1", b"")
    await other.append(lane, b"claim|1", b"x")
    await other.append(lane, b"claim|2", b"y")
    second = await mine.append(lane, b"row 2", b"")
    assert second == first + 3
    gap = await mine.between(lane, first + 1, second - 1)
    assert [(row.offset, row.key, row.value) for row in gap] == [(1, b"claim|1", b"x"), (2, b"claim|2", b"y")]


async def test_a_log_from_which_nothing_was_taken_begins_at_0(journals: Journals) -> None:
    """Whatever stands in it."""
    journal, (lane, _) = journals.process(), journals.lanes
    assert await journal.begin(lane) == 0
    await journal.append(lane, b"k", b"v")
    assert await journal.begin(lane) == 0


async def test_between_gives_nothing_for_an_empty_range(journals: Journals) -> None:
    """No rows lie between an offset and one below it."""
    journal, (lane, _) = journals.process(), journals.lanes
    offset = await journal.append(lane, b"k", b"v")
    assert list(await journal.between(lane, offset + 1, offset)) == []
    assert [row.offset for row in await journal.between(lane, offset, offset)] == [offset]


async def test_a_row_beyond_the_end_is_no_hole(journals: Journals) -> None:
    """A broker that shows a shorter log than was known, as just after a restart, is not believed: a hole would fence a lane."""
    journal, (lane, _) = journals.process(), journals.lanes
    last = (await asyncio.gather(*(journal.append(lane, b"k%d" % number, b"v") for number in range(3))))[-1]
    for first, beyond in ((last, last + 1), (last + 1, last + 1), (last + 50, last + 60)):
        with pytest.raises(KafkaUnavailable):
            await journal.between(lane, first, beyond)
    assert [row.offset for row in await journal.between(lane, last, last)] == [last]
