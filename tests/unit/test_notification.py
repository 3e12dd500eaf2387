"""The canonical shape and foreign shapes become Notifications; nothing else gets through, and nothing breaks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.core.model import Notification, Record
from connector.core.notification import FIELDS, FUTURE_MS, bounded, origin, to_notification
from connector.core.plain import DEEPEST, lookup, plain
from connector.errors import Undecodable

KAFKA_MS = 1_764_000_000_000
CANONICAL = {
    "event_id": "e-1",
    "type": "order.shipped",
    "occurred_at": "2025-11-24T18:00:00.250+02:00",
    "expires_at": KAFKA_MS + 60_000,
    "tenant": "acme",
    "recipient": {"phone": "+306912345678", "id": 77, "locale": "el", "timezone": "Europe/Athens"},
    "data": {"order_id": 5, "lines": [{"sku": "a"}]},
}


def record(headers: tuple[tuple[str, bytes | None], ...] = (), timestamp_ms: int = KAFKA_MS) -> Record:
    """An input record; its value plays no part here."""
    return Record("notifications", 3, 42, timestamp_ms, None, b"", headers)


def refusal(content: object, fields: dict[str, str] | None = None) -> tuple[str, str]:
    """Reason and path of the Undecodable that the content gives."""
    with pytest.raises(Undecodable) as caught:
        to_notification(record(), content, fields or {})
    return caught.value.reason, caught.value.path


def test_canonical_fields_stand_where_the_public_page_says() -> None:
    """Each canonical field arrives, times as epoch milliseconds, numbers that serve as ids as text."""
    found = to_notification(record(), CANONICAL, {})
    assert (found.identity, found.event_id, found.type, found.tenant) == ("e-1", "e-1", "order.shipped", "acme")
    assert found.occurred_at_ms == 1_764_000_000_250
    assert found.expires_at_ms == KAFKA_MS + 60_000
    assert (found.recipient.phone, found.recipient.id) == ("+306912345678", "77")
    assert (found.recipient.locale, found.recipient.timezone) == ("el", "Europe/Athens")
    assert found.data == CANONICAL["data"]
    assert found.event == CANONICAL
    assert not found.clamped


def test_only_the_type_is_required() -> None:
    """An event with nothing but a type is identified by its coordinates and dated by Kafka."""
    found = to_notification(record(), {"type": "x"}, {})
    assert (found.identity, found.event_id) == ("notifications/3/42", "notifications/3/42")
    assert (found.occurred_at_ms, found.expires_at_ms, found.tenant) == (KAFKA_MS, None, None)
    assert found.recipient.phone is None
    assert found.data == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": None}, ("MISSING_FIELD", "type")),
        ({"type": " "}, ("MISSING_FIELD", "type")),
        ({"type": 5}, ("BAD_TYPE", "type")),
        ({"type": "x" * 1025}, ("TOO_LONG", "type")),
        ({"type": "\ud800"}, ("BAD_TYPE", "type")),
        ({"event_id": {}}, ("BAD_TYPE", "event_id")),
        ({"event_id": True}, ("BAD_TYPE", "event_id")),
        ({"event_id": 10**5000}, ("BAD_TYPE", "event_id")),
        ({"recipient": "+30691"}, ("BAD_TYPE", "recipient")),
        ({"recipient": {"phone": ["+30691"]}}, ("BAD_TYPE", "recipient.phone")),
        ({"recipient": {"locale": 5}}, ("BAD_TYPE", "recipient.locale")),
        ({"data": [1]}, ("BAD_TYPE", "data")),
        ({"data": {"a": {1, 2}}}, ("BAD_TYPE", "")),
        ({"occurred_at": "yesterday"}, ("BAD_TIME", "occurred_at")),
        ({"occurred_at": 1_764_000_000}, ("BAD_TIME", "occurred_at")),
        ({"occurred_at": KAFKA_MS * 1000}, ("BAD_TIME", "occurred_at")),
        ({"occurred_at": True}, ("BAD_TIME", "occurred_at")),
        ({"expires_at": {}}, ("BAD_TIME", "expires_at")),
    ],
)
def test_a_wrong_field_is_named_with_a_reason(change: dict[str, object], expected: tuple[str, str]) -> None:
    """What is wrong is refused with a stable reason and the field's path."""
    assert refusal({**CANONICAL, **change}) == expected


