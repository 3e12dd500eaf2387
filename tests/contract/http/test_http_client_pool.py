"""Connections are kept, bounded, shared and given up as the pool promises."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest

from connector.adapters.http_client import HttpClient
from connector.adapters.http_connection import Connection
from connector.adapters.http_pool import Limits, Pool
from connector.adapters.http_socket import Address, resolve
from connector.core.model import Failure, Reply
from tests.servers import Peer, RawServer, answering, answering_once


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """A client with two connections."""
    client = HttpClient(Limits(max_connections=2, connect_timeout_s=1))
    yield client
    await client.aclose()


async def post(client: HttpClient, server: RawServer) -> Reply | Failure:
    """One POST."""
    return await client.exchange(client.target("POST", server.url), b"", b"{}", 5)


def pool_of(client: HttpClient) -> Pool:
    """The client's only pool."""
    (pool,) = client._pools.values()
    return pool


async def test_connections_are_kept_and_bounded(client: HttpClient) -> None:
    """100 requests at once go over two connections, and all are answered."""
    async with RawServer(answering) as server:
        answers = await asyncio.gather(*(post(client, server) for _ in range(100)))
        assert all(isinstance(answer, Reply) and answer.body == b"{}" for answer in answers)
        assert len(server.peers) == 2


async def test_the_last_used_goes_first(client: HttpClient) -> None:
    """One after the other goes over one connection, so that the others grow old and are closed."""
    async with RawServer(answering) as server:
        await asyncio.gather(post(client, server), post(client, server))
        for _ in range(5):
            await post(client, server)
        assert sorted(len(peer.requests) for peer in server.peers) == [1, 6]


