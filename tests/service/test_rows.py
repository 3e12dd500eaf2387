"""The writer of a lane's rows: in order, valid or lost, and nobody left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from connector.core.claim import Epoch
from connector.errors import LaneLost
from connector.metrics import Metrics
from connector.ports import Entry, LaneId
from connector.services.rows import RowWriter
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
