"""A flow's life as lines."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from connector.adapters.encode import EventEncoder, decode_event
from connector.core.events import STATUS
from connector.core.flow import Attempt, Flow, State, advance
from connector.core.model import Accepted, Api, Channel, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.moves import Ended, Intended, Reported
from connector.core.timeline import Line, Took, milliseconds, timeline, took
from tests.unit.flows import NOW, facts, walks

ENCODER = EventEncoder("json", pepper=b"p")


def told(flow: Flow) -> list[Any]:
    """All its StatusEvents, as consumers read them (nothing was ever acked here)."""
    return [decode_event(ENCODER.encode(event, None), STATUS) for _, event in flow.pending if event.kind == STATUS]


def delivered() -> Flow:
    """Viber expired, SMS delivered."""
    flow = advance(Flow(facts()), Intended(), NOW)
    flow = advance(flow, Accepted("t1", 200, None), NOW + 5)
    viber = StepReport(1, Channel.VIBER, StepStatus.EXPIRED, "Expired", reason_group="EXPIRED", detail="TTL Expired")
    flow = advance(flow, Reported(FlowReport("t1", FlowStatus.IN_PROGRESS, steps=(viber,)), Origin.CALLBACK, 1), NOW + 10)
    sms = StepReport(2, Channel.SMS, StepStatus.DELIVERED, "Delivered", detail="Delivered")
    return advance(flow, Reported(FlowReport("t1", FlowStatus.SUCCEEDED, steps=(viber, sms)), Origin.POLL, 0), NOW + 20)


def undated(flow: Flow) -> Flow:
    """As an older release wrote its row: no step's end."""
    assert flow.progress is not None
    return replace(flow, progress=replace(flow.progress, steps=tuple(replace(step, ended_at_ms=None) for step in flow.progress.steps)))


def test_a_status_tells_what_routee_tells() -> None:
    """Price, country, operator, parts, and when by Routee's clock."""
    step = StepReport(1, Channel.SMS, StepStatus.SENT, "Sent", None, None, None, None, Decimal("0.036"), "GR", "Cosmote", 2, NOW + 7)
    flow = advance(advance(Flow(facts()), Intended(), NOW), Accepted("t1", 200, FlowReport("t1", None, steps=(step,))), NOW + 5)
    assert timeline(flow, told(flow))[-1].what == "sms SENT · still IN_PROGRESS · 0.036, GR, Cosmote, 2 parts, at Routee 08:00:00"


def test_how_long_it_took() -> None:
    """From the POST to acceptance, each step's end, and delivery; nothing where nothing was accepted."""
    assert took(delivered()) == (Took("accepted", 5), Took("viber EXPIRED", 10), Took("sms DELIVERED", 20), Took("delivered by sms", 20))
    assert took(advance(Flow(facts()), Ended(State.EXPIRED, "expired"), NOW)) == ()


def test_a_life_reads_from_top_to_bottom() -> None:
    """The event, the POST, and each status with its origin; what is said twice is said once."""
    assert timeline(delivered(), told(delivered())) == (
        Line(NOW - 1000, "EVENT", "the event occurred"),
        Line(NOW, "CONNECTOR", "attempt 1: ACCEPTED (HTTP 200)"),
        Line(NOW + 5, "RESPONSE", "QUEUED"),
        Line(NOW + 10, "CALLBACK", "viber EXPIRED (TTL Expired) · IN_PROGRESS"),
        Line(NOW + 20, "POLL", "sms DELIVERED · SUCCEEDED · delivered · terminal"),
    )


def test_a_journals_body_tells_the_same() -> None:
    """Events that are not out yet are taken from the row, where times are numbers."""
    pending = [event.body for _, event in delivered().pending if event.kind == STATUS]
    assert timeline(delivered(), pending) == timeline(delivered(), told(delivered()))


