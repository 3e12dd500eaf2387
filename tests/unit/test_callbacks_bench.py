"""What ``make bench-callbacks`` judges by: its forgeries are forged, and its verdict misses nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.capability import PATH, verify
from connector.core.coerce import parse_json
from connector.core.documents import parse_flow
from connector.ports import Callback, LaneId
from tests.bench.callbacks.calls import KINDS, Caller
from tests.bench.callbacks.verdict import judge, outside, percentile_ms

CALLER = Caller("notifications", b"unit-0123456789abcdef0123456789abcdef")
_TRUE = re.compile(f"POST {PATH}/([^/ ]+)/([^/ ]+) HTTP/1.1\r\n")


def as_kept(number: int) -> Callback:
    """The record that the ingress makes of a true call."""
    call = CALLER.call(number)
    report = parse_flow(parse_json(call.request.partition(b"\r\n\r\n")[2]))
    assert report is not None
    lane = LaneId(call.claim.topic, call.claim.partition)
    return Callback(lane, call.claim.flow_id, call.claim.event_digest, call.claim.attempt, 0, report)


@pytest.mark.parametrize("kind", KINDS)
@given(number=st.integers(0, 10**6))
def test_no_forgery_is_genuine(kind: str, number: int) -> None:
    """A forged request is no POST to a path that the key has signed; a true one is."""
    found = _TRUE.match(CALLER.forged(number, kind).decode())
    assert found is None or verify([CALLER.secret], found[1], found[2]) is None
    true = _TRUE.match(CALLER.call(number).request.decode())
    assert true is not None
    assert verify([CALLER.secret], true[1], true[2]) == CALLER.call(number).claim


def test_the_verdict_finds_what_is_missing_foreign_or_misplaced() -> None:
    """Each answered call needs a record of its own lane and flow; a record of anything else is named; repeats are counted."""
    assert judge(CALLER, [1, 2], [as_kept(2), as_kept(1), as_kept(1), as_kept(3)]).problems == ()
    assert judge(CALLER, [1], [as_kept(1), as_kept(1), as_kept(1)]).repeats == 2
    (missing,) = judge(CALLER, [1, 2], [as_kept(1)]).problems
    assert missing.endswith("not in Kafka: [2]")
    misplaced = replace(as_kept(1), flow_id=as_kept(2).flow_id)
    unknown = replace(as_kept(1), report=replace(as_kept(1).report, tracking_id="forged-1"))
    assert len(judge(CALLER, [1], [misplaced]).problems) == 2
    assert len(judge(CALLER, [], [unknown]).problems) == 1


def test_percentiles_are_by_nearest_rank_and_bounces_are_left_out_by_touch() -> None:
    """p99.9 of a thousand is the 999th; a call that touches a bounce is not outside."""
    assert [percentile_ms([n / 1000 for n in range(1, 1001)], share) for share in (0.5, 0.99, 0.999)] == [500, 990, 999]
    assert percentile_ms([], 0.5) == 0
    assert [outside([(10, 20)], begin, begin + 2) for begin in (7.9, 8.1, 15, 19.9, 20.1)] == [True, False, False, False, True]
