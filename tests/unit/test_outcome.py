"""What an answer means: the table of docs/how-it-works.md, row by row, and any answer at all without an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.model import (
    Accepted,
    Api,
    Doubt,
    Failure,
    FlowStatus,
    NotSent,
    Outcome,
    RefusalKind,
    Refused,
    Rejected,
    Reply,
)
from connector.core.outcome import MAX_RETRY_AFTER_MS, classify
from tests.unit.routee_samples import sample_bytes

NOW_MS = 1_771_243_200_000  # 2026-02-16T12:00:00Z
STANDARD_ID = "30830fad-21ed-49b0-89d0-bbada2fd5640"
OTP_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


def ask(
    status: int, body: object = b"", api: Api = Api.STANDARD, headers: dict[str, str] | None = None, secrets: tuple[str, ...] = ()
) -> Outcome:
    """The outcome of one whole answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(api, Reply(status, headers or {}, raw), secrets, now_ms=NOW_MS)


# ---------------------------------------------------------------------------------------------------- no whole answer


@pytest.mark.parametrize("reason", ["dns", "refused", "tls", "connect_timeout", "pool_timeout", "lease_over"])
def test_no_byte_written_is_not_sent(reason: str) -> None:
    """When it is certain that no byte left, the same attempt may go again."""
    assert classify(Api.OTP, Failure(sent=False, reason=reason), now_ms=0) == NotSent(reason)


@pytest.mark.parametrize("reason", ["timeout", "reset", "closed", "protocol"])
def test_trouble_after_the_first_byte_is_doubt(reason: str) -> None:
    """What may have arrived is never repeated blindly."""
    assert classify(Api.OTP, Failure(sent=True, reason=reason), now_ms=0) == Doubt(reason)


# -------------------------------------------------------------------------------------------------------------- success


@pytest.mark.parametrize(
    ("api", "name", "tracking_id", "status"),
    [
        (Api.STANDARD, "standard_created", STANDARD_ID, None),
        (Api.TRANSACTIONAL, "transactional_created", "41930fad-21ed-49b0-89d0-bbada2fd5641", None),
        (Api.OTP, "otp_created", OTP_ID, FlowStatus.IN_PROGRESS),
    ],
)
@pytest.mark.parametrize("http_status", [200, 201, 202])
def test_any_2xx_with_an_id_is_accepted(api: Api, name: str, tracking_id: str, status: FlowStatus | None, http_status: int) -> None:
    """The documented answers are acceptances under each API's own id, with what they say of the flow."""
    outcome = ask(http_status, sample_bytes(name), api)
    assert isinstance(outcome, Accepted)
    assert (outcome.tracking_id, outcome.http_status) == (tracking_id, http_status)
    assert outcome.report is not None
    assert (outcome.report.tracking_id, outcome.report.status, outcome.report.steps) == (tracking_id, status, ())


def test_an_array_of_one_is_accepted() -> None:
    """The answer may be an array of one object."""
    assert ask(200, [{"trackingId": "t"}]) == ask(200, {"trackingId": "t"})


@pytest.mark.parametrize(
    ("body", "api", "reason"),
    [
        (b"", Api.STANDARD, "unparsable"),
        (sample_bytes("standard_created")[:-20], Api.STANDARD, "unparsable"),
        (b"<html>ok</html>", Api.STANDARD, "unparsable"),
        (b"[" * 99_999, Api.STANDARD, "unparsable"),
        ([{"trackingId": "a"}, {"trackingId": "b"}], Api.STANDARD, "unparsable"),
        ({}, Api.STANDARD, "no_id"),
        ({"trackingId": "  "}, Api.STANDARD, "no_id"),
        ({"trackingId": None}, Api.STANDARD, "no_id"),
        ({"trackingId": ["x"]}, Api.STANDARD, "no_id"),
        ({"flowId": "x"}, Api.STANDARD, "no_id"),
        ({"trackingId": "x", "status": "InProgress"}, Api.OTP, "no_id"),
        ({"status": "Succeeded", "flowId": None}, Api.OTP, "no_id"),
    ],
)
def test_a_2xx_without_a_readable_id_is_doubt(body: object, api: Api, reason: str) -> None:
    """An acceptance that names no flow is outcome unknown, not failure."""
    assert ask(200, body, api) == Doubt(reason, 200)


# ------------------------------------------------------------------------------------------------- OTP's 200 Failed


def _failed(code: object, flow_id: str | None = None, error: str = "nothing") -> Outcome:
    return ask(200, {"flowId": flow_id, "status": "FAILED", "statusCode": code, "error": error}, Api.OTP)


