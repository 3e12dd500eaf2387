"""What every command has in common: its options, reading the settings, printing data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector.errors import Problem

if TYPE_CHECKING:
    from connector.core.routing import RoutingTable
    from connector.settings import Settings

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_CONFIG = Path("connector.yaml")


def read_settings(config: Path) -> Settings:
    """The settings file with the environment over it. Raises ConfigError."""
    from connector.settings import load_settings  # noqa: PLC0415 - keeps --help fast

    return load_settings(config, os.environ)


def read_rules(settings: Settings) -> tuple[RoutingTable, tuple[Problem, ...]]:
    """The rules that the settings name, and warnings. Raises ConfigError."""
    from connector.rules_file import load_rules  # noqa: PLC0415 - keeps --help fast

    return load_rules(settings.rules, os.environ)


def print_json(data: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of text on stdout, as wide as their content: good for eyes and for ``awk``."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def problem_json(problem: Problem) -> Mapping[str, str]:
    """A problem as data."""
    return {"where": problem.where, "what": problem.what, "hint": problem.hint}
