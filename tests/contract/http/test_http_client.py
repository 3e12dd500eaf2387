"""Was it sent? Every way a request can fail, against a raw socket server (docs/how-it-works.md)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from connector.adapters.http_client import HttpClient
from connector.adapters.http_pool import Limits
from connector.adapters.http_socket import Address
from connector.core.model import Failure, Reply
from tests.servers import Peer, RawServer, answering, answering_once, silent

BODY = b'{"flow": []}'


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """A client with short times."""
    client = HttpClient(Limits(max_connections=2, connect_timeout_s=0.3))
    yield client
    await client.aclose()


async def post(client: HttpClient, url: str, deadline_s: float = 5, may_start: Callable[[], bool] = lambda: True) -> Reply | Failure:
    """One POST."""
    return await client.exchange(client.target("POST", f"{url}/failover"), b"x-test: 1\r\n", BODY, deadline_s, may_start)


def failed(*, sent: bool, reason: str) -> Failure:
    """Short for a failure."""
    return Failure(sent=sent, reason=reason)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# ------------------------------------------------------------------------------------------------------------- not sent


async def test_refused_is_not_sent(client: HttpClient) -> None:
    """Nobody listens: no byte left us."""
    assert await post(client, f"http://127.0.0.1:{free_port()}") == failed(sent=False, reason="refused")


async def test_unknown_name_is_not_sent() -> None:
    """A name that does not resolve: no byte left us."""

    async def nowhere(host: str, port: int) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    client = HttpClient(Limits(), resolve=nowhere)
    assert await post(client, "http://routee.invalid") == failed(sent=False, reason="dns")


async def test_silent_resolver_is_not_sent() -> None:
    """A resolver that never answers costs the connect time, and no byte left us."""

    async def never(host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    client = HttpClient(Limits(connect_timeout_s=0.05), resolve=never)
    assert await post(client, "http://routee.invalid") == failed(sent=False, reason="dns")


async def test_unanswered_connect_is_not_sent() -> None:
    """A host that answers no SYN (here: a full accept queue): no byte left us."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        where = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(where)
        client = HttpClient(Limits(connect_timeout_s=0.2))
        answer = await post(client, f"http://127.0.0.1:{where[1]}")
        for filler in fillers:
            filler.close()
    assert answer == failed(sent=False, reason="connect_timeout")


async def test_no_free_connection_is_not_sent(client: HttpClient) -> None:
    """All connections wait for answers: the next request gives up after the connect time, and the server never sees it."""
    async with RawServer(silent) as server:
        running = [asyncio.create_task(post(client, server.url)) for _ in range(2)]
        await asyncio.sleep(0)
        answer = await post(client, server.url)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert answer == failed(sent=False, reason="pool_timeout")
        assert len(server.peers) == 2


async def test_expired_leases_send_nothing(client: HttpClient) -> None:
    """200 expired leases: 0 requests seen by the server, and the connections stay good."""
    async with RawServer(answering) as server:
        asked: list[int] = []

        def too_late() -> bool:
            asked.append(1)
            return False

        answers = await asyncio.gather(*(post(client, server.url, may_start=too_late) for _ in range(200)))
        assert set(answers) == {failed(sent=False, reason="lease_over")}
        assert len(asked) == 200
        assert not any(peer.requests or peer.received for peer in server.peers)
        assert isinstance(await post(client, server.url), Reply)
        assert len(server.requests) == 1
        assert len(server.peers) <= 2


async def test_a_lease_that_ends_in_the_queue_for_a_connection_sends_nothing(client: HttpClient) -> None:
    """It is asked when the connection is there, not when it was asked for."""
    answer_now = asyncio.Event()

    async def script(peer: Peer) -> None:
        while await peer.request():
            await answer_now.wait()
            await peer.answer()

    async with RawServer(script) as server:
        running = [asyncio.create_task(post(client, server.url)) for _ in range(2)]
        await asyncio.sleep(0)
        lease = [True]
        waiting = asyncio.create_task(post(client, server.url, may_start=lambda: lease[0]))
        await asyncio.sleep(0)
        lease[0] = False
        answer_now.set()
        assert await waiting == failed(sent=False, reason="lease_over")
        await asyncio.gather(*running)
        assert len(server.requests) == 2


