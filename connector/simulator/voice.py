"""What a Voice step may look like (Routee's documentation: Standard Failover). Pure."""

from __future__ import annotations

from typing import Any

from connector.simulator.checks import Checks, Path
from connector.simulator.model import Api
from connector.simulator.switches import Switches

_LANGUAGES_TEXT = "en-US de-DE fr-FR it-IT pt-BR es-ES es-LA en-GB el-GR bg-BG pl-PL hu-HU sv-SE ru-RU"
_LANGUAGES = frozenset(_LANGUAGES_TEXT.split())
_SPELLINGS = ("dialPlan", "dialplan", "dialPlans")
_DESTINATIONS = ("phone", "sip", "viber")


def check_voice(checks: Checks, step: dict[str, Any], at: Path, api: Api, switches: Switches) -> None:  # noqa: ARG001 - one signature for all channels
    """Note what is wrong with a Voice step."""
    checks.text(step, "from", at, required=True)
    _check_destination(checks, step, at)
    spelling = switches.word("dial_plan_spelling")
    spellings = _SPELLINGS if spelling == "any" else (spelling,)
    used = next((name for name in spellings if name in step), spellings[0])
    plan = checks.mapping(step, used, at, required=True)
    if plan is not None:
        verbs = checks.listing(plan, "verbs", (*at, used), required=True)
        if verbs == []:
            checks.note("missing_field", (*at, used, "verbs"), "must not be empty")
        for index, verb in enumerate(verbs or ()):
            _check_verb(checks, verb, (*at, used, "verbs", index))
    detection = checks.mapping(step, "machineDetection", at)
    if detection is not None:
        checks.word(detection, "strategy", (*at, "machineDetection"), ("Hangup", "Continue"))
        checks.url(detection, "eventUrl", (*at, "machineDetection"))


def _check_destination(checks: Checks, step: dict[str, Any], at: Path) -> None:
    destination = checks.mapping(step, "to", at, required=True)
    if destination is None:
        return
    given = [name for name in _DESTINATIONS if str(destination.get(name) or "").strip()]
    if len(given) != 1:
        checks.note("missing_field" if not given else "ambiguous", (*at, "to"), "exactly one of phone, sip, viber")
    elif given[0] != "sip":
        checks.phone(destination[given[0]], (*at, "to", given[0]))


def _check_verb(checks: Checks, verb: object, at: Path) -> None:
    if not isinstance(verb, dict):
        checks.note("wrong_type", at, "must be an object")
        return
    checks.integer(verb, "repeat", at, 0)
    checks.flag(verb, "bargeIn", at)
    kind = checks.word(verb, "type", at, ("SAY", "PLAY"), required=True)
    if kind == "PLAY":
        checks.url(verb, "fileURL", at, required=True)
    elif kind == "SAY":
        message = checks.mapping(verb, "message", at, required=True)
        if message is not None:
            checks.text(message, "text", (*at, "message"), required=True)
            checks.word(message, "language", (*at, "message"), _LANGUAGES, required=True)
            checks.word(message, "gender", (*at, "message"), ("male", "female"))
