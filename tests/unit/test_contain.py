"""A defect of ours costs one record, not a partition."""

from __future__ import annotations

import pytest

from connector.core.contain import contain
from connector.errors import LaneLost, Unbuildable, Undecodable


def _raise(error: Exception) -> None:
    raise error


def test_what_goes_well_passes_through() -> None:
    """The result is the work's."""
    assert contain(Unbuildable, lambda: 7) == 7


@pytest.mark.parametrize("error", [KeyError("+306912345678"), RecursionError(), ValueError("secret")])
def test_a_defect_becomes_an_input_error_that_tells_no_value(error: Exception) -> None:
    """Reason INTERNAL, the exception's type, and nothing of its text."""
    with pytest.raises(Undecodable) as caught:
        contain(Undecodable, lambda: _raise(error))
    assert caught.value.reason == "INTERNAL"
    assert type(error).__name__ in caught.value.detail
    assert "306912345678" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("error", [LaneLost("fenced"), Unbuildable("PHONE_MISSING", "no phone")])
def test_our_own_errors_keep_their_meaning(error: Exception) -> None:
    """They say what is to be done, so they are not touched."""
    with pytest.raises(type(error)) as caught:
        contain(Undecodable, lambda: _raise(error))
    assert caught.value is error
