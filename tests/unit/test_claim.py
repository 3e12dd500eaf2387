"""The lane protocol without I/O: single rules, and random walks in the spirit of the protocol's model.

In a walk several writers claim, write, are dropped and forgotten; their rows land late, twice or never; a cleaner removes superseded
rows while readers are on their way. It is asked at each report whether the verdict is true, and of each reader that has reached the end
of the log whether it knows everything that any owner could have acted on.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import rows
from connector.core.claim import EndedRows, Epoch, Fold, Folded, Verdict
from connector.core.flow import Flow, State
from connector.core.model import Api
from connector.core.rows import Checkpoint, Kind
from connector.core.settled import SettledIndex
from connector.core.status import FlowProgress
from connector.errors import LaneRefused
from tests.unit.flows import facts

FLOWS = [f"0000000{n}-0000-5000-8000-000000000000" for n in range(3)]
STATES = [State.INTENT, State.DOUBT, State.ACCEPTED, State.NOT_SENT, State.EXPIRED]
EMPTY = {flow: {state: Flow(facts(flow_id=flow), state) for state in STATES} for flow in FLOWS}
FOLLOWED = {flow: Flow(facts(flow_id=flow), State.ACCEPTED, progress=FlowProgress(Api.STANDARD)) for flow in FLOWS}
CLAIM = rows.claim_row("n", "h", 0)


@dataclass(slots=True)
class Row:
    """A row on its way or in the log."""

    kind: Kind
    epoch: int
    flow: str
    key: bytes
    value: bytes
    offset: int | None = None
    removed: bool = False


@dataclass(slots=True)
class Owner:
    """A writer that believes in its epoch."""

    epoch: Epoch
    flying: deque[Row] = field(default_factory=deque)


@dataclass(slots=True)
class Reader:
    """A claimant on its way through the log."""

    offset: int
    fold: Fold
    position: int = 0


class Broken(AssertionError):
    """The protocol does not hold."""


class Walk:
    """One partition's history. ``bug``: what a wrong implementation would do."""

    def __init__(self, seed: int, bug: str = "") -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a test's
        self.bug = bug
        self.log: list[Row] = []
        self.owners: list[Owner] = []
        self.readers: list[Reader] = []
        self.strays: list[deque[Row]] = []
        self.valid: list[Row] = []  # rows that an owner was told to be valid: it may have acted on them
        self.verdicts = {True: 0, False: 0}
        self.claims = 0

    def run(self, steps: int) -> None:
        """So many steps, then everything that was begun comes to its end."""
        acts: list[Callable[[], None]] = [self.claim, self.read, self.produce, self.land, self.report, self.stray, self.compact, self.drop]
        weights = [0.06, 3.0, 1.0, 1.0, 1.0, 0.4, 0.4, 0.05]
        for _ in range(steps):
            self.chance.choices(acts, weights)[0]()
        self.claims = 0
        self.claim()
        while self.readers:
            self.read()

    # ------------------------------------------------------------------------------------------------------------ writing

    def claim(self) -> None:
        """Anybody may claim at any time."""
        self.claims += 1
        if self.claims > 12:
            return
        offset = self._append(Row(Kind.CLAIM, -1, "", *CLAIM))
        self.readers.append(Reader(offset, Fold(offset)))

    def produce(self) -> None:
        """An owner writes a row of any flow, or a checkpoint."""
        if not self.owners:
            return
        owner = self.chance.choice(self.owners)
        epoch, k = owner.epoch.epoch, owner.epoch.next_k()
        if self.chance.random() < 0.1:
            owner.flying.append(Row(Kind.CHECKPOINT, epoch, "", *rows.checkpoint_row(Checkpoint(len(self.log), {}, None, None), epoch, k)))
            return
        flow = self.chance.choice(FLOWS)
        key, value = rows.flow_row(self.chance.choice([FOLLOWED[flow], *EMPTY[flow].values()]), epoch, k)
        owner.flying.append(Row(Kind.FLOW, epoch, flow, flow.encode() if self.bug == "one key per flow" else key, value))

    def land(self) -> None:
        """The next row of an owner is in the log; now and then twice, the first time unheard."""
        if not self.owners:
            return
        owner = self.chance.choice(self.owners)
        row = next((one for one in owner.flying if one.offset is None), None)
        if row is None:
            return
        if self.chance.random() < 0.05:
            self._append(Row(row.kind, row.epoch, row.flow, row.key, row.value))
        self._append(row)

    def stray(self) -> None:
        """Rows of a dropped epoch: in order, at any later time, or never."""
        if not self.strays:
            return
        queue = self.chance.choice(self.strays)
        if self.chance.random() < 0.8:
            self._append(queue.popleft())
        else:
            queue.clear()
        self.strays = [one for one in self.strays if one]

    def drop(self) -> None:
        """Crash, time-out, or told so by the group."""
        if self.owners:
            self._drop(self.chance.choice(self.owners))

    def _drop(self, owner: Owner) -> None:
        self.owners.remove(owner)
        flying = deque(row for row in owner.flying if row.offset is None)
        if flying:
            self.strays.append(flying)

    def _append(self, row: Row) -> int:
        row.offset = len(self.log)
        self.log.append(row)
        return row.offset

    def compact(self) -> None:
        """Any row with a later one of its key may disappear at any moment."""
        last = {row.key: row.offset for row in self.log if row.kind is not Kind.CLAIM}
        stale = [row for row in self.log if row.kind is not Kind.CLAIM and not row.removed and last[row.key] != row.offset]
        if stale:
            self.chance.choice(stale).removed = True

    # ------------------------------------------------------------------------------------------------------------ judging

    def report(self) -> None:
        """The delivery report of an owner's oldest row: its verdict must be true."""
        waiting = [owner for owner in self.owners if owner.flying and owner.flying[0].offset is not None]
        if not waiting:
            return
        owner = self.chance.choice(waiting)
        row = owner.flying.popleft()
        assert row.offset is not None
        first = owner.epoch.last + 1
        verdict = owner.epoch.report(row.offset)
        between = [(one.offset or 0, one.value) for one in self.log[first : row.offset] if not one.removed]
        if self.bug == "gap not read":
            valid = True
            owner.epoch.last = row.offset
        elif verdict is Verdict.GAP:
            valid = owner.epoch.gap(row.offset, between)
        else:
            valid = verdict is Verdict.VALID
        fenced = any(one.kind is Kind.CLAIM for one in self.log[row.epoch + 1 : row.offset])
        self.verdicts[valid] += 1
        if valid and fenced:
            raise Broken(f"row {row.offset} of epoch {row.epoch} was called valid behind a CLAIM")
        if not valid:
            if not fenced and not any(one.removed for one in self.log[first : row.offset]):
                raise Broken(f"row {row.offset} of epoch {row.epoch} was refused without a reason")
            self._drop(owner)
        else:
            self.valid.append(row)

    def read(self) -> None:
        """A claimant reads one row; at the end of the log it is asked what it knows."""
        if not self.readers:
            return
        reader = self.chance.choice(self.readers)
        end = reader.offset + 1 if self.bug == "read through the claim only" else len(self.log)
        if reader.position < end:
            row = self.log[reader.position]
            reader.position += 1
            if not row.removed:
                reader.fold.feed(row.offset or 0, row.key, row.value)
            return
        self.readers.remove(reader)
        self._judge(reader)
        if not reader.fold.superseded:
            self.owners.append(Owner(Epoch(reader.offset)))

    def _judge(self, reader: Reader) -> None:
        claims = [row.offset or 0 for row in self.log if row.kind is Kind.CLAIM]
        known = {flow.decode(): one for flow, one in concluded(reader.fold, {row.offset or 0: row for row in self.log}).items()}
        for row in self.valid:
            offset = row.offset or 0
            if row.kind is not Kind.FLOW or offset > reader.offset:
                continue
            best = known.get(row.flow)
            if best is None:
                raise Broken(f"the claimant at {reader.offset} has never heard of {row.flow}, valid at {offset}")
            if not (best.head.epoch > row.epoch or (best.head.epoch == row.epoch and best.offset >= offset)):
                raise Broken(f"the claimant at {reader.offset} knows row {best.offset}, which does not cover valid row {offset}")
        for one in known.values():
            if one.void is not any(one.head.epoch < claim < one.offset for claim in claims if claim < reader.position):
                raise Broken(f"row {one.offset} is wrongly called void: {one.void}")
        if reader.fold.superseded is not any(reader.offset < claim < reader.position for claim in claims):
            raise Broken("a newer claim was overlooked, or dreamt of")
        stated = [row for row in self.valid if row.kind is Kind.CHECKPOINT and (row.offset or 0) < reader.offset]
        if stated and reader.fold.checkpoint is None:
            raise Broken("a valid checkpoint was overlooked")