def test_otp_failed_is_judged_by_its_code() -> None:
    """0 may be tried again, 1 waits for money, 2 and 3 are final; as number or text."""
    assert _failed(0) == Refused(RefusalKind.SERVER, 200, "STATUS_CODE_0", detail="nothing")
    assert _failed("1") == Refused(RefusalKind.BALANCE, 200, "STATUS_CODE_1", detail="nothing")
    assert _failed(2) == Rejected(200, "STATUS_CODE_2", "nothing")
    assert _failed("3") == Rejected(200, "STATUS_CODE_3", "nothing")
    sampled = ask(200, sample_bytes("otp_failed"), Api.OTP)
    assert isinstance(sampled, Refused)
    assert sampled.kind is RefusalKind.BALANCE


@pytest.mark.parametrize("code", [None, "", 4, -1, "x", True])
def test_otp_failed_with_an_unplanned_code_is_doubt(code: object) -> None:
    """A failure nobody planned for is neither final nor repeated blindly."""
    assert _failed(code) == Doubt("failed_without_code", 200)


def test_otp_failed_with_an_id_is_looked_for_before_it_is_sent_again() -> None:
    """A server error that names a flow contradicts the documentation, so the flow is searched; other codes keep their meaning."""
    assert _failed(0, OTP_ID) == Doubt("failed_with_id", 200)
    assert _failed(9, OTP_ID) == Doubt("failed_with_id", 200)
    assert isinstance(_failed(1, OTP_ID), Refused)
    assert isinstance(_failed(2, OTP_ID), Rejected)


def test_failed_in_another_api_with_an_id_is_accepted() -> None:
    """Elsewhere a flow that exists is accepted, and its failure a status."""
    outcome = ask(200, {"trackingId": "t", "status": "Failed", "statusCode": "1"})
    assert isinstance(outcome, Accepted)
    assert outcome.report is not None
    assert outcome.report.status is FlowStatus.FAILED


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_these_are_rejections(status: int) -> None:
    """The provider's own no is final."""
    assert ask(status) == Rejected(status, f"HTTP_{status}", "empty body")


@pytest.mark.parametrize("status", [401, 403])
def test_unauthorised_is_refused(status: int) -> None:
    """401 and 403 mean that nothing was sent."""
    assert ask(status, sample_bytes("error_oauth")) == Refused(RefusalKind.AUTH, status, "invalid_token", detail="Invalid access ***")


@pytest.mark.parametrize("status", [425, 429])
def test_throttled_is_refused(status: int) -> None:
    """425 and 429 mean that nothing was taken, with or without a time."""
    outcome = ask(status, headers={"retry-after": "7"})
    assert outcome == Refused(RefusalKind.THROTTLED, status, f"HTTP_{status}", 7_000, "empty body")
    assert ask(status) == Refused(RefusalKind.THROTTLED, status, f"HTTP_{status}", None, "empty body")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        (" 2.5 ", 2_000),
        ("99999999", MAX_RETRY_AFTER_MS),
        ("Mon, 16 Feb 2026 12:00:30 GMT", 30_000),
        ("Mon, 16 Feb 2026 12:00:30 -0000", 30_000),
        ("Mon, 16 Feb 2026 11:00:00 GMT", 0),
        ("Fri, 31 Dec 2099 23:59:59 GMT", MAX_RETRY_AFTER_MS),
        ("Mon, 99 Feb 2026 12:00:30 GMT", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, expected: int | None) -> None:
    """Both forms of RFC 9110 count, the past is now, nonsense is nothing, an eternity is an hour."""
    outcome = ask(429, headers={"retry-after": value})
    assert isinstance(outcome, Refused)
    assert outcome.retry_after_ms == expected


@pytest.mark.parametrize("code", [400001009, "400001009"])
def test_an_empty_account_is_no_rejection(code: object) -> None:
    """Insufficient balance waits for money; only with the status it is known with."""
    body = {"code": code, "developerMessage": "Insufficient Balance"}
    assert ask(400, body) == Refused(RefusalKind.BALANCE, 400, "400001009", detail="Insufficient Balance")
    assert ask(409, body) == Rejected(409, "400001009", "Insufficient Balance")
    assert ask(400, sample_bytes("error_balance")) == ask(400, body)


@pytest.mark.parametrize("status", [100, 199, 300, 302, 304, 308, 402, 405, 408, 410, 418, 451, 500, 502, 503, 504, 599])
def test_everything_else_is_doubt(status: int) -> None:
    """408, 5xx, redirects and whatever nobody planned for may have sent the message."""
    assert ask(status, {"code": "400001009"}) == Doubt(f"http_{status}", status)


