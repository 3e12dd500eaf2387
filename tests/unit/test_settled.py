"""The index of settled flows: everything is found again, in 24 bytes a flow."""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.settled import SettledIndex, short

digests = st.integers(0, 30).map(lambda n: hashlib.blake2b(bytes([n]), digest_size=16).digest())
entries = st.lists(st.tuples(st.one_of(digests, st.binary(min_size=16, max_size=16)), st.integers(0, 2**63)), max_size=300)


@given(entries, st.integers(0, 500))
def test_it_is_a_multimap(some: list[tuple[bytes, int]], expected: int) -> None:
    """Every offset of a digest is found, oldest first, whatever else is there and however often it grew."""
    index = SettledIndex(expected)
    known: dict[bytes, list[int]] = defaultdict(list)
    for digest, offset in some:
        index.add(digest, offset)
        known[digest].append(offset)
    assert len(index) == len(some)
    for digest, offsets in known.items():
        same_half = [offset for other, values in known.items() if other[:8] == digest[:8] for offset in values]
        assert index.find(digest) == sorted(same_half)
        assert set(offsets) <= set(index.find(digest))


@given(entries, st.integers(0, 500), st.integers(0, 300))
def test_many_at_once_are_the_same_as_one_by_one(some: list[tuple[bytes, int]], expected: int, first: int) -> None:
    """Whether the index was made for so many or has to grow."""
    single, many = SettledIndex(), SettledIndex(expected)
    for digest, offset in some:
        single.add(digest, offset)
    for part in (some[:first], some[first:]):
        many.extend(array("Q", [short(digest) for digest, _ in part]), array("Q", [offset for _, offset in part]))
    assert len(many) == len(single)
    assert all(many.find(digest) == single.find(digest) for digest, _ in some)


@given(entries)
def test_nothing_is_found_that_was_not_added(some: list[tuple[bytes, int]]) -> None:
    """Another digest has no offsets."""
    index = SettledIndex()
    for digest, offset in some:
        index.add(digest, offset)
    absent = b"\xff" * 16
    if all(digest[:8] != absent[:8] for digest, _ in some):
        assert index.find(absent) == []


def test_a_digest_of_zeros_is_kept() -> None:
    """Zero marks an empty slot, so it is stored as one."""
    index = SettledIndex()
    index.add(bytes(16), 7)
    assert index.find(bytes(16)) == [7]
    assert index.find(bytes(7) + b"\x01" + bytes(8)) == [7]  # confirmed by reading the row


def test_many_at_once_make_it_grow() -> None:
    """However many they are for its size."""
    keys, offsets = array("Q", range(1, 1001)), array("Q", range(1000))
    index = SettledIndex()
    index.extend(keys, offsets)
    assert [index.find(key.to_bytes(8, "big") + bytes(8)) for key in keys] == [[offset] for offset in offsets]


def test_only_eight_bytes_are_compared() -> None:
    """A hit may be another event: the row tells."""
    index = SettledIndex()
    index.add(b"a" * 16, 1)
    index.add(b"a" * 8 + b"b" * 8, 2)
    assert index.find(b"a" * 16) == [1, 2]


@pytest.mark.parametrize("expected", [0, 20_000])
def test_it_takes_at_most_24_bytes_a_flow(expected: int) -> None:
    """Just after growing too; the least size is a kilobyte."""
    index = SettledIndex(expected)
    for number in range(20_000):
        index.add(hashlib.blake2b(number.to_bytes(4, "big"), digest_size=16).digest(), number)
        held = index.size_bytes
        assert held == index._keys.itemsize * len(index._keys) + index._offsets.itemsize * len(index._offsets)
        if not expected and number > 200:
            assert held <= 24 * (number + 1)
    assert held <= 24 * 20_000