def test_steps_without_a_status_come_from_the_journal() -> None:
    """Retention took the statuses: the row still knows each step's last word and its end; a row of an older release not when."""
    flow = delivered()
    lines = timeline(flow, told(flow)[:1])
    assert lines[-2:] == (Line(NOW + 10, "JOURNAL", "viber EXPIRED"), Line(NOW + 20, "JOURNAL", "sms DELIVERED"))
    assert timeline(undated(flow), told(flow)[:1])[-2:] == (
        Line(None, "JOURNAL", "viber EXPIRED (time not found)"),
        Line(None, "JOURNAL", "sms DELIVERED (time not found)"),
    )


def test_a_step_without_a_time_stands_before_the_next_step() -> None:
    """Its status was not found, that of the step after it was: the fallback is not told before what it fell back from."""
    lines = timeline(undated(delivered()), [told(delivered())[0], told(delivered())[2]])
    assert [line.what.split(" (")[0] for line in lines[-2:]] == ["viber EXPIRED", "sms DELIVERED · SUCCEEDED · delivered · terminal"]
    assert [line.origin for line in lines[-2:]] == ["JOURNAL", "POLL"]


def test_a_doubt_is_told_in_words() -> None:
    """What was seen of the answer; a code without words of its own stands as it is."""
    said = {}
    for status, reason in ((None, "reset"), (None, "adopted"), (503, "http_503"), (None, "new_code"), (None, None)):
        doubted = replace(Flow(facts()), attempts=(Attempt(1, NOW, "DOUBT", status, reason),))
        said[reason] = timeline(doubted, [])[-1].what.removeprefix("attempt 1: in doubt: ")
    assert said["reset"] == "connection reset"
    assert said["adopted"].startswith("taken over from another process")
    assert [said["http_503"], said["new_code"], said[None]] == ["HTTP 503", "new_code", "no clear answer"]


def test_a_decision_without_acceptance_is_a_line() -> None:
    """Why and when nothing was sent; an open attempt is under way."""
    assert timeline(advance(Flow(facts()), Ended(State.EXPIRED, "expired"), NOW), [])[-1] == Line(
        NOW, "CONNECTOR", "decided: EXPIRED (expired)"
    )
    assert timeline(advance(Flow(facts()), Ended(State.UNROUTED), NOW), [])[-1].what == "decided: UNROUTED"
    assert timeline(advance(Flow(facts()), Intended(), NOW), [])[-1].what == "attempt 1: under way"
    doubted = replace(Flow(facts(api=Api.OTP)), attempts=(Attempt(1, NOW, "DOUBT", None, "timeout"),))
    assert timeline(doubted, [])[-1].what == "attempt 1: in doubt: no whole answer in time"


@settings(deadline=None)
@given(walks)
def test_every_life_can_be_told(steps: list[tuple[Flow, object, Flow]]) -> None:
    """Whatever happened, in order of time, and everything that was ever told of it is a line."""
    for _, _, flow in steps:
        lines = timeline(flow, told(flow))
        times = [line.at_ms for line in lines if line.at_ms is not None]
        assert times == sorted(times)
        assert sum(line.origin in {"RESPONSE", "CALLBACK", "POLL", "TIMEOUT"} for line in lines) == flow.seq
        assert not [line for line in lines if line.origin == "JOURNAL"]
        assert orjson.dumps([line.what for line in lines])


def test_times_of_both_spellings_are_the_same() -> None:
    """ISO 8601 and epoch milliseconds; no time is no time."""
    assert milliseconds("2027-01-15T08:00:00.123Z") == milliseconds(1_800_000_000_123) == 1_800_000_000_123
    assert milliseconds(None) is None


@pytest.mark.parametrize(
    ("time", "ms"), [("0001-01-01T00:00:00.000Z", -62_135_596_800_000), ("nonsense", None), ("", None), (7, 7), (None, None)]
)
def test_any_time_of_a_status_is_read(time: str | int | None, ms: int | None) -> None:
    """As a row has it, as events have it, or none."""
    assert milliseconds(time) == ms
