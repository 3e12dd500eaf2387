"""The simulation holds: fixed seeds, one process killed or stopped at every step of one event, and the same seed plays the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.baselines import BASELINES, Habit
from tests.simulation.compare import OURS, Ground, ledger, score
from tests.simulation.kafka import Weather
from tests.simulation.routee import Moods
from tests.simulation.runner import play, play_seed, quiet
from tests.simulation.setting import draw, one_event
from tests.simulation.world import World

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


def test_what_the_usual_consumers_do_on_the_same_seeds() -> None:
    """Both usual ways double messages or lose them where the connector, under the same kills and the same provider, does neither."""
    came = {worker: Counter[str]() for worker in (OURS, *Habit)}
    for seed in range(40):
        for worker, counts in came.items():
            counts.update(score(seed, Ground.KILLS_AND_PROVIDER, worker))
    assert not any(counts["broken"] for counts in came.values())
    assert (came[OURS]["lost"], came[OURS]["doubled"]) == (0, 0)
    assert came[Habit.COMMIT_AFTER_SEND]["lost"] > 0
    assert came[Habit.COMMIT_AFTER_SEND]["doubled"] > 0
    assert came[Habit.RETRY_ON_TIMEOUT]["doubled"] > came[Habit.COMMIT_AFTER_SEND]["doubled"]


def test_the_usual_consumers_do_their_work_where_nothing_goes_wrong() -> None:
    """Without faults each of them sends each message once: what the comparison counts is the faults' doing."""
    for worker in Habit:
        setting = draw(3)
        setting.faults, setting.weather, setting.moods, setting.aim_at_post, setting.aim_at_intent = [], Weather(), Moods(), 0.0, 0.0
        counts = ledger(World(setting, BASELINES[worker]).run())
        assert counts["messages"] > 0
        assert (counts["broken"], counts["lost"], counts["doubled"]) == (0, 0, 0)
