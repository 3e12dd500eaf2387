"""A code that comes too late is worth nothing: the ttl of an OTP never outlives the event (docs/how-it-works.md)."""

from __future__ import annotations

import orjson
import pytest

from connector.core.model import Doubt, Outcome, Record, Request
from tests.service.world import LANE, Process, World

SMS_CODE = """
rules:
  - name: code
    match: {type: code}
    send: standard
    class: otp
    steps: [{sms: {from: ACME, body: "Code {{ data.pin }}", ttl: 2m}}]
"""


class Posted:
    """Notes each request's ttl, and how long its event still had at the POST."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ttls: list[int] = []
        self.left_s: list[float] = []

    def expect(self, record: Record, rule: str) -> None:
        """Take the next POST of this flow."""
        expires_ms = int(orjson.loads(record.value or b"")["expires_at"])

        def take(request: Request) -> Outcome:
            self.ttls.append(orjson.loads(request.body)["flow"][0]["ttl"])
            self.left_s.append((expires_ms - self.world.clock.now_ms()) / 1000)
            return self.world.provider.accept(request)

        self.world.answer(record, rule, take)


@pytest.mark.parametrize(("type_", "expires_s", "ttl"), [("code", 20, 20), ("code", 100, 60), ("order", 20, 10)])
async def test_the_ttl_is_cut_for_codes_alone(world: World, type_: str, expires_s: int, ttl: int) -> None:
    """An OTP gets what is left of its time (seconds), at most what its rule says; other classes (minutes) are sent as written."""
    process, posted = await Process(world).start(), Posted(world)
    record = world.record(type_, expires_s=expires_s)
    posted.expect(record, type_)
    await process.put(record, seconds=2)
    assert posted.ttls == [pytest.approx(ttl, abs=1)]
    await process.stop()


async def test_waiting_for_a_permit_costs_ttl(world: World) -> None:
    """What is sent is fitted when it is sent, not when it was built."""
    process, posted = await Process(world, in_flight=1).start(), Posted(world)
    world.provider.answering.clear()
    await process.put(world.record("order", key="other"), seconds=1)
    record = world.record("code", expires_s=50)
    posted.expect(record, "code")
    await process.put(record, seconds=8)
    world.provider.answering.set()
    await world.clock.advance(2)
    [ttl], [left_s] = posted.ttls, posted.left_s
    assert left_s - 1.5 < ttl <= left_s < 43
    await process.stop()


async def test_too_late_for_the_shortest_ttl_is_expired(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Less than the API's minimum is left: EXPIRED, nothing sent, and no dead letter, since the event was good."""
    world = World(tmp_path_factory.mktemp("rules"), SMS_CODE)
    process = await Process(world).start()
    await process.put(world.record("code", expires_s=50), seconds=3)
    [event] = world.outputs("sends")
    assert (event["outcome"], event["reason"], event["attempts"]) == ("EXPIRED", "ttl_over", [])
    assert (world.provider.posts, world.dead_letters.letters, world.committed[LANE]) == ([], [], 1)
    await process.stop()


async def test_too_late_after_a_permit_gives_it_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The permit of a flow that expires while it waits for it goes to the next."""
    world = World(tmp_path_factory.mktemp("rules"), SMS_CODE)
    process = await Process(world, in_flight=1).start()
    world.provider.answering.clear()
    first, late, next_ = (world.record("code", key=str(n), expires_s=seconds) for n, seconds in enumerate((170, 65, 170)))
    await process.put(first, late, next_, seconds=8)
    world.provider.answering.set()
    await world.clock.advance(5)
    assert world.provider.posts == [f"{world.flow_id(record, 'code')}.1" for record in (first, next_)]
    assert world.outcomes().count(("EXPIRED", "ttl_over")) == 1
    await process.stop()


async def test_too_late_for_a_resend_is_unknown(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A flow that may have been sent cannot be called unsent."""
    world = World(tmp_path_factory.mktemp("rules"), SMS_CODE)
    process = await Process(world).start()
    record = world.record("code", expires_s=80)
    flow = world.answer(record, "code", Doubt("timeout"))
    await process.put(record, seconds=70)
    assert (world.posts(flow), world.outcomes()) == ([1], [("UNKNOWN", "ttl_over")])
    await process.stop()
