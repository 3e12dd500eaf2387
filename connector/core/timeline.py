"""A flow's life as lines, oldest first: what happened when, and who said so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from connector.core.coerce import squash
from connector.core.flow import Attempt, Flow, State
from connector.core.model import JsonObject

US = "CONNECTOR"
"""Origin of what the connector did or decided by itself; statuses have their own (RESPONSE, CALLBACK, POLL, TIMEOUT)."""

_DOUBTS: Final[Mapping[str | None, str]] = {
    "adopted": "taken over from another process, which was sending it",
    "timeout": "no whole answer in time",
    "reset": "connection reset",
    "closed": "connection closed without an answer",
    "cut": "the answer broke off",
    "protocol": "the answer is no HTTP",
    "too_large": "the answer is too large",
    "unparsable": "a success without a JSON object",
    "no_id": "a success without a tracking id",
    "failed_with_id": "Failed, and yet a flow is named",
    "failed_without_code": "Failed, without a known cause",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened. ``at_ms`` None: the time was not kept."""

    at_ms: int | None
    origin: str
    what: str


def timeline(flow: Flow, statuses: Sequence[JsonObject]) -> tuple[Line, ...]:
    """From the event to the last status. ``statuses`` are bodies of StatusEvents, by ``seq``, as JSON or as a journal row has them.

    Steps that no status tells of are told as the journal knows them: without a time, before the step that came next.
    """
    lines = [Line(flow.facts.occurred_at_ms, "EVENT", "the event occurred")]
    lines += [_attempt(attempt) for attempt in flow.attempts]
    if flow.state.settled and flow.state is not State.ACCEPTED:
        lines.append(Line(flow.changed_at_ms, US, _decision(flow)))
    placed = [(line, 0) for line in lines] + [(_status(body), body["step"]["order"] if body["step"] else 0) for body in statuses]
    placed.sort(key=lambda one: (one[0].at_ms is None, one[0].at_ms or 0))  # stable: seq's order within a millisecond
    told = {(body["step"]["order"], body["step"]["channel"], body["step"]["status"]) for body in statuses if body["step"]}
    for order, line in _untold(flow, told):
        place = next((place for place, (_, later) in enumerate(placed) if later > order), len(placed))
        placed.insert(place, (line, order))
    return tuple(line for line, _ in placed)


def _attempt(attempt: Attempt) -> Line:
    if attempt.outcome == "DOUBT":
        return Line(attempt.at_ms, US, f"attempt {attempt.n}: in doubt: {_doubt(attempt)}")
    outcome = "under way" if attempt.outcome == "INTENT" else attempt.outcome
    facts = [f"HTTP {attempt.http_status}"] if attempt.http_status else []
    facts += [attempt.reason] if attempt.reason else []
    return Line(attempt.at_ms, US, f"attempt {attempt.n}: {outcome}" + (f" ({', '.join(facts)})" if facts else ""))


def _doubt(attempt: Attempt) -> str:
    if attempt.reason in _DOUBTS:
        return _DOUBTS[attempt.reason]
    if attempt.http_status:
        return f"HTTP {attempt.http_status}"
    return attempt.reason or "no clear answer"


def _decision(flow: Flow) -> str:
    return f"decided: {flow.state.name}" + (f" ({flow.reason})" if flow.reason else "")


def _status(body: JsonObject) -> Line:
    step = body["step"]
    words = [body["status"] if body["status"] != body["previous"] else f"still {body['status']}"]
    if step:
        more = [word for word in (step["reason_group"], step["detail"]) if word and squash(word) != squash(step["status"])]
        words.insert(0, f"{step['channel']} {step['status']}" + (f" ({', '.join(more)})" if more else ""))
    flags = [name for name in ("delivered", "terminal", "correction") if body[name]]
    return Line(milliseconds(body["observed_at"]), str(body["origin"]), " · ".join([*words, *flags]))


def _untold(flow: Flow, told: set[tuple[int, str, str]]) -> Iterator[tuple[int, Line]]:
    """With the step's order."""
    for step in flow.progress.steps if flow.progress else ():
        if (step.order, step.channel.value, step.status.value) not in told:
            yield step.order, Line(None, "JOURNAL", f"{step.channel} {step.status} (time not found)")


def milliseconds(time: int | str | None) -> int | None:
    """Epoch milliseconds of a time as journal rows (a number) or output events (ISO 8601) have it."""
    if isinstance(time, str):
        return round(datetime.fromisoformat(time).timestamp() * 1000)
    return time
