"""``failover-connector demo``: the whole of it on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.cli.options import AsJson

_MOST_EVENTS = 20_000


def demo(
    events: Annotated[int, typer.Option(help="How many events of all three classes.", min=1, max=_MOST_EVENTS)] = 200,
    kafka: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="A real broker instead of the one in this process.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, and print the addresses.")] = False,
    kills: Annotated[int, typer.Option(help="How often the connector is killed with -9 in the middle of sending.", min=0, max=20)] = 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same events.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Show the whole of it on this machine: no Kafka server, no Routee account, no Docker needed.

    Events go through Kafka to the connector, to a simulated Routee, and back to Kafka. The connector is killed on the way. In the end
    everything is counted: exit code 1 when an event was lost, or anybody messaged twice.
    """
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from connector.demo.run import run  # noqa: PLC0415 - keeps --help fast
    from connector.demo.show import Plan  # noqa: PLC0415 - keeps --help fast

    raise typer.Exit(uvloop.run(run(Plan(events, kills, seed), kafka, keep=keep, as_json=as_json)))
