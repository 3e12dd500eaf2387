"""HTTP/1.1 by hand (httptools), because the faults to be played lie below what a web framework lets one do."""

from __future__ import annotations

import asyncio
import http
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

from connector.simulator.faults import Wire

_MAX_BODY = 4 * 1024 * 1024
_MAX_WAITING = 64
_REASONS = {status.value: status.phrase for status in http.HTTPStatus}
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER(1, 0): close() sends RST
_OK = 200


@dataclass(slots=True)
class HttpRequest:
    """A whole request. Header names are lower case; ``query`` is undecoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to write, when and how. ``after`` is awaited before the first byte (its result is ignored)."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    wire: Wire = Wire.WHOLE
    after: Awaitable[object] | None = None


def encode(answer: Answer, *, keep_alive: bool) -> bytes:
    """The answer's bytes, as far as its ``wire`` fault lets them go out."""
    body = answer.body
    if answer.wire is Wire.HALF_JSON:
        body = body[: max(1, len(body) // 2)]
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    lines.extend(f"{name}: {value}" for name, value in answer.headers)
    if not keep_alive:
        lines.append("Connection: close")
    if answer.wire is Wire.CUT_BODY:
        body = body[: len(body) // 2]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """One client. Requests are answered in the order in which they came; ``handle`` is called as soon as a request is whole."""

    def __init__(self, handle: Callable[[HttpRequest], Answer], connections: set[Connection]) -> None:
        self._handle = handle
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[HttpRequest, bool]] = deque()
        self._transport: asyncio.Transport | None = None
        self._pending: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._is_silent = False
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are none by class
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """The client has gone: forget what was still to be said."""
        self._transport = None
        self._connections.discard(self)
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser; nonsense ends the connection with a 400."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an Upgrade offer nobody takes up
        except httptools.HttpParserError:
            self._refuse(400)

    # httptools

    def on_message_begin(self) -> None:
        """A new request."""
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        """May come in pieces."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the last of a name counts."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """A client that asks first must be told to go on, else it waits."""
        if self._headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """One piece of the body."""
        self._size += len(body)
        if self._size > _MAX_BODY:
            self._refuse(413)
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer it, or queue it behind the one that is being answered."""
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("ascii")
        request = HttpRequest(method, path, query, self._headers, b"".join(self._body))
        self._waiting.append((request, self._parser.should_keep_alive()))
        if self._transport is None or len(self._waiting) > _MAX_WAITING:
            self.abort()
        elif len(self._waiting) == 1:
            self._next()

    # answering

    def _next(self) -> None:
        request, keep_alive = self._waiting[0]
        answer = self._handle(request)
        if answer.after is not None:
            self._pending = asyncio.ensure_future(self._write_after(answer.after, answer, keep_alive=keep_alive))
        elif answer.delay_s > 0:
            self._later(answer, keep_alive=keep_alive)
        else:
            self._write(answer, keep_alive=keep_alive)

    async def _write_after(self, event: Awaitable[object], answer: Answer, *, keep_alive: bool) -> None:
        await event
        if answer.delay_s > 0:
            self._later(answer, keep_alive=keep_alive)
        else:
            self._write(answer, keep_alive=keep_alive)

    def _later(self, answer: Answer, *, keep_alive: bool) -> None:
        loop = asyncio.get_running_loop()
        self._pending = loop.call_later(answer.delay_s, lambda: self._write(answer, keep_alive=keep_alive))

    def _write(self, answer: Answer, *, keep_alive: bool) -> None:
        self._pending = None
        if self._transport is None or self._is_silent:
            return
        if answer.wire is Wire.RESET:
            self.abort()
            return
        if answer.wire is Wire.SILENCE:
            self._is_silent = True
            return
        stays = keep_alive and answer.wire is not Wire.CUT_BODY
        self._transport.write(encode(answer, keep_alive=keep_alive))
        self._waiting.popleft()
        if not stays:
            self._transport.close()
        elif self._waiting:
            self._next()

    def _refuse(self, status: int) -> None:
        if self._transport is not None:
            self._transport.write(encode(Answer(status), keep_alive=False))
            self._transport.close()
            self._transport = None

    def abort(self) -> None:
        """End the connection with RST."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
