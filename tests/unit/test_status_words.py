"""The tables of status words: what the documentation names is known, in any casing."""

from __future__ import annotations

import pytest

from connector.core import status, words
from connector.core.model import Channel, FlowStatus, StepStatus

DOCUMENTED = {
    Channel.SMS: {
        "Queued": StepStatus.QUEUED,
        "Sent": StepStatus.SENT,
        "Delivered": StepStatus.DELIVERED,
        "Undelivered": StepStatus.UNDELIVERED,
        "Failed": StepStatus.FAILED,
        "Unsent": StepStatus.UNSENT,
    },
    Channel.VIBER: {
        "QUEUED": StepStatus.QUEUED,
        "DELIVERED": StepStatus.DELIVERED,
        "SEEN": StepStatus.SEEN,
        "UNDELIVERED": StepStatus.UNDELIVERED,
        "EXPIRED": StepStatus.EXPIRED,
        "FAILED": StepStatus.FAILED,
        "UNSENT": StepStatus.UNSENT,
    },
    Channel.VOICE: {
        "Queued": StepStatus.QUEUED,
        "Initiated": StepStatus.SENT,
        "Ringing": StepStatus.RINGING,
        "InProgress": StepStatus.RINGING,
        "Completed": StepStatus.COMPLETED,
        "Busy": StepStatus.BUSY,
        "NoAnswer": StepStatus.NO_ANSWER,
        "Failed": StepStatus.FAILED,
        "Unsent": StepStatus.UNSENT,
        "Terminated": StepStatus.FAILED,
        "Unknown": StepStatus.UNKNOWN,
    },
}


@pytest.mark.parametrize(("channel", "word"), [(channel, word) for channel, rows in DOCUMENTED.items() for word in rows])
def test_documented_words_are_known_in_any_casing(channel: Channel, word: str) -> None:
    """Routee's documentation: statuses, in any case, with spaces or underscores."""
    expected = DOCUMENTED[channel][word]
    for form in (word, word.lower(), word.upper(), f" {word[:2]}_{word[2:]} "):
        assert words.step_status(channel, form) is expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Queued", FlowStatus.QUEUED),
        ("IN_PROGRESS", FlowStatus.IN_PROGRESS),
        ("succeeded", FlowStatus.SUCCEEDED),
        ("Failed", FlowStatus.FAILED),
        ("Unknown", None),
        ("", None),
    ],
)
def test_flow_words(word: str, expected: FlowStatus | None) -> None:
    """Routee's documentation: statuses; anything else is no status."""
    assert words.flow_status(word) is expected


@pytest.mark.parametrize(
    ("status_", "word", "detail", "expected"),
    [
        (StepStatus.UNDELIVERED, "Undelivered", "Expired", ("EXPIRED", False, True)),
        (StepStatus.UNDELIVERED, "Undelivered", "unknown_number", ("UNREACHABLE", True, False)),
        (StepStatus.UNDELIVERED, "Undelivered", "Undelivered", ("UNKNOWN", None, None)),
        (StepStatus.UNDELIVERED, "UNDELIVERED", "Opted Out", ("BLOCKED", True, False)),
        (StepStatus.FAILED, "FAILED", "Message Rejected", ("REJECTED", None, False)),
        (StepStatus.FAILED, "Failed", None, ("PROVIDER", None, None)),
        (StepStatus.FAILED, "Terminated", None, ("BALANCE", False, True)),
        (StepStatus.UNSENT, "Unsent", "never heard", ("BALANCE", False, True)),
        (StepStatus.BUSY, "Busy", None, ("UNREACHABLE", False, True)),
        (StepStatus.DELIVERED, "Delivered", "Expired", None),
        (StepStatus.UNKNOWN, "What", "Expired", None),
    ],
)
def test_reasons_come_from_the_detail_else_the_word_else_the_status(
    status_: StepStatus, word: str, detail: str | None, expected: tuple[str, bool | None, bool | None] | None
) -> None:
    """Only a failed step has a reason; the most exact fact gives it."""
    assert words.reason_of(status_, word, detail) == expected


def test_every_status_has_a_standing_and_success_outranks_failure() -> None:
    """The ranks are one ladder: nothing known, on its way, failed, delivered, seen."""
    assert set(words.STANDING) == set(StepStatus)
    for one in words.STANDING.values():
        for other in words.STANDING.values():
            assert not (one.success and other.final and not other.success) or one.rank > other.rank
            assert not (one.final and not other.final) or one.rank > other.rank


def test_the_printed_table_names_every_word_and_detail() -> None:
    """The documentation's table is the code's."""
    table = status.status_table_markdown()
    for channel, rows in DOCUMENTED.items():
        for word, expected in rows.items():
            assert f"| {channel} | {word.capitalize() if channel is Channel.VIBER else word} | {expected} |" in table
    assert "| Not Viber User | UNREACHABLE | yes | no |" in table
    assert "| sms | Sent | SENT | 2 | no | no | – | – | – |" in table
