"""The AsyncAPI document: well-formed, and true of what is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from connector.adapters import avro
from connector.adapters.encode import EventEncoder
from connector.adapters.kafka_outbox import letter_headers
from connector.cli.schema_asyncapi import LETTER_HEADERS, asyncapi
from connector.core.flow import Flow
from connector.core.model import DeadLetter, Record
from connector.core.notification import to_notification
from connector.settings import Settings
from scripts.docs import topics_document
from tests.unit.flows import walks

# What AsyncAPI 3.0.0 says of the parts that are used here; nothing else may be in them.
REF = {"type": "object", "required": ["$ref"], "additionalProperties": False, "properties": {"$ref": {"type": "string", "pattern": "^#/"}}}
TEXT = {"type": "string", "minLength": 1}


def mapping(value: dict[str, Any]) -> dict[str, Any]:
    """Names of the characters that AsyncAPI allows, each with such a value."""
    return {"type": "object", "minProperties": 1, "propertyNames": {"pattern": r"^[A-Za-z0-9_\-]+$"}, "additionalProperties": value}


def closed(required: str = "", **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON Schema
    """An object with these properties only."""
    return {"type": "object", "required": required.split(), "additionalProperties": False, "properties": properties}


BINDINGS = closed("kafka", kafka={"type": "object", "required": ["bindingVersion"]})
PAYLOAD = {
    "anyOf": [closed("schemaFormat schema", schemaFormat=TEXT, schema={}), {"type": "object", "not": {"required": ["schemaFormat"]}}]
}
MESSAGE = closed(
    "name payload",
    **dict.fromkeys(("name", "title", "summary", "description", "contentType"), TEXT),
    headers={"type": "object", "required": ["type", "properties"]},
    payload=PAYLOAD,
    bindings=BINDINGS,
)
DOCUMENT = closed(
    "asyncapi info servers channels operations components",
    asyncapi={"const": "3.0.0"},
    info=closed("title version", title=TEXT, version=TEXT, description=TEXT, license=closed("name", name=TEXT)),
    servers=mapping(closed("host protocol", host=TEXT, protocol={"enum": ["kafka", "kafka-secure"]}, description=TEXT)),
    channels=mapping(
        closed(
            "address messages",
            address=TEXT,
            description=TEXT,
            servers={"type": "array", "items": REF},
            messages=mapping(REF),
            bindings=BINDINGS,
        )
    ),
    operations=mapping(
        closed("action channel", action={"enum": ["send", "receive"]}, channel=REF, messages={"type": "array", "minItems": 1, "items": REF})
    ),
    components=closed("messages", messages=mapping(MESSAGE)),
)
SECRETS = {"application_secret": "s3cret-of-routee", "pepper": "pepper-of-sixteen-bytes", "password": "kafka-s3cret"}


def document(**sections: Any) -> dict[str, Any]:  # noqa: ANN401 - settings as people write them
    """As these settings make it, through JSON."""
    tree = {
        "routee": {"application_id": "a", "application_secret": SECRETS["application_secret"]},
        "privacy": {"pepper": SECRETS["pepper"]},
        **sections,
    }
    made: dict[str, Any] = json.loads(json.dumps(asyncapi(Settings.model_validate(tree))))
    return made


def references(part: object) -> Iterator[str]:
    """Every ``$ref``."""
    for item in part if isinstance(part, list) else part.values() if isinstance(part, dict) else ():
        yield from references(item)
    if isinstance(part, dict) and isinstance(part.get("$ref"), str):
        yield part["$ref"]


def target(made: dict[str, Any], reference: str) -> Any:  # noqa: ANN401 - any part of the document
    """What a reference points at; raises KeyError."""
    part: Any = made
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"format": {"input": "json", "output": "json"}},
        {"topics": {"notifications": ["codes.v1", "shop events".replace(" ", "_")], "sends": "x.sends"}},
        {"fields": {"phone": "customer.mobile", "event_id": "id"}, "privacy": {"pepper": SECRETS["pepper"], "dead_letters": "coordinates"}},
        {"kafka": {"bootstrap_servers": "a:1,b:2", "properties": {"security.protocol": "SASL_SSL", "sasl.password": SECRETS["password"]}}},
    ],
)
def test_the_document_is_asyncapi_3(sections: dict[str, Any]) -> None:
    """By the specification's rules for the parts that are used; every reference leads somewhere; no secret, no internal topic."""
    made = document(**sections)
    jsonschema.Draft202012Validator(DOCUMENT).validate(made)
    assert [found for found in references(made) if not target(made, found)] == []
    shown = json.dumps(made)
    assert not [secret for secret in SECRETS.values() if secret in shown]
    assert not re.search(r"\.(journal|callbacks|control)\b", shown)


