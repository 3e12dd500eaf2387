"""``failover-connector run``."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from connector.cli.check import checked
from connector.cli.options import DEFAULT_CONFIG, ConfigFile, read_settings
from connector.errors import ConfigError, Problem


class Role(enum.StrEnum):
    """Which part of the work this process does."""

    ALL = "all"
    WORKER = "worker"
    INGRESS = "ingress"


def run(
    config: ConfigFile = DEFAULT_CONFIG,
    role: Annotated[Role, typer.Option(help="worker: lanes only; ingress: callbacks only.")] = Role.ALL,
) -> None:
    """Run the connector until SIGTERM or Ctrl-C.

    Stops gracefully: no new input, open sends end within shutdown.grace. A second signal cuts them.
    """
    problems: list[Problem] = []
    checked(config, problems, [])
    if problems:
        raise ConfigError(tuple(problems))
    settings = read_settings(config)
    if role is Role.INGRESS and settings.callbacks.public_url is None:
        raise ConfigError((Problem("callbacks.public_url", "must be set for --role ingress: without it no callback is asked for"),))

    import uvloop  # noqa: PLC0415 - keeps --help fast

    from connector import app, logs  # noqa: PLC0415 - keeps --help fast

    logs.configure(settings.log.level, settings.log.format)
    raise typer.Exit(uvloop.run(app.run(settings, role.value)))
