"""The ingress as processes, in the short form of ``make bench-callbacks``: what was answered is what Kafka has, whatever comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.callbacks.forged import forged
from tests.bench.callbacks.storm import storm
from tests.kafka import Broker, NoBroker, own_broker

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]  # ~30 s; a slow machine's broker comes back later


@pytest.fixture(scope="module")
def mortal() -> Iterator[Broker]:
    """A broker that may be killed."""
    try:
        with own_broker() as broker:
            yield broker
    except NoBroker as reason:
        pytest.skip(str(reason))


def test_every_200_is_in_kafka_though_receivers_and_the_broker_are_killed(mortal: Broker, tmp_path: Path) -> None:
    """A callback answered with 200 is in its lane's topic; each one gets its 200 in the end."""
    part = storm(mortal, tmp_path / "storm", callbacks=3_000, rate=200, kills=3, bounces=1)
    assert part.problems == []
    assert (part.figures["answered"], part.figures["kills"], part.figures["bounces"]) == (3_000, 3, 1)


def test_forged_calls_change_nothing(mortal: Broker, tmp_path: Path) -> None:
    """No forged call reaches Kafka, the log or the metrics' labels; true ones from the same addresses are answered with 200."""
    part = forged(mortal, tmp_path / "forged", calls=5_000)
    assert part.problems == []
    assert (part.figures["true"], part.figures["new_series"]) == (50, 0)
