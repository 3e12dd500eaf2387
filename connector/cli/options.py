"""What every command has in common: its options, reading the settings, printing data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
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


def visible(text: str, keep: str = "", escape: Callable[[str], str] = lambda char: char.encode("unicode_escape").decode()) -> str:
    r"""``text`` with escapes (``\x1b``) for what is not printable but ``keep``: what others wrote steers no terminal and forges no line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else escape(char) for char in text)


def print_text(text: str, *, err: bool = False) -> None:
    """Lines on stdout, or stderr. Whoever puts texts of others into a line of its own makes them ``visible`` before."""
    (sys.stderr if err else sys.stdout).write(visible(text, keep="\n"))


def print_json(data: object) -> None:
    """One JSON document on stdout."""
    print_text(visible(json.dumps(data, indent=2, ensure_ascii=False, default=str), "\n", _json_escape) + "\n")


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of text on stdout, as wide as their content: good for eyes and for ``awk``."""
    lines = [[visible(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for row in lines:
        print_text("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def problem_json(problem: Problem) -> Mapping[str, str]:
    """A problem as data."""
    return {"where": problem.where, "what": problem.what, "hint": problem.hint}
