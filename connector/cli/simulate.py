"""``failover-connector simulate``: a Routee of one's own, for trying rules and for tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from connector.simulator import SimulatorOptions

_KEPT_ENTRIES = 200_000


def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8181,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int | None, typer.Option(help="Make chance repeatable.")] = None,
    time_scale: Annotated[float, typer.Option(help="Provider seconds that pass in one second: 60 makes a minute of ttl one second.")] = 1.0,
    ledger: Annotated[Path | None, typer.Option(help="Append one JSON line per request, recipients in clear.")] = None,
    scenario: Annotated[str, typer.Option(help="What becomes of recipients that are no magic numbers.")] = "mixed",
    switch: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, for what the contract leaves open; may be repeated.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Print scenarios, faults and switches, and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play Routee: tokens, the three Failover sends, tracking, callbacks, and faults by recipient or by rate.

    Any application id and secret are taken, but the secret "wrong". POST /_simulator/faults changes faults while it runs.
    """
    from connector.simulator import SimulatorOptions  # noqa: PLC0415 - keeps --help fast

    if show_list:
        typer.echo(json.dumps(_tables(), indent=2) if as_json else _as_text())
        return
    try:
        options = SimulatorOptions(
            seed=seed,
            time_scale=time_scale,
            scenario=scenario,
            switches=dict(_pair(entry) for entry in switch or ()),
            ledger_file=ledger,
            ledger_entries=_KEPT_ENTRIES,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        asyncio.run(_serve(options, host, port, as_json=as_json))
    except OSError as error:
        typer.echo(f"cannot start: {error.strerror or error}", err=True)
        raise typer.Exit(1) from error


def _pair(entry: str) -> tuple[str, str]:
    name, equals, value = entry.partition("=")
    if not equals:
        raise ValueError(f"--switch {entry}: must be NAME=VALUE")
    return name, value


async def _serve(options: SimulatorOptions, host: str, port: int, *, as_json: bool) -> None:
    """Until SIGTERM or Ctrl-C."""
    from connector.simulator import Simulator  # noqa: PLC0415 - keeps --help fast

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    simulator = Simulator(options)
    await simulator.start(host, port)
    url = simulator.base_url
    if as_json:
        typer.echo(json.dumps({"base_url": url, "auth_url": simulator.auth_url, "seed": simulator.provider.seed}))
    else:
        typer.echo(f"Simulated Routee, seed {simulator.provider.seed}\n\nroutee:")
        typer.echo(f"  auth_url: {simulator.auth_url}\n  base_url: {url}\n\nFaults, ledger, summary: {url}/_simulator/")
    await stop.wait()
    await simulator.stop()
    with contextlib.suppress(BrokenPipeError):
        typer.echo(json.dumps(simulator.ledger.summary()))


# ----------------------------------------------------------------------------------------------------------------- --list


def _tables() -> dict[str, list[dict[str, object]]]:
    from connector.simulator import FAULTS, SCENARIOS, SWITCHES, recipient_for  # noqa: PLC0415 - keeps --help fast

    return {
        "scenarios": [
            {"name": entry.name, "recipient": recipient_for(entry.name), "meaning": entry.meaning} for entry in SCENARIOS.values()
        ],
        "faults": [{"name": entry.name, "meaning": entry.meaning} for entry in FAULTS.values()],
        "switches": [
            {"name": entry.name, "default": entry.default, "choices": list(entry.choices), "contract": entry.page, "meaning": entry.meaning}
            for entry in SWITCHES
        ],
    }


def _as_text() -> str:
    tables = _tables()
    lines = ["SCENARIOS: the recipient chooses (the last five digits are free)", ""]
    lines += [f"  {entry['recipient']}  {entry['name']:<26} {entry['meaning']}" for entry in tables["scenarios"]]
    lines += [
        "",
        "FAULTS: names for the rates of POST /_simulator/faults",
        "",
        '  {"sends": {"throttled": 0.1, "cut_accepted": 0.01}, "for_s": 30}',
        "",
    ]
    lines += [f"  {entry['name']:<26} {entry['meaning']}" for entry in tables["faults"]]
    lines += ["", "SWITCHES: --switch NAME=VALUE, for what the provider's contract leaves open", ""]
    for entry in tables["switches"]:
        choices = entry["choices"]
        words = "|".join(str(choice) for choice in choices) if isinstance(choices, list) and choices else "true|false"
        default = entry["default"] if choices else str(entry["default"]).lower()
        lines.append(f"  {entry['name']:<26} {default:<13} {entry['contract']:<27} {entry['meaning']} [{words}]")
    return "\n".join(lines)
