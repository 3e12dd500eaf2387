"""What can be written but is not enforced by this release: refused at the start rather than quietly ignored."""

from __future__ import annotations

from connector.core.routing import RoutingTable
from connector.errors import Problem
from connector.settings import Settings

_HINT = "this release would not keep it; take it out"
_RULE_KEYS = ("quiet_hours", "limit", "dedupe_key")


def unenforced(settings: Settings, rules: RoutingTable) -> tuple[Problem, ...]:
    """One problem for each rule key and setting that promises something nobody keeps yet."""
    problems = [
        Problem(rule.where, f"rule {rule.name}: `{key}` is not enforced yet", _HINT)
        for rule in rules.rules
        for key in _RULE_KEYS
        if getattr(rule, key) is not None
    ]
    if settings.topics.suppressions is not None:
        problems.append(Problem("topics.suppressions", "opt-outs are not enforced yet", _HINT))
    return tuple(problems)
