"""Who may POST when: rate, permits, priority, breakers; alone and in a lane."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from connector.core.model import Doubt, MessageClass, NotSent, RefusalKind, Refused, Rejected
from connector.metrics import Metrics
from connector.ports import Unanswered
from connector.services import breakers
from connector.services.parts import Policy
from connector.services.retries import retry_after
from connector.services.throttle import Breaker, Throttle
from tests.fakes import FakeClock
from tests.fakes.clock import settle
from tests.service.world import LANE, Process, World

OTP, ORDER, SALE = MessageClass.OTP, MessageClass.TRANSACTIONAL, MessageClass.MARKETING
UNAUTHORIZED = Refused(RefusalKind.AUTH, 401, "invalid_token")
EMPTY = Refused(RefusalKind.BALANCE, 400, "400001009")
BROKEN = Refused(RefusalKind.SERVER, 200, "STATUS_CODE_0")


class Gate:
    """A throttle that is running, and who got through it, in order."""

    def __init__(self, rate: float = 1000.0, limit: int = 100, share: float = 1.0) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.throttle = Throttle(self.clock, self.metrics, rate, limit, 0.1, 5.0)
        self.throttle.set_share(share)
        self.passed: list[MessageClass] = []
        self.expired: list[MessageClass] = []
        self.tasks: list[asyncio.Task[None]] = [asyncio.ensure_future(self.throttle.run())]

    def queue(self, *classes: MessageClass, within_s: float = 3600.0) -> None:
        """These want to POST."""
        until_ms = self.clock.now_ms() + int(within_s * 1000)
        self.tasks += [asyncio.ensure_future(self._enter(one, until_ms)) for one in classes]

    async def _enter(self, message_class: MessageClass, until_ms: int) -> None:
        entered = await self.throttle.enter(message_class, until_ms)
        (self.passed if entered else self.expired).append(message_class)

    async def fail(self, count: int, *, bad: bool = True) -> None:
        """So many POSTs end."""
        for _ in range(count):
            self.throttle.record(bad=bad)
        await settle()

    async def close(self) -> None:
        """The process ends."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


# ---------------------------------------------------------------------------------------------------------------- alone


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
async def test_the_rate_is_shared_and_starts_empty(share: float) -> None:
    """In t seconds at most share · rate · t permits and one burst of a tenth of a second; and not much less."""
    gate = Gate(rate=100.0, share=share, limit=10_000)
    gate.queue(*[SALE] * 500)
    await settle()
    assert gate.passed == []
    for second in (1, 2, 3):
        await gate.clock.advance(1.0)
        assert 0.9 * 100 * share * second <= len(gate.passed) <= 100 * share * second + 1
    await gate.close()


async def test_idle_time_is_not_saved_up() -> None:
    """After an hour without sends a burst is a tenth of a second's worth."""
    gate = Gate(rate=100.0)
    await gate.clock.advance(3600)
    gate.queue(*[SALE] * 50)
    await settle()
    assert len(gate.passed) == 10
    await gate.close()


async def test_a_new_share_empties_the_bucket() -> None:
    """Two owners that follow each other never add up to more than the rate."""
    gate = Gate(rate=100.0)
    await gate.clock.advance(10)
    gate.throttle.set_share(0.5)
    gate.queue(*[SALE] * 20)
    await settle()
    assert gate.passed == []
    await gate.close()


async def test_without_a_share_nobody_passes() -> None:
    """A process without lanes sends nothing."""
    gate = Gate(share=0.0)
    gate.queue(OTP)
    await gate.clock.advance(60)
    assert gate.passed == []
    await gate.close()


async def test_the_more_urgent_class_passes_first() -> None:
    """Whatever waits longer: otp before transactional before marketing; within a class the first come."""
    gate = Gate(rate=1.0)
    gate.queue(SALE, ORDER, SALE, OTP, ORDER)
    await gate.clock.advance(6)
    assert gate.passed == [OTP, ORDER, ORDER, SALE, SALE]
    await gate.close()


