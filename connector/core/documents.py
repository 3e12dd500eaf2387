"""The provider's documents, of every shape, as one ``FlowReport``.

Create answers, tracking (old and new revision), callbacks (old and new) and OTP documents
share one tolerant parser: what is there is read under any of its known names, what is missing is left out, nothing raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from connector.core.coerce import first, identifier, integer, money, objects, phones, squash, string, time_ms, unwrap
from connector.core.model import Channel, FlowReport, StepReport, StepStatus
from connector.core.redact import redact
from connector.core.words import STANDING, channel_of, flow_status, is_known_detail, reason_of, step_status

Entry = Mapping[str, Any]

_MAX_ENTRIES = 200  # steps times SMS parts of one flow
_MAX_ORDER = 1000
_MAX_WORD = 40
_MAX_LABEL = 400  # the provider allows 350
_WORST_FIRST = (
    StepStatus.UNSENT,
    StepStatus.FAILED,
    StepStatus.UNDELIVERED,
    StepStatus.EXPIRED,
    StepStatus.NO_ANSWER,
    StepStatus.BUSY,
)
_JUST_DELIVERED = frozenset({StepStatus.DELIVERED, StepStatus.COMPLETED})
ANY_KIND = "?"
"""Stands in a signature for a step whose type no table knows: it may be any."""


@dataclass(frozen=True, slots=True)
class _Step:
    order: int
    kind: str | None
    channel: Channel | None
    entry: Entry
    told: Entry  # of its status, by ``_status``


def parse_flow(document: object) -> FlowReport | None:
    """What a parsed JSON document says of one flow, or None when it says nothing. Takes any JSON value (an object, or an array of one).

    Steps carry normalised statuses; a word that no table knows becomes ``StepStatus.UNKNOWN`` with its raw form kept and listed in
    ``unknown_words``, an unknown flow word gives no status. Parts of one SMS fold into one step. Only steps that carry a status are
    reported: a create answer's echo adds labels and signature, but no steps.
    """
    root = unwrap(document)
    if root is None:
        return None
    entries, single = _entries(root)
    steps = _steps(entries)
    reports = tuple(_reports(steps))
    word = None if single else string(root.get("status"), _MAX_WORD)
    report = FlowReport(
        tracking_id=_tracking_id(root),
        status=flow_status(word) if word else None,
        status_code=integer(first(root, "statusCode", "status_code")),
        total_price=money(first(root, "totalPrice", "total_cost", "totalCost")),
        steps=reports,
        flow_kind=string(root.get("flowKind"), _MAX_WORD),
        created_at_ms=_created(root, entries),
        updated_at_ms=time_ms(first(root, "updatedAt", "updated_at")),
        labels=_labels([*entries, *objects(root.get("flow"), _MAX_ENTRIES)]),
        signature=_signature(steps),
        recipients=tuple(dict.fromkeys(phone for entry in entries for name in ("to", "phone_number") for phone in phones(entry.get(name)))),
        unknown_words=tuple(dict.fromkeys(_unknown_words(word, steps))),
        raw_status=word if word is None or flow_status(word) else redact(word, limit=_MAX_WORD),
    )
    return report if report.tracking_id or report.status or report.steps else None


def _tracking_id(root: Entry) -> str | None:
    """``flowId`` in OTP's documents (its deliveries have an id of their own beside it), else ``trackingId``, as in the answer to a send."""
    flow_id, tracking_id = identifier(first(root, "flowId", "flow_id")), identifier(first(root, "trackingId", "tracking_id"))
    is_otp = "steps" in root or isinstance(root.get("channel"), str)
    return (flow_id or tracking_id) if is_otp else (tracking_id or flow_id)


def _entries(root: Entry) -> tuple[list[Entry], bool]:
    """The document's steps, raw; and whether the document itself is one step (a delivery of the OTP list, whose shape is unknown)."""
    for name in ("messages", "steps", "flow"):
        if entries := objects(root.get(name), _MAX_ENTRIES):
            return entries, False
    single = isinstance(root.get("channel"), str)
    return ([root] if single else []), single


# ---------------------------------------------------------------------------------------------------------------- steps


def _steps(entries: Sequence[Entry]) -> list[_Step]:
    """Entries with their order; one without gets its position, and SMS parts (one messageId) share theirs."""
    orders: dict[str, int] = {}
    steps: list[_Step] = []
    for entry in entries:
        message = identifier(entry.get("messageId")) or f"#{len(orders)}"
        order = orders.setdefault(message, _order(entry, len(orders) + 1))
        kind = string(first(entry, "type", "channel"), _MAX_WORD)
        steps.append(_Step(order, kind, channel_of(kind) if kind else None, entry, _status(entry)))
    return sorted(steps, key=lambda step: step.order)


