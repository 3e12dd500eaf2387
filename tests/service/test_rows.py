"""The writer of a lane's rows: in order, valid or lost, and nobody left waiting."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest

from connector.core.claim import Epoch
from connector.errors import LaneLost
from connector.metrics import Metrics
from connector.ports import Entry, LaneId
from connector.services.rows import RowReader, RowWriter
from tests.fakes import FakeClock, FakeJournal
from tests.service.world import LANE


class Writing:
    """A writer of epoch 0 with a journal in which somebody else may write."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.lost: list[str] = []
        self.valid: list[int] = []
        self.foreign(b"claim")
        self.writer = RowWriter(LANE, Epoch(0), self.journal, self.metrics, self.clock, self.lost.append)

    def foreign(self, value: bytes) -> None:
        """A row that is not the writer's."""
        log = self.journal.logs[LANE]
        log.append(Entry(len(log), b"", value, 0))

    async def row(self) -> int:
        """One row; gives its offset once it is valid."""
        return await self.writer.append(lambda k: (b"key", b"%d" % k), self.valid.append)


async def test_rows_are_timed() -> None:
    """journal_seconds counts every row, from its queueing until it is valid."""
    writing = Writing()
    writing.journal.held = True
    waiter = writing.writer.append(lambda _: (b"key", b""), writing.valid.append)
    await writing.clock.advance(2.5)
    writing.journal.land()
    assert await waiter == 1
    registry = writing.metrics.registry
    assert registry.get_sample_value("failover_journal_seconds_count") == 1
    assert registry.get_sample_value("failover_journal_seconds_sum") == pytest.approx(2.5)


async def test_a_row_queued_too_late_complains_to_nobody() -> None:
    """Once the lane is lost a row fails at once; whoever only queued it hears of the lane's end, and asyncio logs no forgotten error."""
    writing = Writing()
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    writing.writer.lose("produce_unknown")
    waiter = writing.writer.append(lambda _: (b"key", b""), writing.valid.append)
    assert isinstance(waiter.exception(), LaneLost)
    writing.writer.append(lambda _: (b"key", b""), writing.valid.append)
    gc.collect()
    assert not complaints


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), OSError("no file descriptors"), ValueError("a row of no known form")])
async def test_a_gap_that_cannot_be_read_loses_the_lane(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails while a gap is read: the lane is lost, and whoever waits for a row hears of it."""
    writing = Writing()

    async def between(lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        raise failure

    monkeypatch.setattr(writing.journal, "between", between)
    assert await writing.row() == 1
    writing.foreign(b"?")
    for _ in range(2):
        with pytest.raises(LaneLost, match="gap_unread"):
            await writing.row()
    assert (writing.lost, writing.valid) == (["gap_unread"], [1])


async def test_a_row_that_nobody_can_act_on_loses_the_lane() -> None:
    """A failure while a valid row is applied ends the lane instead of leaving its writer waiting; rows behind it are not applied."""
    writing = Writing()
    unheard: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unheard.append(context["exception"]))

    def fail(_: int) -> None:
        raise RuntimeError("a bug")

    first = writing.writer.append(lambda _: (b"key", b""), fail)
    second = writing.writer.append(lambda _: (b"key", b""), writing.valid.append)
    for waiter in (first, second):
        with pytest.raises(LaneLost, match="row_failed"):
            await waiter
    assert [type(error) for error in unheard] == [RuntimeError]
    assert (writing.lost, writing.valid) == (["row_failed"], [])


class Reading:
    """A reader of a journal with 1,000 rows, some of them gone; counts what it asks of Kafka."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        log = self.journal.logs[LANE]
        log += [None if n % 7 == 3 else Entry(n, b"k", b"%d" % n, 0) for n in range(1000)]
        self.epoch = Epoch(0)
        self.epoch.last = 999
        self.reader = RowReader(LANE, self.journal, self.epoch)
        self.reads = 0
        self._between = self.journal.between
        self.journal.between = self.between  # type: ignore[method-assign]

    async def between(self, lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        """Counted."""
        self.reads += 1
        return await self._between(lane, first, last)

    async def value(self, offset: int) -> bytes | None:
        """Of the row at this offset."""
        entry = await self.reader.at(offset)
        return None if entry is None else entry.value


async def test_rows_asked_for_nearly_in_order_are_read_many_at_once() -> None:
    """Each is given as it stands, a hole as None, in whatever order; a thousand take a handful of reads."""
    reading = Reading()
    order = [block + (n * 37) % 200 for block in range(0, 1000, 200) for n in range(200)]
    for offset in order:
        assert await reading.value(offset) == (None if offset % 7 == 3 else b"%d" % offset)
    assert reading.reads < 12


async def test_a_single_row_is_read_alone() -> None:
    """A late callback asks for one row from anywhere: its neighbours are not fetched."""
    reading = Reading()
    for offset in (5, 700, 20, 985):
        assert await reading.value(offset) == b"%d" % offset
    assert reading.reads == 4
    assert not reading.reader._blocks


async def test_a_row_written_after_its_neighbours_were_read_is_found() -> None:
    """What is kept of a block that was not full yet does not hide later rows; and no read goes beyond what is known to be there."""
    reading = Reading()
    assert [await reading.value(offset) for offset in (988, 989, 991)] == [b"988", b"989", b"991"]
    reading.journal.logs[LANE].append(Entry(1000, b"k", b"1000", 0))
    reading.epoch.last = 1000
    assert await reading.value(1000) == b"1000"


async def test_what_is_kept_of_rows_is_bounded() -> None:
    """A long replay holds sixteen blocks at most."""
    reading = Reading()
    reading.journal.logs[LANE] = [Entry(n, b"k", b"v", 0) for n in range(256 * 40)]
    reading.epoch.last = 256 * 40 - 1
    for offset in range(0, 256 * 40, 64):
        assert await reading.value(offset) == b"v"
    assert len(reading.reader._blocks) == 16
