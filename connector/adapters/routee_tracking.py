"""Asking Routee: what became of a flow, which flows a phone has, and a few things a person wants to know."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

import httpx
import orjson

from connector.adapters.http_client import HttpClient
from connector.adapters.routee_token import TokenProvider
from connector.core.coerce import digits, first, integer, money, parse_json, unwrap
from connector.core.doubt import CLOCK_SKEW_MS
from connector.core.model import Api, Failure, FlowReport, JsonObject, NotSent, Refused, Reply
from connector.core.status import page_flows, parse_flow
from connector.ports import Page, Unanswered

PAGE_SIZE = 100
MAX_PAGES = 100  # an answer that goes on for longer is not read to its end, so it proves nothing

_OTP_FLOWS: Final = "/failover-otp/otp/failover"
_STANDARD_FLOWS: Final = "/failover/tracking"
_NOBODY = "00000000-0000-0000-0000-000000000000"
_AUTH = frozenset({401, 403})
_THROTTLED = frozenset({425, 429})
_FEWEST_DIGITS = 8  # a shorter phone is masked or nonsense: it tells nobody apart
_MINUTE_MS = 60_000
_NO_FILTERS: Final = (b"[]", b"{}")
_AS_ONE_MS = 10_000  # clocks that differ by less count as one: a Date tells whole seconds, and an answer may be under way for some
_APART_MS = 100 * 365 * 86_400_000  # a Date that is further away is nonsense; an own clock that was never set is less
_LOOKS = 3

Query = Mapping[str, str | int]


class RouteeReads:
    """Reading requests with the token of the API's application. A read may be repeated: once, with a new token, after a 401 or 403."""

    def __init__(self, client: HttpClient, base_url: str, tokens: Callable[[Api], TokenProvider], timeout_s: float) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._tokens = tokens
        self._timeout_s = timeout_s
        self.ahead_ms = 0  # by how much Routee's clock is ahead of ours, as its last answer told; 0 while they are as one

    async def ask(self, api: Api, path: str, query: Query | None = None, body: bytes | None = None) -> Reply | Unanswered:
        """A GET, or with a ``body`` (JSON) a POST that only searches. Gives a 2xx reply, else why there is none."""
        tokens = self._tokens(api)
        answer, token = await self._ask_once(tokens, path, query, body)
        if isinstance(answer, Reply) and answer.status in _AUTH:
            tokens.stale(token)
            answer, _ = await self._ask_once(tokens, path, query, body)
        return answer if isinstance(answer, Unanswered) or httpx.codes.is_success(answer.status) else _unanswered(answer)

    async def _ask_once(self, tokens: TokenProvider, path: str, query: Query | None, body: bytes | None) -> tuple[Reply | Unanswered, str]:
        token = await tokens.token()
        if isinstance(token, Refused):
            return Unanswered("token_refused", httpx.codes.UNAUTHORIZED), ""
        if isinstance(token, NotSent):
            return Unanswered(token.reason), ""
        answer = await self._client.request(self._request(path, query, body, token), self._timeout_s)
        if isinstance(answer, Failure):
            return Unanswered(answer.reason), token
        self.ahead_ms = _ahead_ms(answer, self.ahead_ms)
        return answer, token

    def _request(self, path: str, query: Query | None, body: bytes | None, token: str) -> httpx.Request:
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        return httpx.Request("GET" if body is None else "POST", self._base_url + path, params=query, headers=headers, content=body)


