"""What a looker asks for, and that no name of a flow is missed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import identity, rows, status
from connector.core.flow import Attempt, Flow, State
from connector.core.model import Api, FlowStatus
from connector.core.wanted import Listed, Wanted, since_ms
from tests.unit.flows import NOW, facts, some_facts, walks

PHONE = "+306912345678"


def pseudonym(value: bytes) -> bytes:
    """As the connector with this pepper stores phones."""
    return identity.pseudonym(b"pepper", value)


MINE = Flow(
    facts(event_id='e"1', digest=identity.digest('e"1'), recipient_hash=pseudonym(PHONE.encode())),
    State.ACCEPTED,
    tracking_id="track-1",
    duplicates=("track-2",),
    progress=status.FlowProgress(Api.STANDARD),
)
OTHER = Flow(facts(flow_id="11111111-0c1e-5b6f-9f3e-1a2b3c4d5e6f", event_id="e2", digest=b"x" * 16, source_offset=8))


@pytest.mark.parametrize(
    "name",
    [
        'e"1',
        MINE.facts.flow_id,
        " track-1 ",
        "track-2",
        MINE.facts.flow_id.upper(),
        "TRACK-1",
        "notifications/0/7",
        "notifications:0:7",
        PHONE,
        "0030 691 234 5678",
        pseudonym(PHONE.encode()).hex(),
    ],
)
def test_a_flow_is_found_by_each_of_its_names(name: str) -> None:
    """Event, flow and tracking ids, duplicates, coordinates, the phone in any form that rules take, and its hash; nobody else is."""
    wanted = Wanted.of(name, pseudonym)
    assert wanted.may_match(*rows.flow_row(MINE, 1, 1))
    assert wanted.matches(MINE)
    assert not wanted.matches(OTHER)


@pytest.mark.parametrize("name", ["e1", "track", "notifications/0/70", "notifications/1/7", "+306912345679", "", "\udcff"])
def test_what_is_only_similar_is_not_found(name: str) -> None:
    """Not by a part of a name; an argument that is no UTF-8 is merely not found."""
    assert not Wanted.of(name, pseudonym).matches(MINE)


@given(st.lists(walks, min_size=1, max_size=3), st.data())
def test_the_quick_look_misses_nothing(several: list[list[tuple[Flow, object, Flow]]], data: st.DataObject) -> None:
    """Whatever ``matches`` would take, ``may_match`` lets through."""
    flows = [after for steps in several for _, _, after in steps] or [MINE]
    one = data.draw(st.sampled_from(flows))
    names = [one.facts.event_id, one.facts.flow_id, *filter(None, [one.tracking_id]), *one.duplicates, "notifications/0/7"]
    wanted = Wanted.of(data.draw(st.sampled_from(names)), pseudonym)
    assert wanted.matches(one)
    assert all(wanted.may_match(*rows.flow_row(flow, 1, 1)) for flow in flows if wanted.matches(flow))


def test_a_phone_is_neither_held_nor_shown() -> None:
    """Only its keyed hash is compared; the caller is told not to print what was typed."""
    wanted = Wanted.of(PHONE, pseudonym)
    assert wanted.is_phone
    assert "6912345678" not in repr(wanted)
    assert not Wanted.of(pseudonym(PHONE.encode()).hex(), pseudonym).is_phone
    assert not Wanted.of("e1", pseudonym).is_phone


@given(walks)
def test_a_list_goes_by_the_head(steps: list[tuple[Flow, object, Flow]]) -> None:
    """Without words: what is not finished; else the states named, what has no decision yet, and what is still followed."""
    for _, _, flow in steps:
        row = rows.flow_row(flow, 1, 1)
        state = flow.state.name.lower()
        assert Listed().may_match(*row) is not flow.finished
        assert Listed(frozenset({state})).may_match(*row)
        assert not Listed(frozenset({"invalid"} - {state})).may_match(*row) or state == "invalid"
        assert Listed(frozenset({"open"})).may_match(*row) is not flow.state.settled
        assert Listed(frozenset({"followed"})).may_match(*row) is (flow.state is State.ACCEPTED and not flow.finished)
        undelivered = Listed(frozenset({"undelivered"}))
        is_one = flow.progress is not None and flow.progress.undelivered
        assert undelivered.matches(flow) is is_one
        assert undelivered.may_match(*row) or not is_one
        for words in ((), ("open",), ("followed",), (state,)):
            assert Listed(frozenset(words)).matches(flow) is Listed(frozenset(words)).may_match(*row)


@given(some_facts)
def test_a_flow_is_as_old_as_its_last_news(one: object) -> None:
    """Its last change, else its last POST, else the event: a take-over's new row makes it no younger."""
    flow = Flow(facts())
    assert since_ms(flow) == NOW - 1000
    posted = replace(flow, attempts=(Attempt(1, NOW), Attempt(2, NOW + 5)))
    assert since_ms(posted) == NOW + 5
    assert since_ms(replace(posted, changed_at_ms=NOW + 9)) == NOW + 9


def test_a_row_of_a_followed_flow_is_not_finished() -> None:
    """Accepted and under way."""
    under_way = replace(MINE, progress=status.FlowProgress(Api.STANDARD, FlowStatus.IN_PROGRESS))
    assert Listed(frozenset({"followed"})).may_match(*rows.flow_row(under_way, 1, 1))
