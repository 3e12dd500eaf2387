"""Checkpoints with their barrier, and the input commits behind valid rows (docs/how-it-works.md)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.core import rows
from connector.core.rows import Checkpoint
from connector.errors import LaneLost
from connector.services.claim import Claimed

if TYPE_CHECKING:
    from connector.services.lane import Lane


class Checkpoints:
    """One lane's. What a checkpoint says was noted *before* its barrier: everything it speaks for is durable and out."""

    def __init__(self, lane: Lane, claimed: Claimed) -> None:
        self._lane = lane
        self._last = claimed.checkpoint
        self._last_at = self._begun = lane.parts.clock.boot()
        self._begun_ms = lane.parts.clock.now_ms()
        self._committed: int | None = None
        self._appended = self._valid = 0  # rows so far; the number of the last one that is known valid
        self._writing = asyncio.Lock()  # a drain's checkpoint must not be followed by one that was noted before it

    async def restate(self) -> None:
        """The first row of the epoch: the checkpoint as found, so that a zombie's later one cannot override it."""
        await self._append(self._last)

    async def prove(self) -> None:
        """Wait until a row appended after this call is valid: no CLAIM stood before it, so whatever was known of the lane was still all.

        One row serves all who wait. Raises LaneLost.
        """
        before = self._appended
        async with self._writing:
            if self._valid <= before:  # whoever appended one meanwhile may have failed
                await self._append(self._last)

    async def run(self) -> None:
        """Every few seconds when something moved, and on an idle lane often enough for retention."""
        policy = self._lane.parts.policy
        while True:
            await self._lane.parts.clock.sleep(policy.checkpoint_s)
            await self.write(idle_s=policy.checkpoint_idle_s)
            self._prune()

    async def run_commits(self) -> None:
        """Commit what may be committed, every second."""
        while True:
            await self._lane.parts.clock.sleep(self._lane.parts.policy.commit_s)
            await self.commit()

    async def write(self, idle_s: float = 0.0) -> None:
        """(a) note, (b) wait until the rows built so far are valid and their events acknowledged, (c) append."""
        async with self._writing:
            await self._write(idle_s)

    async def _write(self, idle_s: float) -> None:
        lane = self._lane
        noted = replace(self._last, outputs=lane.emitter.out, callbacks=self._callbacks(), input=lane.taken.position, polls=lane.polls.left)
        await lane.writer.drained()
        journal = max(self._last.journal, lane.last_row)
        unacked = lane.emitter.unacked()
        if unacked:
            await asyncio.wait(unacked)
        if not lane.owned:
            raise LaneLost("output_unknown")
        noted = replace(noted, journal=journal)
        due = lane.parts.clock.boot() - self._last_at >= idle_s
        if noted != self._last or due:
            await self._append(noted)

    async def commit(self) -> None:
        """Commit the contiguous prefix whose flows all have valid rows. A refusal is harmless: the journal is the truth."""
        position = self._lane.taken.position
        if position == self._committed or not self._lane.owned:
            return
        accepted = await self._lane.parts.source.commit({self._lane.id: position})
        self._lane.parts.metrics.commits.labels("ok" if accepted else "refused").inc()
        if accepted:
            self._committed = position

    def _callbacks(self) -> int | None:
        position = self._lane.callbacks.position
        return position if position or self._last.callbacks is not None else None

    async def _append(self, checkpoint: Checkpoint) -> None:
        writer = self._lane.writer
        epoch = writer.epoch.epoch
        self._appended += 1
        await asyncio.shield(writer.append(lambda k: rows.checkpoint_row(checkpoint, epoch, k), lambda _: None))
        self._valid = self._appended
        self._last = checkpoint
        self._last_at = self._lane.parts.clock.boot()
        self._lane.parts.metrics.checkpoints.inc()

    def _prune(self) -> None:
        clock = self._lane.parts.clock
        # A wall clock that is ahead for a while must not make old what a search still asks about when it is right again.
        now_ms = min(clock.now_ms(), self._begun_ms + int((clock.boot() - self._begun) * 1000))
        self._lane.newest.prune(now_ms)
        self._lane.neighbours.prune((live.flow for live in self._lane.flows.values()), now_ms)
