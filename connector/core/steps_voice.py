"""Voice steps (Routee's documentation: Standard Failover)."""

from __future__ import annotations

from connector.core import steps
from connector.core.fields import Draft, Node, length, not_blank, web
from connector.core.model import Channel, JsonObject
from connector.core.steps import LabelPlace, Step

LANGUAGES = (
    *("en-US", "de-DE", "fr-FR", "it-IT", "pt-BR", "es-ES", "es-LA", "en-GB", "el-GR", "bg-BG", "pl-PL", "hu-HU", "sv-SE", "ru-RU"),
)


def compile_voice(draft: Draft, doc: JsonObject) -> Step:
    """A step from ``voice:``. ``say`` and ``play`` are spoken in that order; ``verbs`` is for any other. Calls have no ttl and no label."""
    if "verbs" in doc and ("say" in doc or "play" in doc):
        draft.at("verbs").flaw("verbs together with say or play", "write all of them under verbs, in order")
    verbs = [_say(draft.at("say", index), verb) for index, verb in enumerate(doc.get("say", ()))]
    verbs += [_play(draft.at("play", index), verb) for index, verb in enumerate(doc.get("play", ()))]
    for index, verb in enumerate(doc.get("verbs", ())):
        place = draft.at("verbs", index)
        verbs.append(_say(place.at("say"), verb["say"]) if "say" in verb else _play(place.at("play"), verb["play"]))
    if not verbs:
        draft.flaw("a call needs something to say or play", "say: [{text: …, language: en-GB}]")
    # Spelled "dialPlan": of the three spellings in the documents, the one of the request sample.
    tree: dict[str, Node] = {"from": draft.at("from").text(doc["from"], not_blank), "dialPlan": {"verbs": verbs}}
    if detection := _machine_detection(draft, doc):
        tree["machineDetection"] = detection
    return Step(
        type="Voice",
        channel=Channel.VOICE,
        path=draft.place,
        tree=steps.common(draft, doc, Channel.VOICE, tree),
        label_place=LabelPlace.NONE,
        to=steps.recipient(draft, doc),
    )


def _say(draft: Draft, verb: JsonObject) -> dict[str, Node]:
    message: dict[str, Node] = {"text": draft.at("text").text(verb["text"], length(1, 10_000), personal=True)}
    message |= {key: verb[key] for key in ("language", "gender") if key in verb}
    return {"type": "SAY", "message": message} | _repeated(verb)


def _play(draft: Draft, verb: JsonObject) -> dict[str, Node]:
    return {"type": "PLAY", "fileURL": draft.at("url").text(verb["url"], web)} | _repeated(verb)


def _repeated(verb: JsonObject) -> dict[str, Node]:
    return {wire: verb[key] for key, wire in (("repeat", "repeat"), ("barge_in", "bargeIn")) if key in verb}


def _machine_detection(draft: Draft, doc: JsonObject) -> dict[str, Node]:
    strategy = doc.get("machine_detection")
    detection: dict[str, Node] = {"strategy": strategy.capitalize()} if strategy else {}
    if "event_url" in doc:
        if strategy != "continue":
            draft.at("event_url").flaw("event_url needs machine_detection: continue")
        detection["eventUrl"] = draft.at("event_url").text(doc["event_url"], web)
    return detection