async def test_lease_is_asked_last(client: HttpClient) -> None:
    """Nothing is written before the lease is asked; when it says yes, the request is written before the loop turns."""
    look = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await look.wait()
        await peer.request()
        await peer.answer()

    def unread() -> bytes:
        try:
            return server.peers[0].sock.recv(4, socket.MSG_PEEK)
        except BlockingIOError:
            return b""

    def next_turn() -> None:
        seen.append(unread())
        look.set()

    def may_start() -> bool:
        seen.append(unread())
        asyncio.get_running_loop().call_soon(next_turn)
        return True

    seen: list[bytes] = []
    async with RawServer(script) as server:
        await post(client, server.url)
        assert isinstance(await post(client, server.url, may_start=may_start), Reply)
        assert seen == [b"", b"POST"]


async def test_broken_lease_keeps_the_connection(client: HttpClient) -> None:
    """A lease check that raises sends nothing and leaks no connection."""

    def broken() -> bool:
        raise RuntimeError("lease")

    async with RawServer(answering) as server:
        for _ in range(3):
            with pytest.raises(RuntimeError, match="lease"):
                await post(client, server.url, may_start=broken)
        assert isinstance(await post(client, server.url), Reply)
        assert len(server.requests) == 1


async def test_reset_before_the_request_is_not_sent(client: HttpClient) -> None:
    """A connection that is reset before the write is seen as closed, not written to."""
    async with RawServer(answering_once) as server:
        assert isinstance(await post(client, server.url), Reply)
        server.peers[0].reset()
        server._accepting.cancel()
        server._sock.close()
        assert await post(client, server.url) == failed(sent=False, reason="refused")
        assert len(server.requests) == 1


async def test_closed_client_sends_nothing(client: HttpClient) -> None:
    """After ``aclose`` nothing goes out."""
    async with RawServer(answering) as server:
        assert isinstance(await post(client, server.url), Reply)
        await client.aclose()
        assert await post(client, server.url) == failed(sent=False, reason="closed")
        assert len(server.requests) == 1


# ----------------------------------------------------------------------------------------------------------------- sent


async def test_read_then_closed_is_sent(client: HttpClient) -> None:
    """The server read the whole request and closed: it may have acted on it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.close()

    async with RawServer(script) as server:
        assert await post(client, server.url) == failed(sent=True, reason="closed")
        assert len(server.requests) == 1


async def test_reset_after_the_request_is_sent(client: HttpClient) -> None:
    """The server read the whole request and reset the connection: it may have acted on it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with RawServer(script) as server:
        assert await post(client, server.url) == failed(sent=True, reason="reset")


async def test_reset_in_the_request_is_sent(client: HttpClient) -> None:
    """The server read a part of a long request and reset the connection: sent."""

    async def script(peer: Peer) -> None:
        await peer.read()
        peer.reset()

    async with RawServer(script) as server:
        target = client.target("POST", server.url)
        assert await client.exchange(target, b"", b"x" * 8_000_000, 5) == failed(sent=True, reason="reset")


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_closed_as_we_write_is_sent(client: HttpClient, ending: str) -> None:
    """The server ends an idle connection after our last look and before it reads: sent, since the write was called."""
    async with RawServer(answering_once) as server:
        assert isinstance(await post(client, server.url), Reply)
        peer = server.peers[0]

        def may_start() -> bool:
            getattr(peer, ending)()
            return True

        answer = await post(client, server.url, may_start=may_start)
        assert isinstance(answer, Failure)
        assert answer.sent
        assert answer.reason in {"reset", "closed"}
        assert len(server.peers) == 1  # nobody tried again


