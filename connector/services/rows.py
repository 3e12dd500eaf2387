"""Writing rows of one epoch, and knowing in order which of them are valid (lane-protocol 1.3)."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable

from connector.core.claim import Epoch, Verdict
from connector.errors import KafkaUnavailable, LaneLost
from connector.metrics import Metrics
from connector.ports import Journal, LaneId

OnValid = Callable[[int], None]


class RowWriter:
    """Appends rows; each is *valid* or the lane is lost. ``on_valid`` runs in row order, before the writer's own task goes on."""

    def __init__(self, lane: LaneId, epoch: Epoch, journal: Journal, metrics: Metrics, lose: Callable[[str], None]) -> None:
        self.epoch = epoch
        self._lane = lane
        self._journal = journal
        self._metrics = metrics
        self._lose = lose
        self._queue: deque[tuple[Future[int], OnValid, Future[int]]] = deque()
        self._reading_gap = False
        self._gap_reads: set[asyncio.Task[None]] = set()
        self.lost: str | None = None

    def append(self, build: Callable[[int], tuple[bytes, bytes]], on_valid: OnValid) -> Future[int]:
        """Queue the row that ``build(k)`` makes; the future gives its offset once it is valid, or raises LaneLost."""
        waiter: Future[int] = asyncio.get_running_loop().create_future()
        if self.lost is not None:
            waiter.set_exception(LaneLost(self.lost))
            return waiter
        key, value = build(self.epoch.next_k())
        report = self._journal.append(self._lane, key, value)
        self._queue.append((report, on_valid, waiter))
        report.add_done_callback(self._reported)
        return waiter

    async def drained(self) -> None:
        """Wait until every row appended so far is valid. Raises LaneLost."""
        if self._queue:
            await asyncio.shield(self._queue[-1][2])
        if self.lost is not None:
            raise LaneLost(self.lost)

    def _reported(self, report: Future[int] | None = None) -> None:
        if report is not None and not report.cancelled():
            report.exception()  # heard here, even when the lane is lost and nobody asks any more
        while self._queue and self._queue[0][0].done() and not self._reading_gap and self.lost is None:
            report = self._queue[0][0]
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
                task.add_done_callback(self._gap_reads.discard)

    def _accept(self, offset: int) -> None:
        _, on_valid, waiter = self._queue.popleft()
        on_valid(offset)
        if not waiter.done():
            waiter.set_result(offset)

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
        for _, _, waiter in queue:
            if not waiter.done():
                waiter.set_exception(LaneLost(reason))
                waiter.exception()  # whoever was cancelled meanwhile need not hear it
        self._lose(reason)
