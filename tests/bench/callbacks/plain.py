"""As fast as one receiver takes them: a closed loop over kept connections, measured by the receiver's own processor time."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.callbacks.calls import Caller
from tests.bench.callbacks.client import Door
from tests.bench.callbacks.fleet import receivers
from tests.bench.callbacks.verdict import Part, judge, percentile_ms
from tests.kafka import Broker

_LINKS: Final = 64
_WARM_S: Final = 1.0


class Press:
    """``_LINKS`` callers, each of which calls again as soon as it has its answer."""

    def __init__(self, caller: Caller, port: int) -> None:
        self._caller = caller
        self._port = port
        self._numbers = itertools.count()
        self.answered: list[int] = []
        self.seconds: list[float] = []
        self.other: list[str] = []

    async def run(self, seconds: float) -> None:
        """For so long."""
        end, door = time.perf_counter() + seconds, Door(self._port)
        await asyncio.gather(*(self._call_until(end, door) for _ in range(_LINKS)))
        door.close()

    async def _call_until(self, end: float, door: Door) -> None:
        while time.perf_counter() < end:
            number = next(self._numbers)
            request = self._caller.call(number).request
            begun = time.perf_counter()
            try:
                status = await door.post(request)
            except OSError as error:
                self.other.append(type(error).__name__)
                continue
            if status == 200:
                self.answered.append(number)
                self.seconds.append(time.perf_counter() - begun)
            else:
                self.other.append(str(status))


def plain(broker: Broker, folder: Path, *, seconds: float) -> Part:
    """One receiver, nothing wrong."""
    part = Part("plain")
    with receivers(broker, folder, 1) as fleet:
        press = Press(fleet.caller, fleet.public_ports[0])
        uvloop.run(press.run(_WARM_S))
        warm, cpu_before, begun = len(press.answered), fleet.cpu_s()["worker-1"], time.perf_counter()
        press.seconds.clear()
        uvloop.run(press.run(seconds))
        took, cpu = time.perf_counter() - begun, fleet.cpu_s()["worker-1"] - cpu_before
        done = len(press.answered) - warm
        fleet.stop_all()
        kept = judge(fleet.caller, press.answered, fleet.received())
        part.problems += [*kept.problems, *fleet.trouble]
        part.problems += [f"{len(press.other)} calls were not answered with 200: {sorted(set(press.other))}"] if press.other else []
    p50, p99, p999 = (percentile_ms(press.seconds, share) for share in (0.5, 0.99, 0.999))
    per_core = round(done / cpu) if cpu else 0
    part.figures = {
        "callbacks": done,
        "per_second": round(done / took),
        "per_core_second": per_core,
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
    }
    part.line = (
        f"{per_core:,} callbacks per second and core of the receiver (target 3,000); {done:,} in {took:.0f} s, {done / took:,.0f}/s with "
        f"{_LINKS} at once; to 200: p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms"
    )
    return part
