"""What goes out: the same event in JSON and Avro, the phone only as the privacy setting allows."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connector.adapters.avro import SINGLE_OBJECT, SINGLE_OBJECT_HEADER, Schema, schema, versions
from connector.adapters.callback_codec import MalformedCallback, decode_callback, encode_callback
from connector.adapters.encode import EventEncoder, Output, Privacy, decode_event, mask
from connector.adapters.registry import SchemaRegistry
from connector.core.documents import parse_flow
from connector.core.events import send_event, status_event
from connector.core.model import Api, Channel, FlowReport, FlowStatus, MessageClass, Origin, OutputEvent, StepReport, StepStatus
from connector.errors import Undecodable
from connector.ports import Callback, LaneId
from tests.contract.registry_server import serving
from tests.unit.test_events import Flow, Moved

PHONE = "+306912345678"
RELEASED = Path(__file__).parents[2] / "avro" / "released" / "1"
NOW_MS = 1_764_000_000_007
STEP = StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered", price=Decimal("0.0500"), country="GR", parts=2, updated_at_ms=NOW_MS)
SEND = send_event(
    Flow(),
    number=1,
    outcome="ACCEPTED",
    tracking_id="t-1",
    attempts=[{"n": 1, "at": NOW_MS, "outcome": "ACCEPTED", "http_status": 200, "reason": None}],
    sent_at_ms=NOW_MS,
    settled_at_ms=NOW_MS + 1,
)
STATUS = status_event(
    Flow(), number=2, seq=1, change=Moved(step=STEP), origin=Origin.CALLBACK, total_price=Decimal("0.05"), observed_at_ms=NOW_MS
)


def test_json_is_as_the_public_page_says() -> None:
    """Times ISO 8601 UTC with milliseconds, money as text, absent values null, the fields in order."""
    sent = orjson.loads(EventEncoder("json", privacy="clear").encode(SEND, PHONE))
    assert list(sent) == list(SEND.body)
    assert (sent["sent_at"], sent["recipient"], sent["reason"]) == ("2025-11-24T16:00:00.007Z", PHONE, None)
    assert sent["attempts"][0]["at"] == "2025-11-24T16:00:00.007Z"
    status = orjson.loads(EventEncoder("json").encode(STATUS, PHONE))
    assert list(status) == list(STATUS.body)
    assert (status["step"]["price"], status["total_price"], status["accepted_at"]) == ("0.05", "0.05", None)
    assert status["step"]["updated_at"] == "2025-11-24T16:00:00.007Z"


@pytest.mark.parametrize("event", [SEND, STATUS])
def test_avro_says_the_same_as_json(event: OutputEvent) -> None:
    """A single object decodes to what the JSON output says."""
    value = EventEncoder("avro").encode(event, PHONE)
    assert value.startswith(SINGLE_OBJECT + schema(event.kind).fingerprint)
    assert decode_event(value) == decode_event(EventEncoder("json").encode(event, PHONE))


@pytest.mark.parametrize("output", ["avro", "json"])
def test_a_journalled_event_encodes_the_same(output: Output) -> None:
    """What is read back from a journal row goes out as the original would have."""
    for event in (SEND, STATUS):
        again = OutputEvent(event.id, event.kind, event.flow_id, orjson.loads(orjson.dumps(event.body)))
        assert EventEncoder(output).encode(again, PHONE) == EventEncoder(output).encode(event, PHONE)


@pytest.mark.parametrize("output", ["avro", "json"])
def test_an_event_of_an_older_release_goes_out_with_nulls(output: Output) -> None:
    """One that waits in a row since before an upgrade lacks the newer fields; a consumer finds all of them."""
    old = {name: value for name, value in STATUS.body.items() if name in released_fields("status")}
    old["step"] = {name: value for name, value in STATUS.body["step"].items() if name in released_fields("status", "step")}
    said = decode_event(EventEncoder(output).encode(OutputEvent(STATUS.id, "status", STATUS.flow_id, old), None), "status")
    assert said.keys() == STATUS.body.keys()
    assert said["step"].keys() == STATUS.body["step"].keys()
    assert [said[name] for name in ("sent_at", "delivered_at", "delivered_by", "raw_status")] == [None] * 4
    assert (said["id"], said["step"]["ended_at"], said["total_price"]) == (STATUS.id, None, "0.05")


def released(name: str) -> Schema:
    """As the first release has it."""
    return Schema((RELEASED / f"{name}.avsc").read_text(encoding="utf-8"))


def released_fields(name: str, inside: str = "") -> set[str]:
    """Names of its fields, or of those of the record that one of them holds."""
    fields = json.loads((RELEASED / f"{name}.avsc").read_text(encoding="utf-8"))["fields"]
    if inside:
        fields = next(field["type"][1]["fields"] for field in fields if field["name"] == inside)
    return {field["name"] for field in fields}


LATER = {"name": "later", "type": ["null", "string"], "default": None, "doc": "d"}


def later(name: str, *places: str) -> Schema:
    """A later release's: one field more at the end of the whole, and of each record that such a field holds."""
    tree = json.loads(schema(name).text)
    for place in ("", *places):
        held = next((field["type"] for field in tree["fields"] if field["name"] == place), tree)
        while "fields" not in held:
            held = held[1] if isinstance(held, list) else held["items"]
        held["fields"].append(LATER)
    return Schema(json.dumps(tree))


