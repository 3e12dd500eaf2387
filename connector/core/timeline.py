"""A flow's life as lines, oldest first: what happened when, and who said so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from connector.core.coerce import squash
from connector.core.flow import Attempt, Flow, State
from connector.core.model import JsonObject

US = "CONNECTOR"
"""Origin of what the connector did or decided by itself; statuses have their own (RESPONSE, CALLBACK, POLL, TIMEOUT)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened. ``at_ms`` None: the time was not kept."""

    at_ms: int | None
    origin: str
    what: str


def timeline(flow: Flow, statuses: Sequence[JsonObject]) -> tuple[Line, ...]:
    """From the event to the last status. ``statuses`` are bodies of StatusEvents, by ``seq``, as JSON or as a journal row has them.

    Steps that no status tells of are told as the journal knows them: without a time.
    """
    lines = [Line(flow.facts.occurred_at_ms, "EVENT", "the event occurred")]
    lines += [_attempt(attempt) for attempt in flow.attempts]
    if flow.state.settled and flow.state is not State.ACCEPTED:
        lines.append(Line(flow.changed_at_ms, US, _decision(flow)))
    lines += [_status(body) for body in statuses]
    told = {(body["step"]["order"], body["step"]["channel"], body["step"]["status"]) for body in statuses if body["step"]}
    lines += _untold(flow, told)
    return tuple(sorted(lines, key=lambda line: (line.at_ms is None, line.at_ms or 0)))  # stable: seq's order within a millisecond


def _attempt(attempt: Attempt) -> Line:
    outcome = "under way" if attempt.outcome == "INTENT" else attempt.outcome
    facts = [f"HTTP {attempt.http_status}"] if attempt.http_status else []
    facts += [attempt.reason] if attempt.reason else []
    return Line(attempt.at_ms, US, f"attempt {attempt.n}: {outcome}" + (f" ({', '.join(facts)})" if facts else ""))


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


def _untold(flow: Flow, told: set[tuple[int, str, str]]) -> Iterator[Line]:
    for step in flow.progress.steps if flow.progress else ():
        if (step.order, step.channel.value, step.status.value) not in told:
            yield Line(None, "JOURNAL", f"{step.channel} {step.status} (time not found)")


def milliseconds(time: int | str | None) -> int | None:
    """Epoch milliseconds of a time as journal rows (a number) or output events (ISO 8601) have it."""
    if isinstance(time, str):
        return round(datetime.fromisoformat(time).timestamp() * 1000)
    return time
