"""The queues of keys, alone."""

from __future__ import annotations

from asyncio import Future

from hypothesis import given
from hypothesis import strategies as st

from connector.core.model import MessageClass
from connector.services.turns import Key, Turns

A, B = (b"a", MessageClass.OTP), (b"a", MessageClass.MARKETING)
moves = st.lists(st.tuples(st.sampled_from(["enqueue", "release"]), st.sampled_from([A, B, None]), st.integers(0, 8)), max_size=60)


async def test_without_a_key_there_is_no_waiting() -> None:
    """It is always their turn, and releasing is harmless."""
    turns = Turns()
    assert all(turns.enqueue(None, flow).done() for flow in ("x", "y"))
    turns.release(None, "x")
    turns.doubtful(None, "x", 1)
    turns.cleared(None, "x")
    assert turns.overtaken_by(None, 9) == []


async def test_releasing_what_has_no_place_is_harmless() -> None:
    """Unknown keys and flows."""
    turns = Turns()
    turns.release(A, "x")
    first = turns.enqueue(A, "x")
    turns.release(A, "y")
    assert first.done()
    turns.cleared(A, "x")


@given(moves)
async def test_exactly_the_head_of_each_key_has_the_turn(steps: list[tuple[str, Key | None, int]]) -> None:
    """However places are taken and given up: the first of a key has its turn, nobody else, and order is kept."""
    turns = Turns()
    queues: dict[Key, list[tuple[str, Future[None]]]] = {A: [], B: []}
    for number, (move, key, which) in enumerate(steps):
        if key is None:
            continue
        if move == "enqueue":
            flow = f"f{number}"
            queues[key].append((flow, turns.enqueue(key, flow)))
        elif queues[key]:
            flow, _ = queues[key].pop(which % len(queues[key]))
            turns.release(key, flow)
        for queue in queues.values():
            assert [turn.done() for _, turn in queue] == [place == 0 for place in range(len(queue))]
    for key, queue in queues.items():
        for flow, _ in queue:
            turns.release(key, flow)
    assert not turns._queues


@given(st.dictionaries(st.integers(0, 20), st.booleans(), max_size=10), st.integers(0, 20))
def test_a_later_flow_overtakes_every_earlier_doubt(doubts: dict[int, bool], offset: int) -> None:
    """Those in doubt of the same key at lower offsets, as long as they are not cleared; none of another key."""
    turns = Turns()
    for earlier in doubts:
        turns.doubtful(A, f"f{earlier}", earlier)
        turns.doubtful(B, f"g{earlier}", earlier)
    for earlier, open_ in doubts.items():
        if not open_:
            turns.cleared(A, f"f{earlier}")
        turns.cleared(B, f"g{earlier}")
    assert sorted(turns.overtaken_by(A, offset)) == sorted(f"f{earlier}" for earlier, open_ in doubts.items() if open_ and earlier < offset)
    assert turns.overtaken_by(B, 99) == []
