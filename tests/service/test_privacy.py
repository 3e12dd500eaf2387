"""Nothing personal leaves by any way but its own: the provider, the outputs' recipient, and a dead letter's original bytes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog
from prometheus_client import generate_latest

from connector import logs
from connector.core.model import Api, Doubt, FlowStatus, NotSent, Record, RefusalKind, Refused, Rejected, Reply, Request
from connector.core.outcome import classify
from tests.service.world import LANE, Process, World, report

RULES = """
rules:
  - name: code
    match: {type: code}
    class: otp
    send: otp
    steps: [{sms: {from: ACME, body: "Sesame {{ data.pin }}", ttl: 60s}}]
  - name: order
    match: {type: order}
    class: transactional
    steps: [{sms: {from: ACME, body: "Sesame {{ data.pin }}", ttl: 10m}}]
"""
PERSONAL = ("306912345678", "6912345678", "918273", "Sesame")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Every log line, of the lowest level too; everything is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    structlog.configure(cache_logger_on_first_use=False)  # no logger of the product may keep this stream
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def event(world: World, type_: str, **changes: object) -> Record:
    """An event full of what nobody else may see."""
    content = {
        "event_id": f"e{len(world.records)}",
        "type": type_,
        "occurred_at": world.clock.now_ms(),
        "recipient": {"phone": "+306912345678"},
        "data": {"pin": "918273"},
    }
    return world.put(orjson.dumps(content | changes), f"+306912345678/{len(world.records)}")


def complain(request: Request) -> Rejected:
    """Routee's no, quoting the request back."""
    message = f"Validation failed: {request.body.decode()} to 306912345678, pin 918273"
    body = orjson.dumps({"code": "400005000", "developerMessage": message})
    outcome = classify(Api.STANDARD, Reply(400, {}, body), request.secrets, now_ms=0)
    assert isinstance(outcome, Rejected)
    return outcome


async def send_everything(world: World, process: Process) -> None:
    """Each way a flow can go, through deaths and a fence too."""
    lost, absent = world.provider.lose_reply, Doubt("http_500", 500)
    refused = Refused(RefusalKind.THROTTLED, 429, "HTTP_429", 100)
    for answers in ((), (lost,), (absent,), (absent, absent), (refused,), (NotSent("dns"),), (complain,)):
        for type_ in ("code", "order"):
            record = event(world, type_)
            world.answer(record, type_, *answers)
            process.source.put(record)
    for bad in (event(world, "order", data={}), event(world, "order", recipient={"phone": "00 918273"}), event(world, "other")):
        process.source.put(bad)
    process.source.put(world.put(b"Sesame 918273 for +306912345678"), world.put(world.records[0].value))
    await world.clock.advance(5)
    process.call_back(world.records[0], "code", report("track-1", FlowStatus.FAILED))
    process.call_back(world.put(world.records[0].value), "nothing", report("track-1"))
    await world.clock.advance(400)


async def test_nothing_personal_leaves_but_by_its_own_way(world: World, stream: io.StringIO) -> None:
    """No phone, PIN or text in a log, the journal, an output's body, a metric, a dead letter's reason, or the text of what is in memory."""
    world.reload(RULES)
    first = await Process(world).start()
    world.provider.answering.clear()
    await first.put(event(world, "code"), event(world, "order"), seconds=1)
    held = [repr(live) + repr(live.request) + repr(live.record) for live in first.lane.flows.values()]
    assert len(held) == 2
    await first.kill()
    world.provider.answering.set()
    second = await Process(world).start()
    await send_everything(world, second)
    third = await Process(world).start()
    await second.put(event(world, "order"), seconds=30)
    await third.stop()
    await second.stop()

    told = stream.getvalue()
    for name in ("flow_in_doubt", "resend_after_doubt", "dead_letter", "duplicate_event", "callback_orphaned", "lane_dropped"):
        assert f'"{name}"' in told, f"{name} was not told, so nothing is shown of it"
    bodies = [orjson.dumps(body) for topic in ("sends", "statuses") for body in world.outputs(topic)]
    reasons = [f"{letter.reason} {letter.detail} {letter.path}" for letter in world.dead_letters.letters]
    assert {event["outcome"] for event in world.outputs("sends")} == {"ACCEPTED", "REJECTED", "UNKNOWN", "INVALID", "UNROUTED"}
    assert len(reasons) == 4
    places = {
        "log": [told],
        "journal": [str(entry.key + entry.value) for entry in world.journal_logs[LANE] if entry is not None],
        "output": [body.decode() for body in bodies],
        "metric": [generate_latest(process.metrics.registry).decode() for process in (first, second, third)],
        "dead letter": reasons,
        "text of an object": held,
    }
    leaks = [
        f"{word} in a {place}: …{text[max(0, text.index(word) - 80) :][:120]}"
        for place, texts in places.items()
        for text in texts
        for word in PERSONAL
        if word in text
    ]
    assert not leaks, "\n".join(leaks)
