"""HTTP out: one request in one write, exactly once, with an exact answer to "was it sent?" (docs/how-it-works.md).

No retry, no redirect, no pipelining, no cookies, no proxy from the environment. ``sent`` of a ``Failure``:

========================================================================  =====  ===============================================
what happened                                                             sent   reasons
========================================================================  =====  ===============================================
no connection: name, address, TLS, proxy, or none free in time            False  dns refused unreachable connect_timeout tls
                                                                                 proxy pool_timeout
the connection turned out closed before the write; the client is closed   False  closed
``may_start`` said no                                                     False  lease_over
anything after the write was called                                       True   timeout reset closed cut protocol too_large
========================================================================  =====  ===============================================
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from connector.adapters.http_pool import Limits, Pool
from connector.adapters.http_socket import Proxy, Resolve, Route, resolve
from connector.core.model import Failure, Reply

_PORTS = {"http": 80, "https": 443}
_OURS = frozenset({b"content-length", b"transfer-encoding", b"expect", b"connection", b"keep-alive"})
_LEASE_OVER = Failure(sent=False, reason="lease_over")
_NO_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests of one kind go: method and URL, serialised once."""

    pool: Pool = field(repr=False)
    start: bytes = field(repr=False)  # request line and host header
    has_body: bool = True


class HttpClient:
    """Connections to any number of origins, each pool bounded by ``limits``.

    ``ca_file`` replaces the system's trusted roots. Raises ValueError for a proxy that cannot be used, OSError for a ``ca_file`` that
    cannot be read.
    """

    def __init__(self, limits: Limits, *, ca_file: str | None = None, proxy: str | None = None, resolve: Resolve = resolve) -> None:
        self._limits = limits
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._proxy = Proxy.parse(proxy) if proxy else None
        self._resolve = resolve
        self._pools: dict[tuple[str, str, int], Pool] = {}

    def target(self, method: str, url: httpx.URL | str) -> Target:
        """Serialise the start of a request; raises ValueError (whose text holds no part of the URL) if it cannot be asked."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ValueError("not a URL") from None
        port = parsed.port or _PORTS.get(parsed.scheme)
        if not port or not parsed.host or parsed.userinfo:
            raise ValueError("not an http:// or https:// URL with a host and without a password")
        pool = self._pool(parsed.scheme, parsed.raw_host.decode("ascii"), port)
        start = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method.encode("ascii"), parsed.raw_path, parsed.netloc)
        return Target(pool, start, has_body=method != "GET")

    async def exchange(
        self, target: Target, headers: bytes, body: bytes, deadline_s: float, may_start: Callable[[], bool] = lambda: True
    ) -> Reply | Failure:
        """One request, one answer.

        ``headers`` are whole lines, each with its CRLF, without host and content-length. ``deadline_s`` runs from the write to the
        last byte of the answer; a connection has its own time. ``may_start`` is asked at most once, as the last act before the
        write. A cancelled call resets the connection if the request was written.
        """
        length = b"content-length: %d\r\n\r\n" % len(body) if target.has_body else b"\r\n"
        request = b"".join((target.start, headers, length, body))
        connection = await target.pool.acquire()
        if isinstance(connection, Failure):
            return connection
        answer = connection.begin(request, deadline_s, may_start)
        if answer is None:
            return _LEASE_OVER
        try:
            return await answer
        except asyncio.CancelledError:
            connection.abandon(answer)
            raise

    async def request(self, request: httpx.Request, deadline_s: float) -> Reply | Failure:
        """``exchange`` for requests off the hot path, which httpx may build (queries, forms, basic auth)."""
        body = await request.aread()
        lines = [b"%b: %b\r\n" % (name, value) for name, value in request.headers.raw if name.lower() not in _OURS | {b"host"}]
        return await self.exchange(self.target(request.method, request.url), b"".join(lines), body, deadline_s)

    async def aclose(self) -> None:
        """Close every connection; exchanges still under way end with ``closed``."""
        await asyncio.gather(*(pool.aclose() for pool in self._pools.values()))

    def _pool(self, scheme: str, host: str, port: int) -> Pool:
        origin = (scheme, host, port)
        if origin not in self._pools:
            tls = self._tls if scheme == "https" else None
            route = Route(host, port, tls, self._proxy, self._limits.user_timeout_ms)
            self._pools[origin] = Pool(route, self._limits, self._resolve)
        return self._pools[origin]


class Transport(httpx.AsyncBaseTransport):
    """The same connections under an ``httpx.AsyncClient``, for callers that want one. Failures become httpx's exceptions.

    Trap: httpx's own client logs every URL at INFO, and a tracking URL holds a phone number.
    """

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.TransportError's children; no text in them but the failure's reason."""
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        try:
            answer = await self._client.request(request, timeouts.get("read") or _NO_TIMEOUT_S)
        except ValueError as error:
            raise httpx.UnsupportedProtocol(str(error), request=request) from None
        if isinstance(answer, Failure):
            raise _exception(answer)(answer.reason, request=request)
        framing = ("content-length", "transfer-encoding")
        headers = {name: value for name, value in answer.headers.items() if name not in framing}
        return httpx.Response(answer.status, headers=headers, content=answer.body, request=request)

    async def aclose(self) -> None:
        """The client is closed by whoever made it."""


def _exception(failure: Failure) -> type[httpx.TransportError]:
    if not failure.sent:
        not_sent = {"pool_timeout": httpx.PoolTimeout, "connect_timeout": httpx.ConnectTimeout, "proxy": httpx.ProxyError}
        return not_sent.get(failure.reason, httpx.ConnectError)
    sent = {"timeout": httpx.ReadTimeout, "reset": httpx.ReadError, "closed": httpx.ReadError}
    return sent.get(failure.reason, httpx.RemoteProtocolError)