@pytest.mark.parametrize("content", [None, [], "text", 5, True])
def test_an_event_is_an_object(content: object) -> None:
    """JSON that is no object is no event."""
    assert refusal(content) == ("BAD_TYPE", "")


def test_a_refusal_holds_no_value() -> None:
    """The text of a refusal never repeats what the record said."""
    with pytest.raises(Undecodable) as caught:
        to_notification(record(), {"type": "x", "recipient": {"phone": {"n": "+306912345678"}}}, {})
    assert "6912" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2025-11-24T16:00:00Z", KAFKA_MS),
        ("2025-11-24t16:00:00z", KAFKA_MS),
        ("2025-11-24T16:00:00", KAFKA_MS),
        ("2025-11-24 18:00:00+02:00", KAFKA_MS),
        ("20251124T160000Z", KAFKA_MS),
        ("2025-11-24T16:00:00.123456789Z", KAFKA_MS + 123),
        (KAFKA_MS, KAFKA_MS),
        (float(KAFKA_MS), KAFKA_MS),
        (datetime(2025, 11, 24, 16, tzinfo=UTC), KAFKA_MS),
        (datetime(2025, 11, 24, 18, tzinfo=timezone(timedelta(hours=2))), KAFKA_MS),
        (datetime(2025, 11, 24, 16), KAFKA_MS),  # noqa: DTZ001 - Avro's local timestamps come so
        ("0001-01-01T00:00:00+14:00", -62_135_647_200_000),
        ("", KAFKA_MS),
    ],
)
def test_times_may_be_written_in_any_offset(written: object, expected: int) -> None:
    """ISO 8601 with any offset, without one (UTC), or epoch milliseconds give the same instant."""
    assert to_notification(record(), {"type": "x", "occurred_at": written}, {}).occurred_at_ms == expected


@pytest.mark.parametrize(
    ("ahead_ms", "kafka_ms", "expected_ms", "clamped"),
    [
        (FUTURE_MS, KAFKA_MS, KAFKA_MS + FUTURE_MS, False),
        (FUTURE_MS + 1, KAFKA_MS, KAFKA_MS + FUTURE_MS, True),
        (-(10**9), KAFKA_MS, KAFKA_MS - 10**9, False),
        (10**9, -1, KAFKA_MS + 10**9, False),
    ],
)
def test_a_time_in_the_future_is_clamped(ahead_ms: int, kafka_ms: int, expected_ms: int, clamped: bool) -> None:
    """More than five minutes after Kafka's timestamp becomes five minutes; a record without a timestamp bounds nothing."""
    found = to_notification(record(timestamp_ms=kafka_ms), {"type": "x", "occurred_at": KAFKA_MS + ahead_ms}, {})
    assert (found.occurred_at_ms, found.clamped) == (expected_ms, clamped)


@given(st.integers(0, 10**13))
def test_a_time_in_our_own_future_is_clamped_too(ahead_ms: int) -> None:
    """One clock may have written the event and Kafka's timestamp: five minutes ahead of ours is the most; nothing else changes."""
    found = to_notification(record(timestamp_ms=KAFKA_MS + ahead_ms), {"type": "x", "occurred_at": KAFKA_MS + ahead_ms}, {})
    held = bounded(found, KAFKA_MS)
    assert held.occurred_at_ms == min(found.occurred_at_ms, KAFKA_MS + FUTURE_MS)
    assert held.clamped is (ahead_ms > FUTURE_MS)
    assert replace(held, occurred_at_ms=found.occurred_at_ms, clamped=found.clamped) == found


