"""The data path of one lane, on fakes."""

from __future__ import annotations

import pytest

from connector.core.model import Doubt, NotSent, RefusalKind, Refused, Rejected
from tests.service.world import LANE, RULES, Process, World


async def test_an_event_is_sent_once_and_reported(world: World) -> None:
    """One event: one POST, one SendEvent ACCEPTED, one first StatusEvent, offset committed."""
    process = await Process(world).start()
    record = world.record()
    await process.put(record, seconds=3)
    assert world.provider.posts == [f"{world.flow_id(record, 'order')}.1"]
    assert [event["outcome"] for event in world.outputs("sends")] == ["ACCEPTED"]
    assert [(event["seq"], event["status"]) for event in world.outputs("statuses")] == [(1, "QUEUED")]
    assert world.committed[LANE] == 1
    await process.stop()


async def test_a_repeat_of_an_event_is_not_sent_again(world: World) -> None:
    """The same event id, at another offset: counted, committed, no output."""
    process = await Process(world).start()
    await process.put(world.record(event_id="same"), world.record(event_id="same"), seconds=3)
    await process.put(world.record(event_id="same"), seconds=3)
    assert len(world.provider.posts) == 1
    assert len(world.outputs("sends")) == 1
    assert world.committed[LANE] == 3
    await process.stop()


async def test_a_repeat_of_a_finished_event_is_not_sent_again(world: World) -> None:
    """Nothing of it is in memory but its place in the journal; before and after a restart."""
    first = await Process(world).start()
    record = world.record()
    flow_id = world.answer(record, "order", Rejected(400, "x"))
    await first.put(record, world.put(record.value), seconds=10)
    assert not first.lane.flows
    await first.put(world.put(record.value), seconds=1)
    await first.kill()
    second = await Process(world).start()
    await second.put(world.put(record.value), seconds=3)
    assert world.posts(flow_id) == [1]
    assert world.outcomes() == [("REJECTED", "x")]
    assert world.committed[LANE] == 4
    await second.stop()


async def test_a_repeat_after_a_restart_is_not_sent_again(world: World) -> None:
    """What the journal knows is not routed again, whatever was committed."""
    first = await Process(world).start()
    await first.put(world.record(), seconds=3)
    await first.kill()
    world.committed.clear()
    second = await Process(world).start()
    await second.put(world.record(event_id="e0"), seconds=3)
    assert len(world.provider.posts) == 1
    assert world.committed[LANE] == 2
    await second.stop()


async def test_a_bad_record_becomes_a_dead_letter_and_the_lane_goes_on(world: World) -> None:
    """Undecodable bytes: dead letter, INVALID SendEvent, and the next event is sent."""
    process = await Process(world).start()
    await process.put(world.put(b"{"), world.record(), seconds=3)
    assert [letter.reason for letter in world.dead_letters.letters] == ["BAD_JSON"]
    assert sorted(event["outcome"] for event in world.outputs("sends")) == ["ACCEPTED", "INVALID"]
    assert world.committed[LANE] == 2
    await process.stop()


async def test_a_lane_without_dead_letters_stops_and_loses_nothing(world: World) -> None:
    """If the dead letter cannot be written nothing is committed past the record; once it can, the lane goes on."""
    process = await Process(world).start()
    world.dead_letters.unavailable = True
    await process.put(world.put(b"{"), seconds=10)
    assert world.committed.get(LANE, 0) == 0
    assert world.outputs("sends") == []
    world.dead_letters.unavailable = False
    await world.clock.advance(10)
    assert [event["outcome"] for event in world.outputs("sends")] == ["INVALID"]
    assert world.committed[LANE] == 1
    await process.stop()


async def test_an_unrouted_event_is_reported(world: World) -> None:
    """No rule: UNROUTED, committed."""
    process = await Process(world).start()
    await process.put(world.record("nobody"), seconds=3)
    assert [event["outcome"] for event in world.outputs("sends")] == ["UNROUTED"]
    assert world.committed[LANE] == 1
    await process.stop()


async def test_a_tombstone_is_skipped_and_committed(world: World) -> None:
    """A null value is no event."""
    process = await Process(world).start()
    await process.put(world.put(None), seconds=3)
    assert world.committed[LANE] == 1
    assert world.outputs("sends") == []
    await process.stop()


async def test_an_expired_event_is_not_sent(world: World) -> None:
    """A transactional event older than six hours ends as EXPIRED."""
    record = world.record()
    await world.clock.advance(7 * 3600)
    process = await Process(world).start()
    await world.clock.advance(3)
    assert world.provider.posts == []
    assert [event["outcome"] for event in world.outputs("sends")] == ["EXPIRED"]
    assert record.offset == 0
    await process.stop()


async def test_what_the_journal_may_have_forgotten_is_not_sent(world: World) -> None:
    """However late a rule would still send: an event older than the dedup window may have been sent, and nobody would know."""
    world.reload(RULES.replace("class: transactional\n", "class: transactional\n    expires_after: 30d\n", 1))
    process = await Process(world).start()
    known, forgotten = world.record(), world.record()
    await process.put(known, seconds=1)
    world.clock.step(process.policy.dedup_window_ms)
    await process.put(forgotten, seconds=1)
    assert world.outcomes() == [("ACCEPTED", None), ("EXPIRED", "expired")]
    assert world.committed[LANE] == 2
    await process.stop()


async def test_a_wall_clock_set_back_makes_no_lease_longer(world: World) -> None:
    """The intent is known too late; whatever time the wall clock shows by then, nothing is sent on it."""
    process = await Process(world).start()
    record = world.record()
    process.journal.held = True
    await process.put(record, seconds=3.2)
    world.clock.step(-60_000)
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(0.01)
    assert world.provider.posts == []
    await world.clock.advance(5)
    assert world.posts(world.flow_id(record, "order")) == [1]
    await process.stop()


