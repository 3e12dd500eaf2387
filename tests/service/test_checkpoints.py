"""What survives a death: rows, outputs and checkpoints in every combination of landed and lost."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from connector.core import rows
from connector.core.flow import Facts, Flow, State
from connector.core.model import Accepted, Doubt, FlowStatus, NotSent, RefusalKind, Refused, Rejected
from connector.ports import Entry
from connector.services.parts import Policy
from tests.service.world import LANE, RULES, Answer, Process, World, report

SUCCEEDED, IN_PROGRESS = FlowStatus.SUCCEEDED, FlowStatus.IN_PROGRESS
TOPICS: tuple[set[str], ...] = (set(), {"sends"}, {"statuses"}, {"sends", "statuses"})


def checkpoints(world: World) -> list[tuple[int, rows.Checkpoint]]:
    """Every checkpoint in the journal with its epoch."""
    found = [entry for entry in world.journal_logs[LANE] if entry is not None and entry.key.startswith(b"ckpt")]
    return [(rows.head_of(entry.value).epoch, rows.checkpoint_of(entry.value)) for entry in found]


def assert_complete(world: World, *, zombies: bool = False) -> None:
    """Every output of every flow once: one send decision, statuses numbered from 1 without a gap, no id twice.

    A zombie in the act may leave a copy: of the same content, if it has the same id.
    """
    sends, statuses = world.outputs("sends"), world.outputs("statuses")
    if zombies:
        sends, statuses = distinct(sends), distinct(statuses)
    ids = [event["id"] for event in sends + statuses]
    assert len(ids) == len(set(ids)), "an output was emitted again"
    decisions = [event["flow_id"] for event in sends if not event["correction"] and not event["duplicate"]]
    assert len(decisions) == len(set(decisions)), "two decisions for one flow"
    by_flow: dict[str, list[int]] = {}
    for event in statuses:
        by_flow.setdefault(event["flow_id"], []).append(event["seq"])
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_flow.values()), "a status is missing"


def distinct(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without exact copies."""
    return [event for place, event in enumerate(events) if event not in events[:place]]


# ------------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize(
    ("held", "rows_held", "rows_land", "outputs_land"), list(itertools.product(TOPICS, [False, True], [False, True], [False, True]))
)
async def test_the_next_owner_emits_exactly_what_is_missing(
    world: World, held: set[str], rows_held: bool, rows_land: bool, outputs_land: bool
) -> None:
    """Killed with these outputs and rows in flight, landed or lost: afterwards each event is there, once."""
    first = await Process(world).start()
    before, during = world.record(key="a"), world.record(key="b")
    world.answer(before, "order", Accepted("t-1", 200))
    world.answer(during, "order", Accepted("t-2", 200))
    await first.put(before, seconds=5)
    first.outbox.held_topics = held
    await first.put(during, seconds=0.2)
    first.call_back(before, "order", report("t-1", IN_PROGRESS))
    await world.clock.advance(0.2)
    first.journal.held = rows_held
    first.call_back(before, "order", report("t-1"))
    first.call_back(during, "order", report("t-2"))
    await world.clock.advance(0.2)
    await first.kill(rows_land=rows_land, outputs_land=outputs_land)
    second = await Process(world).start()
    await world.clock.advance(10)
    assert_complete(world)
    assert len(world.outputs("sends")) == 2
    assert sorted(event["status"] for event in world.outputs("statuses")) == ["IN_PROGRESS", "QUEUED", "QUEUED", "SUCCEEDED", "SUCCEEDED"]
    assert len(world.provider.posts) == 2
    assert second.source.offsets[LANE] == 2
    await second.stop()


async def test_an_output_acked_before_an_earlier_one_of_another_topic(world: World) -> None:
    """The status is out, the send event is not: a row written now still carries the send event."""
    first = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    first.outbox.held_topics = {"sends"}
    await first.put(record, seconds=1)
    first.call_back(record, "order", report("t-1"))
    await world.clock.advance(1)
    assert (len(world.outputs("sends")), len(world.outputs("statuses"))) == (0, 2)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(5)
    assert_complete(world)
    assert (len(world.outputs("sends")), len(world.outputs("statuses"))) == (1, 2)
    await second.stop()


