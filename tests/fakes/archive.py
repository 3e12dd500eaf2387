"""What a looker sees of the fake journals and outputs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

from connector.core.model import JsonObject
from connector.errors import KafkaUnavailable
from connector.ports import Ends, Entry, LaneId
from tests.fakes.journal import Logs
from tests.fakes.outbox import Emitted


class FakeArchive:
    """Over the logs of a ``FakeJournal`` and the statuses of a ``FakeOutbox``. ``read``: how many status batches were asked for."""

    def __init__(self, logs: Logs, statuses: list[Emitted], inputs: Mapping[LaneId, int]) -> None:
        self._logs = logs
        self._statuses = statuses
        self._inputs = inputs
        self.statuses_unavailable = False
        self.cut = False
        self.lost_before_ms = 0  # what a broker that answers times wrongly does not find
        self.read = 0

    async def lanes(self) -> Sequence[LaneId]:
        return sorted(self._inputs)

    async def ends(self, lane: LaneId) -> Ends:
        return Ends(len(self._logs[lane]), self._inputs[lane])

    async def rows(self, lane: LaneId) -> AsyncGenerator[Sequence[Entry], None]:
        for first in range(0, len(self._logs[lane]), 5):
            yield [entry for entry in self._logs[lane][first : first + 5] if entry is not None]

    async def statuses(self, lane: LaneId, flow_ids: Collection[str], since_ms: int) -> AsyncGenerator[Sequence[JsonObject], None]:
        if self.statuses_unavailable:
            raise KafkaUnavailable("fake")
        if 0 < since_ms < self.lost_before_ms:
            return
        for event, _, _ in self._statuses:
            self.read += 1
            yield [event.body] if event.flow_id in flow_ids and (event.body["observed_at"] or 0) >= since_ms else []

    async def statuses_cut(self, lane: LaneId) -> bool:
        del lane
        return self.cut
