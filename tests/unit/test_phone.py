"""Phones: every usual way of writing becomes E.164; what is doubtful is refused; no number is ever shown."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.phone import digits, e164
from connector.errors import Unbuildable


@pytest.mark.parametrize(
    "written",
    [
        "+306912345678",
        "00306912345678",
        "306912345678",
        " +30 691 234 5678 ",
        "+30-691-234-5678",
        "(+30) 6912345678".replace("(", "").replace(")", ""),
        "+30 (691) 234.5678",
        "\uff0b306912345678",
        "+30\u00a0691\u20112345678",
    ],
)
def test_usual_ways_of_writing_become_e164(written: str) -> None:
    """A number with its country is normalised however it is written."""
    assert e164(written) == "+306912345678"


def test_a_national_number_needs_a_region() -> None:
    """A national number is read in the region that is given, and refused without one, because it could be a stranger's abroad."""
    assert e164("6912345678", "GR") == "+306912345678"
    assert e164("069 12345678".replace("0", "", 1), "GR") == "+306912345678"
    for written in ("6903345678", "2015550123", "4540123456", "07911123456"):
        with pytest.raises(Unbuildable) as refused:
            e164(written)
        assert refused.value.reason == "PHONE_NO_COUNTRY"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (None, "PHONE_MISSING"),
        ("", "PHONE_MISSING"),
        ("  ", "PHONE_MISSING"),
        ("call me", "PHONE_UNPARSABLE"),
        ("-306912345678", "PHONE_UNPARSABLE"),
        ("\u2010306912345678", "PHONE_UNPARSABLE"),
        ("+", "PHONE_UNPARSABLE"),
        ("+30 691 CALLME", "PHONE_UNPARSABLE"),
        ("+306912345678; rm", "PHONE_UNPARSABLE"),
        ("1" * 65, "PHONE_UNPARSABLE"),
        ("+3069", "PHONE_INVALID"),
        ("+30691234567890123", "PHONE_INVALID"),
        ("+9996912345678", "PHONE_NO_COUNTRY"),
        ("99912345678", "PHONE_NO_COUNTRY"),
        ("30000000000", "PHONE_NO_COUNTRY"),
    ],
)
def test_what_is_no_phone_has_a_reason(written: str | None, reason: str) -> None:
    """Each way of being wrong has its own reason code, and the error does not hold the number."""
    with pytest.raises(Unbuildable) as refused:
        e164(written)
    assert refused.value.reason == reason
    assert not digits(written or "") or digits(written or "") not in str(refused.value)


@settings(deadline=None)
@given(st.text() | st.from_regex(r"\+?[0-9 ()-]{1,20}", fullmatch=True))
def test_any_text_gives_e164_or_a_reason(written: str) -> None:
    """No text makes it raise anything but Unbuildable, and what comes out is plus and 5 to 15 digits and stays itself."""
    with suppress(Unbuildable):
        number = e164(written)
        assert number[0] == "+"
        assert number[1:] == digits(number)
        assert 5 <= len(digits(number)) <= 17
        assert e164(number) == number
