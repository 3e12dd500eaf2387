"""A flow's life as lines, oldest first: what happened when, and who said so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from connector.core.coerce import squash, time_ms
from connector.core.flow import Attempt, Flow, State
from connector.core.model import JsonObject, StepStatus

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
US = "CONNECTOR"
"""Origin of what the connector did or decided by itself; statuses have their own (RESPONSE, CALLBACK, POLL, TIMEOUT)."""

TIMES_MS: Final = range(-62_135_596_800_000, 253_402_300_800_000)
"""The years 1 to 9999, which Python's datetime and ISO 8601 hold."""

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

    Steps that no status tells of are told as the journal knows them: with the time of their end, if it has it; else before the step that
    came next.
    """
    lines = [Line(flow.facts.occurred_at_ms, "EVENT", "the event occurred")]
    lines += [_attempt(attempt) for attempt in flow.attempts]
    if flow.state.settled and flow.state is not State.ACCEPTED:
        lines.append(Line(flow.changed_at_ms, US, _decision(flow)))
    placed = [(line, 0) for line in lines] + [(_status(body), body["step"]["order"] if body["step"] else 0) for body in statuses]
    placed.sort(key=lambda one: (one[0].at_ms is None, one[0].at_ms or 0))  # stable: seq's order within a millisecond
    told = {(body["step"]["order"], body["step"]["channel"], body["step"]["status"]) for body in statuses if body["step"]}
    for order, line in _untold(flow, told):
        place = next((place for place, other in enumerate(placed) if _is_before(line, order, other)), len(placed))
        placed.insert(place, (line, order))
    return tuple(line for line, _ in placed)


def _is_before(line: Line, order: int, other: tuple[Line, int]) -> bool:
    if line.at_ms is not None and other[0].at_ms is not None:
        return line.at_ms < other[0].at_ms
    return order < other[1]


def _attempt(attempt: Attempt) -> Line:
    if attempt.outcome == "DOUBT":
        return Line(attempt.at_ms, US, f"attempt {attempt.n}: in doubt: {_doubt(attempt)}")
    if attempt.outcome == "ACCEPTED" and attempt.reason:
        return Line(attempt.at_ms, US, f"attempt {attempt.n}: ACCEPTED, as was found after a doubt: {_doubt(attempt)}")
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
    facts = ", ".join(_facts(step)) if step else ""
    return Line(milliseconds(body["observed_at"]), str(body["origin"]), " · ".join([*words, *flags, *([facts] if facts else [])]))


def _facts(step: JsonObject) -> Iterator[str]:
    """What Routee tells beside the status; what it does not tell is left out."""
    yield from (str(step[name]) for name in ("price", "country", "operator") if step[name] is not None)
    if (step["parts"] or 0) > 1:
        yield f"{step['parts']} parts"
    if (at_ms := milliseconds(step["updated_at"])) is not None and at_ms in TIMES_MS:
        yield f"at Routee {_EPOCH + timedelta(milliseconds=at_ms):%H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Took:
    """How long the flow took from the POST that was accepted. ``what``: accepted, a step with its end, delivered."""

    what: str
    ms: int


def took(flow: Flow) -> tuple[Took, ...]:
    """To acceptance, to each step's end, to delivery, as far as it came; nothing for a flow that was not accepted."""
    start_ms, progress = flow.posted_at_ms, flow.progress
    if start_ms is None or progress is None:
        return ()
    known: list[tuple[str, int | None]] = [("accepted", flow.accepted_at_ms)]
    # What was seen had ended before, by its delivery.
    words = [f"{step.channel} {StepStatus.DELIVERED if step.status is StepStatus.SEEN else step.status}" for step in progress.steps]
    known += [
        (word if words.count(word) == 1 else f"{word} (step {step.order})", step.ended_at_ms)
        for word, step in zip(words, progress.steps, strict=True)
    ]
    known.append((f"delivered by {progress.delivered_by}" if progress.delivered_by else "delivered", progress.delivered_at_ms))
    return tuple([Took(what, max(0, at_ms - start_ms)) for what, at_ms in known if at_ms is not None])


def _untold(flow: Flow, told: set[tuple[int, str, str]]) -> Iterator[tuple[int, Line]]:
    """With the step's order."""
    for step in flow.progress.steps if flow.progress else ():
        if (step.order, step.channel.value, step.status.value) not in told:
            found = "" if step.ended_at_ms is not None else " (time not found)"
            yield step.order, Line(step.ended_at_ms, "JOURNAL", f"{step.channel} {step.status}{found}")


def milliseconds(time: int | str | None) -> int | None:
    """Epoch milliseconds of a time as journal rows (a number) or output events (ISO 8601) have it; None for any other text."""
    return time_ms(time) if isinstance(time, str) else time
