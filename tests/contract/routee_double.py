"""Routee as a few lines: answers by path, everything it was asked in order. For what the simulator would not do."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from email.utils import formatdate
from typing import NamedTuple
from urllib.parse import parse_qs

from tests.servers import Peer, RawServer


class Asked(NamedTuple):
    """One request as the provider saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Said = tuple[int, object]
"""Status and JSON document; bytes go out as they are."""

Handler = Callable[[Asked], Said]


class RouteeDouble:
    """``at`` holds a handler per path; each token request gives the next of ``tokens`` (the last one again and again)."""

    def __init__(self) -> None:
        self.tokens: list[Said] = [token("t1"), token("t2"), token("t3")]
        self.at: dict[str, Handler] = {}
        self.asked: dict[str, list[Asked]] = defaultdict(list)
        self.ahead_s: float | None = None  # of our clock, its own; None: its answers do not tell
        self.server = RawServer(self._serve)

    async def _serve(self, peer: Peer) -> None:
        while request := await peer.request():
            head, _, body = request.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            method, target, _ = first.split(" ")
            path, _, query = target.partition("?")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            asked = Asked(method, path, {key: values[0] for key, values in parse_qs(query).items()}, headers, body)
            self.asked[path].append(asked)
            status, document = self._said(asked)
            date = "" if self.ahead_s is None else f"Date: {formatdate(time.time() + self.ahead_s, usegmt=True)}\r\n"
            await peer.answer(document if isinstance(document, bytes) else json.dumps(document).encode(), f"{status} X", date)

    def _said(self, asked: Asked) -> Said:
        if asked.path == "/oauth/token":
            return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        handler = self.at.get(asked.path)
        return handler(asked) if handler else (404, b"<html>not here</html>")


def token(value: str, expires_in: object = 3600) -> Said:
    """The auth server's answer."""
    return 200, {"access_token": value, "token_type": "bearer", "expires_in": expires_in, "scope": "failover"}