async def test_never_answering_is_sent_and_reset(client: HttpClient) -> None:
    """The deadline ends the wait with a reset, so that no late byte of ours arrives."""

    async def script(peer: Peer) -> None:
        await peer.request()
        ended.set_result(await peer.ended())

    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with RawServer(script) as server:
        assert await post(client, server.url, deadline_s=0.1) == failed(sent=True, reason="timeout")
        assert await ended == "reset"


@pytest.mark.parametrize(
    "half",
    [b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", b"HTTP/1.1 100 Continue\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"],
)  # fmt: skip
async def test_half_an_answer_is_cut(client: HttpClient, half: bytes) -> None:
    """An answer that ends too early is no answer, and the request counts as sent."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(half)
        peer.close()

    async with RawServer(script) as server:
        assert await post(client, server.url) == failed(sent=True, reason="cut")


async def test_slow_body_meets_the_deadline(client: HttpClient) -> None:
    """Bytes that trickle in do not move the deadline: it runs to the last byte of the answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await peer.write(b"x")
            await asyncio.sleep(0.01)

    async with RawServer(script) as server:
        assert await post(client, server.url, deadline_s=0.15) == failed(sent=True, reason="timeout")


async def test_nonsense_is_a_protocol_failure(client: HttpClient) -> None:
    """Bytes that are no HTTP: sent, and the connection is given up."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"SSH-2.0-OpenSSH\r\n")
        await peer.read()

    async with RawServer(script) as server:
        assert await post(client, server.url) == failed(sent=True, reason="protocol")


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 4_300_000, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
     b"HTTP/1.1 100 Continue\r\na: b\r\n\r\n" * 20_000],
)  # fmt: skip
async def test_too_large_an_answer_is_given_up(client: HttpClient, head: bytes) -> None:
    """4 MB of body or 64 kB of headers are the most that is kept in memory for one answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(head)
        await peer.read()

    async with RawServer(script) as server:
        assert await post(client, server.url) == failed(sent=True, reason="too_large")


async def test_cancelled_call_resets_the_connection(client: HttpClient) -> None:
    """Cancelled after the write: the caller sees CancelledError, the server a reset, and the slot is free again."""
    read, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.request()
        read.set()
        ended.set_result(await peer.ended())

    async with RawServer(script) as server:
        task = asyncio.create_task(post(client, server.url))
        await read.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ended == "reset"
        assert not client._pools[("http", "127.0.0.1", server.port)]._made


async def test_redirect_is_not_followed(client: HttpClient) -> None:
    """A redirect is an answer like any other."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(status="307 Temporary Redirect", headers="Location: /elsewhere\r\n")
        await peer.request()

    async with RawServer(script) as server:
        answer = await post(client, server.url)
        assert isinstance(answer, Reply)
        assert answer.status == 307
        assert len(server.requests) == 1


# --------------------------------------------------------------------------------------------------------- what goes out


async def test_the_request_is_written_whole_and_once(client: HttpClient) -> None:
    """Request line, host, our headers, the length and the body, in one write; no Expect, nothing else."""

    async def script(peer: Peer) -> None:
        received.append(await peer.read())
        await peer.answer()

    received: list[bytes] = []
    async with RawServer(script) as server:
        await post(client, server.url)
        lines = f"POST /failover HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nx-test: 1\r\ncontent-length: {len(BODY)}\r\n\r\n"
        assert received == [lines.encode() + BODY]


async def test_sockets_carry_the_options(client: HttpClient) -> None:
    """SO_LINGER (1, 0), TCP_USER_TIMEOUT, TCP_NODELAY and SO_KEEPALIVE on each socket."""
    async with RawServer(answering) as server:
        await post(client, server.url)
        (connection,) = client._pools[("http", "127.0.0.1", server.port)]._made
        sock = connection._sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == b"\1\0\0\0\0\0\0\0"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


@pytest.mark.parametrize("url", ["ftp://a", "http://", "/failover", "http://user:secret@a", "http://a:b"])
async def test_a_url_that_cannot_be_asked_is_refused(client: HttpClient, url: str) -> None:
    """A bad URL is an error at once, and its text gives no part of the URL away."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the text is compared below
        client.target("POST", url)
    assert "secret" not in str(caught.value)
