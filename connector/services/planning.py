"""From an input record to the flows that are to be started: known? → route → build. Nothing here sends or journals."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.core import identity, rows
from connector.core.contain import contain
from connector.core.flow import Ended, Facts, Flow, State
from connector.core.ledger import OpenEvent
from connector.core.model import DeadLetter, MessageClass, Notification, Record, Request
from connector.core.notification import bounded
from connector.core.request import build, recipient_of
from connector.core.rules import Rule
from connector.errors import InputError, LaneLost, RegistryUnavailable, Unbuildable, Undecodable
from connector.logs import get_logger
from connector.services.facts import facts_of
from connector.services.live import Live, Unsendable

if TYPE_CHECKING:
    from connector.services.lane import Lane

log = get_logger("planning")


async def decode(lane: Lane, record: Record) -> Notification:
    """Raises Undecodable. An unreachable registry is waited for: the lane stands still, nothing is lost."""
    delay = 0.2
    while True:
        try:
            notification = bounded(await lane.parts.decoder.decode(record), lane.parts.clock.now_ms())
        except RegistryUnavailable:
            log.warning("registry_unavailable", lane=str(lane.id), retry_s=delay)
            await lane.parts.clock.sleep(delay)
            delay = min(delay * 2, 10.0)
        else:
            if notification.clamped:
                lane.parts.metrics.clamped_times.inc()
            return notification


async def plan(lane: Lane, record: Record, notification: Notification) -> list[Live]:
    """The flows of this event that have to be started; none for an event that is known with all its flows."""
    digest = identity.digest(notification.identity)
    known = await _meet(lane, record, digest, notification)
    rules = lane.parts.rules()
    if known is not None:
        siblings, missing = known
        matched = [(name, rules.rule(name)) for name in missing]
    else:
        try:
            matched = [(rule.name, rule) for rule in contain(Unbuildable, lambda: rules.route(notification))]
        except Unbuildable as error:
            return [_refused(lane, record, notification, digest, error)]
        siblings = tuple(name for name, _ in matched) or ("",)
        if not matched:
            lane.parts.metrics.events_unrouted.labels(record.topic).inc()
            phone = _phone(notification, None)
            flow = Flow(facts_of(lane, record, notification, digest, None, "", siblings, phone))
            unrouted = Unsendable(Ended(State.UNROUTED), None)
            live = Live(flow, record=record, unsendable=unrouted, recipient=phone, recipient_sought=True)
            return _register(lane, record, digest, siblings, [live])
    flows = [_flow(lane, record, notification, digest, siblings, name, rule) for name, rule in matched]
    return _register(lane, record, digest, siblings, flows)


async def undecodable(lane: Lane, record: Record, error: Undecodable) -> list[Live]:
    """The one flow of a record that can never be processed: INVALID, with its dead letter."""
    digest = identity.digest(record.coordinates)
    if await _meet(lane, record, digest, None) is not None:
        return []
    return [_refused(lane, record, None, digest, error)]


async def _meet(lane: Lane, record: Record, digest: bytes, notification: Notification | None) -> tuple[tuple[str, ...], list[str]] | None:
    """None: never met. Else (siblings, those without a flow); with none missing, the record's offset is taken care of here."""
    ledger = lane.ledger
    if record.offset in ledger.covered:
        lane.taken.done(record.offset)
        return (), []
    before = ledger.events.get(digest)
    found = await recall(lane, digest, lambda flows: _missing(ledger.events.get(digest) or before, flows) == [])
    event = ledger.events.get(digest) or before  # a flow may have finished while the rows were read
    missing = _missing(event, found)
    if missing is None:
        return None
    if not missing:
        lane.parts.metrics.duplicates.inc()
        alive = [live.flow for flow_id in (event.open if event else ()) if (live := lane.flows.get(flow_id)) is not None]
        _tell_repeat(record, notification, [flow.facts for flow in (*found, *alive)])
        if event is not None and event.unwritten:
            event.waiting.append(record.offset)
        else:
            lane.taken.done(record.offset)
    return event.siblings if event else found[0].facts.siblings, missing


def _missing(event: OpenEvent | None, finished: Collection[Flow]) -> list[str] | None:
    """Rules of a known event that have no flow yet; None: nothing is known of it."""
    if event is None and not finished:
        return None
    siblings = event.siblings if event else next(iter(finished)).facts.siblings
    known = (event.known if event else set()) | {flow.facts.rule for flow in finished}
    return [name for name in siblings if name not in known]


def _tell_repeat(record: Record, notification: Notification | None, flows: list[Facts]) -> None:
    """Who the repeat is, and whom it repeats. Two types under one event id are a producer's mistake: the second message is never sent."""
    first = min(flows, key=lambda facts: facts.source_offset, default=None)
    log.info(
        "duplicate_event",
        lane=f"{record.topic}/{record.partition}",
        record=record.coordinates,
        event_id=notification.event_id if notification else None,
        type=notification.type if notification else None,
        first=f"{first.source_topic}/{first.source_partition}/{first.source_offset}" if first else None,
        first_type=first.event_type if first else None,
    )


