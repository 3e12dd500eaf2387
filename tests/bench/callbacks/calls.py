"""Callbacks as the provider makes them, and what a forger makes of them: each a function of its number."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from connector.core import identity
from connector.core.capability import PATH, CallbackClaim, key_id, mint
from tests.acceptance.crew import PARTITIONS
from tests.kafka import ROOT

_DOCUMENT: Final = (ROOT / "tests/data/routee/callback_new.json").read_bytes()
_ITS_ID: Final = b"30830fad-21ed-49b0-89d0-bbada2fd5640"
_MAC_BYTES: Final = 16
_THIEF: Final = b"thief-0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Call:
    """One callback: ``id`` is in its body, ``claim`` in its path."""

    id: str
    claim: CallbackClaim
    kid: str
    token: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes calls for the lanes of one input topic, signed with ``secret``, about the events ``<events>-<number>``."""

    topic: str
    secret: bytes
    events: str = "bench"

    def call(self, number: int) -> Call:
        """The true callback of that number."""
        id_, claim = f"true-{number}", self._claim(number)
        kid, token = mint([self.secret], claim)
        return Call(id_, claim, kid, token, post(f"{PATH}/{kid}/{token}", body(id_)))

    def number_of(self, id_: str) -> int | None:
        """The number of a true call's id."""
        word, _, digits = id_.partition("-")
        return int(digits) if word == "true" and digits.isdecimal() else None

    def forged(self, number: int, kind: str) -> bytes:
        """A forged request: of a call that the connector itself has never signed, or signed otherwise."""
        return _FORGERIES[kind](self, self.call(number), number)

    def other(self, number: int) -> Call:
        """Another flow's call."""
        return self.call(number + 1)

    def _claim(self, number: int) -> CallbackClaim:
        event_id = f"{self.events}-{number}"
        flow = identity.flow_id(event_id, "order-shipped")
        return CallbackClaim(self.topic, number % PARTITIONS, flow, 1, identity.digest(event_id))


def body(id_: str) -> bytes:
    """The provider's document with that tracking id."""
    return _DOCUMENT.replace(_ITS_ID, id_.encode(), 1)


def post(path: str, content: bytes, method: str = "POST") -> bytes:
    """A whole request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: hooks\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


# ----------------------------------------------------------------------------------------------------------------- forged


def _to(kid: str, token: str, number: int) -> bytes:
    return post(f"{PATH}/{kid}/{token}", body(f"forged-{number}"))


def _raw(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _wrong_mac(_: Caller, true: Call, number: int) -> bytes:
    at = len(true.token) - 3 - number % 18  # within the MAC
    changed = "A" if true.token[at] != "A" else "B"
    return _to(true.kid, true.token[:at] + changed + true.token[at + 1 :], number)


def _wrong_claim(_: Caller, true: Call, number: int) -> bytes:
    raw = bytearray(_raw(true.token))
    raw[number % (len(raw) - _MAC_BYTES)] ^= 1 + number % 255
    return _to(true.kid, base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), number)


def _other_mac(caller: Caller, true: Call, number: int) -> bytes:
    mixed = _raw(true.token)[:-_MAC_BYTES] + _raw(caller.other(number).token)[-_MAC_BYTES:]
    return _to(true.kid, base64.urlsafe_b64encode(mixed).rstrip(b"=").decode(), number)


def _stolen_kid(_: Caller, true: Call, number: int) -> bytes:
    return _to(true.kid, mint([_THIEF], true.claim)[1], number)


def _own_kid(_: Caller, true: Call, number: int) -> bytes:
    return _to(*mint([_THIEF], true.claim), number)


def _wrong_kid(_: Caller, true: Call, number: int) -> bytes:
    return _to(key_id(b"%d" % number), true.token, number)


def _cut(_: Caller, true: Call, number: int) -> bytes:
    return _to(true.kid, true.token[: number % (len(true.token) - 1) + 1], number)


def _longer(_: Caller, true: Call, number: int) -> bytes:
    return _to(true.kid, true.token * (2 + number % 20) if number % 2 else true.token + "=", number)


def _other_method(_: Caller, true: Call, number: int) -> bytes:
    method = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS")[number % 5]
    return post(f"{PATH}/{true.kid}/{true.token}", body(f"forged-{number}"), method)


def _other_path(_: Caller, true: Call, number: int) -> bytes:
    paths = (
        f"{PATH}/{true.kid}/{true.token}/more",
        f"/callbacks/v2/{true.kid}/{true.token}",
        f"{PATH}//{true.kid}/{true.token}",
        f"{PATH}/{true.token}",
        f"{PATH}/{true.kid}/%00%ff{number}",
        f"/metrics?{number}",
    )
    return post(paths[number % len(paths)], body(f"forged-{number}"))


_FORGERIES: Final[Mapping[str, Callable[[Caller, Call, int], bytes]]] = MappingProxyType({
    "wrong MAC": _wrong_mac,
    "wrong claim": _wrong_claim,
    "another flow's MAC": _other_mac,
    "another key under our kid": _stolen_kid,
    "another key under its own kid": _own_kid,
    "wrong kid": _wrong_kid,
    "cut": _cut,
    "longer": _longer,
    "other method": _other_method,
    "other path": _other_path,
})  # fmt: skip
KINDS: Final = tuple(_FORGERIES)
