"""The public port as an OpenAPI 3.1 document: for whoever puts a gateway before it, and for tools that try it out."""

from __future__ import annotations

from typing import Any, Final

from connector import __version__
from connector.adapters.http_guard import Limits
from connector.core.capability import LONGEST_TOKEN, PATH
from connector.services.callbacks import BUDGET_S, MOST_WAITING

Json = dict[str, Any]

_TEXT: Final = "^[A-Za-z0-9_-]+$"
_ANSWERS: Final = {
    "200": "Kafka has it.",
    "404": "No key of ours has signed this path. Every other path and method is answered just so.",
    "408": "Its body did not come whole in time: call again.",
    "429": "As 404, from a source that has had too many of them. A signed path never gets it.",
    "503": f"Kafka is away or takes longer than {BUDGET_S} s, or {MOST_WAITING} callbacks are waiting for it: call again.",
}


def openapi() -> Json:
    """The whole document. It is the same whatever the settings are."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callbacks of the Kafka connector for Routee Failover",
            "version": __version__,
            "description": "The one thing the public port knows. The path is the proof of who calls: keep it out of logs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {f"{PATH}/{{kid}}/{{token}}": {"post": _callback()}},
    }


def _callback() -> Json:
    bounds = Limits()
    read = (
        f"Read as JSON whatever its content type says, up to {bounds.body_bytes} bytes and for {bounds.body_s:g} s or a little longer. "
        "One that is no JSON, or too large, is answered with 200 all the same, and makes the connector ask tracking."
    )
    return {
        "operationId": "callback",
        "summary": "Routee tells how a flow stands.",
        "parameters": [
            _part("kid", "Which key has signed the token.", 8),
            _part("token", "Lane, flow and attempt, signed.", LONGEST_TOKEN),
        ],
        "requestBody": {"description": read, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {code: {"description": said} for code, said in _ANSWERS.items()},
    }


def _part(name: str, said: str, longest: int) -> Json:
    schema = {"type": "string", "pattern": _TEXT, "minLength": 1, "maxLength": longest}
    return {"name": name, "in": "path", "required": True, "description": said, "schema": schema}