def test_inputs_with_like_names_are_all_there() -> None:
    """Where the document's names allow less than Kafka's; the name of any other input does not change by that."""
    topics = ["orders.sms", "orders-sms", "orders"]
    made = document(topics={"notifications": topics})
    channels = {channel["address"]: name for name, channel in made["channels"].items()}
    assert channels.keys() >= set(topics)
    assert channels["orders"] == "in-orders"
    assert sum(operation["action"] == "receive" for operation in made["operations"].values()) == 3
    turned = document(topics={"notifications": topics[::-1]})
    assert {channel["address"]: name for name, channel in turned["channels"].items()} == channels


@pytest.mark.parametrize(
    "break_it",
    [
        lambda made: made["channels"]["sends"].pop("address"),
        lambda made: made["operations"]["write-sends"].update(action="publish"),
        lambda made: made["components"]["messages"]["send"].update(traits=3),
        lambda made: made["servers"]["kafka"].update(url="kafka:9092"),
    ],
)
def test_a_broken_document_is_seen(break_it: Callable[[dict[str, Any]], object]) -> None:
    """The rules above can fail: a channel without its address, an action that is none, a property that does not exist."""
    made = document()
    break_it(made)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(DOCUMENT).validate(made)


def test_avro_payloads_are_the_schemas_of_the_wire() -> None:
    """The very schemas that events are written with."""
    messages = document()["components"]["messages"]
    for message, name in (("send", "send"), ("status", "status"), ("notificationAvro", "notification")):
        assert messages[message]["payload"]["schema"] == orjson.loads(avro.schema(name).text)


JSON_MESSAGES = document(format={"output": "json", "input": "json"})["components"]["messages"]


@hypothesis_settings(deadline=None)
@given(walks)
def test_every_json_event_fits_its_payload(steps: list[tuple[Flow, object, Flow]]) -> None:
    """Whatever the state machine emits, every field there; one field fewer does not fit."""
    encoder = EventEncoder("json", pepper=b"p")
    for _, event in steps[-1][2].pending if steps else ():
        payload = jsonschema.Draft202012Validator(JSON_MESSAGES[event.kind]["payload"])
        body = json.loads(encoder.encode(event, "+306912345678"))
        payload.validate(body)
        body.popitem()
        assert not payload.is_valid(body)


@pytest.mark.parametrize(
    ("event", "fits"),
    [
        ({"type": "order"}, True),
        (
            {"type": "order", "event_id": "e1", "occurred_at": 1_800_000_000_000, "recipient": {"phone": "+30"}, "data": {"a": [{"b": 1}]}},
            True,
        ),
        ({"type": "order", "expires_at": "2027-01-15T08:00:00Z", "recipient": None}, True),
        ({"event_id": "e1"}, False),
        ({"type": "order", "recipient": "+306912345678"}, False),
    ],
)
def test_the_notifications_payload_says_what_is_taken(event: dict[str, Any], fits: bool) -> None:
    """What fits is decoded; what does not is a dead letter."""
    payload = jsonschema.Draft202012Validator(JSON_MESSAGES["notificationJson"]["payload"])
    assert payload.is_valid(event) is fits
    if fits:
        assert to_notification(Record("t", 0, 0, 1, None, b""), event, {}).type == "order"


def test_a_dead_letter_has_the_headers_that_are_told() -> None:
    """All that are written, and the two that stand in for a value that is too large."""
    letter = DeadLetter("i", Record("t", 0, 0, 1, None, None), "decode", "EMPTY", "d", "", "", "f", "", "v")
    written = {name for name, _ in letter_headers(letter)}
    assert written | {"failover.value.sha256", "failover.value.size"} == set(LETTER_HEADERS)
    assert set(JSON_MESSAGES["deadLetter"]["headers"]["required"]) == written


def test_the_published_document_is_that_of_the_defaults() -> None:
    """``docs/asyncapi.json`` is made anew with the docs."""
    made = json.loads(topics_document())
    assert {channel["address"] for channel in made["channels"].values()} == {
        "notifications",
        "failover.sends",
        "failover.statuses",
        "failover.dead-letters",
    }
