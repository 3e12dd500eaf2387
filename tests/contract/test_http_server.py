"""The HTTP ports over real sockets: the public one knows callbacks only and lets nobody sit on it; the private one tells how things are."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.adapters.http_guard import Limits
from connector.adapters.http_server import HttpServer, admin_app, callbacks_app
from connector.errors import ConfigError
from connector.metrics import Metrics
from tests.fakes.clock import settle

PATH = "/callbacks/v1/kid/token"
QUICK = Limits(head_s=0.05, head_bytes=1_000, body_s=0.05, body_bytes=1_000, keep_alive_s=1, connections=3)


class Recorder:
    """A receiver that remembers its calls; the answer can be held back."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, bytes | None]] = []
        self.status = 200
        self.go = asyncio.Event()
        self.go.set()
        self.entered = asyncio.Event()
        self.called: asyncio.Queue[int] = asyncio.Queue()

    async def receive(self, kid: str, token: str, source: str, read: Callable[[], Awaitable[bytes | None]]) -> int:
        self.entered.set()
        body = await read()
        self.calls.append((kid, token, source, body))
        self.called.put_nowait(len(self.calls))
        await self.go.wait()
        return self.status


class Condition:
    """A health whose answers are set by the test."""

    def __init__(self) -> None:
        self.well = {"live": True, "ready": True, "started": True}

    def live(self) -> tuple[bool, Mapping[str, object]]:
        return self.well["live"], {"lanes": 3}

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        return self.well["ready"], {"group": "joined"}

    def started(self) -> tuple[bool, Mapping[str, object]]:
        return self.well["started"], {}


