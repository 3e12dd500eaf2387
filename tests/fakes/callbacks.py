"""The callbacks topic as a list per lane; the sink puts, the feed delivers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from connector.adapters.callback_codec import encode_callback
from connector.core.model import Record
from connector.errors import KafkaUnavailable
from connector.ports import Callback, Heard, LaneId

Logs = defaultdict[LaneId, list[Callback | None]]


def heard(lane: LaneId, offset: int, callback: Callback | None) -> Heard:
    """A callback as its topic has it; None stands for bytes that are none."""
    value, when = (b"\xc3", 0) if callback is None else (encode_callback(callback), callback.received_ms)
    key = None if callback is None else callback.flow_id.encode()
    return Heard(lane, Record(f"{lane.topic}.callbacks", lane.partition, offset, when, key, value), callback)


class FakeCallbackFeed:
    """Delivers what ``deliver`` finds behind each followed lane's position."""

    def __init__(self, logs: Logs | None = None) -> None:
        self.logs: Logs = defaultdict(list) if logs is None else logs
        self.position: dict[LaneId, int] = {}
        self.held: set[LaneId] = set()
        self.queue: asyncio.Queue[Sequence[Heard] | None] = asyncio.Queue(maxsize=100_000)

    def put(self, lane: LaneId, callback: Callback | None) -> None:
        self.logs[lane].append(callback)
        self.deliver(lane)

    def deliver(self, lane: LaneId) -> None:
        if lane in self.position and lane not in self.held:
            end = len(self.logs[lane])
            first = self.position[lane] if self.position[lane] <= end else 0  # the log was made anew
            self.position[lane] = end
            batch = [heard(lane, offset, self.logs[lane][offset]) for offset in range(first, len(self.logs[lane]))]
            if batch:
                self.queue.put_nowait(batch)

    def follow(self, lane: LaneId, offset: int | None) -> None:
        self.position[lane] = offset if offset is not None and offset <= len(self.logs[lane]) else 0
        self.held.discard(lane)
        self.deliver(lane)

    def unfollow(self, lane: LaneId) -> None:
        self.position.pop(lane, None)

    def hold(self, lane: LaneId, held: bool) -> None:
        (self.held.add if held else self.held.discard)(lane)
        self.deliver(lane)

    async def end(self, lane: LaneId) -> int:
        await asyncio.sleep(0)
        return len(self.logs[lane])

    def close(self) -> None:
        self.queue.put_nowait(None)

    async def events(self) -> AsyncIterator[Sequence[Heard]]:
        while (batch := await self.queue.get()) is not None:
            yield batch


class FakeCallbackSink:
    """Puts into the feed it was given."""

    def __init__(self, feed: FakeCallbackFeed) -> None:
        self.feed = feed
        self.unavailable = False

    async def put(self, callback: Callback) -> None:
        await asyncio.sleep(0)
        if self.unavailable:
            raise KafkaUnavailable("fake")
        self.feed.put(callback.lane, callback)