def _register(lane: Lane, record: Record, digest: bytes, siblings: tuple[str, ...], flows: list[Live]) -> list[Live]:
    if flows:
        lane.ledger.begin(digest, siblings, {live.flow.facts.rule: live.id for live in flows}, record.offset)
    return flows


def _flow(
    lane: Lane, record: Record, notification: Notification, digest: bytes, siblings: tuple[str, ...], name: str, rule: Rule | None
) -> Live:
    """One flow, with its first request built; INVALID where the event lacks what the rule needs."""
    if rule is None:
        facts = facts_of(lane, record, notification, digest, None, name, siblings, None)
        return _unsendable(record, facts, Unbuildable("RULE_GONE", "the rule this event was routed to is no longer there", name), "build")
    flow_id = identity.flow_id(notification.identity, name)
    try:
        request = build_request(lane, notification, rule, flow_id, 1, digest)
    except Unbuildable as error:
        phone = _phone(notification, rule)
        facts = facts_of(lane, record, notification, digest, rule, name, siblings, phone)
        return _unsendable(record, facts, error, "build", phone)
    facts = facts_of(lane, record, notification, digest, rule, name, siblings, request)
    return Live(
        Flow(facts),
        record=record,
        notification=notification,
        request=request,
        recipient=request.recipient,
        headers=_copied(lane, record),
    )


def build_request(
    lane: Lane, notification: Notification, rule: Rule, flow_id: str, attempt: int, digest: bytes, left_ms: int | None = None
) -> Request:
    """The message of one attempt, its ttl cut to ``left_ms`` where that is given. Raises Unbuildable."""
    url = lane.parts.callback_url(lane.id, flow_id, attempt, digest)
    attempt_id, visible = identity.attempt_id(flow_id, attempt), lane.parts.policy.otp_label_visible
    return contain(Unbuildable, lambda: build(notification, rule, attempt_id, url, visible, left_ms))


def _refused(lane: Lane, record: Record, notification: Notification | None, digest: bytes, error: InputError) -> Live:
    """An event that has no flow of a rule: the flow of the empty rule name ends as INVALID."""
    stage = "decode" if isinstance(error, Undecodable) else "route"
    phone = None if notification is None else _phone(notification, None)
    live = _unsendable(record, facts_of(lane, record, notification, digest, None, "", ("",), phone), error, stage, phone)
    _register(lane, record, digest, ("",), [live])
    return live


def _phone(notification: Notification, rule: Rule | None) -> str | None:
    """Whom it would have gone to: whoever looks for a person's events finds those, too, of which no message was made."""
    try:
        return contain(Unbuildable, lambda: recipient_of(notification, rule))
    except Unbuildable:  # a defect of ours, met by this event: it is told elsewhere
        return None


def _unsendable(record: Record, facts: Facts, error: InputError, stage: str, recipient: str | None = None) -> Live:
    letter = DeadLetter(
        id=identity.output_id(facts.flow_id, 0),
        record=record,
        stage=stage,
        reason=error.reason,
        detail=error.detail,
        path=error.path,
        event_id=facts.event_id,
        flow_id=facts.flow_id,
        rule=facts.rule,
        rules_version=facts.rules_version,
    )
    ended = Ended(State.INVALID, error.reason, f"{error.detail} (at {error.path})" if error.path else error.detail)
    return Live(Flow(facts), record=record, unsendable=Unsendable(ended, letter), recipient=recipient, recipient_sought=True)


def _copied(lane: Lane, record: Record) -> tuple[tuple[str, bytes], ...]:
    names = lane.parts.policy.copy_headers
    return tuple((name, value) for name in names if (value := record.header(name)) is not None)


async def request_for(lane: Lane, live: Live) -> Request | None:
    """The request of the flow's next attempt; None: it cannot be built any more, and ``live.unsendable`` says how the flow ends.

    It is built with the current version of its rule; that this is the version of a doubted attempt, too, is its gate's to ask.
    """
    if _built(live) is None and not await remember(lane, live):
        live.unsendable = Unsendable(Ended(_gone(live), "input_gone"), None)
        return None
    return fitted(lane, live)


def fitted(lane: Lane, live: Live) -> Request | None:
    """The next attempt's request, the ttl of an OTP cut to what is left of its time; None as in ``request_for``."""
    facts, request = live.flow.facts, _built(live)
    left_ms = facts.expires_at_ms - lane.parts.clock.now_ms() if facts.message_class is MessageClass.OTP else None
    if request is not None and (left_ms is None or request.ttl_total_ms <= left_ms):
        return request
    if live.notification is None or live.record is None:
        return None
    try:
        live.request = _rebuild(lane, live, live.record, live.notification, left_ms)
    except Unbuildable as error:
        live.unsendable = _unbuilt(live, live.record, error)
        return None
    live.recipient = live.request.recipient
    return live.request


