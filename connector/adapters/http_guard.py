"""uvicorn's connection with the bounds it lacks: a request's head has a deadline and a size, connections have a number."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take of a server. Seconds and bytes."""

    head_s: float = 5.0
    head_bytes: int = 16_384
    body_s: float = 5.0
    body_bytes: int = 65_536
    keep_alive_s: int = 75
    connections: int = 2_000


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A head that is late or too large ends it without an answer, as does one connection too many."""

    limits: ClassVar[Limits] = Limits()
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, or refuse."""
        super().connection_made(transport)
        self.access_log = False  # a callback's path is a capability
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the deadline."""
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head still coming."""
        if self._deadline is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._head_bytes > self.limits.head_bytes:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Start the deadline of this head (of the first one it already runs since the connection stands)."""
        super().on_message_begin()
        if self._deadline is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Stop the deadline: the application guards the body."""
        self._head_done()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._deadline = self.loop.call_later(self.limits.head_s, self.transport.abort)

    def _head_done(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """The protocol with these limits."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})
