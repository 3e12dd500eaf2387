"""The lane protocol without I/O (lane-protocol 1.2, 1.3): what a claimant concludes from the journal, and which own rows are valid.

Values in, verdicts out, so that a random walk can drive it as it drives the model.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from connector.core import rows
from connector.errors import LaneRefused


@dataclass(frozen=True, slots=True)
class Folded:
    """The row that stands for a flow: highest epoch, then highest offset."""

    offset: int
    key: bytes
    value: bytes = field(repr=False)
    epoch: int = -1
    void: bool = False

    @property
    def head(self) -> rows.Head:
        """Its head."""
        return rows.head_of(self.value)

    def settled(self, journal: int) -> bool:
        """No send decision open, valid, and covered by checkpoint ``J`` (so that its outputs are out)."""
        return self.head.state.settled and not self.void and self.offset <= journal


class Fold:
    """Steps 2 and 3 of a claim: feed every row up to the end of the log, then ask.

    Holes are normal (compaction, retention). Nothing is ignored: a void row, written by someone who was already fenced, counts like
    others but is never settled.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._claims: list[int] = []
        self._flows: dict[bytes, tuple[int, int, bytes, bytes]] = {}
        self._checkpoint: tuple[int, int, bytes] | None = None
        self.superseded = False

    def feed(self, offset: int, key: bytes, value: bytes) -> None:
        """One row, in offset order. Raises LaneRefused for rows that no journal of ours can hold."""
        head = rows.head_of(value)
        if head.kind is rows.Kind.CLAIM:
            self._claims.append(offset)
            self.superseded = self.superseded or offset > self.epoch
            return
        if head.epoch >= offset:
            raise LaneRefused(
                f"row {offset} claims epoch {head.epoch}, which lies not before it: this journal was mirrored or restored; "
                "give the group a new group_id, or delete and recreate its internal topics"
            )
        if head.kind is rows.Kind.CHECKPOINT:
            if self._checkpoint is None or (head.epoch, offset) >= self._checkpoint[:2]:
                self._checkpoint = (head.epoch, offset, value)
            return
        flow = key.rsplit(b"|", 1)[0]
        best = self._flows.get(flow)
        if best is None or (head.epoch, offset) >= best[:2]:
            self._flows[flow] = (head.epoch, offset, key, value)

    def void(self, epoch: int, offset: int) -> bool:
        """Some claim lies between the row's epoch and the row."""
        position = bisect_right(self._claims, epoch)
        return position < len(self._claims) and self._claims[position] < offset

    @property
    def checkpoint(self) -> rows.Checkpoint | None:
        """The checkpoint of the highest epoch, or None on the first claim ever."""
        return rows.checkpoint_of(self._checkpoint[2]) if self._checkpoint else None

    def flows(self) -> Iterator[Folded]:
        """The row that stands for each flow."""
        for epoch, offset, key, value in self._flows.values():
            yield Folded(offset, key, value, epoch, self.void(epoch, offset))


class Verdict(enum.Enum):
    """What a delivery report says of an own row."""

    VALID = "valid"
    GAP = "gap"  # read what lies between, then ask ``gap``
    LOST = "lost"  # the row's fate is unknown


@dataclass(slots=True)
class Epoch:
    """Validity of own rows (1.3). Reports must be given in the order of production."""

    epoch: int
    last: int = field(init=False)
    built: int = 0  # rows built so far (k of the last)
    valid: int = 0  # rows known valid so far

    def __post_init__(self) -> None:
        self.last = self.epoch

    def next_k(self) -> int:
        """K of the row that is being built."""
        self.built += 1
        return self.built

    def report(self, offset: int) -> Verdict:
        """The next row landed at ``offset`` (negative: unknown)."""
        if offset <= self.last:
            return Verdict.LOST
        if offset != self.last + 1:
            return Verdict.GAP
        self.accept(offset)
        return Verdict.VALID

    def gap(self, offset: int, between: Iterable[tuple[int, bytes]]) -> bool:
        """After GAP: ``between`` holds (offset, value) of every row found from last+1 to offset-1. True: the row is valid.

        A CLAIM, or a *missing* offset, there means fenced: a hole may be where a CLAIM was.
        """
        found = dict(between)
        for position in range(self.last + 1, offset):
            value = found.get(position)
            if value is None or rows.head_of(value).kind is rows.Kind.CLAIM:
                return False
        self.accept(offset)
        return True

    def accept(self, offset: int) -> None:
        """The row at ``offset`` is valid."""
        self.last = offset
        self.valid += 1
