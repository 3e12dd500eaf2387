"""The command line: a table of commands, each imported only when it is called, and how errors are shown.

Exit codes: 0 good, 1 failed, 2 wrong use, settings or rules.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from connector import __version__
from connector.cli.options import print_text
from connector.errors import ConfigError, ConnectorError

PROGRAM: Final = "failover-connector"


class Entry(NamedTuple):
    """Where a command lives (``module:function``, or ``module:app`` for a group), and its line in ``--help``."""

    target: str
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "run": Entry("connector.cli.run:run", "Run the connector until SIGTERM or Ctrl-C."),
    "demo": Entry("connector.cli.demo:demo", "Show the whole of it on this machine: no Kafka, no account needed."),
    "simulate": Entry("connector.cli.simulate:simulate", "Play Routee: tokens, the three sends, tracking, callbacks, faults."),
    "check": Entry("connector.cli.check:check", "Check settings and rules: everything that is wrong, at once."),
    "topics": Entry("connector.cli.topics:app", "Create or verify the connector's topics."),
    "flows": Entry("connector.cli.flows:app", "Show what became of an event, or list flows by state."),
    "schema": Entry(
        "connector.cli.schema:app",
        "Print the JSON Schema of the settings or of the rules, the AsyncAPI of the topics, or the OpenAPI of the public port.",
    ),
}


class _LazyGroup(TyperGroup):
    """Knows its commands by name and summary; loads the one that is called."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - typer's own
        stubs = {name: TyperCommand(name, short_help=entry.summary, help=entry.summary) for name, entry in COMMANDS.items()}
        super().__init__(**{**attributes, "commands": stubs})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # noqa: ANN401 - typer's own
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest


def load(name: str) -> TyperCommand | TyperGroup:
    """Import a command."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    if not isinstance(app, typer.Typer):
        function, app = app, typer.Typer(add_completion=False)
        app.command(name)(function)
    return cast("TyperCommand | TyperGroup", get_command(app))


def _version(wanted: bool) -> None:
    if wanted:
        print_text(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


def root() -> TyperGroup:
    """The whole command line."""
    app = typer.Typer(cls=_LazyGroup, no_args_is_help=True, add_completion=False, help="Kafka connector for Routee Failover.")

    @app.callback()
    def options(
        _shown: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and leave.")] = False,
    ) -> None:
        """Kafka connector for Routee Failover: notification events in, one send each, their whole fate back to Kafka."""

    return cast("TyperGroup", get_command(app))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (None: the process's own). Gives the exit code."""
    try:
        root().main(args=None if arguments is None else list(arguments), prog_name=PROGRAM)
    except ConfigError as error:
        print_text(f"{error}\n", err=True)
        return 2
    except ConnectorError as error:
        print_text(f"{PROGRAM}: {error}\n", err=True)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
