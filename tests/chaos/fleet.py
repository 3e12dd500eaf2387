"""The processes of a run: workers that are killed, frozen and started again under their own ports, the simulator, the broker."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka.admin import AdminClient

from tests.acceptance.crew import Crew
from tests.chaos.schedule import SESSION_S
from tests.chaos.story import RULES
from tests.kafka import ROOT, Broker, JavaBroker

TIMEOUT_S: Final = 3.0
LAG_S: Final = 3.0
LEASE_S: Final = 3.0
SCALED: Final[dict[str, dict[str, Any]]] = {
    "routee": {"timeout": f"{TIMEOUT_S}s", "rate": "2000/s"},
    "lane": {"lease": f"{LEASE_S}s", "provider_lag": f"{LAG_S}s", "buffer": {"records": 250}},
    "doubt": {"transactional_wait": "4s"},
    "polling": {"schedule": ["6s", "12s", "20s", "30s", "45s", "60s"], "flow_deadline": "30s", "max_share": 0.3},
    "shutdown": {"grace": "10s"},
}
"""What differs from the defaults, so that a life of hours takes seconds. The session's timeout is the least a broker allows."""
TIMERS: Final = (
    f"session {SESSION_S:.0f} s (10), POST {TIMEOUT_S:.0f} s (10), lease {LEASE_S:.0f} s (3), provider lag {LAG_S:.0f} s (20), "
    "resend wait 4 s (120), first poll 6 s (30), silent after 30 s (3600), Routee 60 × as fast; 250 records of a lane in memory (2000)"
)
_PORTS: Final = range(20_000, 30_000)  # below those that outgoing connections take, so that a dead worker's port stays free
_ENDS_WITHIN_S: Final = 45.0


