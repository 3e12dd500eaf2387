"""The fields of a step: texts with their limits, put together to the tree from which a step's JSON is made.

A limit is checked by the same function at the start, where the text is constant, and for each event, where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from connector.core.model import JsonObject
from connector.core.template import BadTemplate, Engine, Template
from connector.errors import Unbuildable

Path = tuple[str | int, ...]
Node = Any  # JSON, in which texts may be Fields


class Complaint(NamedTuple):
    """Why a text is refused: reason code and words without the text itself."""

    reason: str
    what: str


Check = Callable[[str], Complaint | None]
Shape = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Field:
    """One text of a message. ``personal`` ones are cut out of any error text later."""

    template: Template
    check: Check
    shape: Shape | None = None
    personal: bool = False

    def value(self, context: JsonObject) -> str:
        """The text for one event. Raises Unbuildable with the field's path."""
        text = self.template.render(context)
        if self.shape is not None:
            text = self.shape(text)
        complaint = self.check(text)
        if complaint is not None:
            raise Unbuildable(complaint.reason, complaint.what, self.template.path)
        return text


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong in a rule: where in the file's data, what, and what to do.

    ``line`` counts from 1 within a text of several lines; 0: all of it.
    """

    path: Path
    what: str
    hint: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """A place in the rule that is being compiled. Flaws are collected, so that all of them are told at once."""

    engine: Engine
    name: str  # of the rule
    path: Path  # in the file's data
    inner: Path = ()  # in the rule
    flaws: list[Flaw] = field(default_factory=list)
    warnings: list[Flaw] = field(default_factory=list)

    def at(self, *parts: str | int) -> Draft:
        """The place below this one."""
        return Draft(self.engine, self.name, (*self.path, *parts), (*self.inner, *parts), self.flaws, self.warnings)

    def flaw(self, what: str, hint: str = "", line: int = 0) -> None:
        """Note an error at this place."""
        self.flaws.append(Flaw(self.path, what, hint, line))

    def warn(self, what: str, hint: str = "") -> None:
        """Note something odd at this place that is no error."""
        self.warnings.append(Flaw(self.path, what, hint))

    @property
    def place(self) -> str:
        """Dotted, as in ``rules.order-shipped.steps[0].sms.body``."""
        return "rules." + self.name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.inner)

    def text(self, source: str, check: Check, *, shape: Shape | None = None, personal: bool = False) -> Node:
        """A Field, or the finished string where nothing in it depends on the event."""
        template = self.template(source)
        made = Field(template, check, shape, personal)
        if template.constant is None:
            return made
        text = shape(template.constant) if shape else template.constant
        complaint = check(text)
        if complaint is not None:
            self.flaw(complaint.what)
        return text

    def template(self, source: str) -> Template:
        """A compiled text; a wrong one is noted, and stands for an empty text."""
        return self._compiled(self.engine.text, source)

    def condition(self, source: str) -> Template:
        """A compiled condition; a wrong one is noted."""
        return self._compiled(self.engine.condition, source)

    def _compiled(self, compile_text: Callable[[str, str], Template], source: str) -> Template:
        try:
            return compile_text(source, self.place)
        except BadTemplate as error:
            self.flaw(f"{self.place}: {error}", error.hint, error.line)
            return Template(self.place, source, constant=None)

    def tree(self, value: Any, *, personal: bool = False) -> Node:  # noqa: ANN401 - any JSON
        """Free JSON of a rule (``params``, ``extra``, ``restrictions``): every string in it is a text, everything else stays as it is."""
        if isinstance(value, str):
            return self.text(value, anything, personal=personal)
        if isinstance(value, Mapping):
            return {key: self.at(key).tree(inner, personal=personal) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.at(index).tree(inner, personal=personal) for index, inner in enumerate(value)]
        return value


def fill(node: Node, context: JsonObject, secrets: list[str]) -> Any:  # noqa: ANN401 - JSON
    """The tree with its Fields rendered; personal texts are added to ``secrets``. Raises Unbuildable."""
    if isinstance(node, str):
        return node
    if isinstance(node, Field):
        text = node.value(context)
        if node.personal:
            secrets.append(text)
        return text
    if isinstance(node, dict):
        return {key: fill(inner, context, secrets) for key, inner in node.items()}
    if isinstance(node, list):
        return [fill(inner, context, secrets) for inner in node]
    return node


def merged(under: dict[str, Node], over: Mapping[str, Node]) -> dict[str, Node]:
    """``over`` laid on ``under``, mapping by mapping."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result