@pytest.mark.parametrize("status", [-1, 0, 99, 600, 10**9])
def test_reasons_stay_bounded(status: int) -> None:
    """A status that is none gives one common reason."""
    assert ask(status) == Doubt("http_other", status)


@pytest.mark.parametrize(
    ("body", "reason", "detail"),
    [
        (sample_bytes("error_documented"), "400005000", "string"),
        (sample_bytes("error_properties"), "400005000", "Validation failed; flow[0].to – *** is not valid"),
        (sample_bytes("error_spring"), "Unauthorized", "Bad credentials"),
        (
            sample_bytes("error_validation"),
            "HTTP_400",
            "body.flow.0.pin – ensure this value has at least 4 characters (value_error.any_str.min_length)",
        ),
        (sample_bytes("error_detail"), "HTTP_400", "Not Found"),
        ({"error": {"code": "bad_field", "message": "no such field"}}, "bad_field", "no such field"),
        ({"error": "Bad Request", "message": " "}, "HTTP_400", "Bad Request"),
        (
            {"detail": ["one", {"msg": "two"}, {"loc": ["a", 1], "msg": "three"}, 4, {"type": "five"}]},
            "HTTP_400",
            "one; two; a.1 – three; (five)",
        ),
        ({"detail": [{}]}, "HTTP_400", ""),
        ({"code": "306912345678", "properties": {"a": 1, "b": "c"}}, "HTTP_400", "b – c"),
        ({"code": "90000000x", "error": {"message": 5}}, "HTTP_400", ""),
        ([{"message": "in an array"}], "HTTP_400", "in an array"),
        ("text", "HTTP_400", "not a JSON object (no content type, 6 bytes)"),
        (b"\xff\xfe\x00", "HTTP_400", "not a JSON object (no content type, 3 bytes)"),
    ],
)
def test_every_known_error_shape_gives_code_and_text(body: object, reason: str, detail: str) -> None:
    """One parser reads all shapes; texts are redacted, findings show place, text and kind but never the input."""
    assert ask(400, body) == Rejected(400, reason, detail)


def test_a_body_that_is_no_json_is_described_by_its_type() -> None:
    """A proxy's page is never quoted."""
    outcome = ask(400, b"<p>+306912345678</p>", headers={"content-type": "text/html"})
    assert outcome == Rejected(400, "HTTP_400", "not a JSON object (text/html, 20 bytes)")


def test_secrets_never_reach_reason_or_detail() -> None:
    """What was sent does not come back in an error, also not as its code."""
    secrets = ("Hello Alex", "wordpin", "400112233", "")
    body = {"code": "WordPin", "message": "text 'hello  alex' is bad", "properties": {"pin": "wordpin"}}
    assert ask(400, body, secrets=secrets) == Rejected(400, "HTTP_400", "text '***' is bad; pin – ***")
    assert ask(400, {"code": 400112233}, secrets=secrets) == Rejected(400, "HTTP_400", "")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "trackingId",
                    "flowId",
                    "status",
                    "statusCode",
                    "error",
                    "message",
                    "code",
                    "detail",
                    "loc",
                    "msg",
                    "type",
                    "properties",
                    "developerMessage",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300)
@given(
    st.sampled_from(Api),
    st.integers(100, 599),
    json_values.map(lambda value: json.dumps(value).encode()) | st.binary(),
    st.dictionaries(st.sampled_from(["retry-after", "content-type"]), st.text()),
    st.lists(st.text(alphabet="jkQXZ", min_size=4, max_size=8)),
)
def test_every_answer_has_an_outcome(api: Api, status: int, body: bytes, headers: dict[str, str], secrets: list[str]) -> None:
    """Nothing raises; only a 2xx can be accepted, only a known refusal sends again, and details are short and free of secrets."""
    outcome = classify(api, Reply(status, headers, body), secrets, now_ms=NOW_MS)
    match outcome:
        case Accepted():
            assert 200 <= status < 300
        case NotSent():
            pytest.fail("an answer proves that bytes were sent")
        case Rejected() | Refused():
            assert status in {400, 401, 403, 404, 409, 413, 422, 425, 429} or (api is Api.OTP and status < 300)
            assert len(outcome.detail) <= 200
            for secret in secrets:
                assert secret.casefold() not in f"{outcome.reason} {outcome.detail}".casefold()
        case Doubt():
            assert outcome.http_status == status


def test_only_refused_credentials_mean_that_nothing_was_posted() -> None:
    """Every other refusal is an answer to a POST."""
    assert not Refused(RefusalKind.AUTH, 400, "TOKEN_REFUSED").posted
    assert Refused(RefusalKind.AUTH, 401, "HTTP_401").posted
    assert Refused(RefusalKind.THROTTLED, 429, "HTTP_429").posted
