"""The main job through the public command: a real broker, two processes of ``failover-connector run``, the simulator."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.crew import Crew, make_events
from tests.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]  # each waits for its end for up to 150 s by itself


def test_five_thousand_events_end_exactly_once(broker: Broker, tmp_path: Path) -> None:
    """JSON and Avro, all classes: one accept per sendable event, one dead letter per bad one, a terminal status each, all committed."""
    events = make_events(5000)
    with Crew(broker.bootstrap_servers, tmp_path) as crew:
        crew.start_worker(1)
        crew.start_worker(2)
        crew.produce(events)
        found = crew.wait_until_done(events, 120)
        assert found.problems(events) == []
        assert found.repeated_ids == 0
        assert {crew.stop(1), crew.stop(2)} == {0}


def test_a_killed_process_loses_and_doubles_nothing(broker: Broker, tmp_path: Path) -> None:
    """kill -9 of one of two in the middle of the stream, back three seconds later: no event lost, no second accept."""
    events = make_events(3000, seed=2)
    half = len(events) // 2
    with Crew(broker.bootstrap_servers, tmp_path) as crew:
        crew.start_worker(1)
        crew.start_worker(2)
        crew.produce(events[:half], per_second=500)
        crew.kill(1)
        crew.produce(events[half:], per_second=500)
        crew.start_worker(1)
        found = crew.wait_until_done(events, 150)
        assert found.problems(events) == []


def test_a_stop_under_load_leaves_no_doubt(broker: Broker, tmp_path: Path) -> None:
    """SIGTERM while events flow: exit code 0, what is open ends or waits unsent, and the next process goes on without one doubt."""
    events = [event for event in make_events(1500, seed=3) if event.scenario in {"viber_ok", "all_fail"}]
    with Crew(broker.bootstrap_servers, tmp_path) as crew:
        crew.start_worker(1)
        crew.produce(events[: len(events) // 2], per_second=800)
        assert crew.stop(1) == 0
        crew.produce(events[len(events) // 2 :])
        begun = time.monotonic()
        crew.start_worker(1)
        found = crew.wait_until_done(events, 120)
        assert found.problems(events) == [], f"{time.monotonic() - begun:.0f} s after the restart"
        assert not any(line["outcome"] == "DOUBT" for sent in found.sends.values() for event in sent for line in event["attempts"])
