"""The output topics and the dead letters as lists."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Mapping, Sequence

from connector.core.model import DeadLetter, OutputEvent
from connector.errors import KafkaUnavailable, LaneLost
from connector.ports import LaneId

Emitted = tuple[OutputEvent, str | None, Sequence[tuple[str, bytes]]]


class FakeOutbox:
    """One partition per topic (kind + "s"), shared by all lanes. With ``held``, events stay in flight until ``land`` or ``lose``."""

    def __init__(self, logs: dict[str, list[Emitted]] | None = None) -> None:
        self.logs: dict[str, list[Emitted]] = {"sends": [], "statuses": []} if logs is None else logs
        self.held = False
        self.in_flight: deque[tuple[Emitted, Future[tuple[str, int]]]] = deque()

    def emit(
        self, lane: LaneId, event: OutputEvent, recipient: str | None, headers: Sequence[tuple[str, bytes]]
    ) -> Future[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        future: Future[tuple[str, int]] = loop.create_future()
        self.in_flight.append(((event, recipient, tuple(headers)), future))
        loop.call_soon(lambda: None if self.held else self.land(1))
        return future

    def land(self, count: int | None = None) -> None:
        for _ in range(min(len(self.in_flight), len(self.in_flight) if count is None else count)):
            emitted, future = self.in_flight.popleft()
            topic = {"send": "sends", "status": "statuses"}[emitted[0].kind]
            self.logs[topic].append(emitted)
            if not future.done():
                future.set_result((topic, len(self.logs[topic]) - 1))

    def lose(self) -> None:
        while self.in_flight:
            self.in_flight.popleft()[1].set_exception(LaneLost("produce_failed"))

    async def ends(self, lane: LaneId) -> Mapping[str, int]:
        return {topic: len(log) for topic, log in self.logs.items()}

    async def ids_since(self, lane: LaneId, start: Mapping[str, int]) -> set[str]:
        return {event.id for topic, log in self.logs.items() for event, _, _ in log[start.get(topic, 0) :]}


class FakeDeadLetters:
    """Acknowledged letters, in order."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.unavailable = False

    async def put(self, letter: DeadLetter) -> None:
        await asyncio.sleep(0)
        if self.unavailable:
            raise KafkaUnavailable("fake")
        self.letters.append(letter)
