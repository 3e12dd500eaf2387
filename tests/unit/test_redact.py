"""Redaction: whatever the text is, no secret, phone, token or address is left in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.redact import redact

words = st.text(alphabet="abcXYZ0189 +-", min_size=1, max_size=12)
FOUR_DIGITS = re.compile(r"\d(?:[\s().\-/+,:_]{0,3}\d){3,}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to +30 691 234 5678 failed", "to *** failed"),
        ("to 306912345678", "to ***"),
        ("pin 8472 is wrong", "pin *** is wrong"),
        ("٠١٢٣ are digits too", "*** are digits too"),
        ("HTTP 400 at step 3 of 5", "HTTP 400 at step 3 of 5"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("Basic YXBwOnNlY3JldHNlY3JldA==", "***"),
        ("bad token: xyz", "bad ***"),
        ("Invalid access token: 7f0f2c3e-8a51-4c3e-9d1c-0123456789ab", "Invalid access ***"),
        ("key eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx", "key ***"),
        (
            "org.springframework.http.converter.HttpMessageNotReadableException",
            "org.springframework.http.converter.HttpMessageNotReadableException",
        ),
        ("mail to jane.doe@example.com now", "mail to *** now"),
        ("a\x00b\nc\u200bd\ud800e", "a b c d e"),
        ("", ""),
    ],
)
def test_known_shapes_are_cut(text: str, expected: str) -> None:
    """Phones, codes, tokens and addresses go; what helps a reader stays."""
    assert redact(text) == expected


def test_secrets_are_cut_in_any_case_and_spacing() -> None:
    """A secret is found whatever its case and the white space between its words, and phones without their plus."""
    assert redact("body 'YOUR  CODE\nis abcd' for 306912345678", ["Your code is ABCD", "+306912345678"]) == "body '***' for ***"


def test_overlapping_secrets_leave_nothing() -> None:
    """Two secrets that overlap in the text are cut as one span."""
    assert redact("xabcdy", ["abc", "bcd"]) == "x***y"


def test_a_secret_at_the_window_s_end_leaves_no_beginning() -> None:
    """Long texts are cut before they are searched; a secret that lies across the cut does not show its first half."""
    secret = "s" * 50 + "t" * 50
    for shift in range(60, 160, 7):
        text = "1234567890" * 130 + " x" * (shift // 2) + " " + secret + "z" * 5000
        assert "ss" not in redact(text, [secret])


@given(st.text(), st.lists(words), st.integers(0, 300))
def test_no_secret_and_no_number_survives(text: str, secrets: list[str], limit: int) -> None:
    """The result holds no secret in any case, no four digits in a row, nothing unprintable, and is never longer than its limit."""
    for secret in secrets:
        text = text[:3] + secret.upper() + text[3:] + secret
    out = redact(text, secrets, limit)
    assert len(out) <= limit
    assert out.isprintable()
    assert not FOUR_DIGITS.search(out)
    for secret in secrets:
        plain = " ".join(secret.split()).lower()
        assert not plain or plain not in out.lower()


@given(st.text(), st.lists(st.text()), st.integers(0, 50))
def test_any_secret_is_allowed(text: str, secrets: list[str], limit: int) -> None:
    """Empty, blank, huge and odd secrets never raise."""
    assert len(redact(text * 50, secrets, limit)) <= limit
