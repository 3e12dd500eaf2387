"""What happens while a reply is lost, and after: late proofs, neighbours, changed rules, expiry, take-overs. On the real adapter."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from connector.core.model import FlowReport, FlowStatus, Record
from connector.services.parts import Policy
from connector.services.throttle import Breaker
from tests.service.lost_replies import (
    ID,
    RULES,
    SENDER,
    Desk,
    RealRoutee,
    Reply,
    Search,
    answer,
    at_desk,
    event,
    fate,
    json_answer,
    lose,
    phone_of_record,
)
from tests.service.world import LANE, Process, World

LOST = Reply(answer(502))
NOWHERE = Search(shows_after_s=None)


def call_back(process: Process, record: Record, rule: str, tracking_id: str | None, attempt: int) -> None:
    """Routee calls the URL of this attempt."""
    process.call_back(record, rule, FlowReport(tracking_id, FlowStatus.IN_PROGRESS), attempt)


# ------------------------------------------------------------------------------------------------------------ late proofs

# The first attempt's reply is lost and no search shows it in time, so it is sent again (marketing: UNKNOWN); then its proof comes.
#   #1, #2: which attempt's id the SendEvent names.
LATE = {
    # what is proven, when: (the second attempt's reply, when the proof comes, of which attempt) → what the flow's SendEvents say
    ("login", "in doubt", 1, "heard"): "1 post; ACCEPTED #1",
    (
        "login",
        "after the resend",
        1,
        "heard",
    ): "2 posts, 30 s apart; ACCEPTED #2 resent_after_doubt; ACCEPTED #1 resent_after_doubt duplicate",
    ("login", "after the resend", 2, "heard"): "2 posts, 30 s apart; ACCEPTED #2 resent_after_doubt",
    ("login", "in the second doubt", 1, "lost"): "2 posts, 30 s apart; ACCEPTED #1 resent_after_doubt",
    ("login", "in the second doubt", 2, "lost"): "2 posts, 30 s apart; ACCEPTED #2 resent_after_doubt",
    ("login", "after UNKNOWN", 1, "lost"): (
        "2 posts, 30 s apart; UNKNOWN not_found resent_after_doubt; ACCEPTED #1 resent_after_doubt correction"
    ),
    ("login", "after UNKNOWN", 2, "lost"): (
        "2 posts, 30 s apart; UNKNOWN not_found resent_after_doubt; ACCEPTED #2 resent_after_doubt correction"
    ),
    ("sale", "in doubt", 1, "heard"): "1 post; ACCEPTED #1",
    ("sale", "after UNKNOWN", 1, "heard"): "1 post; UNKNOWN not_found; ACCEPTED #1 correction",
}
WHEN_S = {"in doubt": 10.0, "after the resend": 40.0, "in the second doubt": 40.0, "after UNKNOWN": 80.0}


@pytest.mark.parametrize(("kind", "moment", "attempt", "second"), LATE)
async def test_late_proof_counts_whenever_it_comes(world: World, kind: str, moment: str, attempt: int, second: str) -> None:
    """A callback for any attempt proves that attempt; the first one proven wins, UNKNOWN is corrected, another one is a duplicate."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, kind, *[LOST] * (2 if second == "lost" else 1))
    await world.clock.advance(WHEN_S[moment])
    tracking_id = desk.posts[phone_of_record(record)][attempt - 1].tracking_id
    for _ in range(2):
        call_back(process, record, kind, tracking_id, attempt)
        await world.clock.advance(1)
    assert fate(world, desk, record, kind) == LATE[kind, moment, attempt, second]
    await world.clock.advance(60)
    assert fate(world, desk, record, kind) == LATE[kind, moment, attempt, second]
    await process.kill()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([1], "2 posts, 30 s apart; ACCEPTED #1 resent_after_doubt"),
        ([2], "2 posts, 30 s apart; ACCEPTED #2 resent_after_doubt"),
        ([1, 2], "2 posts, 30 s apart; ACCEPTED #1 resent_after_doubt; ACCEPTED #2 resent_after_doubt duplicate"),
        ([2, 1], "2 posts, 30 s apart; ACCEPTED #1 resent_after_doubt; ACCEPTED #2 resent_after_doubt duplicate"),
    ],
)
async def test_a_search_in_the_second_doubt_proves_any_attempt(world: World, shown: list[int], expected: str) -> None:
    """What is found under our label proves the attempt it names; two are one acceptance and one audited duplicate."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, "login", LOST, LOST)
    await world.clock.advance(32)
    for n in shown:
        desk.show(record, n)
    await world.clock.advance(60)
    assert fate(world, desk, record, "login") == expected
    await process.kill()


@pytest.mark.parametrize("kind", ["login", "code", "order", "notice", "call"])
async def test_a_second_doubt_is_the_last(world: World, kind: str) -> None:
    """Sent again once; in doubt again and not found, it is UNKNOWN for good."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, kind, LOST, LOST, LOST)
    await world.clock.advance(1000)
    apart = 30 if kind in {"login", "code"} else 130
    assert fate(world, desk, record, kind) == f"2 posts, {apart} s apart; UNKNOWN not_found resent_after_doubt"
    await process.kill()


