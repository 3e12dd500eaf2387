"""Carrying the scheduled faults out. What follows later (a thaw, the next join of a storm) waits in a heap for ``tick``."""

from __future__ import annotations

import heapq
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import orjson

from tests.chaos.fleet import Fleet
from tests.chaos.schedule import Fault, Kind
from tests.chaos.tail import Intent, Tail

_AIM_S = 1.5
_POLL_S = 0.001
_SEND_FAULTS = {
    "error_500": 0.15,
    "error_500_accepted": 0.15,
    "cut": 0.15,
    "cut_accepted": 0.2,
    "never_accepted": 0.1,
    "throttled": 0.3,
    "truncated": 0.15,
    "id_less": 0.1,
    "unauthorized": 0.02,
    "error_503": 0.2,
}
_TRACKING_FAULTS = {"error_500": 0.3, "throttled": 0.3, "never": 0.05, "cut": 0.2}


class Striker:
    """Strikes at the fleet. Only the run's own thread calls it."""

    def __init__(self, fleet: Fleet, tail: Tail) -> None:
        self._fleet = fleet
        self._tail = tail
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def strike(self, fault: Fault) -> None:  # noqa: C901 - one case per kind, nothing else
        """Do it now, to whoever can be struck."""
        fleet = self._fleet
        up = [number for number in fault.who if fleet.is_up(number)]
        fleet.deeds[str(fault.kind)] += 1
        match fault.kind:
            case Kind.KILL | Kind.KILL_TWO | Kind.KILL_ALL:
                # The frozen die, too: SIGKILL needs no thaw.
                fleet.crash([number for number in fault.who if number not in fleet.leaving][: fault.kills])
            case Kind.FREEZE if up:
                self._freeze(up[0], fault.seconds)
            case Kind.FREEZE_AT_ACCEPT | Kind.KILL_AT_ACCEPT:
                self._hit(self._just_accepted(), fault)
            case Kind.FREEZE_AT_INTENT | Kind.KILL_AT_INTENT:
                self._hit(self._just_intended(fault), fault)
            case Kind.STORM:
                self._storm(time.monotonic() + fault.seconds, random.Random(fault.mix))  # noqa: S311 - reproducible on purpose
            case Kind.ROLL if serving := [number for number in up if fleet.can_leave(number)]:
                fleet.leave(serving[0])
            case Kind.BROKER_KILL:
                fleet.restart_broker()
            case Kind.BROKER_FREEZE:
                fleet.freeze_broker(fault.seconds)
            case Kind.PROVIDER:
                fleet.provider("faults", {**_misbehaviour(random.Random(fault.mix)), "for_s": fault.seconds})  # noqa: S311 - the same
            case Kind.TOKENS:
                fleet.provider("revoke-tokens", {})
            case _:
                fleet.deeds["missed"] += 1

    def tick(self) -> None:
        """Do what has become due."""
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()
        self._fleet.look_after()

    def heal(self) -> None:
        """No fault is in force any more; nothing more is to come."""
        self._later.clear()
        for number in list(self._fleet.frozen):
            self._fleet.thaw(number)
        self._fleet.provider("faults", {})

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._later, (time.monotonic() + seconds, self._count, act))

    def _freeze(self, number: int, seconds: float) -> None:
        process = self._fleet.workers[number]
        self._fleet.freeze(number)
        self._at(seconds, lambda: self._fleet.thaw(number, process))

    # ------------------------------------------------------------------------------------------------------------------ storms

    def _storm(self, until: float, chance: random.Random) -> None:
        """One worker more comes or goes every 3 to 10 seconds."""
        extra = self._fleet.size + 1
        is_over = time.monotonic() > until
        if is_over and extra not in self._fleet.workers:
            return
        if extra not in self._fleet.workers:
            self._fleet.revive(extra)
            self._fleet.deeds["joins"] += 1
        elif self._fleet.can_leave(extra):
            self._fleet.leave(extra)
        self._at(chance.uniform(3, 10), lambda: self._storm(until, chance))

    # -------------------------------------------------------------------------------------------------------------------- aiming

    def _hit(self, number: int | None, fault: Fault) -> None:
        """The one who was aimed at has been stopped already."""
        if number is None:
            self._fleet.deeds["missed"] += 1
            return
        self._fleet.deeds["aimed"] += 1
        if fault.kills:
            self._fleet.crash([number])
        else:
            self._freeze(number, fault.seconds)

    def _just_accepted(self) -> int | None:
        """Stop the worker whose POST the provider has just accepted: the ledger has it before the answer goes out."""
        by_port = {ports[1]: number for number, ports in self._fleet.ports.items()}
        deadline = time.monotonic() + _AIM_S
        with self._fleet.ledger.open("rb") as ledger:
            ledger.seek(0, os.SEEK_END)
            while time.monotonic() < deadline:
                line = ledger.readline()
                if not line.endswith(b"\n"):
                    ledger.seek(-len(line), os.SEEK_CUR)
                    time.sleep(_POLL_S)
                elif b'"what":"send"' in line and (url := _accepted_url(line)) is not None:
                    number = by_port.get(urlsplit(url).port or 0)
                    if number is not None and self._fleet.is_up(number):
                        self._fleet.workers[number].send_signal(signal.SIGSTOP)
                        return number
        return None

    def _just_intended(self, fault: Fault) -> int | None:
        """Stop the worker whose INTENT has just landed."""
        by_pid = {self._fleet.workers[number].pid: number for number in fault.who if self._fleet.is_up(number)}
        done = threading.Event()
        struck: list[int] = []

        def hear(intent: Intent) -> None:
            number = by_pid.get(intent.pid)
            if number is not None and not done.is_set():
                os.kill(intent.pid, signal.SIGSTOP)
                struck.append(number)
                done.set()

        self._tail.on_intent = hear
        done.wait(_AIM_S)
        self._tail.on_intent = None
        return struck[0] if struck else None


def _accepted_url(line: bytes) -> str | None:
    entry = orjson.loads(line)
    return entry["callback_url"] if entry["accepted"] else None


def _misbehaviour(chance: random.Random) -> dict[str, object]:
    """Two kinds of faults in sends, some of the time trouble elsewhere, too."""
    faults: dict[str, object] = {"sends": {name: _SEND_FAULTS[name] for name in chance.sample(sorted(_SEND_FAULTS), 2)}}
    if chance.random() < 0.5:
        name = chance.choice(sorted(_TRACKING_FAULTS))
        faults["tracking"] = {name: _TRACKING_FAULTS[name]}
    if chance.random() < 0.3:
        faults["tokens"] = {"error_500": 0.5}
    if chance.random() < 0.4:
        faults |= {"callback_loss": 0.2, "callback_duplicate": 0.2}
    if chance.random() < 0.3:
        faults["latency_s"] = [0.05, 1.0]
    return faults
