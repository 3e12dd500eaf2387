"""How ``flows`` shows what it found: one screen for a flow, one line in a list, JSON for both. Times are UTC.

Whatever an event or Routee wrote is shown: a time outside the years 1 to 9999 as its milliseconds, a control character as its escape.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connector.cli.options import visible
from connector.core.durations import format_duration
from connector.core.events import money
from connector.core.flow import Facts, Flow, State
from connector.core.model import FlowStatus
from connector.core.outlook import Ahead, Times, outlook, reason_words, state_words
from connector.core.progress import FlowProgress
from connector.core.status import reason_group
from connector.core.timeline import TIMES_MS, timeline, took
from connector.core.wanted import since_ms

if TYPE_CHECKING:
    from connector.core.wanted import Wanted
    from connector.services.lookup import Found, Looked

COLUMNS: Final = ("STATE", "FOR", "CLASS", "RULE", "TRIES", "REASON", "LANE", "EVENT")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WIDTH: Final = 118
_NARROWEST: Final = 30
_LABEL: Final = 10
_ENDED: Final = ",".join(state.name.lower() for state in State if state.settled)
_LIKE_A_PHONE: Final = re.compile(r"[\d\s().-]{6,20}")
_COARSE: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"))


def screen(found: Found, times: Times, now_ms: int) -> str:
    """One flow, for people."""
    return "\n".join(_screen(found, times, now_ms)) + "\n"


def _screen(found: Found, times: Times, now_ms: int) -> Iterator[str]:
    row, flow, facts = found.row, found.row.flow, found.row.flow.facts
    yield _labelled("event", f"{facts.event_id}" + (f" ({facts.event_type})" if facts.event_type else ""))
    place = f"{facts.source_topic}/{facts.source_partition}/{facts.source_offset}"
    worth = "" if flow.state in {State.UNROUTED, State.INVALID} else f", worth sending until {_time(facts.expires_at_ms)}"
    yield _labelled("from", f"{place}{_tenant(facts)}{worth}")
    yield _labelled("flow", facts.flow_id)
    if facts.rule:
        yield _labelled("rule", _rule(facts))
    if facts.recipient_hash:
        yield _labelled("phone", f"{facts.recipient_hash.hex()} (keyed hash)")
    if flow.attempts:
        numbers = dict.fromkeys((flow.attempts[0].n, flow.attempts[-1].n))
        yield _labelled("label", f"{facts.flow_id}." + " … .".join(map(str, numbers)))
    if flow.tracking_id:
        yield _labelled("tracking", ", ".join([flow.tracking_id, *(f"{one} (duplicate)" for one in flow.duplicates)]))
    yield _labelled("state", f"{flow.state.name}: {state_words(flow)}" + _flags(flow))
    yield from _reason(flow)
    if times_taken := took(flow):
        cost = money(flow.progress.total_price) if flow.progress else None
        costs = f"; costs {cost}" if cost else ""
        yield _labelled("after", _until_posted(flow) + ", ".join(f"{_short(one.ms)}: {one.what}" for one in times_taken) + costs)
    if len(facts.siblings) > 1:
        yield _labelled("", f"{len(facts.siblings)} rules matched this event: {', '.join(facts.siblings)}")
    yield ""
    yield "  times are UTC"
    lines = timeline(flow, found.statuses)
    width = max(len(visible(line.origin)) for line in lines)
    for line in lines:
        yield _filled(f"  {_time(line.at_ms)}  {visible(line.origin).ljust(width)}  ", line.what)
    if found.unread:
        yield f"  ({visible(found.unread)})"
    yield ""
    for label, ahead in zip(("next", *[""] * 9), outlook(flow, times, now_ms, row.claimed_ms), strict=False):
        yield _labelled(label, _ahead(ahead, now_ms))
    held = f"claimed by {found.owner.host} at {_time(found.owner.claimed_ms)}" if found.owner else "its claim is gone from the journal"
    yield _labelled("lane", f"{found.lane}, {held}")
    void = ", void: written by a process that had lost the lane" if row.void else ""
    yield _labelled("row", f"journal offset {row.offset}, written {_time(row.written_ms)}{void}")


def _labelled(label: str, text: str) -> str:
    return _filled(label.ljust(_LABEL), text)


def _filled(head: str, text: str) -> str:
    """The text behind its head, in as many lines as the terminal's width asks for; a pipe has room enough."""
    width = max(len(head) + _NARROWEST, min(shutil.get_terminal_size((_WIDTH, 0)).columns, _WIDTH))
    lines = textwrap.TextWrapper(width, head, " " * len(head), break_on_hyphens=False, break_long_words=False)
    return lines.fill(visible(text))


def _tenant(facts: Facts) -> str:
    return f", tenant {facts.tenant}" if facts.tenant else ""


