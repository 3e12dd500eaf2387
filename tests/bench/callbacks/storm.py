"""A steady rate of callbacks while receivers are killed with -9 and the broker bounces; every 200 must be in Kafka."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.callbacks.client import Load
from tests.bench.callbacks.fleet import Receivers, receivers
from tests.bench.callbacks.verdict import Part, judge, outside, percentile_ms
from tests.kafka import Broker

RECEIVERS: Final = 3
SETTLE_S: Final = 5.0
"""After the broker answers again: so long the producers may take to find it, elect and resume."""
_WARM: Final = 60  # every lane at every receiver
_TICK_S: Final = 0.02


def storm(broker: Broker, folder: Path, *, callbacks: int, rate: float, kills: int, bounces: int, seed: int = 1) -> Part:
    """``kills`` and ``bounces`` are spread over the whole of it."""
    part = Part("storm")
    with receivers(broker, folder, RECEIVERS) as fleet, ThreadPoolExecutor(1) as beside:
        # A cluster that has just begun lets its first producers wait: that is no news of the ingress.
        uvloop.run(Load(fleet.caller, fleet.public_ports, _WARM, _WARM, callbacks).run())
        load = Load(fleet.caller, fleet.public_ports, callbacks, rate)
        calling = beside.submit(uvloop.run, load.run())
        away = Bouncer(fleet)
        for at, deed in _schedule(callbacks / rate, kills, bounces, seed):
            _wait(at, calling, away)
            if deed < 0:
                away.bounce()
            else:
                fleet.crash([deed % RECEIVERS + 1])
        calling.result()
        away.finish()
        fleet.wait_open()
        fleet.stop_all()
        kept = judge(fleet.caller, load.answered, fleet.received())
        part.problems += [*kept.problems, *fleet.trouble]
        part.problems += _unkept(fleet, load, kills, bounces)
    calm = [answer.at - answer.due for answer in load.answered.values() if outside(away.spans, answer.due, answer.at)]
    everything = [answer.at - answer.due for answer in load.answered.values()]
    repeats = load.heard.total() - load.heard["200"]
    p50, p99, p999 = (percentile_ms(calm, share) for share in (0.5, 0.99, 0.999))
    part.figures = {
        "callbacks": callbacks,
        "answered": len(load.answered),
        "heard": dict(load.heard),
        "retries": repeats,
        "duplicates": kept.repeats,
        "kills": fleet.deeds["kills"],
        "bounces": fleet.deeds["broker_kills"],
        "away_s": [round(end - begin, 1) for begin, end in away.spans],
        "outside": len(calm),
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
        "p999_all_ms": percentile_ms(everything, 0.999),
    }
    part.line = (
        f"{len(load.answered):,} of {callbacks:,} callbacks at {rate:g}/s answered with 200, {len(kept.problems)} kinds of loss; "
        f"{fleet.deeds['kills']} receiver kills, {fleet.deeds['broker_kills']} broker bounces; from due to 200 outside the bounces "
        f"(broker away and {SETTLE_S:g} s after; {len(calm):,} calls, repeats included): p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms "
        f"(target 250); {load.heard['503']} × 503, {repeats} repeats, {kept.repeats} duplicates in Kafka"
    )
    return part


class Bouncer:
    """Kills the broker and starts it again, one bounce at a time; ``spans`` tells when it was away, settling included (monotonic s)."""

    def __init__(self, fleet: Receivers) -> None:
        self._fleet = fleet
        self._since: float | None = None
        self.spans: list[tuple[float, float]] = []

    def bounce(self) -> None:
        """Begin one, once the one before is over."""
        self.finish()
        self._since = time.monotonic()
        self._fleet.restart_broker()

    def look(self) -> None:
        """Note the end of the present one."""
        if self._since is not None and not self._fleet.broker_busy.is_set():
            self.spans.append((self._since, time.monotonic() + SETTLE_S))
            self._since = None

    def finish(self) -> None:
        """Wait for its end."""
        while self._since is not None:
            time.sleep(_TICK_S)
            self.look()


def _schedule(seconds: float, kills: int, bounces: int, seed: int) -> Iterator[tuple[float, int]]:
    """(when, what): a receiver's turn, or -1 for the broker; evenly spread but for a jitter."""
    chance, begun = random.Random(seed), time.monotonic()  # noqa: S311 - a schedule, not a secret
    deeds = [((turn + chance.uniform(0.3, 0.7)) / kills, turn) for turn in range(kills)]
    deeds += [((turn + chance.uniform(0.4, 0.6)) / bounces, -1) for turn in range(bounces)]
    for share, deed in sorted(deeds):
        yield begun + share * seconds, deed


def _wait(at: float, calling: Future[None], away: Bouncer) -> None:
    while time.monotonic() < at and not calling.done():
        time.sleep(_TICK_S)
        away.look()


def _unkept(fleet: Receivers, load: Load, kills: int, bounces: int) -> Iterator[str]:
    if unanswered := load.count - len(load.answered):
        yield f"{unanswered} callbacks never got their 200"
    if unplanned := {met: times for met, times in load.heard.items() if met not in {"200", "503", "refused", "cut", "no answer"}}:
        yield f"answers that nobody expects: {unplanned}"
    if (fleet.deeds["kills"], fleet.deeds["broker_kills"]) != (kills, bounces):
        yield f"only {fleet.deeds['kills']} receiver kills and {fleet.deeds['broker_kills']} bounces took place"
