"""``ports.Clock``: the machine's time."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The only place that asks what time it is for the services."""

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def boot(self) -> float:
        """Seconds; counts suspended time where the system can (Linux)."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep; at once when ``seconds`` is not positive."""
        await asyncio.sleep(max(0.0, seconds))