@pytest.mark.parametrize("kind", ["login", "code", "order"])
async def test_a_call_without_an_id_forbids_the_resend(world: World, kind: str) -> None:
    """Only Routee knows an attempt's URL: whoever calls it has that attempt, even where the body does not say under which id."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, kind, LOST)
    await world.clock.advance(10)
    call_back(process, record, kind, None, 1)
    await world.clock.advance(200)
    assert fate(world, desk, record, kind) == "1 post; UNKNOWN called_back"
    await process.kill()


async def test_a_call_without_an_id_stops_a_resend_that_waits(world: World) -> None:
    """The call comes after the search, while the resend waits for its permit: its gate is asked again."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, "login", LOST)
    process.throttle.open(Breaker.BALANCE)
    await world.clock.advance(32)
    call_back(process, record, "login", None, 1)
    await world.clock.advance(1)
    process.throttle.close(Breaker.BALANCE)
    await world.clock.advance(10)
    assert fate(world, desk, record, "login") == "1 post; UNKNOWN called_back"
    await process.kill()


# ---------------------------------------------------------------------------------------------------- how long is long enough


@pytest.mark.parametrize(("kind", "wait_s"), [("login", 30), ("order", 130)])
async def test_the_wait_counts_from_the_first_byte(world: World, kind: str, wait_s: int) -> None:
    """A connection that came only in the lease's last moment: the request may be read that much later, so absence counts later, too."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    assert isinstance(world.provider, RealRoutee)
    world.provider.wire.connect_s = 2.9
    record = await lose(process, desk, kind, LOST)
    await world.clock.advance(2.9)
    world.provider.wire.connect_s = 0.0
    await world.clock.advance(200)
    first, second = desk.posts[phone_of_record(record)]
    assert wait_s <= second.at - first.at < wait_s + 0.5
    await process.kill()


async def test_a_search_that_began_too_early_proves_nothing(world: World) -> None:
    """What counts is when a search began, not when its answer came."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, "login", LOST)
    desk.searching.clear()
    await world.clock.advance(40)
    desk.show(record)
    desk.searches.clear()
    desk.search = replace(NOWHERE, trouble=lambda _page, _age_s: empty() if desk.searches[phone_of_record(record)] <= 2 else None)
    desk.searching.set()
    await world.clock.advance(30)
    assert fate(world, desk, record, "login") == "1 post; ACCEPTED #1"
    await process.kill()


def empty() -> bytes:
    """A search's last page without flows."""
    return json_answer({"content": [], "number": 0, "totalPages": 0, "totalElements": 0, "last": True})


async def test_a_failing_search_is_given_up_after_a_quarter_of_an_hour(world: World) -> None:
    """Not before, and the first answer until then still counts."""
    desk = at_desk(world, Search(trouble=lambda _page, age_s: answer(500) if age_s < 860 else None))
    process = await Process(world).start()
    record = await lose(process, desk, "order", LOST)
    await world.clock.advance(850)
    assert fate(world, desk, record, "order") == "1 post"
    await world.clock.advance(60)
    assert fate(world, desk, record, "order") == "1 post; ACCEPTED #1"
    await process.kill()


# ------------------------------------------------------------------------------------------------- neighbours without labels


def to_same_phone(world: World, rule: str, first: Record, key: str) -> Record:
    """Another event of the rule to the phone of the first."""
    value = json.loads(first.value or b"")
    value |= {"event_id": f"{rule}-{key}", "occurred_at": world.clock.now_ms()}
    return world.put(json.dumps(value).encode(), key)


