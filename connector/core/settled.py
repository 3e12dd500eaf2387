"""The settled part of the ledger in ≤ 24 bytes a flow: 64 bits of the event's digest → offset of the journal row.

An open-addressing multimap on two flat arrays. A hit is confirmed by reading the row; entries are never removed one by one (a lane's
index lives as long as its epoch, rows older than the dedup window are gone from the journal by the next claim).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

_EMPTY = 0
_MAX_LOAD = 0.85
_GROWTH = 1.22  # 16 bytes a slot: 23 bytes a flow just after growing, 19 when full


class SettledIndex:
    """Keys are 16-byte digests, of which 8 bytes are kept; values are row offsets."""

    def __init__(self, expected: int = 0) -> None:
        self._slots = max(64, int(expected / _MAX_LOAD) + 1)
        self._allocate()

    def _allocate(self) -> None:
        self._keys = array("Q", bytes(8 * self._slots))
        self._offsets = array("Q", bytes(8 * self._slots))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """What its arrays take."""
        return (self._keys.itemsize + self._offsets.itemsize) * self._slots

    def add(self, digest: bytes, offset: int) -> None:
        """Remember that a flow of this event has its last row at ``offset``."""
        if self._count >= _MAX_LOAD * self._slots:
            self._grow()
        self._put(short(digest), offset)

    def extend(self, keys: array[int], offsets: array[int]) -> None:
        """Remember many at once; ``keys`` as ``short`` makes them of digests."""
        while self._count + len(keys) > _MAX_LOAD * self._slots:
            self._grow()
        slots, taken, places = self._slots, self._keys, self._offsets
        for key, offset in zip(keys, offsets, strict=True):
            slot = key % slots
            while taken[slot]:
                slot = slot + 1 if slot + 1 < slots else 0
            taken[slot] = key
            places[slot] = offset
        self._count += len(keys)

    def find(self, digest: bytes) -> list[int]:
        """Row offsets that may be about this event, oldest first."""
        return sorted(self._matches(short(digest)))

    def _matches(self, key: int) -> Iterator[int]:
        slot = key % self._slots
        while self._keys[slot] != _EMPTY:
            if self._keys[slot] == key:
                yield self._offsets[slot]
            slot = (slot + 1) % self._slots

    def _put(self, key: int, offset: int) -> None:
        slot = key % self._slots
        while self._keys[slot] != _EMPTY:
            slot = (slot + 1) % self._slots
        self._keys[slot] = key
        self._offsets[slot] = offset
        self._count += 1

    def _grow(self) -> None:
        old_keys, old_offsets = self._keys, self._offsets
        self._slots = int(self._slots * _GROWTH) + 1
        self._allocate()
        for key, offset in zip(old_keys, old_offsets, strict=True):
            if key != _EMPTY:
                self._put(key, offset)


def short(digest: bytes) -> int:
    """The 64 bits of a digest that are kept; never 0, which marks an empty slot."""
    return int.from_bytes(digest[:8], "big") or 1
