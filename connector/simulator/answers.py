"""Error answers in the provider's several shapes, and what a fault makes of an answer."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from connector.simulator import documents
from connector.simulator.checks import Issue
from connector.simulator.faults import Fault, Wire
from connector.simulator.model import Api, Json
from connector.simulator.switches import Switches
from connector.simulator.wire import Answer

INSUFFICIENT_BALANCE = "400001009"
_OK, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _TOO_MANY, _REDIRECT = 200, 400, 401, 403, 429, 307


def answer(doc: object, status: int = _OK) -> Answer:
    """A JSON document."""
    return Answer(status, orjson.dumps(doc))


def platform_error(status: int, message: str, switches: Switches, *, code: str | None = None, properties: Json | None = None) -> Answer:
    """``{"code", "developerMessage"}``; the code is status, module 000, error 000 unless given."""
    code = code or f"{status}000000"
    doc: Json = {"code": int(code) if switches.word("error_code_type") == "int" else code, "developerMessage": message}
    if properties and switches.is_on("error_properties"):
        doc["properties"] = properties
    return answer(doc, status)


def refused(api: Api, issues: Sequence[Issue], switches: Switches) -> Answer:
    """The request breaks the contract: 400, or 422 with FastAPI's detail list in the OTP service."""
    if api is Api.OTP:
        detail = [
            {
                "type": "missing" if issue.kind == "missing_field" else issue.kind,
                "loc": ["body", *issue.path],
                "msg": "Field required" if issue.kind == "missing_field" else issue.message,
            }
            for issue in issues
        ]
        return answer({"detail": detail}, 422)
    first = issues[0]
    return platform_error(
        _BAD_REQUEST,
        f"Validation failed: {first.where} {first.message}".replace("  ", " "),
        switches,
        properties={issue.where: issue.message for issue in issues},
    )


def unauthorized(status: int, *, is_otp: bool) -> Answer:
    """401 or 403 at a resource: three shapes, none of them the platform's."""
    if is_otp:
        return answer({"detail": "Not authenticated" if status == _FORBIDDEN else "Invalid or expired token"}, status)
    if status == _FORBIDDEN:
        return answer({"error": "access_denied", "error_description": "Access is denied"}, status)
    return answer({"error": "invalid_token", "error_description": "Invalid access token"}, status)


def faulty(fault: Fault, ordinary: Json, *, api: Api | None, retry_after_s: float | None, now: float, switches: Switches) -> Answer:
    """What a request gets that met ``fault``; ``ordinary`` is the document it would have got."""
    is_otp = api is Api.OTP
    if fault.otp_code is not None and is_otp:
        return answer(documents.otp_failed(fault.otp_code, now))
    if fault.name == "balance":
        return platform_error(_BAD_REQUEST, "Insufficient Balance", switches, code=INSUFFICIENT_BALANCE)
    if fault.name == "id_less":
        return answer({key: value for key, value in ordinary.items() if key not in {"trackingId", "flowId"}})
    if fault.status is None:
        return Answer(_OK, orjson.dumps(ordinary), wire=fault.wire)
    return _with_status(fault.status, is_otp=is_otp, retry_after_s=retry_after_s, switches=switches)


def _with_status(status: int, *, is_otp: bool, retry_after_s: float | None, switches: Switches) -> Answer:
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return unauthorized(status, is_otp=is_otp)
    body = orjson.dumps({"detail": "Simulated fault"}) if is_otp else platform_error(status, "Simulated fault", switches).body
    headers: tuple[tuple[str, str], ...] = ()
    if status == _TOO_MANY and retry_after_s is not None:
        headers = (("Retry-After", f"{max(0, round(retry_after_s))}"),)
    elif status == _REDIRECT:
        headers = (("Location", "/elsewhere"),)
    return Answer(status, body, headers)


def is_whole(reply: Answer) -> bool:
    """Does the client get a status at all?"""
    return reply.wire not in {Wire.RESET, Wire.SILENCE}
