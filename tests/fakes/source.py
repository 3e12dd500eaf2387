"""A consumer group of one member, moved by hand."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence

from connector.core.model import Record
from connector.core.resume import Places
from connector.ports import Arrived, Assigned, LaneId, Lost, Revoked, SourceEvent


class FakeSource:
    """``assign``, ``revoke``, ``lose`` and ``put`` are the broker's side; records flow from the offset a lane was started at."""

    def __init__(self, *, start_from: int = 0) -> None:
        self.queue: asyncio.Queue[SourceEvent | None] = asyncio.Queue(maxsize=100_000)
        self.records: dict[LaneId, list[Record]] = defaultdict(list)
        self.position: dict[LaneId, int] = {}
        self.starts: Counter[LaneId] = Counter()
        self.held: set[LaneId] = set()
        self.offsets: dict[LaneId, int] = {}
        self.refuse_commits = False
        self.first, self.end = 0, 1_000_000  # of every lane's log: other members may have been shown more than this one
        self.begin = start_from  # of a group without any offset

    def assign(self, *lanes: LaneId) -> None:
        self.held.difference_update(lanes)
        self.queue.put_nowait(Assigned(lanes))

    def revoke(self, *lanes: LaneId) -> asyncio.Event:
        """Gives an event that is set once the lanes were released."""
        released = asyncio.Event()
        starts = {lane: self.starts[lane] for lane in lanes}

        def release() -> None:
            for lane, number in starts.items():
                if self.starts[lane] == number:
                    self.position.pop(lane, None)
            released.set()

        self.queue.put_nowait(Revoked(lanes, release))
        return released

    def lose(self, *lanes: LaneId, expelled: bool = False) -> None:
        for lane in lanes:
            self.position.pop(lane, None)
        self.queue.put_nowait(Lost(lanes, expelled))

    def put(self, *records: Record) -> None:
        for record in records:
            self.records[LaneId(record.topic, record.partition)].append(record)
            self._flow(LaneId(record.topic, record.partition))

    def close(self) -> None:
        self.queue.put_nowait(None)

    def _flow(self, lane: LaneId) -> None:
        if lane in self.position and lane not in self.held:
            due = tuple(record for record in self.records[lane] if record.offset >= self.position[lane])
            if due:
                self.position[lane] = due[-1].offset + 1
                self.queue.put_nowait(Arrived(due))

    async def events(self) -> AsyncIterator[SourceEvent]:
        while (event := await self.queue.get()) is not None:
            yield event

    def start(self, lane: LaneId, offset: int) -> None:
        self.position[lane] = offset
        self.starts[lane] += 1
        self.held.discard(lane)
        asyncio.get_running_loop().call_soon(self._flow, lane)  # the owner thread's next turn: a hold right behind it comes first

    def hold(self, lanes: Sequence[LaneId], held: bool) -> None:
        for lane in lanes:
            (self.held.add if held else self.held.discard)(lane)
            self._flow(lane)

    async def commit(self, offsets: Mapping[LaneId, int]) -> bool:
        await asyncio.sleep(0)
        if not self.refuse_commits:
            self.offsets.update(offsets)
        return not self.refuse_commits

    async def places(self, lane: LaneId) -> Places:
        await asyncio.sleep(0)
        return Places(self.offsets.get(lane), self.first, self.end, self.begin)