async def test_late_news_does_not_hide_an_output_that_is_still_on_its_way(world: World) -> None:
    """The flow finished, its events are not out, more news comes: the row written then still carries them all."""
    first = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Accepted("t-1", 200))
    await first.put(record, seconds=1)
    first.outbox.held = True
    first.call_back(record, "order", report("t-1", FlowStatus.FAILED))
    await world.clock.advance(1)
    first.call_back(record, "order", report("t-1", SUCCEEDED))
    await world.clock.advance(1)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(5)
    assert_complete(world)
    assert [event["status"] for event in world.outputs("statuses")] == ["QUEUED", "FAILED", "SUCCEEDED"]
    await second.stop()


async def test_an_output_that_fails_drops_the_lane_and_comes_once(world: World) -> None:
    """Whether it is there or not, nobody knows: the tail scan does."""
    for landed in (False, True):
        process = await Process(world).start()
        process.outbox.held = True
        await process.put(world.record(), seconds=1)
        process.outbox.held = False
        process.outbox.lose(landed=landed)
        await world.clock.advance(5)
        assert process.value("lane_drops_total", reason="output_unknown") == 1
        await process.stop()
    assert_complete(world)
    assert len(world.outputs("sends")) == len(world.outputs("statuses")) == 2


async def test_a_claim_waits_for_the_outputs_of_its_own_process(world: World) -> None:
    """Still on their way when the lane is dropped, they are not in the tail yet: they must not be emitted again."""
    process = await Process(world).start()
    process.outbox.held_topics = {"statuses"}
    await process.put(world.record(), seconds=1)
    process.lane.writer.lose("test")
    await world.clock.advance(10)
    assert process.intake.keepers[LANE].state == "claiming"
    process.outbox.held_topics = set()
    process.outbox.land()
    await world.clock.advance(5)
    assert process.intake.ready
    assert_complete(world)
    assert len(world.outputs("statuses")) == 1
    await process.stop()


async def test_the_next_owner_fills_in_the_recipient(world: World) -> None:
    """No row holds a phone; it is read from the input again."""
    first = await Process(world).start()
    first.outbox.held = True
    await first.put(world.record(), seconds=1)
    await first.kill()
    assert all(b"306912345678" not in entry.value for entry in world.journal_logs[LANE] if entry is not None)
    second = await Process(world).start()
    await world.clock.advance(2)
    assert [recipient for _, recipient, _ in world.output_logs["sends"]] == ["+306912345678"]
    await second.stop()


# --------------------------------------------------------------------------------------------------------------- events


async def test_the_missing_half_of_an_event_is_finished(world: World) -> None:
    """Two rules, and the process dies with the row of only one: the claimant starts exactly the other."""
    first = await Process(world).start()
    record = world.record("twin", key=None)
    first.journal.held = True
    await first.put(record, seconds=0.1)
    first.journal.land(1)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(200)
    assert sorted(event["rule"] for event in world.outputs("sends")) == ["twin-a", "twin-b"]
    assert len(world.provider.posts) == 2
    assert world.committed[LANE] == 1
    await second.stop()


async def test_what_is_met_again_only_because_the_commit_lags_is_no_duplicate(world: World) -> None:
    """The journal says that its offset is covered: no counter, no read."""
    first = await Process(world).start()
    first.source.refuse_commits = True
    await first.put(world.record(), world.record("twin"), seconds=0.5)
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(5)
    assert world.committed[LANE] == 2
    assert second.value("duplicates_total") == 0
    await second.stop()


@pytest.mark.parametrize("resent", [False, True])
async def test_a_waiting_flow_is_built_with_the_rules_of_now(world: World, resent: bool) -> None:
    """Rules that changed while it waited, or over a restart: its row and events name the version that was sent."""
    first = await Process(world).start()
    record = world.record()
    world.answer(record, "order", Refused(RefusalKind.THROTTLED, 429, "x", 20_000), *[Doubt("timeout")] * resent)
    await first.put(record, seconds=1)
    before = world.table.version
    await first.kill()
    world.reload(RULES.replace("Order {{", "Your order {{"))
    second = await Process(world).start()
    await world.clock.advance(200)
    [event] = world.outputs("sends")
    assert world.table.version != before
    assert (event["rules_version"], event["outcome"]) == (world.table.version, "ACCEPTED")
    assert event["resent_after_doubt"] is resent
    await second.stop()


