"""Who is who: event identity, flow and attempt ids, output ids. All deterministic, so that anybody can derive them again."""

from __future__ import annotations

import hashlib
import hmac
import uuid

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://routee.net/failover/kafka-connector")


def flow_id(identity: str, rule: str) -> str:
    """``uuid5(NAMESPACE, identity + "|" + rule)``; an event without a rule (UNROUTED, INVALID) has the empty rule name."""
    return str(uuid.uuid5(NAMESPACE, f"{identity}|{rule}"))


def attempt_id(flow: str, attempt: int) -> str:
    """``<flow_id>.<n>``: what the provider sees as label."""
    return f"{flow}.{attempt}"


def output_id(flow: str, number: int) -> str:
    """Id of a flow's ``number``-th output event (from 1): the same whoever emits it, however often."""
    return str(uuid.uuid5(NAMESPACE, f"{flow}#{number}"))


def letter_id(coordinates: str, timestamp_ms: int) -> str:
    """Id of the dead letter of a record that has no flow. Its time is in it, for a topic made anew counts its offsets anew."""
    return str(uuid.uuid5(NAMESPACE, f"{coordinates}@{timestamp_ms}"))


def digest(identity: str) -> bytes:
    """16 bytes that stand for an event's identity in rows, callbacks and the settled index."""
    return hashlib.blake2b(identity.encode(), digest_size=16).digest()


def pseudonym(pepper: bytes, value: bytes) -> bytes:
    """Keyed hash (HMAC-SHA-256, first 16 bytes) of a key or phone: comparable, not reversible without the pepper."""
    return hmac.new(pepper, value, hashlib.sha256).digest()[:16]
