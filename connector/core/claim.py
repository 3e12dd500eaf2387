"""The lane protocol without I/O (docs/how-it-works.md): what a claimant concludes from the journal, and which own rows are valid.

Values in, verdicts out, so that a random walk can drive it as it drives the model.
"""

from __future__ import annotations

import enum
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from connector.core import rows
from connector.core.flow import Flow
from connector.core.settled import SettledIndex, short
from connector.errors import LaneRefused


@dataclass(frozen=True, slots=True)
class Folded:
    """The row that stands for a flow: highest epoch, then highest offset."""

    offset: int
    key: bytes
    value: bytes = field(repr=False)
    head: rows.Head
    void: bool = False
    written_ms: int = 0  # by the broker's clock; 0: not known

    @property
    def flow(self) -> Flow:
        """All that it says."""
        return rows.flow_of(self.key, self.value, self.head)

    def settled(self, journal: int) -> bool:
        """No send decision open, valid, and covered by checkpoint ``J`` (so that its outputs are out)."""
        return self.head.state.settled and not self.void and self.offset <= journal


class EndedRows:
    """Rows that end their flow, as columns of 25 bytes a row: a journal holds millions of them, and few are looked at again.

    Offsets rise. A flow may have several rows here, and one elsewhere that outranks them: to whoever asks by event, old rows of a flow
    do no harm, since they are confirmed by reading and the newest is believed.
    """

    _SIBLINGS, _NAMELESS = 1, 2

    def __init__(self) -> None:
        self.keys = array("Q")  # 64 bits of the event's digest
        self.offsets = array("Q")
        self._inputs = array("q")
        self._flags = array("B")

    def __len__(self) -> int:
        return len(self.offsets)

    def portions(self, size: int) -> Iterator[tuple[array[int], array[int]]]:
        """All (keys, offsets), at most ``size`` at a time."""
        for first in range(0, len(self), size):
            yield self.keys[first : first + size], self.offsets[first : first + size]

    def add(self, offset: int, head: rows.Head) -> None:
        """The row at ``offset`` ends its flow."""
        self.keys.append(short(head.digest))
        self.offsets.append(offset)
        self._inputs.append(head.input_offset)
        self._flags.append((self._SIBLINGS if head.has_siblings else 0) | (self._NAMELESS if head.nameless else 0))

    def after(self, journal: int) -> array[int]:
        """Offsets beyond ``J``: their outputs may not be out."""
        return self.offsets[bisect_right(self.offsets, journal) :]

    def met_since(self, start: int) -> Iterator[tuple[int, int, bool]]:
        """(input offset, row offset, whether its event has other flows) of events that the input gives again from ``start``."""
        for place, met in enumerate(self._inputs):
            if met >= start:
                yield met, self.offsets[place], self._flags[place] & self._SIBLINGS != 0

    def since(self, first: int) -> array[int]:
        """Offsets from ``first`` on."""
        return self.offsets[bisect_left(self.offsets, first) :]

    def nameless_since(self, first: int) -> Iterator[int]:
        """Offsets from ``first`` on of flows that are ``rows.Head.nameless``."""
        for place in range(bisect_left(self.offsets, first), len(self)):
            if self._flags[place] & self._NAMELESS:
                yield self.offsets[place]


class Fold:
    """Steps 2 and 3 of a claim: feed every row up to the end of the log, then ask.

    Holes are normal (compaction, retention). Nothing is ignored: a void row, written by someone who was already fenced, counts like
    others but is never settled.

    Whole rows are kept of flows that are not ended, and void ones. Of the others ``ended`` knows where they are; those that matter after
    all, now that the checkpoint is known, are named by ``wanted``, read again by the caller, and given to ``restore``. Then ``flows``
    is right about every flow but those whose row is ended, valid and covered by the checkpoint.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.first = epoch  # offset of the first row that is there
        self.superseded = False
        self.ended = EndedRows()
        self._standing: dict[bytes, Folded] = {}
        self._fence = -1  # offset of the last CLAIM so far
        self._checkpoint: tuple[int, int, bytes] | None = None

    def feed(self, offset: int, key: bytes, value: bytes, written_ms: int = 0) -> None:
        """One row, in offset order, with the broker's time of it. Raises LaneRefused for rows that no journal of ours can hold."""
        head = rows.head_of(value)
        if head.kind is rows.Kind.CLAIM:
            self._fence = offset
            self.superseded = self.superseded or offset > self.epoch
            return
        epoch = head.epoch
        if epoch >= offset:
            raise LaneRefused(
                f"row {offset} claims epoch {epoch}, which lies not before it: this journal was mirrored or restored; "
                "give the group a new group_id, or delete and recreate its internal topics"
            )
        self._fence = max(self._fence, epoch)  # a CLAIM stood there, until retention took it
        if head.kind is rows.Kind.CHECKPOINT:
            if self._checkpoint is None or (epoch, offset) >= self._checkpoint[:2]:
                self._checkpoint = (epoch, offset, value)
            return
        void = self._fence > epoch
        if void or not head.finished:
            self._compete(Folded(offset, key, value, head, void, written_ms))
            return
        # Valid, so no CLAIM lies behind its epoch: nothing read so far is of a higher one.
        self.ended.add(offset, head)
        if self._standing:
            self._standing.pop(rows.flow_part(key), None)

    def _compete(self, row: Folded) -> None:
        flow = rows.flow_part(row.key)
        best = self._standing.get(flow)
        if best is None or (row.head.epoch, row.offset) >= (best.head.epoch, best.offset):
            self._standing[flow] = row

    @property
    def checkpoint(self) -> rows.Checkpoint | None:
        """The checkpoint of the highest epoch, or None on the first claim ever."""
        return rows.checkpoint_of(self._checkpoint[2]) if self._checkpoint else None

    def wanted(self, journal: int, start: int, index: SettledIndex) -> list[int]:
        """Offsets, rising, of ended rows that must be read again; ``index`` holds all of ``ended``.

        Those beyond checkpoint ``J``; those of events with several flows that the input gives again from ``start``; those that may be of
        the same flow as a void row, and outrank it.
        """
        found = set(self.ended.after(journal))
        found.update(offset for _, offset, siblings in self.ended.met_since(start) if siblings)
        for row in self._standing.values():
            if row.void:
                found.update(index.find(row.head.digest))
        return sorted(found)

    def restore(self, offset: int, key: bytes, value: bytes, written_ms: int = 0) -> None:
        """A row named by ``wanted``, read again."""
        self._compete(Folded(offset, key, value, rows.head_of(value), written_ms=written_ms))

    @property
    def is_whole(self) -> bool:
        """Nothing was ever removed by retention: a journal's first row is a CLAIM, which no compaction takes."""
        return self.first == 0

    @property
    def has_flows(self) -> bool:
        """Some row of a flow is there."""
        return bool(self._standing or self.ended)

    def flows(self) -> Iterable[Folded]:
        """The row that stands for each flow that is kept whole."""
        return self._standing.values()


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
