"""After the send: callbacks in any order, polls, the deadline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from connector.core.model import Accepted, Api, Doubt, FlowReport, FlowStatus, Rejected
from connector.ports import Unanswered
from connector.services import counts
from connector.services.parts import Policy
from tests.service.world import Process, World, report

IN_PROGRESS, SUCCEEDED, FAILED = FlowStatus.IN_PROGRESS, FlowStatus.SUCCEEDED, FlowStatus.FAILED
SHORT = replace(Policy(), poll_schedule_s=(5.0, 10.0), flow_deadline_s=10.0)  # an otp's deadline: 60 s + 10 s


def statuses(world: World) -> list[tuple[int, str, str]]:
    """Number, status and origin of every StatusEvent."""
    return [(event["seq"], event["status"], event["origin"]) for event in world.outputs("statuses")]


async def test_a_callback_may_come_before_the_answer(world: World) -> None:
    """It proves the acceptance; the answer that follows is no second one."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    world.provider.answering.clear()
    await process.put(record, seconds=1)
    process.call_back(record, "order", report("t-1", IN_PROGRESS))
    await world.clock.advance(1)
    assert world.outcomes() == [("ACCEPTED", None)]
    world.provider.answering.set()
    await world.clock.advance(1)
    assert len(world.outputs("sends")) == 1
    assert [(seq, status) for seq, status, _ in statuses(world)] == [(1, "IN_PROGRESS")]
    await process.stop()


async def test_a_rejection_that_contradicts_a_callback_changes_nothing(world: World) -> None:
    """Proof of acceptance goes before an odd answer."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Rejected(404, "x"))
    world.provider.answering.clear()
    await process.put(record, seconds=1)
    process.call_back(record, "order", report("t-1", IN_PROGRESS))
    await world.clock.advance(1)
    world.provider.answering.set()
    await world.clock.advance(1)
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_a_callback_that_comes_twice_is_one_change(world: World) -> None:
    """The same document again: no event, and nothing is kept in memory for it."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    for _ in range(5):
        process.call_back(record, "order", report("t-1"))
        await world.clock.advance(1)
    assert statuses(world) == [(1, "QUEUED", "RESPONSE"), (2, "SUCCEEDED", "CALLBACK")]
    assert process.lane.flows == {}
    await process.stop()


async def test_many_callbacks_at_once_are_one_change(world: World) -> None:
    """A burst of the same news about a flow that is finished already."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    for _ in range(2):
        for status in (SUCCEEDED, FAILED, SUCCEEDED, IN_PROGRESS):
            process.call_back(record, "order", report("t-1", status))
        await world.clock.advance(1)
    assert [status for _, status, _ in statuses(world)] == ["QUEUED", "SUCCEEDED"]
    assert process.lane.flows == {}
    await process.stop()


async def test_callbacks_out_of_order_never_go_back(world: World) -> None:
    """The end first, then what was before it."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    process.call_back(record, "order", report("t-1", SUCCEEDED))
    process.call_back(record, "order", report("t-1", IN_PROGRESS))
    await world.clock.advance(1)
    assert [status for _, status, _ in statuses(world)] == ["QUEUED", "SUCCEEDED"]
    await process.stop()


async def test_late_news_of_a_finished_flow_is_built_on_its_last_row(world: World) -> None:
    """FAILED, then SUCCEEDED, then the same again; over restarts: every event once, numbered without a gap."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    for status in (FAILED, SUCCEEDED, SUCCEEDED, FAILED):
        process.call_back(record, "order", report("t-1", status))
        await world.clock.advance(5)
        process.lane.recent.clear()
    await process.kill()
    process = await Process(world).start()
    process.call_back(record, "order", report("t-1", SUCCEEDED))
    await world.clock.advance(5)
    assert [(seq, status) for seq, status, _ in statuses(world)] == [(1, "QUEUED"), (2, "FAILED"), (3, "SUCCEEDED")]
    assert [event["correction"] for event in world.outputs("statuses")] == [False, False, True]
    await process.stop()


async def test_news_of_a_flow_whose_row_is_on_its_way(world: World) -> None:
    """Two documents, one after the other, while rows are slow and outputs come out: one flow, one numbering."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    process.outbox.held = True
    process.call_back(record, "order", report("t-1", FAILED))
    await world.clock.advance(1)
    process.journal.held = True
    process.call_back(record, "order", report("t-1", SUCCEEDED))
    await world.clock.advance(1)
    process.outbox.held = False
    process.outbox.land()
    await world.clock.advance(1)
    process.call_back(record, "order", report("t-1", SUCCEEDED))
    await world.clock.advance(1)
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(1)
    assert [(seq, status) for seq, status, _ in statuses(world)] == [(1, "QUEUED"), (2, "FAILED"), (3, "SUCCEEDED")]
    await process.stop()


