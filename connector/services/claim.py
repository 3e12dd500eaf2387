"""Claiming a lane (lane-protocol 1.2): put the fence into the journal, read it to its end, and know every flow that is not settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from connector.core import rows
from connector.core.claim import Epoch, Fold, Folded
from connector.core.flow import Flow, State, advance
from connector.core.ledger import Ledger
from connector.core.model import Doubt, MessageClass
from connector.core.resume import Places, Remembered, Resumed, resume
from connector.core.rows import Checkpoint
from connector.errors import LaneLost, LaneRefused
from connector.logs import get_logger
from connector.ports import Entry, LaneId
from connector.services.gates import Newest
from connector.services.neighbours import Neighbours, by_the_broker, needed_since_ms
from connector.services.parts import Parts

log = get_logger("claim")
T = TypeVar("T")
_CLOCKS_APART_MS = 300_000  # the most by which the broker's clock is taken to differ from ours
_LEADER_S = 10.0  # so long a new leader may take to show the end
_PORTION = 5000  # rows taken in one go
_TURN = 200  # rows decoded in one go
_APART = 500  # rows further apart than this are not read at once

Times = list[tuple[int, int]]  # (append time, offset) of the last row of each batch


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the claimant knows when it has read the journal to its end."""

    epoch: Epoch
    checkpoint: Checkpoint  # as found; re-stated under the new epoch as its first row
    ledger: Ledger
    adopt: tuple[Flow, ...]  # not settled: each gets a row of the new epoch before anybody acts on it
    follow: tuple[Flow, ...]  # settled, but their statuses are still awaited
    start: int  # where the input goes on
    neighbours: Neighbours  # finished flows that a doubt could be mistaken for
    newest: Newest  # codes, those that ended after an inherited one came included


async def claim(lane: LaneId, parts: Parts) -> Claimed:
    """Raises LaneLost (try again), LaneRefused (a person must act), KafkaUnavailable (try again)."""
    started = parts.clock.boot()
    key, value = rows.claim_row(parts.nonce(), parts.host, parts.clock.now_ms())
    offset = await parts.journal.append(lane, key, value)
    fold, times = await _read(lane, parts, offset)
    if fold.superseded:
        raise LaneLost("superseded")
    checkpoint = _known_topic(lane, parts, fold.checkpoint or Checkpoint(-1, await parts.outbox.ends(lane), None, None))
    places = await _places(lane, parts, fold.checkpoint)
    resumed = resume(str(lane), places, Remembered(fold.checkpoint, fold.has_flows, fold.is_whole))
    _tell_unread(lane, parts, resumed)
    if checkpoint.input is None or resumed.gone:
        checkpoint = replace(checkpoint, input=resumed.start)  # from now on the journal itself knows where the lane began
    checkpoint = await _heard(lane, parts, checkpoint)
    claimed = await _sort(lane, parts, fold, times, checkpoint, resumed.start)
    parts.metrics.claim_seconds.observe(parts.clock.boot() - started)
    return claimed


async def _read(lane: LaneId, parts: Parts, claim_offset: int) -> tuple[Fold, Times]:
    """The whole log, to its end beyond our own CLAIM; and when its rows were written, roughly."""
    fold = Fold(claim_offset)
    times: Times = []
    async for batch in parts.journal.scan(lane, claim_offset):
        for entry in batch:
            fold.feed(*entry)
        if batch:
            fold.first = min(fold.first, batch[0].offset)
            times.append((batch[-1].timestamp_ms, batch[-1].offset))
        await asyncio.sleep(0)  # other lanes are at work
    return fold, times


async def _places(lane: LaneId, parts: Parts, checkpoint: Checkpoint | None) -> Places:
    """The group's offset and the log's ends. A broker that has just begun to lead may not show the end at once: it is looked for again."""
    patience_until = parts.clock.boot() + _LEADER_S
    while True:
        places = await parts.source.places(lane)
        read = max(places.committed or 0, (checkpoint.input if checkpoint else None) or 0)
        if read <= places.end or parts.clock.boot() >= patience_until:
            return places
        await parts.clock.sleep(1.0)


