"""Sending: one POST at most, a token before the lease, a refused token forgotten, nothing personal in any value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

from connector.adapters.routee import PATHS, Routee, RouteeOptions
from connector.core.model import (
    Accepted,
    Api,
    Channel,
    Doubt,
    NotSent,
    Outcome,
    RefusalKind,
    Refused,
    Rejected,
    Request,
)
from connector.errors import ConfigError
from connector.ports import Unanswered
from connector.simulator import Simulator, SimulatorOptions, recipient_for
from tests.contract.routee_double import Asked, RouteeDouble, Said, token
from tests.servers import Peer, RawServer

PHONE = "+306912345678"


def options(url: str, **others: object) -> RouteeOptions:
    """Short times."""
    given: dict[str, object] = {"auth_url": url, "base_url": url, "application_id": "me", "application_secret": "secret"}
    return RouteeOptions(**{**given, "timeout_s": 2.0, "connect_timeout_s": 1.0, **others})  # type: ignore[arg-type]


def request(api: Api = Api.STANDARD, phone: str = PHONE) -> Request:
    """One Sms step."""
    step = {"type": "Sms", "from": "ACME", "to": phone, "message": {"body": "Hello"}, "ttl": 30, "order": 1}
    body = json.dumps({"flow": [step]}).encode()
    return Request(api, "f.1", body, phone, (Channel.SMS,), ("Sms",), labelled=False, ttl_total_ms=1, secrets=("Hello", phone))


async def send(routee: Routee, api: Api = Api.STANDARD, may_start: Callable[[], bool] = lambda: True) -> Outcome:
    """One send."""
    return await routee.send(request(api), may_start)


@pytest.fixture
async def double() -> AsyncIterator[RouteeDouble]:
    """A provider that accepts all three sends."""
    double = RouteeDouble()
    double.at = {path: lambda asked: (200, {"flowId" if "otp" in asked.path else "trackingId": "id-1"}) for path in PATHS.values()}
    async with double.server:
        yield double


@pytest.fixture
async def routee(double: RouteeDouble) -> AsyncIterator[Routee]:
    """A client of it, under a path prefix of the base URL."""
    double.at |= {f"/prefix{path}": handler for path, handler in double.at.items()}
    routee = Routee(options(double.server.url, base_url=f"{double.server.url}/prefix/"))
    yield routee
    await routee.aclose()


@pytest.mark.parametrize("api", Api)
async def test_each_api_has_its_path(double: RouteeDouble, routee: Routee, api: Api) -> None:
    """The body goes out as it was built, to the API's path, with the token and as JSON; no Expect."""
    outcome = await send(routee, api)
    assert isinstance(outcome, Accepted)
    assert outcome.tracking_id == "id-1"
    (asked,) = double.asked[f"/prefix{PATHS[api]}"]
    assert asked.method == "POST"
    assert asked.body == request(api).body
    assert asked.headers == {
        "host": f"127.0.0.1:{double.server.port}",
        "authorization": "Bearer t1",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-length": str(len(asked.body)),
    }