async def test_a_finished_flow_is_not_polled_while_its_events_go_out(world: World) -> None:
    """The end is known, only not yet told."""
    process = await Process(world, SHORT).start()
    record = world.record("code")
    world.answer(record, "code", Accepted("t-1", 200))
    world.provider.reports["t-1"] = report("t-1", FAILED)
    await process.put(record, seconds=4)
    process.outbox.held = True
    await world.clock.advance(300)
    assert world.provider.polls == ["t-1"]
    process.outbox.held = False
    process.outbox.land()
    await world.clock.advance(1)
    assert process.lane.flows == {}
    await process.stop()


async def test_a_silent_flow_ends_at_its_deadline(world: World) -> None:
    """Sum of the TTLs and ``flow_deadline``: asked a last time, then UNKNOWN, terminal, origin TIMEOUT; later proof corrects it."""
    process = await Process(world, SHORT).start()
    record = world.record("code")
    world.answer(record, "code", Accepted("t-1", 200))
    await process.put(record, seconds=69)
    assert [status for _, status, _ in statuses(world)] == ["QUEUED"]
    await world.clock.advance(2)
    *_, last = world.outputs("statuses")
    assert (last["status"], last["terminal"], last["origin"]) == ("UNKNOWN", True, "TIMEOUT")
    assert process.value("silent_flows_total", api="otp") == 1
    process.call_back(record, "code", report("t-1", FAILED))
    await world.clock.advance(1)
    *_, last = world.outputs("statuses")
    assert (last["status"], last["correction"]) == ("FAILED", True)
    await process.stop()


async def test_polls_follow_the_schedule(world: World) -> None:
    """Without news: at each point of the schedule, then by its last step, and a last time at the deadline; never after the end."""
    process = await Process(world, SHORT).start()
    record = world.record("code")
    world.answer(record, "code", Accepted("t-1", 200))
    await process.put(record, seconds=4)
    assert world.provider.polls == []
    await world.clock.advance(3)
    assert len(world.provider.polls) == 1
    await world.clock.advance(300)
    asked = len(world.provider.polls)
    assert asked > len(SHORT.poll_schedule_s) + 1
    await world.clock.advance(300)
    assert len(world.provider.polls) == asked
    await process.stop()