@pytest.mark.parametrize("output", ["avro", "json"])
@pytest.mark.parametrize("event", [SEND, STATUS])
def test_an_event_of_a_later_release_goes_out_as_this_one_says_it(output: Output, event: OutputEvent) -> None:
    """After a rollback one waits in a row: what this release does not know stays behind at any depth, alike in both encodings."""
    body = {**orjson.loads(orjson.dumps(event.body)), "later": "x"}
    for inner in ("step", "source"):
        if body.get(inner):
            body[inner]["later"] = {"deep": [1]}
    for attempt in body.get("attempts", ()):
        attempt["later"] = None
    encoder = EventEncoder(output)
    assert encoder.encode(OutputEvent(event.id, event.kind, event.flow_id, body), PHONE) == encoder.encode(event, PHONE)


def test_what_is_left_out_is_said_once() -> None:
    """By the names of the fields, not once an event."""
    encoder = EventEncoder("avro")
    body = {**STATUS.body, "later": "x", "step": {**STATUS.body["step"], "later": 1}}
    with capture_logs() as told:
        for _ in range(3):
            encoder.encode(OutputEvent(STATUS.id, "status", STATUS.flow_id, body), None)
    [line] = told
    assert line["event"] == "event_fields_left_out"
    assert (line["kind"], line["fields"]) == ("status", ["later", "step.later"])


@pytest.mark.parametrize("framed", [False, True])
def test_what_an_earlier_release_wrote_is_read(framed: bool) -> None:
    """Topics outlive releases: its events still show, and its callbacks still count, with nulls for what it did not know."""
    body: Any = schema("status").read(EventEncoder("avro").encode(STATUS, None), SINGLE_OBJECT_HEADER)
    old = released("status")
    step = {name: body["step"][name] for name in released_fields("status", "step")}
    datum = {**{name: body[name] for name in released_fields("status")}, "step": step}
    value = b"\x00\x00\x00\x00\x07" + old.write(datum) if framed else old.single_object(datum)
    said = decode_event(value, "status")
    assert (said["id"], said["step"]["price"], said["step"]["ended_at"], said["sent_at"]) == (STATUS.id, "0.05", None, None)


def test_a_callback_that_waits_since_before_an_upgrade_is_read() -> None:
    """Its 200 was a promise."""
    callback = Callback(LaneId("n", 3), "f-1", b"0" * 16, 1, NOW_MS, FlowReport("t-1", FlowStatus.SUCCEEDED, steps=(STEP,)))
    body: Any = schema("callback").read(encode_callback(callback), SINGLE_OBJECT_HEADER)
    for name in ("created_at", "sent_at", "delivered_at"):
        del body["report"]["steps"][0][name]
    del body["report"]["raw_status"]
    assert decode_callback(released("callback").single_object(body)) == callback


REPORT = FlowReport("t-1", FlowStatus.SUCCEEDED, steps=(STEP,))


@pytest.mark.parametrize("places", [(), ("report",)])
def test_a_later_releases_callback_says_whose_it_is(places: tuple[str, ...]) -> None:
    """In a mixed roll, or after a rollback: its flow, attempt and tracking id are read, the rest is asked of Routee."""
    callback = Callback(LaneId("n", 3), str(uuid.UUID(int=1)), b"0" * 16, 1, NOW_MS, REPORT)
    body: Any = schema("callback").read(encode_callback(callback), SINGLE_OBJECT_HEADER)
    body["later"] = body["report"]["later"] = "x"
    if not places:
        del body["report"]["later"]
    assert decode_callback(later("callback", *places).single_object(body)) == replace(callback, report=FlowReport("t-1", None))


