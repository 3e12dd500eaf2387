"""Durations, rates and sizes: read what people write, refuse the rest with a helpful text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.durations import format_duration, parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("5s", 5_000),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("3d", 259_200_000),
        ("1.5h", 5_400_000),
        (" 0.5s ", 500),
        ("0s", 0),
    ],
)
def test_durations_are_milliseconds(text: str, milliseconds: int) -> None:
    """Every documented unit is read, with a decimal part where it is exact."""
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "-5s", "s", "1e3s", "0.5ms", "5S", "٣s", "99999d", "5s5s", "1.s"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    """A wrong duration raises ValueError that repeats what was written."""
    with pytest.raises(ValueError, match="'"):
        parse_duration(text)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=3_650 * 86_400_000))
def test_a_printed_duration_reads_back(milliseconds: int) -> None:
    """format_duration is the inverse of parse_duration."""
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize(("text", "per_second"), [("100/s", 100.0), ("600/m", 10.0), ("7200 / h", 2.0), ("0.5/s", 0.5)])
def test_rates_are_per_second(text: str, per_second: float) -> None:
    """A rate is given back per second."""
    assert parse_rate(text) == per_second


@pytest.mark.parametrize("text", ["", "100", "0/s", "-1/s", "100/day", "100/ms", "inf/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """A rate is a positive number per second, minute or hour."""
    with pytest.raises(ValueError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "size"), [("64MB", 64_000_000), ("1kB", 1_000), ("64 MiB", 64 * 2**20), ("2GB", 2 * 10**9), ("10B", 10), ("1.5KiB", 1536)]
)
def test_sizes_are_bytes(text: str, size: int) -> None:
    """Decimal units are powers of 1000, binary ones of 1024."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64", "64M", "-1MB", "MB", "1TB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A size has a number and a known unit."""
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_a_number_or_valueerror(text: str) -> None:
    """No text makes a parser raise anything but ValueError."""
    for parse in (parse_duration, parse_rate, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError:
            continue
