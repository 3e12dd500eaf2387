"""The provider's documents: how what is missing, doubled or unknown is read, and any JSON at all without an exception."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.documents import page_flows, page_items, parse_flow
from connector.core.model import Channel, StepReport, StepStatus
from connector.core.reduced import reduce, report_from
from tests.unit.routee_samples import sample

FLOW = "30830fad-21ed-49b0-89d0-bbada2fd5640"
OTP_FLOW = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
OURS = "6f1f6d6e-0c1e-5b6f-9f3e-1a2b3c4d5e6f"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals(allow_nan=False)
    | st.text()
    | st.sampled_from(["Sms", "Viber", "Delivered", "Failed", "primary", "failover", "2026-02-16T12:00:00Z", FLOW]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "trackingId",
                    "flowId",
                    "status",
                    "statusCode",
                    "messages",
                    "steps",
                    "flow",
                    "content",
                    "results",
                    "total",
                    "offset",
                    "number",
                    "totalPages",
                    "totalElements",
                    "last",
                    "type",
                    "channel",
                    "role",
                    "order",
                    "name",
                    "reason",
                    "detailedStatus",
                    "description",
                    "updatedDate",
                    "date",
                    "body",
                    "message",
                    "label",
                    "to",
                    "phone",
                    "phone_number",
                    "price",
                    "parts",
                    "messageId",
                    "smsId",
                    "totalPrice",
                    "total_cost",
                    "createdAt",
                    "updatedAt",
                    "country",
                    "operator",
                    "templateId",
                    "flowKind",
                    "v",
                    "labels",
                ]
            ),
            inner,
            max_size=8,
        )
    ),
    max_leaves=40,
)


def test_single_deliveries_of_the_otp_list_are_flows_with_one_step() -> None:
    """An item of the OTP list may be one delivery: its id is the flow's, and its status a step's."""
    page = page_flows(sample("otp_list"))
    assert page is not None
    (first, second), last = page
    assert last
    assert (first.tracking_id, first.status, first.labels) == (OTP_FLOW, None, (f"{OURS}.1",))
    assert [(step.order, step.status) for step in first.steps] == [(1, StepStatus.EXPIRED)]
    assert [(step.order, step.status) for step in second.steps] == [(2, StepStatus.SENT)]


def _sms_parts(*names: str) -> StepReport:
    parts = [{"type": "Sms", "messageId": "m", "smsId": str(n), "status": {"name": name}} for n, name in enumerate(names)]
    report = parse_flow({"trackingId": "t", "messages": parts})
    assert report is not None
    assert len(report.steps) == len(report.signature) == 1
    return report.steps[0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Delivered", "Delivered"), StepStatus.DELIVERED),
        (("Delivered", "Queued", "Sent"), StepStatus.QUEUED),
        (("Delivered", "Undelivered", "Failed"), StepStatus.FAILED),
        (("Sent", "Undelivered"), StepStatus.UNDELIVERED),
        (("Delivered", "Whatever"), StepStatus.UNKNOWN),
    ],
)
def test_sms_parts_fold_into_one_step(names: tuple[str, ...], expected: StepStatus) -> None:
    """The worst failure counts, else the part least far; the number of parts is kept even when no part tells it."""
    step = _sms_parts(*names)
    assert (step.status, step.parts, step.price, step.updated_at_ms) == (expected, len(names), None, None)


def test_a_part_met_twice_counts_once() -> None:
    """The same smsId twice is one part, the later entry counts."""
    assert _sms_parts("Sent").parts is None
    part = {"type": "Sms", "messageId": "m", "smsId": "a", "price": 1}
    report = parse_flow({"messages": [{**part, "status": "Sent"}, {**part, "status": "Delivered"}]})
    assert report is not None
    assert [(step.status, step.price) for step in report.steps] == [(StepStatus.DELIVERED, Decimal(1))]


def test_steps_without_order_are_numbered_by_position_and_role() -> None:
    """An order that is missing or senseless becomes the position; OTP's failover is never the first."""
    entries: list[dict[str, Any]] = [
        {"type": "Voice", "status": "Busy", "order": 0},
        {"type": "VIBER", "status": "seen", "order": "2"},
        {"type": "Sms", "status": "Sent", "order": 10**9},
    ]
    report = parse_flow({"messages": entries})
    assert report is not None
    assert [(step.order, step.channel) for step in report.steps] == [(1, Channel.VOICE), (2, Channel.VIBER), (3, Channel.SMS)]
    lone = parse_flow({"flowId": "f", "channel": "sms", "role": "failover", "status": "sent"})
    assert lone is not None
    assert lone.steps[0].order == 2


