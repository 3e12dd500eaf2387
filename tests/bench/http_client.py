"""How fast one POST after the other goes out: our transport against ``httpx.AsyncClient``'s own, 200 in flight, one local server.

``python -m tests.bench.http_client [requests]`` prints both rates and their ratio; nothing is asserted, since machines differ.
The server runs in a process of its own and answers at once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import cast

import httpx
import uvloop

from connector.adapters.http_client import HttpClient
from connector.adapters.http_pool import Limits
from connector.core.model import Reply

IN_FLIGHT = 200
BODY = b'{"flow": [{"type": "Sms", "to": "+306912345678", "message": {"body": "' + b"x" * 300 + b'"}}]}'
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{"trackingId": "abc"}'
ENOUGH_S = 20.0


class Answering(asyncio.Protocol):
    """Answers whatever ends with the body of this bench."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """One answer per whole request."""
        self._received += data
        while (end := self._received.find(BODY)) >= 0:
            self._received = self._received[end + len(BODY) :]
            self._transport.write(ANSWER)


def serve(told: Connection) -> None:
    """The server's process: tells its port, then runs for ever."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=1024)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


async def rate(post: Callable[[], Awaitable[bool]], requests: int) -> float:
    """Answers per second with ``IN_FLIGHT`` requests at once, for at most ``ENOUGH_S`` seconds."""
    left = requests
    done = 0
    started = time.perf_counter()

    async def work() -> None:
        nonlocal left, done
        while left > 0 and time.perf_counter() - started < ENOUGH_S:
            left -= 1
            answered = await post()
            done += answered

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return done / (time.perf_counter() - started)


async def ours(url: str, requests: int) -> float:
    """Prebuilt bytes straight to our transport."""
    client = HttpClient(Limits(max_connections=IN_FLIGHT))
    target = client.target("POST", url)
    headers = b"authorization: Bearer t\r\ncontent-type: application/json\r\n"

    async def post() -> bool:
        return isinstance(await client.exchange(target, headers, BODY, 10), Reply)

    try:
        return await rate(post, requests)
    finally:
        await client.aclose()


async def stock(url: str, requests: int) -> float:
    """httpx as it comes."""
    headers = {"authorization": "Bearer t", "content-type": "application/json"}
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx.AsyncClient(limits=limits, timeout=None, trust_env=False) as client:  # noqa: S113 it takes what it takes

        async def post() -> bool:
            return (await client.post(url, content=BODY, headers=headers)).is_success

        return await rate(post, requests)


def main() -> None:
    """Run both and print."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/failover"
    mine = uvloop.run(ours(url, requests))
    theirs = uvloop.run(stock(url, requests // 10))
    server.terminate()
    sys.stdout.write(f"ours {mine:,.0f}/s, httpx {theirs:,.0f}/s, ratio {mine / theirs:.1f}\n")


if __name__ == "__main__":
    main()
