"""What a run came to: a JSON document, and one line of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.chaos.fleet import TIMERS
from tests.proof.checker import Problem

_SHOWN = 500


@dataclass(slots=True)
class Report:
    """Everything worth knowing of one run. ``deeds`` counts the faults by what was done."""

    seed: int
    rate: float
    workers: int
    minutes: float
    faults: bool = True
    broker: str = ""
    timers: str = TIMERS
    events: int = 0
    events_per_second: float = 0.0
    drain_s: float = 0.0
    check_s: float = 0.0
    most_lag: int = 0
    cpu_s: Mapping[str, float] = field(default_factory=dict)  # seconds of processor time: of those running at the end, and of all
    truces: int = 0  # how often a lane stood still for so long that the faults had to rest
    deeds: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)  # lanes dropped, by reason
    requests: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)
    checked: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    skew_ms: float = 0.0

    def add(self, law: str, text: str) -> None:
        """One more problem."""
        self.problems.append(Problem(law, text))

    @property
    def is_good(self) -> bool:
        """Nothing is broken, and every law was checked."""
        return not self.problems and not self.skipped

    def write(self, path: Path) -> None:
        """As JSON; of very many problems only the first."""
        body: dict[str, Any] = asdict(self)
        body["problem_count"] = len(self.problems)
        body["problems"] = body["problems"][:_SHOWN]
        body["lost_per_million"] = _per_million(self.lost, self.events)
        body["doubled_per_million"] = _per_million(self.doubled, self.events)
        path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))

    @property
    def lost(self) -> int:
        """Breaches of I1 and I8."""
        return sum(problem.law in {"I1", "I8"} for problem in self.problems)

    @property
    def doubled(self) -> int:
        """Breaches of I2."""
        return sum(problem.law == "I2" for problem in self.problems)

    @property
    def line(self) -> str:
        """The result in one line."""
        deeds, figures = self.deeds, self.figures
        verdict = (
            "GOOD" if self.is_good else f"{len(self.problems)} PROBLEMS" + (f", unchecked: {', '.join(self.skipped)}" * bool(self.skipped))
        )
        return (
            f"chaos: {verdict}: {self.events} events in {self.minutes:.1f} min ({self.events_per_second:.0f}/s), {self.workers} workers, "
            f"seed {self.seed}: {deeds.get('kills', 0)} kills, {deeds.get('freezes', 0)} freezes, {deeds.get('stops', 0)} stops, "
            f"{deeds.get('broker_kills', 0)} broker kills, {deeds.get('broker_freezes', 0)} broker stalls, "
            f"{deeds.get('faults', 0)} provider faults, {figures.get('claims', 0)} claims, {figures.get('void_rows', 0)} void rows: "
            f"{self.lost} lost, {self.doubled} doubled unflagged, {figures.get('accepted_twice', 0)} doubled and flagged, "
            f"{figures.get('resent', 0)} resent after a doubt, {figures.get('unknown_not_accepted', 0)} declared unknown; "
            f"laws {', '.join(self.checked) or 'none'}; timers (defaults): {self.timers}"
        )


def _per_million(seen: int, events: int) -> str:
    """The figure, or where none was seen the 95 % upper bound."""
    if not events:
        return "unknown"
    return f"{seen * 1e6 / events:.2f}" if seen else f"0 seen, < {3e6 / events:.1f}"
