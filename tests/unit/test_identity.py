"""Who is who: the same for everybody, for ever."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from connector.core import identity

texts = st.text(max_size=30)


def test_the_namespace_is_part_of_the_format() -> None:
    """Journals and consumers hold ids derived from it: these never change."""
    flow = identity.flow_id("e1", "order")
    assert flow == str(uuid.uuid5(identity.NAMESPACE, "e1|order")) == "6c993283-b403-550c-a809-d8dbbc9016a8"
    assert identity.output_id(flow, 1) == "80457589-81cf-5736-b6ec-c821dcd17783"
    assert identity.digest("e1").hex() == "afdd4403c41069df839dbe2249f98aee"
    assert identity.pseudonym(b"pepper", b"+306912345678").hex() == "a047484cb931ca00548e9f85bf92ceb1"


@given(st.lists(st.tuples(texts, st.sampled_from(["", "a", "b"])), unique=True, max_size=20))
def test_flows_of_different_events_or_rules_differ(pairs: list[tuple[str, str]]) -> None:
    """A rule's name holds no bar, so two pairs never read alike."""
    assert len({identity.flow_id(event, rule) for event, rule in pairs}) == len(pairs)


@given(texts, texts, st.integers(1, 99), st.integers(1, 99))
def test_derived_ids_are_deterministic_and_distinct(event: str, rule: str, n: int, m: int) -> None:
    """Attempts show flow and number; outputs differ by number; neither is ever random."""
    flow = identity.flow_id(event, rule)
    assert identity.attempt_id(flow, n) == f"{flow}.{n}"
    assert (identity.output_id(flow, n) == identity.output_id(flow, m)) is (n == m)
    assert identity.output_id(flow, n) == identity.output_id(identity.flow_id(event, rule), n)


@given(texts, texts)
def test_digests_stand_for_events(one: str, other: str) -> None:
    """16 bytes, equal only for the same identity."""
    assert len(identity.digest(one)) == 16
    assert (identity.digest(one) == identity.digest(other)) is (one == other)


@given(st.binary(min_size=1), st.binary(), st.binary())
def test_pseudonyms_need_the_pepper(pepper: bytes, one: bytes, other: bytes) -> None:
    """Comparable under one pepper, another under another; never the value itself."""
    assert (identity.pseudonym(pepper, one) == identity.pseudonym(pepper, other)) is (one == other)
    assert identity.pseudonym(pepper, one) != identity.pseudonym(pepper + b"\x01", one)
    assert len(identity.pseudonym(pepper, one)) == 16


def test_a_letter_of_a_record_without_a_flow_has_one_id() -> None:
    """Whoever reads the record again gives it the same id; another record, or one in the same place of a topic made anew, has another."""
    ids = {identity.letter_id(place, when) for place in ("g.in.callbacks/0/1", "g.in.callbacks/0/11") for when in (1, 2)}
    assert len(ids) == 4
    assert identity.letter_id("g.in.callbacks/0/1", 1) in ids
