"""Journal rows as bytes: a fixed head that a claim reads without decoding the rest, then a JSON body.

========== ======================= =============================================
row        key                     value
========== ======================= =============================================
CLAIM      ``claim|<nonce>``       head, {nonce, host, at}
CHECKPOINT ``ckpt|<epoch>``        head, {J, OUT, CB, IN, topic_id, POLLS}
flow       ``<flow_id>|<epoch>``   head, the whole flow with its un-acked events
========== ======================= =============================================

Head (44 bytes, big endian): format version, kind, state, flags, attempt, epoch, k, input offset, 16 bytes of the event's digest.
Rows never hold a phone, a text, a PIN or a token.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from connector.core import status
from connector.core.flow import Attempt, Facts, Flow, State
from connector.core.model import Api, InDoubt, MessageClass, OutputEvent
from connector.errors import LaneRefused

FORMAT = 1
_HEAD = struct.Struct(">BBBBIqIq16s")
_FINISHED, _SIBLINGS, _PENDING, _LABELLED = 1, 2, 4, 8
_NO_DIGEST = bytes(16)
_STATES = {int(state): state for state in State}
_TAKEN = frozenset({State.ACCEPTED, State.UNKNOWN})
_APIS = {api.value: api for api in Api}
_CLASSES = {message_class.value: message_class for message_class in MessageClass}


class Kind(enum.IntEnum):
    """What a row is. The numbers stand in rows: never renumber."""

    CLAIM = 0
    CHECKPOINT = 1
    FLOW = 2


_KINDS = {int(kind): kind for kind in Kind}


class Head(NamedTuple):
    """What can be known of a row without decoding its body."""

    kind: Kind
    state: State
    finished: bool
    has_siblings: bool
    has_pending: bool
    labelled: bool  # Facts.labelled
    attempt: int
    epoch: int
    k: int
    input_offset: int
    digest: bytes

    @property
    def nameless(self) -> bool:
        """The provider took it, or may have, and shows no label of ours: a search for another flow meets it as anybody's."""
        return self.state in _TAKEN and not self.labelled


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far everything before is done: J (journal), OUT (end of outputs per topic), CB (callbacks taken), IN (input position).

    And what is left of the lane's budget of polls; None where a release wrote it that did not know that.
    """

    journal: int
    outputs: Mapping[str, int]
    callbacks: int | None
    input: int | None
    topic_id: str | None = None
    polls: float | None = None


def flow_key(flow_id: str, epoch: int) -> bytes:
    """Compaction key of a flow's row: one per flow and epoch, so that a zombie can never supersede an owner's row."""
    return f"{flow_id}|{epoch}".encode()


def flow_part(key: bytes) -> bytes:
    """What the keys of a flow's rows have in common, whatever the epoch: its id, as bytes."""
    return key.rsplit(b"|", 1)[0]


def flow_id_of(key: bytes) -> str:
    """The flow a row is about."""
    return flow_part(key).decode()


def head_of(value: bytes) -> Head:
    """Raises LaneRefused for a row this release cannot read."""
    try:
        version, kind, state, flags, attempt, epoch, k, offset, digest = _HEAD.unpack_from(value)
    except struct.error as error:
        raise LaneRefused("a journal row is too short to be one; is this topic the connector's journal?") from error
    if version != FORMAT:
        raise LaneRefused(f"journal row format {version} is not known to this release (it reads {FORMAT}); run the release that wrote it")
    try:  # by dict, since an enum's own look-up is half the time that a claim spends on a row
        known, stands = _KINDS[kind], _STATES[state]
    except KeyError as error:
        raise LaneRefused(f"{error} is no kind or state of a journal row; is this topic the connector's journal?") from error
    finished, siblings, pending, labelled = flags & _FINISHED != 0, flags & _SIBLINGS != 0, flags & _PENDING != 0, flags & _LABELLED != 0
    return Head(known, stands, finished, siblings, pending, labelled, attempt, epoch, k, offset, digest)


def claim_row(nonce: str, host: str, at_ms: int) -> tuple[bytes, bytes]:
    """Key and value of a CLAIM; its offset will be the epoch."""
    head = _HEAD.pack(FORMAT, Kind.CLAIM, 0, 0, 0, -1, 0, -1, _NO_DIGEST)
    return f"claim|{nonce}".encode(), head + orjson.dumps({"nonce": nonce, "host": host, "at": at_ms})


def host_of(value: bytes) -> str:
    """Of a CLAIM row: the claimant's name for itself. Raises LaneRefused for one that cannot be read."""
    try:
        return str(orjson.loads(value[_HEAD.size :])["host"])
    except (KeyError, TypeError, ValueError) as error:
        raise LaneRefused(f"a journal's claim cannot be read: {type(error).__name__}") from error


def checkpoint_row(checkpoint: Checkpoint, epoch: int, k: int) -> tuple[bytes, bytes]:
    """Key and value of a CHECKPOINT of ``epoch``."""
    head = _HEAD.pack(FORMAT, Kind.CHECKPOINT, 0, 0, 0, epoch, k, -1, _NO_DIGEST)
    body = {
        "J": checkpoint.journal,
        "OUT": dict(checkpoint.outputs),
        "CB": checkpoint.callbacks,
        "IN": checkpoint.input,
        "topic_id": checkpoint.topic_id,
        "POLLS": checkpoint.polls,
    }
    return f"ckpt|{epoch}".encode(), head + orjson.dumps(body)