def _known_topic(lane: LaneId, parts: Parts, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the input topic's id. A topic made anew counts its offsets anew: what the journal knows of them is wrong."""
    here = parts.topic_ids.get(lane.topic)
    if here is not None and checkpoint.topic_id is not None and checkpoint.topic_id != here:
        raise LaneRefused(
            f"input topic {lane.topic} was deleted and created anew; its journal speaks of the old one: "
            "give the group a new group_id, or delete this topic's journal and callbacks topics and run `topics create`"
        )
    return replace(checkpoint, topic_id=here or checkpoint.topic_id)


def _tell_unread(lane: LaneId, parts: Parts, resumed: Resumed) -> None:
    """Records before the start that nobody has read and nobody will."""
    if resumed.gone:
        parts.metrics.input_gone.labels(lane.topic).inc(resumed.gone)
        log.error("input_gone", lane=str(lane), records=resumed.gone, start=resumed.start)
    if resumed.passed:
        parts.metrics.input_passed.labels(lane.topic).inc(resumed.passed)
        log.warning("input_passed", lane=str(lane), records=resumed.passed, start=resumed.start)


async def _heard(lane: LaneId, parts: Parts, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with a place that the callbacks log has: one made anew is heard from its start, for no callback harms twice."""
    if checkpoint.callbacks is None or checkpoint.callbacks <= (end := await parts.feed.end(lane)):
        return checkpoint
    parts.metrics.callbacks_begun_anew.labels(lane.topic).inc()
    log.error("callbacks_begun_anew", lane=str(lane), heard=checkpoint.callbacks, end=end)
    return replace(checkpoint, callbacks=None)


async def _sort(lane: LaneId, parts: Parts, fold: Fold, times: Times, checkpoint: Checkpoint, start: int) -> Claimed:
    """Settled and finished flows become index entries, undecoded; the others become objects."""
    ledger = Ledger(len(fold.ended))
    for keys, offsets in fold.ended.portions(_PORTION):
        ledger.settled.extend(keys, offsets)
        await asyncio.sleep(0)
    async for entry in _again(lane, parts, fold.wanted(checkpoint.journal, start, ledger.settled)):
        fold.restore(*entry)
    open_rows = [row for row in fold.flows() if not row.settled(checkpoint.journal)]
    open_flows = [by_the_broker(row.flow, row.written_ms) async for row in _by_and_by(open_rows)]
    pending = {event.id for flow in open_flows for _, event in flow.pending}
    out = await parts.outbox.ids_since(lane, checkpoint.outputs, pending) if pending else set()
    adopt = tuple([_adopted(flow, out, parts) async for flow in _by_and_by(open_flows)])
    awaited = (row for row in fold.flows() if row.settled(checkpoint.journal) and not row.head.finished)
    follow = tuple([_followed(row) async for row in _by_and_by(awaited)])
    for flow in (*adopt, *follow):
        ledger.adopt(flow.facts.digest, flow.facts.siblings, flow.facts.rule, flow.facts.flow_id)
    ledger.covered = _covered(fold, start)
    for row, flow in zip(open_rows, adopt, strict=True):
        parts.metrics.adopted_flows.labels(flow.facts.message_class or "", row.head.state.name.lower()).inc()
    parts.metrics.void_rows.inc(sum(row.void for row in fold.flows()))
    neighbours, newest = await _neighbours(lane, parts, fold, times, adopt, follow)
    for flow in (*adopt, *follow):
        newest.note(flow.facts)
    return Claimed(Epoch(fold.epoch), checkpoint, ledger, adopt, follow, start, neighbours, newest)


async def _by_and_by(some: Iterable[T]) -> AsyncIterator[T]:
    """All of them, with a rest now and then in which other lanes go on."""
    for number, row in enumerate(some, 1):
        yield row
        if number % _TURN == 0:
            await asyncio.sleep(0)


async def _again(lane: LaneId, parts: Parts, offsets: Sequence[int]) -> AsyncIterator[Entry]:
    """Rows that were read before, in few reads; ``offsets`` rise. Raises LaneLost when one is gone.

    Its writer's newer row of the same key replaced it, perhaps behind what was read: the next claim reads that one.
    """
    for wanted in _ranges(offsets):
        found = {entry.offset: entry for entry in await parts.journal.between(lane, wanted[0], wanted[-1])}
        for offset in wanted:
            if offset not in found:
                raise LaneLost("rows_replaced")
            yield found[offset]


def _ranges(offsets: Sequence[int]) -> Iterator[Sequence[int]]:
    """What lies close together is read at once."""
    first = 0
    for place in range(1, len(offsets) + 1):
        if place == len(offsets) or offsets[place] - offsets[place - 1] > _APART or offsets[place] - offsets[first] >= _PORTION:
            yield offsets[first:place]
            first = place


async def _neighbours(
    lane: LaneId, parts: Parts, fold: Fold, times: Times, adopt: tuple[Flow, ...], follow: tuple[Flow, ...]
) -> tuple[Neighbours, Newest]:
    """Finished flows, as far back as a doubt may ask whose a candidate without a label is, or a code that waits is superseded by them."""
    answer_ms = int((parts.policy.timeout_s + parts.policy.provider_lag_s) * 1000)
    waiting = [flow.facts.occurred_at_ms for flow in adopt if flow.facts.message_class is MessageClass.OTP and not flow.state.settled]
    since_ms = min([needed_since_ms(adopt, parts.clock.now_ms()), *waiting])
    first = _first_since(times, since_ms - answer_ms - _CLOCKS_APART_MS)
    ended = tuple(fold.ended.since(first) if waiting else fold.ended.nameless_since(first))
    finished = [(row.key, row.value) for row in fold.flows() if row.head.finished and (waiting or row.head.nameless)]
    neighbours, newest, number = Neighbours(answer_ms), Newest(), 0
    guesses: list[Flow] = []
    named = {flow.facts.flow_id: flow for flow in follow if flow.ever_doubted}
    async for flow in _decoded(finished, _again(lane, parts, ended)):
        neighbours.note(flow, since_ms)
        newest.note(flow.facts)
        if flow.guessed:
            guesses.append(flow)
        elif flow.ever_doubted and flow.state is State.ACCEPTED:
            named[flow.facts.flow_id] = flow
        number += 1
        if number % _TURN == 0:
            await asyncio.sleep(0)  # other lanes are at work
    for guess in guesses:  # an older row: a call has named another message since
        if (now := named.get(guess.facts.flow_id)) is not None:
            neighbours.note(now, since_ms, instead_of=guess)
    return neighbours, newest


async def _decoded(some: Iterable[tuple[bytes, bytes]], more: AsyncIterator[Entry]) -> AsyncIterator[Flow]:
    for key, value in some:
        yield rows.flow_of(key, value)
    async for entry in more:
        yield rows.flow_of(entry.key, entry.value)


def _first_since(times: Times, since_ms: int) -> int:
    """An offset before which no row was written at or after that time."""
    before = [last for written_ms, last in times if written_ms < since_ms]
    return before[-1] + 1 if before else 0


def _followed(row: Folded) -> Flow:
    """The flow, whose events are all out: the checkpoint covers its row."""
    flow = row.flow
    return replace(flow, pending=()) if flow.pending else flow


def _adopted(flow: Flow, out: set[str], parts: Parts) -> Flow:
    """The flow as it will stand under the new epoch: an inherited INTENT is a DOUBT; events found in the outputs' tail are out."""
    if flow.pending:
        flow = flow.acked([number for number, event in flow.pending if event.id in out])
    if flow.state is State.INTENT:
        flow = advance(flow, Doubt("adopted"), parts.clock.now_ms())
    return flow


def _covered(fold: Fold, start: int) -> set[int]:
    """Input offsets from ``start`` on whose flows all have rows: met again only because the commit lags behind."""
    seen: dict[int, set[str]] = {}
    listed: dict[int, set[str]] = {}
    covered = {met for met, _, siblings in fold.ended.met_since(start) if not siblings}
    for row in fold.flows():
        head = row.head
        if head.input_offset < start:
            continue
        if not head.has_siblings:
            covered.add(head.input_offset)
            continue
        facts = row.flow.facts
        seen.setdefault(head.input_offset, set()).add(facts.rule)
        listed.setdefault(head.input_offset, set()).update(facts.siblings)
    covered.update(offset for offset, names in listed.items() if names <= seen[offset])
    return covered
