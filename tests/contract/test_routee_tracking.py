"""Asking: all pages or no answer, both forms of a phone, rather a flow too many than one missing."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import pytest

from connector.adapters.routee import Routee, RouteeOptions
from connector.adapters.routee_tracking import RouteeTracking
from connector.core.model import Accepted, Api, Channel, FlowReport, FlowStatus, Reply, Request
from connector.ports import Page, Unanswered
from connector.simulator import Simulator, SimulatorOptions
from tests.contract.routee_double import Asked, RouteeDouble, Said

PHONE = "+306912345678"
SINCE_MS = 1_771_243_230_000  # 2026-02-16T12:00:30Z
UNTIL_MS = 1_771_243_290_000  # 12:01:30
SEARCH = "/failover/tracking"
OTP_LIST = "/failover-otp/otp/failover"


@pytest.fixture
async def double() -> AsyncIterator[RouteeDouble]:
    """A provider without handlers."""
    double = RouteeDouble()
    async with double.server:
        yield double


@pytest.fixture
async def routee(double: RouteeDouble) -> AsyncIterator[Routee]:
    """A client of it."""
    url = double.server.url
    routee = Routee(RouteeOptions(url, url, "me", "secret", timeout_s=2, connect_timeout_s=1))
    yield routee
    await routee.aclose()


def flow(number: int, to: str | None = PHONE, created: str = "2026-02-16T12:00:40.5Z") -> dict[str, object]:
    """One tracking document (Routee's documentation: tracking)."""
    message = {"type": "Sms", "order": 1, "to": to, "status": {"name": "Sent"}, "label": f"l{number}"}
    return {"trackingId": f"id-{number}", "status": "InProgress", "messages": [message] if to else [], "createdAt": created}


def page(flows: Sequence[object], number: int, pages: int) -> Said:
    """A Spring page."""
    last = number + 1 >= pages
    return 200, {"content": flows, "totalPages": pages, "number": number, "size": 100, "first": number == 0, "last": last}


def ids(answer: tuple[FlowReport, ...] | Unanswered) -> list[str | None]:
    """Tracking ids of what was found."""
    assert not isinstance(answer, Unanswered), answer
    return [report.tracking_id for report in answer]


# ------------------------------------------------------------------------------------------------------------- one flow


@pytest.mark.parametrize("api", Api)
async def test_a_flow_is_asked_by_its_id(double: RouteeDouble, routee: Routee, api: Api) -> None:
    """Percent-encoded, at the API's own place (Routee's documentation: tracking, OTP tracking)."""
    place = OTP_LIST if api is Api.OTP else SEARCH
    double.at[f"{place}/a%2Fb%3F1"] = lambda _: (200, {"trackingId": "a/b?1", "status": "Succeeded"})
    report = await routee.flow(api, "a/b?1")
    assert isinstance(report, FlowReport)
    assert report.status is FlowStatus.SUCCEEDED
    (asked,) = double.asked[f"{place}/a%2Fb%3F1"]
    assert asked.method == "GET"
    assert asked.headers["authorization"] == "Bearer t1"
    assert "content-length" not in asked.headers


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((404, {"code": "404005000", "developerMessage": "not found"}), Unanswered("not_found", 404)),
        ((404, {"detail": "Tracking not found"}), Unanswered("not_found", 404)),
        ((404, b"<html>nginx</html>"), Unanswered("http_404", 404)),
        ((429, {}), Unanswered("throttled", 429)),
        ((500, {}), Unanswered("http_500", 500)),
        ((302, {}), Unanswered("http_302", 302)),
        ((200, b"{"), Unanswered("unparsable", 200)),
        ((200, {}), Unanswered("unparsable", 200)),
        ((200, {"trackingId": "another", "status": "Failed"}), Unanswered("mismatch", 200)),
        ((401, {}), Unanswered("http_401", 401)),
    ],
)
async def test_what_proves_nothing_is_unanswered(double: RouteeDouble, routee: Routee, said: Said, expected: Unanswered) -> None:
    """Whatever is not the flow's document says nothing of the flow."""
    double.at[f"{SEARCH}/x"] = lambda _: said
    routee._tokens[Api.STANDARD]._clock = iter(range(0, 10_000, 10)).__next__  # spacing of tokens has a test of its own
    assert await routee.flow(Api.STANDARD, "x") == expected


