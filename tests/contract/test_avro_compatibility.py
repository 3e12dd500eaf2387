"""What consumers hold today reads what we write, and what they hold from a release reads what is to come: BACKWARD and FORWARD."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.adapters.avro import NAMES, Schema, schema
from tests.contract.avro_rules import lost_fields, misfits

RELEASED = Path(__file__).parents[2] / "avro" / "released"
EVERY = sorted(RELEASED.rglob("*.avsc"))
Plant = Callable[[dict[str, dict[str, Any]]], None]


def name_of(path: Path) -> str:
    """``1-send``."""
    return f"{path.parent.name}-{path.stem}"


def problems(old: Schema, new: Schema) -> list[str]:
    """Everything that would break somebody, with its field."""
    backward = [f"BACKWARD {found}" for found in misfits(old.parsed, new.parsed, old.named, new.named)]
    forward = [f"FORWARD {found}" for found in misfits(new.parsed, old.parsed, new.named, old.named)]
    return [*backward, *forward, *lost_fields(old.parsed, new.parsed)]


def test_every_schema_was_released() -> None:
    """Each release has all of them, in a folder of its number."""
    assert {path.parent.name for path in EVERY} == {"1"}
    assert {path.stem for path in EVERY} == set(NAMES)


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_todays_schema_fits_every_release(path: Path) -> None:
    """By Avro's rules of resolution, both ways; and no field is gone or moved."""
    assert problems(Schema(path.read_text(encoding="utf-8")), schema(path.stem)) == []


def values(part: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a schema is any JSON
    """Any datum of a parsed schema (the types the connector's schemas use)."""
    if isinstance(part, list):
        return st.one_of(*(values(branch, named) for branch in part))
    if isinstance(part, str):
        simple: dict[str, st.SearchStrategy[Any]] = {
            "null": st.none(),
            "boolean": st.booleans(),
            "int": st.integers(-(2**31), 2**31 - 1),
            "long": st.integers(-(2**63), 2**63 - 1),
            "double": st.floats(allow_nan=False),
            "string": st.text(max_size=8),
        }
        return simple[part] if part in simple else values(named[part], named)
    match part.get("logicalType") or part["type"]:
        case "timestamp-micros":
            return st.integers(0, 4 * 10**15)
        case "decimal":
            return st.decimals(-(10**11), 10**11, places=6)
        case "record":
            return st.fixed_dictionaries({field["name"]: values(field["type"], named) for field in part["fields"]})
        case "array":
            return st.lists(values(part["items"], named), max_size=2)
        case "map":
            return st.dictionaries(st.text(max_size=4), values(part["values"], named), max_size=2)
        case "fixed":
            return st.binary(min_size=part["size"], max_size=part["size"])
        case _:
            return values(part["type"], named)


def shared(datum: object, other: object) -> object:
    """What of a datum the other one has a place for, at any depth."""
    if isinstance(datum, dict) and isinstance(other, dict):
        return {name: shared(datum[name], other[name]) for name in datum.keys() & other.keys()}
    if isinstance(datum, list) and isinstance(other, list) and len(datum) == len(other):
        return [shared(one, its) for one, its in zip(datum, other, strict=True)]
    return datum


@pytest.mark.parametrize("path", EVERY, ids=name_of)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_old_and_new_read_each_other(path: Path, data: st.DataObject) -> None:
    """BACKWARD and FORWARD: what a release wrote reads with today's schema and the other way round, all that both know unchanged."""
    old, new = Schema(path.read_text(encoding="utf-8")), schema(path.stem)
    for writer, reader in ((old, new), (new, old)):
        written = writer.write(data.draw(values(writer.parsed, writer.named)))
        as_written, as_read = writer.read(written), writer.read(written, reader=reader)
        assert isinstance(as_written, dict)
        assert isinstance(as_read, dict)
        assert shared(as_read, as_written) == shared(as_written, as_read)
        assert as_read.keys() == {field["name"] for field in reader.parsed["fields"]}


def without(name: str) -> Plant:
    """A field is dropped."""
    return lambda fields: fields["of"]["fields"].remove(fields[name])


def retyped(name: str, kind: object) -> Plant:
    """A field has another type, and no default any more."""

    def plant(fields: dict[str, dict[str, Any]]) -> None:
        fields[name]["type"] = kind
        fields[name].pop("default", None)

    return plant


def added(**field: object) -> Plant:
    """One field more."""
    return lambda fields: fields["of"]["fields"].append({"name": "new", "type": "string", "doc": "d", **field})


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (
            without("outcome"),
            ["FORWARD outcome: missing in what is read, and without a default", "SendEvent.outcome: gone, or no longer in its place"],
        ),
        (without("tenant"), ["SendEvent.tenant: gone, or no longer in its place"]),
        (retyped("outcome", "int"), ["BACKWARD outcome: string became int", "FORWARD outcome: int became string"]),
        (retyped("tenant", "string"), ["BACKWARD tenant: null became string"]),
        (retyped("event_id", ["null", "string"]), ["FORWARD event_id: null became string"]),
        (retyped("duplicate", ["null", "boolean"]), ["FORWARD duplicate: null became boolean"]),
        (added(), ["BACKWARD new: missing in what is read, and without a default"]),
        (
            retyped("settled_at", ["null", {"type": "long", "logicalType": "timestamp-millis"}]),
            ["BACKWARD settled_at: another logicalType", "FORWARD settled_at: another logicalType"],
        ),
        (
            retyped("channels", {"type": "array", "items": "int"}),
            ["BACKWARD channels[]: string became int", "FORWARD channels[]: int became string"],
        ),
        (
            lambda fields: fields["of"].__setitem__("name", "Sent"),
            ["BACKWARD : the type net.routee.failover.SendEvent became net.routee.failover.Sent"],
        ),
        (lambda fields: fields["of"]["fields"].insert(0, fields["of"]["fields"].pop(1)), ["SendEvent.id: gone, or no longer in its place"]),
        (added(type=["null", "string"], default=None), []),
        (lambda fields: fields["of"].__setitem__("doc", "said better"), []),
    ],
)
def test_an_incompatible_change_is_caught_and_named(plant: Plant, told: list[str]) -> None:
    """Each planted change is told with its field and the side it breaks; what is lawful says nothing."""
    old = orjson.loads((RELEASED / "1" / "send.avsc").read_bytes())
    new = copy.deepcopy(old)
    plant({"of": new, **{field["name"]: field for field in new["fields"]}})
    found = problems(Schema(orjson.dumps(old).decode()), Schema(orjson.dumps(new).decode()))
    assert [said for said in told if said not in found] == []
    assert bool(found) is bool(told)


def test_a_change_deep_inside_is_named_by_its_path() -> None:
    """In a record inside a union, and in one inside a list."""
    for name, place, field in (("status", "step", "order"), ("send", "attempts", "n")):
        old = orjson.loads((RELEASED / "1" / f"{name}.avsc").read_bytes())
        new = copy.deepcopy(old)
        [kind] = [one["type"] for one in new["fields"] if one["name"] == place]
        inner = kind[1] if isinstance(kind, list) else kind["items"]
        [inside] = [one for one in inner["fields"] if one["name"] == field]
        inside["type"] = "string"
        found = problems(Schema(orjson.dumps(old).decode()), Schema(orjson.dumps(new).decode()))
        dots = "step.order" if name == "status" else "attempts[].n"
        assert f"BACKWARD {dots}: {'long' if name == 'status' else 'int'} became string" in found
