"""The calling side: kept connections with one call each at a time, and the repeats of a callback that found nobody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from tests.bench.callbacks.calls import Caller

ANSWER_S: Final = 2.0
"""So long Routee waits (Routee's documentation: callbacks)."""
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)  # Routee's own begin with 30 s: nothing is learned by waiting for them
_HEAD_ENDS: Final = b"\r\n\r\n"


class Link(asyncio.Protocol):
    """One connection. The receivers' answers have no body; whatever comes with a refusal ends with the connection."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """The answer, once its head is whole."""
        self._received += data
        if _HEAD_ENDS not in self._received:
            return
        status, closes = int(self._received[9:12]), b"connection: close" in self._received.lower()
        self._received.clear()
        if closes:
            self.drop()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits hears of it."""
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("cut"))

    async def ask(self, request: bytes) -> int:
        """HTTP status. Raises ConnectionError when the connection ends without one, TimeoutError."""
        if not self.is_open:
            raise ConnectionResetError("cut")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(ANSWER_S):
            return await self._answer

    def drop(self) -> None:
        """End it."""
        self.is_open = False
        self._transport.abort()


class Door:
    """The public port of one receiver."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Link] = []

    async def post(self, request: bytes, source: str | None = None) -> int:
        """HTTP status, by a kept connection, or from ``source`` by one of its own. Raises OSError: refused, cut, or no answer in time."""
        link = None if source else self._kept()
        if link is None:
            async with asyncio.timeout(ANSWER_S):
                link = await self._connect(source)
        try:
            status = await link.ask(request)
        except BaseException:
            link.drop()
            raise
        if source:
            link.drop()
        elif link.is_open:
            self._idle.append(link)
        return status

    def close(self) -> None:
        """Drop what is kept."""
        while self._idle:
            self._idle.pop().drop()

    def _kept(self) -> Link | None:
        while self._idle:
            if (link := self._idle.pop()).is_open:
                return link
        return None

    async def _connect(self, source: str | None) -> Link:
        local = (source, 0) if source else None
        transport, link = await asyncio.get_running_loop().create_connection(Link, "127.0.0.1", self._port, local_addr=local)
        if source:  # ended by a reset: a million in TIME-WAIT are more than a kernel has room for
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return link


@dataclass(frozen=True, slots=True)
class Answered:
    """A callback that got its 200: when it was due, and when the answer came (monotonic seconds)."""

    due: float
    at: float


@dataclass(slots=True)
class Load:
    """Callbacks at a steady rate, each due at its time whatever becomes of the others, and repeated until 200.

    Who finds a receiver's door shut, or is cut off there, goes to the next one at once, as a balancer in front of them would; after a 503,
    a call without an answer, or a round of shut doors it waits. ``heard`` counts what the calls met.
    """

    caller: Caller
    ports: Sequence[int]
    count: int
    rate: float
    first: int = 0  # number of the first
    patience_s: float = 120.0
    answered: dict[int, Answered] = field(default_factory=dict)
    heard: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Until all are answered, at the latest ``patience_s`` after the last was due."""
        doors = [Door(port) for port in self.ports]
        begun = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.count / self.rate + self.patience_s), asyncio.TaskGroup() as group:
                for turn in range(self.count):
                    due = begun + turn / self.rate
                    if (ahead := due - time.monotonic()) > 0:
                        await asyncio.sleep(ahead)
                    group.create_task(self._deliver(self.first + turn, due, doors))
        for door in doors:
            door.close()

    async def _deliver(self, number: int, due: float, doors: Sequence[Door]) -> None:
        request = self.caller.call(number).request
        tries = shut = 0
        while True:
            met = await self._try(doors[(number + tries) % len(doors)], request)
            self.heard[met] += 1
            if met == "200":
                self.answered[number] = Answered(due, time.monotonic())
                return
            tries += 1
            shut = shut + 1 if met in {"refused", "cut"} else len(doors)
            if shut >= len(doors):
                shut = 0
                await asyncio.sleep(_PAUSES_S[min(tries // len(doors), len(_PAUSES_S) - 1)])

    async def _try(self, door: Door, request: bytes) -> str:
        try:
            return str(await door.post(request))
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "no answer"
        except OSError:
            return "cut"
