"""The laws of ``ports.Past``."""

from __future__ import annotations

import dataclasses

from tests.contract.ports.conftest import Pasts


async def test_the_record_at_an_offset_is_given_whole(pasts: Pasts) -> None:
    """Key, value, headers and coordinates come back as written."""
    await pasts.put(b"one")
    written = await pasts.put(b"two")
    await pasts.put(b"three")
    found = await pasts.past.record(pasts.lane, written.offset)
    assert found is not None
    assert dataclasses.replace(found, timestamp_ms=1) == written


async def test_an_offset_that_holds_nothing_is_none(pasts: Pasts) -> None:
    """Beyond the end there is no record."""
    written = await pasts.put(b"one")
    assert await pasts.past.record(pasts.lane, written.offset + 1) is None