@asynccontextmanager
async def serving(app: ASGIApp, limits: Limits | None = None) -> AsyncIterator[tuple[HttpServer, httpx.AsyncClient]]:
    """A server on a free port, and a client of it."""
    server = HttpServer(app, "127.0.0.1:0", "callbacks.listen", limits)
    await server.start()
    host, port = server.address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
        try:
            yield server, client
        finally:
            await server.stop(1)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server ends the connection."""
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""


async def test_a_callback_reaches_the_receiver() -> None:
    """Key id, token, source address and body arrive as they were sent; the connection stays for the next one."""
    receiver = Recorder()
    async with serving(callbacks_app(receiver)) as (_, client):
        first = await client.post(PATH, content=b'{"a": 1}', headers={"content-type": "application/json"})
        second = await client.post(PATH, content=b"x", headers={"content-type": "text/plain"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert "connection" not in first.headers
    assert receiver.calls == [("kid", "token", "127.0.0.1", b'{"a": 1}'), ("kid", "token", "127.0.0.1", b"x")]


async def test_everything_else_is_one_and_the_same_404() -> None:
    """Other methods, other paths, forged tokens: an outsider cannot tell them apart, for each is asked about as a forged call."""
    receiver = Recorder()
    receiver.status = 404
    paths = ["/", "/callbacks/v1/kid", "/callbacks/v1/kid/", f"{PATH}/more", "/callbacks/v1//token", "/metrics", PATH]
    calls = [*(("POST", path) for path in paths), *((method, PATH) for method in ("GET", "PUT", "HEAD")), ("GET", "/healthz")]
    async with serving(callbacks_app(receiver)) as (_, client):
        answers = [await client.request(method, path, content=b"{}") for method, path in calls]
    shapes = {(answer.status_code, answer.content, tuple(sorted(answer.headers.items()))) for answer in answers}
    assert shapes == {(404, b"", (("connection", "close"), ("content-length", "0")))}
    assert len(receiver.calls) == len(calls)
    assert {(kid, token) for kid, token, _, _ in receiver.calls[:-1] if (kid, token) != ("kid", "token")} == {("", "")}
    assert [call[:2] for call in receiver.calls].count(("kid", "token")) == 1


async def test_a_large_body_reads_as_empty_and_a_slow_or_cut_one_as_none() -> None:
    """The receiver is not kept waiting, nor given more than it asked for; what did not come whole is told apart from what says nothing."""
    receiver = Recorder()
    async with serving(callbacks_app(receiver, QUICK), QUICK) as (server, client):
        assert (await client.post(PATH, content=b"x" * 1_000)).status_code == 200
        assert (await client.post(PATH, content=b"x" * 1_001)).status_code == 200
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc".encode())
        answer = await ended(reader)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        writer.close()
        receiver.entered.clear()
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc".encode())
        await receiver.entered.wait()
        writer.close()
        async with asyncio.timeout(5):
            while await receiver.called.get() < 4:
                pass
    assert [body for _, _, _, body in receiver.calls] == [b"x" * 1_000, b"", None, None]


HEADS = {
    "silent": b"",
    "cut": b"POST /callb",
    "slow": b"POST / HTTP/1.1\r\nx-slow: ",
}


@pytest.mark.parametrize("sent", HEADS.values(), ids=HEADS)
async def test_a_late_head_ends_the_connection(sent: bytes) -> None:
    """Nobody holds a connection by saying nothing, or by never coming to the point."""
    async with serving(callbacks_app(Recorder()), QUICK) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(sent)
        assert await ended(reader) == b""
        writer.close()


async def test_an_endless_head_ends_the_connection_at_once() -> None:
    """However much time there is, a head has a size; the first bytes of a later request count as well."""
    limits = Limits(head_s=60, head_bytes=1_000)
    async with serving(callbacks_app(Recorder(), limits), limits) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        await writer.drain()
        await settle()
        writer.write(b"y" * 2_000)
        assert await ended(reader) == b""
        writer.close()


async def test_a_second_head_has_a_deadline_too() -> None:
    """On a connection kept alive, the next request must come to its point as well."""
    async with serving(callbacks_app(Recorder()), QUICK) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"POST /callb")
        assert await ended(reader) == b""
        writer.close()


async def test_a_line_break_is_a_late_head_too() -> None:
    """After an answer a mere line break ends the pause, but no connection lives on by it: the next head has its deadline from there."""
    limits = Limits(head_s=0.05, keep_alive_s=60)
    async with serving(callbacks_app(Recorder(), limits), limits) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"\r\n")
        assert await ended(reader) == b""
        writer.close()


async def test_a_request_sent_before_the_answer_is_not_read() -> None:
    """Of a thousand requests in one piece, one is asked about and answered, and its answer is the last: the others cost nothing."""
    receiver = Recorder()
    call = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}".encode()
    async with serving(callbacks_app(receiver)) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(call + b"GET / HTTP/1.1\r\n\r\n" * 1_000)
        answers = await ended(reader)
        assert (answers.count(b"HTTP/1.1"), answers[:12], b"connection: close" in answers) == (1, b"HTTP/1.1 200", True)
        writer.close()
    assert [body for _, _, _, body in receiver.calls] == [b"{}"]


UPGRADES = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nUpgrade: h2c\r\n",
    "websocket": "Upgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n",
    "two": "upgrade: h2c\r\nUpgrade: tls/1.0\r\nConnection: upgrade\r\n",
}


@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("framing", ["content-length: 8", "transfer-encoding: chunked"])
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
async def test_a_call_that_would_upgrade_is_taken_with_its_body(headers: str, framing: str, together: bool) -> None:
    """Some clients ask for HTTP/2 in every call. What is answered 200 was read whole, and the connection goes on as HTTP/1.1."""
    receiver = Recorder()
    body = b'{"a": 1}' if "length" in framing else b'8\r\n{"a": 1}\r\n0\r\n\r\n'
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{headers}{framing}\r\n\r\n".encode()
    async with serving(callbacks_app(receiver)) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        for _ in range(2):
            receiver.entered.clear()
            writer.write(head + body if together else head)
            await receiver.entered.wait()
            writer.write(b"" if together else body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert (answer[:12], b"close" in answer) == (b"HTTP/1.1 200", False)
        writer.close()
    assert receiver.calls == [("kid", "token", "127.0.0.1", b'{"a": 1}')] * 2


async def test_a_path_before_ours_is_let_be() -> None:
    """``callbacks.public_url`` may have a path of its own, which a proxy takes away or not."""
    receiver = Recorder()
    async with serving(callbacks_app(receiver)) as (_, client):
        for before in ("/routee", "/a/b"):
            await client.post(before + PATH)
        await client.post(f"/routee{PATH}/more")
        await client.post(f"/routee{PATH}%0A")
    assert [call[:2] for call in receiver.calls] == [("kid", "token"), ("kid", "token"), ("", ""), ("kid", "token\n")]


async def test_the_oldest_connection_without_a_head_makes_room() -> None:
    """At one connection too many, the oldest that never said anything is ended, else the one that was idle longest: a caller comes in."""
    limits = Limits(connections=3)
    call = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode()
    async with serving(callbacks_app(Recorder()), limits) as (server, _):
        proven = await asyncio.open_connection(*server.address)
        proven[1].write(call)
        assert (await proven[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        oldest = await asyncio.open_connection(*server.address)
        younger = await asyncio.open_connection(*server.address)
        newest = await asyncio.open_connection(*server.address)
        assert await ended(oldest[0]) == b""
        for reader, writer in (proven, younger, newest):
            writer.write(call)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        late = await asyncio.open_connection(*server.address)
        assert await ended(proven[0]) == b"", "all have proven themselves: who has not called for longest makes room"
        late[1].write(call)
        assert (await late[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for _, writer in (proven, oldest, younger, newest, late):
            writer.close()


async def test_a_full_house_of_callers_at_work_lets_nobody_in() -> None:
    """Nobody is idle: the new one waits outside, and no call that is being answered is cut."""
    began, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(Recorder):
        async def receive(self, kid: str, token: str, source: str, read: Callable[[], Awaitable[bytes | None]]) -> int:
            began.set()
            await goes_on.wait()
            return await super().receive(kid, token, source, read)

    call = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode()
    async with serving(callbacks_app(Slow()), Limits(connections=1)) as (server, _):
        at_work = await asyncio.open_connection(*server.address)
        at_work[1].write(call)
        await began.wait()
        late = await asyncio.open_connection(*server.address)
        assert await ended(late[0]) == b""
        goes_on.set()
        assert (await at_work[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for _, writer in (at_work, late):
            writer.close()


async def test_a_body_that_comes_byte_by_byte_is_given_in_one_piece() -> None:
    """Who dribbles makes no work: the application is woken once, by the whole."""
    given: list[tuple[bytes, bool]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            part = await receive()
            more = part["more_body"]
            given.append((part["body"], more))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
        for byte in b"abcde":
            await asyncio.sleep(0.01)
            writer.write(bytes([byte]))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
    assert given == [(b"abcde", False)]


async def test_an_endless_body_ends_the_connection() -> None:
    """Even behind a genuine path: the answer comes, and what is still being sent holds no connection."""
    async with serving(callbacks_app(Recorder(), QUICK), QUICK) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        writer.write(b"ff\r\n" + b"x" * 255 + b"\r\n")
        assert (await ended(reader)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_no_log_line_tells_a_path(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """A path is a capability: however a call ends, by a defect of ours too, and however loud the logs, none of them holds one."""

    class Defect(Recorder):
        async def receive(self, kid: str, token: str, source: str, read: Callable[[], Awaitable[bytes | None]]) -> int:
            if kid == "defect":
                raise RuntimeError("a defect")
            return await super().receive(kid, token, source, read)

    receiver = Defect()
    secret = "a-secret"
    path = f"/callbacks/v1/kid/{secret}"
    async with serving(callbacks_app(receiver)) as (server, client):
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
            caplog.set_level(logging.DEBUG, name)
        for status in (200, 404, 503):
            receiver.status = status
            assert (await client.post(path, content=b"{}")).status_code == status
        assert (await client.post(f"/callbacks/v1/defect/{secret}")).status_code == 500
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"POST {path} HTTP/9.9\r\n\r\n".encode())
        assert (await ended(reader)).startswith(b"HTTP/1.1 400")
        writer.close()
    assert "a defect" in caplog.text
    ours = "".join(capfd.readouterr()) + "".join(str(record.__dict__) for record in caplog.records if not record.name.startswith("http"))
    assert secret not in ours


async def test_nonsense_is_refused_and_not_logged_away(capfd: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no HTTP end their connection and write no line."""
    async with serving(callbacks_app(Recorder())) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert (await ended(reader)).startswith(b"HTTP/1.1 400")
        writer.close()
    assert "Invalid HTTP" not in "".join(capfd.readouterr())


