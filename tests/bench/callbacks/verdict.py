"""What was answered against what Kafka has; and what a part came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from connector.core.capability import CallbackClaim
from connector.ports import Callback
from tests.bench.callbacks.calls import Caller

Figure = float | int | str | Sequence[float] | Mapping[str, int]


@dataclass(slots=True)
class Part:
    """One part's result: ``line`` for people, ``figures`` for the report, ``problems`` for the exit code."""

    name: str
    line: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Kept:
    """What Kafka has: ``repeats`` beyond each callback's first record."""

    repeats: int
    problems: tuple[str, ...]


def judge(caller: Caller, answered: Iterable[int], received: Iterable[Callback]) -> Kept:
    """Hold that each number answered with 200 is in Kafka, in its own lane and flow, and nothing that is not a true call's."""
    counts: Counter[int] = Counter()
    foreign: list[str] = []
    for callback in received:
        number = caller.number_of(callback.report.tracking_id or "")
        if number is None or caller.call(number).claim != _claim(callback):
            foreign.append(f"{callback.report.tracking_id} in {callback.lane} of flow {callback.flow_id}")
        else:
            counts[number] += 1
    missing = [number for number in answered if number not in counts]
    problems = [f"{len(missing)} callbacks were answered with 200 and are not in Kafka: {missing[:5]}"] if missing else []
    problems += [f"{len(foreign)} records in Kafka are no true call's: {foreign[:5]}"] if foreign else []
    return Kept(counts.total() - len(counts), tuple(problems))


def _claim(callback: Callback) -> CallbackClaim:
    return CallbackClaim(callback.lane.topic, callback.lane.partition, callback.flow_id, callback.attempt, callback.event_digest)


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """The value that ``share`` (0…1) of them do not exceed, in ms (nearest rank); 0 of nothing."""
    ordered = sorted(seconds)
    return round(ordered[max(0, -(-int(share * 1e6) * len(ordered) // 1_000_000) - 1)] * 1000, 1) if ordered else 0.0


def outside(spans: Sequence[tuple[float, float]], begin: float, end: float) -> bool:
    """Whether begin…end touches none of the spans."""
    return all(end < since or begin > until for since, until in spans)