def _order(entry: Entry, position: int) -> int:
    order = integer(entry.get("order"))
    if order is not None and 1 <= order <= _MAX_ORDER:
        return order
    role = string(entry.get("role"), _MAX_WORD)
    match squash(role or ""):
        case "primary":
            return 1
        case "failover":
            return max(2, position)
        case _:
            return position


def _reports(steps: Sequence[_Step]) -> Iterator[StepReport]:
    """One report per (order, channel)."""
    groups: dict[tuple[int, Channel], dict[str, StepReport]] = {}
    for position, step in enumerate(steps):
        if step.channel is not None and (report := _report(step.order, step.channel, step.entry, step.told)) is not None:
            part = identifier(step.entry.get("smsId")) or f"#{position}"
            groups.setdefault((step.order, step.channel), {})[part] = report
    return (_fold(tuple(parts.values())) for parts in groups.values())


def _report(order: int, channel: Channel, entry: Entry, given: Entry) -> StepReport | None:
    word = string(given.get("name"), _MAX_WORD)
    if word is None:
        return None
    status = step_status(channel, word) or StepStatus.UNKNOWN
    told = string(given.get("description"), 400)  # free text, which may quote the message: only what the provider lists is kept
    detail = string(given.get("detail"), 400) or (told if told and is_known_detail(told) else None)
    reason = reason_of(status, word, detail)
    sent_at_ms, delivered_at_ms = time_ms(entry.get("sent_at")), time_ms(entry.get("delivered_at"))
    updated_at_ms = time_ms(given.get("updated"))
    if updated_at_ms is None:  # OTP tells the times of two statuses, and of no other
        updated_at_ms = {StepStatus.SENT: sent_at_ms, StepStatus.DELIVERED: delivered_at_ms}.get(status)
    return StepReport(
        order=order,
        channel=channel,
        status=status,
        raw_status=word if step_status(channel, word) else redact(word, limit=_MAX_WORD),
        reason_group=reason.group if reason else None,
        detail=detail if detail is None or is_known_detail(detail) else redact(detail),
        permanent=reason.permanent if reason else None,
        retryable=reason.retryable if reason else None,
        price=money(entry.get("price")),
        country=_country(entry),
        operator=_operator(entry),
        parts=integer(entry.get("parts")),
        updated_at_ms=updated_at_ms,
        created_at_ms=time_ms(first(entry, "createdAt", "created_at")),
        sent_at_ms=sent_at_ms,
        delivered_at_ms=updated_at_ms if delivered_at_ms is None and status in _JUST_DELIVERED else delivered_at_ms,
    )


def _status(entry: Entry) -> dict[str, object]:
    """Name, detail, description, time of a step's status: an object (``name``, in the old revision ``status``) or OTP's flat form."""
    given = entry.get("status")
    if not isinstance(given, dict):
        return {
            "name": given,
            "detail": first(entry, "detailed_status", "detailedStatus"),
            "description": first(entry, "error_message", "errorMessage"),
            "updated": entry.get("updated_at"),
        }
    reason = given.get("reason")
    inner = reason if isinstance(reason, dict) else {"description": reason}
    return {
        "name": first(given, "name", "status"),
        "detail": inner.get("detailedStatus"),
        "description": inner.get("description"),
        "updated": first(given, "updatedDate", "date"),
    }


def _country(entry: Entry) -> str | None:
    """An ISO code, or a word; with a digit in it, it is neither (a phone, say)."""
    word = string(entry.get("country"), 8)
    return word if word and word.replace(" ", "").isalpha() else None


def _operator(entry: Entry) -> str | None:
    operator = string(entry.get("operator"), 80)
    return _plain(operator) if operator else None


@lru_cache(maxsize=1024)
def _plain(operator: str) -> str:
    """There are few, and cutting out what is personal takes long."""
    return redact(operator, limit=80)


