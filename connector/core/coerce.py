"""Tolerant readers of JSON values the provider wrote: each gives a clean value or None, and never raises."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

MAX_BODY = 8 * 1024 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*(?:Z|([+-])(\d\d):?(\d\d))?",
    re.ASCII | re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,200}")
_INTEGER = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_NO_DIGITS = re.compile(r"[^0-9]+")
_AMOUNT = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_WHOLE_DIGITS = 12  # outputs carry decimal(18,6)
_PLACES = 6
_SMALLEST = Decimal("0.000001")
_MAX_INT_TEXT = 30
_LONGEST_TIME = 64  # what is longer is none, and is not kept in memory


def parse_json(body: bytes) -> object | None:
    """The JSON document in ``body`` with numbers exact (``Decimal`` for fractions), or None: not JSON, cut, too deep, too large.

    Bytes that are wrong in the body's encoding become U+FFFD instead of making the document unreadable: an id must not be lost because
    somebody's echoed text is Latin-1.
    """
    if len(body) > MAX_BODY:
        return None
    try:
        document: object = _JSON.decode(body.decode(json.detect_encoding(body), errors="replace"))
    except (ValueError, RecursionError):
        return None
    return document


def _decimal(digits: str) -> Decimal | None:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent beyond what Decimal knows
        return None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_INT_TEXT else None


def _nothing(_word: str) -> None:
    """NaN and the infinities, which JSON does not have."""


_JSON = json.JSONDecoder(parse_float=_decimal, parse_int=_whole, parse_constant=_nothing)


def first(document: Mapping[str, Any], *names: str) -> object | None:
    """The first of these members that is there and not null."""
    for name in names:
        value: object | None = document.get(name)
        if value is not None:
            return value
    return None


def unwrap(document: object) -> Mapping[str, Any] | None:
    """The root object, also out of a one-element array (Routee's documentation: tracking)."""
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    return document if isinstance(document, dict) else None


def objects(value: object, limit: int) -> list[Mapping[str, Any]]:
    """The objects of an array, or of one object in its place."""
    found: list[object] = value if isinstance(value, list) else [value]
    dicts: list[Mapping[str, Any]] = [item for item in found if isinstance(item, dict)]
    return dicts[:limit]


def printable(text: str) -> str:
    """``text`` as one line: what is not printable counts as white space, and white space is single."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    elif " " not in text:  # of all white space only this is printable
        return text
    return " ".join(text.split())


def string(value: object, limit: int) -> str | None:
    """A non-blank string in one printable line (no control characters, no lone surrogates), cut at ``limit``."""
    if not isinstance(value, str):
        return None
    return printable(value[: 4 * limit])[:limit] or None


def identifier(value: object) -> str | None:
    """An id as the provider writes them: printable ASCII without spaces, at most 200 characters. Integers are taken as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if _IDENTIFIER.fullmatch(value) else None


def integer(value: object) -> int | None:
    """An integer, written as number or text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 10**15 else None
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return None


def money(value: object) -> Decimal | None:
    """An amount as in the JSON text, written as number or text; more than six decimal places are rounded (outputs: decimal(18,6))."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        value = str(value)
    if isinstance(value, str):
        value = Decimal(value.strip()) if _AMOUNT.fullmatch(value.strip()) else None
    if not isinstance(value, Decimal) or not value.is_finite() or value.adjusted() >= _WHOLE_DIGITS:
        return None
    places = int(value.as_tuple().exponent)
    if places < -_PLACES:
        return value.quantize(_SMALLEST)
    return value.quantize(Decimal(1)) if places > 0 else value


def time_ms(value: object) -> int | None:
    """ISO 8601 to epoch milliseconds: 0 to 9 digits of a second, seconds optional, no zone means UTC."""
    return _moment(value) if isinstance(value, str) and len(value) <= _LONGEST_TIME else None


@lru_cache(maxsize=4096)
def _moment(text: str) -> int | None:
    """A flow's documents tell the same times again and again."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC)
    except ValueError:
        return None
    offset = (int(off_hours) * 60 + int(off_minutes)) * 60_000 if sign else 0
    whole = (moment - _EPOCH) // _MILLISECOND + int(f"{fraction or ''}000"[:3])
    return whole + offset if sign == "-" else whole - offset


def digits(phone: str) -> str:
    """A phone's ASCII digits, for comparing."""
    return _NO_DIGITS.sub("", phone)


def phones(value: object) -> list[str]:
    """Digits of every phone in a ``to``: a string, an array of them, or Voice's ``{phone, sip, viber}``."""
    if isinstance(value, dict):
        value = [value.get("phone"), value.get("viber")]
    found = value if isinstance(value, list) else [value]
    return [number for item in found[:20] if isinstance(item, str) and (number := digits(item[:60]))]


@lru_cache(maxsize=1024)
def squash(word: str) -> str:
    """A status word without case, spaces, underscores and dashes: ``No_Answer``, ``NoAnswer`` and ``NO ANSWER`` are one."""
    return "".join(char for char in word.casefold() if char.isalnum())