def indexed(fold: Fold) -> SettledIndex:
    """What a claimant makes of the ended rows."""
    index = SettledIndex(len(fold.ended))
    for keys, offsets in fold.ended.portions(2):
        index.extend(keys, offsets)
    return index


def concluded(fold: Fold, log: Mapping[int, Row], journal: int = -1, start: int = 0) -> dict[bytes, Folded]:
    """Flow → row after the second reading; by default everything is read again."""
    for offset in fold.wanted(journal, start, indexed(fold)):
        fold.restore(offset, log[offset].key, log[offset].value)
    return {one.key.rsplit(b"|", 1)[0]: one for one in fold.flows()}


@pytest.mark.parametrize("seed", range(60))
def test_in_every_walk_verdicts_are_true_and_claimants_know_enough(seed: int) -> None:
    """A row called valid has no CLAIM between its epoch and itself; the fold covers each valid row; void is void."""
    walk = Walk(seed)
    walk.run(600)
    assert walk.verdicts[True] > 0


@pytest.mark.parametrize("bug", ["gap not read", "read through the claim only", "one key per flow"])
def test_the_walks_find_planted_bugs(bug: str) -> None:
    """Each broken rule of the protocol is caught within a hundred walks."""
    for seed in range(100):
        try:
            Walk(seed, bug).run(600)
        except Broken:
            return
    pytest.fail(f"{bug}: not found")