async def test_transport_trouble_is_unanswered() -> None:
    """A provider that is away is a value."""
    routee = Routee(RouteeOptions("http://127.0.0.1:1", "http://127.0.0.1:1", "me", "secret"))
    assert await routee.flow(Api.STANDARD, "x") == Unanswered("token")
    assert await routee.search(Api.OTP, PHONE, 0, 1) == Unanswered("token")
    await routee.aclose()


async def test_a_read_is_repeated_once_with_a_new_token(double: RouteeDouble, routee: Routee) -> None:
    """A read changes nothing, so a refused token costs one more request, and no more than one."""
    routee._tokens[Api.STANDARD]._clock = iter(range(0, 10_000, 10)).__next__
    double.at[f"{SEARCH}/x"] = lambda asked: (
        (401, {}) if asked.headers["authorization"] == "Bearer t1" else (200, {"trackingId": "x", "status": "Queued"})
    )
    assert isinstance(await routee.flow(Api.STANDARD, "x"), FlowReport)
    double.at[f"{SEARCH}/y"] = lambda _: (403, {})
    assert await routee.flow(Api.STANDARD, "y") == Unanswered("http_403", 403)
    assert len(double.asked[f"{SEARCH}/y"]) == 2


# --------------------------------------------------------------------------------------------------------------- search


async def test_both_forms_of_the_phone_are_asked_for(double: RouteeDouble, routee: Routee) -> None:
    """E.164 and digits only, each an array with one filter, a window in minutes that covers ours, merged by what was found."""

    def found(asked: Asked) -> Said:
        (condition,) = json.loads(asked.body)
        return page([flow(1), flow(2)] if condition["searchTerm"].startswith("+") else [flow(2), flow(3)], 0, 1)

    double.at[SEARCH] = found
    assert ids(await routee.search(Api.TRANSACTIONAL, PHONE, SINCE_MS, UNTIL_MS)) == ["id-1", "id-2", "id-3"]
    first, second = double.asked[SEARCH]
    assert [json.loads(asked.body) for asked in (first, second)] == [
        [{"fieldName": "to", "searchOperator": "is", "searchTerm": term}] for term in ("+306912345678", "306912345678")
    ]
    assert first.query == {"dateStart": "2026-02-16T12:00Z", "dateEnd": "2026-02-16T12:03Z", "size": "100", "page": "0"}
    assert first.method == "POST"
    assert first.headers["content-type"] == "application/json"


@pytest.mark.parametrize("ahead_s", [-600, -70, 0, 70, 600, None])
@pytest.mark.parametrize("api", Api)
async def test_a_flow_is_found_however_far_apart_the_clocks_are(
    double: RouteeDouble, routee: Routee, api: Api, ahead_s: int | None
) -> None:
    """Routee dates and filters by its own clock; its answers tell it, so no absence is concluded from a window beside the flow."""
    moment = dt.datetime.fromtimestamp(SINCE_MS / 1000 + 60 + (ahead_s or 0), dt.UTC).isoformat()

    def found(asked: Asked) -> Said:
        start, end = asked.query["dateStart"], asked.query["dateEnd"]
        return page([flow(1, created=moment)] if start <= moment[:16] + "Z" < end else [], 0, 1)

    double.at[SEARCH] = found
    double.at[OTP_LIST] = lambda _: (200, {"results": [flow(1, created=moment)], "total": 1, "offset": 0})
    double.ahead_s = ahead_s
    answer = await routee.search(api, PHONE, SINCE_MS, UNTIL_MS)
    assert ids(answer) == ["id-1"]
    assert not isinstance(answer, Unanswered)
    created_ms = answer[0].created_at_ms
    assert created_ms is None or SINCE_MS <= created_ms <= UNTIL_MS + 60_000, "a doubt would take it for somebody else's"
    if not ahead_s:
        assert created_ms is not None


async def test_a_time_that_no_clock_tells_is_not_believed(double: RouteeDouble, routee: Routee) -> None:
    """A proxy that dates its answers with the last minute there is: the search goes on by our own clock, and nothing raises."""
    now = int(time.time())
    double.at[SEARCH] = lambda _: page([flow(1, created=dt.datetime.fromtimestamp(now, dt.UTC).isoformat())], 0, 1)
    double.ahead_s = dt.datetime(9999, 12, 31, 23, 58, tzinfo=dt.UTC).timestamp() - time.time()
    assert ids(await routee.search(Api.STANDARD, PHONE, (now - 60) * 1000, (now + 60) * 1000)) == ["id-1"]


