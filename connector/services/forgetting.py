"""The memory of ended flows follows the journal's retention: what the log no longer holds proves nothing, and costs memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from connector.errors import KafkaUnavailable

if TYPE_CHECKING:
    from connector.services.lane import Lane

_EVERY_S = 60.0


async def forget(lane: Lane) -> None:
    """Ask now and then where the lane's journal begins, and let go of the rows before that; ends by cancellation."""
    parts, settled = lane.parts, lane.ledger.settled
    forgotten = 0
    while True:
        await parts.clock.sleep(_EVERY_S)
        try:
            begin = await parts.journal.begin(lane.id)
        except KafkaUnavailable:
            continue  # nothing is lost by asking later
        if begin > forgotten:
            for _ in settled.forget_before(begin):
                await asyncio.sleep(0)  # other lanes are at work
            forgotten = begin