def test_the_walks_fence() -> None:
    """They are not all fair weather: gaps, fences and strays occur."""
    seen = [Walk(seed) for seed in range(20)]
    for walk in seen:
        walk.run(600)
    assert sum(walk.verdicts[False] for walk in seen) >= 10


# ------------------------------------------------------------------------------------------------- against the plain fold


def plainly(read: list[Row]) -> dict[bytes, Folded]:
    """The rules as they are written down: every row kept, the greatest (epoch, offset) of a flow chosen at the end."""
    claims = [row.offset or 0 for row in read if row.kind is Kind.CLAIM]
    best: dict[bytes, Folded] = {}
    for row in sorted((row for row in read if row.kind is Kind.FLOW), key=lambda row: (row.epoch, row.offset or 0)):
        offset = row.offset or 0
        void = any(row.epoch < claim < offset for claim in claims)
        best[row.key.rsplit(b"|", 1)[0]] = Folded(offset, row.key, row.value, rows.head_of(row.value), void)
    return best


@pytest.mark.parametrize("seed", range(80))
def test_the_fold_concludes_what_the_plain_rules_do(seed: int) -> None:
    """On logs with zombies, voids and compaction, for any checkpoint: same rows of flows to adopt and to follow; the ended are found."""
    walk = Walk(seed)
    walk.run(400)
    read = [row for row in walk.log if not row.removed]
    for journal in [-1, len(walk.log), *walk.chance.choices(range(len(walk.log)), k=5)]:
        fold = Fold(len(walk.log))
        for row in read:
            fold.feed(row.offset or 0, row.key, row.value)
        start = walk.chance.choice([0, 7, 10**9])
        index = indexed(fold)
        mine = concluded(fold, {row.offset or 0: row for row in read}, journal, start)
        for flow, best in plainly(read).items():
            if best.settled(journal) and best.head.finished:
                assert flow not in mine or mine[flow] == best
                assert best.offset in index.find(best.head.digest)
            else:
                assert mine[flow] == best
        assert mine.keys() <= plainly(read).keys()


@given(
    st.lists(st.tuples(st.sampled_from([State.ACCEPTED, State.EXPIRED]), st.booleans(), st.integers(0, 9), st.booleans())),
    st.integers(-1, 60),
)
def test_ended_rows_are_found_by_what_may_matter_of_them(some: list[tuple[State, bool, int, bool]], bound: int) -> None:
    """Behind a checkpoint, from an offset on, by their event's input offset, by acceptance without a label; in portions all."""
    ended = EndedRows()
    written = [(3 * number, *one) for number, one in enumerate(some)]
    for offset, state, siblings, met, labelled in written:
        names = ("a", "b") if siblings else ("a",)
        about = facts(source_offset=met, siblings=names, digest=bytes([offset % 251]) * 16, labelled=labelled)
        ended.add(offset, rows.head_of(rows.flow_row(Flow(about, state), 0, 1)[1]))
    assert len(ended) == len(some)
    assert list(ended.after(bound)) == [offset for offset, *_ in written if offset > bound]
    assert list(ended.since(bound)) == [offset for offset, *_ in written if offset >= bound]
    assert list(ended.met_since(bound)) == [(met, offset, siblings) for offset, _, siblings, met, _ in written if met >= bound]
    nameless = [offset for offset, state, _, _, labelled in written if offset >= bound and state is State.ACCEPTED and not labelled]
    assert list(ended.nameless_since(bound)) == nameless
    pairs = [pair for keys, offsets in ended.portions(4) for pair in zip(keys, offsets, strict=True)]
    assert pairs == [(int.from_bytes(bytes([offset % 251]) * 8, "big"), offset) for offset, *_ in written]


# --------------------------------------------------------------------------------------------------------- single rules


@given(st.lists(st.integers(-5, 30), max_size=20))
def test_reports_are_valid_only_without_a_gap(offsets: list[int]) -> None:
    """last + 1 is valid; further is a gap; not beyond the last one, or unknown, is lost. Only valid ones move ``last``."""
    epoch = Epoch(3)
    for offset in offsets:
        last, valid = epoch.last, epoch.valid
        verdict = epoch.report(offset)
        assert verdict is (Verdict.VALID if offset == last + 1 else Verdict.LOST if offset <= last else Verdict.GAP)
        assert (epoch.last, epoch.valid) == ((offset, valid + 1) if verdict is Verdict.VALID else (last, valid))


