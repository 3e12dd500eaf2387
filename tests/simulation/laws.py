"""From a run to ``tests.proof``'s facts; and the laws that only a simulation can check, since it knows the true order of everything."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import cast

from connector.core import identity, rows
from connector.core.flow import Flow, State
from connector.core.model import DeadLetter, OutputEvent
from connector.ports import Callback, LaneId
from tests.proof import checker, facts
from tests.proof.checker import Problem
from tests.proof.known import Known
from tests.simulation.kafka import Row
from tests.simulation.ports import OUTPUTS
from tests.simulation.setting import CLASS_OF, EPOCH_MS, NEVER_RESENT, RULES_OF, Coming
from tests.simulation.world import World

_MOST_SKEW_MS = 15_000


def judge(world: World) -> list[Problem]:
    """Everything that is wrong with a run."""
    if not world.settled:
        return [Problem("liveness", _unsettled(world)), *(Problem("crash", text) for text in world.crashes)]
    truth = _Truth(world)
    verdict = checker.check(truth.known)
    return [
        *verdict.problems,
        *(Problem("unchecked", f"{law}: {why}") for law, why in verdict.skipped.items()),
        *(Problem("T1", text) for text in truth.unlawful_posts()),
        *(Problem("T2", text) for text in truth.unlawful_repeats()),
        *(Problem("T3", text) for text in truth.missing_recipients()),
        *(Problem("crash", text) for text in (*world.crashes, *world.loop.troubles)),
    ]


def _unsettled(world: World) -> str:
    states = [line for worker in world.workers.values() for line in worker.condition()]
    ends = {str(lane): (world.coordinator.committed.get(lane), world.broker.log(f"input {lane}").end) for lane in world.setting.lanes}
    return f"not settled: {states}; committed and end: {ends}; provider has {world.routee.pending} to come"


class _Truth:
    """The run's logs, read once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lanes = world.setting.lanes
        self._flows: dict[tuple[LaneId, int], Flow] = {}
        self._phones: dict[str, str] = {}
        self._claims: dict[LaneId, list[int]] = {
            lane: [row.offset for row in self._journal(lane) if row.value[1] == rows.Kind.CLAIM] for lane in self._lanes
        }

    def _journal(self, lane: LaneId) -> list[Row]:
        return self._world.broker.log(f"journal {lane}").rows

    def _fenced(self, lane: LaneId, epoch: int, offset: int) -> bool:
        claims = self._claims[lane]
        position = bisect_right(claims, epoch)
        return position < len(claims) and claims[position] < offset

    # ---------------------------------------------------------------------------------------------------------- the facts

    @cached_property
    def known(self) -> facts.Facts:
        """What ``tests.proof`` asks for; times in milliseconds of the simulated world."""
        policy = self._world.setting.policy
        return facts.Facts(
            events=list(self._events()),
            posts=[
                facts.Post(post.seq, post.at * 1000, post.flow_id, post.attempt, post.api.value, post.tracking_id)
                for post in self._world.routee.posts
            ],
            sends=[_send(row.value[0]) for row in self._world.broker.log(OUTPUTS["send"]).rows if not row.is_copy],
            statuses=self._statuses(),
            letters=[_letter(row.value) for row in self._world.broker.log("dead letters").rows],
            rows=[self._row(lane, row) for lane in self._lanes for row in self._journal(lane)],
            commits=[facts.Commit(str(commit.lane), commit.offset, commit.at * 1000) for commit in self._world.coordinator.commits],
            callbacks_stored=[_stored(row.value) for lane in self._lanes for row in self._world.broker.log(f"callbacks {lane}").rows],
            callbacks_acked=[facts.CallbackSeen(one.flow_id, one.attempt, one.tracking_id, None) for one in self._world.routee.answered],
            resend_wait=(policy.timeout_s + policy.provider_lag_s) * 1000,
            expiry_grace=policy.lease_s * 1000 + _MOST_SKEW_MS,
        )

    def _statuses(self) -> list[facts.StatusSeen]:
        """In the topic's order; but where a producer gave one up, its successor may stand before it, and a consumer puts them in order."""
        seen = [_status(row.value[0]) for row in self._world.broker.log(OUTPUTS["status"]).rows if not row.is_copy]
        given_up = {key.decode() for key in self._world.broker.unanswered}
        moved = sorted((one for one in seen if one.flow_id in given_up), key=lambda one: one.seq)
        return [*(one for one in seen if one.flow_id not in given_up), *moved]

    def _events(self) -> Iterator[facts.ExpectedEvent]:
        seen: set[tuple[LaneId, str]] = set()
        for lane in self._lanes:
            for row in self._world.broker.log(f"input {lane}").rows:
                coming, record = row.tag, row.value
                assert isinstance(coming, Coming)
                event_id = coming.event_id if coming.kind else record.coordinates
                repeat = (lane, event_id) in seen
                seen.add((lane, event_id))
                occurred_at_ms = record.timestamp_ms
                expires_at = coming.expires_at_ms(occurred_at_ms)
                yield facts.ExpectedEvent(
                    lane=str(lane),
                    offset=record.offset,
                    key=record.key,
                    value=record.value,
                    flows=tuple(self._expected(coming, event_id)),
                    expires_at=None if expires_at is None else float(expires_at - EPOCH_MS),
                    repeat=repeat,
                )

    def _expected(self, coming: Coming, event_id: str) -> Iterator[facts.ExpectedFlow]:
        if coming.kind is None:
            return
        routed = RULES_OF.get(coming.kind, ())
        for rule in routed:
            flow_id = identity.flow_id(event_id, rule)
            yield facts.ExpectedFlow(flow_id, rule, CLASS_OF[rule].value, None, rule not in NEVER_RESENT)
        if coming.kind:
            self._phones.update((identity.flow_id(event_id, rule), coming.phone) for rule in routed or ("",))
        if not routed:
            fate = facts.Fate.UNROUTED if coming.kind else facts.Fate.INVALID
            yield facts.ExpectedFlow(identity.flow_id(event_id, ""), "", None, fate, may_resend=False)

    def _row(self, lane: LaneId, row: Row) -> facts.JournalRow:
        head, at = rows.head_of(row.value), row.landed_at * 1000
        if head.kind is not rows.Kind.FLOW:
            return facts.JournalRow(str(lane), row.offset, at, facts.RowKind(head.kind.name.lower()), head.epoch)
        flow = self._flow(lane, row)
        return facts.JournalRow(
            lane=str(lane),
            offset=row.offset,
            at=at,
            kind=facts.RowKind.FLOW,
            epoch=head.epoch,
            flow_id=flow.facts.flow_id,
            state=flow.state.name,
            attempt=flow.attempt,
            input_offset=head.input_offset,
            attempts=tuple((line.n, line.outcome) for line in flow.attempts),
        )

    def _flow(self, lane: LaneId, row: Row) -> Flow:
        found = self._flows.get((lane, row.offset))
        if found is None:
            found = self._flows[lane, row.offset] = rows.flow_of(row.key, row.value)
        return found

    # ----------------------------------------------------------------------------------------- what only the truth can tell

    def unlawful_posts(self) -> Iterator[str]:
        """T1: each POST has a valid INTENT of its own process in the log before it, and begins within that INTENT's lease."""
        lease_s = self._world.setting.policy.lease_s
        intents: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for lane in self._lanes:
            for row in self._journal(lane):
                head = rows.head_of(row.value)
                if head.kind is rows.Kind.FLOW and head.state is State.INTENT and not self._fenced(lane, head.epoch, row.offset):
                    intents[rows.flow_id_of(row.key), head.attempt].append(row)
        for post in self._world.routee.posts:
            own = [row for row in intents[post.flow_id, post.attempt] if row.author is post.sender and row.offset < post.journal_end]
            name = f"{post.flow_id}.{post.attempt} by {post.sender.name} at {post.at:.3f}"
            if not own:
                yield f"{name} has no valid INTENT of that process before it"
            elif post.at - own[-1].queued_at > lease_s + 0.0001:
                yield f"{name} began {post.at - own[-1].queued_at:.3f} s after its INTENT was written"

    def unlawful_repeats(self) -> Iterator[str]:
        """T2: an output stands twice in its topic only where all copies but one are a zombie's, landed after a later CLAIM.

        A flow whose row the broker itself wrote twice is left out: its second copy lies behind the checkpoint that speaks of the first.
        """
        copied = {rows.flow_id_of(row.key) for lane in self._lanes for row in self._journal(lane) if row.is_copy}
        for topic in OUTPUTS.values():
            owners: dict[str, int] = defaultdict(int)
            for row in self._world.broker.log(topic).rows:
                lane, epoch = cast("tuple[LaneId, int]", row.tag)
                later = [claim for claim in self._claims[lane] if claim > epoch]
                is_zombie = bool(later) and self._journal(lane)[later[0]].landed_at <= row.landed_at
                if not row.is_copy and not is_zombie and row.value[0].flow_id not in copied:
                    owners[row.value[0].id] += 1
            yield from (f"{topic}: {id_} was emitted {times} times by owners" for id_, times in owners.items() if times > 1)

    def missing_recipients(self) -> Iterator[str]:
        """T3: a SendEvent names its recipient, for the input holds it."""
        for row in self._world.broker.log(OUTPUTS["send"]).rows:
            event, recipient = row.value
            if recipient != self._phones.get(event.flow_id):
                yield f"SendEvent {event.id} of flow {event.flow_id} has {'no' if recipient is None else 'a wrong'} recipient"


