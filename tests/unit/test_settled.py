"""The index of settled flows: everything the journal still holds is found again, in 20 bytes a flow, and no step takes long."""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.settled import SettledIndex, short

digests = st.integers(0, 30).map(lambda n: hashlib.blake2b(bytes([n]), digest_size=16).digest())
rows = st.tuples(st.one_of(digests, st.binary(min_size=16, max_size=16)), st.integers(0, 2**40))


def rising(some: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """The same digests at offsets that rise, with holes."""
    offset, found = 0, []
    for digest, ahead in some:
        offset += 1 + ahead
        found.append((digest, offset))
    return found


entries = st.lists(rows, max_size=300).map(rising)


def numbered(number: int) -> bytes:
    """A digest like any other."""
    return hashlib.blake2b(number.to_bytes(4, "big"), digest_size=16).digest()


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


def test_a_digest_of_zeros_is_one_like_any_other() -> None:
    """Nothing stands for an empty place."""
    index = SettledIndex()
    index.add(bytes(16), 7)
    assert index.find(bytes(16)) == [7]
    assert index.find(bytes(7) + b"\x01" + bytes(8)) == []


def test_half_of_one_key_and_half_of_the_next_are_no_key() -> None:
    """Keys stand one behind the other, and are found at their beginnings only."""
    index = SettledIndex()
    index.add(b"aaaabbbb" + bytes(8), 1)
    index.add(b"ccccdddd" + bytes(8), 2)
    assert index.find(b"aaaabbbb" + bytes(8)) == [1]
    for straddling in (b"bbbbcccc", b"ddddaaaa"):  # as a machine of either byte order holds them
        assert index.find(straddling + bytes(8)) == []


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
def test_it_takes_at_most_20_bytes_a_flow(expected: int) -> None:
    """However it came to its size; the least size is that of one bucket."""
    index = SettledIndex(expected)
    for number in range(20_000):
        index.add(numbered(number), number)
        if not expected and number > 200 and number % 7 == 0:
            assert index.size_bytes <= 20 * (number + 1)
    assert 16 * 20_000 < index.size_bytes <= 20 * 20_000


def test_it_grows_by_one_small_bucket_at_a_time() -> None:
    """No row waits for more than the moving of a few hundred others, however many there are."""
    index = SettledIndex()
    for number in range(40_000):
        before = len(index._keys)
        index.add(numbered(number), number)
        assert len(index._keys) - before <= 1
    assert max(map(len, index._keys)) < 2000
    assert len(index._keys) > 50


def test_it_forgets_little_by_little() -> None:
    """A journal whose whole past is gone at once holds nobody up: each step lets go of some thousand rows at most."""
    index = SettledIndex(100_000)
    for number in range(100_000):
        index.add(numbered(number), number)
    left = len(index)
    for _ in index.forget_before(99_000):
        assert left - len(index) <= 8_000
        left = len(index)
    assert len(index) == 1_000
    assert index.size_bytes < 100_000, "the memory is given back"
    assert [index.find(numbered(number)) for number in (98_999, 99_000)] == [[], [99_000]]


@given(st.lists(st.one_of(rows, st.floats(0, 1)), max_size=400), st.integers(0, 2000), st.data())
def test_it_forgets_what_the_journal_lost_and_nothing_else(
    steps: list[tuple[bytes, int] | float], expected: int, data: st.DataObject
) -> None:
    """Against a dict: rows come while others are let go of; whatever is at or after the journal's beginning is found at every moment."""
    index = SettledIndex(expected)
    known: dict[int, bytes] = {}
    begin = end = 0
    forgetting: Iterator[None] = iter(())
    for step in steps:
        if isinstance(step, float):
            list(forgetting)
            assert len(index) == sum(offset >= begin for offset in known)
            begin = max(begin, [*known, end + 1][int(len(known) * step)])  # at a row, or behind the last
            forgetting = index.forget_before(begin)
        else:
            end += 1 + step[1]
            index.add(step[0], end)
            known[end] = step[0]
        if data.draw(st.booleans()):
            next(forgetting, None)
    list(forgetting)
    there = {offset: digest for offset, digest in known.items() if offset >= begin}
    assert len(index) == len(there)
    for digest in known.values():
        assert index.find(digest) == sorted(offset for offset, other in there.items() if other[:8] == digest[:8])


def test_rows_that_come_while_it_forgets_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when they make it grow: a bucket that is split meanwhile is forgotten in both halves."""
    monkeypatch.setattr("connector.core.settled._STEP", 1)
    index = SettledIndex()
    for number in range(5_000):
        index.add(numbered(number), number)
    number = 5_000
    for _ in index.forget_before(5_000):
        for _ in range(300):
            index.add(numbered(number), number)
            number += 1
    assert len(index) == number - 5_000
    assert all(index.find(numbered(one)) == ([one] if one >= 5_000 else []) for one in range(number))


@pytest.mark.parametrize("buckets", [1, 2, 3, 5, 8])
def test_many_at_once_are_found_again(buckets: int) -> None:
    """However many buckets were made beforehand, one that is told apart by a bit more included."""
    index, count = SettledIndex(buckets * 512), 400
    index.extend(array("Q", [short(numbered(number)) for number in range(count)]), array("Q", range(count)))
    assert [index.find(numbered(number)) for number in range(count)] == [[number] for number in range(count)]
