"""The registry client against a registry over HTTP: what it learns, shares, believes, and waits out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from connector.adapters.avro import schema
from connector.adapters.registry import MISSING_FOR_S, SchemaRegistry
from connector.errors import ConfigError, RegistryUnavailable, Undecodable
from tests.contract.registry_server import Registry, serving

POINT = {"type": "record", "name": "Point", "namespace": "geo", "fields": [{"name": "x", "type": "int"}]}
FAST = {"max.retries": 0, "timeout": 5}


@pytest.fixture
def server() -> Iterator[Registry]:
    """A registry of its own."""
    with serving() as registry:
        yield registry


class Bench:
    """A client with a hand-moved clock and a count of failures."""

    def __init__(self, url: str) -> None:
        self.now = 0.0
        self.failures = 0
        self.client = SchemaRegistry({"url": url, **FAST}, failed=self._fail, now=lambda: self.now)

    def _fail(self) -> None:
        self.failures += 1


@pytest.fixture
async def bench(server: Registry) -> AsyncIterator[Bench]:
    """A client of that registry."""
    made = Bench(server.url)
    yield made
    server.gate.set()
    await made.client.close()


async def test_a_schema_is_asked_for_once(server: Registry, bench: Bench) -> None:
    """Many waiting for one id share one request, and later ones make none."""
    number = server.add("p", POINT)
    server.gate.clear()
    waiting = [asyncio.create_task(bench.client.writer(number)) for _ in range(20)]
    await asyncio.sleep(0)
    server.gate.set()
    found = await asyncio.gather(*waiting)
    assert {id(one) for one in found} == {id(await bench.client.writer(number))}
    assert found[0] is not None
    assert found[0].name == "geo.Point"
    assert len(server.requests) == 1


async def test_one_who_stops_waiting_takes_nothing_from_the_others(server: Registry, bench: Bench) -> None:
    """Cancelling one waiter leaves the shared request alone."""
    number = server.add("p", POINT)
    server.gate.clear()
    first, second = (asyncio.create_task(bench.client.writer(number)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    server.gate.set()
    assert await second is not None
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(server.requests) == 1


async def test_not_found_is_believed_for_a_while(server: Registry, bench: Bench) -> None:
    """The registry's own 404 condemns, is not asked again at once, and is forgotten after half a minute."""
    for _ in range(3):
        with pytest.raises(Undecodable) as caught:
            await bench.client.writer(1)
        assert caught.value.reason == "SCHEMA_NOT_FOUND"
    assert (len(server.requests), bench.failures) == (1, 0)
    assert server.add("p", POINT) == 1
    bench.now = MISSING_FOR_S
    assert await bench.client.writer(1) is not None


@pytest.mark.parametrize(
    "fault",
    [
        (500, {"error_code": 50001, "message": "store"}),
        (404, b"<html>no such page</html>"),
        (404, {"message": "proxy"}),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (401, {"error_code": 401, "message": "who?"}),
        (403, {"error_code": 403, "message": "no"}),
        (200, b"<html>log in</html>"),
        (200, []),
        (429, b""),
    ],
)
async def test_everything_else_is_waited_out(server: Registry, bench: Bench, fault: tuple[int, object]) -> None:
    """Server errors, a proxy's 404, refused credentials and nonsense prove nothing of the record, and are not remembered."""
    number = server.add("p", POINT)
    server.fault = fault
    with pytest.raises(RegistryUnavailable):
        await bench.client.writer(number)
    assert bench.failures == 1
    server.fault = None
    assert await bench.client.writer(number) is not None


async def test_a_dead_registry_is_waited_out() -> None:
    """Nobody listening is RegistryUnavailable, for lookups and for registration."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        bench = Bench(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(RegistryUnavailable):
            await bench.client.writer(1)
        with pytest.raises(RegistryUnavailable):
            await bench.client.register("s", schema("send"))
        assert bench.failures == 2
        await bench.client.close()


async def test_references_are_resolved(server: Registry, bench: Bench) -> None:
    """A schema in parts, one part used twice, reads as a whole."""
    server.add("point", POINT)
    line = {"type": "record", "name": "Line", "fields": [{"name": "a", "type": "geo.Point"}, {"name": "b", "type": "geo.Point"}]}
    server.add("line", line, references=(("geo.Point", "point", 1),))
    shape = {"type": "record", "name": "Shape", "fields": [{"name": "line", "type": "Line"}, {"name": "at", "type": "geo.Point"}]}
    number = server.add("shape", shape, references=(("geo.Point", "point", 1), ("Line", "line", 1)))
    found = await bench.client.writer(number)
    assert found is not None
    assert found.read(b"\x02\x04\x06") == {"line": {"a": {"x": 1}, "b": {"x": 2}}, "at": {"x": 3}}


async def test_endless_references_are_refused(server: Registry, bench: Bench) -> None:
    """A schema that refers to itself in a circle is no schema, and no endless loop."""
    number = server.add("s", POINT, references=(("other.Name", "s", 1),))
    with pytest.raises(Undecodable, match="UNSUPPORTED_SCHEMA"):
        await bench.client.writer(number)


@pytest.mark.parametrize(("text", "kind"), [("syntax = 'proto3';", "PROTOBUF"), ("{", "AVRO"), ('{"type": "nonsense"}', "AVRO")])
async def test_other_schemas_are_refused(server: Registry, bench: Bench, text: str, kind: str) -> None:
    """Protobuf and broken schemas make a dead letter, not a wait."""
    with pytest.raises(Undecodable, match="UNSUPPORTED_SCHEMA"):
        await bench.client.writer(server.add("s", text, kind))


async def test_a_json_schema_says_that_json_follows(server: Registry, bench: Bench) -> None:
    """JSON Schema's frame holds JSON."""
    assert await bench.client.writer(server.add("s", {"type": "object"}, "JSON")) is None


async def test_registering_twice_gives_one_id(server: Registry, bench: Bench) -> None:
    """A start after the first one registers nothing new."""
    first = await bench.client.register("failover.sends-value", schema("send"))
    again = Bench(server.url)
    assert await again.client.register("failover.sends-value", schema("send")) == first
    assert server.subjects == {"failover.sends-value": [first]}
    await again.client.close()


async def test_no_right_to_write_is_needed_where_the_schema_is(server: Registry, bench: Bench) -> None:
    """A registry filled by somebody else may be read-only."""
    number = server.add("s", schema("send").text)
    server.read_only = True
    assert await bench.client.register("s", schema("send")) == number


@pytest.mark.parametrize("refusal", ["read_only", "incompatible"])
async def test_a_refused_schema_stops_the_start(server: Registry, bench: Bench, refusal: str) -> None:
    """A person must act on a refusal: it is a ConfigError with a hint, not a retry."""
    setattr(server, refusal, True)
    with pytest.raises(ConfigError, match="refuses") as caught:
        await bench.client.register("s", schema("send"))
    assert caught.value.problems[0].hint


def test_wrong_properties_stop_the_start() -> None:
    """What the client refuses is a ConfigError, without its values."""
    with pytest.raises(ConfigError) as caught:
        SchemaRegistry({"url": "http://127.0.0.1", "basic.auth.user.info": "secret"})
    assert "secret" not in str(caught.value)
