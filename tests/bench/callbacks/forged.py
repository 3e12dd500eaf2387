"""Forged calls of every kind from many sources, and a trickle of true ones: only those reach Kafka, and nothing grows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.callbacks.calls import KINDS, Caller
from tests.bench.callbacks.client import Door
from tests.bench.callbacks.fleet import Receivers, by_result, receivers
from tests.bench.callbacks.verdict import Part, judge
from tests.kafka import Broker

_AT_ONCE: Final = 64
_TRUE_EVERY: Final = 100
_WARM: Final = 200_000  # what has cycles is collected rarely: until then the heap grows to what a flood takes
_MAY_GROW_MB: Final = 32.0  # a kilobyte kept for each of a million would be thirty times that
_REFUSED: Final = frozenset({"404", "429"})


class Mixture:
    """Forged calls by number, each from another source, every hundredth followed by a true one from the same address."""

    def __init__(self, caller: Caller, port: int) -> None:
        self._caller = caller
        self._door = Door(port)
        self.refused: Counter[str] = Counter()  # kind and answer
        self.untrue: Counter[str] = Counter()  # what else true calls heard
        self.answered: list[int] = []

    async def run(self, numbers: range) -> None:
        """Those of these numbers."""
        left = iter(numbers)
        await asyncio.gather(*(self._work(left) for _ in range(_AT_ONCE)))

    async def _work(self, left: Iterator[int]) -> None:
        for number in left:
            kind = KINDS[number % len(KINDS)]
            self.refused[f"{kind}: {await self._ask(number, self._caller.forged(number, kind))}"] += 1
            if number % _TRUE_EVERY == 0:
                heard = await self._ask(number, self._caller.call(number).request)
                if heard == "200":
                    self.answered.append(number)
                else:
                    self.untrue[heard] += 1

    async def _ask(self, number: int, request: bytes) -> str:
        try:
            return str(await self._door.post(request, f"127.1.{number // 100 % 200}.{number % 100 + 1}"))  # 20,000 of them
        except OSError as error:
            return type(error).__name__


def forged(broker: Broker, folder: Path, *, calls: int) -> Part:
    """One receiver under ``calls`` forged ones."""
    part = Part("forged")
    with receivers(broker, folder, 1) as fleet:
        mixture = Mixture(fleet.caller, fleet.public_ports[0])
        warm = min(_WARM, calls // 5)
        uvloop.run(mixture.run(range(warm)))
        before, rss_before = fleet.series(1), fleet.rss_mb(1)
        uvloop.run(mixture.run(range(warm, calls)))
        after, rss_after, cpu = fleet.series(1), fleet.rss_mb(1), fleet.cpu_s()["worker-1"]
        part.problems += _said(fleet, mixture, calls)
        if new := sorted(after.keys() - before.keys()):
            part.problems.append(f"{len(new)} new series in /metrics: {new[:5]}")
        fleet.stop_all()
        kept = judge(fleet.caller, mixture.answered, fleet.received())
        part.problems += [*kept.problems, *fleet.trouble]
    if rss_after - rss_before > _MAY_GROW_MB:
        part.problems.append(f"the receiver grew from {rss_before:.0f} to {rss_after:.0f} MB")
    told = by_result(after)
    part.figures = {
        "forged": calls, "true": len(mixture.answered), "answers": dict(mixture.refused), "told": dict(told), "new_series": len(new),
        "rss_before_mb": round(rss_before, 1), "rss_after_mb": round(rss_after, 1), "receiver_cpu_s": cpu,
    }  # fmt: skip
    sources, rate = min(calls, 20_000), calls / cpu if cpu else 0
    part.line = (
        f"{calls:,} forged calls of {len(KINDS)} kinds from {sources:,} sources: {len(part.problems)} problems; "
        f"{len(mixture.answered):,} true ones among them answered with 200; memory {rss_before:.0f} → {rss_after:.0f} MB, "
        f"{len(new)} new series; {rate:,.0f} refused per second and core"
    )
    return part


def _said(fleet: Receivers, mixture: Mixture, calls: int) -> Iterator[str]:
    """What was answered, or written into the log, that should not have been."""
    if wrong := {heard: times for heard, times in mixture.refused.items() if heard.rpartition(" ")[2] not in _REFUSED}:
        yield f"forged calls were not refused: {wrong}"
    if mixture.untrue:
        yield f"true calls heard {dict(mixture.untrue)}"
    if len(mixture.answered) != len(range(0, calls, _TRUE_EVERY)):
        yield f"only {len(mixture.answered)} true calls were answered"
    log = fleet.log(1)
    if log.count("\n") > 1_000:
        yield f"the flood wrote {log.count(chr(10))} lines into the log"
    if any(fleet.caller.call(number).token[:40] in log for number in range(0, calls, _TRUE_EVERY)):
        yield "a capability is in the log"