async def test_clocks_that_move_under_a_search_prove_nothing(double: RouteeDouble, routee: Routee) -> None:
    """Each answer tells another time."""
    apart = iter(range(0, 100_000, 100))

    def found(_: Asked) -> Said:
        double.ahead_s = next(apart)
        return page([], 0, 1)

    double.at[SEARCH] = found
    assert await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS) == Unanswered("clock")


async def test_all_pages_are_read(double: RouteeDouble, routee: Routee) -> None:
    """250 flows on three pages are 250 flows."""
    everything = [flow(number) for number in range(250)]

    def found(asked: Asked) -> Said:
        number = int(asked.query["page"])
        return page(everything[number * 100 : number * 100 + 100], number, 3)

    double.at[SEARCH] = found
    assert len(ids(await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS))) == 250
    assert [asked.query["page"] for asked in double.asked[SEARCH]] == ["0", "1", "2"] * 2


@pytest.mark.parametrize("trouble", [(500, {}), (429, {}), (200, {}), (200, {"content": [{"no": "flow"}], "last": True}), (404, {})])
async def test_one_missing_page_makes_no_answer(double: RouteeDouble, routee: Routee, trouble: Said) -> None:
    """Whatever goes wrong on any page: the whole answer proves nothing."""
    double.at[SEARCH] = lambda asked: page([flow(1)], 0, 2) if asked.query["page"] == "0" else trouble
    assert isinstance(await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS), Unanswered)


async def test_a_search_without_an_end_is_given_up(double: RouteeDouble, routee: Routee) -> None:
    """A provider that ignores ``page`` says the same for ever; one that always has more is left after a bounded number of pages."""
    double.at[SEARCH] = lambda _: page([flow(1)], 0, 2)
    assert await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS) == Unanswered("endless", 200)
    assert len(double.asked[SEARCH]) == 2
    double.at[SEARCH] = lambda asked: page([flow(int(asked.query["page"]))], 0, 2)
    assert await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS) == Unanswered("too_many")


async def test_a_page_that_does_not_say_whether_it_is_the_last_is_followed(double: RouteeDouble, routee: Routee) -> None:
    """Without ``last`` and counts only an empty page ends a search."""
    double.at[SEARCH] = lambda asked: (200, {"content": [flow(1)] if asked.query["page"] == "0" else []})
    assert ids(await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS)) == ["id-1"]


async def test_the_filters_container_falls_back(double: RouteeDouble, routee: Routee) -> None:
    """400 to the array: the bare object; 400 to that too: the whole window, sorted out here."""
    double.at[SEARCH] = lambda asked: (400, {"code": "400000000"}) if asked.body.startswith(b"[{") else page([flow(1)], 0, 1)
    assert ids(await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS)) == ["id-1"]

    def only_windows(asked: Asked) -> Said:
        return page([flow(1), flow(2, "+306900000000"), flow(3, "306912345678")], 0, 1) if asked.body == b"[]" else (400, {})

    double.at[SEARCH] = only_windows
    assert ids(await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS)) == ["id-1", "id-3"]
    double.at[SEARCH] = lambda _: (400, {})
    assert await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS) == Unanswered("http_400", 400)


async def test_a_page_of_a_window_has_everybodys_flows(double: RouteeDouble, routee: Routee) -> None:
    """No filter, the minutes that cover the window, one request; how many pages there are is told where the provider says so."""
    double.at[SEARCH] = lambda asked: page([flow(1), flow(2, "+306900000000")], int(asked.query["page"]), 3)
    read = await routee.page(Api.STANDARD, SINCE_MS, UNTIL_MS, 1)
    assert isinstance(read, Page)
    assert ([report.tracking_id for report in read.flows], read.is_last, read.pages) == (["id-1", "id-2"], False, 3)
    (asked,) = double.asked[SEARCH]
    assert asked.query == {"dateStart": "2026-02-16T12:00Z", "dateEnd": "2026-02-16T12:02Z", "size": "100", "page": "1"}
    assert json.loads(asked.body) == []


async def test_a_page_that_cannot_be_read_is_no_answer(double: RouteeDouble, routee: Routee) -> None:
    """400 to the array: the empty object; whatever else goes wrong proves nothing."""
    double.at[SEARCH] = lambda asked: (400, {}) if asked.body == b"[]" else page([flow(1)], 0, 1)
    read = await routee.page(Api.STANDARD, SINCE_MS, UNTIL_MS, 0)
    assert isinstance(read, Page)
    assert read.is_last
    double.at[SEARCH] = lambda _: (200, {"content": "none"})
    assert await routee.page(Api.STANDARD, SINCE_MS, UNTIL_MS, 0) == Unanswered("unparsable", 200)
    double.at[SEARCH] = lambda _: (500, {})
    assert await routee.page(Api.STANDARD, SINCE_MS, UNTIL_MS, 0) == Unanswered("http_500", 500)


