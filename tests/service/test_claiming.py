"""What a claim reads twice, and what it does when that is gone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from connector.core import rows
from connector.core.flow import Flow, State
from connector.core.identity import digest
from connector.core.rows import Checkpoint
from connector.errors import LaneLost
from connector.ports import Entry, LaneId
from connector.services.claim import Claimed, claim
from tests.service.world import LANE, Process, World
from tests.unit.flows import NOW, facts


def fill(process: Process, flows: Sequence[Flow], checkpoint: Checkpoint, *, every_ms: int = 0) -> list[int]:
    """A journal as an earlier owner left it; gives the rows' offsets."""
    log = process.journal.logs[LANE]
    log.append(Entry(0, *rows.claim_row("first", "host", 0), NOW))
    log += [Entry(k, *rows.flow_row(flow, 0, k), NOW + k * every_ms) for k, flow in enumerate(flows, 1)]
    log.append(Entry(len(log), *rows.checkpoint_row(checkpoint, 0, len(log)), NOW + len(log) * every_ms))
    return list(range(1, len(flows) + 1))


def ended(number: int, **changes: object) -> Flow:
    """A flow that came to its end."""
    known: dict[str, object] = {
        "flow_id": f"{number:08d}-0000-5000-8000-000000000000",
        "digest": digest(f"e{number}"),
        "source_offset": number,
    }
    return Flow(facts(**(known | changes)), State.EXPIRED)


async def claimed(process: Process) -> Claimed:
    """The journal's next owner."""
    return await claim(LANE, process.parts)


async def test_rows_beyond_the_checkpoint_are_read_again_and_adopted(world: World) -> None:
    """Their outputs may not be out; those within are known by their place only. Few reads do it."""
    process = Process(world)
    offsets = fill(process, [ended(number) for number in range(40)], Checkpoint(25, {}, 0, 40))
    reads: list[tuple[int, int]] = []
    between = process.journal.between

    async def counted(lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        reads.append((first, last))
        return await between(lane, first, last)

    process.journal.between = counted  # type: ignore[method-assign]
    found = await claimed(process)
    assert [flow.facts.source_offset for flow in found.adopt] == list(range(25, 40))
    assert reads == [(26, 40)]
    assert [found.ledger.settled.find(digest(f"e{number}")) for number in range(40)] == [[offset] for offset in offsets]


async def test_a_row_that_is_gone_when_it_is_read_again_ends_the_claim(world: World) -> None:
    """A late row of its writer replaced it behind what was read: going on would forget the flow; the next claim knows it."""
    process = Process(world)
    fill(process, [ended(number) for number in range(40)], Checkpoint(25, {}, 0, 40))
    between = process.journal.between

    async def late(lane: LaneId, first: int, last: int) -> Sequence[Entry]:
        log = process.journal.logs[LANE]
        if log[30] is not None:
            log.append(log[30]._replace(offset=len(log)))
            log[30] = None
        return await between(lane, first, last)

    process.journal.between = late  # type: ignore[method-assign]
    with pytest.raises(LaneLost, match="rows_replaced"):
        await claimed(process)
    found = await claimed(process)
    assert sorted(flow.facts.source_offset for flow in found.adopt) == list(range(25, 40))


async def test_an_event_is_covered_when_each_of_its_flows_has_a_row(world: World) -> None:
    """Ended rows count, also of events with several flows, whose names are read again; a missing sibling leaves its event uncovered."""
    process = Process(world)
    twins = [
        ended(number, flow_id=f"{number:08d}-0000-5000-8000-00000000000{place}", siblings=("a", "b"), rule=rule)
        for number, rule, place in ((3, "a", 0), (4, "a", 0), (4, "b", 1))
    ]
    fill(process, [ended(1), ended(2), *twins], Checkpoint(5, {}, 0, 2))
    assert (await claimed(process)).ledger.covered == {2, 4}
