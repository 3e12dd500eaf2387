"""A raw socket server whose every byte, FIN and RST is written in the test. It runs on the test's own loop, so nothing needs a sleep."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

RESET = struct.pack("ii", 1, 0)


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.requests: list[bytes] = []

    async def read(self) -> bytes:
        """Whatever comes next; empty at the end of the stream."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        except ConnectionError:
            return b""
        self.received += data
        return data

    async def request(self) -> bytes | None:
        """One whole request (head, and body by Content-Length), or None when the stream ends first."""
        while b"\r\n\r\n" not in self.received:
            if not await self.read():
                return None
        head, _, rest = self.received.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        while len(rest) < length:
            if not await self.read():
                return None
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        self.requests.append(head + b"\r\n\r\n" + rest[:length])
        return self.requests[-1]

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def answer(self, body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> None:
        """A whole answer with Content-Length. ``headers``: further lines, each with its CRLF."""
        await self.write(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def ended(self) -> str:
        """Read until the client ends the connection: ``fin`` or ``reset``."""
        loop = asyncio.get_running_loop()
        try:
            while await loop.sock_recv(self.sock, 65536):
                pass
        except ConnectionResetError:
            return "reset"
        return "fin"

    def close(self) -> None:
        """FIN (a reset, if there are unread bytes)."""
        self.sock.close()

    def reset(self) -> None:
        """RST."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Runs ``script`` for each connection; ``peers`` holds them all, in order of arrival."""

    def __init__(self, script: Script, host: str = "127.0.0.1") -> None:
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self.arrived = asyncio.Event()
        self._script = script
        self._sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind((host, 0))
        self._sock.listen(512)
        self._sock.setblocking(False)
        self.host = host
        self.port: int = self._sock.getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The origin."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def requests(self) -> list[bytes]:
        """All whole requests of all connections."""
        return [request for peer in self.peers for request in peer.requests]

    async def __aenter__(self) -> Self:
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._accepting, *self._tasks):
            task.cancel()
        await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.close()
        self._sock.close()
        for failure in self.failures:
            raise failure

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._sock)
            sock.setblocking(False)
            peer = Peer(sock)
            self.peers.append(peer)
            self.arrived.set()
            task = asyncio.create_task(self._run(peer))
            self._tasks.add(task)

    async def _run(self, peer: Peer) -> None:
        try:
            await self._script(peer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as failure:  # noqa: BLE001 raised again at the server's end, in the test
            self.failures.append(failure)


async def answering(peer: Peer) -> None:
    """A script: answer every request with ``{}``."""
    while await peer.request():
        await peer.answer()


async def answering_once(peer: Peer) -> None:
    """A script: answer one request, then look away, so that the test may close or reset the connection in its own step."""
    await peer.request()
    await peer.answer()
    await asyncio.Event().wait()


async def silent(peer: Peer) -> None:
    """A script: read everything, never answer."""
    while await peer.read():
        pass


@contextlib.asynccontextmanager
async def tls_server(handler: Callable[[bytes], bytes], context: ssl.SSLContext, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A TLS server that answers each request's head with ``handler(head)``; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                await reader.readexactly(length)
                writer.write(handler(head))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
