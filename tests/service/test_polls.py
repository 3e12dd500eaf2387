"""One page of a time window answers many silent flows, within a budget of requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from connector.core.model import Api, FlowReport, FlowStatus, MessageClass, Record
from connector.metrics import Metrics
from connector.ports import Unanswered
from connector.services.live import Live
from connector.services.parts import Policy
from connector.services.polls import POSTPONED, Answer
from connector.services.throttle import Throttle
from tests.fakes import FakeClock
from tests.service.world import LANE, Process, World

SHORT = replace(Policy(), poll_schedule_s=(5.0, 10.0), flow_deadline_s=10.0)
LONG = replace(Policy(), poll_schedule_s=(5.0, 10.0), flow_deadline_s=600.0)
SUCCEEDED = FlowStatus.SUCCEEDED


async def sent(world: World, process: Process, count: int, type_: str = "order") -> list[Record]:
    """So many flows, accepted in the first seconds of a minute."""
    await world.clock.advance(60 - world.clock.now_ms() / 1000 % 60 + 1)
    records = [world.record(type_, key=str(number)) for number in range(count)]
    await process.put(*records, seconds=2)
    return records


def end(world: World, *tracking_ids: str, status: FlowStatus = SUCCEEDED) -> None:
    """These flows have an end at the provider; no ids: all of them."""
    for tracking_id in tracking_ids or tuple(world.provider.reports):
        world.provider.reports[tracking_id] = replace(world.provider.reports[tracking_id], status=status)


def answer_after(world: World, seconds: float) -> list[int]:
    """From now on each poll takes so long. Gives how many were under way as each began."""
    answer, at_once, open_now = world.provider.flow, [], 0

    async def slow(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        nonlocal open_now
        open_now += 1
        at_once.append(open_now)
        await world.clock.sleep(seconds)
        open_now -= 1
        return await answer(api, tracking_id)

    world.provider.flow = slow  # type: ignore[method-assign]
    return at_once


def ended(world: World) -> list[str]:
    """Flows whose end was told, with origin POLL."""
    return [event["flow_id"] for event in world.outputs("statuses") if event["terminal"] and event["origin"] == "POLL"]


async def test_one_page_answers_many_flows(world: World) -> None:
    """Fifty silent flows of one minute: one request, each of them ends."""
    process = await Process(world, SHORT).start()
    await sent(world, process, 50)
    end(world)
    await world.clock.advance(20)
    assert len(ended(world)) == 50
    assert world.provider.pages == [0]
    assert world.provider.polls == []
    assert process.value("poll_requests_total", kind="window") == 1
    assert process.value("polls_total", result="changed") == 50
    await process.stop()


async def test_a_page_settles_flows_that_were_not_due(world: World) -> None:
    """Flows accepted seconds later are in the same page: none of them is asked about again."""
    process = await Process(world, SHORT).start()
    await sent(world, process, 5)
    await world.clock.advance(2)
    await process.put(*(world.record("order", key=f"late-{number}") for number in range(20)), seconds=1)
    end(world)
    await world.clock.advance(20)
    assert len(ended(world)) == 25
    assert (world.provider.pages, world.provider.polls) == ([0], [])
    await process.stop()


async def test_every_page_is_read_while_flows_wait(world: World) -> None:
    """Until the last one that waits is answered, and no further."""
    process = await Process(world, SHORT).start()
    world.provider.page_size = 10
    await sent(world, process, 35)
    end(world)
    await world.clock.advance(20)
    assert len(ended(world)) == 35
    assert world.provider.pages == [0, 1, 2, 3]
    await process.stop()


@pytest.mark.parametrize("tells_pages", [True, False])
async def test_pages_are_not_read_where_asking_costs_less(world: World, tells_pages: bool) -> None:
    """A busy account: our few flows are somewhere among a thousand pages of other people's, so each is asked about by itself."""
    process = await Process(world, SHORT, share=0.5).start()
    await sent(world, process, 4)
    end(world)
    others = {f"other-{n}": FlowReport(f"other-{n}", SUCCEEDED, created_at_ms=world.clock.now_ms()) for n in range(1000)}
    world.provider.reports = others | world.provider.reports
    world.provider.page_size, world.provider.tells_pages = 1, tells_pages
    await world.clock.advance(20)
    assert len(ended(world)) == 4
    assert len(world.provider.polls) == 4
    assert len(world.provider.pages) <= 5
    await process.stop()


