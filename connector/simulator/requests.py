"""What is checked of every request to a protected resource, whatever it asks for."""

from __future__ import annotations

from connector.simulator.checks import Checks
from connector.simulator.tokens import Bearer, Tokens
from connector.simulator.wire import HttpRequest


def check_request(request: HttpRequest, checks: Checks, tokens: Tokens) -> Bearer:
    """Note wrong headers and judge the bearer token. A stale token is no violation, a missing one is."""
    if "expect" in request.headers:
        checks.note("expect_header", (), "100-continue is to be disabled", refuses=False)
    if request.method == "POST" and not request.headers.get("content-type", "").startswith("application/json"):
        checks.note("content_type", (), "must be application/json")
    bearer = tokens.check(request.headers.get("authorization"))
    if bearer is Bearer.MISSING:
        checks.note("missing_token", (), "a bearer token is required", refuses=False)
    return bearer