async def test_no_more_posts_than_permits() -> None:
    """At most ``max_in_flight`` at once; each that ends lets one in at once."""
    gate = Gate(limit=2)
    await gate.clock.advance(1)
    gate.queue(*[ORDER] * 5)
    await gate.clock.advance(1)
    assert len(gate.passed) == 2
    gate.throttle.leave()
    await settle()
    assert len(gate.passed) == 3
    await gate.close()


async def test_nobody_waits_beyond_the_expiry() -> None:
    """An event that expires while it waits is told so, whatever is open, and takes no permit."""
    gate = Gate(limit=1)
    await gate.clock.advance(1)
    gate.throttle.open(Breaker.AUTH)
    gate.queue(OTP, within_s=5)
    gate.queue(ORDER, within_s=60)
    await gate.clock.advance(6)
    assert (gate.passed, gate.expired) == ([], [OTP])
    gate.throttle.close(Breaker.AUTH)
    await gate.clock.advance(1)
    assert gate.passed == [ORDER]
    await gate.close()


async def test_a_permit_that_nobody_takes_comes_back() -> None:
    """Whoever is cancelled in the moment of its turn leaves the permit to the next."""
    gate = Gate(limit=1)
    gate.queue(ORDER)
    await gate.clock.advance(1)
    waiting = asyncio.ensure_future(gate.throttle.enter(ORDER, gate.clock.now_ms() + 9000))
    await settle()
    gate.throttle.leave()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.queue(ORDER)
    await gate.clock.advance(1)
    assert gate.passed == [ORDER, ORDER]
    await gate.close()


async def test_one_that_was_cancelled_in_the_queue_is_passed_over() -> None:
    """Its place costs no permit and no token."""
    gate = Gate(limit=1)
    gate.throttle.open(Breaker.BALANCE)
    waiting = asyncio.ensure_future(gate.throttle.enter(OTP, gate.clock.now_ms() + 99_000))
    await settle()
    waiting.cancel()
    gate.queue(ORDER)
    await gate.clock.advance(1)
    gate.throttle.close(Breaker.BALANCE)
    await gate.clock.advance(1)
    assert gate.passed == [ORDER]
    await gate.close()


@pytest.mark.parametrize(("good", "bad", "opens"), [(0, 19, False), (0, 20, True), (10, 10, True), (11, 10, False)])
async def test_the_provider_breaker_opens_at_half_of_twenty(good: int, bad: int, opens: bool) -> None:
    """At least 20 answers in 10 s, at least half of them doubts."""
    gate = Gate()
    await gate.fail(good, bad=False)
    await gate.fail(bad)
    assert gate.throttle.is_open(Breaker.PROVIDER) is opens
    await gate.close()


async def test_old_failures_do_not_count() -> None:
    """Only the last ten seconds are looked at."""
    gate = Gate()
    await gate.fail(19)
    await gate.clock.advance(10.1)
    await gate.fail(19)
    assert not gate.throttle.is_open(Breaker.PROVIDER)
    await gate.close()


async def test_the_probe_is_one_of_the_lowest_class() -> None:
    """After the pause one waiting flow goes: never an otp while another waits; its good answer lets all go."""
    gate = Gate()
    await gate.fail(20)
    gate.queue(OTP, ORDER, SALE, SALE)
    await gate.clock.advance(4.9)
    assert gate.passed == []
    await gate.clock.advance(1)
    assert gate.passed == [SALE]
    gate.throttle.record(bad=False)
    gate.throttle.leave()
    await gate.clock.advance(1)
    assert gate.passed == [SALE, OTP, ORDER, SALE]
    await gate.close()


async def test_a_bad_probe_opens_the_breaker_again() -> None:
    """One probe per pause."""
    gate = Gate()
    await gate.fail(20)
    gate.queue(ORDER, ORDER, ORDER)
    await gate.clock.advance(6)
    gate.throttle.record(bad=True)
    gate.throttle.leave()
    await gate.clock.advance(4)
    assert len(gate.passed) == 1
    await gate.clock.advance(2)
    assert len(gate.passed) == 2
    await gate.close()


