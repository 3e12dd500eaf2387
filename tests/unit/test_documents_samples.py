"""The provider's documents: every sample, old and new, field by field."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from connector.core.documents import parse_flow
from connector.core.model import Channel, FlowReport, FlowStatus, StepReport, StepStatus
from connector.core.reduced import reduce, report_from
from tests.unit.routee_samples import sample

FLOW = "30830fad-21ed-49b0-89d0-bbada2fd5640"
OTP_FLOW = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
OURS = "6f1f6d6e-0c1e-5b6f-9f3e-1a2b3c4d5e6f"
SAMPLES = {
    "standard_created": FlowReport(
        tracking_id=FLOW,
        status=None,
        flow_kind="standard",
        created_at_ms=1_562_322_524_440,
        signature=("Sms",),
        recipients=("306912345678",),
    ),
    "transactional_created": FlowReport(
        tracking_id="41930fad-21ed-49b0-89d0-bbada2fd5641",
        status=None,
        flow_kind="transactional",
        created_at_ms=1_783_247_324_440,
        labels=(f"shop|{OURS}.1",),
        signature=("Viber:0aac888f-2ee2-4112-9659-1755a951966a", "Sms"),
        recipients=("306912345678",),
    ),
    "otp_created": FlowReport(
        tracking_id=OTP_FLOW,
        status=FlowStatus.IN_PROGRESS,
        created_at_ms=1_771_243_200_000,
        signature=("ViberOtp:0aac888f-2ee2-4112-9659-1755a951966a", "Sms"),
        recipients=("306912345671",),
        raw_status="InProgress",
    ),
    "otp_failed": FlowReport(
        tracking_id=None, status=FlowStatus.FAILED, status_code=1, created_at_ms=1_771_243_200_000, raw_status="Failed"
    ),
    "otp_tracking": FlowReport(
        tracking_id=OTP_FLOW,
        status=FlowStatus.SUCCEEDED,
        total_price=Decimal("0.0468"),
        steps=(
            StepReport(
                1,
                Channel.VIBER,
                StepStatus.EXPIRED,
                "EXPIRED",
                reason_group="EXPIRED",
                detail="Expired",
                permanent=False,
                retryable=True,
                price=Decimal("0.0093"),
                created_at_ms=1_771_243_200_000,
            ),
            StepReport(2, Channel.SMS, StepStatus.QUEUED, "queued", price=Decimal("0.0375"), created_at_ms=1_771_243_320_000),
        ),
        created_at_ms=1_771_243_200_000,
        signature=("Viber", "Sms"),
        recipients=("306912345671",),
        raw_status="Succeeded",
    ),
    "callback_new": FlowReport(
        tracking_id=FLOW,
        status=FlowStatus.SUCCEEDED,
        total_price=Decimal("0.036"),
        steps=(
            StepReport(
                1,
                Channel.VIBER,
                StepStatus.DELIVERED,
                "DELIVERED",
                detail="Delivered",
                price=Decimal("0.035"),
                country="GR",
                updated_at_ms=1_562_322_524_996,
                created_at_ms=1_562_322_524_566,
                delivered_at_ms=1_562_322_524_996,
            ),
            StepReport(
                2,
                Channel.SMS,
                StepStatus.DELIVERED,
                "Delivered",
                detail="Delivered",
                price=Decimal("0.036"),
                country="GR",
                operator="Vodafone",
                parts=1,
                updated_at_ms=1_562_322_529_000,
                created_at_ms=1_562_322_525_227,
                delivered_at_ms=1_562_322_529_000,
            ),
        ),
        created_at_ms=1_562_322_524_440,
        updated_at_ms=1_562_322_529_634,
        labels=("labelName",),
        signature=("Viber", "Sms"),
        recipients=("306912345678",),
        raw_status="Succeeded",
    ),
    "callback_old": FlowReport(
        tracking_id="string",
        status=FlowStatus.SUCCEEDED,
        total_price=Decimal("0.038"),
        steps=(
            StepReport(1, Channel.VIBER, StepStatus.UNKNOWN, "string", detail="string", price=Decimal("0.035"), country="string"),
            StepReport(
                2,
                Channel.SMS,
                StepStatus.UNKNOWN,
                "string",
                detail="string",
                price=Decimal("0.003"),
                country="string",
                operator="string",
                parts=2,
            ),
        ),
        labels=("string",),
        signature=("Viber", "Sms"),
        unknown_words=("string",),
        raw_status="Succeeded",
    ),
    "tracking_old": FlowReport(
        tracking_id=FLOW,
        status=FlowStatus.FAILED,
        status_code=2,
        total_price=Decimal("0.036"),
        steps=(
            StepReport(
                1,
                Channel.SMS,
                StepStatus.UNDELIVERED,
                "Undelivered",
                reason_group="UNREACHABLE",
                detail="Unknown Number",
                permanent=True,
                retryable=False,
                price=Decimal("0.036"),
                country="GR",
                operator="Vodafone",
                parts=1,
                updated_at_ms=1_562_322_529_000,
                created_at_ms=1_562_322_525_227,
            ),
        ),
        created_at_ms=1_562_322_524_440,
        updated_at_ms=1_562_322_529_634,
        labels=("labelName",),
        signature=("Sms",),
        recipients=("306912345678",),
        raw_status="Failed",
    ),
    "tracking_parts": FlowReport(
        tracking_id="50830fad-21ed-49b0-89d0-bbada2fd5640",
        status=FlowStatus.IN_PROGRESS,
        total_price=Decimal("0.006"),
        steps=(
            StepReport(
                1,
                Channel.SMS,
                StepStatus.SENT,
                "Sent",
                detail="Sent",
                price=Decimal("0.006"),
                country="GR",
                operator="Vodafone",
                parts=2,
                updated_at_ms=1_771_243_203_000,
                created_at_ms=1_771_243_200_000,
            ),
        ),
        flow_kind="standard",
        created_at_ms=1_771_243_200_123,
        updated_at_ms=1_771_243_203_000,
        labels=(f"shop|{OURS}.2",),
        signature=("Sms",),
        recipients=("306912345678",),
        raw_status="InProgress",
    ),
    "tracking_voice": FlowReport(
        tracking_id="60830fad-21ed-49b0-89d0-bbada2fd5640",
        status=FlowStatus.FAILED,
        status_code=2,
        total_price=Decimal("0.01"),
        steps=(
            StepReport(
                1,
                Channel.VOICE,
                StepStatus.NO_ANSWER,
                "NoAnswer",
                reason_group="UNREACHABLE",
                permanent=False,
                retryable=True,
                price=Decimal("0.01"),
                updated_at_ms=1_771_243_240_000,
            ),
        ),
        created_at_ms=1_771_243_200_000,
        signature=("Voice",),
        recipients=("306981234567",),
        raw_status="Failed",
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_read_field_by_field(name: str) -> None:
    """Each documented shape, old and new, gives exactly the report it stands for."""
    assert parse_flow(sample(name)) == SAMPLES[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_an_array_of_one_is_the_same(name: str) -> None:
    """The root may be an object or an array of one object."""
    document = sample(name)
    assert parse_flow([document] if isinstance(document, dict) else document) == SAMPLES[name]


@pytest.mark.parametrize(
    "name", ["error_documented", "error_spring", "error_oauth", "error_validation", "error_detail", "search_page_empty"]
)
def test_what_is_no_flow_gives_none(name: str) -> None:
    """Errors and pages are no flows."""
    assert parse_flow(sample(name)) is None


@pytest.mark.parametrize("name", SAMPLES)
def test_the_reduced_form_holds_no_phone(name: str) -> None:
    """Callbacks on their way to the lane hold everything but the recipients."""
    reduced = json.dumps(reduce(SAMPLES[name]))
    assert report_from(json.loads(reduced)) == replace(SAMPLES[name], recipients=())
    assert not any(phone in reduced for phone in SAMPLES[name].recipients)
