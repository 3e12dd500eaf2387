"""The check of flows' ends finds what is wrong, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.proof.endings import Truth, broken
from tests.proof.facts import StatusSeen

QUEUED = StatusSeen("a", "f", 1, "QUEUED", None, terminal=False, correction=False)
END = StatusSeen("b", "f", 2, "SUCCEEDED", "QUEUED", terminal=True, correction=False)
TRUTH = Truth("f", "standard", "Succeeded", ("EXPIRED", "Delivered"))


def test_a_right_end_is_right() -> None:
    """A copy under the same id counts once."""
    assert list(broken(["f"], [TRUTH], [QUEUED, END, END])) == []


@pytest.mark.parametrize(
    ("truths", "statuses", "says"),
    [
        ([], [QUEUED, END], "accepted 0 times"),
        ([TRUTH, TRUTH], [QUEUED, END], "accepted 2 times"),
        ([TRUTH], [], "has no end"),
        ([TRUTH], [QUEUED], "has no end"),
        ([TRUTH], [END], "seq [2]"),
        ([TRUTH], [END, QUEUED], "seq [2, 1]"),
        ([TRUTH], [QUEUED, replace(END, id="c"), END], "seq [1, 2, 2]"),
        ([TRUTH], [QUEUED, replace(END, status="FAILED")], "ended as FAILED"),
        ([TRUTH], [QUEUED, replace(END, status="UNKNOWN")], "ended as UNKNOWN"),
        ([replace(TRUTH, status="InProgress")], [QUEUED, END], "ended as SUCCEEDED"),
        ([replace(TRUTH, flow_id="g")], [QUEUED, END], "g belongs to no event"),
    ],
)
def test_a_wrong_end_is_found(truths: list[Truth], statuses: list[StatusSeen], says: str) -> None:
    """Missing, doubled, out of order, or another end than the provider's."""
    assert any(says in problem for problem in broken(["f"], truths, statuses))


@pytest.mark.parametrize(
    ("status", "steps", "ends"),
    [
        ("Succeeded", ("EXPIRED", "Delivered"), {"SUCCEEDED"}),
        ("Succeeded", ("DELIVERED",), {"SUCCEEDED"}),
        ("Succeeded", ("Sent",), {"UNKNOWN"}),
        ("Succeeded", ("EXPIRED", "Undelivered"), {"SUCCEEDED", "FAILED"}),
        ("Failed", ("EXPIRED", "Undelivered"), {"FAILED"}),
        ("InProgress", ("Sent",), {"UNKNOWN"}),
    ],
)
def test_what_otp_succeeded_means(status: str, steps: tuple[str, ...], ends: set[str]) -> None:
    """It says that a channel took it; the steps say what became of it."""
    assert Truth("f", "otp", status, steps).ends == ends
