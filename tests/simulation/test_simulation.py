"""The simulation holds: fixed seeds, one process killed or stopped at every step of one event, and the same seed plays the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.runner import play, play_seed, quiet
from tests.simulation.setting import draw, one_event

_SEEDS = 150
_FIRST_STEPS = 110  # from the first to behind the answer's row
_WHOLE_LIFE = 500  # to the last status


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    quiet()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("first", range(0, _SEEDS, 30))
def test_no_seed_breaks_a_law(first: int) -> None:
    """Kills, stops, rebalances, lost rows and lost replies: nothing is lost, nobody is messaged twice unflagged."""
    failed = {one.seed: one.problems for one in map(play_seed, range(first, first + 30)) if one.problems}
    assert not failed, f"replay with: python -m tests.simulation --replay {min(failed)} --trace"


def test_a_seed_plays_the_same_again() -> None:
    """The same seed gives the same trace, line by line."""
    for seed in (2, 81, 127):
        assert play(draw(seed), with_trace=True).trace == play(draw(seed), with_trace=True).trace


@pytest.mark.parametrize("kind", ["code", "order", "sale"])
def test_killed_at_every_step_of_one_event(kind: str) -> None:
    """Whatever step of an accepted event's life is the process's last, the next process ends it, sent once or flagged."""
    failed = {}
    for step in (*range(1, _FIRST_STEPS), *range(_FIRST_STEPS, _WHOLE_LIFE, 13)):
        setting = one_event(kind)
        setting.kill_at = step
        if problems := play(setting).problems:
            failed[step] = problems
    assert not failed


@pytest.mark.parametrize(
    ("kind", "fate"), [("code", "lost"), ("shipped", "late"), ("order", "vanished"), ("sale", "cut"), ("twin", "lost")]
)
def test_killed_while_in_doubt(kind: str, fate: str) -> None:
    """The same where the provider's answer is lost, comes late, or never was."""
    failed = {}
    for step in range(1, _WHOLE_LIFE, 11):
        setting = one_event(kind, fate)
        setting.kill_at = step
        if problems := play(setting).problems:
            failed[step] = problems
    assert not failed


@pytest.mark.parametrize("kind", ["code", "order", "sale"])
def test_stopped_and_overtaken_and_woken(kind: str) -> None:
    """A process that is stopped beyond its session at any step wakes as a zombie: it posts nothing more, and nothing is lost."""
    failed = {}
    for step in range(1, _FIRST_STEPS, 2):
        setting = one_event(kind, slots=2)
        setting.heal_at, setting.freeze_at = 15.0, step
        if problems := play(setting).problems:
            failed[step] = problems
    assert not failed


def test_the_worlds_time_is_virtual() -> None:
    """A run of minutes takes a fraction of a second: nothing in it waits, so nothing in it may ask the real clock."""
    one = play(draw(1))
    assert one.simulated_s > 30
    assert one.counts["posts"]
