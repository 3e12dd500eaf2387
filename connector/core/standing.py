"""The rows of a journal that stand for its flows, for somebody who only looks: no CLAIM is written, nothing is concluded for sending.

Which row stands is the lane protocol's rule: highest epoch, then highest offset. What a looker is not asked for is folded without being
kept, so that a look at one flow does not hold a whole journal in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from connector.core import rows
from connector.core.flow import Flow


@dataclass(frozen=True, slots=True)
class Row:
    """The row that stands for a flow. ``claimed_ms`` is the time of the CLAIM it was written under, None where that row is gone."""

    flow: Flow = field(repr=False)
    offset: int
    epoch: int
    written_ms: int
    void: bool
    claimed_ms: int | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Who claimed the lane last: ``host`` is that process's name for itself."""

    host: str
    claimed_ms: int
    epoch: int


class Standing:
    """Feed every row of one journal in offset order, then ask. ``keep(key, value)``: whether such a row would be wanted if it stands."""

    def __init__(self, keep: Callable[[bytes, bytes], bool]) -> None:
        self._keep = keep
        self._best: dict[bytes, tuple[int, int]] = {}
        self._kept: dict[bytes, tuple[int, bytes, bytes]] = {}
        self._claims: dict[int, int] = {}  # offset → time
        self._checkpoint: tuple[int, int, bytes] | None = None
        self._owner: Owner | None = None
        self.count = 0
        self.first_ms: int | None = None

    def feed(self, offset: int, key: bytes, value: bytes, written_ms: int) -> None:
        """One row. Raises LaneRefused for one that this release cannot read."""
        head = rows.head_of(value)
        self.count += 1
        self.first_ms = written_ms if self.first_ms is None else min(self.first_ms, written_ms)
        if head.kind is rows.Kind.CLAIM:
            self._claims[offset] = written_ms
            self._owner = Owner(rows.host_of(value), written_ms, offset)
        elif head.kind is rows.Kind.CHECKPOINT:
            if self._checkpoint is None or (head.epoch, offset) > self._checkpoint[:2]:
                self._checkpoint = (head.epoch, offset, value)
        else:
            self._weigh(offset, head.epoch, key, value, written_ms)

    def _weigh(self, offset: int, epoch: int, key: bytes, value: bytes, written_ms: int) -> None:
        flow = rows.flow_part(key)
        best = self._best.get(flow)
        if best is not None and best > (epoch, offset):
            return
        self._best[flow] = (epoch, offset)
        if self._keep(key, value):
            self._kept[flow] = (written_ms, key, value)
        else:
            self._kept.pop(flow, None)

    @property
    def flows(self) -> int:
        """How many flows the journal knows."""
        return len(self._best)

    @property
    def owner(self) -> Owner | None:
        """Who claimed last; None where no claim is left."""
        return self._owner

    @property
    def input_position(self) -> int | None:
        """Up to where the input was read, as the checkpoint of the highest epoch says; None where there is none."""
        return rows.checkpoint_of(self._checkpoint[2]).input if self._checkpoint else None

    def rows(self) -> Iterator[Row]:
        """The wanted rows that stand, decoded. Raises LaneRefused for one that contradicts itself."""
        claims = sorted(self._claims)
        for name, (written_ms, key, value) in self._kept.items():
            epoch, offset = self._best[name]
            later = bisect_right(claims, epoch)
            void = later < len(claims) and claims[later] < offset
            yield Row(rows.flow_of(key, value), offset, epoch, written_ms, void, self._claims.get(epoch))