def test_unknown_words_are_kept_listed_and_redacted() -> None:
    """An unknown flow word gives no status, an unknown step word UNKNOWN, an unknown channel a wildcard; phones in them are cut."""
    report = parse_flow(
        {
            "trackingId": "t",
            "status": "Paused",
            "messages": [
                {"type": "Sms", "status": {"name": "Lost 306912345678"}},
                {"type": "Rcs", "status": {"name": "Delivered"}},
                {"status": {"name": "Delivered"}},
            ],
        }
    )
    assert report is not None
    assert report.status is None
    assert [(step.status, step.raw_status) for step in report.steps] == [(StepStatus.UNKNOWN, "Lost ***")]
    assert report.unknown_words == ("Paused", "Lost ***", "Rcs")
    assert report.signature == ("Sms", "?", "?")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("GR", "GR"), ("string", "string"), ("Costa Rica", "Costa Ri"), ("30691234", None), ("+3069123", None), ("G1", None)],
)
def test_a_country_is_letters(given: str, kept: str | None) -> None:
    """Eight digits in its place may be the better part of a phone."""
    found = parse_flow({"trackingId": "t", "messages": [{"type": "Sms", "order": 1, "country": given, "status": {"name": "Sent"}}]})
    assert found is not None
    assert found.steps[0].country == kept


def test_free_text_is_redacted_and_known_details_are_not() -> None:
    """A detail of the provider's list stays word for word, any other loses what is personal. Free text may quote a message: left out."""
    entry = {"type": "Sms", "status": {"name": "Failed", "reason": {"detailedStatus": "", "description": "no route to +306912345678"}}}
    report = parse_flow({"messages": [entry, {"channel": "viber", "status": "FAILED", "error_message": "bad pin 8472"}]})
    assert report is not None
    assert [step.detail for step in report.steps] == [None, None]
    reason = {"detailedStatus": "no route to +306912345678", "description": "Code TIGERS"}
    told = {"type": "Sms", "status": {"name": "Failed", "reason": reason}}
    told_otp = {"channel": "sms", "status": "FAILED", "error_message": "Message rejected: Your code is TIGERS"}
    quoted = parse_flow({"messages": [told, told_otp]})
    assert quoted is not None
    assert [step.detail for step in quoted.steps] == ["no route to ***", None]
    odd = parse_flow({"messages": [{"type": "Sms", "status": {"name": "Failed", "reason": "Opted Out"}, "operator": "A 12345"}]})
    assert odd is not None
    assert (odd.steps[0].detail, odd.steps[0].reason_group, odd.steps[0].operator) == ("Opted Out", "BLOCKED", "A ***")


def test_templates_are_read_wherever_they_stand() -> None:
    """A template id at the step or in its body is part of the signature."""
    report = parse_flow(
        {
            "trackingId": "t",
            "messages": [
                {"type": "Viber", "order": 1, "body": {"templateId": "A"}},
                {"type": "ViberOtp", "order": 2, "template_id": "B"},
                {"type": "Viber", "order": 3, "body": "text"},
            ],
        }
    )
    assert report is not None
    assert report.signature == ("Viber:A", "ViberOtp:B", "Viber")


@settings(max_examples=300)
@given(json_values)
def test_no_document_raises(document: object) -> None:
    """Whatever JSON comes, reading it gives a value; a report survives its reduced form but for the recipients."""
    report = parse_flow(document)
    page_items(document)
    page_flows(document)
    report_from(document)
    if report is not None:
        assert report_from(json.loads(json.dumps(reduce(report)))) == replace(report, recipients=())


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"v": 2},
        {"v": 1, "status": "GONE"},
        {"v": 1, "steps": 5},
        {"v": 1, "steps": [{"order": "1", "raw_status": "x"}]},
        {"v": 1, "steps": [{"order": 1, "channel": "sms", "status": "SENT"}]},
        {"v": 1, "steps": [{"order": 1, "raw_status": "x"}]},
    ],
)
def test_a_foreign_reduced_form_is_none(document: object) -> None:
    """What ``reduce`` did not write is no report."""
    assert report_from(document) is None


# ---------------------------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"content": [1], "last": True}, ([1], True)),
        ({"content": [1], "last": False}, ([1], False)),
        ({"content": [1]}, ([1], False)),
        ({"content": [1], "last": True, "number": 0, "totalPages": 2}, ([1], False)),
        ({"content": [1], "number": 1, "totalPages": 2}, ([1], True)),
        ({"content": [], "last": False}, ([], True)),
        ({"content": [], "number": 0, "totalElements": 3}, None),
        ({"content": [], "number": 2, "totalElements": 3}, ([], True)),
        ({"results": [1], "total": 2, "limit": 1, "offset": 0}, ([1], False)),
        ({"results": [1], "total": 2, "limit": 1, "offset": 1}, ([1], True)),
        ({"results": [1]}, ([1], False)),
        ({"results": []}, ([], True)),
        ({"results": [], "total": 1, "offset": 0}, None),
        ({"content": {}}, None),
        ([], None),
        (None, None),
    ],
)
def test_pages_say_whether_they_are_the_last(page: object, expected: object) -> None:
    """A page is the last only when it says so without contradiction, or is empty; what is no page proves nothing."""
    assert page_items(page) == expected


def test_an_unreadable_item_makes_the_whole_page_unreadable() -> None:
    """A search that hides one flow must not look complete."""
    assert page_flows({"content": [{"trackingId": "t"}, {"what": 1}], "last": True}) is None
    assert page_flows({"error": "no"}) is None
    assert page_flows(sample("search_page_empty")) == ((), True)