def _rule(facts: Facts) -> str:
    steps = " → ".join(facts.channels)
    kind = ", ".join(str(word) for word in (facts.message_class, facts.api and f"{facts.api} API") if word)
    return f"{facts.rule} (rules {facts.rules_version}): {kind}" + (f", {steps}" if steps else "")


def _flags(flow: Flow) -> str:
    flags = [
        (flow.resent, "sent again after a doubt"),
        (flow.ever_doubted and flow.state.settled and not flow.resent, "was in doubt"),
        (flow.guessed, "found by phone, time and steps alone: a guess until its callback comes"),
        (bool(flow.duplicates), "ACCEPTED TWICE"),
        (flow.overtaken, "overtaken"),
    ]
    return "".join(f" · {words}" for holds, words in flags if holds)


def _reason(flow: Flow) -> Iterator[str]:
    says, remedy = reason_words(flow)
    code = f"{flow.reason}: " if flow.reason else ""
    if code or says:
        yield _labelled("because", code + " · ".join(text for text in (says, flow.detail) if text))
    if remedy:
        yield _labelled("to do", remedy)


def _until_posted(flow: Flow) -> str:
    """The times behind it count from there: a message that was in doubt may have waited long before."""
    waited_ms = max(0, (flow.posted_at_ms or 0) - flow.facts.occurred_at_ms)
    return f"{_short(waited_ms)} to the POST of attempt {flow.proven}; from there " if flow.proven else ""


def _ahead(ahead: Ahead, now_ms: int) -> str:
    if ahead.at_ms is None:
        return ahead.what
    away = f"in {_coarse(ahead.at_ms - now_ms)}" if ahead.at_ms >= now_ms else f"{_coarse(now_ms - ahead.at_ms)} ago: overdue"
    return f"{_time(ahead.at_ms)} ({away})  {ahead.what}"


def several(count: int) -> str:
    """Between the list of one phone's flows and the newest of them, which is shown whole."""
    return f"\n{count} flows, the oldest first (another one whole: flows show EVENT, as JSON all: --json). The newest:\n\n"


def not_found(wanted: Wanted, looked: Looked, group: str, window_ms: int) -> str:
    """Where was looked, since when, and why it may not be there (yet, or any more). ``window_ms``: ``lane.dedup_window``."""
    name = "this phone" if wanted.is_phone else visible(wanted.text)
    lines = [f"not found: {name}", f"looked at {_where(looked)} (group {group})"]
    if wanted.is_phone and wanted.phone_hash is not None:
        lines.append(f"its hash is {wanted.phone_hash.hex()}, if privacy.pepper is that of the workers; so it stands in the output topics")
    elif _LIKE_A_PHONE.fullmatch(wanted.text):
        lines.append("a phone is read with its country code only: +30…")
    if wanted.coordinates is not None:
        lines.append("a record without a value, or with an event id that was known, has no flow of its own: see duplicate_event in the log")
    if wanted.is_phone:
        lines.append("an event whose phone could not be read has no hash: flows ls --state invalid")
    lines.append(f"what is older than {format_duration(window_ms)} (lane.dedup_window) and ended may be gone; look in the output topics")
    if looked.waiting:
        records = "1 record" if looked.waiting == 1 else f"{looked.waiting} records"
        lines.append(f"the input holds {records} that no worker had taken when the lanes last wrote a checkpoint: it may be among them")
        lines.append("why they wait: failover_lanes, failover_breaker_state")
    return "\n".join(lines) + "\n"


def listed(shown: int, count: int, looked: Looked) -> str:
    """The line below a list."""
    which = f"{shown} of {count} flows, the oldest" if shown < count else f"{count} flows" if count != 1 else "1 flow"
    hint = "" if count else f"; ended ones: --state {_ENDED}"
    return f"{which}; looked at {_where(looked)}{hint}\n"


def _where(looked: Looked) -> str:
    since = f" that go back to {_time(looked.since_ms)} UTC" if looked.since_ms is not None else ""
    return f"{looked.flows} flows in {looked.lanes} journals{since}"


def line(found: Found, now_ms: int) -> tuple[str, ...]:
    """One line of a list, as ``COLUMNS`` has it."""
    flow, facts = found.row.flow, found.row.flow.facts
    return (
        f"{flow.state.name}{_fate(flow.progress)}",
        _coarse(max(0, now_ms - since_ms(flow))),
        str(facts.message_class or "–"),
        facts.rule or "–",
        str(flow.attempt),
        flow.reason or _why(flow) or "–",
        str(found.lane),
        facts.event_id,
    )


def _fate(progress: FlowProgress | None) -> str:
    if progress is None:
        return ""
    return " DELIVERED" if progress.delivered else " UNDELIVERED" if progress.undelivered else f" {progress.status}"