def test_every_release_begins_its_callbacks_alike() -> None:
    """What an older release reads of a newer one's callback: seven fields with these types, in this order, for ever."""
    for one in versions("callback").values():
        *fields, report = one.parsed["fields"]
        assert [(field["name"], field["type"]["type"] if isinstance(field["type"], dict) else field["type"]) for field in fields] == [
            ("topic", "string"),
            ("partition", "int"),
            ("flow_id", "string"),
            ("event_digest", "fixed"),
            ("attempt", "int"),
            ("received_at", "long"),
        ]
        first = report["type"]["fields"][0]
        assert (report["name"], first["name"], first["type"]) == ("report", "tracking_id", ["null", "string"])


FLOW = "0b1f5cb6-6d0c-5e1a-9f43-5d3c6c6b7a10"


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        (f"{FLOW}.1", [f"{FLOW}.1"]),
        (f"for +306912345678|{FLOW}.12", [f"{FLOW}.12"]),
        (f"for 306912345678{FLOW.upper()}", [FLOW.upper()]),
        (f"{FLOW}.1 for +306912345678", [f"{FLOW}.1"]),
        ("for +306912345678", []),
        ("306912345678", []),
    ],
)
def test_of_a_label_only_ids_go_through_the_callbacks_topic(label: str, kept: list[str]) -> None:
    """A rule's label may hold the phone; what tells whose a message is stays."""
    value = encode_callback(Callback(LaneId("n", 0), FLOW, b"0" * 16, 1, NOW_MS, replace(REPORT, labels=(label, label))))
    assert b"6912345678" not in value
    assert list(decode_callback(value).report.labels) == kept


@pytest.mark.parametrize("said", ["PIN 482913 for +306912345678", "+306912345678", "482913"])
def test_what_stands_in_a_word_of_the_provider_stays_out_of_the_callbacks_topic(said: str) -> None:
    """The flow's kind and the steps' template ids are any text: a phone or a PIN in them goes no further (nor into a dead letter)."""
    step = {"type": "Viber", "order": 1, "status": {"name": "Sent"}}
    for place in ({"templateId": said}, {"template_id": said}, {"body": {"templateId": said}}):
        report = parse_flow({"trackingId": "t", "status": "InProgress", "flowKind": said, "messages": [step | place]})
        assert report is not None
        value = encode_callback(Callback(LaneId("n", 0), FLOW, b"0" * 16, 1, NOW_MS, report))
        assert not any(secret in value for secret in (b"6912345678", b"482913", b"PIN"))


@pytest.mark.parametrize(
    ("privacy", "shown"),
    [
        ("hash", hmac.new(b"pepper", PHONE.encode(), hashlib.sha256).hexdigest()[:32]),
        ("masked", "+30••••••78"),
        ("clear", PHONE),
    ],
)
@pytest.mark.parametrize("output", ["avro", "json"])
def test_the_phone_goes_out_by_the_privacy_setting(output: Output, privacy: Privacy, shown: str) -> None:
    """Hash, mask or clear, in the SendEvent alone; an unknown phone is null."""
    encoder = EventEncoder(output, privacy=privacy, pepper=b"pepper")
    value = encoder.encode(SEND, PHONE)
    assert decode_event(value)["recipient"] == shown
    assert decode_event(encoder.encode(SEND, None))["recipient"] is None
    assert "recipient" not in decode_event(encoder.encode(STATUS, PHONE))
    assert (PHONE.encode() in value) is (privacy == "clear")


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        ("+14155550123", "+1••••••23"),
        ("+35799123456", "+357••••••56"),
        ("+99999999999", "+••••••99"),
        ("+3069", "••••••"),
        ("30691", "••••••"),
    ],
)
def test_a_mask_shows_country_and_two_digits_at_most(phone: str, shown: str) -> None:
    """The dots say nothing of the length; a short or odd number shows nothing."""
    assert mask(phone) == shown


def test_a_phone_never_reaches_the_event_itself() -> None:
    """Encoding leaves the journalled body without a recipient."""
    EventEncoder("json", privacy="clear").encode(SEND, PHONE)
    assert SEND.body["recipient"] is None