async def test_a_stop_lets_open_requests_end() -> None:
    """After stop no new connection is taken; a request that was being answered is answered."""
    receiver = Recorder()
    receiver.go.clear()
    async with serving(callbacks_app(receiver)) as (server, client), asyncio.TaskGroup() as group:
        address = server.address
        answer = group.create_task(client.post(PATH, content=b"{}"))
        await receiver.entered.wait()
        stop = group.create_task(server.stop(5))
        await settle()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection(*address)
        receiver.go.set()
        assert (await answer).status_code == 200
        await stop


async def test_a_taken_port_is_a_problem_of_the_settings() -> None:
    """The error names the setting and the address, not a stack of asyncio's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"admin\.listen: cannot listen on 127\.0\.0\.1:{port}"):
            await HttpServer(callbacks_app(Recorder()), f"127.0.0.1:{port}", "admin.listen").start()


async def test_probes_say_how_things_are() -> None:
    """200 or 503, with details for a person."""
    health = Condition()
    async with serving(admin_app(health, Metrics())) as (_, client):
        for path, name in (("/healthz", "live"), ("/readyz", "ready"), ("/startupz", "started")):
            assert (await client.get(path)).status_code == 200
            health.well[name] = False
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["ok"]) == (503, False)
        assert (await client.get("/healthz")).json() == {"ok": False, "lanes": 3}
        assert (await client.get("/callbacks/v1/a/b")).status_code == 404


async def test_metrics_are_scraped_as_text() -> None:
    """Prometheus reads what was counted."""
    metrics = Metrics()
    metrics.events.labels("notifications").inc(3)
    async with serving(admin_app(Condition(), metrics)) as (_, client):
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'failover_events_total{topic="notifications"} 3.0' in answer.text


async def test_the_private_ports_first_page_leads_to_all_of_it() -> None:
    """Whoever opens the address alone finds what is there; each link of the list works."""
    async with serving(admin_app(Condition(), Metrics())) as (_, client):
        page = await client.get("/")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        links = re.findall(r'href="([^"]+)"', page.text)
        assert sorted(links) == ["/healthz", "/metrics", "/readyz", "/startupz"]
        assert {(await client.get(link)).status_code for link in links} <= {200, 503}