def _send(event: OutputEvent) -> facts.SendSeen:
    body = event.body
    return facts.SendSeen(
        id=event.id,
        flow_id=event.flow_id,
        outcome=body["outcome"],
        tracking_id=body["tracking_id"],
        attempts=tuple((line["n"], line["outcome"]) for line in body["attempts"]),
        resent_after_doubt=body["resent_after_doubt"],
        duplicate=body["duplicate"],
        correction=body["correction"],
        settled_at=float(body["settled_at"] - EPOCH_MS) + _MOST_SKEW_MS,
    )


def _status(event: OutputEvent) -> facts.StatusSeen:
    body = event.body
    words = (body["status"], body["previous"], body["terminal"], body["correction"], body["tracking_id"])
    return facts.StatusSeen(event.id, event.flow_id, body["seq"], *words)


def _letter(letter: DeadLetter) -> facts.Letter:
    record = letter.record
    headers = {
        "__connect.errors.topic": record.topic,
        "__connect.errors.partition": str(record.partition),
        "__connect.errors.offset": str(record.offset),
        "failover.reason": letter.reason,
    }
    return facts.Letter(letter.id, letter.flow_id, headers, record.value)


def _stored(callback: Callback) -> facts.CallbackSeen:
    return facts.CallbackSeen(callback.flow_id, callback.attempt, callback.report.tracking_id, None)


