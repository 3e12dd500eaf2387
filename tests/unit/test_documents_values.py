"""Values the provider wrote: clean or None, never an exception."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import coerce


@given(st.binary())
def test_no_bytes_make_parse_json_raise(body: bytes) -> None:
    """Any bytes give a document or None."""
    coerce.parse_json(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", None),
        (b"<html>", None),
        (b'{"a": 1', None),
        (b"[" * 100_000, None),
        (b'"' + b"x" * coerce.MAX_BODY + b'"', None),
        (b'{"a": 0.10, "b": NaN}', {"a": Decimal("0.10"), "b": None}),
        (b"[1e99999999999999999999999]", [None]),
        (b"[" + b"9" * 5000 + b"]", [None]),
        (b"\xef\xbb\xbf[1]", [1]),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'{"id": "x", "text": "caf\xe9"}', {"id": "x", "text": "caf\ufffd"}),
    ],
)
def test_bodies_are_read_exactly_or_not_at_all(body: bytes, expected: object) -> None:
    """Fractions stay exact; depth, size, cut bodies and odd numbers are no danger; a wrong encoding costs letters, not the document."""
    assert coerce.parse_json(body) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01 00:00:01.123456789", 1_123),
        ("1970-01-01T00:01Z", 60_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01T00:00:00-0130", 5_400_000),
        ("0001-01-01T00:00:00+05:00", -62_135_614_800_000),
        ("2026-13-01T00:00:00Z", None),
        ("", None),
        ("string", None),
        (5, None),
    ],
)
def test_times_are_read_with_any_fraction(text: object, expected: int | None) -> None:
    """0 to 9 digits of a second, any offset, UTC where none is named."""
    assert coerce.time_ms(text) == expected


def test_what_is_too_long_for_a_time_is_not_kept() -> None:
    """Times are remembered, four thousand of them: whatever else a document has in their place is not, be it 60 kB."""
    kept = coerce._moment.cache_info().currsize
    assert [coerce.time_ms(f"{number}{'x' * 60_000}") for number in range(3)] == [None] * 3
    assert coerce._moment.cache_info().currsize == kept


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("0.0375"), "0.0375"),
        ("0.10", "0.10"),
        (3, "3"),
        (0.1, "0.1"),
        (Decimal("1E+3"), "1000"),
        ("0.12345675", "0.123457"),
        (Decimal("1e12"), None),
        (Decimal("NaN"), None),
        (True, None),
        ("", None),
        ("1,5", None),
    ],
)
def test_money_is_exact(value: object, expected: str | None) -> None:
    """Amounts keep their digits up to six places; what is no amount is None."""
    amount = coerce.money(value)
    assert (None if amount is None else str(amount)) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), ("2", 2), (" -1 ", -1), ("", None), (None, None), (True, None), (10**20, None), (Decimal("1.0"), None)]
)
def test_integers_are_read_from_numbers_and_text(value: object, expected: int | None) -> None:
    """``statusCode`` is an int in one service and text in the other; anything else is none."""
    assert coerce.integer(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(" a-1 ", "a-1"), (17, "17"), ("", None), ("a b", None), ("é", None), ("x" * 201, None), (True, None), (None, None)],
)
def test_identifiers_are_plain_ascii(value: object, expected: str | None) -> None:
    """An id can be put in a URL: printable ASCII, no spaces, bounded."""
    assert coerce.identifier(value) == expected


def test_phones_come_from_strings_arrays_and_voice_objects() -> None:
    """Only digits are kept; an empty or odd ``to`` gives none."""
    assert coerce.phones(["+30 691", "30692"]) == ["30691", "30692"]
    assert coerce.phones({"phone": "+3069", "sip": "x", "viber": ""}) == ["3069"]
    assert coerce.phones({"phone": None}) == coerce.phones(7) == coerce.phones("x") == []
