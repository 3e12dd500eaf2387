"""OAuth2 client credentials as the provider does them (Routee's documentation: authentication)."""

from __future__ import annotations

import base64
import binascii
import enum
import random
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs

from connector.simulator.answers import answer
from connector.simulator.checks import Checks
from connector.simulator.options import WRONG_SECRET, SimulatorOptions
from connector.simulator.switches import Switches
from connector.simulator.wire import Answer, HttpRequest

_SCOPE = "voice viber sms failover account report 2step lookup number_validator"
_PERMISSIONS = ["MT_ROLE_SMS", "MT_ROLE_VOICE", "MT_ROLE_FAILOVER", "MT_ROLE_ACCOUNT_FINANCE", "MT_ROLE_REPORT", "MT_ROLE_2STEP"]


class Bearer(enum.Enum):
    """What an Authorization header is worth."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"


class Tokens:
    """Issues tokens and knows which are alive. ``clock`` gives seconds."""

    def __init__(self, options: SimulatorOptions, switches: Switches, clock: Callable[[], float], rng: random.Random) -> None:
        self._options = options
        self._switches = switches
        self._clock = clock
        self._rng = rng
        self._alive: dict[str, float] = {}  # token → end of life
        self._last: dict[str, str] = {}  # application → its newest token

    def issue(self, request: HttpRequest, checks: Checks) -> Answer:
        """POST /oauth/token."""
        form = parse_qs(request.body.decode("utf-8", "replace"))
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            checks.note("content_type", (), "must be a form", refuses=False)
        if form.get("grant_type") != ["client_credentials"]:
            checks.note("bad_grant", ("grant_type",), "must be client_credentials")
            return answer({"error": "unsupported_grant_type", "error_description": "Unsupported grant type"}, 400)
        application = self._application(request.headers.get("authorization", ""))
        if application is None:
            message = {"status": 401, "error": "Unauthorized", "message": "Bad credentials", "path": "/oauth/token"}
            return answer(message, 401)
        token, expires_in = self._token(application)
        return answer(
            {
                "access_token": token,
                "token_type": self._switches.word("token_type"),
                "expires_in": expires_in,
                "scope": _SCOPE,
                "permissions": _PERMISSIONS,
            },
        )

    def check(self, authorization: str | None) -> Bearer:
        """Judge the Authorization header of a resource request."""
        if not authorization:
            return Bearer.MISSING
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer":
            return Bearer.MISSING
        return Bearer.VALID if self._alive.get(token.strip(), 0.0) > self._clock() else Bearer.INVALID

    def revoke(self) -> None:
        """Let every token die now."""
        self._alive.clear()
        self._last.clear()

    def _application(self, authorization: str) -> str | None:
        kind, _, encoded = authorization.partition(" ")
        try:
            application, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if kind.lower() != "basic" or not colon or not application or not secret:
            return None
        known = self._options.applications
        is_right = secret != WRONG_SECRET if known is None else known.get(application) == secret
        return application if is_right else None

    def _token(self, application: str) -> tuple[str, int]:
        now = self._clock()
        token = self._last.get(application)
        if token is None or not self._switches.is_on("token_reissue") or self._alive.get(token, 0.0) <= now:
            token = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
            self._last[application] = token
            self._alive[token] = now + self._options.token_lifetime_s
        return token, max(0, int(self._alive[token] - now))
