"""Journal rows: what goes in comes out, and what is no row of ours is refused."""

from __future__ import annotations

import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import rows
from connector.core.flow import Event, Flow, State
from connector.core.rows import Checkpoint, Kind
from connector.errors import LaneRefused
from tests.unit.flows import facts, walks

HEAD = 44
offsets = st.integers(0, 2**62)


@given(walks, offsets, st.integers(0, 2**32 - 1))
def test_a_flow_comes_back_as_it_was(steps: list[tuple[Flow, Event, Flow]], epoch: int, k: int) -> None:
    """Whole state and pending outputs; key and head tell whose, which and where without the body."""
    for flow in [Flow(facts()), *(after for _, _, after in steps)]:
        key, value = rows.flow_row(flow, epoch, k)
        assert rows.flow_of(key, value) == flow
        assert (rows.flow_id_of(key), key) == (flow.facts.flow_id, rows.flow_key(flow.facts.flow_id, epoch))
        head = rows.head_of(value[:HEAD])
        assert (head.kind, head.state, head.attempt, head.epoch, head.k) == (Kind.FLOW, flow.state, flow.attempt, epoch, k)
        assert (head.finished, head.has_siblings, head.has_pending) == (flow.finished, False, bool(flow.pending))
        assert head.labelled is flow.facts.labelled
        assert (head.input_offset, head.digest) == (flow.facts.source_offset, flow.facts.digest)


def test_a_row_without_a_rule_comes_back() -> None:
    """UNROUTED and INVALID have no API, no class."""
    flow = Flow(facts(api=None, message_class=None, rule="", siblings=("",)), State.UNROUTED)
    assert rows.flow_of(*rows.flow_row(flow, 1, 1)) == flow


def test_siblings_show_in_the_head() -> None:
    """The claimant decodes only those rows to see whether an event is complete."""
    _, value = rows.flow_row(Flow(facts(siblings=("a", "b"), rule="a")), 1, 1)
    assert rows.head_of(value).has_siblings


@given(
    st.builds(
        Checkpoint,
        journal=st.integers(-1, 2**62),
        outputs=st.dictionaries(st.text(max_size=9), offsets),
        callbacks=st.none() | offsets,
        input=st.none() | offsets,
        topic_id=st.none() | st.text(),
        polls=st.none() | st.floats(0, 1e9),
    )
)
def test_a_checkpoint_comes_back(checkpoint: Checkpoint) -> None:
    """J, OUT, CB, IN, the input topic's id and the polls."""
    key, value = rows.checkpoint_row(checkpoint, 5, 9)
    assert (key, rows.checkpoint_of(value)) == (b"ckpt|5", checkpoint)
    head = rows.head_of(value)
    assert (head.kind, head.epoch, head.k) == (Kind.CHECKPOINT, 5, 9)


def test_a_claim_says_who_claims() -> None:
    """Its key is never used twice; its epoch is its offset, which it cannot know."""
    key, value = rows.claim_row("n1", "host/1", 7)
    assert (key, rows.head_of(value).kind) == (b"claim|n1", Kind.CLAIM)
    assert orjson.loads(value[HEAD:]) == {"nonce": "n1", "host": "host/1", "at": 7}


def test_keys_of_two_epochs_differ() -> None:
    """A zombie can never supersede an owner's row."""
    assert rows.flow_key("f", 1) != rows.flow_key("f", 2)


# -------------------------------------------------------------------------------------------------------------- refusals


@given(st.binary(max_size=HEAD - 1))
def test_what_is_too_short_is_refused(value: bytes) -> None:
    """A foreign topic."""
    with pytest.raises(LaneRefused, match="too short"):
        rows.head_of(value)


def test_another_format_is_refused_by_name() -> None:
    """The remedy is the release that wrote it."""
    _, value = rows.flow_row(Flow(facts()), 1, 1)
    with pytest.raises(LaneRefused, match="format 2"):
        rows.head_of(b"\x02" + value[1:])


@pytest.mark.parametrize("place", [1, 2])
def test_unknown_kinds_and_states_are_refused(place: int) -> None:
    """Not guessed."""
    _, value = rows.flow_row(Flow(facts()), 1, 1)
    with pytest.raises(LaneRefused, match="200"):
        rows.head_of(value[:place] + b"\xc8" + value[place + 1 :])


@given(st.binary(min_size=HEAD, max_size=200))
def test_no_bytes_break_the_reader(value: bytes) -> None:
    """Whatever stands in a topic: a row or LaneRefused."""
    for value_ in (value, bytes([rows.FORMAT, 2, 5]) + value[3:], bytes([rows.FORMAT, 1, 0]) + value[3:]):
        for read in (rows.head_of, lambda one: rows.flow_of(b"f|1", one), rows.checkpoint_of):
            try:
                read(value_)
            except LaneRefused:
                continue


@given(st.sampled_from([b"", b"{", b"[]", b"null", b"1", b'{"J": 1}', b"{}"]))
def test_a_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    """With epoch and k, so that a person finds it."""
    _, value = rows.flow_row(Flow(facts()), 3, 8)
    with pytest.raises(LaneRefused, match="epoch 3, k 8"):
        rows.flow_of(b"f|3", value[:HEAD] + body)
    with pytest.raises(LaneRefused, match="checkpoint"):
        rows.checkpoint_of(value[:HEAD] + body)


@given(st.sampled_from(["event_id", "siblings", "attempts", "progress", "pending", "api", "key"]), st.sampled_from([None, 5, "x", [[1]]]))
def test_a_field_of_another_shape_is_refused_or_harmless(name: str, value: object) -> None:
    """Never another exception."""
    key, row = rows.flow_row(Flow(facts()), 1, 1)
    body = orjson.loads(row[HEAD:])
    try:
        rows.flow_of(key, row[:HEAD] + orjson.dumps(body | {name: value}))
    except LaneRefused:
        return


def test_the_head_is_as_long_as_it_says() -> None:
    """44 bytes, big endian: part of the format."""
    assert struct.calcsize(">BBBBIqIq16s") == HEAD == rows._HEAD.size
