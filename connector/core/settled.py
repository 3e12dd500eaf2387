"""The settled part of the ledger in ≤ 20 bytes a flow: 64 bits of the event's digest → offset of the journal row.

A multimap of many small buckets (linear hashing): it grows by splitting one bucket at a time, so no row ever waits for the whole to be
built anew, and a look-up asks one bucket however many rows there are. In a bucket the rows stand in order of their coming, so those that
the journal no longer holds are its first ones. A hit is confirmed by reading the row.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain

_PER_BUCKET = 512  # on average: two arrays cost 200 bytes beside their rows, and a miss looks through 4 kB
_SIZE = 8  # bytes of a key, and of an offset
_COLLECTED = 16  # bytes in front of everything that Python's collector looks at
_STEP = 4096  # buckets asked plus rows forgotten before others get their turn: a millisecond or two


class SettledIndex:
    """Keys are 16-byte digests, of which 8 bytes are kept; values are row offsets, which are added in rising order.

    ``expected``: how many rows are to come soon; more only make it grow.
    """

    def __init__(self, expected: int = 0) -> None:
        buckets = max(1, expected // _PER_BUCKET)
        self._half = 1 << (buckets.bit_length() - 1)  # so many buckets are told apart by the key's last bits …
        self._split = buckets - self._half  # … and the first of them by one bit more, each with another at the end
        self._keys = [array("Q") for _ in range(buckets)]
        self._offsets = [array("Q") for _ in range(buckets)]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """What its arrays take, with the room they keep for growing, and their places."""
        return sum(map(array.__sizeof__, chain(self._keys, self._offsets))) + 2 * len(self._keys) * (_SIZE + _COLLECTED)

    def add(self, digest: bytes, offset: int) -> None:
        """Remember that a flow of this event has its last row at ``offset``."""
        key = short(digest)
        bucket = self._bucket(key)
        self._keys[bucket].append(key)
        self._offsets[bucket].append(offset)
        self._count += 1
        self._grow()

    def extend(self, keys: array[int], offsets: array[int]) -> None:
        """Remember many at once; ``keys`` as ``short`` makes them of digests."""
        split, low, high = self._split, self._half - 1, 2 * self._half - 1
        all_keys, all_offsets = self._keys, self._offsets
        for key, offset in zip(keys, offsets, strict=True):
            bucket = key & low
            if bucket < split:
                bucket = key & high
            all_keys[bucket].append(key)
            all_offsets[bucket].append(offset)
        self._count += len(keys)
        self._grow()

    def find(self, digest: bytes) -> list[int]:
        """Row offsets that may be about this event, oldest first."""
        key = short(digest)
        bucket = self._bucket(key)
        wanted, there = array("Q", (key,)).tobytes(), self._keys[bucket].tobytes()
        found = []
        place = there.find(wanted)
        while place >= 0:
            if place % _SIZE == 0:
                found.append(self._offsets[bucket][place // _SIZE])
            place = there.find(wanted, place + 1)
        return sorted(found)

    def forget_before(self, first: int) -> Iterator[None]:
        """Let go of the rows below offset ``first``, which are gone from the journal, a little with each step.

        Rows may be added and asked for between the steps.
        """
        worked = bucket = 0
        while bucket < len(self._offsets):  # one that is split meanwhile has its other half at the end
            gone = self._forget(bucket, first)
            self._count -= gone
            worked += 1 + gone
            bucket += 1
            if worked >= _STEP:
                worked = 0
                yield

    def _forget(self, bucket: int, first: int) -> int:
        offsets = self._offsets[bucket]
        gone = 0
        while gone < len(offsets) and offsets[gone] < first:
            gone += 1
        if gone:
            del offsets[:gone]
            del self._keys[bucket][:gone]
        return gone

    def _bucket(self, key: int) -> int:
        bucket = key & (self._half - 1)
        return key & (2 * self._half - 1) if bucket < self._split else bucket

    def _grow(self) -> None:
        while self._count > _PER_BUCKET * len(self._keys):
            self._split_one()

    def _split_one(self) -> None:
        """The next bucket is told apart by one bit more of its keys; order is kept."""
        bit, bucket = self._half, self._split
        pairs = list(zip(self._keys[bucket], self._offsets[bucket], strict=True))
        for there in (self._keys, self._offsets):
            there.append(array("Q"))
        for place, moved in ((bucket, 0), (-1, bit)):
            self._keys[place] = array("Q", [key for key, _ in pairs if key & bit == moved])
            self._offsets[place] = array("Q", [offset for key, offset in pairs if key & bit == moved])
        self._split += 1
        if self._split == self._half:
            self._half *= 2
            self._split = 0


def short(digest: bytes) -> int:
    """The 64 bits of a digest that are kept."""
    return int.from_bytes(digest[:_SIZE], "big")
