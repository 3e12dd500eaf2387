"""Rules written as YAML in a test, and events for them."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from connector.core.model import Notification, Recipient, Request
from connector.core.request import build
from connector.core.routing import RoutingTable
from connector.core.rules import Rule
from connector.errors import ConfigError, Problem
from connector.rules_file import load_rules

PHONE = "+306912345678"
SENDER = "6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10"
TEMPLATE = "7d2b0c9e-1c51-4b6a-8a55-0d6f2b9f3c41"
ATTEMPT = "0556c6b6-3279-5fe0-9695-ff1545441902.1"


def load(text: str, env: Mapping[str, str] | None = None) -> tuple[RoutingTable, tuple[Problem, ...]]:
    """The table and the warnings of a rules file with this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return load_rules(path, env or {})


def table(text: str, env: Mapping[str, str] | None = None) -> RoutingTable:
    """The table of a rules file with this text."""
    return load(text, env)[0]


def problems(text: str, env: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong in a rules file with this text, each with hint."""
    try:
        load(text, env)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def one(steps: str, head: str = "") -> Rule:
    """A rule named ``r`` with these steps (YAML list items), and perhaps more keys (``head``, YAML mapping items)."""
    return table(document(steps, head)).rules[0]


def document(steps: str, head: str = "") -> str:
    """The rules file of ``one``."""
    keys = "match: {type: t}\n" + textwrap.dedent(head)
    body = textwrap.indent(keys.rstrip() + "\nsteps:\n" + textwrap.indent(textwrap.dedent(steps).strip("\n"), "  "), "    ")
    return f"rules:\n  - name: r\n{body}\n"


def event(data: Mapping[str, Any] | None = None, kind: str = "t", phone: str | None = PHONE, **recipient: str) -> Notification:
    """A notification of type ``t``."""
    whole = {"data": data or {}, "type": kind}
    return Notification("e-1", "e-1", kind, 0, None, None, Recipient(phone, **recipient), data or {}, whole)


def built(rule: Rule, notification: Notification | None = None, callback_url: str | None = None) -> dict[str, Any]:
    """The JSON of the request."""
    return body(build(notification or event(), rule, ATTEMPT, callback_url))


def body(request: Request) -> dict[str, Any]:
    """A request's JSON."""
    parsed: dict[str, Any] = orjson.loads(request.body)
    return parsed


def step(rule: Rule, notification: Notification | None = None) -> dict[str, Any]:
    """The JSON of the only step."""
    (only,) = built(rule, notification)["flow"]
    found: dict[str, Any] = only
    return found