def test_rows_are_numbered_from_one() -> None:
    """k counts rows built."""
    epoch = Epoch(3)
    assert [epoch.next_k(), epoch.next_k(), epoch.built] == [1, 2, 2]


@given(st.lists(st.sampled_from(["old", "claim", "hole"]), max_size=6))
def test_a_gap_is_valid_only_if_everything_in_it_is_there_and_no_claim(found: list[str]) -> None:
    """A hole counts as a CLAIM: it may have been one."""
    epoch = Epoch(3)
    old = rows.flow_row(EMPTY[FLOWS[0]][State.DOUBT], 1, 1)[1]
    between = [(4 + place, old if what == "old" else CLAIM[1]) for place, what in enumerate(found) if what != "hole"]
    valid = epoch.gap(4 + len(found), between)
    assert valid is (set(found) <= {"old"})
    assert epoch.last == (4 + len(found) if valid else 3)


def test_the_highest_epoch_wins_then_the_highest_offset() -> None:
    """A zombie's row behind the owner's neither hides nor replaces it; likewise with checkpoints."""
    fold = Fold(5)
    owner, zombie = (rows.flow_row(EMPTY[FLOWS[0]][state], epoch, 1) for state, epoch in ((State.ACCEPTED, 2), (State.INTENT, 0)))
    fold.feed(0, *CLAIM)
    fold.feed(1, *rows.checkpoint_row(Checkpoint(1, {}, None, None), 0, 1))
    fold.feed(2, *CLAIM)
    fold.feed(3, *owner)
    fold.feed(4, *rows.checkpoint_row(Checkpoint(4, {}, None, None), 2, 1))
    fold.feed(5, *CLAIM)
    fold.feed(6, *zombie)
    fold.feed(7, *rows.checkpoint_row(Checkpoint(7, {}, None, None), 0, 2))
    assert [one.offset for one in fold.flows()] == [6]  # the owner's row ended the flow: only its place is known
    log = {3: Row(Kind.FLOW, 2, FLOWS[0], *owner)}
    [known] = concluded(fold, log).values()
    assert (known.offset, known.head.epoch, known.void, known.head.state) == (3, 2, False, State.ACCEPTED)
    assert fold.checkpoint == Checkpoint(4, {}, None, None)
    assert not fold.superseded
    fold.feed(8, *CLAIM)
    assert fold.superseded


def test_the_first_claim_ever_finds_nothing() -> None:
    """No checkpoint, no flow."""
    fold = Fold(0)
    fold.feed(0, *CLAIM)
    assert (fold.checkpoint, list(fold.flows())) == (None, [])
    assert not fold.has_flows


@pytest.mark.parametrize("state", [State.INTENT, State.REJECTED])
def test_a_flow_open_or_ended_is_a_flow(state: State) -> None:
    """A journal that holds any flow has a history."""
    fold = Fold(9)
    key, value = rows.flow_row(Flow(facts(), state), 0, 1)
    fold.feed(1, key, value)
    assert fold.has_flows


@pytest.mark.parametrize("first", [0, 1])
def test_a_journal_is_whole_while_its_first_row_is_there(first: int) -> None:
    """It is a CLAIM, which compaction never takes: where it is gone, retention was there."""
    fold = Fold(9)
    fold.first = first
    assert fold.is_whole is (first == 0)


@given(st.sampled_from(State), st.booleans(), st.integers(0, 9), st.integers(-1, 9))
def test_settled_is_decided_valid_and_covered(state: State, void: bool, offset: int, journal: int) -> None:
    """All three: else the flow is adopted."""
    key, value = rows.flow_row(Flow(facts(), state), 0, 1)
    settled = state.settled and not void and offset <= journal
    assert Folded(offset, key, value, rows.head_of(value), void).settled(journal) is settled


def test_the_row_that_stands_says_the_whole_flow() -> None:
    """Decoded with the head that was read before."""
    flow = Flow(facts(), State.PARKED, due_ms=7)
    key, value = rows.flow_row(flow, 3, 1)
    assert Folded(4, key, value, rows.head_of(value)).flow == flow


@pytest.mark.parametrize("epoch", [3, 4, 99])
def test_a_row_whose_epoch_is_not_before_it_is_refused(epoch: int) -> None:
    """Mirrored or restored: another log's offsets. The text names the remedy."""
    fold = Fold(9)
    for row in (rows.flow_row(EMPTY[FLOWS[0]][State.DOUBT], epoch, 1), rows.checkpoint_row(Checkpoint(0, {}, None, None), epoch, 1)):
        with pytest.raises(LaneRefused, match="group_id"):
            fold.feed(3, *row)