async def test_a_probe_without_an_answer_is_followed_by_another() -> None:
    """A probe whose connection was refused proves nothing and must not block the breaker for ever."""
    gate = Gate()
    await gate.fail(20)
    gate.queue(ORDER, ORDER)
    await gate.clock.advance(6)
    gate.throttle.leave()  # no ``record``: no byte was written
    await gate.clock.advance(6)
    assert len(gate.passed) == 2
    await gate.close()


async def test_another_open_breaker_forbids_the_probe() -> None:
    """With a refused token nothing is sent, not even a probe of the provider."""
    gate = Gate()
    await gate.fail(20)
    gate.throttle.open(Breaker.AUTH)
    gate.queue(ORDER)
    await gate.clock.advance(60)
    assert gate.passed == []
    await gate.close()


async def test_polls_take_a_tenth_and_only_when_nobody_waits() -> None:
    """``polling.max_share`` of the rate; whoever wants to send goes first."""
    gate = Gate(rate=100.0)
    gate.throttle.earn_polls(10_000)
    await gate.clock.advance(60)
    assert sum(gate.throttle.may_poll() for _ in range(100)) == 10
    await gate.clock.advance(0.5)
    assert sum(gate.throttle.may_poll() for _ in range(100)) == 5
    gate.throttle.open(Breaker.AUTH)
    gate.queue(ORDER)
    await gate.clock.advance(60)
    assert not gate.throttle.may_poll()
    await gate.close()


@pytest.mark.parametrize("breaker", [Breaker.BALANCE, Breaker.PROVIDER])
async def test_polls_go_on_while_sends_wait_for_a_breaker(breaker: Breaker) -> None:
    """Who waits for money needs no rate: what was sent before is followed meanwhile."""
    gate = Gate(rate=100.0)
    gate.throttle.earn_polls(10_000)
    gate.throttle.open(breaker)
    gate.queue(ORDER)
    await gate.clock.advance(2)
    assert sum(gate.throttle.may_poll() for _ in range(100)) == 10
    await gate.close()


async def test_a_long_backlog_leaves_a_few_polls() -> None:
    """Sends wait for an hour: what a quiet process may ask is asked all the same, and no more."""
    gate = Gate(rate=100.0, limit=1)
    gate.throttle.earn_polls(10_000)
    gate.queue(ORDER, ORDER)
    await gate.clock.advance(9)
    assert not gate.throttle.may_poll()
    allowed = 0
    for _ in range(600):
        await gate.clock.advance(1)
        allowed += gate.throttle.may_poll()
    assert 50 <= allowed <= 64
    await gate.close()


async def test_last_questions_cost_polls_only_for_a_while() -> None:
    """A whole outage's flows are asked about a last time, at half of the account's rate: a thousand sends later polls go on."""
    gate = Gate(rate=100.0)
    asked = 0
    for _ in range(721):
        await gate.clock.advance(1)
        within = sum(gate.throttle.may_poll(last=True) for _ in range(1000))
        assert within <= 50
        asked += within
    assert asked >= 36_000
    allowed = 0
    for _ in range(60):
        for _ in range(60):
            gate.throttle.earn_polls(gate.throttle.polls_per_send)
        await gate.clock.advance(1)
        allowed += gate.throttle.may_poll()
    assert allowed >= 40
    await gate.close()


async def test_many_429_halve_the_rate_and_it_comes_back() -> None:
    """However many at once, once in 2 s; what may be sent goes down with it, and within 20 s all of it is back."""
    gate = Gate(rate=160.0)

    def storm() -> float | None:
        for _ in range(20):
            gate.throttle.record(bad=False)
            gate.throttle.slow_down()
        return gate.metrics.registry.get_sample_value("failover_rate_limit")

    assert storm() == 80.0
    for _ in range(6):
        await gate.clock.advance(2)
        limit = storm()
    assert limit == pytest.approx(17, abs=1)
    gate.queue(*[ORDER] * 1000)
    await gate.clock.advance(2)
    assert 34 <= len(gate.passed) <= 60
    await gate.clock.advance(18)
    gate.throttle.tell()
    assert gate.metrics.registry.get_sample_value("failover_rate_limit") == 160.0
    await gate.close()


