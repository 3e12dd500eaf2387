"""The input, read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from connector.core.model import Record
from connector.errors import KafkaUnavailable
from connector.ports import LaneId


class FakePast:
    """Holds the records put into it; retention is ``forget``."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = {(LaneId(record.topic, record.partition), record.offset): record for record in records}
        self.ends = {lane: offset + 1 for lane, offset in sorted(self.records)}
        self.unavailable = False

    def put(self, record: Record) -> None:
        lane = LaneId(record.topic, record.partition)
        self.records[lane, record.offset] = record
        self.ends[lane] = max(self.ends.get(lane, 0), record.offset + 1)

    def forget(self, lane: LaneId, offset: int) -> None:
        del self.records[lane, offset]

    async def record(self, lane: LaneId, offset: int) -> Record | None:
        await asyncio.sleep(0)
        if self.unavailable or offset >= self.ends.get(lane, 0):
            raise KafkaUnavailable("fake")
        return self.records.get((lane, offset))
