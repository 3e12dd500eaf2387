"""Whatever is thrown at the public port: no 5xx but the 503s of a Kafka that is away, no 200 that Kafka does not have, no defect met."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import checks

from connector.adapters.http_guard import Limits
from connector.cli.schema_openapi import openapi
from connector.core.capability import PATH
from tests.contract.fuzzed_port import CLAIM, GENUINE, Port

KNOWN: Final = {200, 400, 404, 408, 429, 503}
EXAMPLES: Final = 60
FUZZ: Final = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def running() -> Iterator[Port]:
    """One server for all."""
    port = Port().start()
    yield port
    port.stop()


@pytest.fixture
def port(running: Port) -> Iterator[Port]:
    """The server, with Kafka there; afterwards it must still take callbacks, and have logged nothing."""
    running.log.mood = "there"
    yield running
    running.log.mood = "there"
    assert running.send(request(path=GENUINE[0])) == [200]
    assert running.errors == []


def check(port: Port, *pieces: bytes) -> list[int]:
    """Send, and hold the answers to the law."""
    before = len(port.log.kept)
    statuses = port.send(*pieces)
    assert set(statuses) <= KNOWN
    assert statuses.count(200) <= len(port.log.kept) - before
    assert 503 not in statuses or port.log.mood != "there"
    assert 200 not in statuses or port.log.mood == "there"
    return statuses


def request(method: bytes = b"POST", path: str = "/", headers: bytes = b"", body: bytes = b"{}") -> bytes:
    """One request with a right length, unless ``headers`` say something else of it."""
    length = b"" if re.search(rb"content-length|transfer-encoding", headers, re.IGNORECASE) else b"content-length: %d\r\n" % len(body)
    return method + b" " + path.encode("utf-8", "replace") + b" HTTP/1.1\r\nhost: x\r\n" + length + headers + b"\r\n" + body


METHODS = st.sampled_from([b"POST", b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PUT", b"post", b"PRI", b"\xff"])
PATHS = st.one_of(
    st.sampled_from(
        [
            *GENUINE,
            *(f"{path}?a=b" for path in GENUINE),
            f"http://elsewhere{GENUINE[0]}",
            f"{PATH}/a/b",
            f"{PATH}/%ff/%00",
            "*",
            "//",
            f"/{'a' * 9_000}",
        ]
    ),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters=" \r\n"), min_size=1, max_size=40).map("/".__add__),
)
HEADERS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"transfer-encoding: chunked",
                b"Transfer-Encoding: gzip, chunked",
                b"transfer-encoding: \x0bchunked",
                b"content-length: 5",
                b"content-length: -1",
                b"content-length: 99999999999999999999999",
                b"content-length: 0",
                b"expect: 100-continue",
                b"expect: nothing",
                b"upgrade: websocket\r\nconnection: upgrade",
                b"upgrade: h2c\r\nconnection: upgrade, http2-settings",
                b"connection: close",
                b"content-encoding: gzip",
                b"content-type: application/json",
                b"x: " + b"y" * 20_000,
                b": empty",
                b" folded",
                b"host: y",
            ]
        ),
        st.binary(max_size=60),
    ),
    max_size=4,
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=60).map(lambda data: b"%x\r\n%s\r\n" % (len(data), data)),
        st.sampled_from([b"0\r\n\r\n", b"0\r\na: b\r\n\r\n", b"-1\r\n", b"ffffffffffffffff\r\n", b"5;x=y\r\nabcde\r\n", b"\r\n"]),
    ),
    max_size=4,
).map(b"".join)
BODIES = st.one_of(st.binary(max_size=200), CHUNKS, st.sampled_from([b"[" * 60_000, b"1" * 65_537, b'{"a":' * 9_000, b"\xff\xfe{"]))
REQUESTS = st.builds(request, METHODS, PATHS, HEADERS, BODIES)
TO_US = st.builds(request, st.just(b"POST"), st.sampled_from(GENUINE), HEADERS, BODIES)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A request of which one byte is another, or a part is missing or there twice."""
    whole = draw(TO_US)
    place = draw(st.integers(0, len(whole) - 1))
    other = draw(st.sampled_from([b"", b"\0", b"\n", b"\r\n", b"\xff", b" ", whole[:place]]))
    return whole[:place] + other + whole[place + draw(st.integers(0, 2)) :]


@FUZZ
@given(pieces=st.lists(st.one_of(st.binary(max_size=300), damaged()), min_size=1, max_size=3))
def test_garbage(port: Port, pieces: list[bytes]) -> None:
    """Bytes that are hardly HTTP: the connection ends, whatever they are."""
    check(port, *pieces)


@FUZZ
@given(requests=st.lists(st.one_of(REQUESTS, TO_US), min_size=1, max_size=4), mood=st.sampled_from(["there", "there", "away", "stuck"]))
def test_requests_one_behind_the_other(port: Port, requests: list[bytes], mood: str) -> None:
    """Odd methods, paths, headers and encodings, pipelined, with Kafka there and away."""
    port.log.mood = mood
    check(port, b"".join(requests))


