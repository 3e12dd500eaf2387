"""The log: one JSON line per event, closed names, nothing personal, whoever wrote the line."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from connector import logs
from connector.core import identity

PACKAGE = Path(logs.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
KEPT = [
    "0a047b46-a4dd-4ca8-b817-a6a134dd1234",
    "12345678-1234-1234-1234-123456789012",
    "2026-11-23T11:00:00.123Z",
    "2026-11-23 11:00:00",
    "notifications/3/12345678",
    "192.168.100.200:9092",
    "order 123456",
    "deadbeef12345678",
    "lane notifications/3 at offset 12",
]
GONE = [
    ("+306912345678", "306912345678"),
    ("306912345678", "306912345678"),
    ("to 00306912345678.", "6912345678"),
    ("+30 691 234 5678", "5678"),
    ("(691) 234-5678", "5678"),
    ("[+306912345678,306987654321]", "306987654321"),
    ("Authorization: Bearer abc.def-ghi", "abc"),
    ("authorization: basic dXNlcjpwdw==", "dXNlcjpwdw"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "c2ln"),
    ("POST /callbacks/v1/ab-1/tok_en-1 404", "tok_en"),
    ("sasl.password=hunter2, x", "hunter2"),
    ('{"access_token": "abc def"}', "abc def"),
    ("pin: 123456", "123456"),
    ("306912345678/1/2", "306912345678"),
]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The log's lines; everything is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line(stream: io.StringIO) -> None:
    """Time, level, module, event, then the fields."""
    logs.get_logger("connector.services.lane").info("lane_claimed", lane="notifications/3", epoch=12345678901, nested={"a": [1, None]})
    [line] = lines(stream)
    assert list(line)[:4] == ["at", "level", "module", "event"]
    assert line["at"].endswith("Z")
    assert (line["level"], line["module"], line["event"]) == ("info", "services.lane", "lane_claimed")
    assert (line["lane"], line["epoch"], line["nested"]) == ("notifications/3", 12345678901, {"a": [1, None]})


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    """Debug lines cost next to nothing in production."""
    logs.get_logger("x").debug("starting")
    logging.getLogger("librdkafka").info("hello")
    logging.getLogger("librdkafka").debug("hello")
    assert [line["message"] for line in lines(stream)] == ["hello"]


def test_libraries_speak_through_the_same_log(stream: io.StringIO) -> None:
    """uvicorn and librdkafka: one event name for all, their text a field, personal data out."""
    logging.getLogger("librdkafka").warning("sent %s to %s", "Bearer abcdef", "+306912345678")
    [line] = lines(stream)
    assert (line["event"], line["module"], line["level"]) == ("library", "librdkafka", "warning")
    assert line["message"] == f"sent Bearer {logs.MASK} to {logs.MASK}"


@pytest.mark.parametrize("text", KEPT)
def test_what_operators_need_stays_readable(text: str) -> None:
    """Flow ids, times, coordinates, addresses and small numbers are no personal data."""
    assert logs.redact_text(text) == text
    assert logs.redact_text(f"({text})") == f"({text})"


@pytest.mark.parametrize(("text", "hidden"), GONE)
def test_personal_data_and_secrets_are_masked_in_texts(text: str, hidden: str) -> None:
    """Phones, tokens and passwords go, wherever they stand in a text."""
    assert hidden not in logs.redact_text(text)
    assert logs.MASK in logs.redact_text(text)


@settings(deadline=None)
@given(st.text(), st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True), st.text())
def test_no_text_around_a_phone_saves_it(before: str, phone: str, after: str) -> None:
    """A phone set apart by spaces is masked whatever stands around it, unless it is part of what must stay readable."""
    shown = logs.redact_text(f"{before} {phone} {after}")
    assert f" {phone} " not in shown


@pytest.mark.parametrize(
    "key", ["phone", "to", "body", "pin", "token", "access_token", "Authorization", "application-secret", "sasl.password", "key"]
)
def test_fields_with_such_names_are_masked_whole(stream: io.StringIO, key: str) -> None:
    """At any depth; only that there was something stays visible."""
    logs.get_logger("x").info("starting", **{key: "abc"}, inner={key: ["abc"], "deep": [{key: 99_999_999}]}, none={key: None})
    assert "abc" not in stream.getvalue()
    assert "99999999" not in stream.getvalue()
    assert lines(stream)[0]["none"] == {key: None}


def test_objects_are_read_before_they_are_masked(stream: io.StringIO) -> None:
    """What is no JSON value is made text first, and that text is redacted; bytes are only counted."""

    class Told:
        def __str__(self) -> str:
            return "to +306912345678"

    cyclic: list[object] = []
    cyclic.append(cyclic)
    logs.get_logger("x").info("starting", a=Told(), b=b"+306912345678", c={"+306912345678"}, d=(Told(),), e=2**80, f="\ud800", g=cyclic)
    [line] = lines(stream)
    assert "306912345678" not in stream.getvalue()
    assert line["b"] == "[13 bytes]"


def test_a_stack_is_redacted_too(stream: io.StringIO) -> None:
    """An exception's text may quote what somebody sent."""
    failure = ValueError("cannot send to +306912345678")
    logs.get_logger("x").error("task_failed", exc_info=failure)
    assert "306912345678" not in stream.getvalue()
    assert "ValueError: cannot send to [redacted]" in lines(stream)[0]["exception"]