@pytest.mark.parametrize(("refused", "answers"), [(4, 0), (4, 100), (19, 100)])
async def test_few_429_are_those_of_single_messages(refused: int, answers: int) -> None:
    """Routee may refuse one recipient for its number: that slows nobody else."""
    gate = Gate(rate=160.0)
    for _ in range(answers):
        gate.throttle.record(bad=False)
    for _ in range(refused):
        gate.throttle.slow_down()
    assert gate.metrics.registry.get_sample_value("failover_rate_limit") == 160.0
    await gate.clock.advance(11)
    gate.throttle.slow_down()
    assert gate.metrics.registry.get_sample_value("failover_rate_limit") == 160.0, "the others are long ago"
    await gate.close()


async def test_the_breakers_stand_in_the_metrics() -> None:
    """0 closed, 1 probing, 2 open."""
    gate = Gate()
    states = []
    for _ in range(2):
        states.append(gate.metrics.registry.get_sample_value("failover_breaker_state", {"kind": "provider"}))
        await gate.fail(20)
    states.append(gate.metrics.registry.get_sample_value("failover_breaker_state", {"kind": "provider"}))
    gate.queue(ORDER)
    await gate.clock.advance(6)
    states.append(gate.metrics.registry.get_sample_value("failover_breaker_state", {"kind": "provider"}))
    assert states == [0, 2, 2, 1]
    await gate.close()


def test_a_provider_that_names_a_time_is_not_asked_before() -> None:
    """Retry-After is the least wait; a long one releases the key, and so does every breaker."""
    policy = Policy()
    short = retry_after(Refused(RefusalKind.THROTTLED, 429, "x", 3000), 1, policy, 0.0)
    long = retry_after(Refused(RefusalKind.THROTTLED, 429, "x", 6000), 1, policy, 0.0)
    assert (short.delay_ms, short.release, long.delay_ms, long.release) == (3000, False, 6000, True)
    assert retry_after(EMPTY, 1, policy, 0.0).release
    assert retry_after(NotSent("dns"), 1, policy, 0.0).release is False
    assert retry_after(NotSent("dns"), 20, policy, 0.5).release is True


# -------------------------------------------------------------------------------------------------------------- in a lane


async def test_the_first_401_is_answered_with_a_new_token_at_once(world: World) -> None:
    """The token may be stale: n+1 follows without a pause, and nothing is open."""
    process = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", UNAUTHORIZED)
    await process.put(record, seconds=0.2)
    assert world.posts(flow) == [1, 2]
    assert not process.throttle.is_open(Breaker.AUTH)
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_the_second_401_parks_everything_and_loses_nothing(world: World) -> None:
    """The account is refused: nothing more is posted, nothing ends, nothing is dead-lettered; it all goes once that is over."""
    process = await Process(world).start()
    first, second = world.record(), world.record("code", key="other")
    flow = world.answer(first, "order", UNAUTHORIZED, UNAUTHORIZED)
    await process.put(first, seconds=0.5)
    await process.put(second, seconds=60)
    assert process.throttle.is_open(Breaker.AUTH)
    assert world.provider.posts == [f"{flow}.1", f"{flow}.2"]
    assert (world.outcomes(), world.dead_letters.letters) == ([], [])
    process.throttle.close(Breaker.AUTH)
    await world.clock.advance(2)
    assert world.posts(flow) == [1, 2, 3]
    assert world.outcomes() == [("ACCEPTED", None)] * 2
    assert world.committed[LANE] == 2
    await process.stop()


