"""Writing rows of one epoch, knowing in order which of them are valid (docs/how-it-works.md), and reading rows back."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from connector.core.claim import Epoch, Verdict
from connector.errors import KafkaUnavailable, LaneLost
from connector.logs import get_logger
from connector.metrics import Metrics
from connector.ports import Clock, Entry, Journal, LaneId

_BLOCK = 256  # rows
_BLOCKS = 16
OnValid = Callable[[int], None]
log = get_logger("rows")


class _Queued(NamedTuple):
    report: Future[int]
    on_valid: OnValid
    waiter: Future[int]
    at: float  # boot clock


class RowWriter:
    """Appends rows; each is *valid* or the lane is lost. ``on_valid`` runs in row order, before the writer's own task goes on."""

    def __init__(self, lane: LaneId, epoch: Epoch, journal: Journal, metrics: Metrics, clock: Clock, lose: Callable[[str], None]) -> None:
        self.epoch = epoch
        self._lane = lane
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._lose = lose
        self._queue: deque[_Queued] = deque()
        self._reading_gap = False
        self._gap_reads: set[asyncio.Task[None]] = set()
        self.lost: str | None = None

    def append(self, build: Callable[[int], tuple[bytes, bytes]], on_valid: OnValid) -> Future[int]:
        """Queue the row that ``build(k)`` makes; the future gives its offset once it is valid, or raises LaneLost."""
        waiter: Future[int] = asyncio.get_running_loop().create_future()
        if self.lost is not None:
            waiter.set_exception(LaneLost(self.lost))
            waiter.exception()  # whoever only queues rows hears of it by the lane's end
            return waiter
        key, value = build(self.epoch.next_k())
        report = self._journal.append(self._lane, key, value)
        self._queue.append(_Queued(report, on_valid, waiter, self._clock.boot()))
        report.add_done_callback(self._reported)
        return waiter

    async def drained(self) -> None:
        """Wait until every row appended so far is valid. Raises LaneLost."""
        if self._queue:
            await asyncio.shield(self._queue[-1].waiter)
        if self.lost is not None:
            raise LaneLost(self.lost)

    def _reported(self, report: Future[int] | None = None) -> None:
        if report is not None and not report.cancelled():
            report.exception()  # heard here, even when the lane is lost and nobody asks any more
        while self._queue and self._queue[0].report.done() and not self._reading_gap and self.lost is None:
            report = self._queue[0].report
            if report.cancelled() or report.exception() is not None:
                self.lose("produce_unknown")
                return
            verdict = self.epoch.report(report.result())
            if verdict is Verdict.VALID:
                self._accept(report.result())
            elif verdict is Verdict.LOST:
                self.lose("offset_unknown")
            else:
                self._reading_gap = True
                task = asyncio.get_running_loop().create_task(self._read_gap(report.result()))
                self._gap_reads.add(task)
                task.add_done_callback(self._gap_read)

    def _accept(self, offset: int) -> None:
        row = self._queue[0]
        self._metrics.journal_seconds.observe(self._clock.boot() - row.at)
        stands = False
        try:
            row.on_valid(offset)
            stands = True
        finally:
            if not stands:
                self.lose("row_failed")  # its waiter hears of it too: a row that nobody could act on must not hold the lane for ever
        if self.lost is None:
            self._queue.popleft()
            if not row.waiter.done():
                row.waiter.set_result(offset)

    def _gap_read(self, task: asyncio.Task[None]) -> None:
        """Whatever ended a gap's reading in a way nobody foresaw, the rows behind it can no longer be known valid."""
        self._gap_reads.discard(task)
        if task.cancelled():
            self.lose("gap_unread")
        elif (error := task.exception()) is not None:
            log.error("gap_unread", lane=str(self._lane), error=type(error).__name__)
            self.lose("gap_unread")

    async def _read_gap(self, offset: int) -> None:
        """A foreign row lies before ours. Somebody's CLAIM, or a hole where one may have been, fences us."""
        self._metrics.gaps_read.inc()
        try:
            found = await self._journal.between(self._lane, self.epoch.last + 1, offset - 1)
        except KafkaUnavailable:
            self.lose("gap_unread")
            return
        if self.lost is not None:
            return
        if not self.epoch.gap(offset, ((entry.offset, entry.value) for entry in found)):
            self._metrics.fenced.inc()
            self.lose("fenced")
            return
        self._reading_gap = False
        self._accept(offset)
        self._reported()

    def lose(self, reason: str) -> None:
        """Nothing more is written, nothing more is valid; everybody who waits hears LaneLost."""
        if self.lost is not None:
            return
        self.lost = reason
        queue, self._queue = self._queue, deque()
        for row in queue:
            if not row.waiter.done():
                row.waiter.set_exception(LaneLost(reason))
                row.waiter.exception()  # whoever was cancelled meanwhile need not hear it
        self._lose(reason)


class RowReader:
    """Rows of ended flows, read back by offset. Input that is replayed asks for them nearly in their order: so many are read at once."""

    def __init__(self, lane: LaneId, journal: Journal, epoch: Epoch) -> None:
        self._lane = lane
        self._journal = journal
        self._epoch = epoch
        self._blocks: OrderedDict[int, tuple[int, dict[int, Entry]]] = OrderedDict()  # number → (read through, rows by offset)
        self._asked = -2 * _BLOCK  # the last offset that was not at hand

    async def at(self, offset: int) -> Entry | None:
        """The row, None where a later one of its flow replaced it. Raises KafkaUnavailable."""
        number = offset // _BLOCK
        through, rows = self._blocks.get(number, (-1, {}))
        if offset <= through:
            return rows.get(offset)
        one_of_many = abs(offset - self._asked) <= _BLOCK
        self._asked = offset
        if not one_of_many:
            return next(iter(await self._journal.between(self._lane, offset, offset)), None)
        first, through = number * _BLOCK, max(offset, min((number + 1) * _BLOCK - 1, self._epoch.last))
        rows = {entry.offset: entry for entry in await self._journal.between(self._lane, first, through)}
        self._blocks[number] = through, rows
        if len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)
        return rows.get(offset)
