"""Durations, rates and sizes as people write them: ``500ms 5s 10m 2h 3d``, ``100/s``, ``64MB`` (docs/settings.md)."""

from __future__ import annotations

import re
from decimal import Decimal

_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_LONGEST_MS = 3_650 * _MS["d"]

_NUMBER = r"(?P<number>\d{1,15}(?:\.\d{1,6})?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(?P<unit>ms|s|m|h|d)", re.ASCII)
_RATE = re.compile(rf"{_NUMBER}\s*/\s*(?P<unit>[smh])", re.ASCII)
_SIZE = re.compile(rf"{_NUMBER}\s*(?P<unit>[kKMG]?i?B|[kmg]i?b)", re.ASCII)


def parse_duration(text: str) -> int:
    """Milliseconds of ``500ms``, ``5s``, ``10m``, ``2h``, ``3d`` or ``1.5h``. Raises ValueError with a text made for the user."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration: write a number and one of ms, s, m, h, d, as in 500ms, 5s, 10m, 2h or 3d")
    exact = Decimal(found["number"]) * _MS[found["unit"]]
    if exact != exact.to_integral_value():
        raise ValueError(f"{text!r} is finer than a millisecond")
    if exact > _LONGEST_MS:
        raise ValueError(f"{text!r} is longer than ten years")
    return int(exact)


def parse_rate(text: str) -> float:
    """Events per second of ``100/s``, ``600/m`` or ``5000/h``; always above 0. Raises ValueError with a text made for the user."""
    found = _RATE.fullmatch(text.strip())
    if found is None or not Decimal(found["number"]):
        raise ValueError(f"{text!r} is not a rate: write a number above 0 and /s, /m or /h, as in 100/s")
    return float(Decimal(found["number"]) / _SECONDS[found["unit"]])


def parse_size(text: str) -> int:
    """Bytes of ``64MB`` (powers of 1000) or ``64MiB`` (powers of 1024). Raises ValueError with a text made for the user."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size: write a number and one of B, kB, MB, GB, KiB, MiB, GiB, as in 64MB")
    return int(Decimal(found["number"]) * _BYTES[found["unit"].upper()])


def format_duration(milliseconds: int) -> str:
    """The shortest text that ``parse_duration`` reads back to the same value: 90000 → ``90s``, 3600000 → ``1h``."""
    for unit, factor in reversed(_MS.items()):
        if milliseconds and milliseconds % factor == 0:
            return f"{milliseconds // factor}{unit}"
    return "0s"
