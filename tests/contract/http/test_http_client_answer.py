"""Bytes become one answer, however they are cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.adapters.http_answer import AnswerReader
from connector.core.model import Failure, Reply

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: 1\r\nx-a: 2\r\nX-Empty:\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + LENGTH
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\nhello"
WHOLE = {"length": LENGTH, "chunked": CHUNKED, "interim": INTERIM, "empty": EMPTY}


def read(pieces: list[bytes]) -> tuple[Reply | Failure | None, AnswerReader]:
    """Feed all pieces; the last outcome counts."""
    reader = AnswerReader()
    outcome: Reply | Failure | None = None
    for piece in pieces:
        assert outcome is None
        outcome = reader.feed(piece)
    return outcome, reader


def cut(data: bytes, places: set[int]) -> list[bytes]:
    """The data in pieces."""
    edges = [0, *sorted(place for place in places if 0 < place < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.sampled_from(sorted(WHOLE)), st.sets(st.integers(1, 200)))
def test_pieces_do_not_matter(kind: str, places: set[int]) -> None:
    """Any cutting of the bytes gives the same whole answer, and a connection that may be used again."""
    answer, reader = read(cut(WHOLE[kind], places))
    assert isinstance(answer, Reply)
    assert (answer.status, answer.body) == ((204, b"") if kind == "empty" else (200, b"hello"))
    assert reader.reusable
    assert "link" not in answer.headers
    assert "x-trailer" not in answer.headers


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_prefix_is_no_answer(kind: str, data: st.DataObject) -> None:
    """Whatever is missing at the end of the stream: it was cut, never a reply."""
    whole = WHOLE[kind]
    prefix = whole[: data.draw(st.integers(0, len(whole) - 1))]
    reader = AnswerReader()
    assert prefix == b"" or reader.feed(prefix) is None
    assert reader.end() == Failure(sent=True, reason="cut" if prefix else "closed")


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    """No bytes raise; what is given is a value."""
    reader = AnswerReader()
    outcome = reader.feed(data) if data else None
    assert outcome is None or isinstance(outcome, Reply | Failure)
    assert isinstance(reader.end(), Reply | Failure)


@given(st.sampled_from([LENGTH, CHUNKED, EMPTY]), st.binary(min_size=1, max_size=50).filter(lambda extra: extra.strip(b"\r\n") != b""))
def test_bytes_behind_an_answer_spoil_only_the_connection(whole: bytes, extra: bytes) -> None:
    """The answer stands as it was; the connection is not used again."""
    alone, _ = read([whole])
    with_extra, reader = read([whole + extra])
    assert with_extra == alone
    assert not reader.reusable


def test_headers_are_lower_case_and_joined() -> None:
    """Names are lower case, repeated ones are joined by a comma, empty ones stay."""
    answer, _ = read([LENGTH])
    assert isinstance(answer, Reply)
    assert answer.headers == {"content-type": "application/json", "x-a": "1, 2", "x-empty": "", "content-length": "5"}


def test_a_body_without_length_ends_with_the_stream() -> None:
    """Neither length nor chunks: the end of the stream is the end of the body (RFC 9112 §6.3), and of the connection."""
    reader = AnswerReader()
    assert reader.feed(TO_THE_END) is None
    answer = reader.end()
    assert isinstance(answer, Reply)
    assert answer.body == b"hello"
    assert not reader.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
    ],
)
def test_what_cannot_be_read_is_a_protocol_failure(data: bytes) -> None:
    """Upgrades nobody asked for, ambiguous lengths and broken chunks are no answer."""
    answer, reader = read([data])
    assert answer == Failure(sent=True, reason="protocol")
    assert not reader.reusable


def test_one_reader_reads_many_answers() -> None:
    """``expect`` forgets everything of the answer before."""
    reader = AnswerReader()
    for data in (LENGTH, CHUNKED, EMPTY, INTERIM):
        reader.expect()
        alone, _ = read([data])
        assert reader.feed(data) == alone
        assert reader.reusable


@pytest.mark.parametrize(
    ("header", "seconds"), [("timeout=5, max=100", 5.0), ("max=1", None), ("timeout=x", None), ("", None), (" Timeout = 60 ", 60.0)]
)
def test_the_keep_alive_header_is_read(header: str, seconds: float | None) -> None:
    """``timeout`` in seconds, if the server said one."""
    _, reader = read([f"HTTP/1.1 200 OK\r\nKeep-Alive: {header}\r\nContent-Length: 0\r\n\r\n".encode()])
    assert reader.keep_alive_s == seconds
