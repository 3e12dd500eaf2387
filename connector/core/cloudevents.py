"""CloudEvents 1.0 over Kafka: recognising both modes and giving them one shape.

Binary mode: attributes in ``ce_*`` headers, the value is the data. Structured mode: one JSON document (content type
``application/cloudevents+json``, or the four required attributes are there). Both become the same *envelope*: the attributes with
the data under ``data``. A rule written for one mode works for the other. (CloudEvents Kafka protocol binding 1.0.2, §3.)
"""

from __future__ import annotations

import base64
import binascii

import orjson

from connector.core.model import JsonObject, Record
from connector.errors import Undecodable

_PREFIX = "ce_"
_REQUIRED = ("specversion", "id", "source", "type")
STRUCTURED = "application/cloudevents"


def content_type(record: Record) -> str:
    """The record's media type in lower case without parameters; empty when it has none."""
    raw = record.header("content-type") or b""
    return raw.decode("latin-1").partition(";")[0].strip().lower()


def envelope(record: Record, content: object) -> JsonObject | None:
    """The event's attributes and data in one object, or None when the record is no CloudEvent. Raises Undecodable."""
    declared = content_type(record).startswith(STRUCTURED)
    if not declared and _is_binary(record):
        return {**_attributes(record), "data": content}
    if not isinstance(content, dict):
        return None
    if declared or all(isinstance(content.get(name), str) for name in _REQUIRED):
        return _with_data(content)
    return None


def identity(event: JsonObject) -> str | None:
    """``source|id``, which CloudEvents makes unique; None when either is missing."""
    source, key = event.get("source"), event.get("id")
    if isinstance(source, str) and isinstance(key, str) and source and key:
        return f"{source}|{key}"
    return None


def _is_binary(record: Record) -> bool:
    names = {name for name, _ in record.headers if name.startswith(_PREFIX)}
    return "ce_specversion" in names or {"ce_id", "ce_source"} <= names


def _attributes(record: Record) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in record.headers:
        if name.startswith(_PREFIX) and value is not None:
            try:
                found[name.removeprefix(_PREFIX)] = value.decode()
            except UnicodeDecodeError as error:
                raise Undecodable("BAD_HEADER", "the header is not UTF-8", name) from error
    return found


def _with_data(content: JsonObject) -> JsonObject:
    encoded = content.get("data_base64")
    if encoded is None:
        return content
    if not isinstance(encoded, str):
        raise Undecodable("BAD_TYPE", "base64 text expected", "data_base64")
    try:
        data = orjson.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise Undecodable("BAD_JSON", "not base64 of a JSON document", "data_base64") from error
    return {**{name: value for name, value in content.items() if name != "data_base64"}, "data": data}
