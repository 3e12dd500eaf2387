"""Back-pressure of callbacks: each lane has its own."""

from __future__ import annotations

from asyncio import Future
from functools import partial

from connector.core.model import Accepted, FlowReport, FlowStatus, Record
from connector.ports import Callback, LaneId
from tests.service.world import LANE, Process, World, report

OTHER = LaneId(LANE.topic, 1)


class SlowRows:
    """From ``begin`` on, rows of the one lane are written only at ``end``."""

    def __init__(self, process: Process) -> None:
        self._journal = process.journal
        self._append = process.journal.append
        self._waiting: list[tuple[LaneId, bytes, bytes, Future[int]]] = []

    def begin(self) -> None:
        self._journal.append = self._wait  # type: ignore[method-assign]

    def end(self) -> None:
        self._journal.append = self._append  # type: ignore[method-assign]
        for lane, key, value, placed in self._waiting:
            self._append(lane, key, value).add_done_callback(partial(_answer, placed))

    def _wait(self, lane: LaneId, key: bytes, value: bytes) -> Future[int]:
        if lane != LANE:
            return self._append(lane, key, value)
        placed: Future[int] = Future()
        self._waiting.append((lane, key, value, placed))
        return placed


def _answer(placed: Future[int], row: Future[int]) -> None:
    placed.set_result(row.result())


async def sent(world: World, process: Process, count: int) -> list[Record]:
    """So many accepted flows of the one lane."""
    records = [world.record("order", key=str(number)) for number in range(count)]
    for number, record in enumerate(records):
        world.answer(record, "order", Accepted(f"t-{number}", 200))
    await process.put(*records, seconds=3)
    return records


async def test_a_slow_lane_holds_up_no_other(world: World) -> None:
    """More callbacks wait for the one lane's rows than are applied at once: the other lane's is heard at once all the same."""
    process = await Process(world).start()
    process.source.assign(OTHER)
    await world.clock.advance(1)
    records = await sent(world, process, 600)
    rows = SlowRows(process)
    rows.begin()
    for number, record in enumerate(records):
        process.call_back(record, "order", report(f"t-{number}"))
    process.feed.put(OTHER, Callback(OTHER, "nobody's", bytes(16), 1, 0, FlowReport("t", FlowStatus.SUCCEEDED)))
    await world.clock.advance(0.1)
    assert process.value("callbacks_orphaned_total") == 1
    rows.end()
    await world.clock.advance(2)
    ended = [event["flow_id"] for event in world.outputs("statuses") if event["status"] == "SUCCEEDED"]
    assert len(ended) == len(set(ended)) == 600
    await process.stop()


async def test_a_lane_with_too_many_callbacks_rests_its_feed(world: World) -> None:
    """Memory is bounded: what comes then stays in Kafka until half of the others are applied. None is lost or passed."""
    process = await Process(world).start()
    records = await sent(world, process, 256)
    rows = SlowRows(process)
    rows.begin()
    for number, record in enumerate(records):
        process.call_back(record, "order", report(f"t-{number}"))
    for _ in range(2500):
        process.feed.put(LANE, None)
    await world.clock.advance(0.1)
    assert process.feed.held == {LANE}
    process.feed.put(LANE, None)
    assert process.feed.position[LANE] == 2756
    assert process.lane.callbacks.position == 0
    rows.end()
    await world.clock.advance(2)
    assert process.feed.held == set()
    assert process.lane.callbacks.position == process.feed.position[LANE] == 2757
    await process.stop()


async def test_what_waits_when_a_lane_is_dropped_is_heard_by_the_next_tenure(world: World) -> None:
    """Also when its feed rested: it flows again from the checkpoint on."""
    process = await Process(world).start()
    records = await sent(world, process, 600)
    process.journal.held = True
    for number, record in enumerate(records):
        process.call_back(record, "order", report(f"t-{number}"))
    for _ in range(2500):
        process.feed.put(LANE, None)
    await world.clock.advance(1)
    assert process.feed.held == {LANE}
    process.journal.held = False
    process.journal.lose()
    await world.clock.advance(10)
    ended = [event["flow_id"] for event in world.outputs("statuses") if event["status"] == "SUCCEEDED"]
    assert len(ended) == len(set(ended)) == 600
    assert process.lane.callbacks.position == 3100
    await process.stop()
