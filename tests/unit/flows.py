"""Flows for the tests of the core: facts, events, and walks through the table."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from hypothesis import strategies as st

from connector.core import flow as machine
from connector.core.flow import Ended, Event, Facts, Flow, Intended, Overtaken, Parked, Proven, Reported, Silent, State
from connector.core.model import (
    Accepted,
    Api,
    Channel,
    Doubt,
    FlowReport,
    FlowStatus,
    InDoubt,
    MessageClass,
    NotSent,
    Origin,
    RefusalKind,
    Refused,
    Rejected,
    StepReport,
    StepStatus,
)
from connector.core.moves import word_of

NOW = 1_800_000_000_000


def facts(**changes: object) -> Facts:
    """Of a transactional flow of two steps."""
    usual: dict[str, object] = {
        "flow_id": "30830fad-21ed-49b0-89d0-bbada2fd5640",
        "digest": bytes(range(16)),
        "event_id": "e1",
        "event_type": "order",
        "siblings": ("order",),
        "rule": "order",
        "rules_version": "v1",
        "api": Api.STANDARD,
        "message_class": MessageClass.TRANSACTIONAL,
        "tenant": None,
        "source_topic": "notifications",
        "source_partition": 0,
        "source_offset": 7,
        "occurred_at_ms": NOW - 1000,
        "expires_at_ms": NOW + 3_600_000,
        "channels": ("viber", "sms"),
    }
    return Facts(**(usual | changes))  # type: ignore[arg-type]


tracking_ids = st.sampled_from(["t1", "t2", "t3"])
reports = st.builds(
    lambda tracking_id, status, some: FlowReport(tracking_id, status, 0, Decimal("0.0468"), steps=tuple(some)),
    st.none() | tracking_ids,
    st.none() | st.sampled_from(FlowStatus),
    st.lists(
        st.builds(lambda order, status: StepReport(order, Channel.SMS, status, "raw"), st.integers(1, 2), st.sampled_from(StepStatus)),
        max_size=2,
    ),
)
EVENTS: dict[str, st.SearchStrategy[Event]] = {
    "intended": st.just(Intended()),
    "parked": st.builds(Parked, st.just(NOW + 60_000), st.just("HTTP_429")),
    "overtaken": st.just(Overtaken()),
    "expired": st.just(Ended(State.EXPIRED, "expired")),
    "suppressed": st.just(Ended(State.SUPPRESSED, "superseded")),
    "unrouted": st.just(Ended(State.UNROUTED)),
    "invalid": st.just(Ended(State.INVALID, "BAD_PHONE", "no phone")),
    "gave_up": st.just(Ended(State.UNKNOWN, "not_found")),
    "reported": st.builds(Reported, reports, st.sampled_from([Origin.CALLBACK, Origin.POLL]), st.integers(0, 2)),
    "proven": st.builds(Proven, tracking_ids, st.integers(0, 2), st.none() | reports, st.booleans()),
    "silent": st.just(Silent()),
    "accepted": st.builds(Accepted, tracking_ids, st.just(200), st.none() | reports),
    "rejected": st.just(Rejected(400, "400005000", "bad sender")),
    "not_sent": st.just(NotSent("dns")),
    "refused": st.just(Refused(RefusalKind.THROTTLED, 429, "HTTP_429")),
    "doubted": st.just(Doubt("timeout", 504)),
}
any_event = st.one_of(*EVENTS.values())


def walk(flow: Flow, events: Sequence[Event]) -> list[tuple[Flow, Event, Flow]]:
    """The steps of those events that the table knows, one after the other."""
    steps = []
    now_ms = NOW
    for event in events:
        if word_of(event) not in machine.TRANSITIONS[flow.state]:
            continue
        now_ms += 1000
        after = machine.advance(flow, event, now_ms)
        steps.append((flow, event, after))
        flow = after
    return steps


some_facts = st.builds(
    lambda api, kind, tenant, choice, hashes: facts(
        api=api, message_class=kind, tenant=tenant, in_doubt=choice, key_hash=hashes, recipient_hash=hashes, labelled=hashes is None
    ),
    st.sampled_from(Api),
    st.sampled_from(MessageClass),
    st.none() | st.text(max_size=5),
    st.none() | st.sampled_from(InDoubt),
    st.none() | st.binary(min_size=16, max_size=16),
)
walks = st.builds(lambda one, events: walk(Flow(one), events), some_facts, st.lists(any_event, max_size=20))
