"""``failover-connector simulate`` as a process: how it ends, what it prints, what its ledger file holds."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from connector.simulator import Simulator, recipient_for
from tests.unit.simulator_box import STANDARD, flow, label, sms

COMMAND = "import typer; from connector.cli.simulate import simulate; typer.run(simulate)"


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``failover-connector simulate`` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _send_with(process: asyncio.subprocess.Process, post: Callable[[httpx.AsyncClient], Awaitable[object]]) -> None:
    assert process.stdout is not None
    started = orjson.loads(await process.stdout.readline())
    async with httpx.AsyncClient(base_url=started["base_url"]) as client:
        reply = await client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("app", "secret"))
        client.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
        await post(client)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
async def test_the_ledger_survives_any_end(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Asked to stop, the command exits 0; killed or not, the file holds every acceptance, and stdout no recipient."""
    path = tmp_path / "ledger.jsonl"
    to = recipient_for("viber_ok", 77)
    async with command("--port", "0", "--json", "--ledger", str(path), "--seed", "3") as process:
        await _send_with(process, lambda client: client.post(STANDARD, json=flow(sms(to, message={"body": "x", "label": label()}))))
        process.send_signal(number)
        output, errors = await process.communicate()
    assert process.returncode == code
    entries = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [(entry["what"], entry["recipient"], entry["accepted"] is None) for entry in entries] == [
        ("token", None, True),
        ("send", to, False),
    ]
    assert to[1:].encode() not in output + errors


@pytest.mark.parametrize("arguments", [("--scenario", "nope"), ("--switch", "nope=1"), ("--switch", "balance"), ("--time-scale", "0")])
async def test_wrong_use_exits_2(arguments: tuple[str, str]) -> None:
    """Unknown scenarios and switches are wrong use."""
    async with command(*arguments) as process:
        await process.communicate()
    assert process.returncode == 2


async def test_a_taken_port_exits_1() -> None:
    """One line on stderr says why."""
    simulator = Simulator()
    await simulator.start()
    async with command("--port", simulator.base_url.rpartition(":")[2]) as process:
        _, errors = await process.communicate()
    await simulator.stop()
    assert (process.returncode, errors.count(b"\n")) == (1, 1)


async def test_list_shows_every_scenario_fault_and_switch() -> None:
    """As text and as JSON."""
    async with command("--list", "--json") as process:
        tables = orjson.loads((await process.communicate())[0])
    async with command("--list") as process:
        text = (await process.communicate())[0].decode()
    assert {"scenarios", "faults", "switches"} == set(tables)
    assert all(row["name"] in text and row["meaning"] in text for table in tables.values() for row in table)
