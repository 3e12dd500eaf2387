"""Stories as Kafka records: JSON, Avro single objects and CloudEvents, each with what the connector must make of it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from connector.adapters import avro
from connector.core import identity
from connector.core.model import MessageClass
from connector.demo.stories import Story, draw
from connector.simulator import recipient_for

Headers = list[tuple[str, bytes]]

_SOURCE: Final = "/acme/shop"
_REPEAT_EVERY: Final = 25  # a producer that sends the same record again


@dataclass(frozen=True, slots=True)
class Event:
    """One record to produce. ``identity`` is None where nothing can be decoded: then it is the record's coordinates."""

    story: Story
    key: bytes
    value: bytes
    headers: Headers
    identity: str | None
    digits: str  # of the recipient, as the simulator knows it; nobody gets two events

    def flow_id(self, coordinates: str) -> str:
        """Id of the one flow that this event must become; ``coordinates``: ``topic/partition/offset``."""
        return identity.flow_id(self.identity or coordinates, self.story.rule)


def make_events(count: int, seed: int, now: datetime | None = None) -> tuple[list[Event], frozenset[int]]:
    """``count`` events, and the numbers of those that are produced twice. The same for the same seed, but for times."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    moment = now or datetime.now(UTC)
    events = [_event(story, number, rng, moment) for number, story in enumerate(draw(count, rng))]
    named = [number for number, event in enumerate(events) if event.identity is not None]
    return events, frozenset(rng.sample(named, min(len(named), count // _REPEAT_EVERY)))


def class_of(event: Event) -> MessageClass | None:
    """The event's class; None where no rule is reached."""
    return event.story.message_class


def _event(story: Story, number: int, rng: random.Random, now: datetime) -> Event:
    phone = story.phone or recipient_for(story.scenario, number)
    key = f"customer-{number}".encode()
    digits = phone.lstrip("+")
    if story.raw is not None:
        return Event(story, key, story.raw, [], None, digits)
    event_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    written = _Written(story, event_id, phone, now - timedelta(seconds=story.late_s))
    form = rng.choices(_FORMS, (5, 3, 1, 1))[0]
    return replace(form(written), key=key, digits=digits)


@dataclass(frozen=True, slots=True)
class _Written:
    """What every form of an event says."""

    story: Story
    event_id: str
    phone: str
    occurred_at: datetime

    @property
    def person(self) -> dict[str, str]:
        return {"phone": self.phone, "locale": "el-GR"}

    @property
    def iso(self) -> str:
        return self.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def event(self, value: bytes, headers: Headers, whose: str) -> Event:
        return Event(self.story, b"", value, headers, whose, "")


def _json(it: _Written) -> Event:
    body = {
        "event_id": it.event_id,
        "type": it.story.type,
        "occurred_at": it.iso,
        "recipient": it.person,
        "data": dict(it.story.data),
    }
    return it.event(orjson.dumps(body), [], it.event_id)


def _avro(it: _Written) -> Event:
    datum: dict[str, Any] = {
        "event_id": it.event_id,
        "type": it.story.type,
        "occurred_at": it.occurred_at,
        "expires_at": None,
        "tenant": None,
        "recipient": {"phone": it.phone, "id": None, "locale": "en", "timezone": None},
        "data": dict(it.story.data),
    }
    return it.event(avro.schema("notification").single_object(datum), [("content-type", b"application/avro")], it.event_id)


def _cloud_binary(it: _Written) -> Event:
    attributes = {"specversion": "1.0", "id": it.event_id, "source": _SOURCE, "type": it.story.type, "time": it.iso}
    headers = [("content-type", b"application/json"), *((f"ce_{name}", value.encode()) for name, value in attributes.items())]
    return it.event(orjson.dumps({"recipient": it.person, **it.story.data}), headers, f"{_SOURCE}|{it.event_id}")


def _cloud_structured(it: _Written) -> Event:
    body = {
        "specversion": "1.0",
        "id": it.event_id,
        "source": _SOURCE,
        "type": it.story.type,
        "time": it.iso,
        "data": {"recipient": it.person, **it.story.data},
    }
    headers = [("content-type", b"application/cloudevents+json")]
    return it.event(orjson.dumps(body), headers, f"{_SOURCE}|{it.event_id}")


_FORMS: Final[tuple[Callable[[_Written], Event], ...]] = (_json, _avro, _cloud_binary, _cloud_structured)
