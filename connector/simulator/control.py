"""The simulator's own panel under /_simulator/: faults while it runs, the ledger, a summary. No token needed."""

from __future__ import annotations

import dataclasses
import itertools
from urllib.parse import parse_qs

import orjson

from connector.simulator.answers import answer
from connector.simulator.checks import Checks
from connector.simulator.ledger import attempt_of
from connector.simulator.model import Flow, Json
from connector.simulator.provider import Provider
from connector.simulator.search import whole
from connector.simulator.wire import Answer, HttpRequest

_FLOWS_PER_PAGE = 5000
_PATHS = "GET summary, GET ledger?since=SEQ, GET flows?page=N, GET switches, GET faults, POST faults, POST revoke-tokens"


class Control:
    """Endpoints for people and tests."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def handle(self, request: HttpRequest) -> Answer:
        """Any request under /_simulator/."""
        match (request.method, request.path.removeprefix("/_simulator/")):
            case ("GET", "summary"):
                return answer(self._provider.ledger.summary())
            case ("GET", "ledger"):
                return self._ledger(request)
            case ("GET", "flows"):
                return self._flows(request)
            case ("GET", "switches"):
                return answer(self._provider.switches.as_dict())
            case ("GET", "faults"):
                return answer(dataclasses.asdict(self._provider.board.now()))
            case ("POST", "faults"):
                return self._faults(request)
            case ("POST", "revoke-tokens"):
                self._provider.tokens.revoke()
                return answer({"revoked": True})
            case _:
                return answer({"error": f"there are: {_PATHS}"}, 404)

    def _ledger(self, request: HttpRequest) -> Answer:
        checks = Checks()
        since = whole({"since": parse_qs(request.query).get("since", ["0"])[-1]}, "since", 0, checks)
        if checks.issues:
            return answer({"error": "since must be a number"}, 400)
        return answer([entry.as_json() for entry in self._provider.ledger.entries if entry.seq > since])

    def _flows(self, request: HttpRequest) -> Answer:
        """A page (from 0) of the accepted flows as they are now, oldest first; an empty one behind the last."""
        checks = Checks()
        page = whole({"page": parse_qs(request.query).get("page", ["0"])[-1]}, "page", 0, checks)
        if checks.issues:
            return answer({"error": "page must be a number"}, 400)
        shown = itertools.islice(self._provider.flows, page * _FLOWS_PER_PAGE, (page + 1) * _FLOWS_PER_PAGE)
        return answer([_told(flow) for flow in shown])

    def _faults(self, request: HttpRequest) -> Answer:
        """Fields of Faults, and ``for_s``: how long they last."""
        try:
            changes = orjson.loads(request.body)
            if not isinstance(changes, dict):
                return answer({"error": "must be an object"}, 400)
            for_s = changes.pop("for_s", None)
            if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, int | float)):
                return answer({"error": "for_s must be a number of seconds"}, 400)
            now = self._provider.board.change(changes, for_s)
        except ValueError as error:
            return answer({"error": str(error)}, 400)
        return answer(dataclasses.asdict(now))


def _told(flow: Flow) -> Json:
    """The provider's own word on a flow; ``flow_id`` and ``attempt`` are out of its label."""
    flow_id, attempt = attempt_of(flow.label)
    return {
        "tracking_id": flow.tracking_id,
        "flow_id": flow_id,
        "attempt": attempt,
        "api": flow.api.value,
        "scenario": flow.scenario.name,
        "status": flow.status,
        "status_code": flow.status_code,
        "steps": [{"channel": step.channel, "status": step.status} for step in flow.steps],
    }