async def test_the_token_is_had_before_the_lease_is_asked(double: RouteeDouble, routee: Routee) -> None:
    """Getting a token takes time: it is over when ``may_start`` is asked; a lease that is over sends nothing."""
    seen: list[int] = []

    def may_start() -> bool:
        seen.append(len(double.asked["/oauth/token"]))
        return False

    assert await send(routee, may_start=may_start) == NotSent("lease_over")
    assert seen == [1]
    assert list(double.asked) == ["/oauth/token"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_forgotten_and_nothing_is_repeated(double: RouteeDouble, routee: Routee, status: int) -> None:
    """One POST, refused; the next send comes with a new token."""

    def only_t2(asked: Asked) -> Said:
        return (200, {"trackingId": "id-1"}) if asked.headers["authorization"] == "Bearer t2" else (status, {"error": "invalid_token"})

    path = "/prefix/failover"
    double.at[path] = only_t2
    first = await send(routee)
    assert isinstance(first, Refused)
    assert (first.kind, first.http_status) == (RefusalKind.AUTH, status)
    assert len(double.asked[path]) == 1
    routee._tokens[Api.STANDARD]._next_fetch_at = 0  # its spacing has a test of its own
    assert isinstance(await send(routee), Accepted)
    assert len(double.asked["/oauth/token"]) == 2


async def test_a_storm_of_refusals_is_one_token_request(double: RouteeDouble, routee: Routee) -> None:
    """100 sends at once, all refused with the old token: one new token for all."""
    path = "/prefix/failover"
    double.at[path] = lambda asked: (401, {}) if asked.headers["authorization"] == "Bearer t1" else (200, {"trackingId": "x"})
    outcomes = await asyncio.gather(*(send(routee) for _ in range(100)))
    assert all(isinstance(outcome, Refused) for outcome in outcomes)
    routee._tokens[Api.STANDARD]._next_fetch_at = 0
    outcomes = await asyncio.gather(*(send(routee) for _ in range(100)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len(double.asked["/oauth/token"]) == 2
    assert len(double.asked[path]) == 200


async def test_no_token_is_no_send(double: RouteeDouble, routee: Routee) -> None:
    """Auth server away: NotSent. Wrong credentials: Refused(AUTH). Either way the lease is not even asked."""
    double.tokens = [(503, {})]
    assert await send(routee, may_start=lambda: pytest.fail("asked")) == NotSent("token")
    routee._tokens[Api.STANDARD]._next_fetch_at = 0
    double.tokens = [(401, {})]
    outcome = await send(routee, may_start=lambda: pytest.fail("asked"))
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.AUTH


async def test_otp_may_have_an_application_of_its_own(double: RouteeDouble) -> None:
    """Two applications, two tokens; a refusal of the one leaves the other alone."""
    results: list[str] = []
    routee = Routee(options(double.server.url, otp_application_id="otp", otp_application_secret="other", on_token=results.append))
    await send(routee, Api.STANDARD)
    await send(routee, Api.OTP)
    await send(routee, Api.TRANSACTIONAL)
    assert [double.asked[PATHS[api]][0].headers["authorization"] for api in Api] == ["Bearer t1", "Bearer t1", "Bearer t2"]
    assert results == ["ok", "ok"]
    await routee.aclose()


@pytest.mark.parametrize(
    ("status", "expected"), [(500, Doubt), (408, Doubt), (302, Doubt), (429, Refused), (400, Rejected), (422, Rejected)]
)
async def test_answers_are_classified(double: RouteeDouble, routee: Routee, status: int, expected: type[Outcome]) -> None:
    """One POST whatever the answer, and the text of the message is in no outcome."""
    double.at["/prefix/failover"] = lambda _: (status, {"code": "400005000", "developerMessage": f"Hello to {PHONE} by t1"})
    outcome = await send(routee)
    assert isinstance(outcome, expected)
    assert len(double.asked["/prefix/failover"]) == 1
    assert "Hello" not in repr(outcome)
    assert "691234" not in repr(outcome)


async def test_read_then_closed_is_doubt(double: RouteeDouble) -> None:
    """The promise: what may have arrived is never called unsent, and never sent again here."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.close()

    async with RawServer(script) as server:
        routee = Routee(options(double.server.url, base_url=server.url))
        assert await send(routee) == Doubt("closed")
        assert len(server.requests) == 1
        await routee.aclose()


async def test_the_time_to_the_answer_is_told(double: RouteeDouble) -> None:
    """``on_answer`` is called once for each whole answer, with its API and seconds; not for what has none."""
    told: list[tuple[Api, float]] = []
    routee = Routee(options(double.server.url, on_answer=lambda api, seconds: told.append((api, seconds))))
    await send(routee)
    await send(routee, may_start=lambda: False)
    ((api, seconds),) = told
    assert api is Api.STANDARD
    assert 0 < seconds < 2
    await routee.aclose()


@pytest.mark.parametrize(
    ("others", "where"),
    [
        ({"base_url": "ftp://x"}, "routee.base_url"),
        ({"auth_url": "nonsense"}, "routee.auth_url"),
        ({"proxy": "socks5://me:secret@x"}, "routee.proxy"),
        ({"ca_file": "/does/not/exist"}, "routee.ca_file"),
    ],
)
async def test_options_that_cannot_work_stop_the_start(others: dict[str, object], where: str) -> None:
    """A ConfigError with the setting's name, and without its value."""
    with pytest.raises(ConfigError) as caught:
        Routee(options("http://127.0.0.1:1", **others))
    assert caught.value.problems[0].where == where
    assert "secret" not in str(caught.value)


def test_options_hide_their_secrets() -> None:
    """No secret in a repr."""
    shown = repr(RouteeOptions("https://a", "https://b", "me", "hush", "otp", "hush", proxy="http://me:hush@p"))
    assert "hush" not in shown


# ------------------------------------------------------------------------------------------------------ Routee in the box


@pytest.fixture
async def simulated() -> AsyncIterator[tuple[Simulator, Routee]]:
    """The simulator and a client of it."""
    simulator = Simulator(SimulatorOptions(seed=1, callbacks=False))
    await simulator.start()
    routee = Routee(options(simulator.auth_url, base_url=simulator.base_url))
    yield simulator, routee
    await routee.aclose()
    await simulator.stop()


async def test_the_simulator_accepts_what_we_send(simulated: tuple[Simulator, Routee]) -> None:
    """The three sends, held to the contract by the simulator: accepted, and found again by their ids."""
    simulator, routee = simulated
    for api in (Api.STANDARD, Api.OTP):
        outcome = await send(routee, api)
        assert isinstance(outcome, Accepted)
        report = await routee.flow(api, outcome.tracking_id)
        assert getattr(report, "tracking_id", None) == outcome.tracking_id
    assert simulator.violations == {}


@pytest.mark.parametrize(
    ("scenario", "reason", "is_there"),
    [
        ("error_500_not_accepted", "http_500", False),
        ("error_500_accepted", "http_500", True),
        ("cut_before_accept", "reset", False),
        ("cut_after_accept", "reset", True),
        ("never_answering", "timeout", False),
        ("never_answering_accepted", "timeout", True),
        ("truncated_json", "unparsable", True),
        ("cut_mid_body", "cut", True),
        ("id_less_2xx", "no_id", True),
    ],
)
async def test_faults_are_doubts_that_a_search_resolves(
    simulated: tuple[Simulator, Routee], scenario: str, reason: str, is_there: bool
) -> None:
    """Whatever Routee shows instead of an answer: in doubt, posted once, and the search tells which."""
    simulator, routee = simulated
    phone = recipient_for(scenario)
    outcome = await routee.send(request(phone=phone), lambda: True)
    assert isinstance(outcome, Doubt)
    assert outcome.reason == reason
    now_ms = int(simulator.provider.clock() * 1000)
    found = await routee.search(Api.STANDARD, phone, now_ms - 60_000, now_ms)
    assert not isinstance(found, Unanswered)
    assert len(found) == is_there
    assert simulator.violations == {}


def test_the_doubles_token_is_the_contracts() -> None:
    """The double answers as the contract's example does (Routee's documentation: authentication)."""
    status, document = token("t")
    assert status == 200
    assert isinstance(document, dict)
    assert set(document) == {"access_token", "token_type", "expires_in", "scope"}
