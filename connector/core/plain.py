"""Any decoded value as plain JSON, and finding a place in it by a dotted path.

Avro brings datetimes, decimals, bytes and UUIDs; rules and templates shall see the same values whatever the encoding was.
"""

from __future__ import annotations

import base64
import math
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from connector.errors import Undecodable

DEEPEST = 64
"""Containers in containers an event may have; the event itself is the first."""

_AS_IS = frozenset({str, int, bool, type(None)})
_INDEX_DIGITS = 9  # no list of ours has more items; int() of a very long text is refused by Python


def plain(value: object, depth: int = 1) -> object:
    """The value in JSON's own types: times ISO 8601 (UTC, ``Z``), decimals as text, bytes as base64, NaN and infinity as null.

    Raises Undecodable TOO_DEEP beyond ``DEEPEST`` containers, BAD_TYPE for a value no encoding of ours gives.
    """
    if type(value) in _AS_IS:
        return value
    if isinstance(value, dict):
        _check_depth(depth)
        return {str(key): item if type(item) in _AS_IS else plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        _check_depth(depth)
        return [item if type(item) in _AS_IS else plain(item, depth + 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _text(value)


def _check_depth(depth: int) -> None:
    if depth > DEEPEST:
        raise Undecodable("TOO_DEEP", f"more than {DEEPEST} containers in each other")


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return _utc(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, UUID):
        return str(value)
    raise Undecodable("BAD_TYPE", f"{type(value).__name__} is no value of an event")


def _utc(value: datetime) -> str:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        aware = aware.astimezone(UTC)
    except OverflowError as error:  # within a day of year 1 or 9999
        raise Undecodable("BAD_TIME", "outside the years 1 to 9999 in UTC") from error
    precision = "microseconds" if aware.microsecond % 1000 else "milliseconds"
    return aware.isoformat(timespec=precision).removesuffix("+00:00") + "Z"


@lru_cache(maxsize=1024)
def steps(path: str) -> tuple[str, ...]:
    r"""The keys of a dotted path; ``\.`` is a dot inside a key."""
    return tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path))


def lookup(value: object, path: str) -> object:
    """What stands at a dotted path (a number indexes a list), or None when nothing does."""
    for key in steps(path):
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) <= _INDEX_DIGITS and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value
