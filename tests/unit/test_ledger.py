"""What a lane knows of its events, and which input offsets may be committed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.identity import digest, flow_id
from connector.core.ledger import Ledger

E1 = digest("e1")
A, B = flow_id("e1", "a"), flow_id("e1", "b")


def test_an_offset_is_free_when_every_flow_of_its_event_has_a_row() -> None:
    """Not after the first of two; then all offsets at which the event was met."""
    ledger = Ledger()
    ledger.begin(E1, ("a", "b"), {"a": A, "b": B}, 7)
    ledger.events[E1].waiting.append(9)
    assert ledger.written(E1, A) == []
    assert ledger.written(E1, A) == []
    assert ledger.written(E1, B) == [7, 9]
    assert ledger.written(E1, B) == []


def test_an_event_is_open_until_its_last_flow_is_finished() -> None:
    """Then only the places of its last rows are kept."""
    ledger = Ledger()
    ledger.begin(E1, ("a", "b"), {"a": A, "b": B}, 7)
    ledger.written(E1, A)
    ledger.finish(E1, A, 100)
    assert ledger.events[E1].open == {B}
    ledger.written(E1, B)
    ledger.finish(E1, B, 101)
    assert ledger.events == {}
    assert ledger.settled.find(E1) == [100, 101]


def test_a_flow_that_finishes_again_is_kept_again() -> None:
    """Late news of a finished flow: a second place, no event."""
    ledger = Ledger()
    ledger.finish(E1, A, 100)
    ledger.finish(E1, A, 105)
    assert (ledger.events, ledger.settled.find(E1), ledger.written(E1, A)) == ({}, [100, 105], [])


def test_the_missing_rest_of_an_adopted_event() -> None:
    """Adopted flows have a row already; only the sibling that is started now holds the offset back."""
    ledger = Ledger()
    ledger.adopt(E1, ("a", "b"), "a", A)
    assert (ledger.events[E1].known, ledger.events[E1].unwritten) == ({"a"}, set())
    ledger.begin(E1, ("a", "b"), {"b": B}, 7)
    assert ledger.events[E1].known == {"a", "b"}
    assert ledger.written(E1, A) == []
    assert ledger.written(E1, B) == [7]


@dataclass
class Life:
    """What should be true of one event."""

    rules: tuple[str, ...]
    offset: int
    unwritten: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)


@given(st.lists(st.integers(1, 3), max_size=8), st.randoms(use_true_random=False))
def test_in_any_order_every_offset_is_freed_once(sizes: list[int], chance: random.Random) -> None:
    """Rows of many events in any order: an offset comes free with the last first row of its event, and never again."""
    ledger = Ledger(len(sizes))
    lives: dict[bytes, Life] = {}
    rows: list[tuple[bytes, str]] = []
    for offset, size in enumerate(sizes):
        rules = tuple("abc"[:size])
        flows = {rule: f"{offset}{rule}" for rule in rules}
        key = digest(str(offset))
        lives[key] = Life(rules, offset, set(flows.values()), set(flows.values()))
        ledger.begin(key, rules, flows, offset)
        rows += [(key, flow) for flow in flows.values()] * 2
    chance.shuffle(rows)
    freed: list[int] = []
    for number, (key, flow) in enumerate(rows):
        life = lives[key]
        second = flow not in life.unwritten
        life.unwritten.discard(flow)
        free = ledger.written(key, flow)
        assert free == ([life.offset] if not life.unwritten and not second else [])
        freed += free
        if second:
            ledger.finish(key, flow, number)
            life.unfinished.discard(flow)
        assert (key in ledger.events) is bool(life.unfinished)
    assert sorted(freed) == list(range(len(sizes)))
    assert len(ledger.settled) == sum(sizes)


@pytest.mark.parametrize("size", [0, 1000])
def test_nothing_is_covered_at_first(size: int) -> None:
    """What is, the claim says."""
    assert Ledger(size).covered == set()