@pytest.mark.parametrize("kind", ["code", "notice"])
async def test_one_candidate_of_two_doubts_is_neithers(world: World, kind: str) -> None:
    """Two flows to one phone in doubt, one candidate: nobody can know whose it is, so neither takes it and neither is sent again."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    first = event(world, kind, 1, key="a")
    second = to_same_phone(world, kind, first, "b")
    desk.replies[phone_of_record(first)] = [LOST, LOST]
    desk.searching.clear()
    await process.put(first, second, seconds=2)
    desk.show(first)
    desk.searching.set()
    await world.clock.advance(400)
    assert [(sent["outcome"], sent["reason"], sent["tracking_id"]) for sent in world.outputs("sends")] == [
        ("UNKNOWN", "ambiguous", None)
    ] * 2
    assert len(desk.posts[phone_of_record(first)]) == 2  # none was sent again
    await process.kill()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_candidate_may_be_that_of_a_neighbour_that_ended_in_doubt(world: World, restart: bool) -> None:
    """Nobody took it, so it still is anybody's: a later code to the same phone that vanished must not be told as accepted by it."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    first = event(world, "code", 1, key="a")
    second = to_same_phone(world, "code", first, "b")
    desk.replies[phone_of_record(first)] = [LOST] * 3
    desk.searching.clear()
    await process.put(first, second, seconds=2)
    desk.show(first)
    desk.searching.set()
    await world.clock.advance(45)
    assert [sent["reason"] for sent in world.outputs("sends")] == ["ambiguous"] * 2
    if restart:
        await process.kill()
        process = await Process(world).start()
    await process.put(third := to_same_phone(world, "code", first, "c"), seconds=100)
    told = [sent for sent in world.outputs("sends") if sent["flow_id"] == world.flow_id(third, "code")]
    assert [(sent["outcome"], sent["reason"]) for sent in told] == [("UNKNOWN", "ambiguous")]
    await process.kill()


@pytest.mark.parametrize("kind", ["code", "notice"])
async def test_a_candidate_may_be_a_neighbours_that_is_being_sent(world: World, kind: str) -> None:
    """While another flow's POST to the same phone is under way, a candidate may be that one's: its answer is waited for."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    first = await lose(process, desk, kind, LOST)
    second = to_same_phone(world, kind, first, "b")
    assert isinstance(world.provider, RealRoutee)
    world.provider.wire.answer_s = 5.0
    await process.put(second, seconds=1)
    desk.search = Search()
    assert len(desk.flows[phone_of_record(first)]) == 1
    await world.clock.advance(3)
    assert world.outputs("sends") == []
    await world.clock.advance(5)
    assert [(sent["flow_id"], sent["tracking_id"]) for sent in world.outputs("sends")] == [(world.flow_id(second, kind), "000001-2")]
    await process.kill()


# ---------------------------------------------------------------------------------------- what forbids the resend, and only that


async def forbidden(world: World, process: Process, desk: Desk, why: str, record: Record) -> None:
    """Let something happen that forbids a resend."""
    if why == "superseded":
        newer = to_same_phone(world, "login", record, "other-key")
        desk.replies[phone_of_record(record)] = []
        await process.put(newer)
    elif why == "overtaken":
        await process.put(event(world, "login", 2, key="key-1"))
    elif why == "rules_changed":
        world.reload(RULES.replace("from: ACME", "from: OTHER"))


@pytest.mark.parametrize(
    ("why", "kind"),
    [("expired", "order"), ("superseded", "login"), ("overtaken", "login"), ("rules_changed", "login"), ("rules_changed", "order")],
)
@pytest.mark.parametrize("found", [True, False])
async def test_what_forbids_a_resend_forbids_only_that(world: World, why: str, kind: str, found: bool) -> None:
    """Expired, superseded, overtaken or built by other rules meanwhile: never sent again, but proof still counts until absence does."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, kind, LOST, expires_s=100 if why == "expired" else None)
    await world.clock.advance(5)
    await forbidden(world, process, desk, why, record)
    await world.clock.advance(15)
    if found:
        desk.show(record)
    await world.clock.advance(140)
    assert fate(world, desk, record, kind) == ("1 post; ACCEPTED #1" if found else f"1 post; UNKNOWN {why}")
    await process.kill()


