"""Every accepted flow's last word against the provider's own: over the simulator's flows, and the statuses topic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.proof.facts import StatusSeen

_DELIVERED = frozenset({"delivered", "seen", "completed"})
_FAILED = frozenset({"undelivered", "failed", "unsent", "expired", "busy", "noanswer", "terminated"})


@dataclass(frozen=True, slots=True)
class Truth:
    """What the provider has of an accepted flow when all is over. ``steps``: the words of those that were started."""

    flow_id: str
    api: str
    status: str
    steps: tuple[str, ...]

    @property
    def ends(self) -> frozenset[str]:
        """The statuses that tell it rightly. UNKNOWN only where the provider itself knows no end.

        An OTP flow that *Succeeded* was only taken by a channel: it has an end when a step was delivered, or the last one has failed.
        """
        words = [word.lower() for word in self.steps]
        if self.status == "Failed":
            return frozenset({"FAILED"})
        if self.status != "Succeeded":
            return frozenset({"UNKNOWN"})
        if self.api != "otp" or _DELIVERED & set(words):
            return frozenset({"SUCCEEDED"})
        return frozenset({"SUCCEEDED", "FAILED"}) if words and words[-1] in _FAILED else frozenset({"UNKNOWN"})


def broken(flow_ids: Iterable[str], truths: Iterable[Truth], statuses: Iterable[StatusSeen]) -> Iterator[str]:
    """What is wrong, in words: a flow that was not accepted once, that has no end, a wrong one, or a hole in its numbers."""
    accepted: defaultdict[str, list[Truth]] = defaultdict(list)
    for truth in truths:
        accepted[truth.flow_id].append(truth)
    told = _by_flow(statuses)
    wanted = set(flow_ids)
    for flow_id in sorted(wanted | accepted.keys() | told.keys()):
        if flow_id not in wanted:
            yield f"{flow_id} belongs to no event"
        elif len(accepted[flow_id]) != 1:
            yield f"{flow_id} was accepted {len(accepted[flow_id])} times"
        else:
            yield from _told_rightly(accepted[flow_id][0], told.get(flow_id, {}))


def _by_flow(statuses: Iterable[StatusSeen]) -> Mapping[str, dict[str, StatusSeen]]:
    """Each flow's events in the order of the topic, copies under one id once."""
    told: defaultdict[str, dict[str, StatusSeen]] = defaultdict(dict)
    for status in statuses:
        told[status.flow_id].setdefault(status.id, status)
    return told


def _told_rightly(truth: Truth, told: Mapping[str, StatusSeen]) -> Iterator[str]:
    numbers = [status.seq for status in told.values()]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"{truth.flow_id}: seq {numbers}"
    last = list(told.values())[-1] if told else None
    if last is None or not last.terminal:
        yield f"{truth.flow_id} has no end: {[status.status for status in told.values()]}"
    elif last.status not in truth.ends:
        yield f"{truth.flow_id} ({truth.api}) ended as {last.status}; the provider says {truth.status} {list(truth.steps)}"
