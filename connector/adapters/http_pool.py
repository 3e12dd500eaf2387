"""Connections to one origin: kept alive, bounded, the last used first."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from connector.adapters.http_connection import Connection
from connector.adapters.http_socket import Address, Resolve, Route, dial
from connector.adapters.single_flight import SingleFlight
from connector.core.model import Failure

_CLOSE_TRIES = 50
_CLOSE_TRY_S = 0.1
_SWEEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may use. ``connect_timeout_s`` bounds the wait for a free connection and the opening of one together."""

    max_connections: int = 256  # per origin
    connect_timeout_s: float = 3.0
    keep_alive_s: float = 4.0  # of an unused connection, unless the server names another time; below every common server's 5 s
    user_timeout_ms: int = 10_000


class Pool:
    """A *slot* is the right to one connection. It belongs to whoever dials, then to the connection until its socket is closed.

    Waiters are served in order; each gets a resting connection or a free slot.
    """

    def __init__(self, route: Route, limits: Limits, resolve: Resolve) -> None:
        self._route = route
        self._limits = limits
        self._look_up: SingleFlight[Sequence[Address]] | None = None
        self._resolve = resolve
        self._slots_taken = 0
        self._made: set[Connection] = set()
        self._resting: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._emptied = asyncio.Event()

    async def acquire(self) -> Connection | Failure:
        """A connection that is usable now (the caller must not await before it writes), or why there is none: nothing was sent."""
        give_up = asyncio.get_running_loop().time() + self._limits.connect_timeout_s
        while not self._closed:
            connection = self._take()
            if connection is not None:
                return connection
            if self._slots_taken < self._limits.max_connections:
                self._slots_taken += 1
                return await self._open(give_up)
            try:
                connection = await self._queue(give_up)
            except TimeoutError:
                return Failure(sent=False, reason="pool_timeout")
            if connection is None:
                return await self._open(give_up)
            if connection.usable():
                return connection
            connection.close()
        return Failure(sent=False, reason="closed")

    async def aclose(self) -> None:
        """Close resting connections in order, reset the others, refuse waiters; returns when every socket is closed."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        for connection in tuple(self._made):
            if connection in self._resting:
                connection.close()
            else:
                connection.abort("closed")
        self._resting.clear()
        self._stop_sweep()
        for _ in range(_CLOSE_TRIES):
            if not self._made:
                break
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TRY_S):
                    await self._emptied.wait()
            for connection in tuple(self._made):  # a dial that ended only now, a peer that takes no end
                connection.abort("closed")

    # ------------------------------------------------------------------------------------------------ called by connections

    def made(self, connection: Connection) -> None:
        """The dialler's slot is the connection's now."""
        self._made.add(connection)

    def rested(self, connection: Connection) -> None:
        """Hand a free connection to the first waiter, else keep it."""
        if self._closed:
            connection.close()
        elif not self._grant(connection):
            self._resting.append(connection)
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._close_rested)

    def lost(self, connection: Connection) -> None:
        """A socket is closed: its slot is free."""
        self._made.discard(connection)
        if connection in self._resting:
            self._resting.remove(connection)
        self._free_slot()
        if not self._made:
            self._emptied.set()

    # ------------------------------------------------------------------------------------------------------------- inside

    def _take(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._resting:
            connection = self._resting.pop()
            if now < connection.rest_until and connection.usable():
                return connection
            connection.close()
        return None

    async def _open(self, give_up: float) -> Connection | Failure:
        connection = Connection(self, self._limits.keep_alive_s)
        reason: str | None = "closed"
        try:
            reason = await dial(self._route, connection.adopt, give_up, self._addresses)
        finally:
            if not connection.made:
                connection.abandoned = True
                self._free_slot()
            usable = reason is None and connection.usable() and not self._closed
            if not usable:
                connection.abort("closed")
        return connection if usable else Failure(sent=False, reason=reason or "closed")

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        """One look-up for all connections that are opened at the same time: the system's resolver has few threads."""
        if self._look_up is None:
            self._look_up = SingleFlight(lambda: self._resolve(host, port))
        return await self._look_up()

    async def _queue(self, give_up: float) -> Connection | None:
        """Wait for a resting connection, or (None) for a slot. Raises TimeoutError."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout_at(give_up):
                return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                granted = waiter.result()  # granted in the same instant in which we gave up
                self.rested(granted) if granted else self._free_slot()
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
            raise

    def _grant(self, connection: Connection | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _free_slot(self) -> None:
        if self._closed or not self._grant(None):
            self._slots_taken -= 1

    def _close_rested(self) -> None:
        now = asyncio.get_running_loop().time()
        self._stop_sweep()
        for connection in self._resting:
            if now >= connection.rest_until:
                connection.close()
        self._resting = [connection for connection in self._resting if now < connection.rest_until]
        if self._resting:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._close_rested)

    def _stop_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
