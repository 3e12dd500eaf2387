"""A flow's progress, example by example: what a report changes, and which event says so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from connector.core import status
from connector.core.model import Api, Channel, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.status import Change, FlowProgress, StepProgress, accepted, merge, silent
from tests.unit.routee_samples import sample


def step(order: int, channel: Channel, status_: StepStatus) -> StepReport:
    """A step report with no more than its status."""
    return StepReport(order, channel, status_, status_.value)


def report(flow: FlowStatus | None, *steps: StepReport) -> FlowReport:
    """A report of one flow."""
    return FlowReport("t", flow, steps=steps)


VIBER_GONE = step(1, Channel.VIBER, StepStatus.EXPIRED)
VIBER_THERE = step(1, Channel.VIBER, StepStatus.DELIVERED)
VIBER_SEEN = step(1, Channel.VIBER, StepStatus.SEEN)
SMS_WAITS = step(2, Channel.SMS, StepStatus.QUEUED)
SMS_THERE = step(2, Channel.SMS, StepStatus.DELIVERED)


def after(api: Api, *reports: FlowReport, planned: int = 0, origin: Origin = Origin.POLL) -> FlowProgress:
    """A fresh flow with these reports merged."""
    progress, _ = accepted(None, api=api, planned=planned)
    for one in reports:
        progress, _ = merge(progress, one, origin)
    return progress


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (None, FlowStatus.QUEUED),
        (FlowStatus.QUEUED, FlowStatus.QUEUED),
        (FlowStatus.FAILED, FlowStatus.QUEUED),
        (FlowStatus.IN_PROGRESS, FlowStatus.IN_PROGRESS),
        (FlowStatus.SUCCEEDED, FlowStatus.IN_PROGRESS),
    ],
)
def test_the_first_event_says_queued_or_in_progress(api: Api, word: FlowStatus | None, expected: FlowStatus) -> None:
    """An acceptance is the beginning of a flow, never its end."""
    progress, change = accepted(report(word), api=api, planned=2)
    assert change == Change(expected, None, terminal=False, delivered=False, correction=False)
    assert progress == FlowProgress(api, expected, planned=2)
    assert accepted(None, api=api)[1].status is FlowStatus.QUEUED


def test_an_answer_s_succeeded_is_not_delivery() -> None:
    """A single-step OTP flow is answered with Succeeded, which means accepted; merging the answer again says nothing new."""
    answer = report(FlowStatus.SUCCEEDED)
    for api in Api:
        progress, _ = accepted(answer, api=api)
        assert merge(progress, answer, Origin.RESPONSE) == (progress, ())


def test_a_standard_success_is_one_event_with_its_step() -> None:
    """The flow's end travels with the step that caused it."""
    progress, changes = merge(after(Api.STANDARD), report(FlowStatus.SUCCEEDED, VIBER_THERE), Origin.CALLBACK)
    assert changes == (
        Change(
            FlowStatus.SUCCEEDED,
            FlowStatus.QUEUED,
            terminal=True,
            delivered=True,
            correction=False,
            step=VIBER_THERE,
            channel=Channel.VIBER,
            delivered_by=Channel.VIBER,
        ),
    )
    assert progress.finished


def test_each_step_that_moved_has_its_event() -> None:
    """Two steps in one document are two events; only the last one carries the flow's end."""
    _, changes = merge(after(Api.STANDARD), report(FlowStatus.SUCCEEDED, VIBER_GONE, SMS_THERE), Origin.POLL)
    assert [(one.status, one.previous, one.terminal, one.delivered, one.step) for one in changes] == [
        (FlowStatus.QUEUED, FlowStatus.QUEUED, False, False, VIBER_GONE),
        (FlowStatus.SUCCEEDED, FlowStatus.QUEUED, True, True, SMS_THERE),
    ]


def test_a_flow_can_move_alone() -> None:
    """Without a step that moved, the flow's own event names the channel of its last step."""
    progress = after(Api.STANDARD, report(FlowStatus.IN_PROGRESS, VIBER_GONE))
    progress, (change,) = merge(progress, replace(report(FlowStatus.FAILED, VIBER_GONE), status_code=2), Origin.POLL)
    assert (change.status, change.step, change.channel, change.terminal) == (FlowStatus.FAILED, None, Channel.VIBER, True)
    assert progress.status_code == 2
    _, (bare,) = merge(after(Api.STANDARD), report(FlowStatus.FAILED), Origin.POLL)
    assert bare.channel is None


