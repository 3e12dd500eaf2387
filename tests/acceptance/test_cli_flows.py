"""``flows`` against a real broker and a running connector: what an on-call person types and sees."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from connector.cli.main import main
from tests.acceptance.conftest import Ended
from tests.acceptance.test_cli import ROOT, connector
from tests.acceptance.test_cli_topics import settings_file
from tests.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]  # the first test waits for a connector's work


def test_one_event_is_one_screen(ended: Ended) -> None:
    """From the event to its last status, in plain words; by event id and by the phone, which is not printed."""
    folder, events = ended
    event = next(event for event in events if event.fate == "sent" and event.scenario == "viber_expired_sms_ok")
    answer = connector("flows", "show", event.event_id, folder=folder)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "state     ACCEPTED: delivered by sms\n" in answer.stdout
    times = [line for line in answer.stdout.splitlines() if line.startswith("  20")]
    words = [line[26:].split(maxsplit=1) for line in times]
    assert words[0] == ["EVENT", "the event occurred"]
    assert any(what.startswith("viber EXPIRED") for _, what in words)
    assert words[-1][1].startswith("sms DELIVERED")
    assert "SUCCEEDED · delivered · terminal · " in words[-1][1], answer.stdout
    assert times == sorted(times, key=lambda line: line[:25])

    phone = event.key.decode()
    by_phone = connector("flows", "show", phone, folder=folder)
    assert event.event_id in by_phone.stdout
    assert phone.lstrip("+") not in by_phone.stdout + by_phone.stderr


def test_json_says_the_same(ended: Ended) -> None:
    """With every time in ISO 8601; by tracking id, flow id and coordinates."""
    folder, events = ended
    event = next(event for event in events if event.fate == "sent")
    told = json.loads(connector("flows", "show", event.event_id, "--json", folder=folder).stdout)
    [flow] = told["flows"]
    assert (flow["event_id"], flow["flow_id"], flow["state"], flow["finished"]) == (event.event_id, event.flow_id, "ACCEPTED", True)
    assert told["looked"]["flows"] == len(events)
    assert all(line["at"].endswith("Z") for line in flow["timeline"])
    source = "{topic}/{partition}/{offset}".format(**flow["source"])
    for name in (flow["tracking_id"], flow["flow_id"], source):
        assert json.loads(connector("flows", "show", name, "--json", folder=folder).stdout) == told


def test_not_found_is_exit_code_1_and_says_where_it_looked(ended: Ended) -> None:
    """How many flows, since when, and after what time events are forgotten; a phone is not repeated."""
    folder, events = ended
    answer = connector("flows", "show", "no-such-event", folder=folder)
    assert answer.returncode == 1
    assert f"not found: no-such-event\nlooked at {len(events)} flows in 6 journals that go back to 20" in answer.stdout
    assert "older than 3d (lane.dedup_window)" in answer.stdout
    phone = connector("flows", "show", "+306999999999", folder=folder)
    assert (phone.returncode, "not found: this phone" in phone.stdout, "6999999999" in phone.stdout) == (1, True, False)


def test_a_list_by_state(ended: Ended) -> None:
    """As a table and as data; nothing unfinished is good news, exit code 0; a wrong state or duration is wrong use."""
    folder, events = ended
    nothing = connector("flows", "ls", folder=folder)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr.startswith(f"0 flows; looked at {len(events)} flows")
    bad = connector("flows", "ls", "--state", "invalid,expired", folder=folder)
    wanted = {event.event_id for event in events if event.fate in {"invalid", "expired"} and event.event_id}
    assert wanted <= {line.split()[-1] for line in bad.stdout.splitlines()[1:]}
    told = json.loads(connector("flows", "ls", "--state", "accepted", "--class", "otp", "--limit", "3", "--json", folder=folder).stdout)
    assert told["count"] == sum(event.fate == "sent" and event.type == "auth.login_code" for event in events)
    assert [flow["class"] for flow in told["flows"]] == ["otp"] * 3
    assert connector("flows", "ls", "--older", "3d", "--state", "accepted", folder=folder).stdout == ""
    for wrong in (("--state", "lost"), ("--older", "soon"), ("--class", "spam"), ("--limit", "0")):
        assert main(["flows", "ls", *wrong]) == 2


def test_a_terminal_sees_progress_and_a_pipe_does_not(ended: Ended) -> None:
    """The bar is on stderr and gone at the end."""
    folder, events = ended
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "connector", "flows", "show", events[0].event_id]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=end, timeout=60, check=False)
    os.close(end)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "reading" in shown
    assert b"reading" not in done.stdout
    assert events[0].event_id.encode() in done.stdout


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    """Exit code 1, with the address; no stack."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        settings_file(tmp_path, address)
        answer = connector("flows", "show", "e-1", folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert f"failover-connector: no broker answers at {address}" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_group_that_never_ran_is_named(broker: Broker, tmp_path: Path) -> None:
    """A wrong group_id or cluster shows as the missing journal."""
    prefix = settings_file(tmp_path, broker.bootstrap_servers)
    answer = connector("flows", "ls", folder=tmp_path)
    assert answer.returncode == 1
    assert f"there is no topic {prefix}.{prefix}.in.journal: is kafka.group_id right" in answer.stderr
