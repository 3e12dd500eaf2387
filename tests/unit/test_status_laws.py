"""Merging is a join: any order, any repetition, never backwards."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.model import Api, Channel, FlowReport, FlowStatus, Origin, StepStatus
from connector.core.status import Change, FlowProgress, merge, silent
from tests.unit.test_status import step

steps = st.builds(step, st.integers(1, 3), st.sampled_from(Channel), st.sampled_from(StepStatus))
reports = st.builds(
    lambda flow, some, price, code: FlowReport("t", flow, code, price, steps=tuple(some)),
    st.none() | st.sampled_from(FlowStatus),
    st.lists(steps, max_size=4),
    st.none() | st.decimals(0, 9, places=4),
    st.none() | st.integers(0, 3),
)
origins = st.sampled_from([Origin.CALLBACK, Origin.POLL])


def _fold(progress: FlowProgress, some: list[FlowReport]) -> tuple[FlowProgress, list[Change]]:
    changes: list[Change] = []
    for one in some:
        progress, more = merge(progress, one, Origin.POLL)
        changes += more
    return progress, changes


def _facts(progress: FlowProgress) -> object:
    ranks = [(one.order, one.channel, one.rank, one.final) for one in progress.steps]
    return progress.status, progress.delivered, progress.finished, progress.total_price, ranks


@settings(max_examples=300)
@given(st.sampled_from(Api), st.lists(reports, max_size=5), reports, origins)
def test_the_same_report_twice_changes_nothing(api: Api, some: list[FlowReport], again: FlowReport, origin: Origin) -> None:
    """Merging is idempotent: no second event, no second state."""
    progress, _ = _fold(FlowProgress(api), some)
    once, _ = merge(progress, again, origin)
    assert merge(once, again, origin) == (once, ())
    for seen in some:
        assert merge(once, seen, origin)[1] == ()


@settings(max_examples=300)
@given(st.sampled_from(Api), st.integers(0, 3), st.lists(reports, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_reports_does_not_matter(api: Api, planned: int, some: list[FlowReport], chance: random.Random) -> None:
    """Any order gives the same statuses, as far as their ranks tell, the same delivery and the same end."""
    shuffled = list(some)
    chance.shuffle(shuffled)
    start = FlowProgress(api, planned=planned)
    assert _facts(_fold(start, some)[0]) == _facts(_fold(start, shuffled)[0])


@settings(max_examples=300)
@given(st.sampled_from(Api), st.lists(reports | st.none(), max_size=6))
def test_nothing_goes_backwards(api: Api, some: list[FlowReport | None]) -> None:
    """Step ranks and delivery only rise; after the end every event is a correction, and only proof changes the flow's status."""
    progress = FlowProgress(api)
    for one in some:
        before = progress
        if one is None:
            progress, change = silent(before)
            changes: tuple[Change, ...] = (change,)
        else:
            progress, changes = merge(before, one, Origin.CALLBACK)
        for known in before.steps:
            now = progress.step(known.order, known.channel)
            assert now is not None
            assert now == known or now.rank > known.rank
        assert progress.delivered >= before.delivered
        assert progress.terminal >= before.terminal
        assert all(change.correction is before.terminal for change in changes)
        assert [change.previous for change in changes[:1]] == [before.status][: len(changes)]
        if changes:
            assert (changes[-1].status, changes[-1].terminal, changes[-1].delivered) == (
                progress.status,
                progress.terminal,
                progress.delivered,
            )
        else:
            assert (progress.status, progress.steps) == (before.status, before.steps)
        if before.terminal and before.status is not progress.status:
            assert progress.delivered or before.status is not FlowStatus.FAILED
            assert before.status is not FlowStatus.SUCCEEDED or not before.delivered


@given(st.sampled_from(Api), st.lists(reports, max_size=5), st.integers(0, 9), st.booleans())
def test_the_compact_form_loses_nothing(api: Api, some: list[FlowReport], planned: int, given_up: bool) -> None:
    """A journal row gives back the same progress."""
    progress, _ = _fold(FlowProgress(api, planned=planned), some)
    if given_up:
        progress, _ = silent(progress)
    compact, times, told = json.loads(json.dumps([progress.compact(), progress.times(), progress.told()]))
    assert FlowProgress.from_compact(compact, times, told) == progress