async def test_a_waiting_flow_whose_rule_is_gone_is_invalid(world: World) -> None:
    """Never posted: INVALID, RULE_GONE, and a dead letter from which it can be replayed."""
    first = await Process(world).start()
    record = world.record()
    world.answer(record, "order", *[NotSent("dns")] * 9)
    await first.put(record, seconds=1)
    await first.kill()
    world.reload(RULES.replace("name: order", "name: other"))
    second = await Process(world).start()
    await world.clock.advance(60)
    assert world.outcomes() == [("INVALID", "RULE_GONE")]
    assert [letter.reason for letter in world.dead_letters.letters] == ["RULE_GONE"]
    await second.stop()


# --------------------------------------------------------------------------------------------------------- checkpoints


async def test_the_first_row_of_an_epoch_is_the_checkpoint_as_found(world: World) -> None:
    """Re-stated under the new epoch before anything else, so that a zombie's later one cannot override it."""
    first = await Process(world).start()
    await first.put(world.record(), seconds=10)
    await first.kill()
    *_, (_, last) = checkpoints(world)
    length = len(world.journal_logs[LANE])
    second = await Process(world).start()
    claim, restated = (entry for entry in world.journal_logs[LANE][length : length + 2] if entry is not None)
    assert claim.key.startswith(b"claim|")
    assert rows.head_of(restated.value).epoch == claim.offset
    assert rows.checkpoint_of(restated.value) == last
    await second.kill()


async def test_a_checkpoint_waits_for_its_outputs(world: World) -> None:
    """It speaks for a row only when the row's events are out, and says where they begin at the latest."""
    process = await Process(world).start()
    await world.clock.advance(10)
    process.outbox.held = True
    await process.put(world.record(), seconds=20)
    assert {one.journal for _, one in checkpoints(world)} == {-1}
    process.outbox.held = False
    process.outbox.land()
    await world.clock.advance(10)
    *_, (_, last) = checkpoints(world)
    assert last.journal == process.lane.last_row > 0
    assert (last.input, last.outputs) == (1, {"sends": 1, "statuses": 1})
    await process.stop()


async def test_a_checkpoint_speaks_for_no_row_that_came_while_it_waited(world: World) -> None:
    """A row that became valid behind the barrier has its events still on the way: after a kill the next owner tells them."""
    process = await Process(world).start()
    process.outbox.held = True
    await process.put(world.record(key="a"), seconds=5)
    waiting = len(process.outbox.in_flight)
    await process.put(world.record(key="b"), seconds=1)
    assert len(process.outbox.in_flight) > waiting > 0
    process.outbox.land(waiting)
    await world.clock.advance(1)
    assert checkpoints(world)[-1][1].journal > 0
    await process.kill()
    heir = await Process(world).start()
    assert len(world.outputs("sends")) == 2
    await heir.stop()


async def test_checkpoints_never_fall(world: World) -> None:
    """J, OUT, IN and CB rise within an epoch, whatever the drain and the timer do at the same time."""
    process = await Process(world).start()
    for n in range(12):
        record = world.record(key=str(n))
        await process.put(record, seconds=1.3)
        process.call_back(record, "order", report(world.provider.accepted[world.flow_id(record, "order")][0]))
    process.outbox.held = True
    await process.put(world.record(), seconds=4)
    released = process.source.revoke(LANE)
    await world.clock.advance(1)
    process.outbox.held = False
    process.outbox.land()
    await world.clock.advance(1)
    assert released.is_set()
    said = [
        (one.journal, one.outputs["sends"], one.outputs["statuses"], one.callbacks or 0, one.input or 0) for _, one in checkpoints(world)
    ]
    assert all(all(a <= b for a, b in zip(one, two, strict=True)) for one, two in itertools.pairwise(said))
    assert said[-1][1] == len(world.outputs("sends"))
    await process.kill()


