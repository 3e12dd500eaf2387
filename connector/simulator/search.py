"""The tracking search of the standard service (Routee's documentation: tracking)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qs

from connector.simulator import documents
from connector.simulator.checks import Checks
from connector.simulator.model import Api, Flow, Json
from connector.simulator.provider import Provider
from connector.simulator.switches import Switches

_WORD_OPERATORS = frozenset({"is", "is_not"})
_TEXT_OPERATORS = _WORD_OPERATORS | {"contains", "starts_with", "ends_with"}
_TERMS = {
    "type": {"sms", "viber", "voice"},
    "terminationChannel": {"sms", "viber", "voice"},
    "status": {"queued", "succeeded", "failed", "inprogress"},
    "flowKind": {"standard", "transactional"},
}
_DEFAULT_SIZE = 10
_LARGEST_PAGE = 2000
_LARGEST_NUMBER, _LONGEST_NUMBER = 10**9, 12


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition; ``term`` in lower case unless the field is ``to``."""

    name: str
    operator: str
    term: str


@dataclass(frozen=True, slots=True)
class Window:
    """When (epoch seconds, None: open) and which page."""

    start: float | None
    end: float | None
    page: int
    size: int


def read_window(query: str, checks: Checks) -> Window:
    """The query string; what is wrong with it is noted."""
    given = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
    return Window(
        start=_instant(given, "dateStart", checks),
        end=_instant(given, "dateEnd", checks),
        page=whole(given, "page", 0, checks),
        size=whole(given, "size", _DEFAULT_SIZE, checks, least=1, most=_LARGEST_PAGE),
    )


def _instant(given: dict[str, str], name: str, checks: Checks) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        checks.note("bad_date", (name,), "must be like 2025-05-05T15:00Z")
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def whole(given: Mapping[str, str], name: str, default: int, checks: Checks, *, least: int = 0, most: int = _LARGEST_NUMBER) -> int:
    """A whole number out of a query; what is none is noted."""
    value = given.get(name, str(default))
    if len(value) < _LONGEST_NUMBER and value.isdecimal() and least <= int(value) <= most:
        return int(value)
    checks.note("out_of_range", (name,), f"must be a whole number from {least} to {most}")
    return default


def read_filters(doc: object, switches: Switches, checks: Checks) -> list[Filter]:
    """The body: an array of filters, or one alone; what is wrong with it is noted."""
    container = switches.word("filter_container")
    if isinstance(doc, dict) and container != "array":
        doc = [doc] if doc else []
    elif isinstance(doc, dict) or (isinstance(doc, list) and container == "object"):
        checks.note("wrong_type", (), f"must be an {container}")
        return []
    if not isinstance(doc, list):
        checks.note("wrong_type", (), "must be an array of filters")
        return []
    return [found for index, entry in enumerate(doc) if (found := _filter(entry, index, checks)) is not None]


def _filter(entry: object, index: int, checks: Checks) -> Filter | None:
    if not isinstance(entry, dict):
        checks.note("wrong_type", (index,), "must be an object")
        return None
    before = len(checks.issues)
    name = checks.word(entry, "fieldName", (index,), {"to", *_TERMS}, required=True)
    term = checks.text(entry, "searchTerm", (index,), required=True)
    operator = str(entry.get("searchOperator") or "is").lower()
    if operator not in (_TEXT_OPERATORS if name == "to" else _WORD_OPERATORS):
        checks.note("unknown_word", (index, "searchOperator"), "not for this field")
    if name in _TERMS and (term or "").lower() not in _TERMS[name]:
        checks.note("unknown_word", (index, "searchTerm"), f"must be one of {', '.join(sorted(_TERMS[name]))}")
    if len(checks.issues) > before or name is None or term is None:
        return None
    return Filter(name, operator, term if name == "to" else term.lower())


def search(provider: Provider, filters: Iterable[Filter], window: Window) -> Json:
    """A Spring Data page of tracking documents."""
    filters = tuple(filters)
    known = provider.clock() - provider.options.search_lag_s
    exact = next((entry.term for entry in filters if entry.name == "to" and entry.operator == "is"), None)
    candidates: Iterable[Flow] = provider.flows if exact is None else provider.flows.to(exact.lstrip("+"))
    found = [flow for flow in candidates if flow.api is not Api.OTP and flow.created <= known and _within(flow, window)]
    found = [flow for flow in found if all(_matches(flow, entry, provider.switches) for entry in filters)]
    if provider.switches.word("search_order") == "newest":
        found.reverse()
    shown = found[window.page * window.size : (window.page + 1) * window.size]
    pages = -(-len(found) // window.size)
    return {
        "content": [documents.tracked(flow, provider.switches) for flow in shown],
        "totalPages": pages,
        "totalElements": len(found),
        "number": window.page,
        "size": window.size,
        "numberOfElements": len(shown),
        "first": window.page == 0,
        "last": window.page + 1 >= pages,
    }


def _within(flow: Flow, window: Window) -> bool:
    return (window.start is None or flow.created >= window.start) and (window.end is None or flow.created <= window.end)


def _matches(flow: Flow, entry: Filter, switches: Switches) -> bool:
    values = _values(flow, entry.name, switches)
    match entry.operator:
        case "is":
            return entry.term in values
        case "is_not":
            return entry.term not in values
        case "contains":
            return any(entry.term in value for value in values)
        case "starts_with":
            return any(value.startswith(entry.term) for value in values)
        case _:
            return any(value.endswith(entry.term) for value in values)


def _values(flow: Flow, name: str, switches: Switches) -> set[str]:
    match name:
        case "to":
            return phone_forms({documents.phone_of(step.doc).lstrip("+") for step in flow.steps}, switches)
        case "type":
            return {step.channel.lower() for step in flow.steps if step.status is not None}
        case "status":
            return {flow.status.lower()}
        case "flowKind":
            return {flow.api.value}
        case _:
            return {(flow.termination_channel or "").lower()}


def phone_forms(digits: Iterable[str], switches: Switches) -> set[str]:
    """The spellings under which these numbers are found."""
    form = switches.word("search_to_form")
    forms = {f"+{number}" for number in digits} if form != "digits" else set()
    return forms | set(digits) if form != "plus" else forms
