"""The values that settings are made of: how people write durations, rates, sizes, names and addresses, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, ValidationInfo, WithJsonSchema

from connector.core.durations import format_duration, parse_duration, parse_rate, parse_size

_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_HIGHEST_PORT: Final = 65_535
_GROUP: Final = re.compile(r"[A-Za-z0-9._-]{1,180}", re.ASCII)


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration: write the unit too, as in 500ms, 5s, 10m, 2h or 3d")  # noqa: TRY004 - pydantic's way
    milliseconds = parse_duration(value)
    if not milliseconds:
        raise ValueError("must be longer than nothing")
    return timedelta(milliseconds=milliseconds)


def _rate(value: object) -> float:
    if isinstance(value, str):
        return parse_rate(value)
    raise ValueError(f"{value!r} is not a rate: write it as in 100/s")


def _size(value: object) -> int:
    return parse_size(value) if isinstance(value, str) else _whole(value)


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is not a size: write it as in 64MB")


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value) or value in (".", ".."):
        raise ValueError("is no topic name: 1 to 249 letters, digits, . _ -")
    return value


def _group(value: str) -> str:
    if not _GROUP.fullmatch(value) or value in (".", ".."):
        raise ValueError("must be 1 to 180 letters, digits, . _ - (it prefixes the names of internal topics)")
    return value


def _weights(value: object) -> object:
    """One name, a list of names, or a map of weights."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return names
    if len(set(map(str, names))) != len(names):
        raise ValueError("names a topic twice")
    return dict.fromkeys(names, 1.0)


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > _HIGHEST_PORT:
        raise ValueError("must be an address and a port, as in 0.0.0.0:8080 or [::]:8080")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be a URL, as in https://hooks.example.com")
    _ = parts.port  # raises ValueError where it is no number
    return value.rstrip("/")


def _anchored(value: Path, info: ValidationInfo) -> Path:
    return Path(info.context["folder"]) / value if info.context else value


def _spell(value: timedelta) -> str:
    return format_duration(milliseconds(value))


def milliseconds(value: timedelta) -> int:
    """Whole milliseconds, as the core counts."""
    return value // timedelta(milliseconds=1)


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_spell, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)\s*$", "examples": ["500ms", "5s", "10m", "2h"]}),
]
Rate = Annotated[
    float,
    BeforeValidator(_rate),
    PlainSerializer(lambda v: f"{v:g}/s", return_type=str),
    WithJsonSchema({"type": "string", "examples": ["100/s"]}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    Field(ge=1),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["64MB"]}, {"type": "integer", "minimum": 1}]}),
]
Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Topic = Annotated[str, AfterValidator(_topic)]
Weights = Annotated[
    Mapping[Topic, Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]],
    BeforeValidator(_weights),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}, "minProperties": 1},
            ]
        }
    ),
]
GroupId = Annotated[str, AfterValidator(_group)]
Listen = Annotated[str, AfterValidator(_listen)]
Url = Annotated[str, AfterValidator(_url)]
FilePath = Annotated[Path, AfterValidator(_anchored)]
Count = Annotated[int, Field(ge=1)]
Properties = Annotated[Mapping[str, str | int | float | bool], Field(repr=False)]