class Fleet(Crew):
    """Workers by number, from 1. Nothing here waits for a worker, but ``close``."""

    def __init__(self, broker: Broker, folder: Path, size: int) -> None:
        super().__init__(broker.bootstrap_servers, folder, time_scale=60.0, rules=RULES)
        self.broker = broker
        self.size = size
        self.frozen: set[int] = set()
        self.leaving: dict[int, float] = {}  # worker → when it was told to stop, monotonic
        self.deeds: Counter[str] = Counter()
        self.trouble: list[str] = []
        self.broker_busy = threading.Event()

    def settings(self, admin_port: int, public_port: int) -> dict[str, Any]:
        """As in production, but for ``SCALED``."""
        tree = super().settings(admin_port, public_port)
        for section, values in SCALED.items():
            tree[section] = {**tree.get(section, {}), **values}
        return tree

    def topics(self) -> frozenset[str]:
        """All that are there, Kafka's own included."""
        return frozenset(AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0}).list_topics(timeout=20).topics)

    # ---------------------------------------------------------------------------------------------------------------- workers

    def revive(self, number: int) -> None:
        """Start the worker (again), under the same ports."""
        admin_port, public_port = self.ports.setdefault(number, (_low_port(), _low_port()))
        config = self.folder / f"worker-{number}.yaml"
        if not config.exists():
            config.write_bytes(orjson.dumps(self.settings(admin_port, public_port)))  # JSON is YAML
        self.frozen.discard(number)
        self.leaving.pop(number, None)
        self.workers[number] = self._spawn(f"worker-{number}", ["run", "--config", str(config)])

    def is_up(self, number: int) -> bool:
        """Running, neither frozen nor on its way out."""
        process = self.workers.get(number)
        return process is not None and process.poll() is None and number not in self.frozen and number not in self.leaving

    def can_leave(self, number: int) -> bool:
        """Up for so long that it serves: one that has not got so far has nothing to drain, and dies of SIGTERM as any process does."""
        return self.is_up(number) and self._listens(number)

    def crash(self, numbers: list[int]) -> None:
        """kill -9, all in one instant; back at once."""
        for number in numbers:
            self.workers[number].kill()
        for number in numbers:
            self.workers[number].wait(20)
            self.revive(number)
        self.deeds["kills"] += len(numbers)

    def freeze(self, number: int) -> None:
        """SIGSTOP."""
        self.workers[number].send_signal(signal.SIGSTOP)
        self.frozen.add(number)
        self.deeds["freezes"] += 1

    def thaw(self, number: int, process: subprocess.Popen[bytes] | None = None) -> None:
        """SIGCONT, if it still is that process."""
        if number in self.frozen and (process is None or self.workers[number] is process):
            self.frozen.discard(number)
            self.workers[number].send_signal(signal.SIGCONT)

    def leave(self, number: int) -> None:
        """SIGTERM."""
        self.leaving[number] = time.monotonic()
        self.workers[number].terminate()
        self.deeds["stops"] += 1

    def look_after(self) -> None:
        """Start again who has left; note who ended by himself, or does not end."""
        for number, process in list(self.workers.items()):
            code = process.poll()
            if code is None:
                if number in self.leaving and time.monotonic() - self.leaving[number] > _ENDS_WITHIN_S:
                    self.trouble.append(f"worker {number} did not end within {_ENDS_WITHIN_S:.0f} s of SIGTERM")
                    self._ask_for_stacks(process)
                    self.crash([number])
            elif number not in self.leaving:
                self.trouble.append(f"worker {number} ended by itself with code {code}")
                self.revive(number)
            else:
                if code != 0:
                    self.trouble.append(f"worker {number} ended with code {code} after SIGTERM")
                if number <= self.size:
                    self.revive(number)
                else:
                    del self.workers[number], self.leaving[number]

    def dump_stacks(self) -> None:
        """Have every worker write the stacks of its threads and tasks into its log."""
        for process in self.workers.values():
            if process.poll() is None:
                self._ask_for_stacks(process)

    def cpu_s(self) -> dict[str, float]:
        """Processor time by process; ``all`` counts those that are gone, too, and the driver."""
        pids = {f"worker-{number}": process.pid for number, process in self.workers.items()}
        if self._simulator is not None:
            pids["simulator"] = self._simulator.pid
        if isinstance(self.broker, JavaBroker):
            pids["broker"] = self.broker.pid
        spent = {name: _cpu_s(pid) for name, pid in pids.items()}
        gone, own = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
        spent["driver"] = round(own.ru_utime + own.ru_stime, 1)
        return {**spent, "all": round(sum(spent.values()) + gone.ru_utime + gone.ru_stime, 1)}

    def stop_all(self) -> None:
        """SIGTERM to each; note who does not end well."""
        deadline = time.monotonic() + _ENDS_WITHIN_S
        while not all(map(self._listens, self.workers)) and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in self.workers.values():
            process.terminate()
        for number, process in self.workers.items():
            try:
                code = process.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._ask_for_stacks(process)
                process.kill()
                code = process.wait(20)
            if code != 0:
                self.trouble.append(f"worker {number} ended with code {code} at the last stop")
        self.workers.clear()

    def stop_simulator(self) -> None:
        """Its ledger is whole then."""
        if self._simulator is not None:
            self._simulator.terminate()
            self._simulator.wait(20)

    def _listens(self, number: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[number][0]), 1):
            return True
        return False

    def _ask_for_stacks(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGUSR2)
        time.sleep(2)

    # ------------------------------------------------------------------------------------------------------ simulator, broker

    def provider(self, endpoint: str, body: object) -> None:
        """Tell the simulator's panel; it may be too busy to listen."""
        url = f"http://127.0.0.1:{self.simulator_port}/_simulator/{endpoint}"
        request = urllib.request.Request(url, orjson.dumps(body), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=3):  # noqa: S310 - our own process
                self.deeds[endpoint] += 1
        except OSError:
            self.deeds["panel_unheard"] += 1

    def restart_broker(self) -> None:
        """kill -9, and start it again beside everything else."""
        if not self.broker.can_be_killed or self.broker_busy.is_set():
            return
        self.broker_busy.set()
        self.deeds["broker_kills"] += 1
        threading.Thread(target=self._restart_broker, name="broker", daemon=True).start()

    def _restart_broker(self) -> None:
        try:
            self.broker.restart()
        except Exception as error:  # noqa: BLE001 - the run reports it and fails
            self.trouble.append(f"the broker did not come back: {error}")
        self.broker_busy.clear()

    def freeze_broker(self, seconds: float) -> None:
        """SIGSTOP, SIGCONT ``seconds`` later."""
        if not isinstance(self.broker, JavaBroker) or self.broker_busy.is_set():
            return
        self.broker_busy.set()
        self.deeds["broker_freezes"] += 1
        pid = self.broker.pid
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(seconds, self._thaw_broker, (pid,)).start()

    def _thaw_broker(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        self.broker_busy.clear()

    def _spawn(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        # Compiled once, as in an installed package: a worker that is killed every few seconds would spend its life compiling.
        environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-m", "tests.chaos.worker", *arguments]
        with (self.folder / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C is the driver's alone, which then takes everything down.
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environ, start_new_session=True)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # gone, or a system that tells it elsewhere
    return round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 1)


def _low_port() -> int:
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - any
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
