"""Doubt: what a search proves, when it is conclusive, and that nothing which may be ours is ever taken for absent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import doubt
from connector.core.documents import page_flows, parse_flow
from connector.core.doubt import Absent, Ambiguous, Found, Hit, Question, judge
from connector.core.model import Channel, FlowReport, InDoubt, MessageClass, StepReport, StepStatus
from tests.unit.routee_samples import sample

OURS = "6f1f6d6e-0c1e-5b6f-9f3e-1a2b3c4d5e6f"
OTHER = "11111111-0c1e-5b6f-9f3e-1a2b3c4d5e6f"
PHONE = "306912345678"
LABELLED = Question(OURS, 2, 2, labelled=True, signature=("Sms", "Viber"), since_ms=1_000, until_ms=60_000, recipient=f"+{PHONE}")
BARE = replace(LABELLED, labelled=False, signature=("Viber:AA-1", "Sms"))


def nobody(_tracking_id: str) -> bool:
    """No flow is owned."""
    return False


def flow(tracking_id: str | None = "t", *labels: str, signature: tuple[str, ...] = (), created_ms: int | None = 5_000) -> FlowReport:
    """A candidate to our phone within our window."""
    return FlowReport(tracking_id, None, created_at_ms=created_ms, labels=labels, signature=signature, recipients=(PHONE,))


# ------------------------------------------------------------------------------------------------------------- labelled


@pytest.mark.parametrize("question", [LABELLED, BARE])
@pytest.mark.parametrize("label", [f"{OURS}.2", f"shop|{OURS}.2", f"a|b|{OURS.upper()}.2"])
def test_our_label_is_proof(question: Question, label: str) -> None:
    """With or without the user's prefix, in any casing; whoever else claims the id, whatever the time and phone are."""
    hit = replace(flow("t", "other", label, created_ms=0), recipients=("4915112345678",))
    assert judge(question, [flow("u", f"{OTHER}.2"), hit], lambda _id: True) == Found("t", 2, hit)


@pytest.mark.parametrize("label", [f"{OURS}.", f"{OURS}.0", f"{OURS}.02", f"{OURS}.x", OURS, f"{OURS}.2 ", f"x{OURS}.2", f"{OURS}.2|x"])
def test_a_damaged_label_is_never_taken_for_absence(label: str) -> None:
    """A label that holds our id in another form is no proof, but forbids a resend."""
    candidate = flow("t", label, signature=("Sms",))
    assert judge(LABELLED, [candidate], nobody) == Ambiguous(("t",), passing=True)


def test_no_such_label_is_absence() -> None:
    """Where ours would be visible, flows that show their first step without it are somebody else's."""
    assert judge(LABELLED, [], nobody) == Absent()
    others = [
        flow("a", signature=("Sms",)),
        flow("b", "spring sale", signature=("Sms",)),
        flow("c", f"{OTHER}.2"),
        flow("d", f"{OURS[:-1]}0.2"),
    ]
    assert judge(LABELLED, others[:3], nobody) == Absent()
    assert judge(LABELLED, others, nobody) == Absent()


def test_a_flow_that_shows_no_step_yet_may_carry_our_label() -> None:
    """A queued flow has no messages, so its label cannot be seen: neither found nor absent, ask again."""
    assert judge(LABELLED, [flow("t")], nobody) == Ambiguous(("t",), passing=True)
    assert judge(LABELLED, [flow("t")], lambda one: one == "t") == Absent()
    assert judge(LABELLED, [flow("t", created_ms=999)], nobody) == Absent()
    assert judge(LABELLED, [flow("t", created_ms=None)], nobody) == Ambiguous(("t",), passing=True)
    late = StepReport(2, Channel.VIBER, StepStatus.QUEUED, "QUEUED")
    assert judge(LABELLED, [replace(flow("t", signature=("Viber",)), steps=(late,))], nobody) == Ambiguous(("t",), passing=True)


def test_the_lowest_attempt_that_may_be_accepted_wins() -> None:
    """Several attempts of one flow: one is ours, the others are audited duplicates; one below the lowest only counts last."""
    second, third, first = flow("b", f"{OURS}.2"), flow("a", f"{OURS}.3"), flow("c", f"{OURS}.1")
    assert judge(LABELLED, [third, second, first], nobody) == Found("b", 2, second, (Hit("a", 3, third), Hit("c", 1, first)))
    assert judge(LABELLED, [first], nobody) == Found("c", 1, first)
    twins = [flow("z", f"{OURS}.2", created_ms=8), replace(flow("y", f"{OURS}.2"), created_at_ms=9)]
    verdict = judge(LABELLED, twins, nobody)
    assert isinstance(verdict, Found)
    assert (verdict.tracking_id, [hit.tracking_id for hit in verdict.duplicates]) == ("z", ["y"])


