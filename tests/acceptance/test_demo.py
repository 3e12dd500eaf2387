"""The demo as a user meets it: one command, no server, and an exit code that can be trusted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connector.demo.child import COMMAND
from connector.demo.place import child_environ

ROOT = Path(__file__).parents[2]
MOST_S = 100
pytestmark = pytest.mark.slow


def environ(tmp_path: Path) -> dict[str, str]:
    """Temporary files of the demo are made below ``tmp_path``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTOR_")}
    return {**inherited, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}


def demo(*arguments: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-W", "error", "-m", "connector", "demo", *arguments]


def test_the_demo_ends_well_without_a_terminal(tmp_path: Path) -> None:
    """60 events, one kill -9, no TTY: exit code 0, progress on stderr, the checked summary on stdout, nothing left behind."""
    run = subprocess.run(
        demo("--events", "60"), cwd=tmp_path, env=environ(tmp_path), capture_output=True, text=True, timeout=MOST_S, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "every event ended exactly once           60 of 60" in run.stdout
    assert "60 events, 1 × kill -9: 0 lost, 0 doubled" in run.stdout
    assert "✗" not in run.stdout
    assert "kill -9" in run.stderr
    assert "lanes served again" in run.stderr
    assert "\x1b" not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_child_is_this_connector_wherever_somebody_stands(tmp_path: Path) -> None:
    """Another ``connector`` package in the working directory is not run instead."""
    (tmp_path / "connector").mkdir()
    (tmp_path / "connector/__init__.py").write_text("")
    (tmp_path / "connector/__main__.py").write_text("raise SystemExit('a stranger')")
    run = subprocess.run([*COMMAND, "--help"], cwd=tmp_path, env=child_environ(), capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "demo" in run.stdout


def test_the_summary_is_data_too(tmp_path: Path) -> None:
    """``--json`` gives the checks and the table as one document; without kills nothing is killed."""
    run = subprocess.run(
        demo("--events", "20", "--kills", "0", "--json"),
        cwd=tmp_path,
        env=environ(tmp_path),
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout)
    assert (told["ok"], told["kills"], told["counts"]["events"]["all"]) == (True, 0, 20)
    assert all(check["ok"] and not check["problems"] for check in told["checks"])


def test_stopping_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGTERM before the end: nothing was checked, so exit code 1; the connector is gone with it."""
    with subprocess.Popen(demo("--events", "60"), cwd=tmp_path, env=environ(tmp_path), stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        pid = next(int(line.rpartition("pid ")[2]) for line in run.stderr if "is started, pid" in line)
        time.sleep(1)
        run.send_signal(signal.SIGTERM)
        said = run.stderr.read()
        assert run.wait(30) == 1
    assert "nothing was checked" in said
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    """``--kafka`` without a broker: exit code 1 and one line, no stack."""
    run = subprocess.run(
        demo("--kafka", "127.0.0.1:1"), cwd=tmp_path, env=environ(tmp_path), capture_output=True, text=True, timeout=MOST_S, check=False
    )
    assert run.returncode == 1
    assert run.stderr.startswith("failover-connector: ")
    assert "Traceback" not in run.stderr
