"""Text from outside, made fit for outputs and logs: no personal data, no control characters, a bounded length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from connector.core.coerce import printable

MARK = "***"
_ELLIPSIS = "…"

# What one pattern may need to see whole: nothing shorter than this before a cut window's end is trusted.
_REACH = 320

_PATTERNS = (
    # A phone, PIN or card: four digits or more, however grouped. Shorter numbers (an HTTP status, a count) stay readable.
    re.compile(r"\+?\d(?:[\s().\-/+,:_]{0,3}\d){3,}"),
    re.compile(r"\bbearer\s+\S+|\bbasic\s+[\w+/=]{16,}", re.IGNORECASE),
    re.compile(r"\b(?:token|secret|password|pin|code)[\"']?\s*[=:]\s*\S+", re.IGNORECASE),
    # Routee's access tokens are bare UUIDs, and Spring quotes them back: "Invalid access token: <uuid>".
    re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
    re.compile(r"(?<![^\s@])[^\s@]+@[^\s@]+"),
)
# Opaque words (JWTs, keys) hold digits; long Java class names, which help, do not.
_LONG_WORD = re.compile(r"(?<![\w\-+/=.~])[\w\-+/=.~]{24,}")


def redact(text: str, secrets: Iterable[str] = (), limit: int = 200) -> str:
    """``text`` without secrets, at most ``limit`` characters long.

    Cut out: each of ``secrets`` wherever it stands (any case, any white space between its words), runs of four or more digits even with
    separators (so every phone, with or without ``+``), bearer tokens, ``token: …``-like pairs, UUIDs, long opaque words, e-mail addresses.
    Control, format and lone surrogate characters become spaces. Never raises.
    """
    hidden = {plain for secret in secrets if (plain := printable(secret))}
    reach = max(_REACH, *(len(secret) for secret in hidden)) if hidden else _REACH
    window = 4 * limit + 2 * reach
    out = _cut(printable(text[:window]), hidden)
    if len(text) > window:
        # What began near the window's end was not seen whole, so no pattern could have matched it.
        out = out[:-reach]
    return out if len(out) <= limit else out[: max(0, limit - 1)] + _ELLIPSIS[:limit]


def _cut(text: str, hidden: Iterable[str]) -> str:
    """All spans are found on the untouched text and united: one cut can never hide a part of another from its pattern."""
    out: list[str] = []
    end = 0
    for first, last in sorted(_spans(text, hidden)):
        if first > end or not out:
            out += (text[end:first], MARK)
        end = max(end, last)
    return "".join(out) + text[end:]


def _spans(text: str, hidden: Iterable[str]) -> Iterator[tuple[int, int]]:
    for secret in hidden:
        yield from (match.span() for match in re.finditer(re.escape(secret), text, re.IGNORECASE))
    for pattern in _PATTERNS:
        yield from (match.span() for match in pattern.finditer(text))
    for match in _LONG_WORD.finditer(text):
        if any(char.isdigit() for char in match.group()):
            yield match.span()
