"""Output events to bytes and back (docs/events.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

import orjson
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from connector.adapters import avro
from connector.adapters.decode import parse_json
from connector.adapters.registry import Schemas
from connector.core.events import SEND, STATUS, money
from connector.core.identity import pseudonym
from connector.core.model import JsonObject, OutputEvent
from connector.core.timeline import TIMES_MS
from connector.errors import Undecodable
from connector.logs import get_logger

Output = Literal["avro", "json"]
Privacy = Literal["hash", "masked", "clear"]
Body = dict[str, Any]

TOPICS: Mapping[str, str] = {SEND: "failover.sends", STATUS: "failover.statuses"}

_TIMES = {
    SEND: ("occurred_at", "sent_at", "settled_at"),
    STATUS: ("accepted_at", "observed_at", "occurred_at", "sent_at", "delivered_at"),
}
_STEP_TIMES = ("updated_at", "created_at", "sent_at", "delivered_at", "ended_at")
_LATER_WORDS = ("raw_status", "reason", "reason_group", "delivered_by")
"""Not in events that wait in journal rows of older releases; nor are some of the times."""
_CONFLUENT_HEADER = 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_END = 2
_SHORTEST_MASKED = 8
_HIDDEN = "•" * 6
_LOG = get_logger(__name__)


class EventEncoder:
    """``topics`` names the topic of each kind, for the registry's subjects; with a registry, ``prepare`` comes before ``encode``."""

    def __init__(
        self,
        output: Output,
        *,
        registry: Schemas | None = None,
        privacy: Privacy = "hash",
        pepper: bytes = b"",
        topics: Mapping[str, str] = TOPICS,
    ) -> None:
        self._output = output
        self._registry = registry if output == "avro" else None
        self._privacy = privacy
        self._pepper = pepper
        self._topics = topics
        self._told: set[tuple[str, frozenset[str]]] = set()
        self._frames = {kind: avro.SINGLE_OBJECT + avro.schema(kind).fingerprint for kind in TOPICS}

    @property
    def content_type(self) -> str:
        """Media type of what ``encode`` gives, for the header ``content-type``."""
        return "application/json" if self._output == "json" else "application/avro"

    async def prepare(self) -> None:
        """Register the schemas under ``<topic>-value``. Raises ConfigError (refused) or RegistryUnavailable."""
        if self._registry is None:
            return
        for kind, topic in self._topics.items():
            schema_id = await self._registry.register(f"{topic}-value", avro.schema(kind))
            self._frames[kind] = b"\x00" + schema_id.to_bytes(4, "big")

    def encode(self, event: OutputEvent, recipient: str | None) -> bytes:
        """The event's bytes. ``recipient`` is E.164 in clear; what goes out is by the privacy setting.

        What a later release's event, waiting in a row, has more than this release knows stays behind, in both encodings: said once.
        """
        known, unknown = avro.schema(event.kind).fit(event.body)
        if unknown:
            self._tell(event.kind, unknown)
        body = dict(known)
        if event.kind == SEND:
            body["recipient"] = None if recipient is None else self.recipient(recipient)
        if self._output == "json":
            return orjson.dumps(_mapped(event.kind, body, _iso, money))
        return self._frames[event.kind] + avro.schema(event.kind).write(_mapped(event.kind, body, micros, decimal))

    def _tell(self, kind: str, unknown: frozenset[str]) -> None:
        if (kind, unknown) not in self._told:
            self._told.add((kind, unknown))
            _LOG.warning("event_fields_left_out", kind=kind, fields=sorted(unknown))

    def recipient(self, phone: str) -> str:
        """A phone as outputs show it."""
        if self._privacy == "clear":
            return phone
        return mask(phone) if self._privacy == "masked" else pseudonym(self._pepper, phone.encode()).hex()


def decode_event(value: bytes, kind: str = SEND) -> Body:
    """An event as its JSON says it, from JSON, a single object, or a registry's frame (``kind``: the header ``failover.kind``).

    For consumers and tests; reads what this release and the earlier ones write. Raises Undecodable.
    """
    body: object
    if value.startswith(b"\x00"):
        body = _said(_framed(value, kind))
    elif value.startswith(avro.SINGLE_OBJECT):
        fingerprint = value[len(avro.SINGLE_OBJECT) : avro.SINGLE_OBJECT_HEADER]
        name = next((name for name in TOPICS if fingerprint in avro.versions(name)), None)
        if name is None:
            raise Undecodable("SCHEMA_NOT_FOUND", "no event of this release or an earlier one")
        body = _said(avro.versions(name)[fingerprint].read(value, avro.SINGLE_OBJECT_HEADER, avro.schema(name)))
    else:
        body = parse_json(value)
    if not isinstance(body, dict):
        raise Undecodable("BAD_TYPE", "an object expected")
    return body


def _framed(value: bytes, kind: str) -> object:
    """By this release's schema, else by the first earlier one that fits to the last byte: the frame's number is the registry's own."""
    for written in avro.versions(kind).values():
        with contextlib.suppress(Undecodable):
            return written.read(value, _CONFLUENT_HEADER, avro.schema(kind))
    return avro.schema(kind).read(value, _CONFLUENT_HEADER)


def mask(phone: str) -> str:
    """``+306912345678`` as ``+30••••••78``: country code and last two digits; the number of dots says nothing."""
    digits = phone.removeprefix("+")
    if not phone.startswith("+") or len(digits) < _SHORTEST_MASKED:
        return _HIDDEN
    country = next((digits[:n] for n in (1, 2, 3) if digits[:n].isdigit() and int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE), "")
    return f"+{country}{_HIDDEN}{digits[-_SHOWN_END:]}"


def _mapped(kind: str, body: JsonObject, time: Callable[[int | None], object], amount: Callable[[str | None], object]) -> Body:
    """The event with its times and amounts converted, in the same order."""
    out = dict(body)
    for name in _TIMES[kind]:
        out[name] = time(body.get(name))
    if kind == SEND:
        out["attempts"] = [{**attempt, "at": time(attempt["at"])} for attempt in body["attempts"]]
        return out
    out["total_price"] = amount(body["total_price"])
    for name in _LATER_WORDS:
        out.setdefault(name)
    if body["step"] is not None:
        out["step"] = step = {**body["step"], "price": amount(body["step"]["price"])}
        for name in _STEP_TIMES:
            step[name] = time(step.get(name))
    return out


def _said(value: object) -> object:
    """What Avro gave, as the JSON output says it."""
    if isinstance(value, dict):
        return {name: _said(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_said(item) for item in value]
    if isinstance(value, datetime):
        return _iso(milliseconds(value))
    return money(value) if isinstance(value, Decimal) else value


def _iso(ms: int | None) -> str | None:
    if ms is None or ms not in TIMES_MS:
        return None
    day, rest = divmod(ms, 86_400_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{_day(day)}T{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}Z"


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    """From 1970-01-01. An event has ten times, nearly all of one day."""
    return (EPOCH + timedelta(days=number)).date().isoformat()


def micros(ms: int | None) -> int | None:
    """What timestamp-micros holds; None for no time, or one outside the years 1 to 9999 (a provider may write anything)."""
    return None if ms is None or ms not in TIMES_MS else ms * 1000


def milliseconds(when: datetime) -> int:
    """Epoch milliseconds of what timestamp-micros gave."""
    return (when - EPOCH) // timedelta(milliseconds=1)


def decimal(amount: str | None) -> Decimal | None:
    """The number an Avro decimal is given for a text of ``money``."""
    return None if amount is None else Decimal(amount)
