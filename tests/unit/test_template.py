"""Texts and conditions: strict, bounded, and silent about the event in their errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.model import Notification
from connector.core.template import BadTemplate, Engine
from connector.errors import Unbuildable
from tests.unit.rules_text import event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text() | st.decimals(allow_nan=True) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def render(source: str, data: dict[str, Any] | None = None, env: dict[str, str] | None = None) -> str:
    """The text for an event with this data."""
    engine = Engine(env or {})
    template = engine.text(source, "rules.r.text")
    return template.render(engine.context(event(data)))


def holds(source: str, data: dict[str, Any] | None = None) -> bool:
    """Whether the condition holds for an event with this data."""
    engine = Engine({})
    return engine.condition(source, "rules.r.when").test(engine.context(event(data)))


def refusal(source: str, data: dict[str, Any] | None = None) -> Unbuildable:
    """Why the text cannot be made for an event with this data."""
    with pytest.raises(Unbuildable) as refused:
        render(source, data)
    return refused.value


@pytest.mark.parametrize(
    ("source", "data", "text"),
    [
        ("Hello", {}, "Hello"),
        ("50 % off {today}", {}, "50 % off {today}"),
        ("two lines\n", {}, "two lines"),
        ("{{ data.a }}\n", {"a": 1}, "1"),
        ("{{ data.a }}", {"a": "<b> & 'c'"}, "<b> & 'c'"),
        ("{{ data.a }}", {"a": 2**80}, str(2**80)),
        ("{{ data.a }}", {"a": date(2026, 11, 23)}, "2026-11-23"),
        ('{{ "%.2f" | format(data.a) }}', {"a": Decimal("49.9")}, "49.90"),
        ("{{ data.a.b }}", {"a": MappingProxyType({"b": 1})}, "1"),
        ("{{ data.a | default('x') }}", {}, "x"),
        ("{{ data.a | default('x') }}", {"a": None}, "x"),
        ("{{ data.a | join(', ') }}", {"a": ["x", "y"]}, "x, y"),
        ("{{ recipient.locale | default('en') }} {{ type }} {{ event_id }} {{ event.type }}", {}, "en t e-1 t"),
        ("{{ data.a.upper() }}", {"a": "x"}, "X"),
        ("{{ data.a[:3] }} {{ event.type[0:] }}", {"a": "abcdef"}, "abc t"),
        ("{% raw %}{{ data.a | nothing }}{% endraw %}{# is nonsense #}{{ data.a }}", {"a": 1}, "{{ data.a | nothing }}1"),
    ],
)
def test_texts_read_the_event(source: str, data: dict[str, Any], text: str) -> None:
    """Values appear as they are: no escaping, no cut digits, null as missing; one line break at the end goes."""
    assert render(source, data) == text


@pytest.mark.parametrize(
    ("source", "data", "reason"),
    [
        ("{{ data.a }}", {}, "TEMPLATE_UNDEFINED"),
        ("{{ data.a }}", {"a": None}, "TEMPLATE_UNDEFINED"),
        ("{{ tenant }}", {}, "TEMPLATE_UNDEFINED"),
        ("{{ data['a b'] }}", {}, "TEMPLATE_UNDEFINED"),
        ("{{ data.a[0] }}", {"a": [None]}, "TEMPLATE_FAILED"),
        ("{{ data.a }}", {"a": [1]}, "TEMPLATE_FAILED"),
        ("{{ data.a }}", {"a": {"b": 1}}, "TEMPLATE_FAILED"),
        ("{{ data.a }}", {"a": b"x"}, "TEMPLATE_FAILED"),
        ("{{ data.a + 1 }}", {"a": "x"}, "TEMPLATE_FAILED"),
        ("{{ data.a | int }}", {"a": "x"}, "TEMPLATE_FAILED"),
        ("{% for i in range(9000) %}{% for j in range(9000) %}{{ data.a }}{% endfor %}{% endfor %}", {"a": 1}, "TEMPLATE_FUEL"),
    ],
)
def test_what_cannot_be_said_is_refused(source: str, data: dict[str, Any], reason: str) -> None:
    """A missing value, a value that is no text, and an endless loop have their reasons, with the rule's path."""
    refused = refusal(source, data)
    assert (refused.reason, refused.path) == (reason, "rules.r.text")


def test_the_missing_name_is_told() -> None:
    """The detail of TEMPLATE_UNDEFINED is the name that the event lacks, not one that is there."""
    assert refusal("{{ data.there }} {{ data.order.id }}", {"there": 1, "order": {}}).detail == "data.order.id is missing"


@pytest.mark.parametrize("source", ["{{ data.a | int }}", "{{ data.a + 1 }}", "{{ data.a.b.c }}", "{{ data.a | sum }}", "{{ data.a() }}"])
def test_errors_never_quote_the_event(source: str) -> None:
    """Whatever fails, the value does not get into the error."""
    assert "s3cr3t" not in str(refusal(source, {"a": "s3cr3t"}))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ dat.a }}", "unknown name dat"),
        ("{{ dat.a[:3] }}", "unknown name dat"),
        ("{{ data.a", "unexpected end"),
        ("{% if %}{% endif %}", "unexpected"),
        ("{{ recipient.fone }}", "no fone"),
        ("{{ data.a | uper }}", "unknown filter uper"),
        ("{% if data.a is blank %}{% endif %}", "unknown test blank"),
        ("{{ data.a | default(data.b | nothing) }}", "unknown filter nothing"),
        ("{% include 'x' %}", "include is not available"),
        ("{{ debug() }}", "unknown name debug"),
        ("{{ env.RULE_X }}", "env.RULE_X is not set"),
        ("{{ 1 / 0 }}", "cannot be made"),
    ],
)
def test_what_never_works_is_found_at_load(source: str, words: str) -> None:
    """Unknown names, filters, tests and variables, syntax errors, and constants that fail are errors before any event comes."""
    with pytest.raises(BadTemplate, match=words):
        Engine({}).text(source, "rules.r.text")


