"""Settings of one simulator."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from connector.simulator.faults import Faults
from connector.simulator.scenarios import SCENARIOS
from connector.simulator.switches import Switches

WRONG_SECRET = "wrong"  # noqa: S105 - the one secret that is refused when any application may come in


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """How a simulator behaves. Durations in seconds; *provider time* runs ``time_scale`` times faster than the clock.

    Provider time: steps' ttl and delays, callback retries, late callbacks. Real time: latency, index lag, token lifetime,
    ``callback_timeout_s``.
    Raises ValueError for an unknown scenario or switch.
    """

    seed: int | None = None  # None: new chance each time
    time_scale: float = 1.0
    scenario: str = "mixed"  # of recipients that are not magic
    switches: Mapping[str, str | bool] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    fault_times: int | None = None  # over the scenarios' own count of POSTs that meet their fault (0: all)
    latency_s: tuple[float, float] = (0.0, 0.0)  # drawn evenly for each answer
    search_lag_s: float = 0.0  # a flow is found by searches this long after it was accepted
    token_lifetime_s: float = 3600.0
    applications: Mapping[str, str] | None = None  # id → secret; None: any id, any secret but "wrong"
    callbacks: bool = True
    callback_timeout_s: float = 2.0
    callback_concurrency: int = 32
    late_callback_s: float = 300.0
    max_flows: int = 500_000  # older ones are forgotten by tracking
    ledger_file: Path | None = None  # one JSON line per request, recipients in clear
    ledger_entries: int | None = None  # how many are kept in memory; None: all
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """See the class."""
        Switches(self.switches)
        if self.scenario not in SCENARIOS:
            raise ValueError(f"unknown scenario {self.scenario!r}; there are: {', '.join(SCENARIOS)}")
        if self.time_scale <= 0:
            raise ValueError("time_scale must be above 0")
