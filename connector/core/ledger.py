"""What a lane knows of its events: asked by event first, not by flow, so that a renamed or reordered rule can message nobody twice.

Open events are objects; settled ones are 64 bits and a row offset each (``settled``). Pure bookkeeping: the rows are read elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.core.settled import SettledIndex


@dataclass(slots=True)
class OpenEvent:
    """An event with a flow that is not finished, or that has no row yet."""

    siblings: tuple[str, ...]
    open: set[str] = field(default_factory=set)  # flow ids that are not finished
    unwritten: set[str] = field(default_factory=set)  # flow ids without a valid row of this epoch
    waiting: list[int] = field(default_factory=list)  # input offsets that may be committed once nothing is unwritten
    known: set[str] = field(default_factory=set)  # rule names that have a flow


class Ledger:
    """One lane, one epoch."""

    def __init__(self, expected: int = 0) -> None:
        self.events: dict[bytes, OpenEvent] = {}
        self.settled = SettledIndex(expected)
        self.covered: set[int] = set()  # input offsets, not yet committed at the claim, whose flows all have rows

    def begin(self, digest: bytes, siblings: tuple[str, ...], flows: dict[str, str], offset: int) -> None:
        """Register an event met at input ``offset``, or the missing rest of it; ``flows``: rule name → flow id to start."""
        event = self.events.setdefault(digest, OpenEvent(siblings))
        event.open.update(flows.values())
        event.unwritten.update(flows.values())
        event.known.update(siblings)
        event.waiting.append(offset)

    def adopt(self, digest: bytes, siblings: tuple[str, ...], rule: str, flow_id: str) -> None:
        """An inherited flow that is not finished."""
        event = self.events.setdefault(digest, OpenEvent(siblings))
        event.open.add(flow_id)
        event.known.add(rule)

    def written(self, digest: bytes, flow_id: str) -> list[int]:
        """The flow has a valid row; gives the input offsets that have become committable."""
        event = self.events.get(digest)
        if event is None:
            return []
        event.unwritten.discard(flow_id)
        if event.unwritten:
            return []
        free, event.waiting = event.waiting, []
        return free

    def finish(self, digest: bytes, flow_id: str, row_offset: int) -> None:
        """The flow is finished and its last row valid: only its place in the journal is kept."""
        self.settled.add(digest, row_offset)
        event = self.events.get(digest)
        if event is None:
            return
        event.open.discard(flow_id)
        if not event.open:
            del self.events[digest]
