"""The public port as it runs, on a thread of its own, before a log that plays Kafka: for tests that throw anything at it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
import time
from typing import Final

from connector.adapters.callback_codec import decode_callback, encode_callback
from connector.adapters.clock import SystemClock
from connector.adapters.http_guard import Limits
from connector.adapters.http_server import HttpServer, callbacks_app
from connector.core.capability import PATH, CallbackClaim, mint
from connector.errors import KafkaUnavailable
from connector.metrics import Metrics
from connector.ports import Callback
from connector.services.callbacks import Ingress

KEYS: Final = (b"n" * 32, b"o" * 32)
CLAIM: Final = CallbackClaim("notifications", 3, "30830fad-21ed-49b0-89d0-bbada2fd5640", 1, bytes(range(16)))
GENUINE: Final = tuple(f"{PATH}/{kid}/{token}" for kid, token in (mint(KEYS, CLAIM), mint(KEYS[1:], CLAIM)))
"""Of the first key, and of the one that is being rotated away."""
QUICK: Final = Limits(head_s=0.1, body_s=0.1, keep_alive_s=0)

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_GO_ON: Final = b"100"  # no answer yet: it asks for the body
_PATIENCE_S: Final = 5.0


class Log:
    """``ports.CallbackSink``: keeps what Kafka would; ``away`` and ``stuck`` as Kafka can be."""

    def __init__(self) -> None:
        self.kept: list[Callback] = []
        self.mood = "there"

    async def put(self, callback: Callback) -> None:
        value = encode_callback(callback)
        if self.mood == "away":
            raise KafkaUnavailable("fake")
        if self.mood == "stuck":
            await asyncio.sleep(60)
        self.kept.append(decode_callback(value))


class Port:
    """The server between ``start`` and ``stop``. ``errors`` holds what it logged: a defect of ours, met by what was sent."""

    def __init__(self, limits: Limits = QUICK) -> None:
        self.log = Log()
        self.errors: list[str] = []
        self._limits = limits
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listener = logging.Handler(logging.WARNING)
        self._listener.emit = lambda record: self.errors.append(record.getMessage())  # type: ignore[method-assign]
        self.address = ("", 0)

    def start(self) -> Port:
        """Serve on a free port."""
        logging.getLogger().addHandler(self._listener)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_PATIENCE_S)
        return self

    async def _start(self) -> None:
        ingress = Ingress(self.log, KEYS, SystemClock(), Metrics(), budget_s=0.05)
        self._server = HttpServer(callbacks_app(ingress, self._limits), "127.0.0.1:0", "callbacks.listen", self._limits)
        await self._server.start()
        self.address = self._server.address

    def stop(self) -> None:
        """End the server and its thread."""
        asyncio.run_coroutine_threadsafe(self._server.stop(1), self._loop).result(_PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()
        logging.getLogger().removeHandler(self._listener)

    def send(self, *pieces: bytes) -> list[int]:
        """Send these bytes on one connection; the statuses of all answers until the server ends it. Fails when it never does."""
        answers = b""
        with socket.create_connection(self.address, timeout=_PATIENCE_S) as connection:
            until = time.monotonic() + _PATIENCE_S
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # pieces stay pieces
            try:
                for piece in pieces:
                    connection.sendall(piece)
                while more := connection.recv(65_536):
                    answers += more
                    assert time.monotonic() < until, "the connection stays open"
            except (ConnectionResetError, BrokenPipeError):  # it may end while bytes are still on their way
                pass
        return [int(status) for status in _STATUS.findall(answers) if status != _GO_ON]