async def test_requests_are_never_pipelined(client: HttpClient) -> None:
    """No second request is on a connection before the first is answered."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await asyncio.sleep(0)
            assert not peer.received
            await peer.answer()

    async with RawServer(script) as server:
        await asyncio.gather(*(post(client, server) for _ in range(20)))


async def test_an_end_the_loop_has_not_seen_is_noticed(client: HttpClient) -> None:
    """The server's FIN lies in the kernel, the loop had no turn yet: another connection is opened, nothing is lost."""
    async with RawServer(answering_once) as server:
        await post(client, server)
        server.peers[0].close()
        assert isinstance(await post(client, server), Reply)
        assert [len(peer.requests) for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("turns", [0, 20])
async def test_unasked_bytes_end_an_idle_connection(client: HttpClient, turns: int) -> None:
    """An idle connection that speaks (a late 408, say) is never used again, seen by the loop or not."""
    async with RawServer(answering) as server:
        await post(client, server)
        server.peers[0].sock.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        answer = await post(client, server)
        assert isinstance(answer, Reply)
        assert answer.status == 200
        assert len(server.peers) == 2


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\0\1\2"])
async def test_bytes_behind_an_answer_end_the_connection(client: HttpClient, garbage: bytes) -> None:
    """Pipelined garbage: the whole answer counts, what follows is nobody's."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + garbage)

    async with RawServer(script) as server:
        for _ in range(2):
            answer = await post(client, server)
            assert isinstance(answer, Reply)
            assert answer.body == b"{}"
        assert [len(peer.requests) for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.0 200 OK\r\n"])
async def test_a_connection_the_server_will_close_is_not_kept(client: HttpClient, head: str) -> None:
    """Connection: close and HTTP/1.0 mean what they say; we close with a FIN."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(head.encode() + b"Content-Length: 2\r\n\r\n{}")
        await ends.put(await peer.ended())

    ends: asyncio.Queue[str] = asyncio.Queue(maxsize=2)
    async with RawServer(script) as server:
        assert isinstance(await post(client, server), Reply)
        assert isinstance(await post(client, server), Reply)
        assert len(server.peers) == 2
        assert [await ends.get(), await ends.get()] == ["fin", "fin"]


@pytest.mark.parametrize(
    ("headers", "reused"), [("", True), ("Keep-Alive: timeout=1\r\n", False), ("Keep-Alive: timeout=30, max=5\r\n", True)]
)
async def test_the_servers_keep_alive_is_heard(client: HttpClient, headers: str, reused: bool) -> None:
    """A connection is given up a second before the server said it would close it."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.answer(headers=headers)

    async with RawServer(script) as server:
        await post(client, server)
        await post(client, server)
        assert len(server.peers) == (1 if reused else 2)


async def test_idle_connections_are_closed_by_us() -> None:
    """A connection that was not used for the keep-alive time is closed in order, without anybody asking for it."""
    client = HttpClient(Limits(keep_alive_s=0.05))
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        ended.set_result(await peer.ended())

    async with RawServer(script) as server:
        await post(client, server)
        assert await ended == "fin"
        await client.aclose()
        assert pool_of(client)._slots_taken == 0


async def test_an_answer_before_the_request_is_read_ends_the_connection(client: HttpClient) -> None:
    """A 413 that comes while we still write is the answer; the rest of the request cannot be followed by another one."""

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.answer(status="413 Content Too Large")
        await peer.ended()

    async with RawServer(script) as server:
        answer = await client.exchange(client.target("POST", server.url), b"", b"x" * 8_000_000, 5)
        assert isinstance(answer, Reply)
        assert answer.status == 413
        await post(client, server)
        assert len(server.peers) == 2


async def test_a_waiter_that_gives_up_takes_nothing_along(client: HttpClient) -> None:
    """Cancelled waiters, even those cancelled in the instant they are served, leave slots and connections to the others."""
    async with RawServer(answering) as server:
        for turns in range(12):
            tasks = [asyncio.create_task(post(client, server)) for _ in range(8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, Reply) for result in results[1::2])
        await asyncio.gather(*(post(client, server) for _ in range(4)))
        pool = pool_of(client)
        assert pool._slots_taken == len(pool._made) <= 2
        assert not pool._waiters


async def test_only_the_own_request_is_abandoned(client: HttpClient) -> None:
    """A caller cancelled in the instant of its answer leaves the next one's request on that connection alone."""
    async with RawServer(answering) as server:
        pool = client.target("POST", server.url).pool
        connection = await pool.acquire()
        assert isinstance(connection, Connection)
        first = connection.begin(b"GET / HTTP/1.1\r\n\r\n", 5, lambda: True)
        assert first is not None
        assert isinstance(await first, Reply)
        assert await pool.acquire() is connection
        second = connection.begin(b"GET / HTTP/1.1\r\n\r\n", 5, lambda: True)
        assert second is not None
        connection.abandon(first)
        assert isinstance(await second, Reply)


async def test_a_failed_dial_frees_its_slot(client: HttpClient) -> None:
    """As many failures as one likes: the slots come back, and the server is used once it is there."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        for _ in range(5):
            answers = await asyncio.gather(*(client.exchange(client.target("POST", url), b"", b"", 1) for _ in range(6)))
            assert set(answers) == {Failure(sent=False, reason="refused")}
        reserved.listen()
        task = asyncio.create_task(client.exchange(client.target("POST", url), b"", b"", 0.05))
        assert await task == Failure(sent=True, reason="timeout")


async def test_one_look_up_serves_all_who_connect() -> None:
    """Connections opened at the same time share one question to the resolver."""
    asked: list[str] = []

    async def counting(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return await resolve("127.0.0.1", port)

    client = HttpClient(Limits(), resolve=counting)
    async with RawServer(answering) as server:
        url = f"http://routee.test:{server.port}"
        answers = await asyncio.gather(*(client.exchange(client.target("POST", url), b"", b"", 5) for _ in range(50)))
        assert all(isinstance(answer, Reply) for answer in answers)
        await client.aclose()
    assert asked == ["routee.test"]


async def test_the_first_address_that_answers_wins() -> None:
    """Dual stack: a dead first address costs nothing when the second one answers."""
    async with RawServer(answering) as server:

        async def both(host: str, port: int) -> Sequence[Address]:
            return [(socket.AF_INET6, ("::1", 1, 0, 0)), (socket.AF_INET, ("127.0.0.1", server.port))]

        client = HttpClient(Limits(), resolve=both)
        assert isinstance(await client.exchange(client.target("POST", "http://routee.test"), b"", b"", 5), Reply)
        await client.aclose()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6_is_spoken(client: HttpClient) -> None:
    """A bracketed address is dialled, and named in the host header as the URL has it."""
    try:
        server = RawServer(answering, "::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    async with server:
        assert isinstance(await post(client, server), Reply)
        assert f"host: [::1]:{server.port}\r\n".encode() in server.requests[0]


async def test_close_ends_all(client: HttpClient) -> None:
    """``aclose`` ends what is under way as sent, refuses who waits as not sent, and leaves no socket."""
    begun = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        await peer.request()
        begun.release()
        await peer.read()

    async with RawServer(script) as server:
        tasks = [asyncio.create_task(post(client, server)) for _ in range(3)]
        await begun.acquire()
        await begun.acquire()
        await client.aclose()
        assert await asyncio.gather(*tasks) == [
            Failure(sent=True, reason="closed"),
            Failure(sent=True, reason="closed"),
            Failure(sent=False, reason="pool_timeout"),
        ]
        assert pool_of(client)._slots_taken == 0
