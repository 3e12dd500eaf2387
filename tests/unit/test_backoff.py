"""Backoff: doubling, capped, with chance as an argument."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.backoff import Backoff


def test_delays_double_up_to_the_cap() -> None:
    """At the upper end of chance the delays are first, twice first, … and then the cap."""
    backoff = Backoff(100, 1_000)
    assert [backoff.delay_ms(n, 1.0) for n in range(1, 7)] == [100, 200, 400, 800, 1_000, 1_000]


def test_equal_jitter_keeps_half() -> None:
    """Equal jitter waits at least half, full jitter may not wait at all."""
    assert Backoff(100, 1_000).delay_ms(2, 0.0) == 100
    assert Backoff(100, 1_000, full=True).delay_ms(2, 0.0) == 0


@given(st.integers(1, 10**6), st.integers(1, 10**8), st.booleans(), st.integers(-3, 10**6), st.floats(-1, 2))
def test_every_delay_is_within_bounds(first: int, cap: int, full: bool, attempt: int, u: float) -> None:
    """No attempt number and no chance gives a negative delay or one above the cap."""
    backoff = Backoff(first, cap, full=full)
    assert 0 <= backoff.delay_ms(attempt, u) <= cap
    assert backoff.delay_ms(attempt, u) <= backoff.delay_ms(attempt + 1, u)
