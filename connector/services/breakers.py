"""Asking, while a breaker is open, whether sending would work again."""

from __future__ import annotations

from connector.ports import Clock, Probe
from connector.services.throttle import Breaker, Throttle


async def watch(throttle: Throttle, probe: Probe, clock: Clock, every_s: float) -> None:
    """Probe what is open and close what works; the provider's breaker probes itself with a waiting flow. Ends by cancellation."""
    asking = {Breaker.AUTH: probe.auth_probe, Breaker.BALANCE: probe.balance}
    while True:
        await clock.sleep(every_s)
        for kind, ask in asking.items():
            if throttle.is_open(kind) and await ask() is True:
                throttle.close(kind)
