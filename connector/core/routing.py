"""The ordered set of rules, and which of them an event goes to."""

from __future__ import annotations

from connector.core.model import Notification
from connector.core.rules import Rule


class RoutingTable:
    """All rules in their order. Immutable; ``version`` is a short hash of their content, the same on every replica."""

    __slots__ = ("_anything", "_by_name", "_by_type", "_default", "rules", "version")

    def __init__(self, rules: tuple[Rule, ...], version: str) -> None:
        self.rules = rules
        self.version = version
        self._by_name = {rule.name: rule for rule in rules}
        self._default = next((rule for rule in rules if rule.default), None)
        ordinary = tuple(rule for rule in rules if not rule.default)
        # Most rules name their event types, so the table is asked by type first: fifty rules cost no more than the two that can match.
        self._anything = tuple(rule for rule in ordinary if rule.match.types is None)
        types = {name for rule in ordinary for name in rule.match.types or ()}
        self._by_type = {name: tuple(rule for rule in ordinary if rule.match.types is None or name in rule.match.types) for name in types}

    def rule(self, name: str) -> Rule | None:
        """The rule of that name."""
        return self._by_name.get(name)

    def route(self, notification: Notification) -> tuple[Rule, ...]:
        """The rules this event goes to: the first that matches, and after a ``continue: true`` those that match later; none: unrouted.

        The default rule takes what no other rule matched. Raises Unbuildable (path ``rules.<name>.when``) when a condition fails.
        """
        found: list[Rule] = []
        context = None
        for rule in self._by_type.get(notification.type, self._anything):
            if not rule.match.matches(notification):
                continue
            if rule.when is not None:
                context = rule.engine.context(notification) if context is None else context
                if not rule.when.test(context):
                    continue
            found.append(rule)
            if not rule.continues:
                break
        if not found and self._default is not None:
            return (self._default,)
        return tuple(found)
