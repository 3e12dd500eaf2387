"""The output topics and the dead letters as lists."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Collection, Mapping, Sequence

from connector.core.model import DeadLetter, OutputEvent
from connector.errors import KafkaUnavailable, LaneLost
from connector.ports import LaneId

Emitted = tuple[OutputEvent, str | None, Sequence[tuple[str, bytes]]]


class FakeOutbox:
    """One partition per topic, shared by all lanes. ``held``: events stay in flight until ``land`` or ``lose``; or only some topics'."""

    def __init__(self, logs: dict[str, list[Emitted]] | None = None) -> None:
        self.logs: dict[str, list[Emitted]] = {"sends": [], "statuses": []} if logs is None else logs
        self.held = False
        self.held_topics: set[str] = set()
        self.in_flight: deque[tuple[Emitted, Future[tuple[str, int]]]] = deque()

    def emit(
        self, lane: LaneId, event: OutputEvent, recipient: str | None, headers: Sequence[tuple[str, bytes]]
    ) -> Future[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        future: Future[tuple[str, int]] = loop.create_future()
        entry = ((event, recipient, tuple(headers)), future)
        self.in_flight.append(entry)
        loop.call_soon(lambda: None if self.held or _topic(entry[0]) in self.held_topics else self._land(entry))
        return future

    def land(self, count: int | None = None) -> None:
        for entry in tuple(self.in_flight)[:count]:
            self._land(entry)

    def _land(self, entry: tuple[Emitted, Future[tuple[str, int]]]) -> None:
        if entry not in self.in_flight:
            return
        self.in_flight.remove(entry)
        topic = _topic(entry[0])
        self.logs[topic].append(entry[0])
        if not entry[1].done():
            entry[1].set_result((topic, len(self.logs[topic]) - 1))

    def lose(self, *, landed: bool = False) -> None:
        """Everything in flight gets no answer; ``landed``: although it is in the topic."""
        for emitted, future in self.in_flight:
            if landed:
                self.logs[_topic(emitted)].append(emitted)
            future.set_exception(LaneLost("produce_failed"))
        self.in_flight.clear()

    async def ends(self, lane: LaneId) -> Mapping[str, int]:
        return {topic: len(log) for topic, log in self.logs.items()}

    async def ids_since(self, lane: LaneId, start: Mapping[str, int], wanted: Collection[str]) -> set[str]:
        return {event.id for topic, log in self.logs.items() for event, _, _ in log[start.get(topic, 0) :] if event.id in wanted}


def _topic(emitted: Emitted) -> str:
    return emitted[0].kind + ("s" if emitted[0].kind == "send" else "es")


class FakeDeadLetters:
    """Acknowledged letters, in order; with ``acking`` cleared none is."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.unavailable = False
        self.acking = asyncio.Event()
        self.acking.set()

    async def put(self, letter: DeadLetter) -> None:
        await asyncio.sleep(0)
        await self.acking.wait()
        if self.unavailable:
            raise KafkaUnavailable("fake")
        self.letters.append(letter)
