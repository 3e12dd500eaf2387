"""Back-pressure of one lane, in records, bytes and parked flows: permit before fetch, membership kept (docs/how-it-works.md)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from connector.core.model import Record
from connector.ports import LaneId
from connector.services.parts import Parts

_FLOW_ON = 0.5
MOST_BEHIND = 100_000
"""Records that may wait behind one that is not done (its dead letter is not taken): a restart reads them all again."""


class Backlog:
    """Counts what of the input is in memory; holds the input when it is too much, lets it flow again at half of that."""

    def __init__(self, lane: LaneId, parts: Parts, behind: Callable[[], int]) -> None:
        """``behind``: how many records wait behind the first that is not done."""
        self._lane = lane
        self._behind = behind
        self._source = parts.source
        self._metrics = parts.metrics
        self._max_records = parts.policy.buffer_records
        self._max_bytes = parts.policy.buffer_bytes
        self._max_parked = parts.policy.park_max_rows
        self._holds: dict[int, int] = {}
        self._unhandled: deque[int] = deque()  # Kafka timestamps, in order of arrival
        self.records = 0
        self.bytes = 0
        self.parked = 0
        self.held = False

    def arrive(self, record: Record) -> None:
        """A record came in."""
        self._unhandled.append(record.timestamp_ms)
        self._move(1, record.size)
        self._judge()

    def park(self, more: int) -> None:
        """So many more flows wait without their record, or fewer: they are small, but the input is without end."""
        self.parked += more
        self._judge()

    def started(self) -> None:
        """The input begins to flow, whatever was held before."""
        self.held = False
        self._judge()

    def hold(self, record: Record, flows: int) -> None:
        """It was handled: so many flows go on using it; none, and it is gone."""
        if self._unhandled:
            self._unhandled.popleft()
        if flows:
            self._holds[record.offset] = flows
        else:
            self._gone(record)

    def release(self, record: Record) -> None:
        """One of its flows needs it no more."""
        left = self._holds.get(record.offset)
        if left is None:
            return  # read again from the input, never counted
        if left > 1:
            self._holds[record.offset] = left - 1
            return
        del self._holds[record.offset]
        self._gone(record)

    def clear(self, *, flow_on: bool) -> None:
        """The lane ends. ``flow_on``: should it begin anew, its input must flow again; else somebody else steers that already."""
        if self.held and flow_on:
            self._source.hold([self._lane], held=False)
        self.held = False
        self.parked = 0
        self._move(-self.records, -self.bytes)
        self._holds.clear()
        self._unhandled.clear()

    @property
    def oldest_ms(self) -> int | None:
        """Kafka's timestamp of the first record that is not handled yet: it, or the registry it needs, keeps the others waiting."""
        return self._unhandled[0] if self._unhandled else None

    def _gone(self, record: Record) -> None:
        self._move(-1, -record.size)
        self._judge()

    def _judge(self) -> None:
        """Hold the input, or let it flow again."""
        behind = self._behind() / MOST_BEHIND
        used = max(self.records / self._max_records, self.bytes / self._max_bytes, self.parked / self._max_parked, behind)
        if used <= _FLOW_ON if self.held else used >= 1:
            self.held = not self.held
            self._source.hold([self._lane], held=self.held)

    def _move(self, records: int, size: int) -> None:
        self.records += records
        self.bytes += size
        self._metrics.lane_buffer_records.inc(records)
        self._metrics.lane_buffer_bytes.inc(size)
