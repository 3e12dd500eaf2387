"""Beginning lanes on purpose at the group's committed offsets: for a journal that was lost, or a group whose offsets were set by hand."""

from __future__ import annotations

from dataclasses import dataclass

from connector.core import rows
from connector.core.resume import Places
from connector.core.rows import Checkpoint
from connector.errors import LaneLost
from connector.ports import Journal, LaneId, Outbox


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where everything of a lane begins: its input, its callbacks, and which input topic that is (None: the broker tells no ids)."""

    places: Places
    callbacks: int
    topic_id: str | None


async def beginning(lane: LaneId, places: Places, journal: Journal) -> int | None:
    """Where ``begin`` would begin, without writing anything; None where there is nothing to begin."""
    return None if places.committed is None or await _knows(journal, lane) else places.committed


async def begin(lane: LaneId, at: Beginning, journal: Journal, outbox: Outbox, claim: tuple[bytes, bytes]) -> int | None:
    """Write a first checkpoint at the committed offset, which it gives; None where there is nothing to begin.

    That is: no committed offset, or a journal with history. ``claim``: a CLAIM row, which opens the epoch of that checkpoint. Raises
    LaneLost when the rows' fate is not known, or when somebody else claims at the same time: ask again.
    """
    committed = await beginning(lane, at.places, journal)
    if committed is None:
        return None
    epoch = await journal.append(lane, *claim)
    checkpoint = Checkpoint(-1, await outbox.ends(lane), at.callbacks, committed, at.topic_id)
    offset = await journal.append(lane, *rows.checkpoint_row(checkpoint, epoch, 1))
    if offset != epoch + 1:
        raise LaneLost("fenced")
    return committed


async def _knows(journal: Journal, lane: LaneId) -> bool:
    """Whether the journal holds more than the CLAIMs of lanes that were refused."""
    async for batch in journal.scan(lane, -1):
        if any(rows.head_of(entry.value).kind is not rows.Kind.CLAIM for entry in batch):
            return True
    return False
