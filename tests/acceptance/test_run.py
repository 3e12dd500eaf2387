"""``run`` while nothing is there yet."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A connector whose Kafka is away, and its admin address."""
    shutil.copy(ROOT / "deploy/local/rules.yaml", tmp_path)
    with socket.socket() as closed, socket.socket() as free:
        closed.bind(("127.0.0.1", 0))  # not listening: nobody answers there as long as this is open
        free.bind(("127.0.0.1", 0))
        admin = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        settings = {
            "kafka": {"bootstrap_servers": f"127.0.0.1:{closed.getsockname()[1]}"},
            "routee": {"application_id": "a", "application_secret": "s"},
            "privacy": {"pepper": "0123456789abcdef"},
            "admin": {"listen": admin},
        }
        (tmp_path / "connector.yaml").write_text(json.dumps(settings))
        command = [sys.executable, "-m", "connector", "run"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            yield process, admin
            process.kill()


def status_of(url: str) -> int:
    """What it answers; 0 while nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own process
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_connector_without_kafka_waits_and_stops(waiting: tuple[subprocess.Popen[str], str], number: signal.Signals) -> None:
    """Alive, not ready, waiting; one signal ends it soon, with exit code 0 and no stack."""
    process, admin = waiting
    deadline = time.monotonic() + 30
    while (alive := status_of(f"http://{admin}/healthz")) == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (alive, status_of(f"http://{admin}/readyz"), status_of(f"http://{admin}/startupz")) == (200, 503, 503)
    process.send_signal(number)
    told, _ = process.communicate(timeout=12)
    assert process.returncode == 0
    lines = [json.loads(line) for line in told.splitlines()]
    assert lines[-1]["event"] == "stopped"
    assert (lines[0]["event"], lines[0]["group"], lines[0]["topics"]) == ("starting", "failover-connector", ["notifications"])
    assert "[redacted]" not in str(lines[0])