async def test_an_idle_lane_says_nothing_until_retention_asks_for_it(world: World) -> None:
    """No news, no checkpoint; but one often enough that the journal never forgets."""
    process = await Process(world, replace(Policy(), checkpoint_idle_s=60.0)).start()
    await world.clock.advance(5)
    told = len(checkpoints(world))
    await world.clock.advance(50)
    assert len(checkpoints(world)) == told
    await world.clock.advance(10)
    assert len(checkpoints(world)) == told + 1
    await process.stop()


async def test_a_refused_commit_is_harmless_and_tried_again(world: World) -> None:
    """The journal is the truth; the start of the next tenure does not depend on the commit."""
    first = await Process(world).start()
    first.source.refuse_commits = True
    await first.put(world.record(), seconds=10)
    assert world.committed.get(LANE, 0) == 0
    assert first.value("commits_total", result="refused") >= 2
    await first.kill()
    second = await Process(world).start()
    await world.clock.advance(5)
    assert len(world.provider.posts) == 1
    assert world.committed[LANE] == 1
    await second.stop()


# ---------------------------------------------------------------------------------------------------- rows and fences


@pytest.mark.parametrize("landed", [False, True])
async def test_an_intent_of_unknown_fate_is_never_posted_on_trust(world: World, landed: bool) -> None:
    """The lane is dropped and claimed anew: one POST in the end, flagged if the intent is in the journal after all."""
    process = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")
    process.journal.held = True
    await process.put(record, seconds=0.2)
    process.journal.held = False
    process.journal.lose(landed=landed)
    await world.clock.advance(200)
    assert process.value("lane_drops_total", reason="produce_unknown") == 1
    assert world.posts(flow) == [2 if landed else 1]
    assert [(event["outcome"], event["resent_after_doubt"]) for event in world.outputs("sends")] == [("ACCEPTED", landed)]
    await process.stop()


@pytest.mark.parametrize("landed", [False, True])
async def test_an_outcome_of_unknown_fate_is_found_again(world: World, landed: bool) -> None:
    """Posted, and the row that says so is lost or not: searched and found, never posted twice."""
    process = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")
    world.provider.answering.clear()
    await process.put(record, seconds=0.5)
    process.journal.held = True
    world.provider.answering.set()
    await world.clock.advance(0.2)
    process.journal.held = False
    process.journal.lose(landed=landed)
    await world.clock.advance(60)
    assert world.posts(flow) == [1]
    assert_complete(world)
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_an_intent_that_is_known_too_late_is_not_sent(world: World) -> None:
    """The lease ended while the row was on its way: NOT_SENT, and a new intent of the same attempt."""
    process = await Process(world).start()
    record = world.record()
    flow = world.flow_id(record, "order")
    process.journal.held = True
    await process.put(record, seconds=3.2)
    process.journal.held = False
    process.journal.land()
    await world.clock.advance(0.01)
    assert world.posts(flow) == []
    await world.clock.advance(5)
    assert world.posts(flow) == [1]
    assert [line["n"] for line in world.outputs("sends")[0]["attempts"]] == [1]
    await process.stop()


def zombie_row(world: World, epoch: int, flow_id: str = "z" * 36) -> tuple[bytes, bytes]:
    """A row that a former owner still had on its way."""
    facts = Facts(flow_id, bytes(16), "z", "order", ("order",), "order", "v", None, None, None, LANE.topic, LANE.partition, 99, 0, 0)
    return rows.flow_row(Flow(facts, state=State.EXPIRED), epoch, 7)


def append(world: World, key: bytes, value: bytes) -> None:
    """Into the journal, by somebody else."""
    log = world.journal_logs[LANE]
    log.append(Entry(len(log), key, value, 0))


async def test_a_zombies_row_in_between_is_read_and_passed_over(world: World) -> None:
    """A gap without a CLAIM: the row behind it is valid, and the lane goes on."""
    first = await Process(world).start()
    await first.kill()
    second = await Process(world).start()
    append(world, *zombie_row(world, 0))
    await second.put(world.record(), seconds=3)
    assert len(world.provider.posts) == 1
    assert (second.value("gaps_read_total"), second.value("fenced_total")) == (1, 0)
    await second.stop()


