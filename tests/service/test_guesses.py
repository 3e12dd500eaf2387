"""A message found without a label is a guess: what a call of the attempt's own URL does to it, whatever is under way just then."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from connector.core.flow import Flow, State
from connector.core.model import Api, Channel, Doubt, FlowReport, FlowStatus, Record, StepReport, StepStatus
from connector.ports import Unanswered
from connector.services.neighbours import Neighbours
from tests.service.world import RULES, Process, World, report
from tests.unit.flows import NOW, facts

LOST = Doubt("timeout")
DELIVERED = (StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered"),)
TEMPLATE = (
    RULES
    + """
  - name: template
    match: {type: template}
    class: transactional
    steps:
      - viber: {sender: 6c1, template: 0aac888f-2ee2-4112-9659-1755a951966a, lang: en, params: {a: b}, ttl: 10m}
      - sms: {from: ACME, body: "x", ttl: 10m}
"""
)


def stranger(world: World, status: FlowStatus | None = None, steps: tuple[StepReport, ...] = (), kind: str = "Sms") -> None:
    """Somebody else's message to the same phone."""
    world.provider.reports["theirs"] = replace(
        report("theirs", status), steps=steps, signature=(kind,), recipients=("306912345678",), created_at_ms=world.clock.now_ms()
    )


async def guessed(world: World, process: Process, type_: str = "code", kind: str = "Sms") -> Record:
    """An event whose answer was lost, and that is told under the stranger's id; its own message is ``ours``."""
    record = world.record(type_)
    world.answer(record, type_, LOST)
    stranger(world, kind=kind)
    await process.put(record, seconds=3)
    assert [event["tracking_id"] for event in world.outputs("sends")] == ["theirs"]
    return record


def told_of_ours(world: World) -> list[tuple[str, bool, str | None]]:
    """Status, delivered and reason of what is told under our own id."""
    return [(event["status"], event["delivered"], event["reason"]) for event in world.outputs("statuses") if event["tracking_id"] == "ours"]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_call_outweighs_a_guess(world: World, restart: bool) -> None:
    """The one candidate was somebody else's, and ended well; the attempt's own URL tells. Corrected, followed to its own end, sent once."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST)
    there = (StepReport(1, Channel.SMS, StepStatus.DELIVERED, "Delivered"),)
    world.provider.reports["theirs"] = replace(
        report("theirs", FlowStatus.SUCCEEDED), steps=there, signature=("Sms",), recipients=("306912345678",)
    )
    await process.put(record, seconds=60)
    assert [(event["outcome"], event["tracking_id"]) for event in world.outputs("sends")] == [("ACCEPTED", "theirs")]
    assert process.lane.flows == {}, "as far as anybody knows, it is finished"
    if restart:
        await process.kill()
        process = await Process(world).start()
    world.provider.reports["ours"] = report("ours", FlowStatus.FAILED)
    process.call_back(record, "code", report("ours", FlowStatus.IN_PROGRESS))
    process.call_back(record, "code", report("ours", FlowStatus.IN_PROGRESS))
    await world.clock.advance(5)
    sends = [(event["outcome"], event["tracking_id"], event["correction"], event["duplicate"]) for event in world.outputs("sends")]
    assert sends == [("ACCEPTED", "theirs", False, False), ("ACCEPTED", "ours", True, False)]
    assert [process.lane.neighbours.owns(one) for one in ("ours", "theirs")] == [True, False]
    assert process.value("corrections_total") == 1
    await world.clock.advance(200)
    told = [
        (event["seq"], event["status"], event["delivered"], event["terminal"], event["correction"]) for event in world.outputs("statuses")
    ]
    assert told[-2:] == [(3, "IN_PROGRESS", False, False, True), (4, "FAILED", False, True, False)]
    assert {event["tracking_id"] for event in world.outputs("statuses")[2:]} == {"ours"}
    process.call_back(record, "code", report("another", FlowStatus.IN_PROGRESS))
    await world.clock.advance(5)
    assert world.outputs("sends")[-1]["duplicate"], "nothing outweighs a call"
    assert world.posts(flow) == [1]
    await process.stop()


async def test_a_call_of_either_attempt_outweighs_a_guess(world: World) -> None:
    """Sent again, in doubt again, then one candidate: a guess for the second. The first attempt's URL names its own."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", LOST, LOST)
    await process.put(record, seconds=45)
    assert world.posts(flow) == [1, 2]
    world.provider.reports["theirs"] = replace(report("theirs"), signature=("Sms",), recipients=("306912345678",))
    await world.clock.advance(30)
    process.call_back(record, "code", report("ours", FlowStatus.IN_PROGRESS), attempt=1)
    await world.clock.advance(5)
    guess, call = world.outputs("sends")
    assert [(event["tracking_id"], event["correction"]) for event in (guess, call)] == [("theirs", False), ("ours", True)]
    assert [[line["outcome"] for line in event["attempts"]] for event in (guess, call)] == [["DOUBT", "ACCEPTED"], ["ACCEPTED", "DOUBT"]]
    await process.stop()