async def test_a_page_costs_one_request_whatever_container_is_taken(double: RouteeDouble, routee: Routee) -> None:
    """The polls' budget counts pages: only the first one asks twice where an object is wanted, and again where that changes."""
    for wanted, costs in ((b"{}", [2, 1, 1]), (b"[]", [2, 1, 1])):
        double.at[SEARCH] = lambda asked, wanted=wanted: page([flow(1)], 0, 1) if asked.body == wanted else (400, {})  # type: ignore[misc]
        for cost in costs:
            before = len(double.asked[SEARCH])
            assert isinstance(await routee.page(Api.STANDARD, SINCE_MS, UNTIL_MS, 0), Page)
            assert len(double.asked[SEARCH]) - before == cost


async def test_a_flow_without_a_phone_is_ours_only_where_the_provider_filtered(double: RouteeDouble, routee: Routee) -> None:
    """It shows no recipient yet: believed after a filter that worked; else it may be anybody's, and nothing is proven."""
    double.at[SEARCH] = lambda _: page([flow(1), flow(2, None)], 0, 1)
    assert ids(await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS)) == ["id-1", "id-2"]
    double.at[SEARCH] = lambda _: page([flow(1, "+306900000000"), flow(2, None)], 0, 1)
    assert await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS) == Unanswered("recipient_hidden")
    double.at[SEARCH] = lambda asked: page([flow(2, None)], 0, 1) if asked.body == b"[]" else (400, {})
    assert await routee.search(Api.STANDARD, PHONE, SINCE_MS, UNTIL_MS) == Unanswered("recipient_hidden")


async def test_the_otp_list_is_read_by_offset(double: RouteeDouble, routee: Routee) -> None:
    """Both forms of the phone, percent-encoded; pages as long as the provider makes them; what lies outside the window is left out."""
    everything = [
        {"flowId": f"id-{number}", "status": "InProgress", "steps": [step(f"2026-02-16T1{number % 2 + 1}:00:10Z")]} for number in range(130)
    ]

    def found(asked: Asked) -> Said:
        offset = int(asked.query["offset"])
        return 200, {"total": 130, "limit": 50, "offset": offset, "results": everything[offset : offset + 50]}

    double.at[OTP_LIST] = found
    assert len(ids(await routee.search(Api.OTP, PHONE, SINCE_MS, UNTIL_MS))) == 65
    asked = double.asked[OTP_LIST]
    assert [one.query["phone_number"] for one in asked] == ["+306912345678"] * 3 + ["306912345678"] * 3
    assert [one.query["offset"] for one in asked[:3]] == ["0", "50", "100"]
    assert {one.method for one in asked} == {"GET"}


def step(created: str) -> dict[str, object]:
    """A step of an OTP flow (Routee's documentation: OTP tracking)."""
    return {"trackingId": "m", "status": "queued", "channel": "sms", "phone_number": "306912345678", "created_at": created}


# ------------------------------------------------------------------------------------------------------ other questions


async def test_the_balance_is_a_yes_or_no(double: RouteeDouble, routee: Routee) -> None:
    """Above zero or not, number or text; anything else proves nothing."""
    answers: list[bool | Unanswered] = []
    for body in (b'{"balance": 0.01}', b'{"balance": "12.5"}', b'{"balance": 0}', b'{"balance": -3}', b"{}", b"[]", b"x"):
        double.at["/accounts/me/balance"] = lambda _, body=body: (200, body)  # type: ignore[misc]
        answers.append(await routee.balance())
    assert answers == [True, True, False, False, *[Unanswered("unparsable", 200)] * 3]


async def test_templates_come_raw(double: RouteeDouble, routee: Routee) -> None:
    """The shape is unknown: an object as it is, an array in one."""
    path = "/failover-otp/otp/templates"
    double.at[path] = lambda _: (200, [{"id": 1}])
    assert await routee.templates() == {"templates": [{"id": 1}]}
    double.at[path] = lambda _: (200, {"a": 1})
    assert await routee.templates() == {"a": 1}
    double.at[path] = lambda _: (200, b"1")
    assert await routee.templates() == Unanswered("unparsable", 200)