def test_late_seen_is_exactly_one_correction() -> None:
    """Seen after the end is told once, as a correction that changes no flow status."""
    progress = after(Api.STANDARD, report(FlowStatus.SUCCEEDED, VIBER_THERE))
    progress, (change,) = merge(progress, report(FlowStatus.SUCCEEDED, VIBER_SEEN), Origin.CALLBACK)
    assert (change.status, change.previous, change.correction, change.terminal, change.step) == (
        FlowStatus.SUCCEEDED,
        FlowStatus.SUCCEEDED,
        True,
        True,
        VIBER_SEEN,
    )
    assert merge(progress, report(FlowStatus.SUCCEEDED, VIBER_SEEN), Origin.POLL) == (progress, ())


@pytest.mark.parametrize("end", [FlowStatus.FAILED, FlowStatus.UNKNOWN])
@pytest.mark.parametrize("word", [None, FlowStatus.FAILED, FlowStatus.SUCCEEDED, FlowStatus.IN_PROGRESS])
@pytest.mark.parametrize("api", Api)
def test_delivered_after_the_end_corrects_it(api: Api, end: FlowStatus, word: FlowStatus | None) -> None:
    """Proof of delivery outweighs FAILED and UNKNOWN, whatever word comes with it."""
    start = after(api, replace(report(FlowStatus.FAILED), status_code=2)) if end is FlowStatus.FAILED else silent(after(api))[0]
    assert (start.status, start.terminal, start.delivered) == (end, True, False)
    progress, (change,) = merge(start, report(word, VIBER_THERE), Origin.CALLBACK)
    assert (change.status, change.previous, change.correction, change.delivered) == (FlowStatus.SUCCEEDED, end, True, True)
    assert progress.status_code is None


def test_a_late_failure_ends_a_silent_flow_and_nothing_undoes_success() -> None:
    """UNKNOWN gives way to FAILED, SUCCEEDED to nothing."""
    progress, (change,) = merge(silent(after(Api.STANDARD))[0], report(FlowStatus.FAILED), Origin.POLL)
    assert (change.status, change.correction) == (FlowStatus.FAILED, True)
    done = after(Api.STANDARD, report(FlowStatus.SUCCEEDED))
    assert merge(done, report(FlowStatus.FAILED), Origin.POLL) == (done, ())
    assert merge(progress, report(FlowStatus.IN_PROGRESS), Origin.POLL) == (progress, ())


def test_delivered_then_expired_stays_delivered() -> None:
    """With expireOnDelivery a delivered message may expire: the person has it all the same."""
    progress = after(Api.STANDARD, report(FlowStatus.IN_PROGRESS, VIBER_THERE), report(FlowStatus.IN_PROGRESS, VIBER_GONE, SMS_WAITS))
    assert (progress.delivered, progress.terminal, progress.step(1, Channel.VIBER)) == (
        True,
        False,
        StepProgress(1, Channel.VIBER, StepStatus.DELIVERED, raw_status="DELIVERED"),
    )
    assert progress.step(3, Channel.SMS) is None


def test_a_flow_without_a_word_is_read_from_its_steps() -> None:
    """Steps that move show progress, but only the provider can say that a flow is at its end."""
    assert after(Api.STANDARD, report(None, SMS_WAITS)).status is FlowStatus.QUEUED
    gone = after(Api.STANDARD, report(None, VIBER_GONE))
    assert (gone.status, gone.terminal) == (FlowStatus.IN_PROGRESS, False)
    assert after(Api.STANDARD, report(FlowStatus.UNKNOWN, VIBER_GONE)).status is FlowStatus.IN_PROGRESS


def test_unknown_words_change_no_known_status() -> None:
    """A step with an unknown word is told when it is new, and never replaces what is known."""
    unknown = step(1, Channel.VIBER, StepStatus.UNKNOWN)
    progress, changes = merge(after(Api.STANDARD), report(None, unknown), Origin.POLL)
    assert [change.step for change in changes] == [unknown]
    assert merge(progress, report(None, unknown), Origin.POLL) == (progress, ())
    known = after(Api.STANDARD, report(FlowStatus.IN_PROGRESS, VIBER_GONE))
    assert merge(known, report(None, unknown), Origin.POLL) == (known, ())


# ------------------------------------------------------------------------------------------------------------------ OTP


def test_the_documented_otp_flow_is_followed_after_its_succeeded() -> None:
    """OTP: Succeeded, Viber expired, SMS queued. Nothing is delivered, nothing is finished."""
    document = status.parse_flow(sample("otp_tracking"))
    assert document is not None
    progress = after(Api.OTP, document)
    assert (progress.status, progress.delivered, progress.terminal, progress.finished) == (FlowStatus.SUCCEEDED, False, False, False)
    progress, (change,) = merge(progress, report(FlowStatus.SUCCEEDED, SMS_THERE), Origin.CALLBACK)
    assert (change.status, change.delivered, change.terminal, change.correction) == (FlowStatus.SUCCEEDED, True, True, False)
    assert progress.finished


