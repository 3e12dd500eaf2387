"""The bricks of request validation: each check looks at one field and notes what the contract refuses.

Pure. An issue names a place and a kind, never a value: requests hold phone numbers and PINs.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_E164_OR_DIGITS = re.compile(r"\+?[1-9]\d{6,14}")
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Issue:
    """Something wrong with a request. ``refuses`` is False for oddities that the provider lets pass."""

    kind: str  # bounded, lower_snake
    path: Path
    message: str
    refuses: bool = True

    @property
    def where(self) -> str:
        """``flow[0].message.body``."""
        parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return parts.lstrip(".")


@dataclass(slots=True)
class Checks:
    """Collects issues. Every check returns the value if it is there and of the right type, else None."""

    issues: list[Issue] = field(default_factory=list)

    def note(self, kind: str, path: Path, message: str, *, refuses: bool = True) -> None:
        """Record an issue."""
        self.issues.append(Issue(kind, path, message, refuses))

    def _present(self, doc: dict[str, Any], key: str, at: Path, *, required: bool) -> Any:  # noqa: ANN401 - JSON
        value = doc.get(key)
        if value is None and required:
            self.note("missing_field", (*at, key), "field required")
        return value

    def _wrong_type(self, key: str, at: Path, wanted: str) -> None:
        self.note("wrong_type", (*at, key), f"must be {wanted}")

    def text(
        self, doc: dict[str, Any], key: str, at: Path, *, required: bool = False, longest: int | None = None, shortest: int = 1
    ) -> str | None:
        """A string of ``shortest``..``longest`` characters."""
        value = self._present(doc, key, at, required=required)
        if value is None:
            return None
        if not isinstance(value, str):
            self._wrong_type(key, at, "a string")
            return None
        if len(value) < shortest or (shortest and not value.strip()):
            self.note("missing_field" if not value.strip() else "too_short", (*at, key), f"at least {shortest} characters")
        elif longest is not None and len(value) > longest:
            self.note("too_long", (*at, key), f"at most {longest} characters")
        return value

    def flag(self, doc: dict[str, Any], key: str, at: Path) -> bool | None:
        """An optional boolean."""
        value = doc.get(key)
        if value is not None and not isinstance(value, bool):
            self._wrong_type(key, at, "a boolean")
            return None
        return value

    def number(
        self, doc: dict[str, Any], key: str, at: Path, least: float, most: float | None = None, *, required: bool = False
    ) -> float | None:
        """A number within bounds."""
        value = self._present(doc, key, at, required=required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong_type(key, at, "a number")
            return None
        self._bounds(value, key, at, least, most)
        return value

    def integer(
        self, doc: dict[str, Any], key: str, at: Path, least: int, most: int | None = None, *, required: bool = False
    ) -> int | None:
        """A whole number within bounds."""
        value = self._present(doc, key, at, required=required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong_type(key, at, "an integer")
            return None
        self._bounds(value, key, at, least, most)
        return value

    def _bounds(self, value: float, key: str, at: Path, least: float, most: float | None) -> None:
        if value < least or (most is not None and value > most):
            kind = "ttl_range" if key == "ttl" else "out_of_range"
            self.note(kind, (*at, key), f"must be between {least} and {most}" if most is not None else f"must be at least {least}")

    def mapping(self, doc: dict[str, Any], key: str, at: Path, *, required: bool = False) -> dict[str, Any] | None:
        """An object."""
        value = self._present(doc, key, at, required=required)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._wrong_type(key, at, "an object")
            return None
        return value

    def listing(self, doc: dict[str, Any], key: str, at: Path, *, required: bool = False) -> list[Any] | None:
        """An array."""
        value = self._present(doc, key, at, required=required)
        if value is None:
            return None
        if not isinstance(value, list):
            self._wrong_type(key, at, "an array")
            return None
        return value

    def word(self, doc: dict[str, Any], key: str, at: Path, known: Collection[str], *, required: bool = False) -> str | None:
        """One of a few words, in exactly this casing."""
        value = self.text(doc, key, at, required=required)
        if value is not None and value not in known:
            self.note("unknown_word", (*at, key), f"must be one of {', '.join(sorted(known))}")
        return value

    def url(self, doc: dict[str, Any], key: str, at: Path, *, required: bool = False, https: bool = False) -> str | None:
        """A URL of at most 1000 characters."""
        value = self.text(doc, key, at, required=required, longest=1000)
        if value and not value.startswith("https://" if https else ("http://", "https://")):
            self.note("bad_url", (*at, key), "must be an https URL" if https else "must be a URL")
        return value

    def identifier(self, doc: dict[str, Any], key: str, at: Path, *, required: bool = False) -> str | None:
        """A UUID."""
        value = self.text(doc, key, at, required=required)
        if value:
            try:
                uuid.UUID(value)
            except ValueError:
                self.note("bad_uuid", (*at, key), "must be a UUID")
        return value

    def phone(self, value: object, at: Path, *, plus: bool = True) -> str | None:
        """An E.164 number; ``plus`` says that the ``+`` is needed. Returns its digits."""
        if not isinstance(value, str):
            self.note("missing_field" if value is None else "wrong_type", at, "a phone number is required")
            return None
        if not (_E164 if plus else _E164_OR_DIGITS).fullmatch(value):
            self.note("bad_phone", at, "must be E.164")
            return None
        return value.lstrip("+")