# ----------------------------------------------------------------------------------------------------------------- checks


def anything(_text: str) -> Complaint | None:
    """No limit."""
    return None


def length(shortest: int, longest: int) -> Check:
    """Characters, counted as UTF-16 units: Routee does not say how it counts, and this is never the smaller number. Blank is empty."""

    def check(text: str) -> Complaint | None:
        if shortest and not text.strip():
            return Complaint("FIELD_EMPTY", "the text is empty")
        if len(text) * 2 <= longest and len(text) >= shortest:
            return None
        units = len(text) + sum(character > "\uffff" for character in text)
        if units > longest:
            return Complaint("FIELD_TOO_LONG", f"the text has {units} characters, at most {longest} are allowed")
        if len(text) < shortest:
            return Complaint("FIELD_TOO_SHORT", f"the text has {len(text)} characters, at least {shortest} are needed")
        return None

    return check


def url(schemes: tuple[str, ...], longest: int = 1000) -> Check:
    """A whole address of one of the schemes, without blanks."""

    def check(text: str) -> Complaint | None:
        if len(text) > longest:
            return Complaint("FIELD_TOO_LONG", f"the address has {len(text)} characters, at most {longest} are allowed")
        found = _URL.fullmatch(text)
        if found is None or found["scheme"].lower() not in schemes:
            return Complaint("FIELD_INVALID", f"this is no whole {' or '.join(schemes)} address")
        return None

    return check


def one_of(known: Iterable[str], what: str) -> Check:
    """One of a documented list, as it is written there."""
    words = tuple(known)

    def check(text: str) -> Complaint | None:
        return None if text in words else Complaint("FIELD_INVALID", f"this is no {what} that Routee knows: {', '.join(words)}")

    return check


def uuid(text: str) -> Complaint | None:
    """A UUID in its usual form."""
    is_one = _UUID.fullmatch(text) is not None
    return None if is_one else Complaint("FIELD_INVALID", "this is no UUID; one looks like 0aac888f-2ee2-4112-9659-1755a951966a")


def sms_sender(text: str) -> Complaint | None:
    """Numeric up to 16 digits without +, or alphanumeric up to 11 (Routee's documentation: Standard Failover)."""
    if not text.strip():
        return Complaint("FIELD_EMPTY", "the sender is empty")
    if text.isascii() and text.isdigit():
        return Complaint("FIELD_TOO_LONG", "a numeric sender has at most 16 digits") if len(text) > _SENDER_DIGITS else None
    if text.startswith("+"):
        return Complaint("FIELD_INVALID", "a numeric sender is written without +")
    if len(text) > _SENDER_LETTERS:
        return Complaint("FIELD_TOO_LONG", "an alphanumeric sender has at most 11 characters")
    return None if text.isprintable() else Complaint("FIELD_INVALID", "the sender holds characters that cannot be shown")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the known word that was probably meant, else all of them."""
    words = list(known)
    near = get_close_matches(word.lower(), words, 1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(words)}"


not_blank: Check = length(1, 10_000)
https: Check = url(("https",))
web: Check = url(("https", "http"), 2000)

_URL = re.compile(
    r"(?P<scheme>[a-zA-Z]+)://(?:[^\s/?#@]*@)?(?:[^\s/?#@:\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:[/?#][^\s\x00-\x1f\x7f]*)?"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_SENDER_DIGITS = 16
_SENDER_LETTERS = 11