def checkpoint_of(value: bytes) -> Checkpoint:
    """Body of a CHECKPOINT row. Raises LaneRefused for one that cannot be read."""
    try:
        body = orjson.loads(value[_HEAD.size :])
        return Checkpoint(body["J"], body["OUT"], body["CB"], body["IN"], body.get("topic_id"), body.get("POLLS"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LaneRefused(f"a journal's checkpoint cannot be read: {type(error).__name__}") from error


def flow_row(flow: Flow, epoch: int, k: int) -> tuple[bytes, bytes]:
    """Key and value of a flow's row: the whole state, and the content of the events that are not known to be acknowledged."""
    facts = flow.facts
    flags = (_FINISHED if flow.finished else 0) | (_SIBLINGS if len(facts.siblings) > 1 else 0)
    flags |= (_PENDING if flow.pending else 0) | (_LABELLED if facts.labelled else 0)
    head = _HEAD.pack(FORMAT, Kind.FLOW, flow.state, flags, flow.attempt, epoch, k, facts.source_offset, facts.digest)
    return flow_key(facts.flow_id, epoch), head + orjson.dumps(_body(flow))


def _body_of_facts(facts: Facts) -> dict[str, Any]:
    return {
        "event_id": facts.event_id,
        "event_type": facts.event_type,
        "siblings": facts.siblings,
        "rule": facts.rule,
        "rules_version": facts.rules_version,
        "api": facts.api,
        "class": facts.message_class,
        "tenant": facts.tenant,
        "topic": facts.source_topic,
        "partition": facts.source_partition,
        "occurred_at": facts.occurred_at_ms,
        "expires_at": facts.expires_at_ms,
        "key": facts.key_hash.hex() if facts.key_hash else None,
        "recipient": facts.recipient_hash.hex() if facts.recipient_hash else None,
        "channels": facts.channels,
        "signature": facts.signature,
        "labelled": facts.labelled,
        "ttl_total": facts.ttl_total_ms,
        "in_doubt": facts.in_doubt,
    }


def _body(flow: Flow) -> dict[str, Any]:
    return {
        **_body_of_facts(flow.facts),
        "attempts": [(line.n, line.at_ms, line.outcome, line.http_status, line.reason) for line in flow.attempts],
        "ever_posted": flow.ever_posted,
        "ever_doubted": flow.ever_doubted,
        "resent": flow.resent,
        "overtaken": flow.overtaken,
        "called": flow.called,
        "reason": flow.reason,
        "detail": flow.detail,
        "tracking_id": flow.tracking_id,
        "proven": flow.proven,
        **({"guessed": True} if flow.guessed else {}),  # next to none is
        "duplicates": flow.duplicates,
        "progress": flow.progress.compact() if flow.progress else None,
        "times": flow.progress.times() if flow.progress else None,
        "told": flow.progress.told() if flow.progress else None,
        **({"odd_word": flow.progress.odd_word} if flow.progress and flow.progress.odd_word else {}),  # next to none has one
        "accepted_at": flow.accepted_at_ms,
        "changed_at": flow.changed_at_ms,
        "due": flow.due_ms,
        "out": flow.out,
        "seq": flow.seq,
        "pending": [(number, event.id, event.kind, event.body) for number, event in flow.pending],
    }


def flow_of(key: bytes, value: bytes, head: Head | None = None) -> Flow:
    """The flow as its row says; ``head``, where it is known already. Raises LaneRefused where the row contradicts itself."""
    head = head or head_of(value)
    try:
        return _flow(flow_id_of(key), head, orjson.loads(value[_HEAD.size :]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LaneRefused(f"journal row of epoch {head.epoch}, k {head.k} cannot be read: {type(error).__name__}") from error


def _facts(flow_id: str, head: Head, body: dict[str, Any]) -> Facts:
    return Facts(
        flow_id=flow_id,
        digest=head.digest,
        event_id=body["event_id"],
        event_type=body["event_type"],
        siblings=tuple(body["siblings"]),
        rule=body["rule"],
        rules_version=body["rules_version"],
        api=_APIS[body["api"]] if body["api"] else None,
        message_class=_CLASSES[body["class"]] if body["class"] else None,
        tenant=body["tenant"],
        source_topic=body["topic"],
        source_partition=body["partition"],
        source_offset=head.input_offset,
        occurred_at_ms=body["occurred_at"],
        expires_at_ms=body["expires_at"],
        key_hash=bytes.fromhex(body["key"]) if body["key"] else None,
        recipient_hash=bytes.fromhex(body["recipient"]) if body["recipient"] else None,
        channels=tuple(body["channels"]),
        signature=tuple(body["signature"]),
        labelled=body["labelled"],
        ttl_total_ms=body["ttl_total"],
        in_doubt=InDoubt(body["in_doubt"]) if body["in_doubt"] else None,
    )


def _progress(body: dict[str, Any]) -> status.FlowProgress:
    """Rows of older releases have neither times nor what was told."""
    return status.FlowProgress.from_compact(body["progress"], body.get("times"), body.get("told"), body.get("odd_word"))


def _flow(flow_id: str, head: Head, body: dict[str, Any]) -> Flow:
    return Flow(
        facts=_facts(flow_id, head, body),
        state=head.state,
        attempt=head.attempt,
        attempts=tuple([Attempt(*line) for line in body["attempts"]]),
        ever_posted=body["ever_posted"],
        ever_doubted=body["ever_doubted"],
        resent=body["resent"],
        overtaken=body["overtaken"],
        called=body.get("called", False),  # older rows have none
        reason=body["reason"],
        detail=body["detail"],
        tracking_id=body["tracking_id"],
        proven=body["proven"],
        guessed=body.get("guessed", False),
        duplicates=tuple(body["duplicates"]),
        progress=_progress(body) if body["progress"] else None,
        accepted_at_ms=body["accepted_at"],
        changed_at_ms=body["changed_at"],
        due_ms=body["due"],
        out=body["out"],
        seq=body["seq"],
        pending=tuple([(number, OutputEvent(id_, kind, flow_id, content)) for number, id_, kind, content in body["pending"]]),
    )
