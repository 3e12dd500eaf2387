"""Order per (Kafka key, class) of first POSTs, and who was overtaken (docs/how-it-works.md). Without a key there is no order."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque

from connector.core.model import MessageClass

Key = tuple[bytes, MessageClass]


class Turns:
    """A queue per key; whoever is at its head may post. Empty queues cost nothing."""

    def __init__(self) -> None:
        self._queues: dict[Key, deque[tuple[str, Future[None]]]] = {}
        self._doubtful: dict[Key, dict[str, int]] = {}

    def enqueue(self, key: Key | None, flow_id: str) -> Future[None]:
        """Take a place, in input order; the future is done when it is this flow's turn."""
        turn: Future[None] = asyncio.get_running_loop().create_future()
        if key is None:
            turn.set_result(None)
            return turn
        queue = self._queues.setdefault(key, deque())
        queue.append((flow_id, turn))
        if len(queue) == 1:
            turn.set_result(None)
        return turn

    def release(self, key: Key | None, flow_id: str) -> None:
        """Give the place up, wherever in the queue it is. Harmless when there is none."""
        queue = self._queues.get(key) if key else None
        if key is None or queue is None:
            return
        for entry in queue:
            if entry[0] == flow_id:
                queue.remove(entry)
                break
        if not queue:
            del self._queues[key]
        elif not queue[0][1].done():
            queue[0][1].set_result(None)

    def doubtful(self, key: Key | None, flow_id: str, offset: int) -> None:
        """This flow is in DOUBT and has released its key."""
        if key is not None:
            self._doubtful.setdefault(key, {})[flow_id] = offset

    def cleared(self, key: Key | None, flow_id: str) -> None:
        """It is not in DOUBT any more."""
        flows = self._doubtful.get(key) if key else None
        if key is not None and flows is not None:
            flows.pop(flow_id, None)
            if not flows:
                del self._doubtful[key]

    def overtaken_by(self, key: Key | None, offset: int) -> list[str]:
        """Flows in DOUBT that a POST of the flow at input ``offset`` overtakes."""
        flows = self._doubtful.get(key, {}) if key else {}
        return [flow_id for flow_id, earlier in flows.items() if earlier < offset]