def test_a_record_without_any_time_is_dated_zero() -> None:
    """No time in the event and none from Kafka is the epoch, not a negative time."""
    assert to_notification(record(timestamp_ms=-1), {"type": "x"}, {}).occurred_at_ms == 0


FOREIGN = {
    "meta": {"ids": [{"key": 9}], "kind.of": "shipped", "when": KAFKA_MS},
    "customer": {"mobile": 306912345678, "no": "c-1", "lang": "el", "tz": "Europe/Athens"},
    "shop": "acme",
    "payload": {"code": 1},
    "until": KAFKA_MS + 5,
}
MAPPING = {
    "event_id": "meta.ids.0.key",
    "type": "meta.kind\\.of",
    "occurred_at": "meta.when",
    "expires_at": "until",
    "tenant": "shop",
    "phone": "customer.mobile",
    "recipient_id": "customer.no",
    "locale": "customer.lang",
    "timezone": "customer.tz",
    "data": "payload",
}


def test_every_field_can_be_mapped() -> None:
    """Dotted paths, list indexes and escaped dots reach any place of a foreign shape."""
    assert set(MAPPING) == set(FIELDS)
    found = to_notification(record(), FOREIGN, MAPPING)
    assert (found.identity, found.type, found.tenant, found.data) == ("9", "shipped", "acme", {"code": 1})
    assert (found.occurred_at_ms, found.expires_at_ms) == (KAFKA_MS, KAFKA_MS + 5)
    assert (found.recipient.phone, found.recipient.id) == ("306912345678", "c-1")
    assert (found.recipient.locale, found.recipient.timezone) == ("el", "Europe/Athens")
    assert found.event == FOREIGN


def test_a_foreign_shape_without_data_is_its_own_data() -> None:
    """With a mapping but no data in it, the texts see the whole record."""
    content = {"type": "x", "mobile": "+30691", "code": 5}
    assert to_notification(record(), content, {"phone": "mobile"}).data == content
    assert to_notification(record(), {**content, "data": {"a": 1}}, {"phone": "mobile"}).data == {"a": 1}
    assert to_notification(record(), {**content, "data": "text"}, {"phone": "mobile"}).data["code"] == 5


def test_a_mapped_field_is_reported_by_its_own_path() -> None:
    """The path of a refusal is the place in the user's record."""
    assert refusal({"a": {}}, {"type": "a.kind"}) == ("MISSING_FIELD", "a.kind")
    assert refusal({"type": "x", "p": 5}, {"data": "p"}) == ("BAD_TYPE", "p")


def test_a_mapped_phone_leaves_a_foreign_recipient_alone() -> None:
    """A foreign ``recipient`` of any type is no error once the phone is mapped elsewhere."""
    found = to_notification(record(), {"type": "x", "recipient": "Anna", "mobile": "+30691"}, {"phone": "mobile"})
    assert found.recipient.phone == "+30691"


def replayed(**changes: bytes | None) -> Record:
    """A replayed dead letter; ``changes`` by the last part of the header's name."""
    names = {"topic": b"old", "partition": b"1", "offset": b"7", "timestamp": b"1700000000000"} | changes
    headers = tuple((f"failover.original.{name}", value) for name, value in names.items())
    return record(headers=(*headers, ("failover.replay", b"1")))


def test_a_replay_keeps_identity_and_time() -> None:
    """A replayed dead letter is the same event as the original: coordinates and Kafka's time come from its headers."""
    found = to_notification(replayed(), {"type": "x", "occurred_at": KAFKA_MS}, {})
    assert found.identity == "old/1/7"
    assert (found.occurred_at_ms, found.clamped) == (1_700_000_000_000 + FUTURE_MS, True)
    assert to_notification(replayed(), {"type": "x"}, {}).occurred_at_ms == 1_700_000_000_000
    assert to_notification(replayed(), CANONICAL, {}).identity == "e-1"


