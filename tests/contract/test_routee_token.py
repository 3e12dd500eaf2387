"""Tokens: one request for all, early renewal, no storm, and wrong credentials told apart from a server that is away."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from connector.adapters.http_client import HttpClient
from connector.adapters.http_pool import Limits
from connector.adapters.routee_token import LONGEST_S, REFUSED_S, SPACING_S, UNTOLD_S, TokenProvider
from connector.core.model import NotSent, RefusalKind, Refused
from tests.contract.routee_double import RouteeDouble, token

AWAY = NotSent("token")


@dataclass
class Setting:
    """A provider with a hand-moved clock, the server it asks, and the results it told."""

    double: RouteeDouble
    client: HttpClient
    now: float = 1000.0
    results: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.provider = TokenProvider(
            self.client,
            self.double.server.url,
            ("me", "s€cret"),
            timeout_s=5,
            on_token=self.results.append,
            clock=lambda: self.now,
        )

    @property
    def fetches(self) -> int:
        """Token requests seen by the server."""
        return len(self.double.asked["/oauth/token"])

    async def settle(self) -> None:
        """Let a renewal in the background end."""
        await self.provider._flight.begin() if self.provider._flight.running else None


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    """Everything wired."""
    double, client = RouteeDouble(), HttpClient(Limits(connect_timeout_s=1))
    async with double.server:
        setting = Setting(double, client)
        yield setting
        await setting.provider.aclose()
        await client.aclose()


async def test_the_request_is_the_contracts(setting: Setting) -> None:
    """Basic auth and a form body with grant_type alone (Routee's documentation: authentication)."""
    assert await setting.provider.token() == "t1"
    (asked,) = setting.double.asked["/oauth/token"]
    assert asked.method == "POST"
    assert asked.body == b"grant_type=client_credentials"
    assert asked.headers["authorization"] == f"Basic {base64.b64encode('me:s€cret'.encode()).decode()}"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert setting.results == ["ok"]


async def test_one_request_serves_all_waiters(setting: Setting) -> None:
    """200 waiters, one of them cancelled, one request."""
    tasks = [asyncio.create_task(setting.provider.token()) for _ in range(200)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert set(results[1:]) == {"t1"}
    assert setting.fetches == 1


async def test_a_token_is_kept_and_renewed_early(setting: Setting) -> None:
    """Until 60 s before its end it is kept; then it is renewed while everybody still gets the old one; after its end nobody does."""
    assert await setting.provider.token() == "t1"
    setting.now += 3539
    assert await setting.provider.token() == "t1"
    assert setting.fetches == 1
    setting.now += 2
    assert [await setting.provider.token() for _ in range(3)] == ["t1"] * 3
    await setting.settle()
    assert setting.fetches == 2
    assert await setting.provider.token() == "t2"


async def test_a_failed_renewal_costs_nothing_while_the_token_lives(setting: Setting) -> None:
    """The auth server is away in the last minute: the old token goes on, then NotSent, and with its return the new one."""
    setting.double.tokens = [token("t1"), (503, {}), (503, {}), (503, {}), token("t2")]
    assert await setting.provider.token() == "t1"
    setting.now += 3545
    assert await setting.provider.token() == "t1"
    await setting.settle()
    setting.now += 54
    assert await setting.provider.token() == "t1"
    await setting.settle()
    setting.now += 2
    assert await setting.provider.token() == AWAY
    setting.now += 60
    assert await setting.provider.token() == "t2"


@pytest.mark.parametrize(
    ("expires_in", "kept_s"),
    [
        (3599, 3539),
        ("3599", 3539),
        (631139040, LONGEST_S - 60),
        (1e30, LONGEST_S - 60),
        (100, 90),
        (None, UNTOLD_S * 0.9),
        ("soon", UNTOLD_S * 0.9),
        ("nan", UNTOLD_S * 0.9),
        ("inf", LONGEST_S - 60),
        ([], UNTOLD_S * 0.9),
        (True, UNTOLD_S * 0.9),
        (0, 0.9),
        (-5, 0.9),
    ],
)
async def test_any_expires_in_is_survived(setting: Setting, expires_in: object, kept_s: float) -> None:
    """Missing, small, huge or nonsense lives give a sane time of keeping (Routee's documentation: authentication)."""
    setting.double.tokens = [token("t1", expires_in)]
    assert await setting.provider.token() == "t1"
    held = setting.provider._held
    assert held is not None
    assert held.renew_at - setting.now == pytest.approx(kept_s)


async def test_a_storm_of_refusals_is_one_request(setting: Setting) -> None:
    """200 sends are refused with the same token: one new token, for all."""
    assert await setting.provider.token() == "t1"
    setting.now += SPACING_S
    for _ in range(200):
        setting.provider.stale("t1")
    assert set(await asyncio.gather(*(setting.provider.token() for _ in range(200)))) == {"t2"}
    for _ in range(200):
        setting.provider.stale("t1")
    assert await setting.provider.token() == "t2"
    assert setting.fetches == 2


async def test_only_the_token_in_use_can_be_refused(setting: Setting) -> None:
    """A late refusal of a token that nobody uses any more changes nothing."""
    assert await setting.provider.token() == "t1"
    setting.now += SPACING_S
    setting.provider.stale("t0")
    assert await setting.provider.token() == "t1"
    assert setting.fetches == 1


async def test_the_same_token_again_is_not_asked_for_again(setting: Setting) -> None:
    """The provider re-issues the refused token: it is used, and only after a while asked about once more."""
    setting.double.tokens = [token("t1")]
    assert await setting.provider.token() == "t1"
    for _ in range(5):
        setting.now += SPACING_S
        setting.provider.stale("t1")
        assert await setting.provider.token() == "t1"
    assert setting.fetches == 2
    setting.now += REFUSED_S
    setting.provider.stale("t1")
    assert await setting.provider.token() == "t1"
    assert setting.fetches == 3


async def test_new_tokens_that_are_refused_too_come_spaced(setting: Setting) -> None:
    """Every token is refused at once (a permission is missing): at most one request per second, NotSent in between."""
    setting.double.tokens = [token(f"t{number}") for number in range(100)]
    for _ in range(50):
        value = await setting.provider.token()
        if isinstance(value, str):
            setting.provider.stale(value)
        else:
            assert value == AWAY
        setting.now += 0.1
    assert setting.fetches <= 6


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_wrong_credentials_are_refused(setting: Setting, status: int) -> None:
    """The auth server does not know us: Refused(AUTH), so that the lanes park and somebody is alarmed; not a word of the answer."""
    setting.double.tokens = [(status, {"status": status, "message": "me:s€cret is wrong"})]
    assert await setting.provider.token() == Refused(RefusalKind.AUTH, status, "TOKEN_REFUSED")
    assert await setting.provider.token() == Refused(RefusalKind.AUTH, status, "TOKEN_REFUSED")
    assert setting.fetches == 1
    assert setting.results == ["refused"]


@pytest.mark.parametrize(
    "said",
    [(500, {}), (503, b""), (429, {}), (404, {}), (302, {}), (200, b"<html>"), (200, {}), (200, {"access_token": ""}),
     (200, {"access_token": 5}), (200, {"access_token": "a\r\nx: y"}), (200, {"access_token": "ü"}), (200, [1, 2])],
)  # fmt: skip
async def test_an_auth_server_that_is_away_or_mad_is_not_sent(setting: Setting, said: tuple[int, object]) -> None:
    """No usable token: nothing was sent, the same attempt is tried again."""
    setting.double.tokens = [said]
    assert await setting.provider.token() == AWAY
    assert setting.results == ["failed"]


async def test_an_unreachable_auth_server_is_not_sent(setting: Setting) -> None:
    """Refused connections are values too."""
    provider = TokenProvider(setting.client, "http://127.0.0.1:1", ("a", "b"), timeout_s=1, on_token=setting.results.append)
    assert await provider.token() == AWAY
    assert setting.results == ["failed"]


async def test_failures_are_spaced_by_a_growing_backoff(setting: Setting) -> None:
    """While the auth server is away, requests come after 1, 2, 4 … at most 30 s, whoever asks; a success forgets them."""

    def answers() -> Iterator[tuple[int, object]]:
        for _ in range(7):
            yield 503, {}
        yield token("t1", 10)
        yield 503, {}

    setting.double.tokens = list(answers())
    begun: list[float] = []
    fetches = 0
    start = setting.now
    while await setting.provider.token() != "t1":
        if setting.fetches > fetches:
            fetches = setting.fetches
            begun.append(setting.now - start)
        setting.now += 0.5
    assert begun == [0, 1, 3, 7, 15, 31, 61]
    setting.now += 11
    assert await setting.provider.token() == AWAY
    assert setting.provider._next_fetch_at == setting.now + SPACING_S


async def test_secrets_stay_out_of_sight(setting: Setting) -> None:
    """Neither the secret nor the token shows in a repr."""
    await setting.provider.token()
    assert "t1" not in repr(setting.provider._held)
    assert "cret" not in repr(vars(setting.provider).get("_held"))
