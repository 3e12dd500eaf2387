"""The laws of ``ports.Outbox``."""

from __future__ import annotations

import asyncio

from connector.ports import LaneId, Outbox
from tests.contract.ports.conftest import event

LANE = LaneId("notifications", 3)


async def test_events_of_a_lane_go_to_one_place_in_call_order(outbox: Outbox) -> None:
    """All events of a lane and kind have one place, and rising offsets in call order."""
    placed = await asyncio.gather(*(outbox.emit(LANE, event(number), "+301", ()) for number in range(50)))
    assert len({place for place, _ in placed}) == 1
    assert [offset for _, offset in placed] == list(range(50))


async def test_the_ends_lie_behind_the_last_event(outbox: Outbox) -> None:
    """``ends`` names the places that ``emit`` names, with the next offset."""
    assert set((await outbox.ends(LANE)).values()) == {0}
    sent, _ = await outbox.emit(LANE, event(1), None, ())
    told, offset = await outbox.emit(LANE, event(2, "status"), None, ())
    ends = await outbox.ends(LANE)
    assert ends[sent] == 1
    assert ends[told] == offset + 1


async def test_the_tail_holds_the_ids_since_a_checkpoint(outbox: Outbox) -> None:
    """``ids_since`` gives the ids of both kinds emitted behind the offsets of ``ends``, and no earlier one."""
    await outbox.emit(LANE, event(1), None, ())
    await outbox.emit(LANE, event(2, "status"), None, ())
    out = await outbox.ends(LANE)
    assert await outbox.ids_since(LANE, out, {"id-1", "id-2", "id-3", "id-4"}) == set()
    await outbox.emit(LANE, event(3), None, (("traceparent", b"00-1"),))
    await outbox.emit(LANE, event(4, "status"), None, ())
    assert await outbox.ids_since(LANE, out, {"id-2", "id-3", "id-4"}) == {"id-3", "id-4"}
