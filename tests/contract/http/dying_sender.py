"""A process that dies in mid-write: ``python -m tests.contract.http.dying_sender connector|plain <port> <posts>``.

It begins that many POSTs of 4 MB, each over a connection of its own, and never ends by itself. ``connector`` sends with our client,
``plain`` with sockets as the system makes them.
"""

from __future__ import annotations

import asyncio
import sys

from connector.adapters.http_client import HttpClient
from connector.adapters.http_pool import Limits

BODY = b"x" * 4_000_000


async def with_our_client(port: int, posts: int) -> None:
    """As the connector does."""
    client = HttpClient(Limits(max_connections=posts))
    target = client.target("POST", f"http://127.0.0.1:{port}/failover")
    await asyncio.gather(*(client.exchange(target, b"", BODY, 3600) for _ in range(posts)))


async def with_plain_sockets(port: int, posts: int) -> None:
    """As anybody would."""
    head = b"POST /failover HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(BODY)
    writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(posts)]
    for writer in writers:
        writer.write(head + BODY)
    await asyncio.Event().wait()


if __name__ == "__main__":
    send = {"connector": with_our_client, "plain": with_plain_sockets}[sys.argv[1]]
    asyncio.run(send(int(sys.argv[2]), int(sys.argv[3])))
