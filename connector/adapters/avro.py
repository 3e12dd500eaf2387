"""Avro schemas and their two framings: single object (``C3 01`` and a fingerprint) and bare.

fastavro does the work. Its compiled reader does not guard the C stack: some kilobytes nested through a *recursive* schema end the
process, and would end each next owner of the lane. Such schemas are therefore read by its Python reader, which raises RecursionError.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import fastavro
import orjson
from fastavro import _read_py
from fastavro.schema import fingerprint as _fingerprint
from fastavro.schema import to_parsing_canonical_form

from connector.errors import Undecodable

NAMES = ("notification", "send", "status", "callback")
SINGLE_OBJECT = b"\xc3\x01"
SINGLE_OBJECT_HEADER = len(SINGLE_OBJECT) + 8


class Schema:
    """One parsed schema. ``named`` are the types it refers to (a registry's references), by full name."""

    def __init__(self, text: str, named: Mapping[str, object] | None = None) -> None:
        """Raises ValueError when the text is no Avro schema."""
        try:
            raw = orjson.loads(text)
            # a copy: parsing adds the schema's own names, and a later schema may define the same ones
            self.named: dict[str, Any] = dict(named or {})
            self.parsed: Any = fastavro.parse_schema(raw, named_schemas=self.named)
            self.fingerprint = bytes.fromhex(_fingerprint(to_parsing_canonical_form(self.parsed), "CRC-64-AVRO"))
        except Exception as error:  # any of fastavro's, which have no common root
            message = f"not an Avro schema: {type(error).__name__}"
            raise ValueError(message) from error
        self.text = text
        self.name = self.parsed.get("name", "") if isinstance(self.parsed, dict) else ""
        self._places = _places(self.parsed, self.named, frozenset()) or _Places()
        self._read = _read_py.schemaless_reader if _is_recursive(self.parsed, self.named) else fastavro.schemaless_reader

    def read(self, payload: bytes, start: int = 0, reader: Schema | None = None, *, rest: bool = False) -> object:
        """The datum at ``start``, resolved to ``reader`` if given; ``rest``: anything may follow it.

        Raises Undecodable BAD_AVRO with the field, or TOO_DEEP.
        """
        source = io.BytesIO(payload)
        source.seek(start)
        try:
            datum: object = self._read(source, self.parsed, reader.parsed if reader else None)
        except RecursionError as error:
            raise Undecodable("TOO_DEEP", "nested too deep") from error
        except Exception as error:  # noqa: BLE001 - corrupt bytes raise what they meet (EOFError, IndexError, OverflowError …)
            raise Undecodable(
                "BAD_AVRO", f"the bytes do not fit the writer's schema ({type(error).__name__})", self._where(payload, start)
            ) from None
        if not rest and source.tell() != len(payload):
            raise Undecodable("BAD_AVRO", "bytes are left over behind the record")
        return datum

    def write(self, datum: object) -> bytes:
        """The datum's bytes, bare. Raises ValueError with the field's name, never its value."""
        target = io.BytesIO()
        try:
            fastavro.schemaless_writer(target, self.parsed, datum, strict=True)
        except Exception as error:  # noqa: BLE001 - fastavro's texts hold values, so none is passed on
            message = f"a value does not fit {self.name} at {self._misfit(datum) or '?'} ({type(error).__name__})"
            raise ValueError(message) from None
        return target.getvalue()

    def fit(self, datum: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
        """What of the datum the schema has a place for, at any depth, and the dotted names of what was left out."""
        if _fits(datum, self._places):
            return datum, frozenset()
        out: set[str] = set()
        return _fitted(datum, self._places, "", out), frozenset(out)

    def single_object(self, datum: object) -> bytes:
        """The datum in Avro's single-object encoding."""
        return SINGLE_OBJECT + self.fingerprint + self.write(datum)

    def _where(self, payload: bytes, start: int) -> str:
        """Name of the first top-level field that cannot be read: ever longer beginnings of the record are tried."""
        return self._first_field(lambda schema: self._read(_at(payload, start), schema, None))

    def _misfit(self, datum: object) -> str:
        """Name of the first top-level field whose value does not fit."""
        return self._first_field(lambda schema: fastavro.schemaless_writer(io.BytesIO(), schema, datum))

    def _first_field(self, try_out: Callable[[dict[str, Any]], object]) -> str:
        fields = self.parsed.get("fields", []) if isinstance(self.parsed, dict) else []
        for count, field in enumerate(fields, start=1):
            try:
                try_out({"type": "record", "name": self.name, "fields": fields[:count]})
            except Exception:  # noqa: BLE001 - that it fails is the answer
                return str(field["name"])
        return ""


class _Places(NamedTuple):
    """Names of a record's fields; and of those that hold records (bare, in a union or a list), theirs."""

    names: frozenset[str] = frozenset()
    inner: Mapping[str, _Places] = MappingProxyType({})


def _places(part: object, named: Mapping[str, Any], inside: frozenset[str]) -> _Places | None:
    """Of the record that a type is or holds; a record within itself is taken as it comes."""
    if isinstance(part, str):
        return _places(named[part], named, inside) if part in named else None
    if isinstance(part, list):
        return next((found for branch in part if (found := _places(branch, named, inside)) is not None), None)
    if not isinstance(part, dict):
        return None
    if part.get("type") not in {"record", "error"}:
        return _places(part.get("items", part.get("type")), named, inside)
    if part["name"] in inside:
        return None
    held = {field["name"]: _places(field["type"], named, inside | {part["name"]}) for field in part["fields"]}
    return _Places(frozenset(held), {name: places for name, places in held.items() if places is not None})


def _fits(datum: object, places: _Places) -> bool:
    if isinstance(datum, list):
        return all(_fits(item, places) for item in datum)
    if not isinstance(datum, dict):
        return True
    return datum.keys() <= places.names and all(_fits(datum.get(name), inner) for name, inner in places.inner.items())


def _fitted(datum: Any, places: _Places, path: str, out: set[str]) -> Any:  # noqa: ANN401 - any datum
    if isinstance(datum, list):
        return [_fitted(item, places, path, out) for item in datum]
    if not isinstance(datum, dict):
        return datum
    out.update(f"{path}{name}" for name in datum.keys() - places.names)
    return {
        name: _fitted(value, places.inner[name], f"{path}{name}.", out) if name in places.inner else value
        for name, value in datum.items()
        if name in places.names
    }


def schema(name: str) -> Schema:
    """The connector's own schema of that name (``NAMES``), from the wheel or the work tree."""
    return _own()[name]


def versions(name: str) -> Mapping[bytes, Schema]:
    """That schema as this release and each earlier one has it, by fingerprint; this release's first."""
    return _versions()[name]


def single_objects(folder: Path | None = None) -> Mapping[bytes, Schema]:
    """Schemas by fingerprint: the connector's own and every ``.avsc`` below ``folder``. Raises ValueError naming a file that is none."""
    known = {one.fingerprint: one for one in _own().values()}
    for path in sorted(folder.rglob("*.avsc")) if folder else ():
        try:
            found = Schema(path.read_text(encoding="utf-8"))
        except ValueError as error:
            message = f"{path}: {error}"
            raise ValueError(message) from error
        known[found.fingerprint] = found
    return known


@lru_cache(maxsize=1)
def _own() -> Mapping[str, Schema]:
    return {name: Schema((_folder() / f"{name}.avsc").read_text(encoding="utf-8")) for name in NAMES}


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, Mapping[bytes, Schema]]:
    releases = sorted((_folder() / "released").iterdir(), key=lambda folder: int(folder.name), reverse=True)
    found = {name: [schema(name)] for name in NAMES}
    for name in NAMES:
        texts = [(folder / f"{name}.avsc").read_text(encoding="utf-8") for folder in releases]
        found[name] += [one for one in map(Schema, texts) if one.fingerprint != schema(name).fingerprint]
    return {name: {one.fingerprint: one for one in several} for name, several in found.items()}


def _folder() -> Traversable:
    packed = resources.files("connector") / "_avro"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "avro"


def _at(payload: bytes, start: int) -> io.BytesIO:
    source = io.BytesIO(payload)
    source.seek(start)
    return source


def _is_recursive(parsed: object, named: Mapping[str, object]) -> bool:
    """Whether a type can hold itself. ``parsed`` is fastavro's form: full names, each defined where it is first met."""
    cleared: set[str] = set()

    def visit(part: object, inside: frozenset[str]) -> bool:
        if isinstance(part, str):
            return part in inside or (part in named and part not in cleared and visit(named[part], inside))
        if isinstance(part, list):
            return any(visit(branch, inside) for branch in part)
        if not isinstance(part, dict):
            return False
        if part.get("type") not in {"record", "error"}:
            return any(visit(part[key], inside) for key in ("type", "items", "values") if key in part)
        name = part["name"]
        if name in inside or any(visit(field["type"], inside | {name}) for field in part["fields"]):
            return True
        cleared.add(name)
        return False

    return visit(parsed, frozenset())