async def test_with_a_registry_events_carry_its_schema_id() -> None:
    """``prepare`` registers ``<topic>-value``; the frame holds the id, and the registry's schema reads the event."""
    with serving() as server:
        registry = SchemaRegistry({"url": server.url, "max.retries": 0})
        encoder = EventEncoder("avro", registry=registry, topics={"send": "my.sends", "status": "my.statuses"})
        await encoder.prepare()
        assert server.subjects == {"my.sends-value": [1], "my.statuses-value": [2]}
        for event, schema_id in ((SEND, 1), (STATUS, 2)):
            value = encoder.encode(event, PHONE)
            assert value[:5] == b"\x00" + schema_id.to_bytes(4, "big")
            writer = await registry.writer(schema_id)
            assert writer is not None
            read: Any = writer.read(value, 5)
            assert read["id"] == event.id
            assert decode_event(value, event.kind) == decode_event(EventEncoder("json").encode(event, PHONE))
        await registry.close()


async def test_json_needs_no_registry() -> None:
    """JSON output asks no registry, even where the input has one."""
    with serving() as server:
        registry = SchemaRegistry({"url": server.url})
        encoder = EventEncoder("json", registry=registry)
        await encoder.prepare()
        await EventEncoder("avro").prepare()
        assert server.requests == []
        assert orjson.loads(encoder.encode(SEND, None))["id"] == SEND.id
        await registry.close()


def test_the_content_type_follows_the_encoding() -> None:
    """For the header that tells consumers."""
    assert (EventEncoder("json").content_type, EventEncoder("avro").content_type) == ("application/json", "application/avro")


@pytest.mark.parametrize("value", [b"", b"[]", b"\xc3\x01", b"\xc3\x01" + b"x" * 20, b"\x00\x00\x00\x00\x01", b"nonsense"])
def test_what_is_no_event_is_undecodable(value: bytes) -> None:
    """A consumer's mistake is told as such."""
    with pytest.raises(Undecodable):
        decode_event(value)


# ------------------------------------------------------------------------------------------------------------ properties

WORDS = st.none() | st.text(max_size=12)
TEXTS = st.text(min_size=1, max_size=12)
TIMES = st.none() | st.integers(-(2**70), 2**70) | st.integers(0, 4 * 10**12)
PRICES = st.none() | st.decimals() | st.decimals(0, 10**6, places=4)
NUMBERS = st.none() | st.integers(-(2**70), 2**70)
STEPS = st.builds(
    StepReport,
    order=st.integers(-(2**70), 2**70),
    channel=st.sampled_from(Channel),
    status=st.sampled_from(StepStatus),
    raw_status=st.text(max_size=12),
    reason_group=WORDS,
    detail=WORDS,
    permanent=st.none() | st.booleans(),
    retryable=st.none() | st.booleans(),
    price=PRICES,
    country=WORDS,
    operator=WORDS,
    parts=NUMBERS,
    updated_at_ms=TIMES,
    created_at_ms=TIMES,
    sent_at_ms=TIMES,
    delivered_at_ms=TIMES,
)
FLOWS = st.builds(
    Flow,
    flow_id=TEXTS,
    event_id=TEXTS,
    event_type=WORDS,
    rule=WORDS,
    rules_version=WORDS,
    api=st.none() | st.sampled_from(Api),
    message_class=st.none() | st.sampled_from(MessageClass),
    tenant=WORDS,
    channels=st.lists(st.sampled_from(Channel), max_size=3).map(tuple),
    occurred_at_ms=TIMES,
)
ATTEMPT = st.fixed_dictionaries({"n": st.integers(1, 99), "at": TIMES, "outcome": WORDS, "http_status": st.none() | st.integers(100, 599)})
SENDS = st.builds(
    send_event,
    FLOWS,
    number=st.integers(1, 99),
    outcome=TEXTS,
    reason=WORDS,
    detail=WORDS,
    tracking_id=WORDS,
    attempts=st.lists(ATTEMPT, max_size=3),
    sent_at_ms=TIMES,
    settled_at_ms=TIMES,
)
CHANGES = st.builds(
    Moved,
    status=st.sampled_from(FlowStatus),
    previous=st.none() | st.sampled_from(FlowStatus),
    step=st.none() | STEPS,
    channel=st.none() | st.sampled_from(Channel),
    reason=WORDS,
    reason_group=WORDS,
    raw_status=WORDS,
    ended_at_ms=TIMES,
    delivered_at_ms=TIMES,
    delivered_by=st.none() | st.sampled_from(Channel),
)
STATUSES = st.builds(
    status_event,
    FLOWS,
    number=st.integers(1, 99),
    seq=st.integers(1, 99),
    change=CHANGES,
    origin=st.sampled_from(Origin),
    sent_at_ms=TIMES,
    accepted_at_ms=TIMES,
    observed_at_ms=TIMES,
    tracking_id=WORDS,
    status_code=NUMBERS,
    total_price=PRICES,
)


