"""Bytes to Notification, by the record's own framing (port ``Decoder``).

========================  ==========================================================
first bytes               what follows
========================  ==========================================================
``00`` and four bytes     a schema id of the registry, then Avro or (JSON Schema) JSON
``C3 01`` and eight       the fingerprint of a known schema, then Avro
anything else             JSON
========================  ==========================================================

Neither frame can begin a JSON document, so nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import orjson

from connector.adapters import avro
from connector.adapters.registry import Schemas
from connector.core import cloudevents
from connector.core.contain import contain
from connector.core.model import Notification, Record
from connector.core.notification import to_notification
from connector.errors import Undecodable

Input = Literal["auto", "avro", "json"]

_CONFLUENT = b"\x00"
_CONFLUENT_HEADER = 5


class RecordDecoder:
    """``expected`` is ``format.input``, ``fields`` the setting of that name; ``schemas`` a folder of .avsc files for single objects."""

    def __init__(
        self,
        expected: Input = "auto",
        fields: Mapping[str, str] | None = None,
        *,
        registry: Schemas | None = None,
        schemas: Path | None = None,
    ) -> None:
        """Raises ValueError naming a file of ``schemas`` that is no Avro schema."""
        self._expected = expected
        self._fields = dict(fields or {})
        self._registry = registry
        self._known = avro.single_objects(schemas)

    async def decode(self, record: Record) -> Notification:
        """Raises Undecodable (dead letter) or RegistryUnavailable (wait)."""
        content = await self.content(record)
        return contain(Undecodable, lambda: to_notification(record, content, self._fields))

    async def content(self, record: Record) -> object:
        """The record's value as decoded, of any shape. Raises as ``decode``."""
        value = record.value
        if not value:
            if cloudevents.envelope(record, None) is None:
                raise Undecodable("EMPTY", "the record has no value")
            return None  # a CloudEvent may be all attributes
        if self._expected != "json":
            if value.startswith(_CONFLUENT):
                return await self._registered(value)
            if value.startswith(avro.SINGLE_OBJECT):
                return self._single_object(value)
        if self._expected == "avro" or _says_avro(record):
            raise Undecodable("UNFRAMED_AVRO", "neither a registry's frame nor a single object: the schema cannot be known")
        return parse_json(value)

    async def _registered(self, value: bytes) -> object:
        if len(value) < _CONFLUENT_HEADER:
            raise Undecodable("BAD_AVRO", "cut off inside the schema id")
        if self._registry is None:
            raise Undecodable("NO_REGISTRY", "a registry's frame, but schema_registry.url is not set")
        schema = await self._registry.writer(int.from_bytes(value[1:_CONFLUENT_HEADER], "big"))
        return parse_json(value[_CONFLUENT_HEADER:]) if schema is None else schema.read(value, _CONFLUENT_HEADER)

    def _single_object(self, value: bytes) -> object:
        schema = self._known.get(value[len(avro.SINGLE_OBJECT) : avro.SINGLE_OBJECT_HEADER])
        if schema is None:
            raise Undecodable("SCHEMA_NOT_FOUND", "a single object whose schema's fingerprint is not known")
        return schema.read(value, avro.SINGLE_OBJECT_HEADER)


def parse_json(value: bytes) -> object:
    """Any JSON document in UTF-8. Raises Undecodable BAD_JSON (a byte order mark and NaN included) or TOO_DEEP."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if "depth" in error.msg:
            raise Undecodable("TOO_DEEP", "nested too deep") from None
        raise Undecodable("BAD_JSON", f"no JSON document: line {error.lineno} column {error.colno}") from None


def _says_avro(record: Record) -> bool:
    return "avro" in cloudevents.content_type(record)