async def test_a_word_that_no_table_knows_is_counted_wherever_it_is_met(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the send's answer, in a callback, in a poll: Routee has a new word, and somebody should know which."""
    monkeypatch.setattr(counts, "_told", set())
    process = await Process(world, SHORT).start()
    record = world.record()
    strange = replace(report("t-1", None), unknown_words=("Paused",))
    world.answer(record, "order", Accepted("t-1", 200, strange))
    await process.put(record, seconds=1)
    assert process.value("status_words_unknown_total") == 1
    process.call_back(record, "order", replace(strange, unknown_words=("Paused", "Rcs")))
    await world.clock.advance(1)
    assert process.value("status_words_unknown_total") == 3
    world.provider.reports["t-1"] = strange
    await world.clock.advance(8)
    assert world.provider.polls == ["t-1"]
    assert process.value("status_words_unknown_total") == 4
    with capture_logs() as logs:
        process.call_back(record, "order", replace(strange, unknown_words=("Paused", "Lost", "Rcs")))
        await world.clock.advance(1)
        for number in range(200):
            process.call_back(record, "order", replace(strange, unknown_words=(f"word {number}",)))
        await world.clock.advance(2)
    told = [line["word"] for line in logs if line["event"] == "status_word_unknown"]
    assert (told[0], len(told), len(set(told))) == ("Lost", 98, 98)
    await process.stop()


async def test_a_callback_that_only_says_whose_it_is_is_asked_about_at_once(world: World) -> None:
    """As a later release's is read: Routee itself tells the end, before the schedule would ask."""
    process = await Process(world, SHORT).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    world.provider.reports["t-1"] = report("t-1", SUCCEEDED)
    await process.put(record, seconds=1)
    process.call_back(record, "order", FlowReport("t-1", None))
    await world.clock.advance(1)
    assert statuses(world) == [(1, "QUEUED", "RESPONSE"), (2, "SUCCEEDED", "POLL")]
    await process.stop()


async def test_a_poll_brings_the_end(world: World) -> None:
    """Tracking knows: the status goes out with origin POLL, and polling ends."""
    process = await Process(world, SHORT).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    world.provider.reports["t-1"] = report("t-1", SUCCEEDED)
    await process.put(record, seconds=60)
    assert statuses(world) == [(1, "QUEUED", "RESPONSE"), (2, "SUCCEEDED", "POLL")]
    assert world.provider.polls == ["t-1"]
    assert process.value("polls_total", result="changed") == 1
    await process.stop()


async def test_polls_go_on_after_a_take_over(world: World) -> None:
    """A flow whose statuses are still awaited is followed by the next owner, without any new row."""
    first = await Process(world, SHORT).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await first.put(record, seconds=4)
    await first.stop()
    second = await Process(world, SHORT).start()
    world.provider.reports["t-1"] = report("t-1", SUCCEEDED)
    await world.clock.advance(20)
    assert [status for _, status, _ in statuses(world)] == ["QUEUED", "SUCCEEDED"]
    await second.stop()


async def test_polls_keep_to_their_share(world: World) -> None:
    """A tenth of the rate; who finds no token comes again at the next point of the schedule."""
    process = await Process(world, SHORT, rate=20.0).start()
    records = [world.record("code", key=str(n)) for n in range(60)]
    await process.put(*records, seconds=4)
    before = len(world.provider.polls)
    await world.clock.advance(5)
    assert len(world.provider.polls) - before <= 2 * 5 + 2
    await process.stop()


async def test_a_poll_that_fails_proves_nothing(world: World) -> None:
    """No answer: no event, asked again later."""
    process = await Process(world, SHORT).start()
    record = world.record("code")
    world.answer(record, "code", Accepted("t-1", 200))

    async def away(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        return Unanswered("http_500", 500)

    world.provider.flow = away  # type: ignore[method-assign]
    await process.put(record, seconds=30)
    assert [status for _, status, _ in statuses(world)] == ["QUEUED"]
    assert process.value("polls_total", result="unanswered") >= 2
    await process.stop()


async def test_a_callback_that_nobody_can_read_is_a_reason_to_ask(world: World) -> None:
    """Routee said something: the flow is polled at once; a finished one is left alone."""
    process = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await process.put(record, seconds=1)
    world.provider.reports["t-1"] = report("t-1", SUCCEEDED)
    for _ in range(2):
        process.call_back(record, "order", report(None, None))
        await world.clock.advance(2)
    assert world.provider.polls == ["t-1"]
    assert [status for _, status, _ in statuses(world)] == ["QUEUED", "SUCCEEDED"]
    assert process.lane.flows == {}
    await process.stop()


async def test_unreadable_callbacks_hurry_a_doubts_search_once(world: World) -> None:
    """The first one says that it arrived; a hundred more of them cost no search each."""
    process = await Process(world).start()
    record = world.record("order")
    world.answer(record, "order", Doubt("timeout"))
    await process.put(record, seconds=1)
    for _ in range(100):
        process.call_back(record, "order", report(None, None))
        await world.clock.advance(0.1)
    assert world.provider.searches <= 8
    await process.stop()


async def test_callbacks_that_came_while_nobody_was_there(world: World) -> None:
    """The next owner hears them."""
    first = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await first.put(record, seconds=5)
    await first.stop()
    first.call_back(record, "order", report("t-1"))
    second = await Process(world).start()
    await world.clock.advance(2)
    assert [status for _, status, _ in statuses(world)] == ["QUEUED", "SUCCEEDED"]
    await second.stop()


async def test_a_thousand_callbacks_while_rows_are_slow(world: World) -> None:
    """At most some hundred are applied at once, all are, and a lane that is dropped meanwhile hears them again."""
    process = await Process(world).start()
    records = [world.record("order", key=str(n)) for n in range(600)]
    for n, record in enumerate(records):
        world.answer(record, "order", Accepted(f"t-{n}", 200))
    await process.put(*records, seconds=3)
    process.journal.held = True
    for n, record in enumerate(records):
        process.call_back(record, "order", report(f"t-{n}"))
    await world.clock.advance(1)
    process.journal.held = False
    process.journal.lose()
    await world.clock.advance(10)
    ended = [event["flow_id"] for event in world.outputs("statuses") if event["status"] == "SUCCEEDED"]
    assert len(ended) == len(set(ended)) == 600
    assert process.lane.flows == {}
    await process.stop()


async def test_a_silent_flow_is_asked_about_again_and_again(world: World) -> None:
    """Behind the schedule's end the last step is repeated, until the flow's deadline."""
    process = await Process(world, Policy(poll_schedule_s=(10.0, 60.0), flow_deadline_s=600.0)).start()
    asked: list[int] = []
    answer = world.provider.flow

    async def flow(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        asked.append(world.clock.now_ms())
        return await answer(api, tracking_id)

    world.provider.flow = flow  # type: ignore[method-assign]
    await process.put(world.record(), seconds=500)
    assert len(asked) >= 7
    await process.stop()