@pytest.mark.parametrize("hole", [False, True])
async def test_a_claim_or_a_hole_in_between_fences(world: World, hole: bool) -> None:
    """Somebody claimed, or may have: nothing is sent on this epoch any more; then the lane is claimed anew."""
    process = await Process(world).start()
    append(world, *rows.claim_row("somebody", "else", 0))
    if hole:
        world.journal_logs[LANE][-1] = None
    await process.put(world.record("code"), seconds=0.2)
    assert world.provider.posts == []
    assert process.value("fenced_total") == 1
    await world.clock.advance(60)
    assert len(world.provider.posts) == 1
    await process.stop()


async def test_a_gap_that_cannot_be_read_drops_the_lane(world: World) -> None:
    """Not knowing is like being fenced."""
    first = await Process(world).start()
    await first.kill()
    second = await Process(world).start()
    append(world, *zombie_row(world, 0))
    second.journal.unavailable = True
    await second.put(world.record(), seconds=0.2)
    assert world.provider.posts == []
    assert second.value("lane_drops_total", reason="gap_unread") == 1
    second.journal.unavailable = False
    await world.clock.advance(200)
    assert len(world.provider.posts) == 1
    await second.stop()


async def test_void_rows_are_counted_and_covered(world: World) -> None:
    """A zombie's outcome that landed behind a CLAIM is a fact, and gets a row of the new epoch."""
    first = await Process(world).start()
    await first.kill()
    append(world, *rows.claim_row("second", "host", 0))
    append(world, *zombie_row(world, 0))
    third = await Process(world).start()
    assert (third.value("void_rows_total"), third.value("adopted_flows_total")) == (1, 1)
    await third.stop()


# --------------------------------------------------------------------------------------------------------------- storms


