"""Reason codes: whatever the code can say stands in the tables, with its meaning, and the tables hold nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from connector.core import reasons
from connector.core.reasons import ATTEMPTS, CALLBACKS, DECISIONS, INPUT, LANE_LOSSES, PROVIDER

PACKAGE = Path(reasons.__file__).parents[1]
OURS = [path for path in sorted(PACKAGE.rglob("*.py")) if not {"simulator", "demo"} & set(path.parts)]

# Where a code is an argument: name of what is called → place of it, and the tables that must know it.
TABLES = {
    **dict.fromkeys(("Undecodable", "Unbuildable", "InputError", "Complaint", "kind"), (0, (INPUT,))),
    **dict.fromkeys(("NotSent", "Doubt"), (0, (ATTEMPTS,))),
    **dict.fromkeys(("Failure", "Rejected"), (1, (ATTEMPTS, PROVIDER))),
    "Refused": (2, (PROVIDER,)),
    "_callback_letter": (0, (CALLBACKS,)),
    "Ended": (1, (DECISIONS,)),
    "_instead": (2, (DECISIONS,)),
    **dict.fromkeys(("LaneLost", "lose"), (0, (LANE_LOSSES,))),
}
# Functions that give a code back, or hold it in a variable first.
RETURNS = {("http_socket", "_reason"): ATTEMPTS, ("http_socket", "dial"): ATTEMPTS, ("kafka_producer", "_word"): LANE_LOSSES}
VARIABLES = {("http_", "reason"): ATTEMPTS, ("http_", "phase"): ATTEMPTS, ("phone", "reason"): INPUT, ("keeper", "reason"): LANE_LOSSES}
# Codes that were made elsewhere and are only handed on, or are Routee's.
HANDED_ON = {
    "_reason(phase, error)",
    "first.reason",
    "reason",
    "reason or 'closed'",
    "error.reason",
    "missing.reason",
    "complaint.reason",
    "answer.reason",
    "outcome.reason",
    "self.lost",
}
PHASE_ONLY = {"connect"}  # becomes connect_timeout, refused or unreachable
NEVER_WRITTEN = {"TTL_OVER", "STATUS_CODE_<code>"}  # planning makes it the decision ttl_over; each code has a row of its own


def hole(part: ast.expr) -> str:
    """What fills a hole of an f-string: the name, or the last attribute."""
    return ast.unparse(part.value).rpartition(".")[2] if isinstance(part, ast.FormattedValue) else ""


def words(value: ast.expr) -> Iterator[str]:
    """The codes an expression can be; an f-string's holes are named by what they hold."""
    if isinstance(value, ast.IfExp):
        yield from words(value.body)
        yield from words(value.orelse)
    elif isinstance(value, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else f"<{hole(part)}>" for part in value.values)
    elif isinstance(value, ast.Constant):
        if value.value is not None:
            yield str(value.value)
    elif not (isinstance(value, ast.Compare) or ast.unparse(value) in HANDED_ON):
        yield f"unknown source of a code: {ast.unparse(value)}"


def said() -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """(where, code, tables that may hold it) of every code in the source."""
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found: list[ast.expr] = []
            tables: tuple[object, ...] = ()
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                place, tables = TABLES.get(name, (0, ()))
                found = [word.value for word in node.keywords if word.arg == "reason"] or node.args[place : place + 1]
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (path.stem, node.name) in RETURNS:
                tables = (RETURNS[path.stem, node.name],)
                found = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None]
                found = [one for one in found if not isinstance(one, ast.Name | ast.Call)]
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                key = next((key for key in VARIABLES if path.stem.startswith(key[0]) and node.targets[0].id == key[1]), None)
                tables = (VARIABLES[key],) if key else ()
                found = [node.value] if key and not isinstance(node.value, ast.Await) else []
            if tables:
                yield from ((f"{path.name}:{getattr(node, 'lineno', 0)}", word, tables) for value in found for word in words(value))


def test_every_code_is_in_its_table() -> None:
    """Whoever meets a reason finds it in the list, with what to do; a new one cannot be forgotten."""
    unknown = [
        (where, word)
        for where, word, tables in said()
        if not any(word in table for table in tables)  # type: ignore[operator]
        and word not in PHASE_ONLY | NEVER_WRITTEN
    ]
    assert unknown == []


def test_every_row_of_the_tables_is_said_somewhere() -> None:
    """Nothing is explained that no line can write."""
    written = {word for _, word, _ in said()}
    assert [code for table in (INPUT, CALLBACKS, DECISIONS, ATTEMPTS, LANE_LOSSES) for code in table if code not in written] == []


def test_the_case_tells_who_speaks() -> None:
    """UPPER_SNAKE: the event, the rule or Routee; lower_snake: the connector. No code has two meanings."""
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code) for code in (*INPUT, *CALLBACKS))
    assert all(re.fullmatch(r"[a-z]+(_([a-z]+|<status>))*", code) for table in (DECISIONS, ATTEMPTS, LANE_LOSSES) for code in table)
    assert not INPUT.keys() & PROVIDER.keys()
    assert not CALLBACKS.keys() & (INPUT.keys() | PROVIDER.keys())
    assert not DECISIONS.keys() & ATTEMPTS.keys()


def test_every_code_says_what_it_means() -> None:
    """A row without words helps nobody; only what is nobody's fault needs no remedy."""
    rows = [row for _, table in reasons.tables() for row in table.values()]
    assert all(row.says for row in rows)
    assert [row.says for row in rows if not row.remedy] == [DECISIONS["superseded"].says]
