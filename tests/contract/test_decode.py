"""Records of every framing become the same Notification; broken ones become Undecodable, and only an absent registry waits."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.adapters.avro import Schema, schema
from connector.adapters.decode import Input, RecordDecoder, parse_json
from connector.core.model import Record
from connector.errors import RegistryUnavailable, Undecodable

KAFKA_MS = 1_764_000_000_000
EVENT = {
    "event_id": "e-1",
    "type": "order.shipped",
    "occurred_at": "2025-11-24T15:59:00.000Z",
    "expires_at": None,
    "tenant": None,
    "recipient": {"phone": "+306912345678", "id": None, "locale": "el", "timezone": None},
    "data": {"order_id": 5, "total": 1.5, "paid": True, "lines": [{"sku": "a"}, "b"], "address": {"city": "Athens", "geo": [1, 2]}},
}
AVRO_EVENT = {**EVENT, "occurred_at": (KAFKA_MS - 60_000) * 1000}
ORDER = Schema(
    """{"type": "record", "name": "OrderShipped", "namespace": "shop", "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["SHIPPED"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 2}},
        {"name": "customer", "type": {"type": "record", "name": "Customer", "fields": [{"name": "mobile", "type": "long"}]}}]}"""
)
ORDER_FIELDS = {"event_id": "id", "type": "state", "occurred_at": "at", "phone": "customer.mobile"}


class Shelf:
    """A registry of what it was given."""

    def __init__(self, found: dict[int, Schema | None] | None = None, *, away: bool = False) -> None:
        self._found = found or {}
        self._away = away

    async def writer(self, schema_id: int) -> Schema | None:
        if self._away:
            raise RegistryUnavailable("away")
        if schema_id not in self._found:
            raise Undecodable("SCHEMA_NOT_FOUND", "not found")
        return self._found[schema_id]

    async def register(self, subject: str, schema: Schema) -> int:
        raise NotImplementedError


def record(value: bytes | None, **headers: bytes) -> Record:
    """An input record of that value; ``_`` in a header's name is a dash."""
    named = tuple((name if name.startswith("ce_") else name.replace("_", "-"), raw) for name, raw in headers.items())
    return Record("notifications", 0, 7, KAFKA_MS, None, value, named)


def framed(schema_id: int, body: bytes) -> bytes:
    """A registry's frame."""
    return b"\x00" + schema_id.to_bytes(4, "big") + body


def order() -> bytes:
    """A foreign Avro record, bare."""
    target = io.BytesIO()
    datum = {"id": "5e1f0000-0000-4000-8000-000000000001", "at": KAFKA_MS - 1, "total": Decimal("9.90")}
    rest: dict[str, Any] = {"day": 20_000, "state": "SHIPPED", "hash": b"\x00\xff", "customer": {"mobile": 306912345678}}
    fastavro.schemaless_writer(target, ORDER.parsed, datum | rest)
    return target.getvalue()


async def refusal(decoder: RecordDecoder, met: Record) -> str:
    """Reason of the Undecodable that the record gives."""
    with pytest.raises(Undecodable) as caught:
        await decoder.decode(met)
    return caught.value.reason


async def test_every_framing_gives_the_same_notification() -> None:
    """JSON, single object, registry's Avro and registry's JSON say the same."""
    decoder = RecordDecoder(registry=Shelf({5: schema("notification"), 6: None}))
    bare = schema("notification").write(AVRO_EVENT)
    as_json = await decoder.decode(record(orjson.dumps(EVENT)))
    assert as_json.event == EVENT
    assert as_json.occurred_at_ms == KAFKA_MS - 60_000
    for value in (schema("notification").single_object(AVRO_EVENT), framed(5, bare), framed(6, orjson.dumps(EVENT))):
        assert await decoder.decode(record(value)) == as_json


async def test_a_foreign_avro_record_is_plain_and_mapped() -> None:
    """The user's own schema reads with ``fields``; times, decimals, bytes and UUIDs are plain values for the rules."""
    found = await RecordDecoder(fields=ORDER_FIELDS, registry=Shelf({9: ORDER})).decode(record(framed(9, order())))
    assert found.event == {
        "id": "5e1f0000-0000-4000-8000-000000000001",
        "at": "2025-11-24T15:59:59.999Z",
        "total": "9.90",
        "day": "2024-10-04",
        "state": "SHIPPED",
        "hash": "AP8=",
        "customer": {"mobile": 306912345678},
    }
    assert (found.identity, found.type, found.occurred_at_ms) == (found.event["id"], "SHIPPED", KAFKA_MS - 1)
    assert (found.recipient.phone, found.data) == ("306912345678", found.event)


async def test_a_folder_of_schemas_reads_single_objects(tmp_path: Path) -> None:
    """A single object of a schema in the folder is read; of an unknown one it is refused."""
    value = b"\xc3\x01" + ORDER.fingerprint + order()
    assert await refusal(RecordDecoder(), record(value)) == "SCHEMA_NOT_FOUND"
    (tmp_path / "order.avsc").write_text(ORDER.text)
    found = await RecordDecoder(fields=ORDER_FIELDS, schemas=tmp_path).decode(record(value))
    assert found.recipient.phone == "306912345678"