class Storm:
    """A world in which anything may happen, and what must hold when it is over. ``zombies``: a worker may be replaced and wake later."""

    def __init__(self, world: World, seed: int, *, zombies: bool = False) -> None:
        self.world = world
        self.chance = random.Random(seed)  # noqa: S311 - a test's
        self.zombies = zombies
        self.zombie: Process | None = None
        self.policy = replace(Policy(), otp_label_visible=True)
        self.process = Process(world, self.policy)

    async def blow(self, steps: int) -> None:
        """So many blows."""
        await self.process.start()
        events = [self.event] * 3 + [self.call_back] * 2
        acts = [*events, self.rows, self.outputs, self.slowness, self.crash, self.compact]
        if self.zombies:
            acts += [self.rival]
        for _ in range(steps):
            await self.chance.choice(acts)()
            await self.world.clock.advance(self.chance.choice([0.0, 0.01, 0.06, 0.3, 2.0, 12.0]))

    async def event(self) -> None:
        """New input, with any answers."""
        world, chance = self.world, self.chance
        if world.records and chance.random() < 0.1:
            earlier = chance.choice(world.records)
            self.process.source.put(world.put(earlier.value, "a"))
            return
        type_ = chance.choice(["code", "order", "sale"])
        record = world.record(type_, key=chance.choice(["a", "b", None]))
        answers: list[Answer] = [
            world.provider.lose_reply,
            NotSent("dns"),
            Rejected(400, "x"),
            Refused(RefusalKind.THROTTLED, 429, "x", chance.choice([100, 9000])),
            Doubt("http_500", 500),
        ]
        world.answer(record, type_, *chance.sample(answers, chance.choice([0, 0, 1, 2])))
        self.process.source.put(record)

    async def call_back(self) -> None:
        """News of any flow that Routee took."""
        world, chance = self.world, self.chance
        if not world.records:
            return
        record = chance.choice(world.records)
        rule = orjson.loads(record.value or b"")["type"]
        for tracking_id in world.provider.accepted[world.flow_id(record, rule)]:
            status = chance.choice([IN_PROGRESS, FlowStatus.FAILED, SUCCEEDED])
            self.process.call_back(record, rule, report(tracking_id, status))

    async def rows(self) -> None:
        """Rows stay on their way, come through, or are lost."""
        journal = self.process.journal
        journal.held = not journal.held
        if not journal.held:
            journal.land(self.chance.randint(0, 5))
            if self.chance.random() < 0.3:
                journal.lose(landed=self.chance.random() < 0.5)
            journal.land()

    async def outputs(self) -> None:
        """The same with outputs, per topic."""
        outbox = self.process.outbox
        if outbox.held_topics:
            outbox.held_topics = set()
            if self.chance.random() < 0.3:
                outbox.lose(landed=self.chance.random() < 0.5)
            outbox.land()
        else:
            outbox.held_topics = self.chance.choice(TOPICS)

    async def slowness(self) -> None:
        """Routee reads requests and keeps its answers back, or gives them."""
        answering = self.world.provider.answering
        (answering.clear if answering.is_set() else answering.set)()

    async def crash(self) -> None:
        """kill -9, or SIGTERM; then a new worker."""
        if self.chance.random() < 0.5:
            return
        await self._kill(self.process)
        self.process = await Process(self.world, self.policy).start()

    async def _kill(self, process: Process) -> None:
        """What it had on its way lands or not; what it was sending is taken by Routee or not."""
        provider = self.world.provider
        await process.kill(rows_land=self.chance.random() < 0.5, outputs_land=self.chance.random() < 0.5)
        for request in provider.cut:
            if self.chance.random() < 0.5:
                provider.accept(request)
        provider.cut.clear()

    async def rival(self) -> None:
        """A worker is taken for dead and replaced; what it had on its way lands later, it wakes, and is gone for good."""
        if self.zombie is None:
            self.zombie, self.process = self.process, Process(self.world, self.policy)
            self.zombie.journal.held = self.zombie.outbox.held = True
            await self.process.start()
            return
        zombie, self.zombie = self.zombie, None
        zombie.journal.held = zombie.outbox.held = False
        zombie.journal.land()
        zombie.outbox.land()
        await self.world.clock.advance(self.chance.choice([0.0, 0.05, 0.5]))
        await self._kill(zombie)

    async def compact(self) -> None:
        """Superseded rows disappear, or some of them."""
        log = self.world.journal_logs[LANE]
        last = {entry.key: entry.offset for entry in log if entry is not None}
        for entry in [entry for entry in log if entry is not None and last[entry.key] > entry.offset]:
            if self.chance.random() < 0.7:
                log[entry.offset] = None

    async def calm(self) -> None:
        """Everything comes through, and everything has time."""
        self.world.provider.answering.set()
        if self.zombie is not None:
            await self.rival()
        self.process.journal.held = False
        self.process.journal.land()
        self.process.outbox.held_topics = set()
        self.process.outbox.land()
        for _ in range(100):
            await self.world.clock.advance(4)


def assert_kept(storm: Storm) -> None:
    """The promise: no event lost, no person messaged twice, every flow has its end, and everything is committed."""
    world = storm.world
    taken = {flow: ids for flow, ids in world.provider.accepted.items() if ids}
    assert all(len(ids) == 1 for ids in taken.values()), "a person was messaged twice"
    assert_complete(world, zombies=storm.zombies)
    decided = {event["flow_id"] for event in world.outputs("sends")}
    assert decided == {world.flow_id(record, orjson.loads(record.value or b"")["type"]) for record in world.records}
    accepted = {event["flow_id"] for event in world.outputs("sends") if event["outcome"] == "ACCEPTED"}
    assert accepted == taken.keys()
    assert world.committed[LANE] == len(world.records)


@pytest.mark.parametrize("seed", range(20))
async def test_after_any_storm_every_promise_holds(world: World, seed: int) -> None:
    """One worker at a time: rows, outputs and processes come and go in any way."""
    storm = Storm(world, seed)
    await storm.blow(60)
    await storm.calm()
    assert_kept(storm)
    await storm.process.stop()


@pytest.mark.parametrize("seed", range(20))
async def test_zombies_break_no_promise(world: World, seed: int) -> None:
    """Two workers that both believe in the lane, one of them asleep for a while."""
    storm = Storm(world, seed, zombies=True)
    await storm.blow(60)
    await storm.calm()
    assert_kept(storm)
    await storm.process.stop()
