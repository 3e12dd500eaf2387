"""What a flow tells: its outputs, numbered in the order in which they were caused, and pending until they are known to be acknowledged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from connector.core import events

if TYPE_CHECKING:
    from connector.core import status
    from connector.core.flow import Flow
    from connector.core.model import Origin


def emit_send(flow: Flow, now_ms: int, *, correction: bool = False, duplicate_id: str | None = None) -> Flow:
    """The flow with its send decision as its next output."""
    number = flow.out + 1
    posted = [line.at_ms for line in flow.attempts if line.outcome != "NOT_SENT"]
    sent_at_ms = flow.posted_at_ms if flow.proven and duplicate_id is None else (posted[-1] if posted else None)
    event = events.send_event(
        flow.facts,
        number=number,
        outcome=flow.state.name,
        reason=flow.reason,
        detail=flow.detail,
        tracking_id=duplicate_id or flow.tracking_id,
        attempts=[
            {"n": line.n, "at": line.at_ms, "outcome": line.outcome, "http_status": line.http_status, "reason": line.reason}
            for line in flow.attempts
        ],
        resent_after_doubt=flow.resent,
        duplicate=duplicate_id is not None,
        correction=correction,
        sent_at_ms=sent_at_ms,
        settled_at_ms=max(now_ms, sent_at_ms or now_ms),
    )
    return replace(flow, out=number, pending=(*flow.pending, (number, event)))


def emit_status(flow: Flow, change: status.Change, origin: Origin, now_ms: int) -> Flow:
    """The flow with this change of its status as its next output."""
    number, seq = flow.out + 1, flow.seq + 1
    event = events.status_event(
        flow.facts,
        number=number,
        seq=seq,
        change=change,
        origin=origin,
        sent_at_ms=flow.posted_at_ms,
        accepted_at_ms=flow.accepted_at_ms,
        observed_at_ms=max(now_ms, flow.posted_at_ms or now_ms),
        tracking_id=flow.tracking_id,
        status_code=flow.progress.status_code if flow.progress else None,
        total_price=flow.progress.total_price if flow.progress else None,
    )
    return replace(flow, out=number, seq=seq, pending=(*flow.pending, (number, event)))
