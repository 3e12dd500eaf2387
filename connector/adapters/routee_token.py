"""Access tokens (Routee's documentation: authentication): one request at a time, renewed before they end, never asked for in a storm."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from connector.adapters.http_client import HttpClient
from connector.adapters.single_flight import SingleFlight
from connector.core.coerce import parse_json, unwrap
from connector.core.model import NotSent, RefusalKind, Refused, Reply

LONGEST_S = 24 * 3600.0  # "Unlimited" comes as 20 years; a revoked token must not live that long here
UNTOLD_S = 300.0  # of a token without a usable expires_in: a full hour is never assumed
SPACING_S = 1.0  # between two requests, whatever happens
LONGEST_BACKOFF_S = 30.0
REFUSED_S = 30.0  # the provider may issue the same token again: how long a second refusal of it asks for no other

_MARGIN_S = 60.0
_MARGIN_SHARE = 0.1
_REFUSALS = frozenset({400, 401, 403})  # RFC 6749 §5.2 answers invalid_client with 400 or 401
_USABLE = re.compile(r"[\x21-\x7e]{1,4096}")
_UNAVAILABLE = NotSent("token")


def boot_s() -> float:
    """Seconds on a clock that also runs while the machine is suspended: the provider's clock does not stop either."""
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux only
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class _Held:
    value: str = field(repr=False)
    renew_at: float
    expires_at: float


class TokenProvider:
    """The token of one application. A refusal of the credentials is a value like any other.

    ``on_token`` is told of each request's result: ok, refused (wrong credentials), failed (no usable answer).
    """

    def __init__(
        self,
        client: HttpClient,
        auth_url: str,
        credentials: tuple[str, str],
        *,
        timeout_s: float,
        on_token: Callable[[str], None],
        clock: Callable[[], float] = boot_s,
    ) -> None:
        self._client = client
        self._url = f"{auth_url.rstrip('/')}/oauth/token"
        self._authorization = b"Basic " + base64.b64encode(":".join(credentials).encode())
        self._timeout_s = timeout_s
        self._on_token = on_token
        self._clock = clock
        self._flight = SingleFlight(self._fetch)
        self._held: _Held | None = None
        self._why: NotSent | Refused = _UNAVAILABLE
        self._failures = 0
        self._next_fetch_at = 0.0
        self._refused: str | None = None
        self._refused_until = 0.0

    async def token(self) -> str | NotSent | Refused:
        """The token; NotSent("token") while the auth server is away, Refused(AUTH) when it does not accept our credentials.

        In the last tenth of a token's life (60 s at most) it is renewed without anybody waiting. After a failed request the
        answer stays the same until the backoff is over.
        """
        now = self._clock()
        held = self._held if self._held and now < self._held.expires_at else None
        if held is not None and now < held.renew_at:
            return held.value
        if self._flight.running or now >= self._next_fetch_at:
            self._flight.begin()
            return held.value if held else await self._flight()
        return held.value if held else self._why

    def stale(self, token: str) -> None:
        """A resource refused this token. The next ``token()`` asks for a new one, once per token, however many refusals come in."""
        if self._held is None or self._held.value != token:
            return
        now = self._clock()
        if token == self._refused and now < self._refused_until:
            return
        self._refused, self._refused_until = token, now + REFUSED_S
        self._held = None

    async def aclose(self) -> None:
        """End a request that is under way."""
        await self._flight.aclose()

    async def _fetch(self) -> str | NotSent | Refused:
        headers = {b"authorization": self._authorization, b"accept": b"application/json"}
        request = httpx.Request("POST", self._url, data={"grant_type": "client_credentials"}, headers=headers)
        answer = await self._client.request(request, self._timeout_s)
        now = self._clock()
        held = _read(answer, now) if isinstance(answer, Reply) else None
        self._held = held or self._held
        if held is not None:
            self._failures, self._why = 0, _UNAVAILABLE
            self._next_fetch_at = now + SPACING_S
            self._on_token("ok")
            return held.value
        refused = isinstance(answer, Reply) and answer.status in _REFUSALS
        self._why = Refused(RefusalKind.AUTH, answer.status, "TOKEN_REFUSED") if refused and isinstance(answer, Reply) else _UNAVAILABLE
        self._next_fetch_at = now + min(SPACING_S * 2**self._failures, LONGEST_BACKOFF_S)
        self._failures = min(self._failures + 1, 10)
        self._on_token("refused" if refused else "failed")
        return self._why


def _read(reply: Reply, now: float) -> _Held | None:
    """The token in an answer, or None when there is no usable one."""
    document = unwrap(parse_json(reply.body)) if reply.status == httpx.codes.OK else None
    value = document.get("access_token") if document else None
    if document is None or not isinstance(value, str) or not _USABLE.fullmatch(value):
        return None
    life_s = _life_s(document.get("expires_in"))
    return _Held(value, now + life_s - min(_MARGIN_S, life_s * _MARGIN_SHARE), now + life_s)


def _life_s(expires_in: object) -> float:
    """``expires_in`` as seconds within sane bounds; a re-issued token comes with what is left of its life."""
    try:
        told = float(str(expires_in)) if not isinstance(expires_in, bool) else UNTOLD_S
    except ValueError:
        told = UNTOLD_S
    if told != told:  # noqa: PLR0124 the one value that differs from itself: NaN
        told = UNTOLD_S
    return min(max(told, SPACING_S), LONGEST_S)
