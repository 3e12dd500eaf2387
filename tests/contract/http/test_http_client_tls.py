"""TLS, proxies, and the same connections under httpx."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import trustme

from connector.adapters.http_client import HttpClient, Transport
from connector.adapters.http_pool import Limits
from connector.adapters.http_socket import Proxy
from connector.core.model import Failure, Reply
from tests.servers import Peer, RawServer, answering, silent, tls_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Its root as a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's side with a certificate for the names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def noting(heads: list[bytes]) -> Callable[[bytes], bytes]:
    """A handler that keeps every request's head."""

    def handle(head: bytes) -> bytes:
        heads.append(head)
        return OK

    return handle


@contextlib.asynccontextmanager
async def client_of(**options: str | None) -> AsyncIterator[HttpClient]:
    """A client that is closed at the end."""
    client = HttpClient(Limits(connect_timeout_s=1), **options)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.aclose()


async def post(client: HttpClient, url: str) -> Reply | Failure:
    """One POST."""
    return await client.exchange(client.target("POST", url), b"", b"{}", 5)


# ------------------------------------------------------------------------------------------------------------------ TLS


async def test_tls_with_our_authority(authority: trustme.CA, ca_file: str) -> None:
    """A server with a certificate of ``ca_file`` is talked to, over one kept connection, with SNI."""
    names: list[str | None] = []
    context = server_context(authority, "localhost")
    context.set_servername_callback(lambda _sock, name, _context: names.append(name))
    async with tls_server(lambda _head: OK, context) as port, client_of(ca_file=ca_file) as client:
        for _ in range(3):
            assert isinstance(await post(client, f"https://localhost:{port}"), Reply)
    assert names == ["localhost"]


async def test_an_untrusted_server_gets_nothing(authority: trustme.CA) -> None:
    """A certificate the system does not know: not sent."""
    heads: list[bytes] = []
    async with tls_server(noting(heads), server_context(authority, "localhost")) as port, client_of() as client:
        assert await post(client, f"https://localhost:{port}") == Failure(sent=False, reason="tls")
    assert heads == []


async def test_a_wrong_name_gets_nothing(authority: trustme.CA, ca_file: str) -> None:
    """A trusted certificate for another name: not sent."""
    heads: list[bytes] = []
    context = server_context(authority, "example.org")
    async with tls_server(noting(heads), context) as port, client_of(ca_file=ca_file) as client:
        assert await post(client, f"https://localhost:{port}") == Failure(sent=False, reason="tls")
    assert heads == []


@pytest.mark.parametrize("ending", ["close", "reset", "plain", "silence"])
async def test_a_broken_handshake_is_not_sent(ending: str) -> None:
    """The peer ends, speaks plain HTTP or says nothing in the handshake: no byte of the request left us."""

    async def script(peer: Peer) -> None:
        hello = await peer.read()
        assert b"POST" not in hello
        if ending == "close":
            peer.close()
        elif ending == "reset":
            peer.reset()
        elif ending == "plain":
            await peer.answer(status="400 Bad Request")
        else:
            await peer.read()

    async with RawServer(script) as server, client_of() as client:
        answer = await post(client, f"https://127.0.0.1:{server.port}")
        assert answer == Failure(sent=False, reason="tls")
        assert all(pool._slots_taken == 0 for pool in client._pools.values())


async def test_read_then_closed_under_tls_is_sent(authority: trustme.CA, ca_file: str) -> None:
    """TLS changes nothing: the server read the request and closed, so it may have acted."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(authority, "localhost"))
    with contextlib.closing(server):
        async with client_of(ca_file=ca_file) as client:
            answer = await post(client, f"https://localhost:{server.sockets[0].getsockname()[1]}")
    assert answer == Failure(sent=True, reason="closed")


async def test_an_idle_tls_connection_closed_by_the_server_is_replaced(authority: trustme.CA, ca_file: str) -> None:
    """A close_notify on an idle connection: the next request goes over a new one."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(OK)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(authority, "localhost"))
    with contextlib.closing(server):
        async with client_of(ca_file=ca_file) as client:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
            assert isinstance(await post(client, url), Reply)
            writers[0].close()
            assert isinstance(await post(client, url), Reply)
        for writer in writers:
            writer.close()
    assert len(writers) == 2


# ---------------------------------------------------------------------------------------------------------------- proxy


async def tunnel(peer: Peer) -> None:
    """A proxy that connects wherever it is asked to."""
    request = await peer.request()
    assert request is not None
    host, _, port = request.split(b" ")[1].rpartition(b":")
    reader, writer = await asyncio.open_connection(host.decode(), int(port))
    await peer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def back() -> None:
        while data := await reader.read(65536):
            await peer.write(data)

    copying = asyncio.create_task(back())
    try:
        while data := await peer.read():
            writer.write(data)
    finally:
        copying.cancel()
        writer.close()
        await asyncio.gather(copying, return_exceptions=True)


