"""Receivers as child processes (``run --role ingress``), each on ports of its own, and what they tell of themselves."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from connector.adapters.callback_codec import decode_callback
from connector.adapters.kafka_client import callbacks_topic
from connector.ports import Callback
from tests.bench.callbacks.calls import Caller
from tests.chaos.fleet import Fleet
from tests.kafka import Broker

_UP_S = 60.0


class Receivers(Fleet):
    """The chaos run's processes in the role of an ingress."""

    def _spawn(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        return super()._spawn(name, [*arguments, "--role", "ingress"] if arguments[0] == "run" else arguments)

    @property
    def caller(self) -> Caller:
        """Signs for these receivers."""
        (secret,) = self.settings(0, 0)["callbacks"]["secrets"]
        return Caller(self.input, secret.encode())

    @property
    def public_ports(self) -> list[int]:
        """Where callbacks go, by number."""
        return [public for _, (_, public) in sorted(self.ports.items())]

    def start_all(self) -> None:
        """Start each and wait until it takes callbacks. Raises TimeoutError."""
        for number in range(1, self.size + 1):
            self.revive(number)
        self.wait_open()

    def wait_open(self) -> None:
        """Until every receiver takes callbacks. Raises TimeoutError."""
        for port in self.public_ports:
            await_open(port)

    def received(self) -> list[Callback]:
        """All that the callbacks topic holds. Raises ValueError for a record that is no callback."""
        return [decode_callback(message.value() or b"") for message in self.read(callbacks_topic(self.name, self.input))]

    def series(self, number: int) -> dict[str, float]:
        """What the receiver's ``/metrics`` shows: name with labels → value."""
        return scraped(self.ports[number][0])

    def rss_mb(self, number: int) -> float:
        """Memory of its process."""
        for line in Path(f"/proc/{self.workers[number].pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def log(self, number: int) -> str:
        """All it has logged."""
        return (self.folder / f"worker-{number}.log").read_text()


@contextmanager
def receivers(broker: Broker, folder: Path, size: int) -> Iterator[Receivers]:
    """So many of them, open."""
    folder.mkdir(parents=True)
    with Receivers(broker, folder, size) as fleet:
        fleet.start_all()
        yield fleet


def await_open(port: int) -> None:
    """Until somebody listens there. Raises TimeoutError."""
    deadline = time.monotonic() + _UP_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


def scraped(admin_port: int) -> dict[str, float]:
    """Every series of ``/metrics``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def by_result(series: dict[str, float]) -> Counter[str]:
    """Callbacks by the ingress' own word for its answer."""
    begin = 'failover_callbacks_total{result="'
    return Counter({name.removeprefix(begin).removesuffix('"}'): int(value) for name, value in series.items() if name.startswith(begin)})
