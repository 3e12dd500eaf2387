"""What an answer to a send means (docs/how-it-works.md): one closed union of outcomes, decided by HTTP status first.

What nobody planned for is never success and never a blind resend: it is ``Doubt``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from connector.core.coerce import first, identifier, integer, parse_json, string, unwrap
from connector.core.documents import parse_flow
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
from connector.core.redact import redact
from connector.core.words import flow_status

MAX_RETRY_AFTER_MS = 3_600_000
"""A longer ``Retry-After`` is cut to this: better to ask once too often than to sleep on a mistake."""

_REJECTED = frozenset({400, 404, 409, 413, 422})
_AUTH = frozenset({401, 403})
_THROTTLED = frozenset({425, 429})
_INSUFFICIENT_BALANCE = "400001009"  # Routee's documentation: errors; observed with HTTP 400
_CODE = re.compile(r"[1-5]\d{8}|[A-Za-z][A-Za-z_]{1,39}", re.ASCII)
_SECONDS = re.compile(r"(\d{1,9})(?:\.\d*)?", re.ASCII)
_MESSAGES = ("developerMessage", "message", "error_description", "error", "detail")
_MOST_FINDINGS = 5
_LONGEST_MESSAGE = 2_000


def classify(api: Api, answer: Reply | Failure, secrets: Iterable[str] = (), *, now_ms: int) -> Outcome:
    """The outcome of one POST. Never raises, whatever the bytes; ``now_ms`` is needed for a ``Retry-After`` that is a date.

    ``secrets`` (``Request.secrets``) never get into ``detail``, which is at most 200 characters.
    """
    if isinstance(answer, Failure):
        return Doubt(answer.reason) if answer.sent else NotSent(answer.reason)
    hidden = tuple(secrets)
    if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's own class of success
        return _success(api, answer, hidden)
    return _error(answer, hidden, now_ms)


# -------------------------------------------------------------------------------------------------------------- success


def _success(api: Api, reply: Reply, secrets: Sequence[str]) -> Outcome:
    document = parse_json(reply.body)
    root = unwrap(document)
    if root is None:
        return Doubt("unparsable", reply.status)
    tracking_id = identifier(root.get("flowId" if api is Api.OTP else "trackingId"))
    if api is Api.OTP and flow_status(string(root.get("status"), 40) or "") is FlowStatus.FAILED:
        return _otp_failed(root, reply.status, secrets, with_id=tracking_id is not None)
    if tracking_id is None:
        return Doubt("no_id", reply.status)
    return Accepted(tracking_id, reply.status, parse_flow(document))


def _otp_failed(root: Mapping[str, Any], http_status: int, secrets: Sequence[str], *, with_id: bool) -> Outcome:
    """OTP's 200 ``Failed``: no channel took the message, and there is no flow (Routee's documentation: OTP Failover).

    A server error *with* an id contradicts that: something exists, so it is looked for before anything is sent again. The other codes
    name a cause that leaves nothing sent, with or without an id.
    """
    code = integer(first(root, "statusCode", "status_code"))
    detail = _complaint(root, secrets)
    match code:
        case 0 if not with_id:
            return Refused(RefusalKind.SERVER, http_status, "STATUS_CODE_0", detail=detail)
        case 1:
            return Refused(RefusalKind.BALANCE, http_status, "STATUS_CODE_1", detail=detail)
        case 2 | 3:
            return Rejected(http_status, f"STATUS_CODE_{code}", detail)
        case _:
            return Doubt("failed_with_id" if with_id else "failed_without_code", http_status)


# ---------------------------------------------------------------------------------------------------------------- error


def _error(reply: Reply, secrets: Sequence[str], now_ms: int) -> Outcome:
    status = reply.status
    if status not in _REJECTED | _AUTH | _THROTTLED:
        return Doubt(f"http_{status}" if 100 <= status < 600 else "http_other", status)  # noqa: PLR2004 - the range of HTTP statuses
    root = unwrap(parse_json(reply.body))
    reason = _code(root, secrets) or f"HTTP_{status}"
    detail = _complaint(root, secrets) if root is not None else _not_json(reply, secrets)
    if status in _AUTH:
        return Refused(RefusalKind.AUTH, status, reason, detail=detail)
    if status in _THROTTLED:
        return Refused(RefusalKind.THROTTLED, status, reason, _retry_after_ms(reply.headers.get("retry-after"), now_ms), detail)
    if status == 400 and reason == _INSUFFICIENT_BALANCE:  # noqa: PLR2004 - the one status it was observed with
        return Refused(RefusalKind.BALANCE, status, reason, detail=detail)
    return Rejected(status, reason, detail)


def _retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """Seconds, or an HTTP date; None when there is none that can be read."""
    if value is None:
        return None
    if seconds := _SECONDS.fullmatch(value.strip()):
        return min(int(seconds[1]) * 1000, MAX_RETRY_AFTER_MS)
    try:
        moment = parsedate_to_datetime(value)
        then_ms = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(then_ms - now_ms, 0), MAX_RETRY_AFTER_MS)


# -------------------------------------------------------------------------------- error bodies


def _code(root: Mapping[str, Any] | None, secrets: Sequence[str]) -> str | None:
    """The provider's own code: nine digits (text or number), or a bare word such as ``invalid_token``."""
    if root is None:
        return None
    nested = root.get("error")
    inner = nested if isinstance(nested, dict) else {}
    for value in (root.get("code"), inner.get("code"), nested):
        code = identifier(value)
        if code and _CODE.fullmatch(code) and not any(secret and secret.casefold() in code.casefold() for secret in secrets):
            return code
    return None


