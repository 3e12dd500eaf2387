"""What the example consumer concludes from events that come in any order, and more than once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.adapters.encode import EventEncoder
from connector.core.flow import Flow, advance
from connector.core.model import Accepted, Channel, Doubt, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.moves import Ended, Intended, Proven, Reported, State
from examples.delivery_report import Report, as_data, as_text, decode
from tests.unit.flows import NOW, facts, walks

EVENTS = {"json": EventEncoder("json"), "avro": EventEncoder("avro")}


def written(flow: Flow, encoding: str = "json") -> list[tuple[str, str, Any]]:
    """All a flow's events, as the report reads them."""
    return [(event.kind, event.id, decode(EVENTS[encoding].encode(event, None), event.kind)) for _, event in flow.pending]


def told(*events: tuple[str, str, Any]) -> dict[str, Any]:
    """The report of these."""
    report = Report()
    for event in events:
        report.take(*event)
    assert as_text(report)
    return as_data(report)


def delivered() -> Flow:
    """Viber expired; SMS delivered 20 s after the POST, 15 s after acceptance."""
    flow = advance(advance(Flow(facts()), Intended(), NOW), Accepted("t1", 200, None), NOW + 5_000)
    viber = StepReport(1, Channel.VIBER, StepStatus.EXPIRED, "Expired", price=Decimal("0.01"))
    sms = StepReport(2, Channel.SMS, StepStatus.DELIVERED, "Delivered")
    flow = advance(flow, Reported(FlowReport("t1", FlowStatus.IN_PROGRESS, steps=(viber,)), Origin.CALLBACK, 1), NOW + 10_000)
    return advance(
        flow,
        Reported(FlowReport("t1", FlowStatus.SUCCEEDED, total_price=Decimal("0.04"), steps=(viber, sms)), Origin.CALLBACK, 1),
        NOW + 20_000,
    )


@pytest.mark.parametrize("encoding", ["json", "avro"])
def test_a_fallback_that_works_is_counted_as_one(encoding: str) -> None:
    """By channel, by fallback, and how soon; the same of JSON and of Avro."""
    found = told(*written(delivered(), encoding))
    assert found["channels"] == {
        "sms": {"tried": 1, "delivered": 1, "rate": 1.0, "price": "0"},
        "viber": {"tried": 1, "delivered": 0, "rate": 0.0, "price": "0.01"},
    }
    assert found["fallbacks"] == {"viber → sms": {"tried": 1, "delivered": 1, "rate": 1.0, "price": "0"}}
    assert found["accepted"]["transactional"] == {"tried": 1, "delivered": 1, "rate": 1.0, "price": "0.04"}
    assert found["median_seconds"] == {"sms": 20.0, "viber": None}
    assert found["median_seconds_to_acceptance"] == 5.0
    assert found["median_seconds_to_delivery"] == {"all": 20.0, "transactional": 20.0}


@settings(deadline=None)
@given(st.lists(walks, max_size=1), st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing(several: list[list[tuple[Flow, object, Flow]]], chance: Any) -> None:  # noqa: ANN401 - Hypothesis'
    """Two topics are read side by side, and an event may stand there twice."""
    events = [event for steps in several if steps for event in written(steps[-1][2])]
    mixed = [*events, *chance.sample(events, len(events) // 2)]
    chance.shuffle(mixed)
    assert told(*mixed) == {**told(*events), "repeats_dropped": len(mixed) - len(events)}


def test_a_correction_replaces_the_decision_and_a_duplicate_does_not() -> None:
    """UNKNOWN, then proven accepted; a second acceptance of the same flow is no second flow."""
    flow = advance(advance(advance(Flow(facts()), Intended(), NOW), Doubt("timeout"), NOW + 1), Ended(State.UNKNOWN, "not_found"), NOW + 2)
    assert told(*written(flow))["outcomes"] == {"UNKNOWN": 1}
    flow = advance(flow, Proven("t1", 1, None), NOW + 3)
    assert told(*reversed(written(flow)))["outcomes"] == {"ACCEPTED": 1}
    flow = advance(flow, Proven("t2", 2, None), NOW + 4)
    found = told(*written(flow))
    assert (found["outcomes"], found["accepted"]["all"]["tried"], found["under_way"]) == ({"ACCEPTED": 1}, 1, 1)


def test_statuses_of_somebody_else_s_message_are_left_out() -> None:
    """Found by a guess and followed to its end, until a call named the right one: that one's steps count, in whatever order all is read."""
    flow = advance(advance(Flow(facts()), Intended(), NOW), Doubt("timeout"), NOW + 1)
    viber = StepReport(1, Channel.VIBER, StepStatus.DELIVERED, "Delivered")
    flow = advance(flow, Proven("theirs", 1, FlowReport("theirs", FlowStatus.SUCCEEDED, steps=(viber,)), guessed=True), NOW + 2)
    sms = StepReport(2, Channel.SMS, StepStatus.SENT, "Sent")
    flow = advance(flow, Reported(FlowReport("ours", FlowStatus.IN_PROGRESS, steps=(sms,)), Origin.CALLBACK, 1), NOW + 3)
    for events in (written(flow), [*reversed(written(flow))]):
        found = told(*events)
        assert (found["accepted"]["all"]["delivered"], found["under_way"]) == (0, 1)
        assert found["channels"] == {"sms": {"tried": 1, "delivered": 0, "rate": 0.0, "price": "0"}}


def test_a_flow_that_was_decided_before_is_left_out() -> None:
    """Of it only late statuses lie in the window: rates and costs are those of whole flows."""
    events = [event for event in written(delivered()) if event[0] == "status"]
    found = told(*events)
    assert (found["flows"], found["decided_before"], found["channels"], found["fallbacks"]) == (0, 1, {}, {})
    assert found["median_seconds_to_delivery"] == {"all": None}


def test_nothing_is_a_report_too() -> None:
    """Empty topics divide by nothing."""
    assert told()["accepted"]["all"] == {"tried": 0, "delivered": 0, "rate": None, "price": "0"}
