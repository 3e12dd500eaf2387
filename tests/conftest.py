"""The broker the tests run on, topics of their own, and the last line that says which broker it was."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from hypothesis import settings

from tests import kafka

settings.register_profile("untimed", settings(), deadline=None)  # speed is never asserted: machines are noisy
settings.load_profile("untimed")

USED = pytest.StashKey[str]()

NewTopicName = Callable[..., str]


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[kafka.Broker]:
    """A real broker, shared by the whole run."""
    if (why_not := request.config.stash.get(USED, "")).startswith("NONE"):
        pytest.skip(why_not)
    try:
        found = kafka.find()
    except kafka.NoBroker as reason:
        request.config.stash[USED] = f"NONE, broker tests were SKIPPED: {reason}"
        pytest.skip(str(reason))
    request.config.stash[USED] = found.description
    yield found
    found.close()


@pytest.fixture
def topic(broker: kafka.Broker) -> NewTopicName:
    """Creates a topic with a name nobody else has: ``topic("journal", partitions=2, config={...})``; ``name=`` gives it whole."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    numbers = itertools.count()
    run = uuid.uuid4().hex[:8]

    def create(stem: str = "topic", *, partitions: int = 1, config: Mapping[str, str] | None = None, name: str | None = None) -> str:
        chosen = name or f"{stem}-{run}-{next(numbers)}"
        created = admin.create_topics([NewTopic(chosen, partitions, 1, config=dict(config or {}))])
        created[chosen].result(30)
        return chosen

    return create


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line of all."""
    if (used := config.stash.get(USED, None)) is not None:
        config.get_terminal_writer().line(f"broker tests ran on: {used}", bold=True, red=used.startswith("NONE"))