async def test_a_proxy_is_asked_for_a_tunnel() -> None:
    """CONNECT with the target's authority and the proxy's password; the request itself goes through unchanged."""
    async with RawServer(answering) as server, RawServer(tunnel) as proxy:
        async with client_of(proxy=f"http://me:s%40crt@127.0.0.1:{proxy.port}") as client:
            assert isinstance(await post(client, server.url), Reply)
            assert isinstance(await post(client, server.url), Reply)
        credentials = base64.b64encode(b"me:s@crt")
        authority = f"127.0.0.1:{server.port}".encode()
        connect = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\nproxy-authorization: Basic %b\r\n\r\n" % (authority, authority, credentials)
        assert proxy.requests == [connect]
        assert all(b"authorization" not in request for request in server.requests)


async def test_tls_goes_through_the_tunnel(authority: trustme.CA, ca_file: str) -> None:
    """The proxy sees the name and ciphertext, nothing else."""
    context = server_context(authority, "localhost")
    async with tls_server(lambda _head: OK, context) as port, RawServer(tunnel) as proxy:
        async with client_of(ca_file=ca_file, proxy=proxy_url(proxy)) as client:
            assert isinstance(await post(client, f"https://localhost:{port}"), Reply)
        assert b"POST" not in proxy.peers[0].received


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nstray",
        b"",
        b"x" * 40_000,
    ],
)
async def test_a_proxy_that_does_not_agree_gets_nothing(answer: bytes) -> None:
    """No tunnel: not sent."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(answer)
        peer.close()

    async with RawServer(script) as proxy, client_of(proxy=proxy_url(proxy)) as client:
        assert await post(client, "http://127.0.0.1:9") == Failure(sent=False, reason="proxy")
        assert len(proxy.requests) == 1


async def test_a_proxy_that_is_away_or_silent_gets_nothing() -> None:
    """Refused by the proxy, or no answer from it in time: not sent."""
    async with RawServer(silent) as proxy:
        client = HttpClient(Limits(connect_timeout_s=0.1), proxy=proxy_url(proxy))
        assert await post(client, "http://127.0.0.1:9") == Failure(sent=False, reason="proxy")
    assert await post(client, "http://127.0.0.1:9") == Failure(sent=False, reason="proxy")
    await client.aclose()


@pytest.mark.parametrize("url", ["https://proxy", "socks5://proxy:1", "http://", "http://me:secret@:x"])
def test_a_proxy_that_cannot_be_used_is_refused(url: str) -> None:
    """Only http:// proxies; the error's text keeps the password."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the text is compared below
        Proxy.parse(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Proxy.parse("http://me:secret@proxy"))


def proxy_url(proxy: RawServer) -> str:
    """Its address."""
    return f"http://127.0.0.1:{proxy.port}"


# ---------------------------------------------------------------------------------------------------------------- httpx


async def test_httpx_runs_on_our_connections() -> None:
    """An ``httpx.AsyncClient`` builds and reads; our transport carries: one write, same pool, no redirect."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.answer(b'{"a": 1}', headers="X-A: 1\r\n")

    async with RawServer(script) as server, client_of() as client:
        async with httpx.AsyncClient(transport=Transport(client), follow_redirects=False, trust_env=False) as asking:
            answer = await asking.post(server.url, data={"grant_type": "client_credentials"}, auth=("me", "secret"))
            assert answer.json() == {"a": 1}
            assert answer.headers["x-a"] == "1"
            await asking.get(server.url, params={"phone_number": "+30691"})
        assert len(server.peers) == 1
        first, second = server.requests
        assert first.endswith(b"\r\n\r\ngrant_type=client_credentials")
        assert first.lower().count(b"content-length:") == 1
        assert second.startswith(b"GET /?phone_number=%2B30691 HTTP/1.1\r\n")
        assert b"content-length" not in second.lower()


@pytest.mark.parametrize(
    ("ending", "error"),
    [("close", httpx.ReadError), ("reset", httpx.ReadError), ("hang", httpx.ReadTimeout), ("cut", httpx.RemoteProtocolError)],
)
async def test_httpx_sees_its_own_exceptions(ending: str, error: type[httpx.TransportError]) -> None:
    """Each failure has httpx's exception, whose text holds nothing but the reason."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if ending == "cut":
            await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        if ending == "hang":
            await peer.read()
        elif ending == "reset":
            peer.reset()
        else:
            peer.close()

    async with RawServer(script) as server, client_of() as client, httpx.AsyncClient(transport=Transport(client), timeout=0.2) as asking:
        with pytest.raises(error) as caught:
            await asking.get(f"{server.url}/?phone_number=30691")
        assert "30691" not in str(caught.value)


async def test_httpx_sees_what_was_not_sent() -> None:
    """Refused is ConnectError, a URL of another scheme UnsupportedProtocol."""
    async with client_of() as client, httpx.AsyncClient(transport=Transport(client)) as asking:
        with pytest.raises(httpx.ConnectError):
            await asking.get("http://127.0.0.1:1")
        with pytest.raises(httpx.UnsupportedProtocol):
            await asking.get("ftp://127.0.0.1")
