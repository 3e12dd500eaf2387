"""What stands in the output topics, sorted by flow: all that a consumer can know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Body = Mapping[str, Any]


@dataclass(slots=True)
class FlowSeen:
    """One flow's events in the order in which they stand in their topic."""

    flow_id: str
    sends: list[Body] = field(default_factory=list)
    statuses: list[Body] = field(default_factory=list)

    @property
    def decisions(self) -> list[Body]:
        """SendEvents that are decisions; a correction replaces one, a duplicate only audits one."""
        return [body for body in self.sends if not body["correction"] and not body["duplicate"]]

    @property
    def outcome(self) -> str | None:
        """The send decision as it stands now."""
        standing = [body for body in self.sends if not body["duplicate"]]
        return str(standing[-1]["outcome"]) if standing else None

    @property
    def tracking_id(self) -> str | None:
        """The provider's id of the accepted flow."""
        return next((str(body["tracking_id"]) for body in reversed(self.sends) if body["tracking_id"] and not body["duplicate"]), None)

    @property
    def status(self) -> str | None:
        """The flow's status as it stands now."""
        return str(self.statuses[-1]["status"]) if self.statuses else None

    @property
    def is_terminal(self) -> bool:
        """A status said that nothing more is to come."""
        return any(body["terminal"] for body in self.statuses)

    @property
    def has_ended(self) -> bool:
        """No send decision and no status is awaited any more."""
        return self.outcome is not None and (self.outcome != "ACCEPTED" or self.is_terminal)

    @property
    def is_delivered(self) -> bool:
        """A message is known to have reached the person."""
        return bool(self.statuses) and bool(self.statuses[-1]["delivered"])

    @property
    def is_silent(self) -> bool:
        """Given up at its deadline."""
        return self.is_terminal and self.status == "UNKNOWN"

    @property
    def was_resent(self) -> bool:
        """Sent again after a doubt."""
        return any(body["resent_after_doubt"] for body in self.sends)

    @property
    def steps(self) -> list[tuple[int, str, str]]:
        """Order, channel and last status of each step that was begun."""
        last = {(step["order"], step["channel"]): step["status"] for body in self.statuses if (step := body["step"]) is not None}
        return [(order, channel, status) for (order, channel), status in sorted(last.items())]

    @property
    def has_failed_over(self) -> bool:
        """A second step was begun."""
        return len({order for order, _, _ in self.steps}) > 1


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    flow_id: str
    reason: str
    value: bytes | None = field(repr=False)


@dataclass(slots=True)
class Seen:
    """All flows, dead letters, and how often each output event was read."""

    flows: dict[str, FlowSeen] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    copies: Counter[str] = field(default_factory=Counter)

    def send(self, body: Body) -> FlowSeen:
        """A SendEvent was read."""
        flow = self._flow(body)
        if self.copies[body["id"]] == 1:
            flow.sends.append(body)
        return flow

    def status(self, body: Body) -> FlowSeen:
        """A StatusEvent was read."""
        flow = self._flow(body)
        if self.copies[body["id"]] == 1:
            flow.statuses.append(body)
        return flow

    def _flow(self, body: Body) -> FlowSeen:
        self.copies[body["id"]] += 1
        return self.flows.setdefault(body["flow_id"], FlowSeen(body["flow_id"]))
