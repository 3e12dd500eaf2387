"""A decoded record becomes a Notification: where each field stands, what it may hold, and who the event is (docs/how-it-works.md).

``fields`` (settings) maps the names in ``FIELDS`` to dotted paths of a foreign shape; names it leaves out keep their canonical
place. For a CloudEvent the paths start at the envelope (``data.customer.mobile``, ``subject``), in both modes; what is not found there
is looked for in the data. Everything here is total: whatever was decoded gives a Notification or ``Undecodable``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from connector.core import cloudevents
from connector.core.model import JsonObject, Notification, Recipient, Record
from connector.core.plain import lookup, plain
from connector.errors import Undecodable

FIELDS = ("event_id", "type", "occurred_at", "expires_at", "tenant", "phone", "recipient_id", "locale", "timezone", "data")
"""What ``fields:`` may map."""

FUTURE_MS = 5 * 60 * 1000
"""How far ``occurred_at`` may lie after Kafka's timestamp before it is clamped to that bound."""

_LONGEST_TEXT = 1024
_LONGEST_INT_BITS = 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST_MS = 10**11  # March 1973: a smaller number is seconds, not milliseconds
_LAST_MS = 253_402_300_799_999  # end of year 9999

_CANONICAL: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in FIELDS},
    "phone": ("recipient.phone",),
    "recipient_id": ("recipient.id",),
    "locale": ("recipient.locale",),
    "timezone": ("recipient.timezone",),
}
_IN_CLOUDEVENT: Mapping[str, tuple[str, ...]] = {
    "event_id": ("id",),
    "type": ("type",),
    "occurred_at": ("time", "data.occurred_at"),
    "expires_at": ("expirytime", "data.expires_at"),  # expirytime: CloudEvents' own extension
    "tenant": ("tenant", "data.tenant"),
    "phone": ("data.recipient.phone", "recipient.phone"),
    "recipient_id": ("data.recipient.id", "recipient.id"),
    "locale": ("data.recipient.locale", "recipient.locale"),
    "timezone": ("data.recipient.timezone", "recipient.timezone"),
}


