"""Open files: the limit is lifted at start, and what the system allows bounds each port."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading

import pytest

from connector.adapters import open_files

LIFTED = """
import resource
from connector.adapters import open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
open_files.raise_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""

BOUNDED = """
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from connector.adapters.http_guard import Limits
from tests.contract.fuzzed_port import Port
port = Port(Limits()).start()
print(port.address[1], flush=True)
input()
spare = [socket.socket() for _ in range(64)]
print("spare", flush=True)
input()
"""


def test_the_soft_limit_becomes_the_hard_one() -> None:
    """A soft limit is a default for others' programs: the process takes what it may have."""
    assert subprocess.run([sys.executable, "-c", LIFTED], check=False, timeout=30).returncode == 0


def test_idle_connections_leave_files_for_the_rest() -> None:
    """However many connections are held open, the process can still open sockets of its own."""
    with subprocess.Popen([sys.executable, "-c", BOUNDED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(30, process.kill)
        timer.start()
        port = 0
        while not port:
            line = process.stdout.readline()
            assert line, "the server did not start"
            port = int(line) if line.strip().isdigit() else 0
        held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(300)]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert caller.recv(12) == b"HTTP/1.1 404", "all others were let in, or out, before"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "spare\n"
        for connection in held:
            connection.close()
        process.kill()
        timer.cancel()


@pytest.mark.parametrize(("files", "connections"), [(256, 64), (65_536, 2_000), (resource.RLIM_INFINITY, 2_000), (2, 1)])
def test_a_port_takes_a_quarter_at_most(monkeypatch: pytest.MonkeyPatch, files: int, connections: int) -> None:
    """A quarter for connections, another for a burst of new ones; no limit bounds nothing, and one connection is always allowed."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert open_files.affordable(2_000) == connections
