"""Playing seeds, one or thousands, and adding up what came of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import structlog

from tests.simulation.laws import figures, judge
from tests.simulation.setting import Setting, draw
from tests.simulation.world import World

_AT_ONCE = 25


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one seed. ``problems``: (law, text) of everything that is wrong."""

    seed: int
    problems: tuple[tuple[str, str], ...]
    counts: Counter[str]
    simulated_s: float
    trace_hash: str
    trace: tuple[str, ...] = field(default=(), repr=False)


def quiet() -> None:
    """Thousands of processes die here: their log is of no use."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def play(setting: Setting, *, with_trace: bool = False) -> Played:
    """One run of the connector, judged."""
    world = World(setting).run()
    problems = tuple((problem.law, problem.text) for problem in judge(world))
    trace = tuple(world.lines) if with_trace else ()
    return Played(setting.seed, problems, figures(world), world.loop.time(), world.trace_hash, trace)


def play_seed(seed: int) -> Played:
    """One seed. Whatever breaks the simulation itself is a problem, too."""
    try:
        return play(draw(seed))
    except Exception as error:  # noqa: BLE001 - one broken run must not end ten thousand
        return Played(seed, (("broken", repr(error)),), Counter(), 0.0, "")


def _some(seeds: range) -> list[Played]:
    quiet()
    return [play_seed(seed) for seed in seeds]


def played(seeds: range, jobs: int) -> Iterator[Played]:
    """Every seed's outcome, in order."""
    parts = [seeds[start : start + _AT_ONCE] for start in range(0, len(seeds), _AT_ONCE)]
    if jobs == 1:
        quiet()
        yield from (play_seed(seed) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        pending = [pool.submit(_some, part) for part in parts]
        try:
            for part in pending:
                yield from part.result()
        finally:
            for part in pending:
                part.cancel()


class Tally:
    """The sum over many seeds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed: list[Played] = []
        self.counts: Counter[str] = Counter()
        self.simulated_s = 0.0
        self._began = time.monotonic()

    def add(self, one: Played) -> None:
        """Count it."""
        self.seeds += 1
        self.counts += one.counts
        self.simulated_s += one.simulated_s
        if one.problems:
            self.failed.append(one)

    @property
    def took_s(self) -> float:
        """Real seconds so far."""
        return time.monotonic() - self._began

    def report(self) -> dict[str, object]:
        """As JSON. Rates are per million flows; where nothing was seen, the bound is 3/n (95 %)."""
        flows = self.counts["flows"]
        return {
            "seeds": self.seeds,
            "failed": [{"seed": one.seed, "problems": one.problems} for one in self.failed],
            **dict(sorted(self.counts.items())),
            "simulated_seconds": round(self.simulated_s),
            "times_real_time": round(self.simulated_s / max(self.took_s, 0.001)),
            "lost_per_million": rate(self.counts["lost"], flows),
            "unflagged_duplicates_per_million": rate(self.counts["unflagged_duplicates"], flows),
        }

    def line(self) -> str:
        """One line."""
        counts, flows = self.counts, self.counts["flows"]
        named = ("events", "flows", "posts", "accepted", "kills", "freezes", "rebalances", "doubts", "resends", "unknown")
        return (
            f"{self.seeds} seeds: {len(self.failed)} failed; "
            + ", ".join(f"{counts[name]} {name}" for name in named)
            + f"; lost {counts['lost']} ({said(counts['lost'], flows)} per million), "
            + f"unflagged duplicates {counts['unflagged_duplicates']} ({said(counts['unflagged_duplicates'], flows)} per million); "
            + f"{self.simulated_s:.0f} s simulated in {self.took_s:.0f} s: {self.simulated_s / max(self.took_s, 0.001):.0f} × real time"
        )


def rate(seen: int, of: int) -> dict[str, float] | None:
    """Per million: what was seen, or the bound below which it lies."""
    if not of:
        return None
    return {"seen": round(seen / of * 1e6, 1)} if seen else {"below": round(3 / of * 1e6, 1)}


def said(seen: int, of: int) -> str:
    """``rate`` in words."""
    found = rate(seen, of) or {}
    return f"{found['seen']:g}" if "seen" in found else f"< {found['below']:g}" if found else "–"
