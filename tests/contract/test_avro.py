"""Schemas: documented, read and written without surprises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.adapters import avro
from connector.adapters.avro import NAMES, Schema, schema, single_objects
from connector.errors import Undecodable

LIST = Schema('{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}')
PAIR = Schema(
    '{"type": "record", "name": "P", "namespace": "a", "fields": [{"name": "n", "type": "int"}, {"name": "s", "type": "string"}]}'
)


def fields(part: object) -> Iterator[dict[str, Any]]:
    """Every field of every record in a schema."""
    for item in part if isinstance(part, list) else part.values() if isinstance(part, dict) else ():
        yield from fields(item)
    if isinstance(part, dict) and part.get("type") == "record":
        yield from part["fields"]


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_documented(name: str) -> None:
    """Every record and field says what it is."""
    found = list(fields(orjson.loads(schema(name).text)))
    assert found
    assert [field["name"] for field in found if not field.get("doc")] == []
    assert schema(name).name.startswith("net.routee.failover.")


@pytest.mark.parametrize("name", NAMES)
def test_a_nullable_field_may_be_left_out(name: str) -> None:
    """Absent is null: each union with null has null first and as default."""
    for field in fields(orjson.loads(schema(name).text)):
        if isinstance(field["type"], list):
            assert field["type"][0] == "null"
            assert field["default"] is None


def test_the_fingerprint_is_avros() -> None:
    """CRC-64-AVRO, little endian, of the canonical form: the specification's own example and a schema in full names."""
    assert Schema('"null"').fingerprint.hex() == "8a8f25cce724dd63"
    spelled = '{"fields":[{"doc":"d","name":"n","type":{"type":"int"}},{"name":"s","type":"string"}],"type":"record","name":"a.P"}'
    assert Schema(spelled).fingerprint == PAIR.fingerprint


# ------------------------------------------------------------------------------------------------------ reading, writing


def test_a_broken_record_names_its_field() -> None:
    """Corrupt bytes are Undecodable with the first field that cannot be read."""
    whole = PAIR.write({"n": 5, "s": "abc"})
    for cut, path in ((0, "n"), (1, "s"), (3, "s")):
        with pytest.raises(Undecodable) as caught:
            PAIR.read(whole[:cut])
        assert (caught.value.reason, caught.value.path) == ("BAD_AVRO", path)
    with pytest.raises(Undecodable, match="left over"):
        PAIR.read(whole + b"\x00")
    with pytest.raises(Undecodable, match="BAD_AVRO"):
        Schema('"string"').read(b"\x05")


def test_a_recursive_schema_cannot_end_the_process() -> None:
    """Bytes nested a hundred thousand deep are TOO_DEEP: a compiled reader would overrun the stack and kill the process."""
    assert LIST.read(b"\x02\x02\x00") == {"next": {"next": {"next": None}}}
    with pytest.raises(Undecodable, match="TOO_DEEP"):
        LIST.read(b"\x02" * 100_000 + b"\x00")


@pytest.mark.parametrize(
    ("fields", "recursive"),
    [
        ('[{"name": "a", "type": {"type": "array", "items": "R"}}]', True),
        ('[{"name": "a", "type": {"type": "map", "values": ["null", "R"]}}]', True),
        ('[{"name": "a", "type": {"type": "record", "name": "S", "fields": [{"name": "b", "type": ["null", "R"]}]}}]', True),
        (
            """[{"name": "a", "type": {"type": "record", "name": "S", "fields": [{"name": "b", "type": "int"}]}},
                {"name": "c", "type": ["null", "S"]}, {"name": "d", "type": {"type": "enum", "name": "E", "symbols": ["X"]}}]""",
            False,
        ),
    ],
)
def test_recursion_is_seen_wherever_it_hides(fields: str, recursive: bool) -> None:
    """Through arrays, maps, unions and other records; a type used twice is not recursion."""
    made = Schema(f'{{"type": "record", "name": "R", "fields": {fields}}}')
    assert (made._read is not fastavro.schemaless_reader) is recursive


@pytest.mark.parametrize("name", NAMES)
def test_our_own_schemas_take_the_fast_path(name: str) -> None:
    """None of the connector's schemas is recursive."""
    assert schema(name)._read is fastavro.schemaless_reader


def test_writing_a_misfit_names_the_field_and_not_the_value() -> None:
    """An error of ours never prints a value."""
    with pytest.raises(ValueError, match=r"a\.P at s") as caught:
        PAIR.write({"n": 5, "s": 306912345678})
    assert "6912" not in str(caught.value)
    with pytest.raises(ValueError, match=r"a\.P"):
        PAIR.write({"n": 5})


@given(st.binary(max_size=80), st.sampled_from(NAMES))
def test_any_bytes_read_or_are_undecodable(payload: bytes, name: str) -> None:
    """Random bytes raise nothing but Undecodable."""
    try:
        schema(name).read(payload)
    except Undecodable as error:
        assert re.fullmatch(r"[A-Z_]+", error.reason)  # noqa: PT017 - both ends are fine


@pytest.mark.parametrize("text", ["", "{", "[]x", '{"type": "record"}', '"nonsense"', "5"])
def test_what_is_no_schema_is_a_value_error(text: str) -> None:
    """Broken schemas are told as such."""
    with pytest.raises(ValueError, match="not an Avro schema"):
        Schema(text)


def test_a_folder_of_schemas_is_known_by_fingerprint(tmp_path: Path) -> None:
    """The user's own schemas join the connector's; a broken file is named."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "pair.avsc").write_text(PAIR.text)
    known = single_objects(tmp_path)
    assert known[PAIR.fingerprint].name == "a.P"
    assert {schema(name).fingerprint for name in NAMES} <= known.keys()
    (tmp_path / "broken.avsc").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.avsc"):
        single_objects(tmp_path)


def test_schemas_come_from_the_package_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wheel carries the schemas as ``connector/_avro``."""
    packed = tmp_path / "_avro"
    packed.mkdir()
    for name in NAMES:
        (packed / f"{name}.avsc").write_text(f'{{"type": "record", "name": "packed.{name}", "fields": []}}')
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert avro._own.__wrapped__()["send"].name == "packed.send"
