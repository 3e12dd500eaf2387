"""A connector's finished work, for commands that only look at it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.crew import Crew, Event, make_events
from tests.kafka import Broker

_PLAIN = ("viber_ok", "viber_expired_sms_ok", "all_fail")


class Ended(NamedTuple):
    """A folder with the ``connector.yaml`` of a connector that has ended these events, and gone."""

    folder: Path
    events: list[Event]


@pytest.fixture(scope="session")
def ended(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Once for all who look; what each scenario ends as is known."""
    folder = tmp_path_factory.mktemp("ended")
    events = [event for event in make_events(90, seed=5) if event.fate != "sent" or event.scenario in _PLAIN]
    with Crew(broker.bootstrap_servers, folder) as crew:
        crew.start_worker(1)
        crew.produce(events)
        deadline = time.monotonic() + 60
        while crew.lag() and time.monotonic() < deadline:  # before that the outputs, just created, may have no leader yet
            time.sleep(0.5)
        assert crew.wait_until_done(events, 60).problems(events) == []
        crew.stop(1)
    (folder / "worker-1.yaml").rename(folder / "connector.yaml")
    return Ended(folder, events)