async def test_an_event_of_two_rules_is_two_flows(world: World) -> None:
    """``continue: true``: both flows are sent, and both must have rows before the offset is committed."""
    process = await Process(world).start()
    record = world.record("twin")
    await process.put(record, seconds=3)
    assert sorted(world.provider.posts) == sorted(f"{world.flow_id(record, rule)}.1" for rule in ("twin-a", "twin-b"))
    assert world.committed[LANE] == 1
    await process.stop()


async def test_a_rejection_ends_the_flow(world: World) -> None:
    """The provider's no: REJECTED with its code, no dead letter."""
    process = await Process(world).start()
    record = world.record()
    world.provider.answers[world.flow_id(record, "order")] = [Rejected(400, "400005000", "bad sender")]
    await process.put(record, seconds=3)
    [event] = world.outputs("sends")
    assert (event["outcome"], event["reason"]) == ("REJECTED", "400005000")
    assert world.dead_letters.letters == []
    await process.stop()


async def test_not_sent_tries_the_same_attempt_again(world: World) -> None:
    """No byte left us: same n."""
    process = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")
    world.provider.answers[flow] = [NotSent("refused"), NotSent("refused")]
    await process.put(record, seconds=5)
    assert world.provider.posts == [f"{flow}.1"] * 3
    await process.stop()


async def test_a_refusal_takes_the_next_attempt(world: World) -> None:
    """429: known not accepted, the next POST is n+1, not flagged."""
    process = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")
    world.provider.answers[flow] = [Refused(RefusalKind.THROTTLED, 429, "HTTP_429", retry_after_ms=1000)]
    await process.put(record, seconds=5)
    assert world.provider.posts == [f"{flow}.1", f"{flow}.2"]
    [event] = world.outputs("sends")
    assert event["resent_after_doubt"] is False
    assert [attempt["outcome"] for attempt in event["attempts"]] == ["REFUSED", "ACCEPTED"]
    await process.stop()


async def test_a_lost_reply_that_was_accepted_is_found(world: World) -> None:
    """Doubt: the search finds our label; no second POST."""
    process = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")
    world.provider.answers[flow] = [world.provider.lose_reply]
    await process.put(record, seconds=30)
    assert world.provider.posts == [f"{flow}.1"]
    assert [event["outcome"] for event in world.outputs("sends")] == ["ACCEPTED"]
    await process.stop()


@pytest.mark.parametrize(("type_", "posts", "outcome"), [("code", 2, "ACCEPTED"), ("order", 2, "ACCEPTED"), ("sale", 1, "UNKNOWN")])
async def test_a_lost_reply_that_was_not_accepted_follows_the_class(world: World, type_: str, posts: int, outcome: str) -> None:
    """Conclusively absent: otp and transactional are resent once, flagged; marketing never."""
    process = await Process(world).start()
    record = world.record(type_)
    flow = world.flow_id(record, type_)
    world.provider.answers[flow] = [Doubt("timeout")]
    await process.put(record, seconds=25)
    assert len(world.provider.posts) == 1
    await world.clock.advance(170)
    assert len(world.provider.posts) == posts
    [event] = world.outputs("sends")
    assert (event["outcome"], event["resent_after_doubt"]) == (outcome, posts == 2)
    await process.stop()


async def test_an_intent_of_a_dead_process_is_in_doubt(world: World) -> None:
    """kill -9 during the POST: the next owner searches, finds the label, and does not send."""
    first = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")

    async def swallow() -> None:
        return None

    world.provider.answers[flow] = [world.provider.lose_reply]
    world.provider.gate.clear()
    await first.put(record, seconds=1)
    world.provider.gate.set()
    first.journal.held = True
    await world.clock.advance(0)
    await first.kill()
    assert world.provider.posts == [f"{flow}.1"]
    second = await Process(world).start()
    await world.clock.advance(30)
    assert world.provider.posts == [f"{flow}.1"]
    assert [event["outcome"] for event in world.outputs("sends")] == ["ACCEPTED"]
    assert world.committed[LANE] == 1
    await second.stop()
    await swallow()


async def test_a_second_owner_fences_the_first(world: World) -> None:
    """Both believe they own the lane: the first one's next row meets the CLAIM, it posts nothing."""
    first = await Process(world).start()
    second = await Process(world).start()
    record = world.record()
    second.source.put(record)
    first.source.put(record)
    await world.clock.advance(5)
    assert len(world.provider.posts) == 1
    assert len({event["id"] for event in world.outputs("sends")}) == 1
    await first.kill()
    await second.stop()


async def test_an_event_without_a_message_still_says_whom_it_was_for(world: World) -> None:
    """UNROUTED and INVALID events name the recipient where the phone can be read, also those that the next owner puts out."""
    first = await Process(world).start()
    first.outbox.held = True
    bad = world.put(b'{"event_id": "bad", "type": "order", "recipient": {"phone": "+306912345678"}}')
    phoneless = world.put(b'{"event_id": "phoneless", "type": "order", "recipient": {"phone": "call me"}, "data": {"id": "1"}}')
    await first.put(bad, phoneless, world.record("nobody"))
    await first.kill()
    second = await Process(world).start()
    await second.put(world.record("nobody-else"), world.put(b"{"), seconds=5.0)
    said = {(event.body["event_id"], event.body["outcome"]): phone for event, phone, _ in world.output_logs["sends"]}
    assert said == {
        ("bad", "INVALID"): "+306912345678",
        ("phoneless", "INVALID"): None,
        ("e2", "UNROUTED"): "+306912345678",
        ("e3", "UNROUTED"): "+306912345678",
        ("notifications/0/4", "INVALID"): None,
    }
    await second.stop()
