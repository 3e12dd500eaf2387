"""One keep-alive connection: one request in one write, then its whole answer, never two requests at once."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from connector.adapters.http_answer import AnswerReader
from connector.adapters.http_socket import close_in_order
from connector.core.model import Failure, Reply

Answer = asyncio.Future[Reply | Failure]

_TOLD_MARGIN_S = 1.0  # closed by us that much before the server would
_LONGEST_IDLE_S = 55.0  # below the usual 60 s of load balancers, whatever the server told


class Home(Protocol):
    """Where a connection belongs."""

    def made(self, connection: Connection) -> None:
        """It is connected."""
        ...

    def rested(self, connection: Connection) -> None:
        """It is free for the next request."""
        ...

    def lost(self, connection: Connection) -> None:
        """Its socket is closed. Called once for each connection that was ever made."""
        ...


class Connection(asyncio.Protocol):
    """States: not made → resting ⇄ waiting for an answer → lost. All methods are synchronous.

    ``sent`` of every failure given here is True: whoever asks has called ``begin``, and ``begin`` has called ``write``.
    """

    def __init__(self, home: Home, keep_alive_s: float) -> None:
        self.made = False
        self.abandoned = False
        self.rest_until = 0.0  # loop time until which it may be used again
        self._home = home
        self._keep_alive_s = keep_alive_s
        self._reader = AnswerReader()
        self._answer: Answer | None = None
        self._used = False
        self._ended = False

    def adopt(self, sock: socket.socket) -> Connection:
        """The socket below the transport, for a look that the transport does not offer."""
        self._sock = sock
        return self

    def usable(self) -> bool:
        """Nothing speaks against writing a request now. Looks into the kernel, which may know of an end that the loop has not seen yet."""
        if not self.made or self._ended or self._answer is not None:
            return False
        # Fresh from the TLS handshake, the buffer may hold its last bytes (uvloop): they leave with the request.
        if self._transport.is_closing() or (self._used and self._transport.get_write_buffer_size()):
            return False
        try:
            unread = self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        # Then, too, unread bytes are session tickets; else nobody asked for them.
        return bool(unread) and self._tls and not self._used

    def begin(self, request: bytes, deadline_s: float, may_start: Callable[[], bool]) -> Answer | None:
        """Write the whole request if ``may_start`` says so; None: it said no, and the connection is free again.

        The caller has just seen ``usable()`` and has not awaited since. Between ``may_start`` and ``write`` nothing happens.
        """
        started = False
        try:
            started = may_start()
            if started:
                self._transport.write(request)
        finally:
            if not started:
                self._home.rested(self)
        if not started:
            return None
        self._used = True
        self._reader.expect()
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
        self._timer = loop.call_later(deadline_s, self._expire)
        return answer

    def abandon(self, answer: Answer) -> None:
        """Nobody waits for ``answer`` any more: reset the connection, unless it carries somebody else's request by now."""
        if self._answer is answer:
            self.abort("closed")

    def abort(self, reason: str) -> None:
        """Reset the connection."""
        self._settle(Failure(sent=True, reason=reason))
        if self.made:
            self._transport.abort()

    def close(self) -> None:
        """Close a resting connection in order (TLS: with a close_notify)."""
        if self.made and not self._transport.is_closing():
            close_in_order(self._sock)
            self._transport.close()

    # ------------------------------------------------------------------------------------------- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; with TLS: the handshake is done and the peer's name verified."""
        self._transport = cast("asyncio.Transport", transport)
        if self.abandoned:  # its dialler was cancelled in the same instant: nobody would ever close it
            self._transport.abort()
            return
        self._tls = transport.get_extra_info("sslcontext") is not None
        self.made = True
        self.rest_until = asyncio.get_running_loop().time() + self._keep_alive_s
        self._home.made(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the awaited answer; without one, the stream can no longer be trusted."""
        if self._answer is None:
            self._transport.abort()
            return
        outcome = self._reader.feed(data)
        if outcome is not None:
            self._finish(outcome)

    def eof_received(self) -> bool:
        """The peer will say no more; half-open connections are of no use."""
        self._ended = True
        if self._answer is not None:
            self._finish(self._reader.end())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._ended = True
        if isinstance(exc, TimeoutError):  # TCP_USER_TIMEOUT, or keep-alive probes without an answer
            reason = "timeout"
        elif isinstance(exc, ssl.SSLError):
            reason = "protocol"
        elif exc is not None:
            reason = "reset"
        else:
            reason = "cut" if self._reader.begun else "closed"
        self._settle(Failure(sent=True, reason=reason))
        if self.made:
            self._home.lost(self)

    def _expire(self) -> None:
        self.abort("timeout")

    def _finish(self, outcome: Reply | Failure) -> None:
        """The answer is whole, or never will be. A request that is not yet written to its end makes the rest of it garbage."""
        self._settle(outcome)
        if isinstance(outcome, Failure) or self._transport.get_write_buffer_size():
            self._transport.abort()
        elif self._reader.reusable and not self._ended:
            self.rest_until = asyncio.get_running_loop().time() + self._rest_s()
            self._home.rested(self)
        else:
            self.close()

    def _rest_s(self) -> float:
        told = self._reader.keep_alive_s
        return self._keep_alive_s if told is None else min(told - _TOLD_MARGIN_S, _LONGEST_IDLE_S)

    def _settle(self, outcome: Reply | Failure) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self._timer.cancel()
            if not answer.done():
                answer.set_result(outcome)
