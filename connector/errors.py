"""One exception tree. Foreign exceptions are mapped to it once, in ``adapters/``; HTTP trouble is a value, not an exception.

::

    ConnectorError
    ├── ConfigError            settings or rules are wrong; carries every Problem found; exit code 2
    ├── InputError             this record can never be processed: dead letter
    │   ├── Undecodable        bytes, schema or shape
    │   └── Unbuildable        the event lacks what the rule's message needs
    ├── Retriable              somebody else is away; try again with backoff
    │   ├── RegistryUnavailable
    │   └── KafkaUnavailable
    ├── LaneLost               this process no longer owns the lane, or cannot know that it does: drop, claim anew
    ├── LaneRefused            the lane's topics cannot be trusted; a person must act (message holds the remedy)
    └── LaneStopped            a clean stop was asked for
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file a person wrote: where, what, and what to do about it."""

    where: str  # "rules.yaml:12", or an environment variable's name
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n    hint: {self.hint}" if self.hint else "")


class ConnectorError(Exception):
    """Root of all errors the connector raises itself."""


class ConfigError(ConnectorError):
    """Settings or rules are wrong. ``problems`` holds all of them, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class InputError(ConnectorError):
    """A record that can never be processed. Ends as a dead letter; the text never holds a value from the record.

    ``reason`` is a stable code in UPPER_SNAKE, bounded (it labels a metric); ``path`` is the dotted place in the event or rule.
    """

    def __init__(self, reason: str, detail: str, path: str = "") -> None:
        super().__init__(f"{reason}: {detail}" + (f" (at {path})" if path else ""))
        self.reason = reason
        self.detail = detail
        self.path = path


class Undecodable(InputError):
    """The bytes are no event: framing, schema, JSON, or a required field."""


class Unbuildable(InputError):
    """The event was understood, but the matched rule cannot make a valid message of it."""


class Retriable(ConnectorError):
    """A dependency is away for now."""


class RegistryUnavailable(Retriable):
    """The schema registry cannot be asked. (Its own "not found" is ``Undecodable``.)"""


class KafkaUnavailable(Retriable):
    """A broker request failed or timed out."""


class NoSuchLog(KafkaUnavailable):
    """The broker knows no such topic or partition (not yet, or not any more)."""


class LaneLost(ConnectorError):
    """Fenced, or the fate of a row is unknown. ``reason`` is a bounded word for the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LaneRefused(ConnectorError):
    """The lane's topics are missing, foreign, or contradict themselves; the text names the remedy."""


class LaneStopped(ConnectorError):
    """The lane is draining: nothing new is begun."""
