"""Which flows somebody who looks asks for: by a name of theirs, or by state."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import orjson

from connector.core import identity, rows
from connector.core.flow import Flow, State
from connector.core.phone import e164
from connector.errors import Unbuildable

_COORDINATES: Final = re.compile(r"(?P<topic>[\w.-]+)[/:](?P<partition>\d{1,9})[/:](?P<offset>\d{1,18})", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Flows by any of their names: event id, flow id, tracking id, ``topic/partition/offset``, phone or its hash.

    ``may_match`` is quick and errs towards yes; ``matches`` decides. The phone itself is not held, only its keyed hash.
    """

    text: str = field(repr=False)
    phone_hash: bytes | None
    coordinates: tuple[str, int, int] | None
    digest: bytes
    _marks: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, text: str, pseudonym: Callable[[bytes], bytes]) -> Wanted:
        """``pseudonym``: the keyed hash that the journal's recipients are stored under."""
        stripped = text.strip().encode(errors="replace").decode()
        phone_hash = _phone_hash(stripped, pseudonym)
        found = _COORDINATES.fullmatch(stripped)
        coordinates = (found["topic"], int(found["partition"]), int(found["offset"])) if found else None
        # As JSON texts: an event id, or a tracking id, which another tool may spell in other letters than the answer did.
        marks = [orjson.dumps(spelt) for spelt in dict.fromkeys((stripped, stripped.lower(), stripped.upper()))]
        if phone_hash:
            marks.append(phone_hash.hex().encode())
        return cls(stripped, phone_hash, coordinates, identity.digest(stripped), tuple(marks))

    @property
    def is_phone(self) -> bool:
        """Whether it can be read as a phone: then its text must not be shown."""
        return self.phone_hash is not None and not _HASH.fullmatch(self.text)

    def may_match(self, key: bytes, value: bytes) -> bool:
        """Without decoding the body."""
        head = rows.head_of(value)
        if head.digest == self.digest or key.startswith(self.text.lower().encode() + b"|"):
            return True
        if self.coordinates is not None and head.input_offset == self.coordinates[2]:
            return True
        return any(mark in value for mark in self._marks)

    def matches(self, flow: Flow) -> bool:
        """Whether this is one of the flows asked for."""
        facts = flow.facts
        return (
            facts.digest == self.digest
            or self.text == facts.event_id
            or self.text.casefold() in {one.casefold() for one in (facts.flow_id, flow.tracking_id or "", *flow.duplicates) if one}
            or (self.phone_hash is not None and facts.recipient_hash == self.phone_hash)
            or (facts.source_topic, facts.source_partition, facts.source_offset) == self.coordinates
        )


def _phone_hash(text: str, pseudonym: Callable[[bytes], bytes]) -> bytes | None:
    if _HASH.fullmatch(text):
        return bytes.fromhex(text)
    try:
        return pseudonym(e164(text).encode())
    except Unbuildable:
        return None


STATE_WORDS: Final = tuple(state.name.lower() for state in State if state is not State.NEW)
OPEN, FOLLOWED, UNDELIVERED = "open", "followed", "undelivered"
"""Words for several states: no send decision yet; accepted, and its end is awaited; accepted, and it ended and reached nobody."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Flows by state: any of ``words`` (``STATE_WORDS`` and the three above; none: whatever is not finished).

    ``may_match`` is quick and errs towards yes; ``matches`` decides.
    """

    words: frozenset[str] = frozenset()

    def may_match(self, _key: bytes, value: bytes) -> bool:
        """By the row's head alone."""
        head = rows.head_of(value)
        ended = UNDELIVERED in self.words and head.state is State.ACCEPTED and head.finished
        return ended or self._stands(head.state, finished=head.finished)

    def matches(self, flow: Flow) -> bool:
        """Whether this is one of the flows asked for."""
        unheard = UNDELIVERED in self.words and flow.progress is not None and flow.progress.undelivered
        return unheard or self._stands(flow.state, finished=flow.finished)

    def _stands(self, state: State, *, finished: bool) -> bool:
        if not self.words:
            return not finished
        return (
            state.name.lower() in self.words
            or (OPEN in self.words and not state.settled)
            or (FOLLOWED in self.words and state is State.ACCEPTED and not finished)
        )


def since_ms(flow: Flow) -> int:
    """Since when the flow has been as it is: its last change, else its last POST, else when the event occurred."""
    if flow.changed_at_ms:
        return flow.changed_at_ms
    return flow.attempts[-1].at_ms if flow.attempts else flow.facts.occurred_at_ms
