"""Where a lane's input goes on after a claim, and when no place can be trusted: better no message than history sent once more.

What counts, in this order: the journal's checkpoint (IN) and the group's committed offset, the further of the two; only a group that
never got anywhere begins where ``start_from`` says. A committed offset behind IN is not followed: everything before IN has its row, so a
group that was set back by hand sends nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from connector.core.rows import Checkpoint
from connector.errors import LaneRefused

ANEW = "give the group a new kafka.group_id, which begins where kafka.start_from says"
BEGIN = "failover-connector topics begin"


class Places(NamedTuple):
    """What the broker says of one input partition. ``begin``: the log's first offset or its end, by ``start_from``."""

    committed: int | None  # next-to-read of the group; None: never committed, expired, or deleted
    first: int
    end: int
    begin: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the journal says: its checkpoint, whether it has rows of flows, and whether its first row was ever removed by retention."""

    checkpoint: Checkpoint | None
    has_flows: bool
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Resumed:
    """``start``: where the input goes on. ``gone``: offsets before it that the input lost before anybody had read them.

    ``passed``: offsets before it that nobody will read, as a lane without history begins at the end (``start_from: latest``). That is meant
    for the first start ever, and cannot be told from a partition that was added later: commits of other lanes prove nothing, since they
    may be a second old, and to begin such a lane at the log's start would send its history.
    """

    start: int
    gone: int = 0
    passed: int = 0


def resume(lane: str, places: Places, remembered: Remembered) -> Resumed:
    """Raises LaneRefused, with the remedy, where going on could send history again or leave events out."""
    checkpoint, committed = remembered.checkpoint, places.committed
    read = committed is not None and committed > places.first
    if checkpoint is None and remembered.is_whole and read:
        raise LaneRefused(
            f"{lane}: the group has read its input up to {committed}, yet this journal is new: it was deleted, or is another group's. "
            f"What was sent is not known any more. To go on at the committed offset all the same, run `{BEGIN}`; else {ANEW}"
        )
    known = [place for place in (committed, checkpoint.input if checkpoint else None) if place is not None]
    if not known:
        if remembered.has_flows:
            raise LaneRefused(
                f"{lane}: the journal has rows, but neither a checkpoint nor a committed offset says how far the input was read: "
                f"set the group's offset by hand (kafka-consumer-groups.sh --reset-offsets), or {ANEW}"
            )
        return Resumed(places.begin, passed=max(places.begin - places.first, 0))
    start = max(known)
    if start > places.end:
        raise LaneRefused(
            f"{lane}: the input was read up to {start}, yet it ends at {places.end}: it was deleted and created anew, or cut off. "
            f"The journal speaks of other records: {ANEW}"
        )
    return Resumed(max(start, places.first), max(places.first - start, 0))