class Origin(NamedTuple):
    """Where an event first stood in the input: its own coordinates, or a replayed dead letter's original ones."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def coordinates(self) -> str:
        """``topic/partition/offset``."""
        return f"{self.topic}/{self.partition}/{self.offset}"


def origin(record: Record) -> Origin:
    """Coordinates and time that define the event's identity; headers of a replay go before the record's own."""
    topic = record.header("failover.original.topic")
    partition = _number(record.header("failover.original.partition"))
    offset = _number(record.header("failover.original.offset"))
    if not topic or partition is None or offset is None:
        return Origin(record.topic, record.partition, record.offset, record.timestamp_ms)
    timestamp = _number(record.header("failover.original.timestamp"))
    return Origin(topic.decode(errors="replace"), partition, offset, record.timestamp_ms if timestamp is None else timestamp)


def to_notification(record: Record, content: object, fields: Mapping[str, str]) -> Notification:
    """The event that ``content`` (the record's decoded value) says, by its canonical shape, CloudEvents or ``fields``.

    Raises Undecodable: MISSING_FIELD, BAD_TYPE, BAD_TIME, TOO_DEEP, TOO_LONG, BAD_HEADER, BAD_JSON, with the path.
    """
    enveloped = cloudevents.envelope(record, content)
    whole = plain(content if enveloped is None else enveloped)
    if not isinstance(whole, dict):
        raise Undecodable("BAD_TYPE", "an object expected")
    shape = _Shape(whole, fields, is_cloudevent=enveloped is not None)
    stood = origin(record)
    kind = shape.text("type")
    if kind is None:
        raise Undecodable("MISSING_FIELD", "a non-empty text expected", shape.places("type")[0])
    identity, event_id = shape.who(stood)
    occurred_at_ms, clamped = _event_time(shape.instant("occurred_at"), stood.timestamp_ms)
    return Notification(
        identity=identity,
        event_id=event_id,
        type=kind,
        occurred_at_ms=occurred_at_ms,
        expires_at_ms=shape.instant("expires_at"),
        tenant=shape.text("tenant", numbers=True),
        recipient=shape.recipient(),
        data=shape.data(),
        event=whole,
        clamped=clamped,
    )


def bounded(notification: Notification, now_ms: int) -> Notification:
    """The same by our own clock: the one that wrote the event and Kafka's timestamp may be wrong, and a code of next month replaces all."""
    if notification.occurred_at_ms <= now_ms + FUTURE_MS:
        return notification
    return replace(notification, occurred_at_ms=now_ms + FUTURE_MS, clamped=True)


def _event_time(occurred_at_ms: int | None, kafka_ms: int) -> tuple[int, bool]:
    """The event's time and whether it was clamped. A record without a Kafka timestamp (−1) bounds nothing."""
    if occurred_at_ms is None:
        return max(kafka_ms, 0), False
    latest = kafka_ms + FUTURE_MS
    if kafka_ms > 0 and occurred_at_ms > latest:
        return latest, True
    return occurred_at_ms, False


@dataclass(frozen=True, slots=True)
class _Shape:
    """One event's content with the places its fields may stand at."""

    whole: JsonObject
    fields: Mapping[str, str]
    is_cloudevent: bool

    def places(self, name: str) -> tuple[str, ...]:
        mapped = self.fields.get(name)
        if mapped:
            return (mapped, f"data.{mapped}") if self.is_cloudevent else (mapped,)
        return (_IN_CLOUDEVENT if self.is_cloudevent else _CANONICAL)[name]

    def find(self, name: str) -> tuple[object, str]:
        """The first value there is, with its path; None with the first path otherwise."""
        places = self.places(name)
        for path in places:
            value = lookup(self.whole, path)
            if value is not None:
                return value, path
        return None, places[0]

    def text(self, name: str, *, numbers: bool = False) -> str | None:
        """A text that is not blank, or None. Whole numbers count as text where producers write ids and phones so."""
        value, path = self.find(name)
        if value is None:
            return None
        if isinstance(value, int) and numbers and not isinstance(value, bool) and value.bit_length() <= _LONGEST_INT_BITS:
            return str(value)
        if not isinstance(value, str):
            raise Undecodable("BAD_TYPE", "a text expected", path)
        if len(value) > _LONGEST_TEXT:
            raise Undecodable("TOO_LONG", f"more than {_LONGEST_TEXT} characters", path)
        if not _is_unicode(value):
            raise Undecodable("BAD_TYPE", "not valid Unicode", path)
        return value if value.strip() else None

    def instant(self, name: str) -> int | None:
        value, path = self.find(name)
        return None if value is None or value == "" else _milliseconds(value, path)

    def who(self, stood: Origin) -> tuple[str, str]:
        """Identity and event id: the mapped id, else CloudEvents' source and id, else the canonical id, else the coordinates."""
        event_id = self.text("event_id", numbers=True)
        if self.is_cloudevent and not (event_id and self.fields.get("event_id")):
            key = self.whole.get("id")
            whose = cloudevents.identity(self.whole)
            if whose is not None and isinstance(key, str):
                self._check_identity(whose)
                return whose, key
        return (event_id, event_id) if event_id else (stood.coordinates, stood.coordinates)

    def _check_identity(self, identity: str) -> None:
        if len(identity) > 2 * _LONGEST_TEXT:
            raise Undecodable("TOO_LONG", "source and id are too long", "source")
        if not _is_unicode(identity):
            raise Undecodable("BAD_TYPE", "not valid Unicode", "source")

    def recipient(self) -> Recipient:
        for path in ("data.recipient", "recipient") if self.is_cloudevent else ("recipient",):
            if "phone" not in self.fields and not isinstance(lookup(self.whole, path), (dict, type(None))):
                raise Undecodable("BAD_TYPE", "an object expected", path)
        return Recipient(
            phone=self.text("phone", numbers=True),
            id=self.text("recipient_id", numbers=True),
            locale=self.text("locale"),
            timezone=self.text("timezone"),
        )

    def data(self) -> JsonObject:
        """The mapped or canonical ``data``; a foreign shape without one gives the whole record, a CloudEvent its payload."""
        mapped = self.fields.get("data")
        value, path = self.find("data") if mapped or not self.is_cloudevent else self._payload()
        if isinstance(value, dict):
            return value
        if self.fields and not mapped and not self.is_cloudevent:
            return self.whole
        if value is None:
            return {}
        raise Undecodable("BAD_TYPE", "an object expected", path)

    def _payload(self) -> tuple[object, str]:
        """A CloudEvent's data, or the ``data`` in it where the payload is itself of the canonical shape (has a ``recipient`` too)."""
        payload = self.whole.get("data")
        if isinstance(payload, dict) and isinstance(payload.get("recipient"), dict) and isinstance(payload.get("data"), dict):
            return payload["data"], "data.data"
        return payload, "data"


def _milliseconds(value: object, path: str) -> int:
    """Epoch milliseconds of an ISO 8601 text (any offset; none is UTC) or of a number that is epoch milliseconds already."""
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value.strip().upper())
        except ValueError as error:
            raise Undecodable("BAD_TIME", "not an ISO 8601 time", path) from error
        return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Undecodable("BAD_TIME", "an ISO 8601 text or epoch milliseconds expected", path)
    if not _FIRST_MS <= value <= _LAST_MS:
        raise Undecodable("BAD_TIME", "not epoch milliseconds (seconds or microseconds?)", path)
    return int(value)


def _number(raw: bytes | None) -> int | None:
    return int(raw) if raw is not None and raw.isdigit() and len(raw) <= len(str(2**63)) else None


def _is_unicode(text: str) -> bool:
    """False for lone surrogates, which no UTF-8 output can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