@FUZZ
@given(
    genuine=st.booleans(),
    size=st.integers(0, 3_000),
    parts=st.lists(st.binary(min_size=1, max_size=200), max_size=6),
)
def test_chunked_bodies(port: Port, genuine: bool, size: int, parts: list[bytes]) -> None:
    """However a body is cut into chunks, extensions and trailers, a genuine call is answered once: 200; a forged one 404."""
    chunks = b"".join(b"%X;%s\r\n%s\r\n" % (len(part), b"e" * (size % 50 + 1), part) for part in parts)
    chunks += b"0\r\nt: %s\r\n\r\n" % (b"v" * size)
    path = GENUINE[0] if genuine else f"{PATH}/k/t"
    [status] = check(port, request(path=path, headers=b"transfer-encoding: chunked\r\n", body=chunks))
    assert status in ({200} if genuine else {404, 429})


ODD_BUT_WHOLE = st.lists(
    st.sampled_from(
        [
            b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
            b"connection: upgrade\r\nupgrade: websocket",
            b"upgrade: TLS/1.0",
            b"connection: close",
            b"Connection: keep-alive",
            b"Expect: 100-continue",
            b"content-type: text/html",
            b"x-name: \xe9",
        ]
    ),
    max_size=4,
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))


@FUZZ
@given(
    said=st.text("abcdef0123456789-", min_size=1, max_size=36),
    headers=ODD_BUT_WHOLE,
    chunked=st.booleans(),
    version=st.sampled_from([b"1.0", b"1.1"]),
    cuts=st.lists(st.integers(0, 700), max_size=4),
    behind=st.sampled_from([b"", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0"]),
)
def test_what_is_answered_200_is_what_is_kept(
    port: Port, said: str, headers: bytes, chunked: bool, version: bytes, cuts: list[int], behind: bytes
) -> None:
    """A whole genuine call in odd clothes, in however many pieces, whatever comes behind it: its own words are in Kafka."""
    body = json.dumps({"trackingId": said}).encode()
    if chunked and version == b"1.1":
        headers, body = headers + b"transfer-encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    whole = request(path=GENUINE[0], headers=headers, body=body).replace(b"HTTP/1.1", b"HTTP/" + version, 1) + behind
    places = [0, *sorted(cuts), len(whole)]
    answers = check(port, *(whole[start:end] for start, end in itertools.pairwise(places)))
    assert answers[:1] in ([200], [])  # none: what came behind was not read, and its reset took the answer away
    assert port.log.kept[-1].report.tracking_id == said


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.text(max_size=3_000)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)),
    max_leaves=12,
)
SAID = ["Sms", "Viber", "Voice", "ViberOtp", "Delivered", "Failed", "Succeeded", "2026-11-23T18:00:00Z", "9" * 40]
WORDS = st.one_of(JSON, st.sampled_from(SAID))
STEP_KEYS = ["type", "order", "to", "status", "price", "country", "operator", "parts", "label", "messageStatus"]
FLOW_KEYS = ["trackingId", "flowId", "status", "statusCode", "totalPrice", "flowKind", "createdAt", "updatedAt"]
DOCUMENTS = st.builds(
    lambda flow, steps, name: {**flow, name: steps},
    st.dictionaries(st.sampled_from(FLOW_KEYS), WORDS),
    st.lists(st.dictionaries(st.sampled_from(STEP_KEYS), WORDS), max_size=4),
    st.sampled_from(["messages", "flow", "steps"]),
)


@FUZZ
@given(document=st.one_of(DOCUMENTS, JSON))
def test_documents(port: Port, document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Whatever a genuine body says, it is taken: in Kafka, readable for the lane, and about the flow whose URL was called."""
    assert check(port, request(path=GENUINE[1], body=json.dumps(document).encode())) == [200]
    last = port.log.kept[-1]
    assert (last.flow_id, last.attempt, last.event_digest) == (CLAIM.flow_id, CLAIM.attempt, CLAIM.event_digest)
    assert last.report.recipients == ()


def test_sizes_at_the_bounds(port: Port) -> None:
    """64 kB are read, one byte more is not; both are taken, for the path is genuine."""
    most = Limits().body_bytes
    for size in (most, most + 1):
        body = b'{"trackingId": "t-1", "x": "' + b"y" * (size - 30) + b'"}'
        assert len(body) == size
        assert check(port, request(path=GENUINE[0], body=body)) == [200]
        assert port.log.kept[-1].report.tracking_id == ("t-1" if size == most else None)


schema = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi())))
TOLERANT: Final = [checks.positive_data_acceptance, checks.negative_data_rejection, checks.unsupported_method]
"""Not asked for: only the path decides whether a call is taken, and an unknown method is answered like an unknown path."""


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_port_keeps_to_its_document(case: schemathesis.Case[Any], running: Port) -> None:
    """Nothing is answered that ``docs/openapi.json`` does not say. What nobody signed changes nothing; what we signed is taken, as sent."""
    before = len(running.log.kept)
    base_url = "http://{}:{}".format(*running.address)
    response = case.call(base_url=base_url)
    case.validate_response(response, excluded_checks=TOLERANT)
    assert (response.status_code in {404, 429}, response.content, len(running.log.kept)) == (True, b"", before)
    if case.method == "POST":
        _, kid, token = GENUINE[0].rsplit("/", 2)
        case.path_parameters = {"kid": kid, "token": token}
        response = case.call(base_url=base_url)
        case.validate_response(response, excluded_checks=TOLERANT)
        assert (response.status_code, response.content, len(running.log.kept)) == (200, b"", before + 1)
    assert running.errors == []
