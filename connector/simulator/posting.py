"""A small HTTP client for callbacks: POST only, keep-alive, bounded. Own code because stock httpx collapses with many in flight."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

_QUEUE = 200_000
_HEAD_LIMIT = 64 * 1024
Done = Callable[[int | None], None]


class Posts(Protocol):
    """Where callbacks go out."""

    def submit(self, url: str, body: bytes, done: Done) -> bool:
        """Queue one POST; ``done`` hears its HTTP status, None when there was no whole answer. False: no room, ``done`` is never called."""
        ...


@dataclass(frozen=True, slots=True)
class _Job:
    url: str
    body: bytes
    done: Done


@dataclass(slots=True)
class _Link:
    """One kept connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def drop(self) -> None:
        self.writer.transport.abort()


class _GoneError(Exception):
    """A kept connection was closed by the other side before it answered anything."""


class Poster:
    """``concurrency`` workers, each with its own kept connections; ``timeout_s`` for the whole of one POST."""

    def __init__(self, concurrency: int, timeout_s: float) -> None:
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue(_QUEUE)
        self._workers: list[asyncio.Task[None]] = []
        self._tls: ssl.SSLContext | None = None

    def start(self) -> None:
        """Needs a running loop."""
        self._workers = [asyncio.create_task(self._work(), name=f"callback-{n}") for n in range(self._concurrency)]

    async def stop(self) -> None:
        """Cut what is under way."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []

    def submit(self, url: str, body: bytes, done: Done) -> bool:
        """See Posts."""
        try:
            self._jobs.put_nowait(_Job(url, body, done))
        except asyncio.QueueFull:
            return False
        return True

    async def _work(self) -> None:
        links: dict[tuple[str, str], _Link] = {}
        try:
            while True:
                job = await self._jobs.get()
                job.done(await self._post(job, links))
        finally:
            for link in links.values():
                link.drop()

    async def _post(self, job: _Job, links: dict[tuple[str, str], _Link]) -> int | None:
        target = urlsplit(job.url)
        origin = (target.scheme, target.netloc)
        try:
            async with asyncio.timeout(self._timeout_s):
                link = links.pop(origin, None)
                if link is not None:
                    with contextlib.suppress(_GoneError):
                        return await self._exchange(link, target, job.body, links)
                link = await self._connect(target)
                return await self._exchange(link, target, job.body, links)
        except (OSError, TimeoutError, EOFError, ValueError, _GoneError, asyncio.LimitOverrunError):
            return None

    async def _connect(self, target: SplitResult) -> _Link:
        context = None
        if target.scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            context = self._tls
        port = target.port or (443 if context else 80)
        reader, writer = await asyncio.open_connection(target.hostname, port, ssl=context, limit=_HEAD_LIMIT)
        return _Link(reader, writer)

    async def _exchange(self, link: _Link, target: SplitResult, body: bytes, links: dict[tuple[str, str], _Link]) -> int:
        is_kept = False
        try:
            link.writer.write(_request(target, body))
            try:
                head = await link.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise _GoneError from error
            status, length, closes = _read_head(head)
            if length:
                await link.reader.readexactly(length)
            is_kept = length is not None and not closes
        finally:
            if is_kept:
                links[target.scheme, target.netloc] = link
            else:
                link.drop()
        return status


def _request(target: SplitResult, body: bytes) -> bytes:
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    head = f"POST {path} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def _read_head(head: bytes) -> tuple[int, int | None, bool]:
    """Status, body length (None: not told, the connection cannot be kept) and whether the server closes. Raises ValueError for nonsense."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = int(rest[:3])
    length: int | None = 0 if status in {204, 304} else None
    closes = version != "HTTP/1.1"
    for line in lines:
        name, _, value = line.partition(":")
        match name.lower():
            case "content-length":
                length = int(value)
            case "connection":
                closes = value.strip().lower() == "close"
            case _:
                pass
    return status, length, closes
