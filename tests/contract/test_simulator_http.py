"""The simulator over real sockets: a whole conversation, faults on the wire, callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import orjson
import pytest

from connector.simulator import Simulator, SimulatorOptions, recipient_for
from tests.unit.simulator_box import OTP, STANDARD, JsonDoc, flow, label, otp_sms, sms, viber

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SHORT_S = 0.1


@asynccontextmanager
async def running(**options: object) -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    """A simulator on a free port and a client with a token."""
    simulator = Simulator(SimulatorOptions(**{"seed": 7, "time_scale": 1000.0, **options}))  # type: ignore[arg-type]
    await simulator.start()
    try:
        async with httpx.AsyncClient(base_url=simulator.base_url) as client:
            reply = await client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("app", "secret"))
            client.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
            yield simulator, client
    finally:
        await simulator.stop()


@asynccontextmanager
async def dialled(simulator: Simulator) -> AsyncIterator[Wire]:
    """A bare connection."""
    host, port = simulator.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def raw(client: httpx.AsyncClient, doc: JsonDoc, *extra: str) -> bytes:
    """The bytes of one POST /failover."""
    body = orjson.dumps(doc)
    lines = [
        "POST /failover HTTP/1.1",
        "Host: x",
        f"Authorization: {client.headers['Authorization']}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *extra,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


async def until(condition: Callable[[], bool]) -> None:
    """Poll the running simulator."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it waits for happens behind sockets
            await asyncio.sleep(0.002)


class Receiver:
    """Takes callbacks; ``answers`` are the statuses to give in turn, the last one for ever."""

    def __init__(self, *answers: int, closes: bool = False, is_dumb: bool = False) -> None:
        self.docs: list[JsonDoc] = []
        self.connections = 0
        self.url = ""
        self._answers = list(answers) or [200]
        self._closes = closes
        self._is_dumb = is_dumb

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?secret=1"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert head.startswith("POST /hook?secret=1 HTTP/1.1\r\n")
                self.docs.append(orjson.loads(await reader.readexactly(int(head.partition("Content-Length: ")[2].partition("\r\n")[0]))))
                if self._is_dumb:
                    continue
                status = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok".encode())
                if self._closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def test_a_whole_conversation() -> None:
    """Token, send, tracking by id, search, all over one kept connection, without a violation."""
    async with running() as (simulator, client):
        to = recipient_for("viber_ok")
        tracking_id = (await client.post(STANDARD, json=flow(viber(to, label=label())))).json()["trackingId"]
        await until(lambda: simulator.provider.flows.get(tracking_id, is_otp=False).is_over)  # type: ignore[union-attr]
        assert (await client.get(f"/failover/tracking/{tracking_id}")).json()["status"] == "Succeeded"
        found = await client.post("/failover/tracking", json=[{"fieldName": "to", "searchTerm": to}], params={"size": 100})
        assert found.json()["content"][0]["trackingId"] == tracking_id
        assert simulator.violations == {}
        assert len(simulator._connections) == 1


@pytest.mark.parametrize("scenario", ["cut_before_accept", "cut_after_accept"])
async def test_a_cut_is_a_reset(scenario: str) -> None:
    """The connection ends with RST before any byte of an answer; the ledger alone knows whether the flow was accepted."""
    async with running() as (simulator, client), dialled(simulator) as (reader, writer):
        writer.write(raw(client, flow(sms(recipient_for(scenario)))))
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert simulator.ledger.summary()["accepted"] == (scenario == "cut_after_accept")


@pytest.mark.parametrize("scenario", ["never_answering", "never_answering_accepted"])
async def test_silence_is_silence(scenario: str) -> None:
    """No byte ever comes, also not for what follows on that connection, which stays open."""
    async with running() as (simulator, client), dialled(simulator) as (reader, writer):
        writer.write(raw(client, flow(sms(recipient_for(scenario)))) + raw(client, flow(sms(recipient_for("viber_ok")))))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), SHORT_S)
        assert simulator.ledger.summary()["accepted"] == (scenario == "never_answering_accepted")


async def test_truncated_json_is_whole_http() -> None:
    """Content-Length is right, the document is not; the connection goes on."""
    async with running() as (simulator, client), dialled(simulator) as (reader, writer):
        for _ in range(2):
            writer.write(raw(client, flow(sms(recipient_for("truncated_json")))))
        (first, broken), (second, whole) = await answered(reader), await answered(reader)
        assert (first, second) == (200, 200)
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(broken)
        assert orjson.loads(whole)["trackingId"] in simulator.provider.flows._by_id


async def test_a_body_cut_in_the_middle() -> None:
    """Headers promise more than comes before the end."""
    async with running() as (simulator, client), dialled(simulator) as (reader, writer):
        writer.write(raw(client, flow(sms(recipient_for("cut_mid_body")))))
        with pytest.raises(asyncio.IncompleteReadError) as cut:
            await answered(reader)
        assert cut.value.expected is not None
        assert 0 < len(cut.value.partial) < cut.value.expected


