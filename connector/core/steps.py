"""A step of a rule: what it becomes on the wire, and what all kinds of steps share (order, recipient, label, validity, triggers, extra)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from connector.core.durations import format_duration, parse_duration
from connector.core.fields import Draft, Node, length, merged
from connector.core.model import Api, Channel, JsonObject
from connector.core.template import Template

MINUTE = 60_000

# Routee: label up to 350 characters. "|" + flow id (36) + "." + attempt (up to 8 digits) follow the user's own.
LABEL_LIMIT = 350
_OWN_LABEL = length(0, LABEL_LIMIT - 46)

# The connector needs these to keep its promise; "extra" is for fields that it does not know.
RESERVED = frozenset({"type", "order", "to", "ttl", "label", "templateId", "callback", "flow"})
ROOT_RESERVED = frozenset({"flow", "callback"})

TRIGGERS: Mapping[Channel, Mapping[str, str]] = {  # voice: the two of the failover pages, and the four of the voice pages
    Channel.SMS: {"undelivered": "UNDELIVERED", "failed": "FAILED"},
    Channel.VIBER: {"expired": "EXPIRED", "failed": "FAILED", "undelivered": "UNDELIVERED"},
    Channel.VOICE: {
        "busy": "Busy",
        "no_answer": "NoAnswer",
        "completed": "Completed",
        "failed": "Failed",
        "unsent": "Unsent",
        "terminated": "Terminated",
    },
}

_UNITS: Mapping[Api | Channel, tuple[int, int, int, int, str]] = {  # unit, grain, least, default (all ms), words
    Api.OTP: (1_000, 1_000, 1_000, 120_000, "whole seconds"),
    Channel.SMS: (MINUTE, MINUTE, MINUTE, 1_200 * MINUTE, "whole minutes"),
    Channel.VIBER: (MINUTE, MINUTE // 10, MINUTE // 2, 10 * MINUTE, "minutes with one decimal"),
}
_LONGEST = 1_440 * MINUTE


class LabelPlace(enum.Enum):
    """Where a step carries the attempt's label."""

    NONE = "none"  # a template step with a label is refused with 400; a call has none
    STEP = "step"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Validity:
    """A step's ttl in the unit of its API. ``written`` is False when it is left to Routee's default."""

    ms: int
    unit_ms: int
    grain_ms: int  # the smallest difference the API can say
    least_ms: int
    written: bool

    def wire(self, ms: int) -> int | float:
        """The number that goes out: whole where it can be, else with one decimal."""
        whole, rest = divmod(ms, self.unit_ms)
        return whole if not rest else round(ms / self.unit_ms, 1)


@dataclass(frozen=True, slots=True)
class Step:
    """One step, compiled. ``tree`` becomes its JSON, without what is known only when it is built (to, order, label, ttl)."""

    type: str  # Sms, Viber, Voice, ViberOtp
    channel: Channel
    path: str
    tree: dict[str, Node]
    label_place: LabelPlace
    validity: Validity | None = None
    to: Node = None
    label: Node = None
    condition: Template | None = None

    @property
    def templated(self) -> bool:
        """Whether the step sends a registered template, whose id belongs to the signature."""
        return "templateId" in self.tree

    def only_if(self, condition: Template) -> Step:
        """The same step, left out where the condition does not hold."""
        return replace(self, condition=condition)


def common(draft: Draft, doc: JsonObject, channel: Channel, tree: dict[str, Node]) -> dict[str, Node]:
    """The tree with triggers and ``extra`` laid over it."""
    if "fail_over_on" in doc:
        words = TRIGGERS[channel]
        tree["failoverOnStatuses"] = [words[word] for word in dict.fromkeys(doc["fail_over_on"])]
    added = additions(draft, doc, RESERVED)
    for key, value in added.items():
        if isinstance(tree.get(key), dict) and not isinstance(value, Mapping):
            draft.at("extra", key).flaw(f"extra cannot replace {key}", "a mapping is added to it")
    return merged(tree, added)


def additions(draft: Draft, doc: JsonObject, reserved: frozenset[str]) -> Mapping[str, Node]:
    """What the rule adds to the JSON as it is, for fields that the connector does not know."""
    free: JsonObject = doc.get("extra", {})
    place = draft.at("extra")
    for key in reserved & free.keys():
        place.at(key).flaw(f"extra cannot set {key}", "the connector sets it itself")
    message = free.get("message")
    if isinstance(message, Mapping) and "label" in message:
        place.at("message", "label").flaw("extra cannot set message.label", "write label: in the step or the rule")
    tree = place.tree(free)
    return tree if isinstance(tree, Mapping) else {}


def recipient(draft: Draft, doc: JsonObject) -> Node:
    """``to`` of a step, or None for the event's phone."""
    return draft.at("to").text(doc["to"], length(0, 200)) if "to" in doc else None


def label(draft: Draft, doc: JsonObject) -> Node:
    """The user's own part of the label, or None."""
    return draft.at("label").text(doc["label"], _OWN_LABEL) if "label" in doc else None


def validity(draft: Draft, doc: JsonObject, api: Api, channel: Channel, *, always: bool = False) -> Validity:
    """``ttl`` in the API's unit: OTP whole seconds, Sms whole minutes 1-1440, Viber minutes with one decimal 0.5-1440."""
    unit, grain, least, default, words = _UNITS[Api.OTP if api is Api.OTP else channel]
    if "ttl" not in doc:
        if api is Api.OTP:
            draft.flaw("ttl is missing: the OTP service needs it on every step", "ttl: 60s")
        return Validity(default, unit, grain, least, written=always)
    ms, place = parse_duration(doc["ttl"]), draft.at("ttl")
    if not least <= ms <= _LONGEST:
        place.flaw(f"ttl {doc['ttl']} is outside {format_duration(least)} to 24h", f"the {api} API takes {words} for {channel}")
    elif ms % grain:
        lower = ms - ms % grain
        near = f"{format_duration(lower)} or {format_duration(lower + grain)}"
        place.flaw(f"ttl {doc['ttl']} cannot be sent exactly: the {api} API takes {words} for {channel}", f"write {near}")
    return Validity(ms, unit, grain, least, written=True)


def unknown_here(draft: Draft, doc: JsonObject, keys: tuple[str, ...], why: str) -> None:
    """Refuse keys that the step has in general but not in this API."""
    for key in keys:
        if key in doc:
            draft.at(key).flaw(f"{key} is not possible here: {why}", "extra: passes a field on as it is")
