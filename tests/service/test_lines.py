"""What the log says of flows, so that a night's question can be answered from it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from typing import Any

import pytest
import structlog

from connector.core.flow import Flow, State
from connector.core.model import Doubt, FlowStatus, RefusalKind, Refused
from connector.metrics import Metrics
from connector.services import counts
from connector.services.throttle import Breaker
from tests.service.world import Process, World, report
from tests.unit.flows import facts

Lines = list[MutableMapping[str, Any]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Every line that is logged, debug ones included."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def of(lines: Lines, event: str) -> Lines:
    """The lines of one event."""
    return [line for line in lines if line["event"] == event]


async def test_every_line_about_a_flow_names_lane_flow_and_event(world: World, lines: Lines) -> None:
    """Whoever has any of the three finds the other two: a doubt, its end, the resend, the decision, a dead letter, a late correction."""
    process = await Process(world).start()
    code, sale, broken = world.record("code", event_id="c-1"), world.record("sale", event_id="s-1"), world.put(b"{")
    ids = {
        "c-1": world.answer(code, "code", Doubt("timeout")),
        "s-1": world.answer(sale, "sale", Doubt("reset")),
    }
    await process.put(code, sale, broken, seconds=120.0)
    process.call_back(sale, "sale", report("late-1", FlowStatus.SUCCEEDED))
    await world.clock.advance(1.0)
    await process.stop()
    about = [line for line in lines if "flow_id" in line]
    assert {line["event"] for line in about} == {
        *("flow_in_doubt", "doubt_resolved", "resend_after_doubt", "send_decided", "send_corrected", "dead_letter"),
    }
    assert [line for line in about if not (line["lane"] == "notifications/0" and line["event_id"])] == []
    assert {line["event_id"]: line["flow_id"] for line in about if line["event_id"] in ids} == ids
    assert [line["event_id"] for line in of(lines, "dead_letter")] == [broken.coordinates]
    assert [(line["before"], line["outcome"]) for line in of(lines, "send_corrected")] == [("UNKNOWN", "ACCEPTED")]


@pytest.mark.parametrize(
    ("state", "resolution", "level"),
    [(State.ACCEPTED, "found", "info"), (State.INTENT, "resend", "warning"), (State.UNKNOWN, "unknown", "warning")],
)
def test_the_end_of_a_doubt_says_what_became_of_it(lines: Lines, state: State, resolution: str, level: str) -> None:
    """In words of its own, not in the names of states; that the message was found is no warning."""
    doubted = replace(Flow(facts()), state=State.DOUBT, attempt=1)
    counts.change(Metrics(), doubted, replace(doubted, state=state))
    [line] = of(lines, "doubt_resolved")
    assert (line["resolution"], line["log_level"], line["flow_id"]) == (resolution, level, facts().flow_id)


async def test_a_send_that_went_well_is_a_debug_line(world: World, lines: Lines) -> None:
    """At a thousand sends a second the log stays readable; whoever looks closely sees each of them, with Routee's id."""
    process = await Process(world).start()
    await process.put(world.record("order"))
    await process.stop()
    [line] = of(lines, "send_decided")
    assert (line["log_level"], line["outcome"], line["attempt"]) == ("debug", "ACCEPTED", 1)
    assert line["tracking_id"] == world.outputs("sends")[0]["tracking_id"]


@pytest.mark.parametrize("wait_s", [0.0, 60.0])
async def test_a_repeat_says_whom_it_repeats(world: World, lines: Lines, wait_s: float) -> None:
    """The first one's place and type stand in the line, whether that is under way or finished: another type means a bad event id."""
    process = await Process(world).start()
    first = world.record("order", event_id="same")
    world.provider.answering.clear() if not wait_s else None
    await process.put(first, seconds=0.5)
    if wait_s:
        process.call_back(first, "order", report("track-1"))
        await world.clock.advance(wait_s)
    again = world.record("sale", event_id="same")
    await process.put(again, seconds=0.5)
    world.provider.answering.set()
    await process.stop()
    [line] = of(lines, "duplicate_event")
    assert (line["event_id"], line["type"], line["record"]) == ("same", "sale", again.coordinates)
    assert (line["first"], line["first_type"]) == (first.coordinates, "order")


async def test_a_breaker_is_said_once(world: World, lines: Lines) -> None:
    """However many POSTs were under way when the account ran empty, one line tells of it, and one of its end."""
    process = await Process(world).start()
    records = [world.record("order", key=f"k{n}") for n in range(5)]
    for record in records:
        world.answer(record, "order", Refused(RefusalKind.BALANCE, 400, "400001009"))
    await process.put(*records)
    assert [line["breaker"] for line in of(lines, "breaker_opened")] == ["balance"]
    assert of(lines, "breaker_closed") == []
    process.throttle.close(Breaker.BALANCE)
    process.throttle.close(Breaker.BALANCE)
    assert [line["breaker"] for line in of(lines, "breaker_closed")] == ["balance"]
    process.throttle.open(Breaker.BALANCE)
    assert len(of(lines, "breaker_opened")) == 2
    await process.stop()