def test_an_otp_flow_that_failed_after_succeeded_is_failed() -> None:
    """OTP's Succeeded without delivery is no end, so Failed may follow it."""
    progress = after(Api.OTP, report(FlowStatus.SUCCEEDED, VIBER_GONE, SMS_WAITS))
    progress, (change,) = merge(progress, report(FlowStatus.FAILED), Origin.POLL)
    assert (change.status, change.correction, progress.finished) == (FlowStatus.FAILED, False, True)
    assert merge(progress, report(FlowStatus.SUCCEEDED), Origin.POLL) == (progress, ())


@pytest.mark.parametrize(
    ("steps", "planned", "finished"),
    [
        ((), 1, False),
        ((VIBER_THERE,), 2, True),
        ((VIBER_THERE, SMS_WAITS), 2, False),
        ((VIBER_GONE,), 2, False),
        ((VIBER_GONE,), 1, True),
        ((VIBER_GONE,), 0, True),
        ((VIBER_GONE, SMS_THERE), 2, True),
        ((VIBER_GONE, step(2, Channel.SMS, StepStatus.FAILED)), 2, True),
    ],
)
def test_when_an_otp_flow_is_finished(steps: tuple[StepReport, ...], planned: int, finished: bool) -> None:
    """Its last step is final, and either something was delivered or no further step can come."""
    progress = after(Api.OTP, report(FlowStatus.SUCCEEDED, *steps), planned=planned)
    assert (progress.finished, progress.terminal) == (finished, finished)
    assert not after(Api.OTP, report(FlowStatus.IN_PROGRESS, *steps), planned=planned).finished


def test_a_step_after_a_told_end_is_followed_and_is_a_correction() -> None:
    """Where the number of steps is not known, a second step may show after the end was told."""
    ended = after(Api.OTP, report(FlowStatus.SUCCEEDED, VIBER_GONE))
    progress, (change,) = merge(ended, report(FlowStatus.SUCCEEDED, VIBER_GONE, SMS_WAITS), Origin.CALLBACK)
    assert (ended.finished, progress.finished, progress.terminal, change.correction) == (True, False, True, True)


def test_silence_ends_a_flow_for_good() -> None:
    """At its deadline a flow is UNKNOWN, or SUCCEEDED when something was delivered, and never polled again."""
    progress, change = silent(after(Api.OTP, report(FlowStatus.SUCCEEDED, VIBER_GONE, SMS_WAITS)))
    assert change == Change(
        FlowStatus.UNKNOWN,
        FlowStatus.SUCCEEDED,
        terminal=True,
        delivered=False,
        correction=False,
        channel=Channel.SMS,
        reason="silent",
        reason_group="UNKNOWN",
    )
    assert progress.finished
    delivered, change = silent(after(Api.STANDARD, report(FlowStatus.IN_PROGRESS, VIBER_THERE)))
    assert (change.status, delivered.finished) == (FlowStatus.SUCCEEDED, True)
    waiting, _ = silent(after(Api.OTP, report(FlowStatus.SUCCEEDED, VIBER_THERE, SMS_WAITS)))
    assert (waiting.status, waiting.finished) == (FlowStatus.SUCCEEDED, True)


# -------------------------------------------------------------------------------------------------------------- compact


def test_the_compact_form_is_small() -> None:
    """An ended flow of two steps takes a few bytes of its row."""
    progress = replace(after(Api.OTP, report(FlowStatus.SUCCEEDED, VIBER_GONE, SMS_THERE), planned=2), total_price=Decimal("0.0468"))
    assert progress.compact() == ["oS3", "1vE2sD", 2, None, "0.0468"]
    assert after(Api.STANDARD).compact() == ["sQ0", "", 0]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["xQ0", "", 0],
        ["sQ", "", 0],
        ["sQ0", 5, 0],
        ["sQ0", "1zD", 0],
        ["sQ0", "1vDx", 0],
        ["sQ0", "", 0, None, "x"],
        ["sQ0", "", 0, None, None, 1],
        [None],
    ],
)
def test_a_foreign_compact_form_is_refused(fields: list[object]) -> None:
    """A row that another hand wrote is not read as progress."""
    with pytest.raises(ValueError, match="compact progress"):
        FlowProgress.from_compact(fields)
