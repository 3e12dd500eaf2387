"""What the simulated provider saw: every request, every acceptance, every breach of the contract. The truth that tests ask.

The file holds recipients in clear: it is a test tool's record of made-up people. Nothing here is ever printed.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from connector.simulator.checks import Issue

_ATTEMPT = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.(\d+)$")


def attempt_of(label: str | None) -> tuple[str | None, int | None]:
    """``(flow_id, n)`` of a label that ends in ``<flow_id>.<n>``, whatever stands before it."""
    found = _ATTEMPT.search(label or "")
    return (found[1], int(found[2])) if found else (None, None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. ``status`` is 0 when nothing was answered; ``recipient`` is digits only, of a send's first step."""

    seq: int
    at: float  # epoch seconds
    what: str  # token, send, track, search, balance, templates, health, other; only in the file: callback
    method: str
    path: str
    status: int
    api: str | None = None
    label: str | None = None
    flow_id: str | None = None  # out of the label
    attempt: int | None = None
    recipient: str | None = field(default=None, repr=False)
    accepted: str | None = None  # tracking id of the accepted flow
    fault: str | None = None  # name of the fault that met it
    scenario: str | None = None
    callback_url: str | None = field(default=None, repr=False)
    violations: tuple[str, ...] = ()  # kind, or kind:where
    body: bytes | None = field(default=None, repr=False)  # of a callback: the JSON document that the client answered with 200

    def as_json(self) -> dict[str, Any]:
        """The entry as a ledger line; the recipient with its ``+``."""
        doc = {name: getattr(self, name) for name in self.__slots__}
        doc["recipient"] = None if self.recipient is None else f"+{self.recipient}"
        doc["body"] = None if self.body is None else orjson.Fragment(self.body)
        return doc


class Ledger:
    """Entries in order of arrival. ``path``: also one JSON line each, written before the answer goes out."""

    def __init__(self, path: Path | None = None, keep: int | None = None) -> None:
        self.entries: deque[Entry] = deque(maxlen=keep)
        self.violations: Counter[str] = Counter()  # by kind
        self.requests: Counter[str] = Counter()  # by what
        self.callbacks: Counter[str] = Counter()  # by result: sent, ok, failed, retried, given_up, dropped, lost, late, reordered
        self._accepted: dict[str, list[str]] = {}
        self._accepted_total = 0
        self._unlabelled = 0
        self._labels: set[str] = set()
        self._seq = 0
        self._fd = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def next_seq(self) -> int:
        """The number of the next entry, from 1."""
        self._seq += 1
        return self._seq

    def is_repeat(self, label: str) -> bool:
        """Was this label seen in an earlier request? Remembers it."""
        if label in self._labels:
            return True
        self._labels.add(label)
        return False

    def add(self, entry: Entry) -> None:
        """Record a request."""
        self.entries.append(entry)
        self.requests[entry.what] += 1
        for violation in entry.violations:
            self.violations[violation.partition(":")[0]] += 1
        if entry.accepted is not None:
            self._accepted_total += 1
            if entry.flow_id is None:
                self._unlabelled += 1
            else:
                self._accepted.setdefault(entry.flow_id, []).append(entry.accepted)
        if self._fd is not None:
            os.write(self._fd, orjson.dumps(entry.as_json(), option=orjson.OPT_APPEND_NEWLINE))

    def taken(self, at: float, api: str, label: str | None, url: str, body: bytes) -> None:
        """A callback was answered with success: a line of its own in the file, with the document. It is no request: nothing counts it."""
        if self._fd is None:
            return
        flow_id, attempt = attempt_of(label)
        entry = Entry(self.next_seq(), at, "callback", "POST", "", 200, api, label, flow_id, attempt, callback_url=url, body=body)
        os.write(self._fd, orjson.dumps(entry.as_json(), option=orjson.OPT_APPEND_NEWLINE))

    def accepted_by_flow(self) -> dict[str, list[str]]:
        """``flow_id`` (out of the labels) → tracking ids of its accepted flows: more than one means that a person was messaged twice."""
        return {flow_id: list(ids) for flow_id, ids in self._accepted.items()}

    def sends(self) -> Iterator[Entry]:
        """The requests to send, in order."""
        return (entry for entry in self.entries if entry.what == "send")

    def repeats(self) -> dict[str, list[str]]:
        """Flows that were accepted more than once."""
        return {flow_id: list(ids) for flow_id, ids in self._accepted.items() if len(ids) > 1}

    def summary(self) -> dict[str, Any]:
        """Counts, without a recipient."""
        return {
            "requests": dict(self.requests),
            "accepted": self._accepted_total,
            "accepted_unlabelled": self._unlabelled,
            "flows": len(self._accepted),
            "repeats": len(self.repeats()),
            "violations": dict(self.violations),
            "callbacks": dict(self.callbacks),
        }

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def words(issues: Sequence[Issue]) -> tuple[str, ...]:
    """Issues as a ledger entry holds them."""
    return tuple(f"{issue.kind}:{issue.where}" if issue.path else issue.kind for issue in issues)
