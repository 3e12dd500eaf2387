"""The facts, sorted once by what the laws ask for."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from tests.proof.facts import ExpectedEvent, ExpectedFlow, Facts, JournalRow, Post, RowKind, SendSeen, StatusSeen


@dataclass(frozen=True, slots=True)
class Problem:
    """A law that was broken, and by what."""

    law: str
    text: str


class Output(Protocol):
    """A SendEvent, a StatusEvent or a dead letter: several copies may stand under one id."""

    @property
    def id(self) -> str:
        """Of its content."""
        ...

    @property
    def flow_id(self) -> str:
        """Whose it is."""
        ...


_O = TypeVar("_O", bound=Output)
_T = TypeVar("_T")


class Known:
    """Indices over ``facts``; each is made when first asked for."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    @cached_property
    def flows(self) -> dict[str, tuple[ExpectedEvent, ExpectedFlow]]:
        """Every flow that has to be, with its event (the first one, where an event was repeated)."""
        return {flow.flow_id: (event, flow) for event in self.facts.events if not event.repeat for flow in event.flows}

    @cached_property
    def posts(self) -> dict[str, list[Post]]:
        """Requests by flow, in the provider's order."""
        return _by_flow((post.flow_id or "", post) for post in sorted(self.facts.posts, key=lambda post: post.seq))

    @cached_property
    def accepts(self) -> dict[str, list[Post]]:
        """Accepted ones only."""
        return {flow: taken for flow, posts in self.posts.items() if (taken := [post for post in posts if post.tracking_id is not None])}

    @cached_property
    def sends(self) -> dict[str, list[SendSeen]]:
        """First copies by flow, in topic order."""
        return _first_copies(self.facts.sends)

    @cached_property
    def statuses(self) -> dict[str, list[StatusSeen]]:
        """First copies by flow, in topic order."""
        return _first_copies(self.facts.statuses)

    @cached_property
    def final(self) -> dict[str, SendSeen]:
        """What each flow's send came to in the end: its decision, or the last correction of it."""
        return {flow: last[-1] for flow, sends in self.sends.items() if (last := [send for send in sends if not send.duplicate])}

    @cached_property
    def claims(self) -> dict[str, list[int]]:
        """Offsets of the CLAIM rows by lane, rising."""
        found: dict[str, list[int]] = defaultdict(list)
        for row in self.facts.rows or ():
            if row.kind is RowKind.CLAIM:
                found[row.lane].append(row.offset)
        return {lane: sorted(offsets) for lane, offsets in found.items()}

    def is_valid(self, row: JournalRow) -> bool:
        """No CLAIM lies between the row's epoch and the row."""
        if row.kind is RowKind.CLAIM:
            return True
        claims = self.claims.get(row.lane, [])
        later = bisect_right(claims, row.epoch)
        return later == len(claims) or claims[later] > row.offset

    @cached_property
    def rows(self) -> dict[str, list[JournalRow]]:
        """A flow's valid rows, by offset."""
        valid = (row for row in self.facts.rows or () if row.kind is RowKind.FLOW and self.is_valid(row))
        return _by_flow((row.flow_id, row) for row in sorted(valid, key=lambda row: row.offset))


def _by_flow(pairs: Iterable[tuple[str, _T]]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = defaultdict(list)
    for flow, value in pairs:
        found[flow].append(value)
    return dict(found)


def _first_copies(outputs: Sequence[_O]) -> dict[str, list[_O]]:
    seen: set[str] = set()
    firsts: list[tuple[str, _O]] = []
    for output in outputs:
        if output.id not in seen:
            seen.add(output.id)
            firsts.append((output.flow_id, output))
    return _by_flow(firsts)
