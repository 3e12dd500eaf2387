"""The laws over what came out: sends, statuses, dead letters, callbacks (I1, I2, I6, I8, I9, I10)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.proof.facts import ExpectedEvent, ExpectedFlow, Fate, Letter, SendSeen, StatusSeen
from tests.proof.known import Known

_NEVER_POSTED = frozenset({Fate.EXPIRED, Fate.SUPPRESSED, Fate.INVALID, Fate.UNROUTED})


def ended_once(known: Known) -> Iterator[str]:
    """I1."""
    proven = {callback.flow_id for callback in known.facts.callbacks_stored or () if callback.tracking_id is not None}
    for flow_id, (event, flow) in known.flows.items():
        sends = known.sends.get(flow_id, [])
        decisions = [send for send in sends if not send.correction and not send.duplicate]
        if len(decisions) != 1:
            yield f"{_name(event, flow)} has {len(decisions)} send decisions"
            continue
        final = known.final[flow_id]
        if trouble := _wrong_end(known, event, flow, final):
            yield f"{_name(event, flow)} ended as {final.outcome}: {trouble}"
        if final.outcome == "UNKNOWN" and flow_id in proven:
            yield f"{_name(event, flow)} ended as UNKNOWN, although a callback proves it accepted"
        if final.outcome == "ACCEPTED" and not any(status.terminal for status in known.statuses.get(flow_id, [])):
            yield f"{_name(event, flow)} was accepted and has no terminal status"
    yield from (f"flow {flow_id} has outputs, but no event" for flow_id in known.sends.keys() - known.flows.keys())
    yield from (f"flow {flow_id} was posted, but has no event" for flow_id in known.posts.keys() - known.flows.keys())


def _wrong_end(known: Known, event: ExpectedEvent, flow: ExpectedFlow, final: SendSeen) -> str | None:
    """Why this end contradicts the provider or the event; None where it does not."""
    accepts = known.accepts.get(flow.flow_id, [])
    if final.outcome == "ACCEPTED" and final.tracking_id not in {post.tracking_id for post in accepts}:
        return "the provider knows no such acceptance"
    if final.outcome not in {"ACCEPTED", "UNKNOWN"} and accepts:
        return "the provider accepted it"
    if final.outcome == "UNKNOWN":
        return None if any(outcome == "DOUBT" for _, outcome in final.attempts) else "it never was in doubt"
    if flow.fate in {None, final.outcome}:
        return None
    if flow.fate is Fate.REJECTED and final.outcome == "ACCEPTED":
        return None  # another fault came before the refusal, and the provider took it: its ledger says so
    early = known.facts.skew + known.facts.expiry_lead
    expired = event.expires_at is not None and final.settled_at + early >= event.expires_at
    if final.outcome == "EXPIRED" and flow.fate not in _NEVER_POSTED and expired:
        return None
    return f"{flow.fate} was right"


def accepted_once(known: Known) -> Iterator[str]:
    """I2."""
    for flow_id, posts in known.posts.items():
        if not flow_id:
            yield f"{len(posts)} POSTs without a label"
            continue
        for attempt, times in Counter(post.attempt for post in posts).items():
            if times > 1:
                yield f"flow {flow_id}: attempt {attempt} was posted {times} times"
    for flow_id, accepts in known.accepts.items():
        if len(accepts) < 2 or flow_id not in known.flows:
            continue
        _, flow = known.flows[flow_id]
        audited = any(send.resent_after_doubt for send in known.sends.get(flow_id, []))
        if not (flow.may_resend and audited) or len(accepts) > 2:
            seen = "audited" if audited else "not audited"
            yield f"flow {flow_id} ({flow.message_class}) was accepted {len(accepts)} times, {seen}"


def statuses_follow(known: Known) -> Iterator[str]:
    """I6."""
    for flow_id, statuses in known.statuses.items():
        numbers = [status.seq for status in statuses]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"flow {flow_id}: seq {numbers} in the topic's order"
        elif trouble := _broken_chain(statuses):
            yield f"flow {flow_id}: {trouble}"
        if flow_id not in known.accepts:
            yield f"flow {flow_id} has statuses, but was never accepted"


def _broken_chain(statuses: Sequence[StatusSeen]) -> str | None:
    before, ended, message = None, False, None
    for status in statuses:
        if status.previous != before:
            return f"seq {status.seq} follows {status.previous}, but {before} came before"
        another = message is not None and status.tracking_id != message  # than a search had guessed, by a call
        if status.correction is not (ended or another):
            return f"seq {status.seq} is {'a' if status.correction else 'no'} correction {'after' if ended else 'before'} the end"
        before, message, ended = status.status, status.tracking_id, status.terminal or (ended and not another)
    return None


def letters_are_whole(known: Known) -> Iterator[str]:
    """I8."""
    letters: dict[str, list[Letter]] = defaultdict(list)
    for letter in known.facts.letters:
        letters[letter.flow_id].append(letter)
    for flow_id, (event, flow) in known.flows.items():
        found = letters.pop(flow_id, [])
        if flow.fate is None:
            if found and flow_id in known.accepts:
                yield f"{_name(event, flow)} was accepted and has a dead letter"
            continue
        if (flow.fate is Fate.INVALID) is not bool(found):
            yield f"{_name(event, flow)} has {'a' if found else 'no'} dead letter"
        if len({letter.id for letter in found}) > 1:
            yield f"{_name(event, flow)} has dead letters of several ids"
        yield from (f"{_name(event, flow)}: {trouble}" for letter in found for trouble in _unlike(letter, event))
    yield from (f"flow {flow_id} has a dead letter, but no event" for flow_id in letters)


def _unlike(letter: Letter, event: ExpectedEvent) -> Iterator[str]:
    if letter.value != event.value:
        yield "the dead letter's bytes are not the event's"
    names = ("__connect.errors.topic", "__connect.errors.partition")
    place = "/".join(letter.headers.get(name, "?") for name in names)
    if (place, letter.headers.get("__connect.errors.offset")) != (event.lane, str(event.offset)):
        yield "the dead letter names another record"
    if not letter.headers.get("failover.reason"):
        yield "the dead letter names no reason"


def nothing_expired_is_sent(known: Known) -> Iterator[str]:
    """I9."""
    slack = known.facts.expiry_grace + known.facts.skew
    for flow_id, (event, flow) in known.flows.items():
        posts = known.posts.get(flow_id, [])
        if posts and flow.fate in _NEVER_POSTED:
            yield f"{_name(event, flow)} was posted"
        for post in posts:
            if event.expires_at is not None and post.at > event.expires_at + slack:
                yield f"{_name(event, flow)}: attempt {post.attempt} came {post.at - event.expires_at:.0f} ms after the expiry"


def callbacks_are_stored(known: Known) -> Iterator[str]:
    """I10."""
    stored = Counter((one.flow_id, one.attempt, one.content) for one in known.facts.callbacks_stored or ())
    acked = Counter((one.flow_id, one.attempt, one.content) for one in known.facts.callbacks_acked or ())
    for (flow_id, attempt, _), missing in (acked - stored).items():
        yield f"flow {flow_id}.{attempt}: {missing} callbacks were answered with 200 and are not in Kafka"


def _name(event: ExpectedEvent, flow: ExpectedFlow) -> str:
    return f"flow {flow.flow_id} ({flow.rule or 'no rule'}, {event.lane}@{event.offset})"
