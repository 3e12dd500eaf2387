"""``failover-connector check``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from connector.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    print_json,
    print_table,
    print_text,
    problem_json,
    read_rules,
    read_settings,
)
from connector.core.durations import format_duration
from connector.errors import ConfigError, Problem

if TYPE_CHECKING:
    from connector.core.routing import RoutingTable
    from connector.core.rules import Rule
    from connector.settings import Settings

_COLUMNS = ("RULE", "SEND", "CLASS", "STEPS", "TRIES FOR", "WHERE")


def check(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check settings and rules: everything that is wrong, at once, and what each rule was understood as.

    Contacts nobody. Exit code 2 when something is wrong; warnings alone are 0.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    table = checked(config, problems, warnings)
    if as_json:
        rules = [_as_data(rule) for rule in table.rules] if table else []
        version = table.version if table else None
        shown = {"problems": list(map(problem_json, problems)), "warnings": list(map(problem_json, warnings))}
        print_json({"ok": not problems, "rules_version": version, "rules": rules, **shown})
        raise typer.Exit(2 if problems else 0)
    for warning in warnings:
        print_text(f"warning: {warning}\n", err=True)
    if problems and table is None:
        more = "mend these, then run check again: more may show\n" if config.is_file() else ""
        print_text(f"{ConfigError(tuple(problems))}\n{more}", err=True)
        raise typer.Exit(2)
    if problems:
        raise ConfigError(tuple(problems))
    if table:
        print_table(_COLUMNS, [_row(rule) for rule in table.rules])
        print_text(f"\n{len(table.rules)} rules, version {table.version}: good\n")


def checked(config: Path, problems: list[Problem], warnings: list[Problem]) -> RoutingTable | None:
    """The rules, also when the settings are wrong (then those beside them), so that one run shows all; ``run`` starts on the same terms."""
    from connector.rules_file import load_rules  # noqa: PLC0415 - keeps --help fast
    from connector.settings import advice  # noqa: PLC0415 - keeps --help fast
    from connector.unenforced import unenforced  # noqa: PLC0415 - keeps --help fast

    table: RoutingTable | None = None
    try:
        settings = read_settings(config)
    except ConfigError as error:
        problems += error.problems
        beside = config.parent / "rules.yaml"
        if beside.exists():
            try:
                load_rules(beside, os.environ)
            except ConfigError as also:
                problems += also.problems
        return None
    warnings += advice(settings, str(config))
    try:
        table, found = read_rules(settings)
    except ConfigError as error:
        problems += error.problems
        return None
    warnings += found
    problems += unenforced(settings, table)
    problems += _too_long(settings, table)
    return table


def _too_long(settings: Settings, table: RoutingTable) -> Iterator[Problem]:
    """Rules whose flows can outlive the memory of their event (a repeat would be sent again)."""
    from connector.settings import milliseconds  # noqa: PLC0415 - keeps --help fast

    window = milliseconds(settings.lane.dedup_window)
    after = milliseconds(settings.polling.flow_deadline + settings.doubt.give_up)
    for rule in table.rules:
        if rule.validity_ms + after >= window:
            text = f"rule {rule.name} may try for {format_duration(rule.validity_ms)}, which is too long for lane.dedup_window"
            yield Problem(rule.where, text, f"shorten its ttl, or set lane.dedup_window above {format_duration(rule.validity_ms + after)}")


def _as_data(rule: Rule) -> Mapping[str, object]:
    return {
        "name": rule.name,
        "where": rule.where,
        "send": rule.api.value,
        "send_inferred": rule.api_inferred,
        "class": rule.message_class.value,
        "class_inferred": rule.class_inferred,
        "channels": [channel.value for channel in rule.channels],
        "tries_for_ms": rule.validity_ms,
    }


def _row(rule: Rule) -> tuple[str, ...]:
    send = f"{rule.api}{' (inferred)' if rule.api_inferred else ''}"
    kind = f"{rule.message_class}{' (inferred)' if rule.class_inferred else ''}"
    return rule.name, send, kind, " → ".join(rule.channels), format_duration(rule.validity_ms), rule.where
