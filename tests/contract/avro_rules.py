"""Avro's rules of schema resolution as a list of what breaks them, each with its field: fastavro only raises, and only for some data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PROMOTED = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"}, "string": {"bytes"}, "bytes": {"string"}}
LOGICAL = ("logicalType", "precision", "scale")  # not part of Avro's own rules: a consumer's time or amount would change its meaning
SIMPLE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

Named = Mapping[str, Any]


def misfits(writer: Any, reader: Any, written: Named, read: Named, path: str = "") -> Iterator[str]:  # noqa: ANN401 - a schema is any JSON
    """What keeps a reader with one schema from reading what was written with another: ``field.inner: why``; nothing where all fits."""
    writer, reader = _resolved(writer, written), _resolved(reader, read)
    if isinstance(writer, list):
        for branch in writer:
            yield from misfits(branch, reader, written, read, path)
        return
    if isinstance(reader, list):
        tried = [list(misfits(writer, branch, written, read, path)) for branch in reader]
        if all(tried):
            same = [found for found, branch in zip(tried, reader, strict=True) if _kind(_resolved(branch, read)) == _kind(writer)]
            yield from same[0] if same else [f"{path}: {_kind(writer)} is none of {[_kind(_resolved(branch, read)) for branch in reader]}"]
        return
    yield from _same_kind(writer, reader, written, read, path)


def _same_kind(writer: dict[str, Any], reader: dict[str, Any], written: Named, read: Named, path: str) -> Iterator[str]:
    old, new = _kind(writer), _kind(reader)
    if old != new and new not in PROMOTED.get(old, ()):
        yield f"{path}: {old} became {new}"
        return
    if different := [name for name in LOGICAL if writer.get(name) != reader.get(name)]:
        yield f"{path}: another {', '.join(different)}"
    if new in {"record", "enum", "fixed"} and writer["name"] not in {reader["name"], *reader.get("aliases", ())}:
        yield f"{path}: the type {writer['name']} became {reader['name']}"
    match new:
        case "record":
            yield from _fields(writer, reader, written, read, path)
        case "array" | "map":
            inside = "items" if new == "array" else "values"
            yield from misfits(writer[inside], reader[inside], written, read, f"{path}[]")
        case "enum" if not set(writer["symbols"]) <= set(reader["symbols"]) and "default" not in reader:
            yield f"{path}: symbols {sorted(set(writer['symbols']) - set(reader['symbols']))} are not known"
        case "fixed" if writer["size"] != reader["size"]:
            yield f"{path}: {writer['size']} bytes became {reader['size']}"


def _fields(writer: dict[str, Any], reader: dict[str, Any], written: Named, read: Named, path: str) -> Iterator[str]:
    old = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        place = f"{path}.{field['name']}".lstrip(".")
        known = next((old[name] for name in (field["name"], *field.get("aliases", ())) if name in old), None)
        if known is not None:
            yield from misfits(known["type"], field["type"], written, read, place)
        elif "default" not in field:
            yield f"{place}: missing in what is read, and without a default"


def lost_fields(old: Any, new: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - as above
    """Fields of a released record that are gone or moved: consumers rely on each, so fields are only added, behind the others."""
    olds, news = _records(old), _records(new)
    for name, fields in olds.items():
        now = news.get(name, [])[: len(fields)]
        for place, field in enumerate(fields):
            if place >= len(now) or now[place] != field:
                yield f"{path}{name.rpartition('.')[2]}.{field}: gone, or no longer in its place"


def _records(part: object) -> dict[str, list[str]]:
    """Field names of every record in a parsed schema."""
    found: dict[str, list[str]] = {}
    for item in part if isinstance(part, list) else part.values() if isinstance(part, dict) else ():
        found |= _records(item)
    if isinstance(part, dict) and part.get("type") == "record":
        found[part["name"]] = [field["name"] for field in part["fields"]]
    return found


def _resolved(part: Any, named: Named) -> Any:  # noqa: ANN401 - as above
    """A branch as a mapping with ``type``; unions stay lists."""
    while isinstance(part, str) and part not in SIMPLE:
        part = named[part]
    if isinstance(part, dict) and isinstance(part["type"], dict | list):
        return _resolved(part["type"], named)
    return {"type": part} if isinstance(part, str) else part


def _kind(part: Any) -> str:  # noqa: ANN401 - as above
    return "union" if isinstance(part, list) else str(part["type"])
