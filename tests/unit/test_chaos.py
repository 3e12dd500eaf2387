"""What the chaos run is made of: its faults and its events are functions of the seed, and its report cannot hide anything."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, takewhile
from pathlib import Path

import orjson
import pytest

from tests.chaos.report import Report
from tests.chaos.schedule import SESSION_S, Kind, schedule
from tests.chaos.story import story
from tests.proof.checker import Problem
from tests.proof.facts import Fate

FREEZES = {Kind.FREEZE, Kind.FREEZE_AT_ACCEPT, Kind.FREEZE_AT_INTENT}
SEEDS = range(1, 9)


def test_a_seed_is_a_schedule() -> None:
    """The same seed gives the same faults, another one others."""
    assert list(schedule(7, 600, 4)) == list(schedule(7, 600, 4))
    assert list(schedule(7, 600, 4)) != list(schedule(8, 600, 4))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_long_form_kills_often_enough(seed: int) -> None:
    """At least 250 kills in 35 minutes, of every kind, in order of time, none after the end."""
    faults = list(schedule(seed, 35 * 60, 4))
    assert sum(fault.kills for fault in faults) >= 250
    assert {fault.kind for fault in faults} == set(Kind)
    assert all(before.at_s < after.at_s for before, after in pairwise(faults))
    assert faults[-1].at_s < 35 * 60


@pytest.mark.parametrize("seed", SEEDS)
def test_the_short_form_meets_every_kind(seed: int) -> None:
    """Within 90 seconds each kind of fault comes once."""
    assert {fault.kind for fault in schedule(seed, 90, 4)} >= set(Kind) - {Kind.FREEZE}


@pytest.mark.parametrize("seed", SEEDS)
def test_half_of_the_freezes_outlast_the_session(seed: int) -> None:
    """By turns: long enough to be taken over, and not."""
    seconds = [fault.seconds for fault in schedule(seed, 3000, 4) if fault.kind in FREEZES]
    assert min(seconds) >= 0.2
    assert max(seconds) <= 30
    assert abs(sum(duration > SESSION_S for duration in seconds) - len(seconds) / 2) <= 1


def test_stories_hold_all_that_can_be() -> None:
    """Three classes, both encodings, all fates, and at least five in a hundred with trouble at the provider."""
    stories = [story(3, number) for number in range(5000)]
    assert stories == [story(3, number) for number in range(5000)]
    assert {told.fate for told in stories} == set(Fate) - {Fate.SUPPRESSED}
    classes = Counter(told.flow("in/0/0").message_class for told in stories)
    assert min(classes[name] for name in ("otp", "transactional", "marketing")) > 1000
    assert {told.value(0)[:1] for told in stories} >= {b"{", b"\xc3", b"\x00"}
    assert len({told.scenario for told in stories}) > 20
    assert sum(told.repeats for told in stories) > 50


def test_an_expired_event_was_late_before_it_came() -> None:
    """Its time lies two days back, so that only the expiry can be its end."""
    late = [told for number in range(2000) if (told := story(1, number)).fate is Fate.EXPIRED]
    assert {told.expires_ms(10**12) for told in late} == {None}
    times = {orjson.loads(told.value(10**12))["occurred_at"] for told in late if told.number % 2}
    assert times == {10**12 - 48 * 3_600_000}


@pytest.mark.parametrize(
    ("skipped", "broken", "good", "word"),
    [
        ({}, [], True, "GOOD"),
        ({"I4": "no journal"}, [], False, "unchecked: I4"),
        ({}, [Problem("I2", "twice")], False, "1 PROBLEMS"),
    ],
)
def test_a_report_is_good_only_when_every_law_was_checked(skipped: dict[str, str], broken: list[Problem], good: bool, word: str) -> None:
    """A law that was skipped is as bad as one that is broken, and both are told in the line."""
    report = Report(seed=1, rate=1.0, workers=4, minutes=1.0, events=10, checked=("I1",), skipped=skipped, problems=broken)
    assert report.is_good is good
    assert word in report.line


def test_a_report_bounds_what_was_not_seen(tmp_path: Path) -> None:
    """Where nothing was lost, the file says the upper bound 3/n; else the figure. Of very many problems it holds the first."""
    report = Report(seed=1, rate=1.0, workers=4, minutes=1.0, events=300_000)
    report.problems = [Problem("I2", "twice")] * 600
    report.write(tmp_path / "report.json")
    read = orjson.loads((tmp_path / "report.json").read_bytes())
    assert read["lost_per_million"] == "0 seen, < 10.0"
    assert read["doubled_per_million"] == "2000.00"
    assert (read["problem_count"], len(read["problems"])) == (600, 500)


def test_faults_rest_in_every_minute() -> None:
    """The last quarter of each minute is calm, so that a session can end and lanes can move."""
    assert all(fault.at_s % 60 <= 44 for fault in schedule(1, 3600, 4))
    assert list(takewhile(lambda fault: fault.at_s < 5, schedule(1, 3600, 4))) == []
