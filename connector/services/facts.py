"""What never changes in a flow's life, put together once from its record, its event, its rule and its first request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core import identity
from connector.core.flow import Facts
from connector.core.model import Notification, Record, Request
from connector.core.rules import Rule
from connector.errors import Unbuildable

if TYPE_CHECKING:
    from connector.services.lane import Lane


def facts_of(
    lane: Lane,
    record: Record,
    notification: Notification | None,
    digest: bytes,
    rule: Rule | None,
    name: str,
    siblings: tuple[str, ...],
    message: Request | str | None,
) -> Facts:
    """``notification`` None: undecodable; ``rule`` None: none matched, or it is gone (``name`` says which).

    ``message``: what is to be sent; where none could be made, the phone it would have gone to, or None where that cannot be read.
    """
    request = message if isinstance(message, Request) else None
    recipient = message.recipient if isinstance(message, Request) else message
    identity_text = notification.identity if notification else record.coordinates
    occurred_at = notification.occurred_at_ms if notification else record.timestamp_ms
    pseudonym = lane.parts.pseudonym
    return Facts(
        flow_id=identity.flow_id(identity_text, name),
        digest=digest,
        event_id=notification.event_id if notification else record.coordinates,
        event_type=notification.type if notification else "",
        siblings=siblings,
        rule=name,
        rules_version=lane.parts.rules().version,
        api=rule.api if rule else None,
        message_class=rule.message_class if rule else None,
        tenant=_tenant(notification, rule),
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        occurred_at_ms=occurred_at,
        expires_at_ms=_expires_at(lane, notification, occurred_at, rule, request),
        key_hash=pseudonym(record.key) if record.key else None,
        recipient_hash=pseudonym(recipient.encode()) if recipient else None,
        channels=tuple(channel.value for channel in request.channels) if request else (),
        signature=request.signature if request else (),
        labelled=request.labelled if request else False,
        ttl_total_ms=request.ttl_total_ms if request else 0,
        in_doubt=rule.in_doubt if rule else None,
    )


def _tenant(notification: Notification | None, rule: Rule | None) -> str | None:
    if notification is None:
        return None
    try:
        return rule.tenant_of(notification) if rule else notification.tenant
    except Unbuildable:  # it cannot be told; whether the message can be built is asked elsewhere
        return notification.tenant


def _expires_at(lane: Lane, notification: Notification | None, occurred_at_ms: int, rule: Rule | None, request: Request | None) -> int:
    """Event time + the least of the rule's or class's expiry, ``expires_at``, and dedup window − longest flow."""
    policy = lane.parts.policy
    longest_flow_ms = (request.ttl_total_ms if request else 0) + int(policy.flow_deadline_s * 1000)
    limits = [occurred_at_ms + policy.dedup_window_ms - longest_flow_ms]
    if rule is not None:
        limits.append(occurred_at_ms + (rule.expires_after_ms or policy.expiry_ms[rule.message_class]))
    if notification is not None and notification.expires_at_ms is not None:
        limits.append(notification.expires_at_ms)
    return min(limits)
