"""Structural matching: each form of condition, and that no event makes it raise."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.fields import Draft
from connector.core.match import Match, compile_match
from connector.core.template import Engine
from tests.unit.rules_text import event
from tests.unit.test_template import JSON


def compiled(doc: dict[str, Any]) -> Match:
    """The match of a rule, which must have no flaws."""
    draft = Draft(Engine({}), "r", ("rules", 0, "match"))
    match = compile_match(draft, doc)
    assert draft.flaws == []
    return match


def flaws(doc: dict[str, Any]) -> list[str]:
    """What is wrong with the match."""
    draft = Draft(Engine({}), "r", ())
    compile_match(draft, doc)
    return [flaw.what for flaw in draft.flaws]


@pytest.mark.parametrize(
    ("doc", "data", "answer"),
    [
        ({}, {}, True),
        ({"type": "t"}, {}, True),
        ({"type": "u"}, {}, False),
        ({"type": ["u", "t"]}, {}, True),
        ({"type": "t*"}, {}, True),
        ({"type": "*"}, {}, True),
        ({"event_id": "e-*"}, {}, True),
        ({"tenant": "x"}, {}, False),
        ({"data.a": "x*"}, {"a": "xyz"}, True),
        ({"data.a": "x*"}, {"a": "ax"}, False),
        ({"data.a": r"x\*"}, {"a": "x*"}, True),
        ({"data.a": r"x\*"}, {"a": "xy"}, False),
        ({"data.a": r"\*x*"}, {"a": "*xy"}, True),
        ({"data": {"a": {"b": 1}}}, {"a": {"b": 1}}, True),
        ({"data": {"a.b": 1}}, {"a": {"b": 1}}, True),
        ({"data.a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, False),
        ({"data.a.b": 1}, {"a": "text"}, False),
        ({"data.a": 1}, {"a": 1.0}, True),
        ({"data.a": 1}, {"a": "1"}, False),
        ({"data.a": "1"}, {"a": 1}, False),
        ({"data.a": 1}, {"a": True}, False),
        ({"data.a": True}, {"a": 1}, False),
        ({"data.a": True}, {"a": True}, True),
        ({"data.a": False}, {"a": 0}, False),
        ({"data.a": 0.1}, {"a": Decimal("0.1")}, True),
        ({"data.a": {"gte": 1, "lt": 10}}, {"a": 1}, True),
        ({"data.a": {"gte": 1, "lt": 10}}, {"a": 10}, False),
        ({"data.a": {"gt": 1}}, {"a": 1}, False),
        ({"data.a": {"lte": 1}}, {"a": Decimal(1)}, True),
        ({"data.a": {"gte": 1}}, {"a": "5"}, False),
        ({"data.a": {"gte": 0}}, {"a": True}, False),
        ({"data.a": {"gte": 0}}, {"a": Decimal("sNaN")}, False),
        ({"data.a": {"gte": 0}}, {"a": float("nan")}, False),
        ({"data.a": {"gte": 0}}, {}, False),
        ({"data.a": {"exists": True}}, {"a": 0}, True),
        ({"data.a": {"exists": True}}, {"a": None}, False),
        ({"data.a": {"exists": False}}, {"a": None}, True),
        ({"data.a": {"exists": False}}, {"a": ""}, False),
        ({"data.a": {"exists": True, "gt": 1}}, {"a": 2}, True),
        ({"recipient": {"phone": "+30*"}}, {}, True),
        ({"recipient.locale": {"exists": False}}, {}, True),
        ({"event.data.a": 1}, {"a": 1}, True),
        ({"type": "t", "data.a": [1, "x*", True]}, {"a": "xx"}, True),
    ],
)
def test_conditions(doc: dict[str, Any], data: dict[str, Any], answer: bool) -> None:
    """Each form matches what docs/rules.md says and nothing else; a missing field does not match."""
    assert compiled(doc).matches(event(data)) is answer


@pytest.mark.parametrize(
    ("doc", "words"),
    [
        ({"typ": "t"}, "no field typ"),
        ({"data": 1}, "data needs the name"),
        ({"data": {}}, "empty"),
        ({"type": {"name": "t"}}, "value of its own"),
        ({"recipient.fone": "x"}, "no field fone"),
        ({"type": "a*b"}, "only at the end"),
        ({"type": None}, "null"),
        ({"type": []}, "no value"),
        ({"type": [{"gte": 1}]}, "no value"),
        ({"data.a": {"gte": "1"}}, "needs a number"),
        ({"data.a": {"gte": True}}, "needs a number"),
        ({"data.a": {"exists": "yes"}}, "true or false"),
        ({"data.a": {"gte": 1, "b": 2}}, "stand alone"),
        ({"data..a": 1}, "name is empty"),
    ],
)
def test_what_means_nothing_is_a_flaw(doc: dict[str, Any], words: str) -> None:
    """A condition that can never be meant is told at load."""
    assert any(words in flaw for flaw in flaws(doc))


@pytest.mark.parametrize(
    ("doc", "types"),
    [
        ({"type": "t"}, {"t"}),
        ({"type": ["t", r"u\*"]}, {"t", "u*"}),
        ({"type": "t*"}, None),
        ({"type": ["t", "u*"]}, None),
        ({"type": {"exists": True}}, None),
        ({"data.a": 1}, None),
    ],
)
def test_the_index_knows_only_exact_types(doc: dict[str, Any], types: set[str] | None) -> None:
    """``types`` is given exactly where equality on the type is all that can match."""
    assert compiled(doc).types == (None if types is None else frozenset(types))


MATCHES = [
    compiled(doc)
    for doc in (
        {"data.a": "x*"},
        {"data.a": {"gte": 1, "lt": 2.5}},
        {"data.a.b": {"exists": False}},
        {"event": {"data": {"a": [1, "y", False]}}},
        {"data.a": {"lte": 10**40}},
    )
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), JSON))
def test_no_event_makes_matching_raise(data: dict[str, Any]) -> None:
    """Matching answers yes or no for every event."""
    assert {match.matches(event(data)) for match in MATCHES} <= {True, False}
