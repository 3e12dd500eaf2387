"""The short form of the chaos run, on a broker of its own: every kind of fault once or twice, and every law checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.report import Report
from tests.chaos.run import Run
from tests.chaos.schedule import Kind
from tests.kafka import NoBroker, own_broker

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]  # ~2.5 min; a slow machine drains longer


def test_nothing_is_lost_or_doubled_whatever_fails(tmp_path: Path) -> None:
    """Kills, freezes, aimed ones, a storm, broker faults and lost replies: every event ends once, nobody is messaged twice."""
    try:
        with own_broker() as broker:
            report = Run(broker, tmp_path, Report(seed=1, rate=40, workers=4, minutes=1.5)).execute()
    except NoBroker as reason:
        pytest.skip(str(reason))
    assert report.problems == []
    assert report.skipped == {}
    assert report.deeds["kills"] >= 8
    assert {kind for kind in Kind if report.deeds.get(kind, 0)} >= set(Kind) - {Kind.FREEZE}
    assert report.figures["accepts"] > 1000
