r"""The structural condition of a rule: which events it is for (docs/rules.md).

Equal · [any of] · ``"prefix*"`` (``\*`` is a star) · {gte, gt, lte, lt} · {exists: true|false}; fields nested or dotted. A missing field,
null included, does not match. Numbers and texts are never equal; true and false are no numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from connector.core.fields import Draft, nearest
from connector.core.model import JsonObject, Notification
from connector.core.template import RECIPIENT

Test = Callable[[Any], bool]
Getter = Callable[[Notification], Any]

PLAIN = ("event_id", "type", "tenant")
OPEN = ("data", "event")
_RELATIONS: Mapping[str, Callable[[Any, Any], bool]] = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}
_OPERATORS = (*_RELATIONS, "exists")


@dataclass(frozen=True, slots=True)
class Match:
    """All conditions of a rule's ``match:``; an empty one matches every event. ``types``: the only event types it can match, if known."""

    source: JsonObject
    types: frozenset[str] | None = None
    _conditions: tuple[tuple[Getter, Test], ...] = field(default=(), repr=False, compare=False)

    def matches(self, notification: Notification) -> bool:
        """Whether the event fulfils every condition. Never raises."""
        return all(test(get(notification)) for get, test in self._conditions)


def compile_match(draft: Draft, doc: JsonObject) -> Match:
    """Compile ``match:``; what is wrong in it is noted in the draft."""
    conditions: list[tuple[Getter, Test]] = []
    _walk(draft, doc, (), conditions)
    return Match(doc, _only_types(doc), tuple(conditions))


def _walk(draft: Draft, doc: JsonObject, path: tuple[str, ...], conditions: list[tuple[Getter, Test]]) -> None:
    for key, value in doc.items():
        place, whole = draft.at(key), (*path, *key.split("."))
        if isinstance(value, Mapping) and not _is_operation(value):
            if any(name in _OPERATORS for name in value):
                place.flaw("gte, gt, lte, lt and exists stand alone, not beside fields")
            elif value:
                _walk(place, value, whole, conditions)
            else:
                place.flaw("the condition is empty", "{exists: true} asks whether the field is there")
            continue
        getter = _getter(place, whole)
        if getter is not None:
            conditions.append((getter, _operation(place, value) if isinstance(value, Mapping) else _equal(place, value)))


def _is_operation(value: JsonObject) -> bool:
    return bool(value) and all(key in _OPERATORS for key in value)


def _getter(draft: Draft, path: tuple[str, ...]) -> Getter | None:
    root, rest = path[0], path[1:]
    if "" in path:
        draft.flaw("a field's name is empty")
    elif root in PLAIN and not rest:
        return operator.attrgetter(root)
    elif root == "recipient" and len(rest) == 1 and rest[0] in RECIPIENT:
        return operator.attrgetter(f"recipient.{rest[0]}")
    elif root in OPEN and rest:
        return _walker(operator.attrgetter(root), rest)
    elif root == "recipient":
        draft.flaw(f"a recipient has no field {'.'.join(rest)}", nearest(".".join(rest), RECIPIENT))
    elif root in (*PLAIN, *OPEN):
        draft.flaw(f"{root} is a value of its own" if root in PLAIN else f"{root} needs the name of a field: {root}.order_id")
    else:
        draft.flaw(f"an event has no field {root}", nearest(root, (*PLAIN, "recipient", *OPEN)))
    return None


def _walker(start: Getter, path: tuple[str, ...]) -> Getter:
    def get(notification: Notification) -> object:
        value = start(notification)
        for part in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return value

    return get


def _equal(draft: Draft, value: object) -> Test:
    if isinstance(value, str):
        return _text(draft, value)
    if isinstance(value, bool):
        return lambda found: found is value
    if isinstance(value, int | float):
        return _number(operator.eq, value)
    if isinstance(value, list) and value:
        tests = tuple(_equal(draft.at(index), one) for index, one in enumerate(value))
        return lambda found: any(test(found) for test in tests)
    if value is None:
        draft.flaw("null matches nothing", "{exists: false} asks whether the field is missing")
    else:
        draft.flaw("this is no value to compare with", "a text, a number, true or false, or a list of them")
    return lambda _found: False


def _text(draft: Draft, pattern: str) -> Test:
    literal, stars = _unescaped(pattern)
    if not stars:
        return lambda found: isinstance(found, str) and found == literal
    if stars != [len(literal)]:
        draft.flaw("a star may stand only at the end", r"\* is the character itself")
    return lambda found: isinstance(found, str) and found.startswith(literal)


def _unescaped(pattern: str) -> tuple[str, list[int]]:
    r"""The text without its stars, with ``\*`` as a plain star, and where the stars stood."""
    parts = pattern.split(r"\*")
    literal, stars = "", []
    for number, part in enumerate(parts):
        literal += "*" if number else ""
        for index, piece in enumerate(part.split("*")):
            if index:
                stars.append(len(literal))
            literal += piece
    return literal, stars


def _operation(draft: Draft, value: JsonObject) -> Test:
    tests: list[Test] = []
    for name, operand in value.items():
        if name == "exists":
            if not isinstance(operand, bool):
                draft.at(name).flaw("exists is true or false")
            tests.append(_exists if operand is True else _is_missing)
        elif isinstance(operand, bool) or not isinstance(operand, int | float):
            draft.at(name).flaw(f"{name} needs a number")
        else:
            tests.append(_number(_RELATIONS[name], operand))
    return lambda found: all(test(found) for test in tests)


def _exists(found: object) -> bool:
    return found is not None


def _is_missing(found: object) -> bool:
    return found is None


def _number(relation: Callable[[Any, Any], bool], operand: float) -> Test:
    exact = Decimal(str(operand))  # Avro decimals are exact: 0.1 in a rule means 0.1, not the nearest binary fraction

    def test(found: object) -> bool:
        if isinstance(found, Decimal):
            return not found.is_nan() and bool(relation(found, exact))
        return isinstance(found, int | float) and not isinstance(found, bool) and bool(relation(found, operand))

    return test


def _only_types(doc: JsonObject) -> frozenset[str] | None:
    """The exact event types that ``type:`` names, for the routing table's index; None when it names none or uses more than equality."""
    wanted = doc.get("type")
    names = wanted if isinstance(wanted, list) else [wanted]
    literals = [_unescaped(name) for name in names if isinstance(name, str)]
    if len(literals) < len(names) or any(stars for _, stars in literals):
        return None
    return frozenset(literal for literal, _ in literals)
