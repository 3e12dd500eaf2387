"""Any bytes at all for an answer: an outcome nobody planned for is never success, never "not sent" and never a blind resend."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.adapters.http_answer import AnswerReader
from connector.core.model import Accepted, Api, Doubt, Failure, Outcome, RefusalKind, Refused, Rejected, Reply
from connector.core.outcome import classify

# The plan, as the contract has it: what else comes is in doubt.
REJECTED = {400, 404, 409, 413, 422}
AUTH = {401, 403}
THROTTLED = {425, 429}
NO_MONEY = re.compile(rb"400001009")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r?\n")

ids = st.one_of(st.none(), st.text(max_size=8), st.uuids().map(str), st.integers(-5, 5), st.lists(st.text(max_size=3), max_size=2))
words = st.sampled_from(["Failed", "failed", "InProgress", "Succeeded", "Queued", "", None, 1, True])
codes = st.sampled_from([0, 1, 2, 3, "0", "1", "2", "3", 4, -1, None, "", "400001009", 400001009, "400005000", True])
documents = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["trackingId", "flowId", "id", "TrackingId"], st.one_of(ids, st.just("30830fad"))),
        **dict.fromkeys(["statusCode", "code"], codes),
        **dict.fromkeys(["message", "developerMessage", "error", "detail"], st.one_of(ids, codes)),
        "status": words,
    },
)
bodies = st.one_of(
    st.binary(max_size=60),
    documents.map(lambda one: json.dumps(one).encode()),
    st.tuples(documents, st.integers(0, 40)).map(lambda drawn: json.dumps(drawn[0]).encode()[: drawn[1]]),
    st.lists(documents, max_size=3).map(lambda some: json.dumps(some).encode()),
)
lies = st.lists(
    st.sampled_from(
        [
            b"Content-Encoding: gzip",
            b"Transfer-Encoding: chunked",
            b"Content-Length: 2",
            b"Content-Length: 3, 4",
            b"Content-Length: -1",
            b": nothing",
        ]
    ),
    min_size=1,
    max_size=2,
)
harmless = st.lists(
    st.sampled_from(
        [b"Content-Type: text/html", b"Location: http://elsewhere/", b"Retry-After: 1", b"Retry-After: -1", b"Connection: close"]
    ),
    max_size=2,
)
statuses = st.one_of(
    st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 413, 422, 425, 429, 500, 503]), st.integers(100, 999)
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Bytes that look like an answer more or less: whole, cut, with lies about their length, with garbage behind."""
    if draw(st.integers(0, 9)) == 7:
        return draw(st.binary(max_size=200))
    body = draw(bodies)
    lines = [b"HTTP/1.%d %d X" % (draw(st.integers(0, 1)), draw(statuses)), *draw(harmless)]
    lines += draw(lies) if draw(st.integers(0, 4)) == 3 else [b"Content-Length: %d" % len(body)]
    whole = b"\r\n".join([*lines, b"", b""]) + body
    if draw(st.integers(0, 5)) == 4:
        return whole[: draw(st.integers(0, len(whole)))]
    return whole + draw(st.sampled_from([b"", b"x", b"\r\n"]))


def read(raw: bytes, cuts: list[int], *, reset: bool) -> Reply | Failure:
    """What the transport makes of these bytes, in whatever pieces they come, and then the end."""
    reader = AnswerReader()
    places = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
    for start, end in itertools.pairwise(places):
        if (outcome := reader.feed(raw[start:end])) is not None:
            return outcome
    return Failure(sent=True, reason="reset") if reset else reader.end()


def id_in(api: Api, body: bytes) -> bool:
    """Whether some part of the body reads as the API's id: a looser look than the product's."""
    name = "flowId" if api is Api.OTP else "trackingId"
    return re.search(rb'"%b":\s*(?:"\s*[!-~]+|-?\d)' % name.encode(), body) is not None


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(Api), answers(), st.lists(st.integers(0, 300), max_size=4), st.booleans())
@example(Api.OTP, b'HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n{"status": "Failed", "statusCode": 0}', [], False)
@example(Api.STANDARD, b'HTTP/1.1 302 Found\r\nContent-Length: 20\r\n\r\n{"trackingId": "id"}', [], False)
@example(Api.STANDARD, b'HTTP/1.1 500 Oops\r\nContent-Length: 20\r\n\r\n{"trackingId": "id"}', [], False)
@example(Api.STANDARD, b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"trackingId": "id"}', [], False)
@example(Api.OTP, b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"trackingId": "id"}', [], False)
def test_an_unplanned_answer_is_doubt(api: Api, raw: bytes, cuts: list[int], reset: bool) -> None:
    """Success needs a 2xx with the API's own id; a refusal or rejection a status that the contract names; everything else is doubt."""
    answer = read(raw, cuts, reset=reset)
    outcome = classify(api, answer, now_ms=0)
    if isinstance(answer, Failure):
        assert answer.sent
        assert outcome == Doubt(answer.reason)
        return
    line = STATUS_LINE.search(raw)
    assert line is not None
    assert planned(api, outcome, answer, raw)


def planned(api: Api, outcome: Outcome, reply: Reply, raw: bytes) -> bool:
    """Whether the contract allows this outcome for this reply."""
    is_2xx = 200 <= reply.status < 300
    match outcome:
        case Doubt():
            return True
        case Accepted():
            return is_2xx and id_in(api, raw) and outcome.tracking_id != ""
        case Rejected():
            return reply.status in REJECTED or (api is Api.OTP and is_2xx and failed_with(raw, {2, 3}))
        case Refused(kind=RefusalKind.AUTH):
            return reply.status in AUTH
        case Refused(kind=RefusalKind.THROTTLED):
            return reply.status in THROTTLED
        case Refused(kind=RefusalKind.BALANCE):
            no_money = reply.status == 400 and NO_MONEY.search(raw) is not None
            return no_money or (api is Api.OTP and is_2xx and failed_with(raw, {1}))
        case Refused(kind=RefusalKind.SERVER):
            return api is Api.OTP and is_2xx and failed_with(raw, {0}) and not id_in(api, raw)
        case _:
            return False  # NotSent: a request that was answered was sent


def failed_with(raw: bytes, codes: set[int]) -> bool:
    """Whether OTP's own document says Failed with one of these codes."""
    document: Any = json.loads(raw[raw.index(b"\r\n\r\n") + 4 :].strip(b"x\r\n"))
    root = document[0] if isinstance(document, list) else document
    return str(root["status"]).casefold() == "failed" and str(root["statusCode"]) in {str(code) for code in codes}