def _built(live: Live) -> Request | None:
    """The request at hand, if it is the next attempt's."""
    wanted = identity.attempt_id(live.id, live.flow.next_attempt)
    return live.request if live.request is not None and live.request.attempt_id == wanted else None


def _unbuilt(live: Live, record: Record, error: Unbuildable) -> Unsendable | None:
    """How a flow ends of which no message can be made any more; too late for the shortest ttl is no fault of the event."""
    if error.reason == "TTL_OVER":
        return Unsendable(Ended(State.UNKNOWN if live.flow.ever_doubted else State.EXPIRED, "ttl_over"), None)
    unsendable = _unsendable(record, live.flow.facts, error, "build").unsendable
    return unsendable and replace(unsendable, end=replace(unsendable.end, state=_gone(live)))


def _rebuild(lane: Lane, live: Live, record: Record, notification: Notification, left_ms: int | None) -> Request:
    """The next attempt's request by the rule's current version; the flow then says what that sends. Raises Unbuildable.

    Its class, and so its place in the order of its key, and its expiry stay as they were.
    """
    facts, rules = live.flow.facts, lane.parts.rules()
    rule = rules.rule(facts.rule)
    if rule is None:
        raise Unbuildable("RULE_GONE", "the rule this event was routed to is no longer there", facts.rule)
    request = build_request(lane, notification, rule, facts.flow_id, live.flow.next_attempt, facts.digest, left_ms)
    if rules.version != facts.rules_version:
        said = facts_of(lane, record, notification, facts.digest, rule, facts.rule, facts.siblings, request)
        live.flow = replace(live.flow, facts=replace(said, message_class=facts.message_class, expires_at_ms=facts.expires_at_ms))
    return request


def _gone(live: Live) -> State:
    return State.UNKNOWN if live.flow.ever_doubted else State.INVALID


async def remember(lane: Lane, live: Live) -> bool:
    """Read the input record again after a take-over or a long wait. False: the input no longer holds it. Raises KafkaUnavailable."""
    if live.notification is not None:
        return True
    record = await lane.parts.past.record(lane.id, live.flow.facts.source_offset)
    if record is None or record.value is None:
        return False
    try:
        live.notification = await decode(lane, record)
    except Undecodable:
        return False
    live.record = record
    live.headers = _copied(lane, record)
    return True


async def find_recipient(lane: Lane, live: Live) -> None:
    """After a take-over the recipient is known only from the input: outputs carry it, and a doubt is searched by it."""
    if live.recipient is not None or live.recipient_sought:
        return
    async with live.lock:  # whoever comes meanwhile waits for the answer
        if not live.recipient_sought:
            live.recipient = await _recipient(lane, live)
            live.recipient_sought = True
            if not live.busy:
                live.forget()


async def _recipient(lane: Lane, live: Live) -> str | None:
    facts = live.flow.facts
    rule = lane.parts.rules().rule(facts.rule)
    if (facts.rule and rule is None) or not await remember(lane, live) or live.notification is None:
        return None
    phone = _phone(live.notification, rule)
    if phone is None or facts.recipient_hash is None or lane.parts.rules().version == facts.rules_version:
        return phone
    # Other rules may name another phone: a search there would prove nothing, and its flows are somebody else's.
    return phone if lane.parts.pseudonym(phone.encode()) == facts.recipient_hash else None


async def recall(lane: Lane, digest: bytes, suffices: Callable[[Collection[Flow]], bool]) -> list[Flow]:
    """Finished flows of an event, each as its last row says: a hit in the index of 64 bits is confirmed by all 128.

    ``suffices``: whether these answer the question. If not, a hit without a row is no proof that the event was never met: unless
    retention took it, a former owner's late row of the same key replaced it, which the next claim reads. Raises LaneLost then.
    """
    while True:
        offsets = lane.ledger.settled.find(digest)
        found: dict[str, Flow] = {}
        gone = -1
        for offset in offsets:
            entry = await lane.reader.at(offset)
            if entry is None:
                gone = offset
                continue
            flow = rows.flow_of(entry.key, entry.value)
            if flow.facts.digest == digest:
                found[flow.facts.flow_id] = flow
        if offsets != lane.ledger.settled.find(digest):
            continue  # a flow came back and finished anew meanwhile
        if gone >= 0 and not suffices(found.values()) and gone >= await lane.parts.journal.begin(lane.id):
            raise LaneLost("rows_replaced")
        return list(found.values())
