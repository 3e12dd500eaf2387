"""The POSTs of a flow, as its rows and its SendEvent carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_FIRST: Final = 4
_LAST: Final = 16


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST, as SendEvent's ``attempts[]`` shows it."""

    n: int
    at_ms: int
    outcome: str = "INTENT"
    http_status: int | None = None
    reason: str | None = None


def kept(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Of long refused sends the first and the last, and all that are in question: each row carries them, and a day of 429 is thousands."""
    middle = [line for line in attempts[_FIRST:-_LAST] if line.outcome != "REFUSED"]
    return (*attempts[:_FIRST], *middle, *attempts[max(_FIRST, len(attempts) - _LAST) :])
