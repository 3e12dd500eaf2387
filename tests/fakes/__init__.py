"""In-memory implementations of the ports, one file each; ``tests/contract`` runs the same suites on them and on the real ones."""

from tests.fakes.archive import FakeArchive
from tests.fakes.callbacks import FakeCallbackFeed, FakeCallbackSink
from tests.fakes.clock import FakeClock
from tests.fakes.journal import FakeJournal
from tests.fakes.outbox import FakeDeadLetters, FakeOutbox
from tests.fakes.past import FakePast
from tests.fakes.source import FakeSource

__all__ = [
    "FakeArchive",
    "FakeCallbackFeed",
    "FakeCallbackSink",
    "FakeClock",
    "FakeDeadLetters",
    "FakeJournal",
    "FakeOutbox",
    "FakePast",
    "FakeSource",
]
