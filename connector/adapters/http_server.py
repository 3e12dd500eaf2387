"""The two HTTP ports: the public one, which knows callbacks and nothing else, and the private one for probes, metrics and the console."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.adapters import open_files
from connector.adapters.http_guard import Limits, guarded
from connector.core.capability import PATH
from connector.errors import ConfigError, Problem
from connector.logs import get_logger
from connector.metrics import Metrics

_LOG = get_logger(__name__)
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CALL = re.compile(re.escape(PATH) + r"/(?P<kid>[^/]+)/(?P<token>[^/]+)\Z")
_EMPTY = [(b"content-length", b"0")]
_LAST = [*_EMPTY, (b"connection", b"close")]
_BACKLOG = 1_024


# ------------------------------------------------------------------------------------------------------------------ public


class Receiver(Protocol):
    """Who takes callbacks in."""

    async def receive(self, kid: str, token: str, source: str, read: Callable[[], Awaitable[bytes | None]]) -> int:
        """HTTP status of the answer."""
        ...


def callbacks_app(receiver: Receiver, limits: Limits | None = None) -> ASGIApp:
    """``POST …/callbacks/v1/{kid}/{token}``; everything else is asked about as a forged call, and gets the same empty 404 at the same cost.

    Before ``/callbacks`` may stand the path of ``callbacks.public_url``, or any other: a proxy takes it away or does not.

    Every refusal ends the connection, and so does a body that was not read to its end. The content type is not asked for: the signed
    path is the proof, and a genuine call must not be lost for a header that the contract does not name.
    """
    bounds = limits or Limits()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        called = _CALL.search(scope["path"]) if scope["method"] == "POST" else None
        kid, token = called.group("kid", "token") if called else ("", "")
        body = _Body(receive, bounds)
        status = await receiver.receive(kid, token, scope["client"][0] if scope.get("client") else "", body.read)
        goes_on = status == 200 and not body.unread  # noqa: PLR2004 - HTTP's own word
        # Said in ASGI's words: a framework's request and response would take a tenth of all that a callback takes.
        await send({"type": "http.response.start", "status": status, "headers": _EMPTY if goes_on else _LAST})
        await send({"type": "http.response.body", "body": b""})

    return app


class _Body:
    """A request's body, read when it is asked for. ``unread``: there was more of it than was read."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self.unread = False

    async def read(self) -> bytes | None:
        """All of it; empty when it is too large, None when it did not come: too slow or broken off."""
        body = bytearray()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.body_deadline_s()):
                while (part := await self._receive())["type"] == "http.request":
                    body += part.get("body", b"")
                    if len(body) > self._limits.body_bytes:
                        self.unread = True
                        return b""
                    if not part.get("more_body"):
                        return bytes(body)
        self.unread = True
        return None


# ----------------------------------------------------------------------------------------------------------------- private

_PATHS = {
    "/readyz": "are all its lanes served? with the state of each",
    "/healthz": "does it live? with its version",
    "/startupz": "was Kafka reached?",
    "/metrics": "for Prometheus",
}

Finding = tuple[bool, Mapping[str, object]]
"""Whether all is well, and details for a person: JSON values, nothing personal."""


class Health(Protocol):
    """How the process is."""

    def live(self) -> Finding:
        """False: only a restart can help."""
        ...

    def ready(self) -> Finding:
        """False: not (or no longer) doing its share."""
        ...

    def started(self) -> Finding:
        """False: still coming up."""
        ...


def admin_app(health: Health, metrics: Metrics, routes: Sequence[BaseRoute] = ()) -> ASGIApp:
    """``/metrics``, ``/healthz`` (live), ``/readyz``, ``/startupz``, what else is given (the console), and at ``/`` a list of them."""

    def probe(ask: Callable[[], Finding]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(_request: Request) -> Response:
            well, details = ask()
            body = orjson.dumps({"ok": well, **details}, default=str)
            return Response(body, 200 if well else 503, {"cache-control": "no-store"}, "application/json")

        return endpoint

    async def scrape(_request: Request) -> Response:
        # Rendering thousands of series takes ~20 ms: not on the loop that checks leases.
        return Response(await asyncio.to_thread(metrics.render), media_type=_METRICS_TYPE)

    async def index(_request: Request) -> Response:
        links = "".join(f'<li><a href="{path}">{path}</a> {meaning}</li>\n' for path, meaning in _PATHS.items())
        return Response(f"<!doctype html>\n<title>failover-connector</title>\n<ul>\n{links}</ul>\n", media_type="text/html")

    probes = {"/healthz": health.live, "/readyz": health.ready, "/startupz": health.started}
    own = [Route("/", index), Route("/metrics", scrape), *(Route(path, probe(ask)) for path, ask in probes.items())]
    return Starlette(routes=[*own, *routes])


# ------------------------------------------------------------------------------------------------------------------ server


class HttpServer:
    """uvicorn, embedded: it takes no signals, logs no requests and lives between ``start`` and ``stop``."""

    def __init__(self, app: ASGIApp, listen: str, setting: str, limits: Limits | None = None) -> None:
        """``listen``: ``host:port`` (port 0: any free one); ``setting``: where that stands, for the error text."""
        host, _, port = listen.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._setting = setting
        bounds = limits or Limits()
        bounds = replace(bounds, connections=open_files.affordable(bounds.connections))
        self._config = uvicorn.Config(
            app,
            http=guarded(bounds),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # every scanner's nonsense would be a warning
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=bounds.keep_alive_s,
            backlog=min(_BACKLOG, bounds.connections),  # so many are taken in one turn of the loop
        )
        self._server = uvicorn.Server(self._config)
        self._socket: socket.socket | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once started."""
        if self._socket is None:
            raise RuntimeError("not started")
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Take the port and serve. Raises ConfigError when the port cannot be had."""
        listening = self._listening()
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        # startup() and shutdown() are all that serve() does, but for signals and a tick that only counts and dates.
        await self._server.startup(sockets=[listening])
        self._socket = listening
        _LOG.info("http_listening", setting=self._setting, address=f"{self.address[0]}:{self.address[1]}")

    async def stop(self, grace: float) -> None:
        """Take no more, let open requests end within ``grace`` seconds, cut the rest. Does nothing when not started."""
        if self._socket is None:
            return
        listening, self._socket = self._socket, None
        self._config.timeout_graceful_shutdown = max(1, round(grace))
        await self._server.shutdown(sockets=[listening])
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        _LOG.info("http_stopped", setting=self._setting)

    def _listening(self) -> socket.socket:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listening = socket.socket(family, kind, protocol)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(address)
                listening.setblocking(False)
            except OSError:
                listening.close()
                raise
        except OSError as error:
            what = f"cannot listen on {self._host}:{self._port}: {error.strerror}"
            raise ConfigError((Problem(self._setting, what, "another process may have the port"),)) from error
        return listening