class RouteeTracking:
    """``ports.Tracking``, and the other questions."""

    def __init__(self, reads: RouteeReads) -> None:
        self._reads = reads
        self._unfiltered = _NO_FILTERS  # the container that was taken last comes first: a page costs one request

    async def flow(self, api: Api, tracking_id: str) -> FlowReport | Unanswered:
        """The flow's present state (Routee's documentation: tracking, OTP tracking)."""
        place = _OTP_FLOWS if api is Api.OTP else _STANDARD_FLOWS
        answer = await self._reads.ask(api, f"{place}/{quote(tracking_id, safe='')}")
        if isinstance(answer, Unanswered):
            return answer
        report = parse_flow(parse_json(answer.body))
        if report is None:
            return Unanswered("unparsable", answer.status)
        # The OTP service also answers to a message's token, so only the standard one must give back the id that was asked for.
        if api is not Api.OTP and report.tracking_id and report.tracking_id.casefold() != tracking_id.casefold():
            return Unanswered("mismatch", answer.status)
        return report

    async def search(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        """All flows to this phone (E.164) in the window, asked for with and without the plus; rather some too many than one missing.

        Only ``to`` is filtered by the provider: a filter that it understands in another way would hide what we look for. The provider's
        times are by its own clock: where that is apart from ours, the window holds both clocks' reading of it, and a flow that only the
        other one's holds comes without its time. Clocks that move while it is asked prove nothing.
        """
        until_ms += CLOCK_SKEW_MS
        for _ in range(_LOOKS):
            ahead_ms = self._reads.ahead_ms
            flows = await self._flows_to(api, recipient, _floor(since_ms + min(ahead_ms, 0)), _ceiling(until_ms + max(ahead_ms, 0)))
            if isinstance(flows, Unanswered):
                return flows
            if abs(self._reads.ahead_ms - ahead_ms) < _AS_ONE_MS:
                return tuple([_dated(flow, since_ms, until_ms) for flow in flows] if ahead_ms else flows)
        return Unanswered("clock")

    async def _flows_to(self, api: Api, recipient: str, since_ms: int, until_ms: int) -> Sequence[FlowReport] | Unanswered:
        found: dict[FlowReport, None] = {}
        for phone in dict.fromkeys((f"+{digits(recipient)}", digits(recipient))):
            if api is Api.OTP:
                flows = await self._otp_flows(phone)
            else:
                flows = await self._standard_flows(api, phone, since_ms, until_ms)
            if isinstance(flows, Unanswered):
                return flows
            found.update(dict.fromkeys(flows))
        return [flow for flow in found if flow.created_at_ms is None or since_ms <= flow.created_at_ms <= until_ms]

    async def page(self, api: Api, since_ms: int, until_ms: int, number: int) -> Page | Unanswered:
        """One page of the search without a filter (Routee's documentation: tracking); its container is an array or (400) an object."""
        since_ms, until_ms = since_ms + self._reads.ahead_ms, until_ms + self._reads.ahead_ms  # by Routee's clock
        window: Query = {"dateStart": _minute(_floor(since_ms)), "dateEnd": _minute(_ceiling(until_ms)), "size": PAGE_SIZE, "page": number}
        first, other = self._unfiltered
        answer = await self._reads.ask(api, _STANDARD_FLOWS, window, first)
        if isinstance(answer, Unanswered) and answer.http_status == httpx.codes.BAD_REQUEST:
            answer = await self._reads.ask(api, _STANDARD_FLOWS, window, other)
            if not isinstance(answer, Unanswered):
                self._unfiltered = other, first
        if isinstance(answer, Unanswered):
            return answer
        document = parse_json(answer.body)
        read = page_flows(document)
        if read is None:
            return Unanswered("unparsable", answer.status)
        return Page(*read, integer((unwrap(document) or {}).get("totalPages")))

    async def templates(self) -> JsonObject | Unanswered:
        """The OTP templates, raw: the shape is unknown. An array comes as ``{"templates": [...]}``."""
        answer = await self._reads.ask(Api.OTP, "/failover-otp/otp/templates")
        if isinstance(answer, Unanswered):
            return answer
        document = parse_json(answer.body)
        if isinstance(document, list):
            return {"templates": document}
        return document if isinstance(document, dict) else Unanswered("unparsable", answer.status)

    async def balance(self) -> bool | Unanswered:
        """Whether the account has money left (Routee's documentation: limits and balance)."""
        answer = await self._reads.ask(Api.STANDARD, "/accounts/me/balance")
        if isinstance(answer, Unanswered):
            return answer
        amount = money(first(unwrap(parse_json(answer.body)) or {}, "balance", "amount", "value"))
        return amount > 0 if amount is not None else Unanswered("unparsable", answer.status)

    async def auth_probe(self, api: Api) -> bool | Unanswered:
        """Whether our token is accepted, asked with a flow that nobody has; a 404 says yes."""
        answer = await self.flow(api, _NOBODY)
        if not isinstance(answer, Unanswered):
            return True
        if answer.http_status in _AUTH:
            return False
        return True if answer.http_status == httpx.codes.NOT_FOUND else answer

    # -------------------------------------------------------------------------------------------------------------- pages

    async def _standard_flows(self, api: Api, phone: str, since_ms: int, until_ms: int) -> Sequence[FlowReport] | Unanswered:
        """The filter's container is not documented: an array, else (400) the bare object, else the whole window."""
        condition = {"fieldName": "to", "searchOperator": "is", "searchTerm": phone}
        window: Query = {"dateStart": _minute(since_ms), "dateEnd": _minute(until_ms), "size": PAGE_SIZE}
        flows: Sequence[FlowReport] | Unanswered = ()
        for filters in ([condition], condition, []):
            flows = await self._filtered_flows(api, window, orjson.dumps(filters))
            if not isinstance(flows, Unanswered):
                return _to_phone(flows, phone, is_filtered=bool(filters))
            if flows.http_status != httpx.codes.BAD_REQUEST:
                break
        return flows

    async def _filtered_flows(self, api: Api, window: Query, body: bytes) -> Sequence[FlowReport] | Unanswered:
        return await _all_pages(lambda page, _: self._reads.ask(api, _STANDARD_FLOWS, {**window, "page": page}, body))

    async def _otp_flows(self, phone: str) -> Sequence[FlowReport] | Unanswered:
        """The OTP list knows no window; an item may be a flow or a single delivery."""
        query: Query = {"phone_number": phone, "limit": PAGE_SIZE}
        flows = await _all_pages(lambda _, offset: self._reads.ask(Api.OTP, _OTP_FLOWS, {**query, "offset": offset}))
        return flows if isinstance(flows, Unanswered) else _to_phone(flows, phone, is_filtered=True)


async def _all_pages(ask: Callable[[int, int], Awaitable[Reply | Unanswered]]) -> Sequence[FlowReport] | Unanswered:
    """Every flow of every page; ``ask`` takes the number of the page and of its first item. One page missing: Unanswered."""
    found: dict[FlowReport, None] = {}
    offset = 0
    for page in range(MAX_PAGES):
        answer = await ask(page, offset)
        if isinstance(answer, Unanswered):
            return answer
        read = page_flows(parse_json(answer.body))
        if read is None:
            return Unanswered("unparsable", answer.status)
        flows, is_last = read
        known = len(found)
        found.update(dict.fromkeys(flows))
        if is_last:
            return tuple(found)
        if len(found) == known:
            return Unanswered("endless", answer.status)
        offset += len(flows)
    return Unanswered("too_many")


def _to_phone(flows: Sequence[FlowReport], phone: str, *, is_filtered: bool) -> Sequence[FlowReport] | Unanswered:
    """Without the flows that show only other phones.

    A flow that shows no phone is believed to be to ours only where the provider filtered; one foreign flow says that it did not.
    """
    shown = [[one for one in flow.recipients if len(one) >= _FEWEST_DIGITS] for flow in flows]
    ours = digits(phone)
    kept = [flow for flow, phones in zip(flows, shown, strict=True) if not phones or any(_is_same(ours, one) for one in phones)]
    if not all(shown) and not (is_filtered and len(kept) == len(flows)):
        return Unanswered("recipient_hidden")
    return kept


def _is_same(ours: str, theirs: str) -> bool:
    """One is the end of the other: 00 prefix, national form."""
    return ours.endswith(theirs) or theirs.endswith(ours)


def _unanswered(reply: Reply) -> Unanswered:
    if reply.status in _THROTTLED:
        return Unanswered("throttled", reply.status)
    if reply.status == httpx.codes.NOT_FOUND and unwrap(parse_json(reply.body)) is not None:
        return Unanswered("not_found", reply.status)  # a proxy's own 404 is a page, not a JSON object
    return Unanswered(f"http_{reply.status}", reply.status)


def _ahead_ms(reply: Reply, known_ms: int) -> int:
    """By how much the clock of whoever answered is ahead of ours; ``known_ms`` where it does not tell."""
    try:
        then = parsedate_to_datetime(reply.headers["date"])
        ahead_ms = int(((then if then.tzinfo else then.replace(tzinfo=dt.UTC)).timestamp() - time.time()) * 1000)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return known_ms
    if abs(ahead_ms) > _APART_MS:
        return known_ms
    return 0 if abs(ahead_ms) < _AS_ONE_MS else ahead_ms


def _dated(flow: FlowReport, since_ms: int, until_ms: int) -> FlowReport:
    """The flow, without a time that lies outside what was asked for: it is of a clock apart from ours."""
    if flow.created_at_ms is None or since_ms <= flow.created_at_ms <= until_ms:
        return flow
    return replace(flow, created_at_ms=None)


def _floor(moment_ms: int) -> int:
    return moment_ms // _MINUTE_MS * _MINUTE_MS


def _ceiling(moment_ms: int) -> int:
    return -(-moment_ms // _MINUTE_MS) * _MINUTE_MS


def _minute(moment_ms: int) -> str:
    """Minute precision with ``Z``, as the documentation's example."""
    return dt.datetime.fromtimestamp(moment_ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%MZ")
