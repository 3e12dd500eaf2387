"""Routee: sending, and asking (``ports.Sender`` and ``ports.Tracking``). The client never repeats a POST that could send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from connector.adapters.http_client import HttpClient
from connector.adapters.http_pool import Limits
from connector.adapters.routee_token import TokenProvider
from connector.adapters.routee_tracking import RouteeReads, RouteeTracking
from connector.core.model import Api, Failure, FlowReport, JsonObject, Outcome, RefusalKind, Refused, Request
from connector.core.outcome import classify
from connector.errors import ConfigError, Problem
from connector.ports import Page, Unanswered

T = TypeVar("T")

PATHS = {
    Api.STANDARD: "/failover",
    Api.TRANSACTIONAL: "/failover/transactional",
    Api.OTP: "/failover-otp/otp/send-failover",
}
"""Routee's documentation: Standard Failover, Transactional Failover, OTP Failover."""

_HEADERS = b"content-type: application/json\r\naccept: application/json\r\naccept-encoding: identity\r\n"
_FEWEST_READS = 4
_READS_SHARE = 8


def reads_at_once(max_connections: int) -> int:
    """Connections for reads, beside so many for sends."""
    return max(_FEWEST_READS, max_connections // _READS_SHARE)


@dataclass(frozen=True, slots=True)
class RouteeOptions:
    """The account and the limits. URLs may have a path prefix; ``None`` for OTP: the same application.

    ``on_token(result)`` is told of each token request (ok, refused, failed), ``on_answer(api, seconds)`` of each whole answer to a
    send, from the write to its last byte.
    """

    auth_url: str
    base_url: str
    application_id: str
    application_secret: str = field(repr=False)
    otp_application_id: str | None = None
    otp_application_secret: str | None = field(default=None, repr=False)
    timeout_s: float = 10.0  # T: from the write to the last byte of the answer
    connect_timeout_s: float = 3.0
    max_connections: int = 256  # for sends; reads have an eighth of it beside, so that neither waits for the other
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    on_token: Callable[[str], None] = field(default=lambda _result: None, repr=False)
    on_answer: Callable[[Api, float], None] = field(default=lambda _api, _seconds: None, repr=False)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Routee:
    """One account at Routee. Raises ConfigError for a URL, proxy or ``ca_file`` that cannot be used."""

    def __init__(self, options: RouteeOptions, now_ms: Callable[[], int] = _now_ms) -> None:
        self._options = options
        self._now_ms = now_ms
        self._sends = _client(options, options.max_connections)
        self._reads = _client(options, reads_at_once(options.max_connections))
        _checked("routee.auth_url", lambda: self._reads.target("POST", options.auth_url))
        base_url = options.base_url.rstrip("/")
        self._targets = _checked(
            "routee.base_url", lambda: {api: self._sends.target("POST", base_url + path) for api, path in PATHS.items()}
        )
        own = self._provider(options.application_id, options.application_secret)
        has_otp = options.otp_application_id is not None and options.otp_application_secret is not None
        otp = self._provider(options.otp_application_id or "", options.otp_application_secret or "") if has_otp else own
        self._tokens = {Api.STANDARD: own, Api.TRANSACTIONAL: own, Api.OTP: otp}
        self._headers: dict[Api, tuple[str, bytes]] = {}
        self._tracking = RouteeTracking(RouteeReads(self._reads, base_url, self._tokens.__getitem__, options.timeout_s))

    async def send(self, request: Request, may_start: Callable[[], bool]) -> Outcome:
        """One POST at most. The token is had first: renewing it must not eat the lease unseen.

        A refused token (401, 403) is forgotten, so that the next attempt comes with a new one.
        """
        api = request.api
        token = await self._tokens[api].token()
        if not isinstance(token, str):
            return token
        started_s = 0.0

        def begin() -> bool:
            nonlocal started_s
            started_s = time.monotonic()
            return may_start()

        answer = await self._sends.exchange(self._targets[api], self._headers_of(api, token), request.body, self._options.timeout_s, begin)
        if not isinstance(answer, Failure):
            self._options.on_answer(api, time.monotonic() - started_s)
        outcome = classify(api, answer, (*request.secrets, token), now_ms=self._now_ms())
        if isinstance(outcome, Refused) and outcome.kind is RefusalKind.AUTH:
            self._tokens[api].stale(token)
        return outcome

    async def flow(self, api: Api, tracking_id: str) -> FlowReport | Unanswered:
        """See ``ports.Tracking.flow``."""
        return await self._tracking.flow(api, tracking_id)

    async def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        """See ``ports.Tracking.search``."""
        return await self._tracking.search(api, recipient, since_ms, until_ms)

    async def page(self, api: Api, since_ms: int, until_ms: int, number: int) -> Page | Unanswered:
        """See ``ports.Tracking.page``."""
        return await self._tracking.page(api, since_ms, until_ms, number)

    async def templates(self) -> JsonObject | Unanswered:
        """The OTP templates (Routee's documentation: OTP templates), raw."""
        return await self._tracking.templates()

    async def balance(self) -> bool | Unanswered:
        """Whether the account has money left: the probe of the breaker *balance*."""
        return await self._tracking.balance()

    async def auth_probe(self) -> bool | Unanswered:
        """Whether credentials and token of every application are accepted: the probe of the breaker *auth*."""
        separate = self._tokens[Api.OTP] is not self._tokens[Api.STANDARD]
        for api in (Api.STANDARD, Api.OTP) if separate else (Api.STANDARD,):
            answer = await self._tracking.auth_probe(api)
            if answer is not True:
                return answer
        return True

    async def aclose(self) -> None:
        """Close all connections. Sends still under way end in doubt."""
        await asyncio.gather(*(tokens.aclose() for tokens in set(self._tokens.values())))
        await asyncio.gather(self._sends.aclose(), self._reads.aclose())

    def _provider(self, application_id: str, secret: str) -> TokenProvider:
        options = self._options
        credentials = (application_id, secret)
        return TokenProvider(self._reads, options.auth_url, credentials, timeout_s=options.timeout_s, on_token=options.on_token)

    def _headers_of(self, api: Api, token: str) -> bytes:
        """Built once per token. No ``Expect`` (the docs' curl switches it off), no coding of the answer."""
        known = self._headers.get(api)
        if known is None or known[0] != token:
            known = self._headers[api] = (token, f"authorization: Bearer {token}\r\n".encode("ascii") + _HEADERS)
        return known[1]


def _client(options: RouteeOptions, max_connections: int) -> HttpClient:
    limits = Limits(max_connections, options.connect_timeout_s, user_timeout_ms=int(options.timeout_s * 1000))
    try:
        return HttpClient(limits, ca_file=options.ca_file, proxy=options.proxy)
    except ValueError as error:
        raise ConfigError((Problem("routee.proxy", str(error)),)) from None
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError((Problem("routee.ca_file", f"cannot be read: {error.strerror or type(error).__name__}"),)) from None


def _checked(where: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise ConfigError((Problem(where, str(error)),)) from None
