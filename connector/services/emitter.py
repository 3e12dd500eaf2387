"""The outbox of one lane: events of valid rows, in order, and how far the outputs are known to be out (docs/how-it-works.md)."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence

from connector.core.model import OutputEvent
from connector.ports import LaneId, Outbox

Headers = Sequence[tuple[str, bytes]]


class Emitter:
    """``OUT`` is kept per output topic: next offset behind the last acknowledged event of this lane."""

    def __init__(self, lane: LaneId, outbox: Outbox, out: Mapping[str, int], lose: Callable[[str], None]) -> None:
        self._lane = lane
        self._outbox = outbox
        self._lose = lose
        self._unacked: set[Future[tuple[str, int]]] = set()
        self._ends = dict(out)

    @property
    def out(self) -> dict[str, int]:
        """OUT as a checkpoint notes it."""
        return dict(self._ends)

    def emit(self, event: OutputEvent, recipient: str | None, headers: Headers, acked: Callable[[], None]) -> None:
        """Produce one event; ``acked`` runs when Kafka has it. A failure drops the lane: the tail scan decides what is missing."""
        future = self._outbox.emit(self._lane, event, recipient, headers)
        self._unacked.add(future)

        def done(report: Future[tuple[str, int]]) -> None:
            self._unacked.discard(report)
            if report.cancelled() or report.exception() is not None:
                self._lose("output_unknown")
                return
            topic, offset = report.result()
            self._ends[topic] = max(self._ends.get(topic, 0), offset + 1)
            acked()

        future.add_done_callback(done)

    def unacked(self) -> tuple[Future[tuple[str, int]], ...]:
        """What is on its way now."""
        return tuple(self._unacked)