@settings(deadline=None)
@given(SENDS | STATUSES, st.none() | st.just(PHONE))
def test_every_event_says_the_same_in_both_encodings(event: OutputEvent, phone: str | None) -> None:
    """Whatever a provider wrote, an event can be encoded, and JSON and Avro carry the same facts in the same order."""
    as_json, as_avro = (EventEncoder(output, privacy="clear").encode(event, phone) for output in ("json", "avro"))
    assert decode_event(as_avro) == orjson.loads(as_json)
    assert list(decode_event(as_avro)) == list(event.body)


REPORTS = st.builds(
    FlowReport,
    tracking_id=WORDS,
    status=st.none() | st.sampled_from(FlowStatus),
    status_code=NUMBERS,
    total_price=PRICES,
    steps=st.lists(STEPS, max_size=3).map(tuple),
    flow_kind=WORDS,
    created_at_ms=TIMES,
    updated_at_ms=TIMES,
    labels=st.lists(TEXTS, max_size=2).map(tuple),
    signature=st.lists(TEXTS, max_size=2).map(tuple),
    recipients=st.just(("306912345678",)),
    unknown_words=st.lists(TEXTS, max_size=2).map(tuple),
)
CALLBACKS = st.builds(
    Callback,
    lane=st.builds(LaneId, TEXTS, st.integers(0, 1000)),
    flow_id=st.uuids().map(str),
    event_digest=st.binary(min_size=16, max_size=16),
    attempt=st.integers(1, 99),
    received_ms=st.integers(0, 4 * 10**12),
    report=REPORTS,
)


@settings(deadline=None)
@given(CALLBACKS)
def test_a_callback_comes_back_without_its_phone(callback: Callback) -> None:
    """Encoding loses the recipients and what no field can hold; a second turn loses nothing."""
    value = encode_callback(callback)
    found = decode_callback(value)
    assert b"306912345678" not in value
    assert found.report.recipients == ()
    assert found.lane == callback.lane
    assert (found.flow_id, found.event_digest, found.attempt) == (callback.flow_id, callback.event_digest, callback.attempt)
    assert found.received_ms == callback.received_ms
    assert [step.status for step in found.report.steps] == [step.status for step in callback.report.steps]
    assert decode_callback(encode_callback(found)) == found


def test_an_ordinary_callback_comes_back_whole() -> None:
    """Steps, prices and times arrive as they were."""
    report = FlowReport(
        "t-1", FlowStatus.SUCCEEDED, 200, Decimal("0.05"), (STEP,), "DELIVERED", NOW_MS, NOW_MS, (f"{uuid.UUID(int=1)}.1",), ("Sms",)
    )
    callback = Callback(LaneId("n", 3), str(uuid.UUID(int=1)), b"0" * 16, 1, NOW_MS, report)
    assert decode_callback(encode_callback(callback)) == callback


FRAME = SINGLE_OBJECT + schema("callback").fingerprint


@settings(deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda raw: FRAME + raw))
def test_any_other_bytes_are_a_malformed_callback(value: bytes) -> None:
    """Nothing but MalformedCallback, a ValueError, is ever raised."""
    try:
        decode_callback(value)
    except MalformedCallback:
        return


def test_an_unknown_word_is_not_guessed_at() -> None:
    """A status word of a later release: the callback says whose it is, and no status, so that the lane asks Routee itself."""
    body = {"topic": "n", "partition": 0, "flow_id": "f", "event_digest": b"0" * 16, "attempt": 1, "received_at": 0}
    empty = dict.fromkeys(("tracking_id", "status_code", "total_price", "flow_kind", "created_at", "updated_at", "raw_status"))
    report: dict[str, Any] = {**empty, "status": "FINE", "steps": [], "labels": [], "signature": [], "unknown_words": []}
    for said in (report, {**report, "tracking_id": "t-1"}):
        found = decode_callback(schema("callback").single_object({**body, "report": said}))
        assert (found.flow_id, found.attempt, found.report) == ("f", 1, FlowReport(said["tracking_id"], None))
