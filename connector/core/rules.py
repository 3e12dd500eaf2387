"""A rule, compiled: which events it is for and which message it makes of them.

``compile_rule`` takes a rule as the rules file has it (its shape already checked by ``rules_model``) and notes every flaw it finds.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from connector.core import steps, steps_sms, steps_viber, steps_voice
from connector.core.choice import choose_api, choose_class, kind_of
from connector.core.durations import format_duration, parse_duration
from connector.core.fields import Draft, Field, Node, length
from connector.core.match import Match, compile_match
from connector.core.model import Api, Channel, InDoubt, JsonObject, MessageClass, Notification
from connector.core.steps import Step
from connector.core.template import Engine, Template

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_OWN_TEXT = length(1, 300)
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


class CallbackMode(enum.StrEnum):
    """When Routee calls back. ``NONE``: never; the flow is followed by polls."""

    ON_STEP = "on_step"
    ON_COMPLETION = "on_completion"
    NONE = "none"


class QuietHours(NamedTuple):
    """No message between two times of day (minutes after midnight; the second may be the smaller one), in the recipient's time.

    ``timezone``: an IANA name for recipients whose event gives none.
    """

    start_minute: int
    end_minute: int
    timezone: str


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``count`` messages of this rule to one recipient within ``per_ms``."""

    count: int
    per_ms: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One routing rule. Frozen; compiled once."""

    name: str
    where: str  # "rules.yaml:12"
    match: Match
    when: Template | None
    api: Api
    api_inferred: bool
    message_class: MessageClass
    class_inferred: bool
    steps: tuple[Step, ...]
    engine: Engine = field(repr=False, compare=False)
    expires_after_ms: int | None = None
    tenant: Node = None
    label: Node = None
    in_doubt: InDoubt | None = None
    dedupe_key: Node = None
    quiet_hours: QuietHours | None = None
    limit: Limit | None = None
    callback: CallbackMode = CallbackMode.ON_STEP
    continues: bool = False
    default: bool = False
    extra: Mapping[str, Node] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """By order, steps with a condition included."""
        return tuple(step.channel for step in self.steps)

    @property
    def validity_ms(self) -> int:
        """Sum of the steps' ttl: the longest that Routee tries to deliver."""
        return sum(step.validity.ms for step in self.steps if step.validity is not None)

    def tenant_of(self, notification: Notification) -> str | None:
        """The rule's ``tenant``, else the event's. Raises Unbuildable."""
        return notification.tenant if self.tenant is None else self._rendered(self.tenant, notification)

    def dedupe_key_of(self, notification: Notification) -> str | None:
        """The rule's ``dedupe_key`` for this event, or None when it has none. Raises Unbuildable."""
        return None if self.dedupe_key is None else self._rendered(self.dedupe_key, notification)

    def _rendered(self, node: Node, notification: Notification) -> str:
        return node.value(self.engine.context(notification)) if isinstance(node, Field) else str(node)

    def summary(self) -> str:
        """One line for ``check``: what the rule does, and which of it was inferred."""
        send = f"send: {self.api}" + (" (inferred)" if self.api_inferred else "")
        kind = f"class: {self.message_class}" + (" (inferred)" if self.class_inferred else "")
        flow = " → ".join(_step_words(step) for step in self.steps)
        return f"{self.name} ({self.where}): {send}, {kind}; {flow}; tries for at most {format_duration(self.validity_ms)}"


def _step_words(step: Step) -> str:
    words = "viber otp" if step.type == "ViberOtp" else f"{step.channel} template" if step.templated else str(step.channel)
    return words + (" (if)" if step.condition is not None else "")


def compile_rule(draft: Draft, doc: JsonObject, where: str) -> Rule:
    """The rule, with everything that is wrong in it noted in the draft; when there are flaws it must not be used."""
    if not _NAME.fullmatch(draft.name):
        draft.at("name").flaw("a rule's name has 1 to 100 letters, digits, dots, dashes or underscores")
    default = doc.get("default", False)
    if default and ("match" in doc or "when" in doc):
        draft.at("default").flaw("the default rule takes what no other rule matched: it has no match and no when")
    if not default and not doc.get("match") and "when" not in doc:
        draft.flaw("the rule would take every event: it has no match", "match: {type: …}, or default: true for a catch-all")
    api, api_inferred = choose_api(draft, doc)
    message_class, class_inferred = choose_class(draft, doc, api)
    label = steps.label(draft, doc)
    return Rule(
        name=draft.name,
        where=where,
        match=compile_match(draft.at("match"), doc.get("match", {})),
        when=draft.at("when").condition(doc["when"]) if "when" in doc else None,
        api=api,
        api_inferred=api_inferred,
        message_class=message_class,
        class_inferred=class_inferred,
        steps=tuple(_step(draft.at("steps", index), step, api) for index, step in enumerate(doc["steps"])),
        engine=draft.engine,
        expires_after_ms=_positive(draft.at("expires_after"), doc["expires_after"]) if "expires_after" in doc else None,
        tenant=draft.at("tenant").text(doc["tenant"], _OWN_TEXT) if "tenant" in doc else None,
        label=label,
        in_doubt=InDoubt(doc["in_doubt"]) if "in_doubt" in doc else None,
        dedupe_key=draft.at("dedupe_key").text(doc["dedupe_key"], _OWN_TEXT) if "dedupe_key" in doc else None,
        quiet_hours=_quiet_hours(draft.at("quiet_hours"), doc["quiet_hours"]) if "quiet_hours" in doc else None,
        limit=_limit(draft.at("limit"), doc["limit"]) if "limit" in doc else None,
        callback=CallbackMode(doc.get("callback", CallbackMode.ON_STEP)),
        continues=doc.get("continue", False),
        default=default,
        extra=steps.additions(draft, doc, steps.ROOT_RESERVED),
    )


def _step(draft: Draft, doc: JsonObject, api: Api) -> Step:
    kind = kind_of(doc)
    key = "viber" if kind == "viber_template" else kind
    place, inner = draft.at(key), doc[key]
    step: Step
    if kind == "sms":
        step = steps_sms.compile_sms(place, inner, api)
    elif kind == "voice":
        step = steps_voice.compile_voice(place, inner)
    elif kind == "viber_otp":
        step = steps_viber.compile_viber_otp(place, inner, api)
    elif kind == "viber_template":
        step = steps_viber.compile_viber_template(place, inner, api)
    else:
        step = steps_viber.compile_viber(place, inner, api)
    return step if "if" not in doc else step.only_if(draft.at("if").condition(doc["if"]))


def _positive(draft: Draft, text: str) -> int:
    ms = parse_duration(text)
    if not ms:
        draft.flaw("the duration must be longer than 0")
    return ms


def _quiet_hours(draft: Draft, doc: JsonObject) -> QuietHours:
    start, end = (_minute(draft.at(key), doc[key]) for key in ("from", "to"))
    if start == end:
        draft.flaw("quiet hours begin and end at the same time")
    return QuietHours(start, end, doc.get("timezone", "UTC"))


def _minute(draft: Draft, text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if found is None:
        draft.flaw(f"{text!r} is no time of day", 'as in "21:30"')
        return 0
    return int(found[1]) * 60 + int(found[2])


def _limit(draft: Draft, doc: JsonObject) -> Limit:
    return Limit(doc["count"], _positive(draft.at("per"), doc["per"]))