async def test_a_401_after_a_refused_connection_is_still_the_first(world: World) -> None:
    """What counts is whether the attempt before met 401, not how many tries there were."""
    process = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", NotSent("refused"), UNAUTHORIZED)
    await process.put(record, seconds=3)
    assert world.posts(flow) == [1, 1, 2]
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_an_empty_account_parks_and_then_goes_on(world: World) -> None:
    """Insufficient balance is no rejection: breaker open, the flow parked; refilled, it is sent as the next attempt."""
    process = await Process(world).start()
    record = world.record()
    flow = world.answer(record, "order", EMPTY)
    await process.put(record, seconds=60)
    assert process.throttle.is_open(Breaker.BALANCE)
    assert (world.posts(flow), world.outcomes()) == ([1], [])
    process.throttle.close(Breaker.BALANCE)
    await world.clock.advance(2)
    assert world.posts(flow) == [1, 2]
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_an_otp_server_error_is_tried_three_times(world: World) -> None:
    """200 Failed with statusCode 0: three attempts, then REJECTED."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", *[BROKEN] * 9)
    await process.put(record, seconds=60)
    assert world.posts(flow) == [1, 2, 3]
    assert world.outcomes() == [("REJECTED", "STATUS_CODE_0")]
    await process.stop()


async def test_two_otp_server_errors_are_survived(world: World) -> None:
    """The third attempt may be accepted."""
    process = await Process(world).start()
    record = world.record("code")
    flow = world.answer(record, "code", BROKEN, BROKEN)
    await process.put(record, seconds=60)
    assert world.posts(flow) == [1, 2, 3]
    assert world.outcomes() == [("ACCEPTED", None)]
    await process.stop()


async def test_what_expires_behind_a_breaker_ends_as_expired(world: World) -> None:
    """A code that waited longer than it is good for is not sent, and its offset is committed."""
    process = await Process(world).start()
    process.throttle.open(Breaker.BALANCE)
    await process.put(world.record("code", expires_s=20), seconds=25)
    assert world.outcomes() == [("EXPIRED", "expired")]
    assert world.provider.posts == []
    assert world.committed[LANE] == 1
    await process.stop()


async def test_a_code_that_waits_is_superseded_by_a_newer_one(world: World) -> None:
    """Behind a breaker the gates are asked again: only the newest code goes out, and the other's permit comes back."""
    process = await Process(world, in_flight=1).start()
    process.throttle.open(Breaker.BALANCE)
    await process.put(world.record("code", key="a"), seconds=1)
    newer = world.record("code", key="b")
    await process.put(newer, seconds=1)
    process.throttle.close(Breaker.BALANCE)
    await world.clock.advance(1)
    assert world.provider.posts == [f"{world.flow_id(newer, 'code')}.1"]
    assert sorted(world.outcomes(), key=str) == [("ACCEPTED", None), ("SUPPRESSED", "superseded")]
    await process.stop()


async def test_codes_overtake_a_campaign(world: World) -> None:
    """With the rate used up the otp that comes last goes first."""
    process = await Process(world, rate=2.0).start()
    sales = [world.record("sale", key=f"s{n}") for n in range(10)]
    code = world.record("code", key="c")
    await process.put(*sales, code, seconds=2)
    assert f"{world.flow_id(code, 'code')}.1" in world.provider.posts[:2]
    await world.clock.advance(10)
    assert len(world.provider.posts) == 11
    await process.stop()


async def test_a_lane_keeps_the_rate(world: World) -> None:
    """In no second more than the rate and one burst."""
    process = await Process(world, rate=10.0).start()
    await process.put(*[world.record("sale", key=str(n)) for n in range(60)], seconds=10)
    times = world.provider.times
    assert len(times) == 60
    assert max(sum(start <= other < start + 1.0 for other in times) for start in times) <= 11
    await process.stop()


async def test_a_provider_that_breaks_down_is_probed(world: World) -> None:
    """Twenty doubts open the breaker; then one POST per pause until one is answered, and all is sent."""
    process = await Process(world, replace(Policy(), breaker_probe_s=5.0)).start()
    records = [world.record("sale", key=str(n)) for n in range(30)]
    for record in records[:20]:
        world.answer(record, "sale", Doubt("timeout"))
    await process.put(*records[:20], seconds=1)
    assert process.throttle.is_open(Breaker.PROVIDER)
    world.answer(records[20], "sale", NotSent("refused"))
    world.answer(records[21], "sale", Rejected(400, "x"))
    await process.put(*records[20:], seconds=4)
    assert len(world.provider.posts) == 20
    await world.clock.advance(20)
    assert not process.throttle.is_open(Breaker.PROVIDER)
    assert len(world.provider.posts) == 31
    await process.stop()


