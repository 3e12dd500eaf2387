"""The state of one simulated provider: what all its endpoints share."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import replace

from connector.simulator.answers import is_whole
from connector.simulator.faults import FaultBoard
from connector.simulator.flows import Flows
from connector.simulator.ledger import Ledger
from connector.simulator.options import SimulatorOptions
from connector.simulator.switches import Switches
from connector.simulator.tokens import Tokens
from connector.simulator.walk import Walk
from connector.simulator.wire import Answer


class Provider:
    """Options, switches, chance, time, and what was accepted so far. ``clock`` gives epoch seconds."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.clock = clock
        self.seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
        self.rng = random.Random(self.seed)  # noqa: S311 - chance to be repeated, not to be kept secret
        self.switches = Switches(options.switches)
        self.board = FaultBoard(options.faults, clock, self.rng)
        self.tokens = Tokens(options, self.switches, clock, self.rng)
        self.ledger = Ledger(options.ledger_file, options.ledger_entries)
        self.flows = Flows(options.max_flows)
        self.walk = Walk(self.switches, options.time_scale)

    def new_id(self) -> str:
        """A UUID out of the seed."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def delayed(self, reply: Answer, extra_s: float = 0.0) -> Answer:
        """The answer with the latency of the day."""
        low, high = self.board.now().latency_s or self.options.latency_s
        delay = extra_s + (low + (high - low) * self.rng.random() if high > 0 else 0.0)
        return replace(reply, delay_s=delay) if delay > 0 and is_whole(reply) else reply