async def test_a_guess_that_a_call_confirms_is_none(world: World) -> None:
    """What the URL of the attempt named once is its own: another id after it is a second acceptance."""
    process = await Process(world).start()
    record = world.record("code")
    world.answer(record, "code", world.provider.lose_reply)
    await process.put(record, seconds=60)
    for tracking_id in ("track-1", "another"):
        process.call_back(record, "code", report(tracking_id, FlowStatus.IN_PROGRESS))
        await world.clock.advance(5)
    sends = [(event["tracking_id"], event["correction"], event["duplicate"]) for event in world.outputs("sends")]
    assert sends == [("track-1", False, False), ("another", False, True)]
    await process.stop()


async def test_an_answer_about_the_guess_that_comes_after_the_call_is_nobody_s(world: World) -> None:
    """A poll of the guessed id was under way: its answer tells of somebody else's message."""
    process = await Process(world).start()
    record = await guessed(world, process)
    answers, plain = asyncio.Event(), world.provider.flow

    async def slow(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        if tracking_id == "theirs":
            await answers.wait()
            return replace(report("theirs", FlowStatus.SUCCEEDED), steps=DELIVERED)
        return await plain(api, tracking_id)

    world.provider.flow = slow  # type: ignore[method-assign]
    await world.clock.advance(100)
    process.call_back(record, "code", report("ours", FlowStatus.IN_PROGRESS))
    await world.clock.advance(1)
    world.provider.reports["ours"] = report("ours", FlowStatus.FAILED)
    answers.set()
    await world.clock.advance(300)
    assert told_of_ours(world) == [("IN_PROGRESS", False, None), ("FAILED", False, None)]
    await process.stop()


async def test_a_page_that_shows_the_guess_is_nobody_s_news(tmp_path: Path) -> None:
    """Flows are found on pages by their ids: the disowned one leads to nobody any more."""
    world = World(tmp_path, TEMPLATE)
    process = await Process(world).start()
    await world.clock.advance(61 - (world.clock.now_ms() // 1000) % 60)
    record = await guessed(world, process, "template", "Viber")
    world.provider.reports["ours"] = report("ours", FlowStatus.IN_PROGRESS)
    process.call_back(record, "template", report("ours", FlowStatus.IN_PROGRESS))
    await process.put(*[world.record("order", key=f"k{number}") for number in range(5)], seconds=1)
    stranger(world, FlowStatus.SUCCEEDED, (replace(DELIVERED[0], channel=Channel.VIBER),), "Viber")
    await world.clock.advance(100)
    assert world.provider.pages
    assert told_of_ours(world) == [("IN_PROGRESS", False, None)]
    await process.stop()


@pytest.mark.parametrize("asked", [False, True], ids=["before", "while-the-last-question-is-asked"])
async def test_the_guess_s_deadline_is_not_ours(world: World, asked: bool) -> None:
    """Called near the guess's deadline, or while the last question about it is under way: our message has its hour from then on."""
    process = await Process(world).start()
    record = await guessed(world, process)
    answers = asyncio.Event()
    last = world.clock.boot() + 3600

    async def slow(api: Api, tracking_id: str) -> FlowReport | Unanswered:
        if asked and tracking_id == "theirs" and world.clock.boot() > last:
            await answers.wait()
            return Unanswered("not_found", 404)
        return report(tracking_id, FlowStatus.IN_PROGRESS)

    world.provider.flow = slow  # type: ignore[method-assign]
    await world.clock.advance(3700 if asked else 3620)
    process.call_back(record, "code", report("ours", FlowStatus.IN_PROGRESS))
    await world.clock.advance(1)
    answers.set()
    await world.clock.advance(1800)
    assert told_of_ours(world) == [("IN_PROGRESS", False, None)]
    await process.stop()


@pytest.mark.parametrize("restart", [False, True])
async def test_the_correction_names_its_recipient(world: World, restart: bool) -> None:
    """Also when the flow was let go, or another process's, in the meantime."""
    process = await Process(world).start()
    record = world.record("code")
    world.answer(record, "code", LOST)
    stranger(world, FlowStatus.SUCCEEDED, DELIVERED)
    await process.put(record, seconds=30)
    assert process.lane.flows == {}
    if restart:
        await process.kill()
        process = await Process(world).start()
    process.call_back(record, "code", report("ours", FlowStatus.IN_PROGRESS))
    await world.clock.advance(5)
    told = [(event.body["tracking_id"], recipient) for event, recipient, _ in world.output_logs["sends"]]
    assert told == [("theirs", "+306912345678"), ("ours", "+306912345678")]
    await process.stop()


async def test_a_guess_that_comes_after_a_call_is_nothing(world: World) -> None:
    """The callback's row was on its way when the search was answered: no duplicate, and the stranger's id belongs to nobody here."""
    process = await Process(world).start()
    record = world.record("code")
    world.answer(record, "code", LOST)
    answers, plain = asyncio.Event(), world.provider.search

    async def slow(api: Api, recipient: str, since_ms: int, until_ms: int) -> tuple[FlowReport, ...] | Unanswered:
        found = await plain(api, recipient, since_ms, until_ms)
        await answers.wait()
        return found

    world.provider.search = slow  # type: ignore[method-assign]
    stranger(world)
    await process.put(record, seconds=2)
    process.journal.held = True
    process.call_back(record, "code", report("ours", FlowStatus.IN_PROGRESS))
    await world.clock.advance(0.1)
    answers.set()
    await world.clock.advance(0.1)
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(2)
    assert [(event["tracking_id"], event["duplicate"]) for event in world.outputs("sends")] == [("ours", False)]
    assert not process.lane.neighbours.owns("theirs")
    await process.stop()


async def test_a_released_id_stays_released_after_a_take_over(world: World) -> None:
    """The row that tells of the guess may still be in the journal, and be read again."""
    process = await Process(world).start()
    record = world.record("code")
    world.answer(record, "code", LOST)
    stranger(world, FlowStatus.SUCCEEDED, DELIVERED)
    await process.put(record, seconds=30)
    await process.kill()
    process = await Process(world).start()
    for news in (report("ours", FlowStatus.IN_PROGRESS), replace(report("ours", FlowStatus.SUCCEEDED), steps=DELIVERED)):
        process.call_back(record, "code", news)
        await world.clock.advance(5)
        await process.kill()
        process = await Process(world).start()
        assert [process.lane.neighbours.owns(one) for one in ("ours", "theirs")] == [True, False]
    await process.stop()


def test_an_id_that_another_flow_has_is_not_released() -> None:
    """It was guessed for one flow and named for another: it stays the other's."""
    neighbours = Neighbours(30_000)
    one = Flow(facts(flow_id="a"), State.ACCEPTED, tracking_id="x", guessed=True, accepted_at_ms=NOW)
    neighbours.note(one)
    neighbours.note(Flow(facts(flow_id="b"), State.ACCEPTED, tracking_id="x", accepted_at_ms=NOW))
    neighbours.note(replace(one, tracking_id="y", guessed=False), instead_of=one)
    assert (neighbours.owns("x"), neighbours.owns("y")) == (True, True)