def _why(flow: Flow) -> str | None:
    if flow.progress is None:
        return flow.attempts[-1].reason if flow.attempts else None
    return "silent" if flow.progress.status is FlowStatus.UNKNOWN else reason_group(flow.progress)


# ------------------------------------------------------------------------------------------------------------------ JSON


def flow_json(found: Found, times: Times, now_ms: int) -> Mapping[str, object]:
    """One flow as data; times are ISO 8601."""
    row, flow, facts = found.row, found.row.flow, found.row.flow.facts
    says, remedy = reason_words(flow)
    return {
        "event_id": facts.event_id,
        "event_type": facts.event_type or None,
        "source": {"topic": facts.source_topic, "partition": facts.source_partition, "offset": facts.source_offset},
        "occurred_at": _iso(facts.occurred_at_ms),
        "expires_at": _iso(facts.expires_at_ms),
        "tenant": facts.tenant,
        "flow_id": facts.flow_id,
        "rule": facts.rule or None,
        "rules_version": facts.rules_version,
        "class": facts.message_class,
        "api": facts.api,
        "channels": facts.channels,
        "recipient_hash": facts.recipient_hash.hex() if facts.recipient_hash else None,
        "state": flow.state.name,
        "says": state_words(flow),
        "finished": flow.finished,
        "since": _iso(since_ms(flow)),
        "reason": flow.reason,
        "reason_says": says or None,
        "remedy": remedy or None,
        "detail": flow.detail,
        **_progress(flow),
        "resent_after_doubt": flow.resent,
        "attempts": [
            {"n": one.n, "at": _iso(one.at_ms), "outcome": one.outcome, "http_status": one.http_status, "reason": one.reason}
            for one in flow.attempts
        ],
        "timeline": [{"at": _iso(one.at_ms), "origin": one.origin, "what": one.what} for one in timeline(flow, found.statuses)],
        "statuses_missing": found.unread or None,
        "next": [{"at": _iso(one.at_ms), "what": one.what} for one in outlook(flow, times, now_ms, row.claimed_ms)],
        "lane": str(found.lane),
        "journal": {"offset": row.offset, "epoch": row.epoch, "written_at": _iso(row.written_ms), "void": row.void},
        "owner": {"host": found.owner.host, "claimed_at": _iso(found.owner.claimed_ms)} if found.owner else None,
    }


def _progress(flow: Flow) -> dict[str, object]:
    """What became of it at Routee; null and empty where nothing is known."""
    known = flow.progress
    price = known.total_price if known else None
    return {
        "tracking_id": flow.tracking_id,
        "guessed": flow.guessed,
        "duplicates": flow.duplicates,
        "sent_at": _iso(flow.posted_at_ms),
        "accepted_at": _iso(flow.accepted_at_ms),
        "status": known.status if known else None,
        "delivered": known is not None and known.delivered,
        "delivered_at": _iso(known.delivered_at_ms) if known else None,
        "delivered_by": known.delivered_by if known else None,
        "reason_group": reason_group(known) if known else None,
        "total_price": money(price),
        "steps": [
            {
                "order": step.order,
                "channel": step.channel,
                "status": step.status,
                "raw_status": step.raw_status,
                "reason_group": step.reason_group,
                "detail": step.detail,
                "price": money(step.price),
                "country": step.country,
                "operator": step.operator,
                "parts": step.parts,
                "ended_at": _iso(step.ended_at_ms),
            }
            for step in (known.steps if known else ())
        ],
        "took_ms": {one.what: one.ms for one in took(flow)},
    }


def looked_json(looked: Looked) -> Mapping[str, object]:
    """Where was looked, as data."""
    return {
        "lanes": looked.lanes,
        "flows": looked.flows,
        "since": _iso(looked.since_ms),
        "input_waiting": looked.waiting,
        "refused": [{"lane": str(lane), "reason": reason} for lane, reason in looked.refused],
    }


def _iso(ms: int | None) -> str | None:
    return None if ms is None else f"{ms}" if ms not in TIMES_MS else _utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(ms: int | None) -> str:
    if ms is None or ms not in TIMES_MS:
        return f"{'' if ms is None else ms:<23}"
    return _utc(ms).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def _utc(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _short(ms: int) -> str:
    """That long, to a tenth of a second below a minute."""
    return f"{ms / 1000:.1f}s" if ms < _COARSE[2][0] else _coarse(ms)


def _coarse(ms: int) -> str:
    """About that long: ``3h 12m``, ``45s``."""
    parts: list[str] = []
    for size, unit in _COARSE:
        if ms >= size or parts:
            parts.append(f"{ms // size}{unit}")
            ms %= size
    return " ".join(parts[:2]) or format_duration(ms)
