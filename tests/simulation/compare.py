"""The connector beside the usual consumers, on the same seeds: who loses messages, and who doubles them without a word.

A seed decides the same events and the same schedule of faults for each; what is drawn on the way (which POST is answered how) differs,
since they ask at other times. Messages of an event that its producer repeated are left out: only the connector knows events again.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from connector.core import identity
from tests.simulation import laws
from tests.simulation.baselines import BASELINES
from tests.simulation.kafka import Weather
from tests.simulation.routee import Moods
from tests.simulation.runner import quiet, said
from tests.simulation.setting import CLASS_OF, Setting, draw
from tests.simulation.worker import Worker
from tests.simulation.world import Hire, World

OURS = "ours"
WORKERS: Mapping[str, Hire] = {**BASELINES, OURS: Worker}
_KILLS_AND_FREEZES = frozenset({"kill", "kill_all", "kill_soon", "freeze", "freeze_soon"})
_AT_ONCE = 25
_COLUMNS = (
    "faults",
    "worker",
    "messages",
    "lost per million",
    "doubled unflagged per million",
    "resent and flagged (doubled by that)",
    "told as UNKNOWN (never accepted)",
)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


HEAD = f"{_line(_COLUMNS)}\n{_line(['---'] * len(_COLUMNS))}"


class Ground(enum.StrEnum):
    """Which of a seed's faults are played."""

    CALM_PROVIDER = "calm-provider"  # kills and freezes
    KILLS_AND_PROVIDER = "kills-and-provider"  # also all that a provider does
    ALL = "all"  # also Kafka's, the group's and the clocks'

    def of(self, seed: int) -> Setting:
        """The seed's setting, with this ground's faults alone."""
        setting = draw(seed)
        if self is not Ground.ALL:
            setting.weather = Weather()
            setting.faults = [fault for fault in setting.faults if fault.kind in _KILLS_AND_FREEZES]
        if self is Ground.CALM_PROVIDER:
            setting.moods = Moods()
        return setting


def score(seed: int, ground: Ground, worker: str) -> Counter[str]:
    """One run, judged as in ``ledger``."""
    return ledger(World(ground.of(seed), WORKERS[worker]).run())


def ledger(world: World) -> Counter[str]:
    """What the provider's ledger says of a run.

    Lost: never accepted, and nobody was told why (rejected, expired, superseded, unknown). Doubled: accepted more than once, and no
    SendEvent says that it was resent. ``broken``: the run did not come to its end.
    """
    known = laws.known_of(world)
    met = Counter(one.event_id for one in world.setting.coming)  # not what has come: a late repeat may find the run at its end
    counts = Counter({"broken": int(not world.settled or bool(world.crashes))})
    repeated = {identity.flow_id(event_id, rule) for event_id, times in met.items() if times > 1 for rule in CLASS_OF}
    for flow_id, (_, flow) in known.flows.items():
        if flow.fate is not None or flow_id in repeated:
            continue
        accepts = len(known.accepts.get(flow_id, ()))
        final = known.final.get(flow_id)
        word = final.outcome if final is not None else world.ended.get(flow_id)
        is_flagged = any(send.resent_after_doubt for send in known.sends.get(flow_id, ()))
        counts["messages"] += 1
        counts["lost"] += not accepts and word in {None, "ACCEPTED"}
        counts["doubled"] += accepts > (2 if is_flagged and flow.may_resend else 1)
        counts["flagged"] += is_flagged
        counts["flagged_doubled"] += is_flagged and accepts > 1
        counts["unknown"] += word == "UNKNOWN"
        counts["unknown_unsent"] += word == "UNKNOWN" and not accepts
    return counts


@dataclass(frozen=True, slots=True)
class Row:
    """What came of many seeds for one worker on one ground."""

    ground: Ground
    worker: str
    counts: Counter[str]

    @property
    def is_wrong(self) -> bool:
        """A run did not come to its end, or the connector did what it never may."""
        return self.counts["broken"] > 0 or (self.worker == OURS and self.counts["lost"] + self.counts["doubled"] > 0)

    def line(self) -> str:
        """As a row of a Markdown table: rates with what was seen behind them, or ``<`` the bound where nothing was (3/n, 95 %)."""
        counts, messages = self.counts, self.counts["messages"]
        rates = [f"{said(counts[name], messages)} ({counts[name]})" for name in ("lost", "doubled")]
        pairs = (("flagged", "flagged_doubled"), ("unknown", "unknown_unsent"))
        own = [f"{counts[all_]} ({counts[some]})" if self.worker == OURS else "–" for all_, some in pairs]
        broken = f" **{counts['broken']} runs without an end**" if counts["broken"] else ""
        return _line((self.ground.value, self.worker, str(messages), *rates, *own)) + broken


def compared(seeds: range, workers: Sequence[str], grounds: Sequence[Ground], jobs: int) -> Iterator[Row]:
    """A row for each worker on each ground, as soon as its seeds are played."""
    parts = [seeds[start : start + _AT_ONCE] for start in range(0, len(seeds), _AT_ONCE)]
    with ProcessPoolExecutor(jobs, initializer=quiet) as pool:
        for ground in grounds:
            for worker in workers:
                pending = [pool.submit(_summed, part, ground, worker) for part in parts]
                yield Row(ground, worker, sum((part.result() for part in pending), Counter()))


def _summed(seeds: range, ground: Ground, worker: str) -> Counter[str]:
    return sum((score(seed, ground, worker) for seed in seeds), Counter())
