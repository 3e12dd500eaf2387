"""Looking flows up in the journals and in the statuses topic, without taking part: nothing is claimed, committed or written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import chain

from connector.core.events import STATUS
from connector.core.model import JsonObject, MessageClass
from connector.core.standing import Owner, Row, Standing
from connector.core.wanted import Listed, Wanted, since_ms
from connector.errors import KafkaUnavailable, LaneRefused
from connector.ports import Archive, Ends, LaneId

Progress = Callable[[str, int, int], None]
"""Hears what is read, how many offsets of how many are behind."""

_CUT = "retention took them, or the topic got more partitions since"
_ELSEWHERE = "the topic got more partitions since, or was made anew"
_CLOCKS_APART_MS = 300_000  # between the connector's clock and what the broker stamps on a message


@dataclass(frozen=True, slots=True)
class Found:
    """One flow with all that can be read of it. ``statuses`` by ``seq``; ``unread``: why some of them are missing, empty if none is."""

    lane: LaneId
    row: Row
    owner: Owner | None
    statuses: tuple[JsonObject, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """Where was looked. ``since_ms``: the oldest row met; ``waiting``: input records beyond what the lanes' checkpoints have seen."""

    lanes: int
    flows: int
    since_ms: int | None
    waiting: int
    refused: tuple[tuple[LaneId, str], ...] = ()  # journals that this release cannot read


async def find(archive: Archive, wanted: Wanted, progress: Progress) -> tuple[tuple[Found, ...], Looked]:
    """All flows of that name, in order of input, with their statuses. Raises KafkaUnavailable."""
    met: list[tuple[LaneId, list[Row], Owner | None]] = []

    def take(lane: LaneId, standing: Standing) -> None:
        rows = [row for row in standing.rows() if wanted.matches(row.flow)]
        if rows:
            met.append((lane, rows, standing.owner))

    looked = await _read(archive, wanted.may_match, take, progress)
    found = [one for lane, rows, owner in met for one in await _with_statuses(archive, lane, rows, owner, progress)]
    return tuple(sorted(found, key=lambda one: (one.row.flow.facts.occurred_at_ms, one.lane, one.row.flow.facts.source_offset))), looked


async def list_flows(
    archive: Archive,
    listed: Listed,
    progress: Progress,
    *,
    before_ms: int | None = None,
    classes: Collection[MessageClass] = (),
    limit: int = 100,
) -> tuple[tuple[Found, ...], int, Looked]:
    """Flows by state, oldest first, at most ``limit`` of them; how many there are; where was looked.

    ``before_ms``: only those that are as they are since before that time. Raises KafkaUnavailable.
    """
    oldest: list[Found] = []
    count = 0

    def candidates(lane: LaneId, standing: Standing) -> Iterator[Found]:
        nonlocal count
        for row in standing.rows():
            chosen = listed.matches(row.flow) and (before_ms is None or since_ms(row.flow) < before_ms)
            if chosen and (not classes or row.flow.facts.message_class in classes):
                count += 1
                yield Found(lane, row, standing.owner, unread="a list reads no statuses")

    def take(lane: LaneId, standing: Standing) -> None:
        oldest[:] = nsmallest(limit, chain(oldest, candidates(lane, standing)), key=lambda one: since_ms(one.row.flow))

    looked = await _read(archive, listed.may_match, take, progress)
    return tuple(oldest), count, looked


async def _read(
    archive: Archive, keep: Callable[[bytes, bytes], bool], take: Callable[[LaneId, Standing], None], progress: Progress
) -> Looked:
    """Every journal, one after the other; each is given to ``take`` when it has been read, and then let go."""
    lanes = await archive.lanes()
    ends = {lane: await archive.ends(lane) for lane in lanes}
    total = sum(end.journal for end in ends.values())
    looked = Looked(len(lanes), 0, None, 0)
    behind = 0
    for lane in lanes:
        standing = Standing(keep)
        try:
            async for position in _fold(archive, lane, standing):
                progress(str(lane), behind + position, total)
            take(lane, standing)
            looked = _added(looked, standing, ends[lane])
        except LaneRefused as reason:
            looked = replace(looked, refused=(*looked.refused, (lane, str(reason))))
        behind += ends[lane].journal
        progress(str(lane), behind, total)
    return looked


async def _fold(archive: Archive, lane: LaneId, standing: Standing) -> AsyncIterator[int]:
    """Gives the position after each batch."""
    async with aclosing(archive.rows(lane)) as batches:
        async for batch in batches:
            for entry in batch:
                standing.feed(entry.offset, entry.key, entry.value, entry.timestamp_ms)
            if batch:
                yield batch[-1].offset + 1


def _added(looked: Looked, standing: Standing, ends: Ends) -> Looked:
    """One more journal."""
    firsts = [first for first in (looked.since_ms, standing.first_ms) if first is not None]
    position = standing.input_position
    waiting = 0 if position is None else max(0, ends.input - position)
    return replace(looked, flows=looked.flows + standing.flows, since_ms=min(firsts, default=None), waiting=looked.waiting + waiting)


async def _with_statuses(archive: Archive, lane: LaneId, rows: list[Row], owner: Owner | None, progress: Progress) -> list[Found]:
    """The journal holds the statuses that are not out yet; the others stand in their topic, which is read until each was met."""
    told: dict[tuple[str, int], JsonObject] = {
        (event.flow_id, event.body["seq"]): event.body for row in rows for _, event in row.flow.pending if event.kind == STATUS
    }
    missing = {(row.flow.facts.flow_id, seq) for row in rows for seq in range(1, row.flow.seq + 1)} - told.keys()
    why = ""
    if missing:
        accepted = [row.flow.accepted_at_ms for row in rows if row.flow.accepted_at_ms is not None]
        since_ms = min(accepted, default=0) - _CLOCKS_APART_MS
        try:
            for start_ms in (since_ms, 0):  # from the log's start too: not every broker finds the offset of a time
                if missing:
                    await _collect(archive.statuses(lane, {flow_id for flow_id, _ in missing}, start_ms), missing, told, progress)
            why = _CUT if missing and await archive.statuses_cut(lane) else _ELSEWHERE
        except (KafkaUnavailable, LaneRefused) as reason:
            why = str(reason)
    return [_found(lane, row, owner, told, why) for row in rows]


async def _collect(
    batches: AsyncGenerator[Sequence[JsonObject], None],
    missing: set[tuple[str, int]],
    told: dict[tuple[str, int], JsonObject],
    progress: Progress,
) -> None:
    total = len(missing)
    async with aclosing(batches) as reading:
        async for batch in reading:
            for body in batch:
                place = (str(body.get("flow_id")), int(body.get("seq") or 0))
                if place in missing:
                    missing.discard(place)
                    told[place] = body
            progress("statuses", total - len(missing), total)
            if not missing:
                return


def _found(lane: LaneId, row: Row, owner: Owner | None, told: Mapping[tuple[str, int], JsonObject], why: str) -> Found:
    flow_id = row.flow.facts.flow_id
    statuses = tuple(told[flow_id, seq] for seq in range(1, row.flow.seq + 1) if (flow_id, seq) in told)
    lost = row.flow.seq - len(statuses)
    return Found(lane, row, owner, statuses, f"{lost} of {row.flow.seq} statuses were not found: {why}" if lost else "")
