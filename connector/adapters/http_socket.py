"""Opening sockets from which a request leaves at once or not at all: resolve, connect, tunnel (docs/how-it-works.md)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote

import httpx

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Address = tuple[int, SocketAddress]
"""Address family and socket address, as ``socket.connect`` takes it."""

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Host and port to addresses, best first; raises OSError."""

STAGGER_S = 0.25
"""Head start of an address before the next one is tried beside it (RFC 8305 §5)."""

TLS_CLOSE_S = 1.0

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CLOSE_IN_ORDER = struct.pack("ii", 0, 0)
_MAX_PROXY_HEAD = 16 * 1024
_TUNNEL_OPEN = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r]")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked for a tunnel (CONNECT)."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """From ``http://[user:password@]host[:port]``; raises ValueError, whose text holds no part of the URL."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ValueError("not a URL") from None
        if parsed.scheme != "http" or not parsed.host:
            raise ValueError("a proxy is reached over http://, and needs a host")
        userinfo = unquote(parsed.userinfo.decode("ascii")).encode()
        return cls(parsed.host, parsed.port or 80, b"Basic " + base64.b64encode(userinfo) if userinfo else None)


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach one origin."""

    host: str  # ASCII; an IPv6 address without brackets
    port: int
    tls: ssl.SSLContext | None
    proxy: Proxy | None
    user_timeout_ms: int  # TCP_USER_TIMEOUT: unacknowledged bytes older than this end the connection


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver; families take turns, the preferred one first (RFC 8305 §4)."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    by_family: dict[int, deque[Address]] = {}
    for family, _, _, _, where in infos:
        by_family.setdefault(family, deque()).append((family, cast("SocketAddress", where)))
    queues = list(by_family.values())
    return [queue.popleft() for _ in range(max(map(len, queues), default=0)) for queue in queues if queue]


async def dial(route: Route, adopt: Callable[[socket.socket], asyncio.Protocol], give_up: float, resolve: Resolve) -> str | None:
    """Open a connection before loop time ``give_up``. None: ``adopt``'s protocol is connected; else the reason why not.

    No byte of a request is written here, so every reason (dns, refused, unreachable, connect_timeout, tls, proxy) means *not sent*.
    """
    loop = asyncio.get_running_loop()
    phase = "dns"
    try:
        async with asyncio.timeout_at(give_up):
            addresses = await resolve(*((route.proxy.host, route.proxy.port) if route.proxy else (route.host, route.port)))
            phase = "connect"
            sock = await connect(addresses, route.user_timeout_ms)
            try:
                if route.proxy:
                    phase = "proxy"
                    await _open_tunnel(sock, route)
                phase = "tls"
                if route.tls is None:
                    await loop.create_connection(lambda: adopt(sock), sock=sock)
                else:
                    await loop.create_connection(
                        lambda: adopt(sock), sock=sock, ssl=route.tls, server_hostname=route.host, ssl_shutdown_timeout=TLS_CLOSE_S
                    )
            except BaseException:
                sock.close()
                raise
    except (OSError, UnicodeError) as error:  # TimeoutError, ssl.SSLError and socket.gaierror are OSErrors
        return "proxy" if route.proxy and phase != "tls" else _reason(phase, error)
    return None


def _reason(phase: str, error: Exception) -> str:
    if phase != "connect":
        return phase
    if isinstance(error, TimeoutError):
        return "connect_timeout"
    return "refused" if isinstance(error, ConnectionRefusedError) else "unreachable"


async def connect(addresses: Sequence[Address], user_timeout_ms: int) -> socket.socket:
    """The first address that answers wins; raises the first OSError when none does."""
    waiting = deque(addresses)
    pending: set[asyncio.Task[socket.socket]] = set()
    begun: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None and (waiting or pending):
            if waiting:
                begun.append(asyncio.create_task(_connect_one(waiting.popleft(), user_timeout_ms)))
                pending.add(begun[-1])
            done, pending = await asyncio.wait(pending, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in done if task.exception() is None), None)
    finally:
        losers = [task for task in begun if task is not winner]
        for task in losers:
            task.cancel()
            task.add_done_callback(_close_late)
        await asyncio.gather(*losers, return_exceptions=True)
    if winner is not None:
        return winner.result()
    raise next((error for task in begun if (error := task.exception())), OSError("no address"))


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect_one(address: Address, user_timeout_ms: int) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _set_options(sock, user_timeout_ms)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_options(sock: socket.socket, user_timeout_ms: int) -> None:
    # After kill -9 the kernel would deliver what is still in its buffer, long after the lease was over: a close must reset instead.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)


def close_in_order(sock: socket.socket) -> None:
    """Let the next close of this socket be a FIN: nothing is in flight, so nobody needs to be startled by a reset."""
    with contextlib.suppress(OSError):  # closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_IN_ORDER)


async def _open_tunnel(sock: socket.socket, route: Route) -> None:
    """CONNECT (RFC 9110 §9.3.6); raises ConnectionError unless the proxy agrees."""
    loop = asyncio.get_running_loop()
    authority = (f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}").encode("ascii")
    lines = [b"CONNECT %b HTTP/1.1" % authority, b"host: " + authority]
    if route.proxy and route.proxy.authorization:
        lines.append(b"proxy-authorization: " + route.proxy.authorization)
    await loop.sock_sendall(sock, b"\r\n".join([*lines, b"", b""]))
    head = b""
    while b"\r\n\r\n" not in head:
        data = await loop.sock_recv(sock, 4096)
        if not data or len(head) > _MAX_PROXY_HEAD:
            raise ConnectionError("no answer from the proxy")
        head += data
    # The far end never speaks first, so bytes behind the proxy's answer belong to nobody.
    if not _TUNNEL_OPEN.match(head) or not head.endswith(b"\r\n\r\n"):
        raise ConnectionError("refused by the proxy")
