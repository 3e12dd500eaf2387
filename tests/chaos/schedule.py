"""Which faults come when: a function of the seed alone. Pure; ``strike`` carries them out.

A minute holds a stormy part and a calm one, so that work gets done between the faults, as it would in life.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SESSION_S: Final = 6.0
"""The workers' session timeout; half of the freezes last longer."""
CYCLE_S: Final = 60.0
STORMY_S: Final = 44.0


class Kind(enum.StrEnum):
    """What is done to whom."""

    KILL = "kill"  # SIGKILL of one worker, which comes back at once
    KILL_TWO = "kill_two"  # of two in the same instant
    KILL_ALL = "kill_all"
    FREEZE = "freeze"  # SIGSTOP of one worker, SIGCONT ``seconds`` later
    FREEZE_AT_ACCEPT = "freeze_at_accept"  # of the worker whose POST has just been accepted, before it has its answer
    KILL_AT_ACCEPT = "kill_at_accept"
    FREEZE_AT_INTENT = "freeze_at_intent"  # of the worker whose INTENT has just landed
    KILL_AT_INTENT = "kill_at_intent"
    STORM = "storm"  # one worker more joins and leaves, again and again, for ``seconds``
    ROLL = "roll"  # one worker is stopped with SIGTERM and started again
    BROKER_KILL = "broker_kill"
    BROKER_FREEZE = "broker_freeze"
    PROVIDER = "provider"  # lost replies, late acceptances, 429, 401, 5xx for ``seconds``
    TOKENS = "tokens"  # every token dies


_WEIGHTS: Final = {
    Kind.KILL: 9,
    Kind.KILL_TWO: 5,
    Kind.KILL_ALL: 2,
    Kind.KILL_AT_ACCEPT: 5,
    Kind.KILL_AT_INTENT: 5,
    Kind.FREEZE: 4,
    Kind.FREEZE_AT_ACCEPT: 3,
    Kind.FREEZE_AT_INTENT: 3,
    Kind.STORM: 1.5,
    Kind.ROLL: 2,
    Kind.BROKER_KILL: 0.5,
    Kind.BROKER_FREEZE: 1.5,
    Kind.PROVIDER: 4,
    Kind.TOKENS: 0.7,
}
_OPENING: Final = (
    Kind.KILL,
    Kind.PROVIDER,
    Kind.FREEZE_AT_ACCEPT,
    Kind.KILL_TWO,
    Kind.KILL_AT_INTENT,
    Kind.BROKER_FREEZE,
    Kind.FREEZE_AT_INTENT,
    Kind.KILL_AT_ACCEPT,
    Kind.ROLL,
    Kind.BROKER_KILL,
    Kind.KILL_ALL,
    Kind.STORM,
    Kind.TOKENS,
)
"""So that a short run meets all of them."""
_GAPS_S: Final = (2.5, 7.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """``at_s`` from the start; ``who`` orders the workers for choosing victims; ``mix`` is the provider's misbehaviour."""

    at_s: float
    kind: Kind
    who: tuple[int, ...]
    seconds: float = 0.0
    mix: int = 0

    @property
    def kills(self) -> int:
        """Workers that it kills with -9."""
        return {Kind.KILL: 1, Kind.KILL_AT_ACCEPT: 1, Kind.KILL_AT_INTENT: 1, Kind.KILL_TWO: 2, Kind.KILL_ALL: len(self.who)}.get(
            self.kind, 0
        )


def schedule(seed: int, seconds: float, workers: int) -> Iterator[Fault]:
    """All faults of a run of that length, in order of time."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    opening = list(_OPENING)
    at_s, freezes = 5.0, 0
    while at_s < seconds:
        if at_s % CYCLE_S > STORMY_S:
            at_s += CYCLE_S - at_s % CYCLE_S
            continue
        kind = opening.pop(0) if opening else chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        who = tuple(chance.sample(range(1, workers + 1), workers))
        freezes += kind in {Kind.FREEZE, Kind.FREEZE_AT_ACCEPT, Kind.FREEZE_AT_INTENT}
        yield Fault(at_s, kind, who, _lasts(kind, freezes, chance), chance.randrange(1 << 30))
        at_s += chance.uniform(*_GAPS_S)


def _lasts(kind: Kind, freezes: int, chance: random.Random) -> float:
    match kind:
        case Kind.FREEZE | Kind.FREEZE_AT_ACCEPT | Kind.FREEZE_AT_INTENT:
            return chance.uniform(SESSION_S + 1, 30) if freezes % 2 else chance.uniform(0.2, SESSION_S - 1)
        case Kind.BROKER_FREEZE:
            return chance.uniform(0.5, 8)
        case Kind.STORM:
            return chance.uniform(15, 30)
        case Kind.PROVIDER:
            return chance.uniform(3, 10)
        case _:
            return 0.0
