"""The topics as an AsyncAPI 3 document, made from the Avro schemas and the settings: what others produce, what they can read.

Internal topics (journals, callbacks, control) are left out: nobody else reads or writes them. Nothing of the settings but names and
encodings is shown: no address of a registry, no property, no secret.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from connector import __version__
from connector.adapters import avro
from connector.cli.schema_json import json_schema

if TYPE_CHECKING:
    from connector.settings import Settings

Json = dict[str, Any]

_AVRO: Final = "application/vnd.apache.avro;version=1.11.0"
_BINDING: Final = "0.5.0"
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_FRAMES: Final = "In the frame of the schema registry, or as a single object (C3 01, fingerprint, record) with this very schema."

OUT_HEADERS: Final[Mapping[str, str]] = {
    "failover.id": "The event's id, the same however often it is emitted: drop repeats by it.",
    "failover.kind": "send or status.",
    "content-type": "Media type of the value.",
}
LETTER_HEADERS: Final[Mapping[str, str]] = {
    "failover.id": "The dead letter's id: drop repeats by it.",
    "failover.kind": "dead_letter.",
    "failover.reason": "Code of what is wrong.",
    "failover.path": "Where: a field of the event, or a text of the rule.",
    "failover.event_id": "The event, if it could be read.",
    "failover.flow_id": "Its SendEvent INVALID has the same; of a callback: the flow whose URL was called.",
    "failover.rule": "The rule that matched, if one did.",
    "failover.rules_version": "Version of the rules that decided.",
    "failover.replay": "How often it was produced again.",
    "failover.original.topic": "Where the record first stood.",
    "failover.original.partition": "Partition of that.",
    "failover.original.offset": "Offset in that.",
    "failover.original.timestamp": "Its timestamp then, epoch milliseconds.",
    "failover.value.sha256": "Instead of a value too large for the topic.",
    "failover.value.size": "Its size in bytes.",
    "__connect.errors.topic": "Where the record stands: the input topic, or the callbacks topic.",
    "__connect.errors.partition": "Partition of that.",
    "__connect.errors.offset": "Offset in that.",
    "__connect.errors.stage": "decode, route or build; callback: the record is one of the callbacks topic.",
    "__connect.errors.exception.class.name": "Class of the error.",
    "__connect.errors.exception.message": "The error in words, without personal data.",
}
_STAND_INS: Final = frozenset({"failover.value.sha256", "failover.value.size"})


def asyncapi(settings: Settings) -> Json:
    """The whole document, as these settings make it."""
    topics = settings.topics
    inputs = _names(tuple(topics.notifications))
    outputs = {"sends": topics.sends, "statuses": topics.statuses, "deadLetters": topics.dead_letters}
    input_messages = _input_messages(settings)
    messages = {name: list(input_messages) for name in inputs} | {"sends": ["send"], "statuses": ["status"], "deadLetters": ["deadLetter"]}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kafka connector for Routee Failover",
            "version": __version__,
            "description": "Notification events come in; each becomes one message to a person; its whole fate goes out.",
            "license": {"name": "Apache-2.0"},
        },
        "servers": {"kafka": _server(settings)},
        "channels": {name: _channel(name, topic, messages[name]) for name, topic in (inputs | outputs).items()},
        "operations": _operations(inputs, messages),
        "components": {
            "messages": {
                **input_messages,
                "send": _output("send", "The send decision of one flow.", settings),
                "status": _output("status", "One change of an accepted flow or of one of its steps.", settings),
                "deadLetter": _letter(settings),
            }
        },
    }


def _server(settings: Settings) -> Json:
    """The first broker of the list stands for the cluster."""
    secure = str(settings.kafka.properties.get("security.protocol", "")).upper() in {"SSL", "SASL_SSL"}
    first = settings.kafka.bootstrap_servers.split(",")[0].strip()
    return {"host": first, "protocol": "kafka-secure" if secure else "kafka", "description": "The Kafka cluster."}


_SAID: Final = {
    "sends": "One SendEvent for each flow: accepted, rejected, or not sent and why; a correction or duplicate is a further one.",
    "statuses": "One StatusEvent for each change after a send was accepted; seq counts them within a flow.",
    "deadLetters": "Records that could not be processed, and callbacks for nobody, as they came, with the reason in their headers.",
}


def _channel(name: str, topic: str, messages: Sequence[str]) -> Json:
    return {
        "address": topic,
        "description": _SAID.get(name, "Notification events. The same event id must come with the same Kafka key."),
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": _BINDING}},
    }


def _operations(inputs: Mapping[str, str], messages: Mapping[str, Sequence[str]]) -> Json:
    """As the connector sees it: it receives notifications, and sends what became of them."""
    said = {name: (f"receive-{name}", "receive") if name in inputs else (f"write-{name}", "send") for name in messages}
    return {
        operation: {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{message}"} for message in messages[name]],
        }
        for name, (operation, action) in said.items()
    }


# -------------------------------------------------------------------------------------------------------------- messages


def _input_messages(settings: Settings) -> Json:
    """One for each encoding that is taken; with ``fields`` the shape is the producer's own."""
    wanted = ("avro", "json") if settings.format.input == "auto" else (settings.format.input,)
    return {f"notification{kind.capitalize()}": _notification(kind, settings) for kind in wanted}