# ------------------------------------------------------------------------------------------- breakers that cannot be asked about


class Answers:
    """A probe that always says the same."""

    def __init__(self, *, balance: bool | Unanswered = True, auth: bool | Unanswered = True) -> None:
        self._balance, self._auth = balance, auth

    async def balance(self) -> bool | Unanswered:
        """See ``Probe``."""
        return self._balance

    async def auth_probe(self) -> bool | Unanswered:
        """See ``Probe``."""
        return self._auth


@pytest.mark.parametrize(
    ("probe", "refusal"),
    [
        (Answers(balance=Unanswered("http_403", 403)), EMPTY),  # the application may not ask
        (Answers(balance=Unanswered("not_found", 404)), EMPTY),
        (Answers(balance=Unanswered("unparsable", 200)), EMPTY),
        (Answers(balance=False), EMPTY),  # paid afterwards: below zero, within its credit
        (Answers(auth=Unanswered("http_403", 403)), UNAUTHORIZED),  # the application may send, not track
    ],
)
async def test_a_breaker_whose_question_has_no_yes_is_probed_by_a_message(world: World, probe: Answers, refusal: Refused) -> None:
    """Else one refusal would stop all until a restart: after two minutes one waiting flow goes, no code while another waits."""
    process = await Process(world).start()
    asking = asyncio.ensure_future(breakers.watch(process.throttle, probe, world.clock, 5.0))
    order = world.record("order")
    refusals = [refusal] * (2 if refusal is UNAUTHORIZED else 1)
    flow = world.answer(order, "order", *refusals)
    await process.put(order, seconds=60)
    codes = [world.record("code", key=f"c{number}") for number in range(3)]
    await process.put(*codes, seconds=50)
    assert world.posts(flow) == [*range(1, len(refusals) + 1)]
    assert len(world.provider.posts) == len(refusals)
    await world.clock.advance(30)
    assert world.outcomes() == [("ACCEPTED", None)] * 4
    assert world.posts(flow) == [*range(1, len(refusals) + 2)]
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await process.stop()


@pytest.mark.parametrize("refusal", [EMPTY, UNAUTHORIZED])
async def test_a_refused_probe_opens_the_breaker_again_at_once(world: World, refusal: Refused) -> None:
    """Nobody else goes meanwhile, however many wait."""
    process = await Process(world).start()
    orders = [world.record("order", key=str(number)) for number in range(30)]
    for order in orders:
        world.answer(order, "order", *[refusal] * 1000)
    await process.put(orders[0], seconds=5)
    before = len(world.provider.posts)
    await process.put(*orders[1:], seconds=115)
    assert len(world.provider.posts) == before
    await world.clock.advance(480)
    assert 2 <= len(world.provider.posts) - before <= 5
    assert process.throttle.is_open(Breaker.AUTH if refusal is UNAUTHORIZED else Breaker.BALANCE)
    await process.stop()


@pytest.mark.parametrize("status", [401, 403, 400])
async def test_refused_credentials_open_the_breaker_whatever_the_status(world: World, status: int) -> None:
    """RFC 6749 answers them with 400 or 401. Nothing was posted: no attempt follows the other at full speed."""
    process = await Process(world, rate=100.0).start()
    record = world.record("code")
    flow = world.answer(record, "code", *[Refused(RefusalKind.AUTH, status, "TOKEN_REFUSED")] * 1000)
    await process.put(record, seconds=20)
    assert len(world.posts(flow)) <= 6
    assert process.throttle.is_open(Breaker.AUTH)
    await process.stop()


async def test_who_was_cancelled_waits_no_more() -> None:
    """Lanes that are dropped and claimed again and again while a breaker is open leave nothing behind."""
    gate = Gate()
    gate.throttle.open(Breaker.AUTH)
    gate.queue(OTP)  # some code always waits in front
    await settle()
    for _ in range(20):
        tasks = [asyncio.ensure_future(gate.throttle.enter(SALE, 1 << 60)) for _ in range(100)]
        await settle()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await gate.clock.advance(5)
    assert len(gate.throttle._waiting) == 1
    await gate.close()
