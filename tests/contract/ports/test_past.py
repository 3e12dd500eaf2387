"""The laws of ``ports.Past``."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from connector.errors import KafkaUnavailable
from tests.contract.ports.conftest import Pasts


async def test_the_record_at_an_offset_is_given_whole(pasts: Pasts) -> None:
    """Key, value, headers and coordinates come back as written."""
    await pasts.put(b"one")
    written = await pasts.put(b"two")
    await pasts.put(b"three")
    found = await pasts.past.record(pasts.lane, written.offset)
    assert found is not None
    assert dataclasses.replace(found, timestamp_ms=1) == written


async def test_beyond_the_end_nothing_is_known(pasts: Pasts) -> None:
    """A record that was read once is not gone because a broker, just come up, shows a shorter log: KafkaUnavailable, never None."""
    written = await pasts.put(b"one")
    for offset in (written.offset + 1, written.offset + 100):
        with pytest.raises(KafkaUnavailable):
            await pasts.past.record(pasts.lane, offset)
    assert await pasts.past.record(pasts.lane, written.offset) is not None


async def test_many_records_are_given_each_as_it_is(pasts: Pasts) -> None:
    """In their order, all at once or against it."""
    written = [await pasts.put(b"%d" % number) for number in range(30)]
    for order in (written, written[::-1]):
        found = await asyncio.gather(*(pasts.past.record(pasts.lane, record.offset) for record in order))
        assert [record.value for record in found if record is not None] == [record.value for record in order]