def _fold(parts: Sequence[StepReport]) -> StepReport:
    """One step out of the parts of one SMS: the worst failure if any failed, else the part that is least far. Prices add up."""
    failed = [part for part in parts if part.status in _WORST_FIRST]
    if failed:
        head = min(failed, key=lambda part: _WORST_FIRST.index(part.status))
    else:
        head = min(parts, key=lambda part: STANDING[part.status].rank)
    if len(parts) == 1:
        return head
    prices = [part.price for part in parts if part.price is not None]
    last = head.status in _JUST_DELIVERED
    return replace(
        head,
        price=sum(prices, Decimal(0)) if prices else None,
        parts=max(len(parts), *(part.parts or 0 for part in parts)),
        updated_at_ms=_latest(part.updated_at_ms for part in parts),
        created_at_ms=min((part.created_at_ms for part in parts if part.created_at_ms is not None), default=None),
        delivered_at_ms=_latest(part.delivered_at_ms for part in parts) if last else None,  # with its last part
    )


def _latest(times: Iterable[int | None]) -> int | None:
    return max((time for time in times if time is not None), default=None)


# ------------------------------------------------------------------------------------------------- the rest of the document


def _created(root: Entry, entries: Sequence[Entry]) -> int | None:
    """The flow's own time of creation, else its earliest step's (OTP documents carry only those)."""
    own = time_ms(first(root, "createdAt", "created_at"))
    if own is not None:
        return own
    times = (time_ms(first(entry, "createdAt", "created_at")) for entry in entries)
    return min((moment for moment in times if moment is not None), default=None)


def _labels(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Labels stand at the step, or (SMS in a create answer) in its message."""
    found: dict[str, None] = {}
    for entry in entries:
        message = entry.get("message")
        for value in (entry.get("label"), message.get("label") if isinstance(message, dict) else None):
            if label := string(value, _MAX_LABEL):
                found[label] = None
    return tuple(found)


def _signature(steps: Sequence[_Step]) -> tuple[str, ...]:
    """As ``Request.signature``: one word per step by order; SMS parts are one step."""
    by_step: dict[tuple[int, str], str] = {}
    for step in steps:
        kind = _kind(step)
        body = step.entry.get("body")
        template = string(first(step.entry, "templateId", "template_id"), 80) or (
            string(body.get("templateId"), 80) if isinstance(body, dict) else None
        )
        by_step.setdefault((step.order, kind), f"{kind}:{template}" if template else kind)
    return tuple(by_step.values())


def _kind(step: _Step) -> str:
    if step.kind is None or step.channel is None:
        return ANY_KIND
    return "ViberOtp" if squash(step.kind) == "viberotp" else step.channel.capitalize()


def _unknown_words(word: str | None, steps: Sequence[_Step]) -> Iterator[str]:
    if word and flow_status(word) is None:
        yield redact(word, limit=_MAX_WORD)
    for step in steps:
        if step.kind is not None and step.channel is None:
            yield redact(step.kind, limit=_MAX_WORD)
        status = string(step.told["name"], _MAX_WORD)
        if step.channel is not None and status and step_status(step.channel, status) is None:
            yield redact(status, limit=_MAX_WORD)


# ---------------------------------------------------------------------------------------------------------------- pages


def page_items(document: object) -> tuple[list[object], bool] | None:
    """Items of one search page and whether it is the last: Spring's page or the OTP list.

    None for anything else, and for a page that contradicts itself (empty while it counts items): such an answer proves nothing. A page
    that does not say whether it is the last one is so only when it is empty.
    """
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("content"), list):
        items, left = document["content"], _left_spring(document)
    elif isinstance(document.get("results"), list):
        items, left = document["results"], _left_otp(document)
    else:
        return None
    if items:
        return items, left is False
    return None if left else ([], True)


def _left_spring(page: Entry) -> bool | None:
    """Whether more is to come; None when the page does not say."""
    number, pages = integer(page.get("number")), integer(page.get("totalPages"))
    if not page["content"]:
        return not number and bool(integer(page.get("totalElements")))
    last = page.get("last")
    counted = None if number is None or pages is None else number + 1 < pages
    if isinstance(last, bool):
        return not last or bool(counted)
    return counted


def _left_otp(page: Entry) -> bool | None:
    total, offset = integer(page.get("total")), integer(page.get("offset"))
    return None if total is None or offset is None else offset + len(page["results"]) < total


def page_flows(document: object) -> tuple[tuple[FlowReport, ...], bool] | None:
    """A search page's flows and whether it is the last page; None when the page or any item on it cannot be read (it proves nothing)."""
    page = page_items(document)
    if page is None:
        return None
    flows = [parse_flow(item) for item in page[0]]
    known = tuple(flow for flow in flows if flow is not None)
    return (known, page[1]) if len(known) == len(flows) else None