async def test_answers_keep_the_order_of_requests() -> None:
    """Requests that come at once are answered one after the other, a delayed one not overtaken."""
    async with running(latency_s=(0.001, 0.02)) as (simulator, client), dialled(simulator) as (reader, writer):
        writer.write(b"".join(raw(client, flow(sms("+306912345678", order=order))) for order in range(1, 9)))
        echoes = [orjson.loads((await answered(reader))[1])["flow"][0]["order"] for _ in range(8)]
        assert echoes == list(range(1, 9))


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    """Expect: 100-continue gets its 100, and is noted."""
    async with running() as (simulator, client), dialled(simulator) as (reader, writer):
        head, _, body = raw(client, flow(sms("+306912345678")), "Expect: 100-continue").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        assert (await answered(reader))[0] == 200
        assert simulator.violations == {"expect_header": 1}


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"hello\r\n\r\n", 400), (b"POST /failover HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000, 413)],
)
async def test_nonsense_ends_the_connection(data: bytes, status: int) -> None:
    """No HTTP: 400; too large a body: 413; then the end."""
    async with running() as (simulator, _), dialled(simulator) as (reader, writer):
        writer.write(data)
        assert (await answered(reader))[0] == status
        assert await _rest(reader) == b""


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:  # the server had not read all that was sent
        return b""


async def test_callbacks_arrive_over_kept_connections() -> None:
    """Both strategies and the OTP shape reach a real endpoint; connections are kept."""
    async with Receiver().listening() as receiver, running(callback_concurrency=2) as (simulator, client):
        to = recipient_for("viber_ok")
        for strategy in ("OnStep", "OnCompletion"):
            await client.post(STANDARD, json=flow(sms(to)) | {"callback": {"url": receiver.url, "strategy": strategy}})
        await client.post(OTP, json=flow(otp_sms(to)) | {"callback": {"url": receiver.url}})
        await until(lambda: simulator.ledger.callbacks["ok"] == 6)
        assert sorted(doc["status"] for doc in receiver.docs if "messages" in doc) == ["InProgress", "InProgress", "Succeeded", "Succeeded"]
        assert len([doc for doc in receiver.docs if "steps" in doc]) == 2
        assert receiver.connections <= 2


@pytest.mark.parametrize("closes", [False, True])
async def test_callbacks_are_repeated_until_taken(closes: bool) -> None:
    """Refused ones come again on the scaled schedule, whether the endpoint keeps its connections or not."""
    async with Receiver(500, 503, 200, closes=closes).listening() as receiver, running(time_scale=10_000.0) as (simulator, client):
        doc = flow(sms(recipient_for("viber_ok"))) | {"callback": {"url": receiver.url, "strategy": "OnCompletion"}}
        await client.post(STANDARD, json=doc)
        await until(lambda: simulator.ledger.callbacks["ok"] == 1)
        assert simulator.ledger.callbacks == {"sent": 1, "retried": 2, "failed": 2, "ok": 1}
        assert len({orjson.dumps(doc) for doc in receiver.docs}) == 1


async def test_an_endpoint_that_hangs_or_is_away_fails_the_callback() -> None:
    """No answer within the timeout, and no listener, are failures, not errors."""
    async with Receiver(is_dumb=True).listening() as receiver, running(callback_timeout_s=SHORT_S) as (simulator, client):
        for url in (receiver.url, "http://127.0.0.1:1/hook"):
            await client.post(OTP, json=flow(otp_sms(recipient_for("viber_ok"))) | {"callback": {"url": url}})
        await until(lambda: simulator.ledger.callbacks["failed"] == 4)


async def test_the_first_callback_may_overtake_the_answer() -> None:
    """callback_before_answer: when the answer comes, the callback has been taken."""
    async with Receiver().listening() as receiver, running() as (_, client):
        doc = flow(sms(recipient_for("callback_before_answer"))) | {"callback": {"url": receiver.url, "strategy": "OnCompletion"}}
        tracking_id = (await client.post(STANDARD, json=doc)).json()["trackingId"]
        assert [(doc["trackingId"], doc["status"]) for doc in receiver.docs] == [(tracking_id, "Succeeded")]


async def test_stop_cuts_everything_and_frees_the_port() -> None:
    """Open connections end, the port can be taken again, a second stop does nothing."""
    simulator = Simulator()
    await simulator.start()
    port = int(simulator.base_url.rpartition(":")[2])
    async with dialled(simulator) as (reader, writer):
        writer.write(b"POST /failover HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        await until(lambda: len(simulator._connections) == 1)
        await simulator.stop()
        assert await _rest(reader) == b""
    await simulator.stop()
    again = Simulator()
    await again.start(port=port)
    await again.stop()