def known_of(world: World) -> Known:
    """A run's facts, sorted."""
    return Known(_Truth(world).known)


def figures(world: World) -> Counter[str]:
    """What a run adds to the tally."""
    known = known_of(world)
    seen = known.facts
    counts = Counter(
        {
            "events": sum(not event.repeat for event in seen.events),
            "flows": len(known.flows),
            "posts": len(seen.posts),
            "accepted": len(known.accepts),
            "doubts": len({(row.flow_id, row.attempt) for row in seen.rows or () if row.state == "DOUBT"}),
            "resends": sum(any(send.resent_after_doubt for send in sends) for sends in known.sends.values()),
            "unknown": sum(final.outcome == "UNKNOWN" for final in known.final.values()),
            "kills": world.counts["kills"],
            "freezes": world.counts["freezes"],
            "rebalances": sum(len(claims) for claims in known.claims.values()),
        }
    )
    for flow_id, (_, flow) in known.flows.items():
        sends = known.sends.get(flow_id, [])
        accepts = known.accepts.get(flow_id, [])
        flagged = any(send.resent_after_doubt for send in sends)
        final = known.final.get(flow_id)
        counts["lost"] += final is None or (final.outcome == "ACCEPTED" and not accepts)
        counts["duplicates"] += len(accepts) > 1
        counts["unflagged_duplicates"] += len(accepts) > (2 if flagged and flow.may_resend else 1)
    return counts
