"""Asking what became of a flow: GET by id, search, the OTP service's list and templates, the balance."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, unquote

import orjson

from connector.simulator import answers, documents
from connector.simulator.answers import answer
from connector.simulator.checks import Checks
from connector.simulator.model import Api, Flow, Json
from connector.simulator.otp_rules import TEMPLATES
from connector.simulator.provider import Provider
from connector.simulator.search import phone_forms, read_filters, read_window, search, whole
from connector.simulator.wire import Answer, HttpRequest

Handler = Callable[[HttpRequest, Checks], Answer]
_DEFAULT_LIMIT, _LARGEST_LIMIT = 50, 1000


class Trackings:
    """The reading endpoints. A flow is walked up to now before it is shown."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def flow(self, request: HttpRequest, checks: Checks) -> Answer:
        """GET /failover/tracking/{trackingId}."""
        provider = self._provider
        tracking_id = unquote(request.path.rpartition("/")[2])
        if not tracking_id:
            return self._list_get(request, checks)
        flow = provider.flows.get(tracking_id, is_otp=False)
        if flow is None:
            return answers.platform_error(404, "Tracking not found", provider.switches)
        doc = documents.tracked(flow, provider.switches)
        return answer([doc] if provider.switches.word("tracking_root") == "array" else doc)

    def _list_get(self, request: HttpRequest, checks: Checks) -> Answer:
        if self._provider.switches.is_on("tracking_list_get"):
            return self._page(request, [], checks)
        checks.note("list_by_get", (), "GET /failover/tracking lists nothing")
        return answers.platform_error(405, "Method not allowed", self._provider.switches)

    def search(self, request: HttpRequest, checks: Checks) -> Answer:
        """POST /failover/tracking."""
        try:
            doc = orjson.loads(request.body) if request.body else []
        except orjson.JSONDecodeError:
            checks.note("not_json", (), "the body must be JSON")
            doc = []
        return self._page(request, doc, checks)

    def _page(self, request: HttpRequest, doc: object, checks: Checks) -> Answer:
        filters = read_filters(doc, self._provider.switches, checks)
        window = read_window(request.query, checks)
        refusals = [issue for issue in checks.issues if issue.refuses]
        if refusals:
            return answers.refused(Api.STANDARD, refusals, self._provider.switches)
        return answer(search(self._provider, filters, window))

    def otp_flow(self, request: HttpRequest, checks: Checks) -> Answer:
        """GET /failover-otp/otp/failover/{id}: a flow id or any of its message tokens."""
        key = unquote(request.path.rpartition("/")[2])
        if not key:
            return self.otp_list(request, checks)
        flow = self._provider.flows.get(key, is_otp=True)
        return answer({"detail": "Tracking not found"}, 404) if flow is None else answer(documents.otp_tracked(flow))

    def otp_list(self, request: HttpRequest, checks: Checks) -> Answer:
        """GET /failover-otp/otp/failover."""
        given = {key: values[-1] for key, values in parse_qs(request.query, keep_blank_values=True).items()}
        if given.get("phone_number", "").startswith(" "):
            checks.note("unencoded_plus", ("phone_number",), "a + in a query is a space", refuses=False)
        limit = whole(given, "limit", _DEFAULT_LIMIT, checks, least=1, most=_LARGEST_LIMIT)
        offset = whole(given, "offset", 0, checks)
        refusals = [issue for issue in checks.issues if issue.refuses]
        if refusals:
            return answers.refused(Api.OTP, refusals, self._provider.switches)
        found = [item for flow in self._otp_flows(given) for item in self._items(flow)]
        found.reverse()
        return answer({"total": len(found), "limit": limit, "offset": offset, "results": found[offset : offset + limit]})

    def _otp_flows(self, given: dict[str, str]) -> list[Flow]:
        provider = self._provider
        known = provider.clock() - provider.options.search_lag_s
        phone = given.get("phone_number")
        candidates = provider.flows if phone is None else provider.flows.to(phone.lstrip("+"))
        found = [flow for flow in candidates if flow.api is Api.OTP and flow.created <= known]
        if phone is not None and phone not in phone_forms({phone.lstrip("+")}, provider.switches):
            return []
        if (flow_id := given.get("flow_id")) is not None:
            found = [flow for flow in found if flow.tracking_id == flow_id]
        if (status := given.get("status")) is not None:
            found = [flow for flow in found if flow.status.lower() == status.lower()]
        if (tag := given.get("tag")) is not None and provider.switches.is_on("otp_tag_is_label"):
            found = [flow for flow in found if any(step.doc.get("label") == tag for step in flow.steps)]
        return found

    def _items(self, flow: Flow) -> list[Json]:
        switches = self._provider.switches
        keeps_label = switches.is_on("label_in_otp_list")
        steps = [
            step if keeps_label else {key: value for key, value in step.items() if key != "label"} for step in documents.otp_steps(flow)
        ]
        if switches.word("otp_list_items") == "delivery":
            return steps
        return [documents.otp_tracked(flow) | {"steps": steps}]

    def templates(self, request: HttpRequest, checks: Checks) -> Answer:  # noqa: ARG002 - a Handler
        """GET /failover-otp/otp/templates."""
        listed = [{"templateId": template, "name": name, "templateType": kind} for template, name, kind in TEMPLATES]
        return answer(listed if self._provider.switches.word("otp_templates_root") == "array" else {"templates": listed})

    def balance(self, request: HttpRequest, checks: Checks) -> Answer:  # noqa: ARG002 - a Handler
        """GET /accounts/me/balance."""
        balance = self._provider.board.now().balance
        return answer({"balance": balance, "currency": {"code": "EUR", "name": "Euro", "sign": "€"}})
