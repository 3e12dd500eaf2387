"""CloudEvents arrive the same in binary and structured mode."""

from __future__ import annotations

import base64

import pytest

from connector.core.model import Notification, Record
from connector.core.notification import to_notification
from connector.errors import Undecodable

KAFKA_MS = 1_764_000_000_000
TIME = "2025-11-24T15:59:00Z"
TIME_MS = KAFKA_MS - 60_000
ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.shipped", "time": TIME, "subject": "o-5", "tenant": "acme"}
PAYLOAD = {"order_id": 5, "recipient": {"phone": "+306912345678"}}


def read(content: object, headers: dict[str, bytes] | None = None, fields: dict[str, str] | None = None) -> Notification:
    """The notification of a record with that decoded value."""
    record = Record("notifications", 0, 1, KAFKA_MS, None, b"", tuple((headers or {}).items()))
    return to_notification(record, content, fields or {})


def binary(attributes: dict[str, str] | None = None) -> dict[str, bytes]:
    """Headers of binary mode."""
    return {f"ce_{name}": value.encode() for name, value in (attributes or ATTRIBUTES).items()}


def test_both_modes_give_the_same_notification() -> None:
    """The mode is transport: what rules and outputs see does not depend on it."""
    structured = read({**ATTRIBUTES, "data": PAYLOAD})
    assert structured == read(PAYLOAD, binary())
    assert (structured.identity, structured.event_id, structured.type) == ("/shop|7", "7", "order.shipped")
    assert (structured.occurred_at_ms, structured.tenant) == (TIME_MS, "acme")
    assert structured.recipient.phone == "+306912345678"
    assert structured.data == PAYLOAD
    assert structured.event == {**ATTRIBUTES, "data": PAYLOAD}


def test_base64_data_is_the_same_data() -> None:
    """``data_base64`` is decoded before anything is looked up."""
    encoded = base64.b64encode(b'{"order_id": 5, "recipient": {"phone": "+306912345678"}}').decode()
    assert read({**ATTRIBUTES, "data_base64": encoded}) == read({**ATTRIBUTES, "data": PAYLOAD})


def test_a_canonical_payload_gives_its_own_data() -> None:
    """A payload that is itself canonical (recipient and data) gives the inner data."""
    payload = {"recipient": {"phone": "+30691"}, "data": {"code": 1}, "expires_at": KAFKA_MS}
    found = read(payload, binary())
    assert (found.data, found.expires_at_ms) == ({"code": 1}, KAFKA_MS)
    assert read({"data": {"code": 1}}, binary()).data == {"data": {"code": 1}}


def test_extensions_stand_at_the_top() -> None:
    """A recipient or the expiry extension may stand beside the attributes."""
    found = read({**ATTRIBUTES, "data": {}, "recipient": {"phone": "+30691", "id": 5}, "expirytime": TIME})
    assert (found.recipient.phone, found.recipient.id, found.expires_at_ms) == ("+30691", "5", TIME_MS)


def test_an_event_may_be_all_attributes() -> None:
    """No data is empty data."""
    assert read(None, binary()).data == {}
    assert read(ATTRIBUTES).data == {}


def test_mapped_paths_start_at_the_envelope_then_in_the_data() -> None:
    """One mapping serves both modes, whether it was written for the envelope or for the payload."""
    for fields in ({"phone": "customer.mobile", "data": "customer"}, {"phone": "data.customer.mobile", "data": "data.customer"}):
        payload = {"customer": {"mobile": 30691}}
        for found in (read(payload, binary(), fields), read({**ATTRIBUTES, "data": payload}, None, fields)):
            assert (found.recipient.phone, found.data) == ("30691", {"mobile": 30691})
    assert read(PAYLOAD, binary(), {"recipient_id": "subject"}).recipient.id == "o-5"


def test_a_mapped_event_id_goes_before_source_and_id() -> None:
    """Identity: the mapped id, then source and id, then an id alone, then the coordinates."""
    assert read(PAYLOAD, binary(), {"event_id": "data.order_id"}).identity == "5"
    assert read(PAYLOAD, binary(), {"event_id": "data.none"}).identity == "/shop|7"
    assert read(PAYLOAD, binary({"specversion": "1.0", "id": "7", "type": "x"})).identity == "7"
    assert read(PAYLOAD, binary({"specversion": "1.0", "type": "x"})).identity == "notifications/0/1"


def test_a_declared_structured_event_is_one_without_all_attributes() -> None:
    """The content type alone makes a document an envelope, and goes before binary headers."""
    headers = {"content-type": b"application/cloudevents+json; charset=UTF-8", "ce_id": b"h", "ce_source": b"h"}
    assert read({"id": "7", "source": "s", "type": "x", "data": {"a": 1}}, headers).identity == "s|7"
    with pytest.raises(Undecodable, match="BAD_TYPE"):
        read([], headers)


def test_ordinary_records_are_no_cloudevents() -> None:
    """A canonical record that happens to have an ``id`` and a ``source`` keeps the canonical rules."""
    assert read({"event_id": "e", "id": "7", "source": "s", "type": "x"}).identity == "e"


@pytest.mark.parametrize(
    ("content", "headers", "reason", "path"),
    [
        (PAYLOAD, {"ce_specversion": b"1.0", "ce_id": b"\xff"}, "BAD_HEADER", "ce_id"),
        (PAYLOAD, {"ce_specversion": b"1.0"}, "MISSING_FIELD", "type"),
        ("text", binary(), "BAD_TYPE", "data"),
        ({**ATTRIBUTES, "data_base64": 5}, {}, "BAD_TYPE", "data_base64"),
        ({**ATTRIBUTES, "data_base64": "é"}, {}, "BAD_JSON", "data_base64"),
        ({**ATTRIBUTES, "data_base64": "YQ=="}, {}, "BAD_JSON", "data_base64"),
        ({**ATTRIBUTES, "source": "s" * 3000}, {}, "TOO_LONG", "source"),
        ({**ATTRIBUTES, "source": "\ud800"}, {}, "BAD_TYPE", "source"),
        ({**ATTRIBUTES, "data": {"recipient": 5}}, {}, "BAD_TYPE", "data.recipient"),
    ],
)
def test_a_broken_cloudevent_is_refused_by_name(content: object, headers: dict[str, bytes], reason: str, path: str) -> None:
    """What is wrong with a CloudEvent is said with a reason and the attribute."""
    with pytest.raises(Undecodable) as caught:
        read(content, headers)
    assert (caught.value.reason, caught.value.path) == (reason, path)


def test_a_header_without_a_value_is_no_attribute() -> None:
    """Null headers are skipped."""
    record = Record("n", 0, 1, KAFKA_MS, None, b"", (("ce_specversion", b"1.0"), ("ce_type", b"x"), ("ce_tenant", None)))
    assert to_notification(record, {}, {}).tenant is None
