"""The laws that the journal is a witness of: founded resends, intents, commits, order (I3, I4, I5, I7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate, groupby
from operator import itemgetter

from tests.proof.facts import ExpectedEvent, ExpectedFlow, JournalRow, Post
from tests.proof.known import Known

_NEVER = float("inf")


def resends_are_founded(known: Known) -> Iterator[str]:
    """I3."""
    for flow_id, rows in known.rows.items():
        intents: dict[int, JournalRow] = {}
        for row in rows:
            if row.state == "INTENT" and row.attempt not in intents:
                intents[row.attempt] = row
        for attempt, row in intents.items():
            if attempt > 1 and (trouble := _unfounded(known, rows, intents, row)):
                yield f"flow {flow_id}: attempt {attempt} {trouble}"
        after_doubt = [attempt for attempt, row in intents.items() if dict(row.attempts).get(attempt - 1) == "DOUBT"]
        if len(after_doubt) > 1:
            yield f"flow {flow_id}: attempts {after_doubt} were all made after a doubt; one may be"


def _unfounded(known: Known, rows: list[JournalRow], intents: dict[int, JournalRow], row: JournalRow) -> str | None:
    before = dict(row.attempts).get(row.attempt - 1)
    if before == "REFUSED":
        return None
    if before != "DOUBT":
        return f"comes after an attempt that ended as {before}"
    if row.flow_id in known.flows and not known.flows[row.flow_id][1].may_resend:
        return "resends a flow that may never be sent again"
    if not any(earlier.offset < row.offset and _is_doubt_of(earlier, row.attempt - 1) for earlier in rows):
        return "names a doubt that no row before it holds"
    waited = row.at - intents[row.attempt - 1].at if row.attempt - 1 in intents else _NEVER
    if known.facts.resend_wait is not None and waited + known.facts.skew < known.facts.resend_wait:
        return f"came {waited:.0f} ms after the attempt in doubt"
    sends = known.sends.get(row.flow_id, [])
    posted = any(post.attempt == row.attempt for post in known.posts.get(row.flow_id, []))
    if posted and sends and not any(send.resent_after_doubt for send in sends):
        return "is a resend after a doubt, but not flagged"
    return None


def _is_doubt_of(row: JournalRow, attempt: int) -> bool:
    return row.state == "DOUBT" and row.attempt == attempt


def intents_come_first(known: Known) -> Iterator[str]:
    """I4."""
    for flow_id, posts in known.posts.items():
        first: dict[int, float] = {}
        for row in known.rows.get(flow_id, []):
            if row.state == "INTENT":
                first[row.attempt] = min(row.at, first.get(row.attempt, _NEVER))
        for post in posts:
            intended = first.get(post.attempt or 0)
            if intended is None:
                yield f"flow {flow_id}: attempt {post.attempt} was posted without a valid INTENT"
            elif intended > post.at + known.facts.skew:
                yield f"flow {flow_id}: attempt {post.attempt} was posted {intended - post.at:.1f} ms before its INTENT"


def commits_stay_behind(known: Known) -> Iterator[str]:
    """I5."""
    stood = {flow_id: min(row.at for row in rows) for flow_id, rows in known.rows.items()}
    events: dict[str, list[ExpectedEvent]] = defaultdict(list)
    for event in sorted(known.facts.events, key=lambda event: event.offset):
        events[event.lane].append(event)
    since = {lane: _safe_since(entries, stood) for lane, entries in events.items()}
    for commit in known.facts.commits or ():
        safe = since.get(commit.lane, {})
        below = next((safe[offset] for offset in range(commit.offset - 1, -1, -1) if offset in safe), 0.0)
        if below == _NEVER:
            yield f"{commit.lane}: offset {commit.offset} is committed past an event without a valid row"
        elif commit.at is not None and below > commit.at + known.facts.skew:
            yield f"{commit.lane}: offset {commit.offset} was committed {below - commit.at:.1f} ms before a row that it needs"


def _safe_since(events: list[ExpectedEvent], stood: dict[str, float]) -> dict[int, float]:
    """Offset → since when everything up to and with it has a valid row."""
    moments = (max((stood.get(flow.flow_id, _NEVER) for flow in event.flows), default=0.0) for event in events)
    return dict(zip((event.offset for event in events), accumulate(moments, max), strict=True))


def keys_keep_their_order(known: Known) -> Iterator[str]:
    """I7. Whoever was parked before its first POST, or was in doubt of it when the later one was posted, had released its key.

    (A request can reach a slow provider after the sender has given it up.)
    """
    groups: dict[tuple[str, bytes, str], list[tuple[int, Post, ExpectedFlow]]] = defaultdict(list)
    for flow_id, (event, flow) in known.flows.items():
        posts = known.posts.get(flow_id)
        if posts and event.key is not None and flow.message_class is not None:
            groups[event.lane, event.key, flow.message_class].append((event.offset, posts[0], flow))
    for (lane, _, message_class), entries in groups.items():
        earliest: Post | None = None
        for offset, together in groupby(sorted(entries, key=itemgetter(0), reverse=True), key=itemgetter(0)):
            flows = [(post, flow) for _, post, flow in together]  # of one event: among themselves they have no order
            for post, flow in flows:
                if earliest is not None and post.seq > earliest.seq and not _released(known, flow.flow_id, post, earliest):
                    yield f"{lane}@{offset} ({message_class}): flow {flow.flow_id} was posted after a later one of its key"
            first = min((post for post, _ in flows), key=lambda post: post.seq)
            earliest = first if earliest is None or first.seq < earliest.seq else earliest


def _released(known: Known, flow_id: str, post: Post, later: Post) -> bool:
    rows = known.rows.get(flow_id, [])
    skew = known.facts.skew
    parked = any(row.state == "PARKED" and row.at <= post.at + skew for row in rows)
    return parked or any(_is_doubt_of(row, post.attempt or 0) and row.at <= later.at + skew for row in rows)
