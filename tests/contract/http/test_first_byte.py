"""The lease at the first byte, and "not sent" only where the server saw nothing: told from the server's side of the socket."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import itertools
import signal
import socket
import ssl
import sys
import termios
from collections.abc import AsyncIterator

import pytest
import trustme

from connector.adapters.http_client import HttpClient
from connector.adapters.http_pool import Limits
from connector.adapters.routee import Routee, RouteeOptions
from connector.core.model import Accepted, Api, Channel, Doubt, Failure, NotSent, Reply, Request
from tests.contract.routee_double import RouteeDouble
from tests.processes import eventually
from tests.servers import RESET, Peer, RawServer

BODY = b'{"flow": []}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LOOK_AWAY_S = 0.15  # longer than the client's patience below


class Server:
    """Serves connections in order, each as its plan says, and counts every byte of a request that it could ever have read."""

    def __init__(self, plans: list[Plan]) -> None:
        self.plans = iter(plans)
        self.seen = 0
        self.ended = 0
        self.begun = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end; what arrives behind the plan counts, too."""
        self.begun += 1
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._follow(next(self.plans, Plan()), reader, writer)
        self.ended += 1

    async def _follow(self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if plan.answers_first:
            await reader.readuntil(b"\r\n\r\n" + BODY)
            writer.write(OK)
        with contextlib.suppress(asyncio.IncompleteReadError):
            data = await reader.readexactly(plan.reads)
            self.seen += len(data)
        if plan.ending == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        elif plan.ending == "close":
            writer.close()
        elif plan.ending == "half an answer":
            writer.write(OK[:-1])
            writer.close()
        while data := await reader.read(65536):
            self.seen += len(data)
        writer.close()


class Plan:
    """What a server does with one connection: perhaps answer a first request, read so much of the next, end it so."""

    def __init__(self, reads: int = 0, ending: str = "silence", *, answers_first: bool = False) -> None:
        self.reads = reads
        self.ending = ending
        self.answers_first = answers_first


@contextlib.asynccontextmanager
async def served(plans: list[Plan], context: ssl.SSLContext | None) -> AsyncIterator[tuple[Server, str]]:
    """A server and its URL."""
    server = Server(plans)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server, f"{'https' if context else 'http'}://localhost:{listening.sockets[0].getsockname()[1]}"
        await eventually(lambda: server.begun == server.ended)
    finally:
        listening.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("ending", ["close", "reset", "silence", "half an answer"])
async def test_what_was_read_is_never_called_unsent(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory, ending: str, kept: bool, tls: bool
) -> None:
    """Nothing, one byte, half, all but one byte or all of a request read, then the end: "not sent" only if not a byte ever arrived."""
    context = None
    ca_file = str(tmp_path_factory.mktemp("tls") / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    size = len(b"POST /failover HTTP/1.1\r\nhost: localhost:12345\r\ncontent-length: 12\r\n\r\n" + BODY)
    for reads in (0, 1, size // 2, size - 1, size):
        async with served([Plan(reads, ending, answers_first=kept)], context) as (server, url):
            client = HttpClient(Limits(connect_timeout_s=2), ca_file=ca_file)
            target = client.target("POST", f"{url}/failover")
            if kept:
                assert isinstance(await client.exchange(target, b"", BODY, 5), Reply)
            answer = await client.exchange(target, b"", BODY, LOOK_AWAY_S)
            await client.aclose()
        assert isinstance(answer, Failure)
        assert answer.sent or server.seen == 0
        assert answer.sent or not reads


# ----------------------------------------------------------------------------------------------------------- the lease


def request() -> Request:
    """One Sms step."""
    return Request(Api.STANDARD, "f.1", BODY, "+306912345678", (Channel.SMS,), ("Sms",), labelled=True, ttl_total_ms=1)


async def test_expired_leases_reach_nobody_through_the_whole_adapter() -> None:
    """200 sends whose lease is over when their connection is there: the server sees connections, and not a byte on them."""
    async with RawServer(read_all) as server, RouteeDouble().server as auth:
        routee = Routee(RouteeOptions(auth.url, server.url, "me", "secret", max_connections=50))
        outcomes = await asyncio.gather(*(routee.send(request(), lambda: False) for _ in range(200)))
        assert set(outcomes) == {NotSent("lease_over")}
        (pool,) = routee._sends._pools.values()
        await eventually(lambda: len(server.peers) == len(pool._made) > 0)
        await routee.aclose()
    assert b"".join(peer.received for peer in server.peers) == b""


async def read_all(peer: Peer) -> None:
    """Read to the end."""
    while await peer.read():
        pass


async def test_as_many_requests_as_leases_that_held() -> None:
    """100 sends over two connections; leases end while they wait: the server reads exactly those that were told to start."""
    asked = itertools.count(1)

    def may_start() -> bool:
        started.append(next(asked) % 3 == 0)
        return started[-1]

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.answer(b'{"trackingId": "t"}')

    started: list[bool] = []
    async with RawServer(script) as server, RouteeDouble().server as auth:
        routee = Routee(RouteeOptions(auth.url, server.url, "me", "secret", max_connections=2))
        outcomes = await asyncio.gather(*(routee.send(request(), may_start) for _ in range(100)))
        await routee.aclose()
    assert len(server.requests) == sum(started) == sum(isinstance(one, Accepted) for one in outcomes) == 33
    assert sum(one == NotSent("lease_over") for one in outcomes) == 67


# ------------------------------------------------------------------------------------------- bytes that the kernel holds


async def test_a_server_that_takes_nothing_ends_the_connection() -> None:
    """TCP_USER_TIMEOUT: bytes that nobody takes for so long are given up by the kernel, whoever still lives; sent, outcome unknown."""

    async def script(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with RawServer(script) as server, asyncio.timeout(30):
        client = HttpClient(Limits(user_timeout_ms=300))
        answer = await client.exchange(client.target("POST", server.url), b"", b"x" * 8_000_000, 3600)
        assert answer == Failure(sent=True, reason="timeout")
        await client.aclose()


def unread(sock: socket.socket) -> int:
    """Bytes that have reached the server's kernel and wait there."""
    size = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, size)
    return size[0]


async def rest_of(sock: socket.socket) -> int:
    """Bytes until the end of the connection, whatever its kind."""
    total = 0
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
            total += len(data)
    return total


@pytest.mark.parametrize("sender", ["connector", "plain"])
async def test_nothing_reaches_the_server_after_kill_9(sender: str) -> None:
    """A process killed in the midst of 32 POSTs to a slow reader: not one byte more arrives. Plain sockets show what it would be."""
    posts = 32

    async def script(peer: Peer) -> None:
        await asyncio.get_running_loop().sock_recv(peer.sock, 10_000)  # a slow reader: this much, then no more

    async with RawServer(script) as server:
        server._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        command = (sys.executable, "-m", "tests.contract.http.dying_sender", sender, str(server.port), str(posts))
        process = await asyncio.create_subprocess_exec(*command)
        await eventually(lambda: len(server.peers) == posts and all(unread(peer.sock) > 10_000 for peer in server.peers), 20)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        arrived = sum(unread(peer.sock) for peer in server.peers)
        rest = sum(await asyncio.gather(*(rest_of(peer.sock) for peer in server.peers)))
    if sender == "connector":
        assert rest <= arrived
    else:
        assert rest > 2 * arrived


async def test_a_process_frozen_before_its_first_byte_sends_nothing_when_it_wakes() -> None:
    """The lease is asked after the wait for a connection, not before it: what it says then is what counts."""
    look = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await look.wait()
        await peer.answer(b'{"trackingId": "t"}')
        await peer.request()

    clock = [0.0]
    async with RawServer(script) as server, RouteeDouble().server as auth:
        routee = Routee(RouteeOptions(auth.url, server.url, "me", "secret", max_connections=1))
        first = asyncio.create_task(routee.send(request(), lambda: True))
        await eventually(lambda: len(server.requests) == 1)
        second = asyncio.create_task(routee.send(request(), lambda: clock[0] <= 3.0))
        await asyncio.sleep(0)
        clock[0] = 3.1
        look.set()
        assert isinstance(await first, Accepted)
        assert await second == NotSent("lease_over")
        await routee.aclose()
    assert len(server.requests) == 1


async def test_read_then_closed_is_not_tried_again() -> None:
    """Read, then closed, with the listener gone: doubt once, and no second connection is tried."""

    async def script(peer: Peer) -> None:
        await peer.request()
        server._accepting.cancel()
        server._sock.close()
        peer.close()

    async with RouteeDouble().server as auth, RawServer(script) as server:
        routee = Routee(RouteeOptions(auth.url, server.url, "me", "secret"))
        assert await routee.send(request(), lambda: True) == Doubt("closed")
        assert len(server.peers) == 1
        await routee.aclose()