async def test_cloudevents_come_through() -> None:
    """Structured by content type, binary by headers, and binary without any value."""
    decoder = RecordDecoder()
    attributes = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    headers = {f"ce_{name}": text.encode() for name, text in attributes.items()}
    structured = record(orjson.dumps({**attributes, "data": {"a": 1}}), content_type=b"application/cloudevents+json")
    assert await decoder.decode(structured) == await decoder.decode(record(b'{"a":1}', **headers))
    assert (await decoder.decode(record(None, **headers))).identity == "s|1"


@pytest.mark.parametrize(
    ("expected", "value", "reason"),
    [
        ("auto", None, "EMPTY"),
        ("auto", b"", "EMPTY"),
        ("auto", b"{", "BAD_JSON"),
        ("auto", b"\xef\xbb\xbf{}", "BAD_JSON"),
        ("auto", b'{"type": "\xff"}', "BAD_JSON"),
        ("auto", b'{"type": NaN}', "BAD_JSON"),
        ("auto", '{"type": "x"}'.encode("utf-16"), "BAD_JSON"),
        ("auto", b'{"type": "\\ud800"}', "BAD_JSON"),
        ("auto", b"[" * 1000 + b"]" * 1000, "TOO_DEEP"),
        ("auto", b"[" * 100_000, "TOO_DEEP"),
        ("auto", b'{"type": "x", "d": ' + b"[" * 64 + b"]" * 64 + b"}", "TOO_DEEP"),
        ("auto", b"{}", "MISSING_FIELD"),
        ("auto", b"\x00", "BAD_AVRO"),
        ("auto", framed(1, b""), "SCHEMA_NOT_FOUND"),
        ("auto", framed(5, b"\x02"), "BAD_AVRO"),
        ("auto", framed(6, b"{"), "BAD_JSON"),
        ("auto", b"\xc3\x01abc", "SCHEMA_NOT_FOUND"),
        ("avro", b"{}", "UNFRAMED_AVRO"),
        ("json", framed(5, b""), "BAD_JSON"),
        ("json", b"\xc3\x01" + b"12345678", "BAD_JSON"),
    ],
)
async def test_broken_bytes_are_refused_with_a_reason(expected: Input, value: bytes | None, reason: str) -> None:
    """Each way to be broken has its reason."""
    decoder = RecordDecoder(expected, registry=Shelf({5: schema("notification"), 6: None}))
    assert await refusal(decoder, record(value)) == reason


async def test_bare_avro_is_told_apart_by_its_content_type() -> None:
    """A record declared as Avro without a frame is not reported as broken JSON."""
    assert await refusal(RecordDecoder(), record(b"\x02ab", content_type=b"application/avro")) == "UNFRAMED_AVRO"


async def test_a_frame_without_a_registry_is_refused() -> None:
    """No registry set and a registry's frame: a reason that says so."""
    assert await refusal(RecordDecoder(), record(framed(5, b""))) == "NO_REGISTRY"


async def test_an_absent_registry_makes_the_record_wait() -> None:
    """RegistryUnavailable goes through: no dead letter."""
    with pytest.raises(RegistryUnavailable):
        await RecordDecoder(registry=Shelf(away=True)).decode(record(framed(5, b"")))


async def test_big_numbers_and_big_records_are_read() -> None:
    """Integers beyond 64 bits and megabytes of JSON are no reason to fail."""
    found = await RecordDecoder().decode(record(b'{"type": "x", "data": {"n": 123456789012345678901234567890}}'))
    assert found.data["n"] == pytest.approx(1.2345678901234568e29)
    big = await RecordDecoder().decode(record(orjson.dumps({"type": "x", "data": {"text": "x" * 2**23}})))
    assert len(big.data["text"]) == 2**23


def test_a_refusal_of_json_holds_no_value() -> None:
    """Only line and column are told."""
    with pytest.raises(Undecodable) as caught:
        parse_json(b'{"phone": "+306912345678"')
    assert "6912" not in str(caught.value)
    assert caught.value.__cause__ is None


@settings(deadline=None)
@given(
    st.none() | st.binary(max_size=60) | st.binary(max_size=60).map(lambda raw: framed(5, raw)) | st.text(max_size=20).map(str.encode),
    st.sampled_from(["auto", "avro", "json"]),
    st.none() | st.binary(max_size=40),
)
async def test_any_bytes_decode_or_are_undecodable(value: bytes | None, expected: Input, content_type: bytes | None) -> None:
    """No value and no content type raises anything but Undecodable."""
    decoder = RecordDecoder(expected, registry=Shelf({5: schema("notification")}))
    headers = {} if content_type is None else {"content_type": content_type}
    try:
        await decoder.decode(record(value, **headers))
    except Undecodable:
        return
