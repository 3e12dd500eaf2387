"""Claiming a lane (lane-protocol 1.2): put the fence into the journal, read it to its end, and know every flow that is not settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connector.core import rows
from connector.core.claim import Epoch, Fold, Folded
from connector.core.flow import Flow, State, advance
from connector.core.ledger import Ledger
from connector.core.model import Doubt
from connector.core.rows import Checkpoint
from connector.errors import LaneLost, LaneRefused
from connector.ports import LaneId
from connector.services.parts import Parts

CANDIDATE_WINDOW_MS = 60_000  # a search looks from this long before the first POST in question (SEMANTICS §4)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the claimant knows when it has read the journal to its end."""

    epoch: Epoch
    checkpoint: Checkpoint  # as found; re-stated under the new epoch as its first row
    ledger: Ledger
    adopt: tuple[Flow, ...]  # not settled: each gets a row of the new epoch before anybody acts on it
    follow: tuple[Flow, ...]  # settled, but their statuses are still awaited
    start: int  # where the input goes on
    own_ids: Mapping[str, int] = field(default_factory=dict)  # of finished flows, where an adopted doubt could take one for its own


async def claim(lane: LaneId, parts: Parts) -> Claimed:
    """Raises LaneLost (try again), LaneRefused (a person must act), KafkaUnavailable (try again)."""
    started = parts.clock.boot()
    key, value = rows.claim_row(parts.nonce(), parts.host, parts.clock.now_ms())
    offset = await parts.journal.append(lane, key, value)
    fold = Fold(offset)
    async for batch in parts.journal.scan(lane, offset):
        for entry in batch:
            fold.feed(entry.offset, entry.key, entry.value)
    if fold.superseded:
        raise LaneLost("superseded")
    checkpoint = _known_topic(lane, parts, fold.checkpoint or Checkpoint(-1, await parts.outbox.ends(lane), None, None))
    committed = await parts.source.committed(lane)
    start = max(committed or 0, checkpoint.input or 0)
    claimed = await _sort(lane, parts, fold, checkpoint, start)
    parts.metrics.claim_seconds.observe(parts.clock.boot() - started)
    return claimed


def _known_topic(lane: LaneId, parts: Parts, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the input topic's id. A topic made anew counts its offsets anew: what the journal knows of them is wrong."""
    here = parts.topic_ids.get(lane.topic)
    if here is not None and checkpoint.topic_id is not None and checkpoint.topic_id != here:
        raise LaneRefused(
            f"input topic {lane.topic} was deleted and created anew; its journal speaks of the old one: "
            "give the group a new group_id, or delete this topic's journal and callbacks topics and run `topics create`"
        )
    return replace(checkpoint, topic_id=here or checkpoint.topic_id)


async def _sort(lane: LaneId, parts: Parts, fold: Fold, checkpoint: Checkpoint, start: int) -> Claimed:
    """Settled and finished flows become index entries, undecoded; the others become objects."""
    standing = list(fold.flows())
    ledger = Ledger(len(standing))
    open_rows: list[Folded] = []
    follow: list[Flow] = []
    for row in standing:
        head = row.head
        if not row.settled(checkpoint.journal):
            open_rows.append(row)
        elif head.finished:
            ledger.settled.add(head.digest, row.offset)
        else:
            follow.append(replace(rows.flow_of(row.key, row.value), pending=()))
    out = await parts.outbox.ids_since(lane, checkpoint.outputs) if open_rows else set()
    adopt = tuple(_adopted(row, out, parts) for row in open_rows)
    for flow in (*adopt, *follow):
        ledger.adopt(flow.facts.digest, flow.facts.siblings, flow.facts.rule, flow.facts.flow_id)
    ledger.covered = _covered(standing, start)
    parts.metrics.adopted_flows.inc(len(adopt))
    parts.metrics.void_rows.inc(sum(row.void for row in standing))
    return Claimed(Epoch(fold.epoch), checkpoint, ledger, adopt, tuple(follow), start, _neighbours(standing, adopt))


def _neighbours(standing: list[Folded], adopt: tuple[Flow, ...]) -> dict[str, int]:
    """Tracking ids of finished flows → time of acceptance. Only a doubt without a visible label asks whose a candidate is."""
    doubts = [flow for flow in adopt if flow.state is State.DOUBT and not flow.facts.labelled and flow.attempts]
    if not doubts:
        return {}
    since_ms = min(flow.attempts[0].at_ms for flow in doubts) - CANDIDATE_WINDOW_MS
    ids = {}
    for row in standing:
        if row.head.finished and row.head.state is State.ACCEPTED:
            flow = rows.flow_of(row.key, row.value)
            if flow.tracking_id and (flow.accepted_at_ms or 0) >= since_ms:
                ids[flow.tracking_id] = flow.accepted_at_ms or 0
    return ids


def _adopted(row: Folded, out: set[str], parts: Parts) -> Flow:
    """The flow as it will stand under the new epoch: an inherited INTENT is a DOUBT; events found in the outputs' tail are out."""
    flow = rows.flow_of(row.key, row.value)
    flow = flow.acked([number for number, event in flow.pending if event.id in out])
    if flow.state is State.INTENT:
        flow = advance(flow, Doubt("adopted"), parts.clock.now_ms())
    return flow


def _covered(standing: list[Folded], start: int) -> set[int]:
    """Input offsets from ``start`` on whose flows all have rows: met again only because the commit lags behind."""
    seen: dict[int, set[str]] = {}
    listed: dict[int, set[str]] = {}
    covered: set[int] = set()
    for row in standing:
        head = row.head
        if head.input_offset < start:
            continue
        if not head.has_siblings:
            covered.add(head.input_offset)
            continue
        facts = rows.flow_of(row.key, row.value).facts
        seen.setdefault(head.input_offset, set()).add(facts.rule)
        listed.setdefault(head.input_offset, set()).update(facts.siblings)
    covered.update(offset for offset, names in listed.items() if names <= seen[offset])
    return covered