def test_the_same_flow_met_twice_is_one() -> None:
    """Two searches or overlapping pages show a flow twice; the fuller report is kept."""
    thin = flow("t", f"{OURS}.2")
    full = replace(thin, steps=(StepReport(1, Channel.SMS, StepStatus.SENT, "Sent"),))
    assert judge(LABELLED, [thin, full, thin], nobody) == Found("t", 2, full)


def test_our_label_on_a_flow_without_id_is_ambiguous() -> None:
    """It exists, so it is not sent again; it cannot be followed either."""
    assert judge(LABELLED, [flow(None, f"{OURS}.2")], nobody) == Ambiguous(())


# ----------------------------------------------------------------------------------------------------------- unlabelled


def test_one_unexplained_flow_counts_as_ours() -> None:
    """Where no label is visible, the one flow that nothing explains is the doubted one; its attempt is known only if just one can be."""
    candidate = flow("t", signature=("Viber:aa-1",))
    assert judge(BARE, [candidate, candidate], nobody) == Found("t", 2, candidate)
    assert judge(replace(BARE, lowest=1), [candidate], nobody) == Found("t", None, candidate)


def test_several_unexplained_flows_are_ambiguous() -> None:
    """Nothing tells them apart."""
    assert judge(BARE, [flow("t"), flow("u")], nobody) == Ambiguous(("t", "u"))
    assert judge(BARE, [flow("t"), flow("u")], lambda one: one == "u") == Found("t", 2, flow("t"))
    assert judge(BARE, [flow(None)], nobody) == Ambiguous(())
    assert judge(BARE, [flow("t"), flow(None)], nobody) == Ambiguous(("t",))


@pytest.mark.parametrize(
    "candidate",
    [
        flow("t", f"{OTHER}.1"),
        flow("t", created_ms=999),
        flow("t", created_ms=60_000 + doubt.CLOCK_SKEW_MS + 1),
        replace(flow("t"), recipients=("306999999999",)),
        flow("t", signature=("Sms",)),
        flow("t", signature=("Viber:BB-2",)),
        flow("t", signature=("Viber", "Voice")),
        flow("t", signature=("Viber", "Sms", "Sms")),
    ],
)
def test_what_explains_a_flow(candidate: FlowReport) -> None:
    """Another flow's label, another time, phone, template, channel, or more steps than ours."""
    assert judge(BARE, [candidate], nobody) == Absent()


@pytest.mark.parametrize(
    "candidate",
    [
        flow("t", "their own words"),
        flow("t", created_ms=None),
        flow("t", created_ms=60_000 + doubt.CLOCK_SKEW_MS),
        replace(flow("t"), recipients=()),
        replace(flow("t"), recipients=("00" + PHONE,)),
        replace(flow("t"), recipients=("6912345678",)),
        replace(flow("t"), recipients=("3069",)),
        replace(flow("t"), recipients=("306999999999", PHONE)),
        flow("t", signature=("Viber",)),
        flow("t", signature=("ViberOtp:AA-1", "Sms")),
        flow("t", signature=("?", "Sms")),
        replace(flow("t", signature=("Sms",)), steps=(StepReport(2, Channel.SMS, StepStatus.SENT, "Sent"),)),
    ],
)
def test_what_does_not_explain_a_flow(candidate: FlowReport) -> None:
    """What a document does not show, or shows in another form, speaks for nobody."""
    assert judge(BARE, [candidate], nobody) == Found("t", 2, candidate)
    assert judge(replace(BARE, recipient=""), [candidate], nobody) == Found("t", 2, candidate)


def test_the_otp_list_s_single_deliveries_are_one_flow() -> None:
    """Two deliveries of one flow are one candidate, with or without a visible label."""
    page = page_flows(sample("otp_list"))
    assert page is not None
    found = judge(Question(OURS, 1, 1, labelled=False, signature=("ViberOtp:x", "Sms"), since_ms=0, until_ms=2**62), page[0], nobody)
    assert isinstance(found, Found)
    assert (found.tracking_id, found.attempt, found.duplicates) == ("a1b2c3d4-e5f6-7890-abcd-ef1234567890", 1, ())
    bare = [replace(one, labels=()) for one in page[0]]
    found = judge(Question(OURS, 1, 1, labelled=False, signature=("ViberOtp:x", "Sms"), since_ms=0, until_ms=2**62), bare, nobody)
    assert isinstance(found, Found)
    assert found.tracking_id == "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


