"""Back-pressure of one lane, in records and bytes: permit before fetch, membership kept (docs/how-it-works.md)."""

from __future__ import annotations

from collections import deque

from connector.core.model import Record
from connector.ports import LaneId
from connector.services.parts import Parts


class Backlog:
    """Counts what of the input is in memory; holds the input when it is too much, lets it flow again at half of that."""

    def __init__(self, lane: LaneId, parts: Parts) -> None:
        self._lane = lane
        self._source = parts.source
        self._metrics = parts.metrics
        self._max_records = parts.policy.buffer_records
        self._max_bytes = parts.policy.buffer_bytes
        self._holds: dict[int, int] = {}
        self._unhandled: deque[int] = deque()  # Kafka timestamps, in order of arrival
        self.records = 0
        self.bytes = 0
        self.held = False

    def arrive(self, record: Record) -> None:
        """A record came in."""
        self._unhandled.append(record.timestamp_ms)
        self._move(1, record.size)
        if not self.held and (self.records >= self._max_records or self.bytes >= self._max_bytes):
            self.held = True
            self._source.hold([self._lane], held=True)

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
        self._move(-self.records, -self.bytes)
        self._holds.clear()
        self._unhandled.clear()

    @property
    def oldest_ms(self) -> int | None:
        """Kafka's timestamp of the first record that is not handled yet: it, or the registry it needs, keeps the others waiting."""
        return self._unhandled[0] if self._unhandled else None

    def _gone(self, record: Record) -> None:
        self._move(-1, -record.size)
        if self.held and self.records <= self._max_records // 2 and self.bytes <= self._max_bytes // 2:
            self.held = False
            self._source.hold([self._lane], held=False)

    def _move(self, records: int, size: int) -> None:
        self.records += records
        self.bytes += size
        self._metrics.lane_buffer_records.inc(records)
        self._metrics.lane_buffer_bytes.inc(size)
