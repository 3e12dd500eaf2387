"""uvicorn's connection with the bounds it lacks: one request at a time, a deadline and a size for its head, a number of connections."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CONNECT = b"CONNECT"
_SPREAD = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take of a server. Seconds and bytes.

    A deadline is up to half as long again, drawn for each: else all who came together are cut together and come back together.
    """

    head_s: float = 15.0
    head_bytes: int = 16_384
    body_s: float = 15.0
    body_bytes: int = 65_536
    keep_alive_s: int = 75
    connections: int = 2_000

    def head_deadline_s(self) -> float:
        """For one head."""
        return self.head_s * (1.0 + _SPREAD * random.random())  # noqa: S311 - no secret

    def body_deadline_s(self) -> float:
        """For one body."""
        return self.body_s * (1.0 + _SPREAD * random.random())  # noqa: S311 - no secret


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A head that is late or too large ends it without an answer.

    A request sent before the one ahead of it was answered is not read: the answer to that one is the connection's last, and HTTP has the
    caller repeat what was not answered. Else a quarter of a megabyte of tiny requests would be 14,000 tasks before the first is refused.

    At one connection too many, the oldest that never brought a whole head is ended, else the one that has been idle for longest, else the
    new one: whoever has something to say says it at once, and nobody keeps callers out by holding connections open.
    """

    limits: ClassVar[Limits] = Limits()
    strangers: ClassVar[dict[GuardedProtocol, None]] = {}  # of one server: connections without a whole head so far, oldest first
    idle: ClassVar[dict[GuardedProtocol, None]] = {}  # those that were answered and have said nothing since, oldest first
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _deaf = False  # what still comes is not read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, where need be in somebody else's place."""
        super().connection_made(transport)
        self.access_log = False  # a callback's path is a capability
        self._await_head()
        if len(self.connections) > self.limits.connections:
            oldest = next(iter(self.strangers), None) or next(iter(self.idle), self)
            oldest.forget()
            oldest.transport.abort()
        if not self.transport.is_closing():
            self.strangers[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the deadline."""
        self._head_done()
        self.forget()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Idle, unless the connection ends with it."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self.idle[self] = None

    def data_received(self, data: bytes) -> None:
        """Read on. Whatever comes while nothing is being answered belongs to a head, a mere line break, too, and has its deadline."""
        if self._deaf:
            return
        self.idle.pop(self, None)
        self._unset_keepalive_if_required()
        if self._deadline is None and not self._answering:
            self._await_head()
        if self._deadline is not None:
            self._head_bytes += len(data)
        try:
            self._read(data)
        except httptools.HttpParserError:
            if not self._deaf:
                self._deaf = True
                self.send_400_response("Invalid HTTP request received.")
        if self._deadline is not None and self._head_bytes > self.limits.head_bytes:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request, unless the one before is still being answered. Raises ValueError, which stops the parser."""
        if self._answering:
            self._hear_no_more()
            raise ValueError("not yet")
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the deadline: the application guards the body."""
        if not self._to_be_read_anew:
            self._head_done()
            self.forget()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body. The application is woken for the last one, and for one too many: not for each byte of a slow one."""
        if len(self.cycle.body) + len(body) > self.limits.body_bytes:
            super().on_body(body)
        elif not self.cycle.response_complete:
            self.cycle.body += body

    def on_message_complete(self) -> None:
        """The body is whole."""
        if not self._to_be_read_anew:
            super().on_message_complete()

    @property
    def _answering(self) -> bool:
        return not getattr(self.cycle, "response_complete", True)  # there is none before the first request

    @property
    def _to_be_read_anew(self) -> bool:
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != _CONNECT

    def _read(self, data: bytes) -> None:
        """Parse. A request that would upgrade is read again without that wish, as HTTP allows: the parser gives no body of such a one."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._to_be_read_anew:
                head, behind = self._head_without_upgrade(), upgrade.args[0]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
                self.parser.feed_data(head + data[behind:])
            else:  # what is behind CONNECT is no HTTP
                self._hear_no_more()

    def _head_without_upgrade(self) -> bytes:
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = (b"%s: %s" % header for header in self.headers if header[0] != b"upgrade")
        return b"\r\n".join([first, *headers, b"", b""])

    def _hear_no_more(self) -> None:
        self._deaf = True
        self.cycle.keep_alive = False

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._deadline = self.loop.call_later(self.limits.head_deadline_s(), self.transport.abort)

    def forget(self) -> None:
        """Neither new nor idle any more."""
        self.strangers.pop(self, None)
        self.idle.pop(self, None)

    def _head_done(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """The protocol of one server with these limits."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits, "strangers": {}, "idle": {}})