def _notification(kind: str, settings: Settings) -> Json:
    said = "An event that becomes a message. CloudEvents are understood, too."
    message = {"name": "Notification", "title": f"Notification, {kind.upper() if kind == 'json' else 'Avro'}", "bindings": _key("Yours.")}
    if settings.fields:
        mapped = ", ".join(f"{ours} = {path}" for ours, path in sorted(settings.fields.items()))
        shape: Json = {"type": "object", "description": f"Of the producer's own shape; the setting fields maps it: {mapped}."}
        return {**message, "summary": said, "contentType": f"application/{kind}", "payload": shape}
    return {**message, "summary": said, **_payload("notification", kind, incoming=True)}


def _output(kind: str, said: str, settings: Settings) -> Json:
    return {
        "name": f"{kind.capitalize()}Event",
        "title": f"{kind.capitalize()}Event",
        "summary": said,
        "headers": _headers(OUT_HEADERS, required=tuple(OUT_HEADERS), copied=settings.topics.copy_headers),
        **_payload(kind, settings.format.output, incoming=False),
        "bindings": _key("The flow's id."),
    }


def _letter(settings: Settings) -> Json:
    kept = settings.privacy.dead_letters == "original"
    return {
        "name": "DeadLetter",
        "title": "Dead letter",
        "summary": "A record that can never be processed.",
        "headers": _headers(LETTER_HEADERS, required=tuple(name for name in LETTER_HEADERS if name not in _STAND_INS)),
        "contentType": "application/octet-stream",
        "payload": {"description": "The record's value as it came." if kept else "Left out (privacy.dead_letters: coordinates)."},
        "bindings": _key("As the record's own." if kept else "None."),
    }


def _payload(name: str, kind: str, *, incoming: bool) -> Json:
    schema = orjson.loads(avro.schema(name).text)
    if kind == "json":
        return {"contentType": "application/json", "payload": json_schema(schema, incoming=incoming)}
    return {"contentType": "application/avro", "description": _FRAMES, "payload": {"schemaFormat": _AVRO, "schema": schema}}


def _headers(said: Mapping[str, str], *, required: Sequence[str], copied: Sequence[str] = ()) -> Json:
    own = {name: {"type": "string", "description": text} for name, text in said.items()}
    taken = {name: {"type": "string", "description": "Copied from the notification, if it has it."} for name in copied if name not in own}
    return {"type": "object", "required": list(required), "properties": own | taken}


def _key(said: str) -> Json:
    return {"kafka": {"key": {"type": "string", "description": said}, "bindingVersion": _BINDING}}


def _names(topics: Sequence[str]) -> dict[str, str]:
    """Each input by its key in the document; those whose keys would be one have a hash of their own name in it."""
    plain = {topic: _NOT_A_NAME.sub("-", f"in-{topic}") for topic in topics}
    shared = [name for name, count in Counter(plain.values()).items() if count > 1]
    return {f"{name}-{_hash(topic)}" if name in shared else name: topic for topic, name in plain.items()}


def _hash(topic: str) -> str:
    return hashlib.sha256(topic.encode()).hexdigest()[:8]