def test_a_tracking_document_with_our_label_is_found() -> None:
    """The label of an SMS in tracking is the one that was sent."""
    document = parse_flow(sample("tracking_parts"))
    assert document is not None
    assert judge(LABELLED, [document], nobody) == Found("50830fad-21ed-49b0-89d0-bbada2fd5640", 2, document)


candidates = st.builds(
    lambda key, labels, signature, created, phones: FlowReport(
        key, None, labels=tuple(labels), signature=tuple(signature), created_at_ms=created, recipients=tuple(phones)
    ),
    st.none() | st.sampled_from("abc"),
    st.lists(st.sampled_from([f"{OURS}.1", f"p|{OURS}.2", f"{OTHER}.1", "promo", OURS]), max_size=2),
    st.lists(st.sampled_from(["Sms", "Viber", "Viber:AA-1", "Voice", "?"]), max_size=3),
    st.none() | st.integers(0, 200_000),
    st.lists(st.sampled_from([PHONE, "4915112345678"]), max_size=2),
)


@given(st.sampled_from([LABELLED, BARE]), st.lists(candidates, max_size=5), st.sets(st.sampled_from("abc")))
def test_a_verdict_of_absent_is_never_rash(question: Question, some: list[FlowReport], owned: set[str]) -> None:
    """Absent only if no candidate alone is more; a label of ours always wins; the order of candidates does not matter."""
    verdict = judge(question, some, owned.__contains__)
    alone = [judge(question, [one], owned.__contains__) for one in some]
    assert isinstance(verdict, Absent) is all(isinstance(one, Absent) for one in alone)
    marked = {
        one.tracking_id for one in some if one.tracking_id and any(label.endswith((f"{OURS}.1", f"{OURS}.2")) for label in one.labels)
    }
    if marked:
        assert isinstance(verdict, Found)
        assert {verdict.tracking_id, *(hit.tracking_id for hit in verdict.duplicates)} == marked
    again = judge(question, list(reversed(some)), owned.__contains__)
    assert type(again) is type(verdict)
    if isinstance(verdict, Found) and isinstance(again, Found):
        assert {verdict.tracking_id, *(hit.tracking_id for hit in verdict.duplicates)} == {
            again.tracking_id,
            *(hit.tracking_id for hit in again.duplicates),
        }


# --------------------------------------------------------------------------------------------------------------- policy


@pytest.mark.parametrize(
    ("message_class", "expected"),
    [(MessageClass.OTP, InDoubt.RESEND), (MessageClass.TRANSACTIONAL, InDoubt.WAIT), (MessageClass.MARKETING, InDoubt.NEVER)],
)
def test_the_class_decides_unless_the_rule_does(message_class: MessageClass, expected: InDoubt) -> None:
    """Otp and transactional are resent once, marketing never; a rule may choose otherwise."""
    assert doubt.class_policy(message_class) is expected
    for chosen in InDoubt:
        assert doubt.class_policy(message_class, chosen) is chosen


@pytest.mark.parametrize(
    ("policy", "inherited", "expected"),
    [
        (InDoubt.RESEND, False, 30_000),
        (InDoubt.RESEND, True, 33_000),
        (InDoubt.WAIT, False, 130_000),
        (InDoubt.WAIT, True, 133_000),
        (InDoubt.NEVER, True, 33_000),
    ],
)
def test_when_not_there_is_conclusive(policy: InDoubt, inherited: bool, expected: int) -> None:
    """T + V after the own POST, L + T + V after the claim; a longer V for the policy that waits."""
    waited = doubt.wait_ms(policy, inherited=inherited, lease_ms=3_000, timeout_ms=10_000, lag_ms=20_000, transactional_wait_ms=120_000)
    assert waited == expected


def test_a_longer_lag_is_never_shortened() -> None:
    """``transactional_wait`` only lengthens the wait."""
    assert doubt.wait_ms(InDoubt.WAIT, inherited=False, lease_ms=0, timeout_ms=1, lag_ms=500, transactional_wait_ms=100) == 501


def test_searches_come_early_and_often() -> None:
    """Half a second, then 1, 2, 4, 8, 15 seconds apart, later every 30."""
    times = [doubt.next_search_ms(0, tries, 0.5) for tries in range(11)]
    assert times == [500, 1_500, 3_500, 7_500, 15_500, 30_500, 45_500, 60_500, 90_500, 120_500, 150_500]


@given(st.integers(0, 2**45), st.integers(0, 500), st.floats(0, 1), st.floats(0, 1))
def test_searches_rise_whatever_chance_says(started: int, tries: int, u: float, v: float) -> None:
    """The next search always lies after the last one, and after the start."""
    assert started < doubt.next_search_ms(started, tries, u) < doubt.next_search_ms(started, tries + 1, v)
