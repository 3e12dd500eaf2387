"""Producing the events into the input topic, evenly over time; some of them twice, as producers do."""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from connector.demo.place import LANES, Place
from connector.demo.tally import NO_CLASS, Tally
from connector.demo.traffic import Event, make_events
from connector.demo.verdict import Expected

_REPEAT_AFTER: Final = 8  # events later
_TICK_S: Final = 0.02


class Feeder:
    """``expected`` grows as records get their offsets: only then an undecodable record's flow has a name."""

    def __init__(self, place: Place, tally: Tally, count: int, seed: int) -> None:
        self.expected: dict[str, Expected] = {}
        self.born: dict[str, float] = {}  # flow id → when its record was in Kafka, monotonic
        self.done = False
        self._topic = place.notifications
        self._tally = tally
        self._events, self._repeats = make_events(count, seed)
        self._producer = Producer({"bootstrap.servers": place.bootstrap, "linger.ms": 5, "log_level": 0})

    async def run(self, seconds: float) -> None:
        """Produce everything within ``seconds``, whatever happens to the connector."""
        started, count = time.monotonic(), len(self._events)
        for number in range(count + _REPEAT_AFTER):
            due = started + seconds * min(number, count) / count
            while (early := due - time.monotonic()) > 0:
                self._producer.poll(0)
                await asyncio.sleep(min(_TICK_S, early))
            if number < count:
                self._put(self._events[number], first=True)
            if number - _REPEAT_AFTER in self._repeats:
                self._put(self._events[number - _REPEAT_AFTER], first=False)
        await asyncio.to_thread(self._producer.flush)
        self.done = True

    @property
    def records(self) -> int:
        """How many records the input holds in the end."""
        return len(self._events) + len(self._repeats)

    def _put(self, event: Event, *, first: bool) -> None:
        def placed(error: KafkaError | None, message: Message) -> None:
            if error is None and first:
                self._expect(event, f"{message.topic()}/{message.partition()}/{message.offset()}")

        lane = zlib.crc32(event.key) % LANES
        self._producer.produce(self._topic, event.value, event.key, lane, on_delivery=placed, headers=list(event.headers))

    def _expect(self, event: Event, coordinates: str) -> None:
        story = event.story
        flow_id = event.flow_id(coordinates)
        kind = story.message_class.value if story.message_class else None
        name = f"{story.type or 'a broken record'} ({story.scenario}, {story.ends})"
        self.expected[flow_id] = Expected(flow_id, name, story.ends, kind, event.digits, event.value)
        self.born[flow_id] = time.monotonic()
        self._tally.kinds[flow_id] = self._tally.people[event.digits] = kind or NO_CLASS
        self._tally.produced[kind or NO_CLASS] += 1