def test_the_console_format_hides_the_same(stream: io.StringIO) -> None:
    """For people, with the same processors in front."""
    logs.configure("info", "console", stream)
    logs.get_logger("x").info("starting", phone="+306912345678", text="x", detail="+306912345678")
    assert "starting" in stream.getvalue()
    assert "306912345678" not in stream.getvalue()


def test_a_phone_used_as_event_id_is_masked_in_its_field(stream: io.StringIO) -> None:
    """An event id is no personal data unless somebody makes it so; ids of other shapes stay whole."""
    for event_id in ("+306912345678", "order-306912345678", "notifications/0/12345678", "0a047b46-a4dd-4ca8-b817-a6a134dd1234", "A-1001"):
        logs.get_logger("x").warning("flow_in_doubt", event_id=event_id)
    assert "306912345678" not in stream.getvalue()
    assert [line["event_id"] for line in lines(stream)[2:]] == [
        *("notifications/0/12345678", "0a047b46-a4dd-4ca8-b817-a6a134dd1234", "A-1001"),
    ]


@pytest.mark.parametrize(
    "event_id", ["+306912345678", "306912345678", "6912345678", "+30 691 234 5678", "otp:6912345678:1", "6912345678-3"]
)
def test_an_event_id_that_is_or_holds_a_phone_is_never_shown(stream: io.StringIO, event_id: str) -> None:
    """In whatever form: nobody can tell it from an order's number. The flow's id, which is made from it, is there to search by."""
    flow_id = identity.flow_id(event_id, "order")
    logs.get_logger("x").warning("flow_in_doubt", event_id=event_id, flow_id=flow_id)
    (line,) = lines(stream)
    assert line["flow_id"] == flow_id
    assert "691" not in line["event_id"].replace(" ", "")


def test_no_line_about_a_flow_leaves_its_event_out() -> None:
    """Services name a flow by ``named``, which adds lane and event id; only the ingress and an unknown flow's callback know no event."""
    alone = {
        f"{path.name}:{event}"
        for path in sorted((PACKAGE / "services").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"log.{level}" for level in LEVELS}
        for event in [getattr(node.args[0], "value", "") if node.args else ""]
        if any(word.arg == "flow_id" for word in node.keywords)
    }
    assert alone == set()


def _logged() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS and node.args):
                continue
            owner = ast.unparse(node.func.value).lower().rsplit(".", 1)[-1]
            if owner in {"_log", "log", "logger", "_logger"} and isinstance(node.args[0], ast.Constant):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", str(node.args[0].value)


def test_every_event_is_in_the_table() -> None:
    """Names of log events are a closed set with meanings (``logs.EVENTS``): alerts can rely on them."""
    assert [(where, event) for where, event in _logged() if event not in logs.EVENTS] == []
