"""The signed path of a callback URL: whoever calls it knew it, and it says which attempt of which flow on which lane it belongs to.

Routee signs nothing, so the URL itself is the proof: the claim and its HMAC-SHA256, cut to 128 bits. The token names
no person: topic, partition, flow id, attempt and the event's digest. ``kid`` tells keys apart, so that two can live while they rotate:
the first key mints, all verify.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

PATH: Final = "/callbacks/v1"
LONGEST_TOKEN: Final = 512
"""Characters; a topic of 249 characters gives 407."""

_CONTEXT: Final = b"failover-connector/callback/v1\0"
_FIXED: Final = struct.Struct(">II16s16s")  # partition, attempt, flow id, event digest; the topic follows
_MAC_BYTES: Final = 16
_KID_BYTES: Final = 6
_NO_KEY: Final = bytes(32)  # stands in for an unknown key, so that a refusal takes the same path


@dataclass(frozen=True, slots=True)
class CallbackClaim:
    """What a token says. ``flow_id`` is a UUID as text, ``event_digest`` 16 bytes (``identity.digest``)."""

    topic: str
    partition: int
    flow_id: str
    attempt: int
    event_digest: bytes


@lru_cache(maxsize=8)
def key_id(secret: bytes) -> str:
    """Eight characters that name a key without giving anything of it away."""
    return _text(hashlib.sha256(_CONTEXT + b"kid\0" + secret).digest()[:_KID_BYTES])


def mint(secrets: Sequence[bytes], claim: CallbackClaim) -> tuple[str, str]:
    """(kid, token) under the newest key. Raises ValueError when there is no key or the claim is out of bounds."""
    if not secrets:
        raise ValueError("no callback key")
    if len(claim.event_digest) != _MAC_BYTES:
        raise ValueError("an event digest has 16 bytes")
    try:
        fixed = _FIXED.pack(claim.partition, claim.attempt, uuid.UUID(claim.flow_id).bytes, claim.event_digest)
    except struct.error as error:
        raise ValueError("partition or attempt out of bounds") from error
    payload = fixed + claim.topic.encode()
    return key_id(secrets[0]), _text(payload + _mac(secrets[0], payload))


def verify(secrets: Sequence[bytes], kid: str, token: str) -> CallbackClaim | None:
    """The claim of a token that one of the keys has minted, else None. Every refusal costs the same: one MAC, one comparison."""
    secret, known = _NO_KEY, False
    for candidate in secrets:
        if hmac.compare_digest(key_id(candidate).encode(), kid.encode("utf-8", "surrogatepass")):
            secret, known = candidate, True
    raw = _bytes(token)
    payload, given = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    genuine = hmac.compare_digest(_mac(secret, payload), given)
    return _claim(payload) if genuine and known else None


def callback_url(public_url: str, kid: str, token: str) -> str:
    """``{public_url}/callbacks/v1/{kid}/{token}``."""
    return f"{public_url.rstrip('/')}{PATH}/{kid}/{token}"


def _claim(payload: bytes) -> CallbackClaim:
    partition, attempt, flow, digest = _FIXED.unpack_from(payload)
    return CallbackClaim(payload[_FIXED.size :].decode(), partition, str(uuid.UUID(bytes=flow)), attempt, digest)


def _mac(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, _CONTEXT + payload, "sha256")[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """The bytes of canonical base64url; of anything else none, which no MAC fits."""
    if len(text) > LONGEST_TOKEN:
        return b""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if _text(raw) == text else b""