@pytest.mark.parametrize("change", [{"offset": b"x"}, {"partition": None}, {"topic": b""}, {"offset": b"9" * 40}])
def test_broken_replay_headers_are_not_believed(change: dict[str, bytes | None]) -> None:
    """Original coordinates count whole or not at all."""
    assert origin(replayed(**change)).coordinates == "notifications/3/42"


def test_a_replay_without_a_time_has_its_own() -> None:
    """Only the timestamp may be missing."""
    assert origin(replayed(timestamp=None)).timestamp_ms == KAFKA_MS


def test_avro_values_become_plain() -> None:
    """Templates and matches see JSON's types whatever the encoding was."""
    when = datetime(2025, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    values = {
        "at": when,
        "exact": when.replace(microsecond=678_901),
        "day": date(2025, 1, 2),
        "hour": time(3, 4),
        "sum": Decimal("1E+2"),
        "raw": b"\x00\xff",
        "key": UUID(int=1),
        "nan": float("nan"),
        "list": ({"x": 1.5},),
    }
    assert plain(values) == {
        "at": "2025-01-02T03:04:05.678Z",
        "exact": "2025-01-02T03:04:05.678901Z",
        "day": "2025-01-02",
        "hour": "03:04:00",
        "sum": "100",
        "raw": "AP8=",
        "key": "00000000-0000-0000-0000-000000000001",
        "nan": None,
        "list": [{"x": 1.5}],
    }
    with pytest.raises(Undecodable, match="BAD_TIME"):
        plain(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))


def nested(depth: int, value: object = 1) -> object:
    """``value`` inside ``depth`` containers."""
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_depth_is_bounded() -> None:
    """64 containers in each other are an event, 65 are not, 500 break nothing."""
    assert to_notification(record(), {"type": "x", "data": {}, "deep": nested(DEEPEST - 1)}, {}).type == "x"
    assert refusal({"type": "x", "deep": nested(DEEPEST)}) == ("TOO_DEEP", "")
    assert refusal(nested(500)) == ("TOO_DEEP", "")


@pytest.mark.parametrize("path", ["a.9", "a.-1", "a.x", "a.٣", "a.99999999999999999999", "b.c", "", "a.0.x"])
def test_a_path_to_nowhere_finds_nothing(path: str) -> None:
    """No path raises."""
    assert lookup({"a": [1]}, path) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
SHAPES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("event_id", "type", "occurred_at", "expires_at", "tenant", "recipient", "data", "data_base64"), JSON)
    | {name: JSON | st.text() for name in ("specversion", "id", "source", "time")}
    | {"recipient": st.dictionaries(st.sampled_from(["phone", "id", "locale", "timezone"]), JSON) | JSON},
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["ce_id", "ce_source", "ce_type", "ce_time", "ce_specversion", "content-type", "failover.original.offset"]),
        st.none() | st.binary(max_size=12) | st.sampled_from([b"application/cloudevents+json", b"1.0", b"1"]),
    ),
    max_size=5,
)
PATHS = st.sampled_from(["a", "data.a", "recipient.phone", "data.0", "id", "a\\.b", "", "."])


@given(JSON | SHAPES, HEADERS, st.dictionaries(st.sampled_from(FIELDS), PATHS, max_size=4), st.integers(-1, 2**62))
@example({"type": "x", "occurred_at": 1e308}, [], {}, 0)
@example({"type": "x", "occurred_at": "9999-12-31T23:59:59-23:59"}, [], {}, 1)
def test_anything_is_a_notification_or_undecodable(
    content: object, headers: list[tuple[str, bytes | None]], fields: dict[str, str], timestamp_ms: int
) -> None:
    """No JSON value, header or mapping raises anything but Undecodable, and what gets through is whole."""
    try:
        found = to_notification(record(tuple(headers), timestamp_ms), content, fields)
    except Undecodable:
        return
    assert isinstance(found, Notification)
    assert found.identity.encode()
    assert found.type.strip()
