"""The contiguous prefix of what is done."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.prefix import Prefix

taken = st.lists(st.integers(0, 60), unique=True).map(sorted)


@given(taken, st.randoms(use_true_random=False))
def test_the_position_is_behind_everything_done_and_nothing_open(offsets: list[int], chance) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Whatever the order in which things are done: next-to-read is behind the last of the done prefix; it never falls."""
    prefix = Prefix(offsets[0] if offsets else 5)
    waiting = list(offsets)
    done: set[int] = set()
    order = list(offsets)
    chance.shuffle(order)
    for offset in offsets:
        prefix.take(offset)
    before = prefix.position
    for offset in order:
        prefix.done(offset)
        done.add(offset)
        while waiting and waiting[0] in done:
            waiting.pop(0)
        first_open = next((one for one in offsets if one not in done), None)
        behind = [one for one in offsets if first_open is None or one < first_open]
        assert prefix.position == (behind[-1] + 1 if behind else before)
        assert prefix.open == len(waiting)
    assert prefix.open == 0


@given(taken, taken)
def test_what_is_delivered_again_never_takes_it_back(first: list[int], again: list[int]) -> None:
    """A seek backwards repeats offsets."""
    prefix = Prefix(0)
    for offset in first:
        prefix.take(offset)
        prefix.done(offset)
    before = prefix.position
    for offset in again:
        prefix.take(offset)
        prefix.done(offset)
    assert prefix.position == max(before, again[-1] + 1 if again else 0)


def test_done_before_taken_is_remembered() -> None:
    """A callback may be applied before its place in the queue is counted."""
    prefix = Prefix(3)
    prefix.done(4)
    prefix.take(3)
    prefix.take(4)
    assert prefix.position == 3
    prefix.done(3)
    assert prefix.position == 5
