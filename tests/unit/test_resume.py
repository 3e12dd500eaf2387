"""Where a lane's input goes on, and when no place can be trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.resume import Places, Remembered, Resumed, resume
from connector.core.rows import Checkpoint
from connector.errors import LaneRefused

OFFSETS = st.integers(0, 50)


def checkpoint(place: int | None) -> Checkpoint:
    """A checkpoint with that IN."""
    return Checkpoint(-1, {}, None, place)


def remembered(place: int | None = None, *, found: bool = True, flows: bool = True, whole: bool = True) -> Remembered:
    """A journal's memory; ``found``: with a checkpoint."""
    return Remembered(checkpoint(place) if found else None, has_flows=flows, is_whole=whole)


NEW = remembered(found=False, flows=False)


@pytest.mark.parametrize("begin", [3, 9])
def test_a_group_that_never_ran_begins_where_the_settings_say(begin: int) -> None:
    """Nothing committed, nothing in the journal: ``start_from``; what that passes over has a number."""
    assert resume("in/0", Places(None, 3, 9, begin), NEW) == Resumed(begin, passed=begin - 3)


@pytest.mark.parametrize("begin", [0, 90])
def test_lost_group_offsets_are_taken_from_the_checkpoint(begin: int) -> None:
    """Committed offsets that expired or were deleted: on from IN, whatever ``start_from`` says; neither again nor past anything."""
    assert resume("in/0", Places(None, 0, 90, begin), remembered(40)) == Resumed(40)


@pytest.mark.parametrize(("committed", "start"), [(10, 40), (40, 40), (55, 55)])
def test_the_further_of_the_two_counts(committed: int, start: int) -> None:
    """A commit lags behind IN, or goes ahead of it; a group that was set back by hand is not followed."""
    assert resume("in/0", Places(committed, 0, 90, 0), remembered(40)) == Resumed(start)


def test_a_new_journal_of_a_group_that_has_read_is_refused() -> None:
    """The journal was deleted: what was sent is forgotten. The message names the way out."""
    with pytest.raises(LaneRefused, match="topics begin"):
        resume("in/0", Places(7, 0, 9, 0), NEW)


def test_a_new_journal_of_a_group_that_has_read_nothing_is_fine() -> None:
    """An offset committed at the log's first record forgets nothing."""
    assert resume("in/0", Places(3, 3, 9, 3), NEW) == Resumed(3)


def test_an_expired_journal_is_fine() -> None:
    """Retention has taken all rows: what they spoke of is too old to be sent; on from the committed offset."""
    assert resume("in/0", Places(7, 0, 9, 0), remembered(found=False, flows=False, whole=False)) == Resumed(7)


def test_rows_without_any_place_are_refused() -> None:
    """Flows are known, but not how far the input was read: neither ``earliest`` nor ``latest`` would be right."""
    with pytest.raises(LaneRefused, match="reset-offsets"):
        resume("in/0", Places(None, 0, 9, 0), remembered(found=False, whole=False))


@pytest.mark.parametrize("places", [Places(12, 0, 9, 0), Places(None, 0, 9, 0), Places(3, 0, 9, 0)])
def test_an_input_that_ends_before_it_was_read_to_is_refused(places: Places) -> None:
    """Made anew or cut off: its offsets mean other records now."""
    with pytest.raises(LaneRefused, match="group_id"):
        resume("in/0", places, remembered(12))


@pytest.mark.parametrize("committed", [None, 4, 6])
def test_unread_input_that_is_gone_is_counted(committed: int | None) -> None:
    """Retention was quicker than the group: on from the first record there is, and the loss has a number."""
    assert resume("in/0", Places(committed, 10, 20, 10), remembered(6)) == Resumed(10, gone=4)


@given(st.none() | OFFSETS, st.none() | OFFSETS, OFFSETS, OFFSETS, st.booleans(), st.booleans(), st.booleans())
def test_nothing_that_was_read_is_read_again(
    committed: int | None, place: int | None, one: int, other: int, found: bool, flows: bool, whole: bool
) -> None:
    """Refused, or on from no earlier than anybody got to, within what the input holds; leaving out only what is gone."""
    first, end = sorted((one, other))
    memory = remembered(place, found=found, flows=flows, whole=whole)
    try:
        resumed = resume("in/0", Places(committed, first, end, first), memory)
    except LaneRefused:
        return
    known = [known for known in (committed, place if found else None) if known is not None]
    assert resumed.start - resumed.gone == max(known, default=first)
    assert first <= resumed.start <= end
