"""An Avro schema as the JSON Schema of the same event in JSON (docs/events.md): times ISO 8601, amounts decimal texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]

_SIMPLE: Final[Mapping[str, Json]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "string": {"type": "string"},
}
_TIME_OUT: Final[Json] = {"type": "string", "format": "date-time"}
_TIME_IN: Final[Json] = {"type": ["string", "integer"], "description": "ISO 8601, or epoch milliseconds"}
_AMOUNT: Final[Json] = {"type": "string", "pattern": r"^-?\d+(\.\d{1,6})?$"}


def json_schema(avro: Any, *, incoming: bool) -> Json:  # noqa: ANN401 - an Avro schema is a text, a list or a mapping
    """``incoming``: fields with a default may be left out, and times may be numbers; else every field is there, as the connector writes."""
    if isinstance(avro, str):
        return dict(_SIMPLE[avro])
    if isinstance(avro, list):
        return _union([json_schema(branch, incoming=incoming) for branch in avro])
    match avro.get("logicalType") or avro["type"]:
        case "timestamp-micros":
            return dict(_TIME_IN if incoming else _TIME_OUT)
        case "decimal":
            return dict(_AMOUNT)
        case "record":
            return _record(avro, incoming=incoming)
        case "array":
            return {"type": "array", "items": json_schema(avro["items"], incoming=incoming)}
        case "map":
            return {"type": "object", "additionalProperties": json_schema(avro["values"], incoming=incoming)}
        case _:
            return json_schema(avro["type"], incoming=incoming)


def _record(avro: Json, *, incoming: bool) -> Json:
    properties: Json = {}
    for field in avro["fields"]:
        schema = json_schema(field["type"], incoming=incoming)
        said = [text for text in (field["doc"], schema.pop("description", "")) if text]
        properties[field["name"]] = {"description": " ".join(said), **schema}
    required = [field["name"] for field in avro["fields"] if not (incoming and "default" in field)]
    return {"title": avro["name"], "description": avro["doc"], "type": "object", "required": required, "properties": properties}


def _union(branches: list[Json]) -> Json:
    """Null and one plain type are one ``type`` list; anything else is ``anyOf``."""
    others = [branch for branch in branches if branch != {"type": "null"}]
    if len(others) == 1 and len(branches) > 1 and "properties" not in others[0]:
        kinds = others[0]["type"]
        return {**others[0], "type": [*([kinds] if isinstance(kinds, str) else kinds), "null"]}
    return {"anyOf": branches}