@pytest.mark.parametrize(("status", "expected"), [(404, True), (200, True), (401, False), (403, False), (500, Unanswered("http_500", 500))])
async def test_the_auth_probe_tells_refused_from_away(
    double: RouteeDouble, routee: Routee, status: int, expected: bool | Unanswered
) -> None:
    """An unknown flow is fine, a refusal is not, and a server in trouble says nothing."""
    routee._tokens[Api.STANDARD]._clock = iter(range(0, 10_000, 10)).__next__
    nobody = "00000000-0000-0000-0000-000000000000"
    double.at[f"{SEARCH}/{nobody}"] = lambda _: (status, {"trackingId": nobody, "status": "Failed"})
    assert await routee.auth_probe() == expected


async def test_the_auth_probe_sees_wrong_credentials(double: RouteeDouble, routee: Routee) -> None:
    """The auth server refuses the secret: no."""
    double.tokens = [(401, {})]
    assert await routee.auth_probe() is False


@pytest.mark.parametrize(("status", "works"), [(404, True), (403, False), (500, False)])
async def test_the_auth_probe_asks_with_a_separate_otp_application_too(double: RouteeDouble, status: int, works: bool) -> None:
    """Sending works again only when both applications are accepted; where there is one, nothing is asked of the other service."""
    nobody = "00000000-0000-0000-0000-000000000000"
    double.at |= {f"{SEARCH}/{nobody}": lambda _: (404, {}), f"{OTP_LIST}/{nobody}": lambda _: (status, {})}
    url = double.server.url
    one = RouteeOptions(url, url, "me", "secret", timeout_s=2, connect_timeout_s=1)
    for options, answer in ((one, True), (replace(one, otp_application_id="codes", otp_application_secret="other"), works)):
        routee = Routee(options)
        assert (await routee.auth_probe() is True) is answer
        assert bool(double.asked[f"{OTP_LIST}/{nobody}"]) is (options is not one)
        await routee.aclose()


# ------------------------------------------------------------------------------------------------------ Routee in the box


@pytest.mark.parametrize("switches", [{}, {"otp_list_items": "delivery", "filter_container": "object", "tracking_root": "array"}])
async def test_the_simulator_is_searched(switches: dict[str, str]) -> None:
    """What was accepted is found by its phone and only by that, whatever the open questions of the contract turn out to be."""
    simulator = Simulator(SimulatorOptions(seed=1, callbacks=False, switches=switches))
    await simulator.start()
    routee = Routee(RouteeOptions(simulator.auth_url, simulator.base_url, "me", "secret"))
    sms = {"type": "Sms", "from": "ACME", "message": {"body": "Hello"}, "ttl": 30, "order": 1}
    for api in (Api.STANDARD, Api.OTP):
        sent: dict[str, str] = {}
        for phone in (PHONE, "+306900000000"):
            body = json.dumps({"flow": [{**sms, "to": phone}]}).encode()
            outcome = await routee.send(
                Request(api, "f.1", body, phone, (Channel.SMS,), ("Sms",), labelled=False, ttl_total_ms=1), bool_true
            )
            assert isinstance(outcome, Accepted)
            sent[phone] = outcome.tracking_id
        now_ms = int(simulator.provider.clock() * 1000)
        assert ids(await routee.search(api, PHONE, now_ms - 60_000, now_ms)) == [sent[PHONE]]
    assert await routee.balance() is True
    assert await routee.auth_probe() is True
    assert isinstance(await routee.templates(), dict)
    await routee.aclose()
    await simulator.stop()


def bool_true() -> bool:
    """A lease that runs."""
    return True


async def test_a_page_is_asked_for_by_routees_clock() -> None:
    """Two clocks that are minutes apart: the window is the provider's minute, or no page would show any flow of it."""
    asked: list[Mapping[str, object]] = []

    class Reads:
        ahead_ms = 120_000

        async def ask(self, api: Api, path: str, query: Mapping[str, object], body: bytes) -> Reply:
            asked.append(query)
            return Reply(200, {}, b'{"content": [], "totalElements": 0, "number": 0, "last": true}')

    await RouteeTracking(Reads()).page(Api.STANDARD, 1_800_000_000_000, 1_800_000_060_000, 0)  # type: ignore[arg-type]
    assert (asked[0]["dateStart"], asked[0]["dateEnd"]) == ("2027-01-15T08:02Z", "2027-01-15T08:03Z")