async def test_a_flow_that_no_page_shows_is_asked_about_alone(world: World) -> None:
    """The provider's search lags, or its clock is another: the flow's own document still tells."""
    process = await Process(world, SHORT, share=0.5).start()
    await sent(world, process, 6)
    end(world)
    hidden = sorted(world.provider.reports)[:2]
    for tracking_id in hidden:
        world.provider.reports[tracking_id] = replace(world.provider.reports[tracking_id], created_at_ms=None)
    await world.clock.advance(20)
    assert len(ended(world)) == 6
    assert sorted(world.provider.polls) == hidden
    await process.stop()


async def test_a_search_that_fails_leaves_every_flow_its_own_question(world: World) -> None:
    """No page can be had: one by one."""
    process = await Process(world, SHORT, share=0.5).start()
    world.provider.page_unanswered = True
    await sent(world, process, 4)
    end(world)
    await world.clock.advance(20)
    assert len(ended(world)) == 4
    assert len(world.provider.polls) == 4
    await process.stop()


async def test_otp_flows_are_asked_about_one_by_one_at_once(world: World) -> None:
    """Their list knows no window, and a login code does not wait."""
    process = await Process(world, SHORT, share=0.5).start()
    await sent(world, process, 4, "code")
    await world.clock.advance(4.5)
    assert len(world.provider.polls) == 4
    assert world.provider.pages == []
    await process.stop()


async def test_who_asks_for_all_may_be_gone(world: World) -> None:
    """The lane of the one that asks is lost while it gathers: nobody waits for ever, the flows are asked about by the next owner."""
    process = await Process(world, LONG).start()
    await sent(world, process, 10)
    end(world)
    await world.clock.advance(5)
    process.journal.lose()
    process.lane.writer.lose("test")
    await world.clock.advance(60)
    assert len(ended(world)) == 10
    await process.stop()


async def test_nobody_waits_for_one_that_is_gone(world: World) -> None:
    """The task that would have asked for both is cancelled, as when its lane is revoked: the other is put off, and may ask for itself."""
    process = await Process(world, replace(LONG, poll_schedule_s=(100.0, 200.0)), share=0.5).start()
    await sent(world, process, 2)
    end(world)

    def ask(live: Live) -> asyncio.Task[Answer]:
        polls = process.parts.polls
        return asyncio.ensure_future(polls.ask(process.lane, live, Api.TRANSACTIONAL, live.flow.tracking_id or "", last=False))

    one, other = process.lane.flows.values()
    gone, left = ask(one), ask(other)
    await world.clock.advance(1)
    gone.cancel()
    await world.clock.advance(1)
    assert left.done()
    assert left.result() is POSTPONED
    again = ask(other)
    await world.clock.advance(20)
    assert again.result() == world.provider.reports[other.flow.tracking_id or ""]
    await process.stop()


async def test_all_silent_flows_end_at_their_deadline(world: World) -> None:
    """A provider that never says more: every flow ends as UNKNOWN, ``silent``, whatever the budget."""
    process = await Process(world, replace(SHORT, poll_schedule_s=(500.0, 900.0)), rate=20.0).start()
    await sent(world, process, 100)
    await world.clock.advance(700)
    told = [event for event in world.outputs("statuses") if event["terminal"]]
    assert len(told) == 100
    assert {(event["status"], event["origin"]) for event in told} == {("UNKNOWN", "TIMEOUT")}
    assert len(world.provider.pages) < 10
    await process.stop()


async def test_a_last_question_can_bring_the_end(world: World) -> None:
    """With the budget spent the provider is still asked at the deadline, so that no end it knows is lost."""
    process = await Process(world, SHORT).start()
    await sent(world, process, 40, "code")
    process.throttle.earn_polls(-1000)
    await world.clock.advance(40)
    asked = len(world.provider.polls)
    assert asked <= 8  # what a quiet process may always make
    end(world)
    await world.clock.advance(60)
    assert len({event["flow_id"] for event in world.outputs("statuses") if event["status"] == "SUCCEEDED"}) == 40
    await process.stop()