@pytest.mark.parametrize("refusal", [Reply(answer(429, b"", "Retry-After: 20\r\n")), Reply(unsent="refused")])
async def test_a_resend_that_waits_needs_the_same_rules_still(world: World, refusal: Reply) -> None:
    """Refused, or without a connection, the resend is tried again; rules that change meanwhile forbid it as they do in doubt."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, "order", LOST, *[refusal] * 8)
    await world.clock.advance(138)
    world.reload(RULES.replace('body: "Order"', 'body: "Your order"'))
    await world.clock.advance(300)
    assert fate(world, desk, record, "order").endswith("UNKNOWN rules_changed resent_after_doubt")
    await process.kill()


async def test_rules_that_change_while_a_resend_waits_for_its_permit_forbid_it(world: World) -> None:
    """A code's ttl is cut to its time left, so it is built anew after the wait: by other rules it would be another message."""
    desk = at_desk(world, NOWHERE)
    process = await Process(world).start()
    record = await lose(process, desk, "login", LOST, expires_s=125)
    process.throttle.open(Breaker.BALANCE)
    await world.clock.advance(35)
    world.reload(RULES.replace("Code {{", "Your code {{"))
    await world.clock.advance(10)
    process.throttle.close(Breaker.BALANCE)
    await world.clock.advance(30)
    assert fate(world, desk, record, "login") == "1 post; UNKNOWN rules_changed"
    await process.kill()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("resend", "2 posts, 30 s apart; ACCEPTED #2 resent_after_doubt"),
        ("wait", "2 posts, 130 s apart; ACCEPTED #2 resent_after_doubt"),
        ("never", "1 post; UNKNOWN not_found"),
    ],
)
@pytest.mark.parametrize("kind", ["code", "order", "notice", "sale", "ring"])
async def test_the_rules_choice_goes_before_the_class(world: World, kind: str, choice: str, expected: str) -> None:
    """``in_doubt: resend | wait | never``, whatever the class."""
    desk = at_desk(world, NOWHERE)
    world.reload(RULES.replace("    class:", f"    in_doubt: {choice}\n    class:"))
    process = await Process(world).start()
    record = await lose(process, desk, kind, LOST)
    await world.clock.advance(180)
    assert fate(world, desk, record, kind) == expected
    await process.kill()


# ------------------------------------------------------------------------------------------------------------- take-overs


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [
        ("login", True, "1 post; ACCEPTED #1"),
        ("login", False, "2 posts, 40 s apart; ACCEPTED #2 resent_after_doubt"),
        ("code", False, "2 posts, 40 s apart; ACCEPTED #2 resent_after_doubt"),
        ("sale", False, "1 post; UNKNOWN not_found"),
    ],
)
async def test_a_take_over_in_mid_search_begins_anew(world: World, kind: str, shown: bool, expected: str) -> None:
    """The heir of a doubt waits lease + T + V (33 s) from its own claim, and asks itself; the dead one's search changes nothing."""
    desk = at_desk(world, NOWHERE)
    first = await Process(world).start()
    record = await lose(first, desk, kind, LOST)
    desk.searching.clear()
    await world.clock.advance(6.4)
    await first.kill()
    desk.searching.set()
    if shown:
        desk.show(record)
    second = await Process(world).start()
    await world.clock.advance(32)
    assert len(desk.posts[phone_of_record(record)]) == 1
    await world.clock.advance(30)
    assert fate(world, desk, record, kind) == expected
    await second.kill()


@pytest.mark.parametrize("kind", ["login", "code", "sale"])
async def test_a_take_over_without_the_input_cannot_search(world: World, kind: str) -> None:
    """No journal holds a phone: UNKNOWN at once; a callback corrects it."""
    desk = at_desk(world, Search())
    first = await Process(world).start()
    record = await lose(first, desk, kind, Reply(ending="silent"))
    await first.kill()
    world.past.forget(LANE, record.offset)
    second = await Process(world).start()
    await world.clock.advance(60)
    assert fate(world, desk, record, kind) == "1 post; UNKNOWN input_gone"
    call_back(second, record, kind, "000001-1", 1)
    await world.clock.advance(1)
    assert fate(world, desk, record, kind) == "1 post; UNKNOWN input_gone; ACCEPTED #1 correction"
    await second.kill()


async def test_an_heir_does_not_search_for_another_phone(world: World) -> None:
    """Rules that name another recipient now: the doubted flow's phone is not known any more, and nobody else's flow is taken for it."""
    desk = at_desk(world, NOWHERE)
    first = await Process(world).start()
    record = await lose(first, desk, "notice", LOST)
    await first.kill()
    other = "+306912000099"
    sms = '- sms: {from: ACME, body: "Notice", ttl: 10m}'
    viber = f"- viber: {{sender: {SENDER}, "
    world.reload(RULES.replace(viber, f"{viber}to: '{other}', ").replace(sms, sms.replace("from", f"to: '{other}', from")))
    desk.flows[other].append((0.0, desk.document("/failover/transactional", {"flow": [{"type": "Viber"}]}, other, ID)))
    second = await Process(world).start()
    await world.clock.advance(200)
    assert fate(world, desk, record, "notice") == "1 post; UNKNOWN input_gone"
    await second.kill()


async def test_give_up_counts_for_an_heir_from_its_claim(world: World) -> None:
    """A search that fails for ever ends an inherited doubt as well."""
    desk = at_desk(world, Search(trouble=lambda _page, _age_s: answer(429)))
    first = await Process(world).start()
    record = await lose(first, desk, "order", LOST)
    await first.kill()
    second = await Process(world, Policy(give_up_s=60)).start()
    await world.clock.advance(120)
    assert fate(world, desk, record, "order") == "1 post; UNKNOWN search_failed"
    await second.kill()