def _complaint(root: Mapping[str, Any], secrets: Sequence[str]) -> str:
    """What the body says is wrong, in whatever of the known shapes, redacted; empty when it says nothing."""
    parts = [next(_messages(root), ""), *_properties(root.get("properties"))]
    return redact("; ".join(part for part in parts if part), secrets)


def _messages(root: Mapping[str, Any]) -> Iterator[str]:
    """Texts under the known names, best first; ``error`` may hold an object of the same kind, ``detail`` a list of findings."""
    for name in _MESSAGES:
        value = root.get(name)
        if isinstance(value, dict):
            value = first(value, "developerMessage", "message", "description", "code")
        if isinstance(value, list):
            value = "; ".join(finding for item in value[:_MOST_FINDINGS] if (finding := _finding(item)))
        if isinstance(value, str) and value.strip():
            yield value


def _finding(item: object) -> str:
    """One validation finding as ``body.flow.0.pin – too short (value_error)``; never its ``input``, which is the request's content."""
    if isinstance(item, str):
        return item
    if not isinstance(item, dict):
        return ""
    loc = item.get("loc")
    place = ".".join(str(part) for part in loc[:10] if isinstance(part, str | int)) if isinstance(loc, list) else ""
    text = string(item.get("msg"), _LONGEST_MESSAGE) or ""
    kind = string(item.get("type"), _LONGEST_MESSAGE)
    return (f"{place} – {text}" if place else text) + (f" ({kind})" if kind else "")


def _properties(value: object) -> list[str]:
    """Field name to message, on validation errors (Routee's documentation: errors)."""
    if not isinstance(value, dict):
        return []
    return [f"{name} – {text}" for name, text in list(value.items())[:_MOST_FINDINGS] if isinstance(text, str)]


def _not_json(reply: Reply, secrets: Sequence[str]) -> str:
    """A body that is no JSON object is described, never quoted: nothing is known of what it may repeat."""
    if not reply.body:
        return "empty body"
    kind = redact(reply.headers.get("content-type", ""), secrets, limit=60) or "no content type"
    return f"not a JSON object ({kind}, {len(reply.body)} bytes)"