@pytest.mark.parametrize("type_", ["code", "order"])
async def test_a_flow_ends_as_silent_only_after_an_answer(world: World, type_: str) -> None:
    """At its deadline nobody can be asked (429, no connection free): it is asked about again, and the end that Routee knows is told."""
    process = await Process(world, SHORT).start()
    answer = world.provider.flow

    async def busy(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        return Unanswered("pool_timeout")

    world.provider.flow = busy  # type: ignore[method-assign]
    world.provider.page_unanswered = True
    await sent(world, process, 4, type_)
    await world.clock.advance(640)
    assert not [event for event in world.outputs("statuses") if event["terminal"]]
    world.provider.flow = answer  # type: ignore[method-assign]
    end(world, status=FlowStatus.FAILED)
    await world.clock.advance(700)
    assert len(ended(world)) == 4
    assert process.value("silent_flows_total") == 0
    await process.stop()


async def test_a_last_question_is_not_repeated_for_ever(world: World) -> None:
    """Nobody answers for an hour: the flow ends as silent, behind few questions."""
    process = await Process(world, SHORT).start()
    asked = 0

    async def busy(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        nonlocal asked
        asked += 1
        return Unanswered("http_500", 500)

    world.provider.flow = busy  # type: ignore[method-assign]
    await sent(world, process, 1, "code")
    await world.clock.advance(71)
    before = asked
    await world.clock.advance(3500)
    assert not [event for event in world.outputs("statuses") if event["terminal"]]
    await world.clock.advance(900)
    assert [event["reason"] for event in world.outputs("statuses") if event["terminal"]] == ["silent"]
    assert asked - before <= 12
    await process.stop()


async def test_last_questions_leave_connections_to_searches(world: World) -> None:
    """Very many flows are overdue at once: a few are asked about at a time, and all are."""
    process = await Process(world, SHORT).start()
    await sent(world, process, 200, "code")
    process.throttle.earn_polls(-1000)
    end(world, status=FlowStatus.IN_PROGRESS)
    at_once = answer_after(world, 0.1)
    await world.clock.advance(80)
    assert max(at_once) <= 10
    assert len([event for event in world.outputs("statuses") if event["reason"] == "silent"]) == 200
    await process.stop()


async def test_polls_leave_connections_to_searches(world: World) -> None:
    """A provider that answers slowly: a few polls at a time, however many flows are due."""
    process = await Process(world, LONG, rate=100.0, share=0.5).start()
    await sent(world, process, 200, "code")
    process.throttle.earn_polls(1000)
    at_once = answer_after(world, 1.5)
    await world.clock.advance(60)
    assert max(at_once) == 16
    await process.stop()


async def test_flows_without_budget_do_not_keep_the_process_busy(world: World) -> None:
    """Callbacks fail for long: each silent code asks for budget more and more seldom."""
    process = await Process(world, LONG, rate=10_000.0).start()
    await sent(world, process, 600, "code")
    process.throttle.earn_polls(-10_000)
    came, may_poll = 0, process.throttle.may_poll

    def counted(*, last: bool = False) -> bool:
        nonlocal came
        came += 1
        return may_poll(last=last)

    process.throttle.may_poll = counted  # type: ignore[method-assign]
    await world.clock.advance(30)
    came = 0
    await world.clock.advance(60)
    assert came <= 3 * 600
    await process.stop()


async def test_last_questions_keep_to_the_account_s_rate(world: World) -> None:
    """A worker comes back after an outage, and everything is overdue: the provider is not flooded, and all end."""
    first = await Process(world, SHORT).start()
    await sent(world, first, 400, "code")
    await first.kill()
    await world.clock.advance(120)
    answer, times = world.provider.flow, []

    async def flow(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        times.append(world.clock.boot())
        return await answer(api, tracking_id)

    world.provider.flow = flow  # type: ignore[method-assign]
    second = await Process(world, SHORT, rate=20.0).start()
    await world.clock.advance(240)
    assert max(sum(one <= other < one + 1 for other in times) for one in times) <= 20
    assert len([event for event in world.outputs("statuses") if event["reason"] == "silent"]) == 400
    await second.stop()


async def test_an_unreadable_callback_during_a_poll_is_asked_about(world: World) -> None:
    """What it told of may have come behind what that poll was answered."""
    process = await Process(world, replace(Policy(), poll_schedule_s=(5.0, 7200.0), flow_deadline_s=36_000.0)).start()
    record = world.record("code")
    await process.put(record, seconds=1)
    [tracking_id] = world.provider.reports
    answer = world.provider.flow

    async def slow(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        await world.clock.sleep(3)
        return FlowReport(tracking_id, FlowStatus.QUEUED)

    world.provider.flow = slow  # type: ignore[method-assign]
    await world.clock.advance(5.5)
    end(world, tracking_id, status=FlowStatus.FAILED)
    process.call_back(record, "code", FlowReport(None, None))
    await world.clock.advance(1)
    world.provider.flow = answer  # type: ignore[method-assign]
    await world.clock.advance(60)
    assert world.outputs("statuses")[-1]["status"] == "FAILED"
    await process.stop()


async def test_each_class_has_its_schedule(world: World) -> None:
    """A campaign can wait: its flows are polled by their own schedule, all others by the common one."""
    process = await Process(world, replace(LONG, class_schedules_s={MessageClass.MARKETING: (200.0, 300.0)})).start()
    await sent(world, process, 2, "sale")
    await world.clock.advance(100)
    assert (world.provider.polls, world.provider.pages) == ([], [])
    await process.put(world.record("order", key="one"), seconds=9)
    assert len(world.provider.polls) == 1
    await world.clock.advance(150)
    assert len({*world.provider.polls}) == 3
    await process.stop()


async def test_the_next_owner_asks_on(world: World) -> None:
    """The schedule is in the journal, and so is the budget: what was sent before the take-over counts."""
    first = await Process(world, LONG).start()
    await sent(world, first, 60, "code")
    await first.kill()
    second = await Process(world, LONG, rate=10_000).start()
    await world.clock.advance(8)
    assert len(world.provider.polls) >= 60 // 9
    await second.stop()


async def test_take_overs_earn_no_polls_twice(world: World) -> None:
    """A send allows for its part of a poll once, however often its lane changes hands (a rolling restart of six)."""
    policy = replace(LONG, flow_deadline_s=36_000.0)
    process = await Process(world, policy).start()
    await sent(world, process, 200, "code")
    began, owners = world.clock.boot(), 1
    await world.clock.advance(60)
    for _ in range(6):
        await process.stop()
        process, owners = await Process(world, policy).start(), owners + 1
        await world.clock.advance(60)
    quiet = 4 * owners + 0.1 * (world.clock.boot() - began)  # what each process may ask however little it sends
    assert len(world.provider.polls) <= 200 / 9 + quiet
    await process.stop()


async def test_a_lane_takes_what_it_earned_along(world: World) -> None:
    """A process that a lane has left cannot spend its budget once more."""
    process = await Process(world, LONG).start()
    await sent(world, process, 90, "code")
    assert process.lane.polls.left == 90 / 9
    process.source.revoke(LANE)
    await world.clock.advance(1)
    process.throttle.set_share(1.0)
    await world.clock.advance(1)
    assert sum(process.throttle.may_poll() for _ in range(100)) <= 3  # what a quiet process may always make
    await process.stop()


# --------------------------------------------------------------------------------------------------------------- budget


async def polled(share: float, sends: int, seconds: int) -> int:
    """How many of very many wanted polls are allowed behind so many sends."""
    clock = FakeClock()
    throttle = Throttle(clock, Metrics(), 100_000.0, 1000, share)
    throttle.set_share(1.0)
    throttle.earn_polls(sends * throttle.polls_per_send)
    allowed = 0
    for _ in range(seconds):
        await clock.advance(1)
        allowed += sum(throttle.may_poll() for _ in range(1000))
    return allowed


@pytest.mark.parametrize(("share", "most"), [(0.1, 1000 / 9), (0.25, 1000 / 3), (0.5, 1000)])
async def test_polls_are_a_share_of_sends_and_polls(share: float, most: float) -> None:
    """Of a thousand sends and their polls together; a quiet process's few (one in ten seconds, three at once) come on top."""
    allowed = await polled(share, 1000, 60)
    assert most - 1 <= allowed <= most + 3 + 6


async def test_a_quiet_process_may_always_ask_a_little() -> None:
    """A flow in the night needs no other flow's send to be asked about."""
    assert 3 <= await polled(0.1, 0, 100) <= 14


async def test_later_sends_pay_for_what_was_asked_without_any() -> None:
    """Else a process that sends at last would ask its share and those few on top."""
    clock = FakeClock()
    throttle = Throttle(clock, Metrics(), 100_000.0, 1000, 0.1)
    throttle.set_share(1.0)
    early = 0
    for _ in range(100):
        await clock.advance(1)
        early += throttle.may_poll()
    throttle.earn_polls(early + 5)
    await clock.advance(1)
    assert sum(throttle.may_poll() for _ in range(100)) <= 5 + 1


async def test_a_share_of_one_is_no_bound() -> None:
    """Only the rate bounds polls then."""
    assert await polled(1.0, 1, 2) == 2000


async def test_polls_come_after_sends() -> None:
    """While a send waits for its permit no poll is made, however much of the budget is left."""
    clock = FakeClock()
    throttle = Throttle(clock, Metrics(), 1.0, 1, 0.5)
    throttle.set_share(1.0)
    throttle.earn_polls(100)
    await clock.advance(5)
    assert throttle.may_poll()
    waiting = [asyncio.ensure_future(throttle.enter(MessageClass.MARKETING, clock.now_ms() + 60_000)) for _ in range(2)]
    await clock.advance(5)
    assert not throttle.may_poll()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
