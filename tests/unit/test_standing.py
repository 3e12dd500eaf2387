"""Which row of a journal stands for a flow, for somebody who only looks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import rows
from connector.core.flow import Flow, State
from connector.core.rows import Checkpoint
from connector.core.standing import Owner, Standing
from connector.errors import LaneRefused
from tests.unit.flows import facts

FLOWS = ["a", "b", "c"]


def flow(flow_id: str, attempt: int = 0) -> Flow:
    """A flow told apart by its attempt."""
    return Flow(facts(flow_id=flow_id), State.DOUBT, attempt=attempt)


def journal(plan: list[tuple[str, int]]) -> list[tuple[int, bytes, bytes]]:
    """Rows by offset: ``("claim", _)``, or a flow's row under one of the epochs there are (chosen by the number)."""
    log: list[tuple[int, bytes, bytes]] = []
    epochs: list[int] = []
    for offset, (name, choice) in enumerate([("claim", 0), *plan]):
        if name == "claim":
            epochs.append(offset)
            log.append((offset, *rows.claim_row(f"n{offset}", f"host-{offset}", 0)))
        else:
            log.append((offset, *rows.flow_row(flow(name, offset), epochs[choice % len(epochs)], offset)))
    return log


plans = st.lists(st.tuples(st.sampled_from(["claim", *FLOWS]), st.integers(0, 9)), max_size=40)


@given(plans)
def test_the_highest_epoch_stands_then_the_highest_offset(plan: list[tuple[str, int]]) -> None:
    """Whatever zombies wrote between; a row with a claim between its epoch and itself is void."""
    log = journal(plan)
    standing = Standing(lambda _key, _value: True)
    for offset, key, value in log:
        standing.feed(offset, key, value, 1000 + offset)
    claims = [offset for offset, key, _ in log if key.startswith(b"claim|")]
    best: dict[str, tuple[int, int]] = {}
    for offset, key, value in log:
        if offset not in claims:
            name = rows.flow_id_of(key)
            best[name] = max(best.get(name, (-1, -1)), (rows.head_of(value).epoch, offset))
    found = {row.flow.facts.flow_id: row for row in standing.rows()}
    assert {name: (row.epoch, row.offset) for name, row in found.items()} == best
    for row in found.values():
        assert row.flow.attempt == row.offset
        assert row.void is any(row.epoch < claim < row.offset for claim in claims)
        assert (row.written_ms, row.claimed_ms) == (1000 + row.offset, 1000 + row.epoch)
    assert (standing.flows, standing.count, standing.first_ms) == (len(best), len(log), 1000)
    assert standing.owner == Owner(f"host-{claims[-1]}", 1000 + claims[-1], claims[-1])


def test_a_row_that_is_not_wanted_still_supersedes() -> None:
    """A flow that has left the wanted state is not shown by its older row."""
    standing = Standing(lambda _key, value: rows.head_of(value).state is State.DOUBT)
    standing.feed(1, *rows.flow_row(flow("a"), 0, 1), 5)
    standing.feed(2, *rows.flow_row(flow("b"), 0, 2), 5)
    standing.feed(3, *rows.flow_row(replace(flow("a"), state=State.UNKNOWN), 0, 3), 5)
    assert [row.flow.facts.flow_id for row in standing.rows()] == ["b"]
    assert standing.flows == 2
    assert next(standing.rows()).claimed_ms is None  # its claim was not met
    assert standing.owner is None


def test_the_checkpoint_of_the_highest_epoch_tells_how_far_the_input_was_read() -> None:
    """A zombie's late checkpoint says nothing."""
    standing = Standing(lambda _key, _value: True)
    assert standing.input_position is None
    for offset, epoch, position in ((3, 0, 5), (4, 2, 40), (5, 0, 9)):
        standing.feed(offset, *rows.checkpoint_row(Checkpoint(0, {}, None, position), epoch, 1), 5)
    assert standing.input_position == 40


def test_a_foreign_row_is_refused() -> None:
    """What is no journal is not shown as one."""
    with pytest.raises(LaneRefused, match="too short"):
        Standing(lambda _key, _value: True).feed(0, b"k", b"v", 0)
    key, value = rows.claim_row("n", "h", 0)
    with pytest.raises(LaneRefused, match="claim cannot be read"):
        Standing(lambda _key, _value: True).feed(0, key, value[:44] + b"[]", 0)
