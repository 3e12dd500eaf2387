"""Stops under load: rolling restarts without a doubt, and a second signal that ends at once. The long form is ``make rolling``."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.crew import Crew, Event
from tests.acceptance.rolling import CalmCrew, roll, steady
from tests.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]


def test_rolling_restarts_leave_no_doubt(broker: Broker, tmp_path: Path) -> None:
    """Five times SIGTERM to one of two workers with POSTs under way: exit code 0, no doubt, nothing lost, nothing twice."""
    with CalmCrew(broker.bootstrap_servers, tmp_path) as crew:
        rolled = roll(crew, restarts=5, per_second=20)
        assert rolled.problems == []
        assert (rolled.codes, rolled.doubts, rolled.inherited) == ([0] * 5, 0, 0)


def test_a_second_signal_ends_at_once_and_safely(broker: Broker, tmp_path: Path) -> None:
    """Exit code 1, nothing waited for; what was under way is found by the next process, which reports it, and nobody gets it twice."""
    events = [event for event in steady(0, 240, seed=3) if event.scenario == "slow"]
    with Crew(broker.bootstrap_servers, tmp_path) as crew:
        crew.start_worker(1)
        crew.produce(events)
        await_posts(crew, events[:10])
        worker, log = crew.workers[1], tmp_path / "worker-1.log"
        worker.send_signal(signal.SIGTERM)
        await_line(log, b'"event":"stopping"')  # two signals that wait for the process are one
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 1
        assert log.read_bytes().splitlines()[-1].endswith(b'"event":"stopped","code":1}')
        crew.start_worker(1)
        found = crew.wait_until_done(events, 120)
        assert found.problems(events) == []
        await_line(log, b'"event":"restart_report"')


def await_posts(crew: Crew, events: list[Event]) -> None:
    """Until Routee has got that many."""
    deadline = time.monotonic() + 30
    while crew.ledger.read_bytes().count(b"\n") < len(events):
        assert time.monotonic() < deadline, "nothing is sent"
        time.sleep(0.05)


def await_line(log: Path, words: bytes) -> None:
    """Until the log holds it."""
    deadline = time.monotonic() + 30
    while words not in log.read_bytes():
        assert time.monotonic() < deadline, words
        time.sleep(0.05)