def test_a_syntax_error_has_its_line() -> None:
    """The line counts within the text."""
    with pytest.raises(BadTemplate) as refused:
        Engine({}).text("one\ntwo\n{{ data. }}", "p")
    assert refused.value.line == 3


def test_env_is_what_is_passed_and_makes_constants() -> None:
    """Only the given variables are seen, and a text of them alone is finished at load."""
    template = Engine({"RULE_BRAND": "ACME"}).text("{{ env.RULE_BRAND }}!", "p")
    assert template.constant == "ACME!"


@pytest.mark.parametrize(
    ("source", "data", "answer"),
    [
        ("data.a > 0", {"a": 1}, True),
        ("data.a > 0", {"a": 0}, False),
        ("data.a > 0", {"a": Decimal("0.5")}, True),
        ("data.a is defined and data.a > 0", {}, False),
        ("data.a is defined", {"a": None}, False),
        ("'}}' != data.a", {"a": "x"}, True),
        ("data.a in ['x', 'y'] or false", {"a": "y"}, True),
        ("true", {}, True),
        ("false", {}, False),
    ],
)
def test_conditions(source: str, data: dict[str, Any], answer: bool) -> None:
    """A condition is an expression over the event."""
    assert holds(source, data) is answer


def test_a_condition_on_a_missing_value_is_refused() -> None:
    """Not silently false: the messaging owner writes "is defined" where a value may be missing."""
    with pytest.raises(Unbuildable, match=r"data\.a is missing"):
        holds("data.a > 0", {})


@pytest.mark.parametrize("source", ["{{ data.a }}", "data.a >", "(data.a", "data.a) %}x{% if (true", "", "datta.a"])
def test_a_wrong_condition_is_found_at_load(source: str) -> None:
    """A condition stands alone: no braces, no half expressions, no unknown names."""
    with pytest.raises(BadTemplate):
        Engine({}).condition(source, "p")


def test_the_tenant_is_seen() -> None:
    """A tenant that the event has can be read."""
    engine = Engine({})
    context = engine.context(replace(event(), tenant="shop"))
    assert engine.text("{{ tenant }}", "p").render(context) == "shop"


def test_the_end_of_the_process_is_no_bad_event() -> None:
    """SystemExit and its like pass through a rendering: only failures of the event become Unbuildable."""

    class Broken:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def render_template(self, name: str, **context: object) -> str:
            raise self.error

    engine = Engine({})
    template = engine.text("{{ data.a }}", "rules.r.text")
    for error, expected in ((SystemExit(), SystemExit), (OverflowError("s3cr3t"), Unbuildable)):
        engine._environment = Broken(error)  # type: ignore[assignment]
        with pytest.raises(expected) as raised:
            template.render({})
        assert "s3cr3t" not in str(raised.value)


def test_a_deep_event_ends_no_process() -> None:
    """An event nested a thousandfold is rendered or refused, never a recursion error."""
    deep: dict[str, Any] = {"a": 1}
    for _ in range(900):
        deep = {"a": deep}
    assert render("{{ data.x }} {{ event.type }}", {"x": "y", "deep": deep}) == "y t"
    assert refusal("{{ data.deep }}", {"deep": deep}).reason == "TEMPLATE_FAILED"


ENGINE = Engine({})
TEXTS = [
    ENGINE.text(source, f"p{number}")
    for number, source in enumerate(
        [
            "{{ data.a }}",
            "{{ data.a.b }}",
            "{{ data.a | upper }}",
            "{{ data.a | int }}",
            "{{ data.a + data.b }}",
            "{% for x in data.a %}{{ x }}{% endfor %}",
            "{{ data | length }}",
            "{{ data.a | tojson }}",
            "{{ data.a | float | round(2) }}",
            "{{ '%d' | format(data.a) }}",
            "{{ data.a[1:] | first | default('x') }}",
            "{% if data.a > data.b %}x{% endif %}",
            "{{ data.a | sort | join(',') }}",
            "{{ event | tojson }}",
            "{{ data.a | groupby('x') | list | length }}",
            "{{ 'x' * data.a }}",
        ]
    )
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]) | st.text(max_size=5), JSON))
def test_no_event_makes_a_text_raise_anything_else(data: dict[str, Any]) -> None:
    """Whatever the event holds, a text comes out or Unbuildable."""
    notification: Notification = event(data)
    context = ENGINE.context(notification)
    reasons: set[str] = set()
    for text in TEXTS:
        try:
            assert isinstance(text.render(context), str)
        except Unbuildable as refused:
            reasons.add(refused.reason)
    assert reasons <= {"TEMPLATE_UNDEFINED", "TEMPLATE_FAILED", "TEMPLATE_FUEL"}
