"""How fast a lane is claimed, and in how much memory: a real Kafka, rows of the real format, one core.

``python -m tests.bench.claim [--settled N] [--live N]`` (``make bench-claim``) writes N rows of ended flows (default 1,000,000) to one
journal, claims it, and prints rows/s beside a bare ``consume`` of the same rows in the same run, the peak of memory while claiming, and
the bytes that stay for each row; then how fast known events are recognised when the input is replayed. Then the same for N live flows
(default 100,000) up to the point where the input flows: all followed (accepted, their statuses awaited), all open (each must be adopted
as a doubt), and one open to nine followed. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import uvloop
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connector.adapters.kafka_client import PARTITION_EOF, KafkaOptions, journal_topic, reader_config
from connector.core import identity, rows
from connector.core.flow import Flow, Intended, Reported, advance
from connector.core.model import Accepted, Channel, FlowReport, FlowStatus, Origin, StepReport, StepStatus
from connector.core.rows import Checkpoint
from connector.ports import LaneId
from connector.services import planning
from connector.services.claim import Claimed, claim
from connector.services.keeper import Keeper
from connector.services.lane import Lane
from connector.services.parts import Parts
from connector.wiring import rest_collector
from tests import processes
from tests.kafka import Broker, JavaBroker, find
from tests.service import world
from tests.unit.flows import NOW, facts

LANE = LaneId("input", 0)
MB = 1_000_000


def flows(kind: str, count: int) -> Iterator[Flow]:
    """Flows as they stand in journals: ``ended`` with all outputs out, ``followed``, ``open`` after their intent, or ``mixed``."""
    if kind == "mixed":
        followed, open_ = flows("followed", count), flows("open", count)
        yield from (chosen[number % 10 == 0] for number, chosen in enumerate(zip(followed, open_, strict=True)))
        return
    flow = advance(Flow(facts(key_hash=bytes(16), recipient_hash=bytes(16), labelled=True)), Intended(), NOW)
    steps = (StepReport(1, Channel.VIBER, StepStatus.EXPIRED, "Expired"), StepReport(2, Channel.SMS, StepStatus.DELIVERED, "Delivered"))
    if kind != "open":
        flow = advance(flow, Accepted("7d9b2f6e-8f0b-4c9c-a9ab-5f0a1f1d9b10", 200, None), NOW + 300)
    if kind == "ended":
        flow = advance(flow, Reported(FlowReport(flow.tracking_id, FlowStatus.SUCCEEDED, 0, steps=steps), Origin.CALLBACK, 1), NOW + 9000)
    flow = flow.acked([number for number, _ in flow.pending])
    for number in range(count):
        event_id = f"order-{number:09d}"
        known = replace(
            flow.facts,
            event_id=event_id,
            flow_id=identity.flow_id(event_id, "order"),
            digest=identity.digest(event_id),
            source_offset=number,
        )
        yield replace(flow, facts=known)


def write(servers: str, group: str, kind: str, count: int) -> int:
    """A journal with so many flows of that kind, one epoch, a checkpoint over all that is not open; gives the bytes written."""
    admin = AdminClient({"bootstrap.servers": servers})
    name = journal_topic(group, LANE.topic)
    for future in admin.create_topics([NewTopic(one, 1, 1) for one in (name, name + ".warm")]).values():
        future.result(30)
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 20, "enable.idempotence": True, "queue.buffering.max.messages": 200_000}
    )
    size = 0

    def put(key: bytes, value: bytes) -> None:
        nonlocal size
        size += len(key) + len(value)
        while True:
            try:
                producer.produce(name, value, key, 0)
            except BufferError:
                producer.poll(0.1)
            else:
                return

    put(*rows.claim_row("first", "bench", NOW))
    for k, flow in enumerate(flows(kind, count), 1):
        put(*rows.flow_row(flow, 0, k))
    put(*rows.checkpoint_row(Checkpoint(0 if kind == "open" else count, {}, 0, count), 0, count + 1))  # an open flow is never covered
    producer.flush(60)
    return size


def bare(servers: str, group: str) -> None:
    """Read the whole journal and do nothing with the rows."""
    consumer = Consumer(reader_config(KafkaOptions(servers, group)))
    consumer.assign([TopicPartition(journal_topic(group, LANE.topic), 0, 0)])
    while not any(_is_end(message) for message in consumer.consume(10_000, 0.5)):
        pass
    consumer.close()


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == PARTITION_EOF


def resident(name: str) -> int:
    """Bytes: ``VmRSS`` now, or ``VmHWM``, the most since ``forget_peak``."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Let ``VmHWM`` begin anew."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


class Now:
    """Soon after the flows were sent."""

    def now_ms(self) -> int:
        """Wall clock."""
        return NOW + 10_000

    def boot(self) -> float:
        """Seconds."""
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        """Really."""
        await asyncio.sleep(seconds)


def parts(process: processes.Process, folder: Path) -> Parts:
    """A lane's parts: the journal is real, all else answers at once."""
    return replace(world.Process(world.World(folder)).parts, journal=process.journal, clock=Now())


class Meter:
    """Seconds on the clock, and of the processor (all threads of this process): the latter tells more on a busy machine."""

    def __init__(self) -> None:
        self.begun = time.perf_counter(), time.process_time()

    def per_second(self, count: int) -> str:
        """What has gone by since, and the rates that makes."""
        spent, worked = time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]
        return f"{spent:6.2f} s = {count / spent:>9,.0f}/s (of processor time: {worked:6.2f} s = {count / worked:>9,.0f}/s)"


async def settled(servers: str, group: str, folder: Path, count: int) -> None:
    """Claim a journal of ended flows, then meet some of their events again."""
    meter = Meter()
    bare(servers, group)
    say(f"         bare consume  {meter.per_second(count)}")
    async with processes.Process(KafkaOptions(servers, group)) as process:
        given = parts(process, folder)
        async with aclosing(process.pool.scan(journal_topic(group, LANE.topic), 0)) as scan:
            await anext(scan)  # what reading takes at the first time is not the claim's
        await warm(process)
        forget_peak()
        before = resident("VmRSS")
        meter = Meter()
        claimed = await claim(LANE, given)
        say(f"settled  claim         {meter.per_second(count)}")
        peak = resident("VmHWM") - before
        gc.collect()
        index = claimed.ledger.settled
        assert len(index) == count, "every row is an ended flow's"
        stays, all_told = index.size_bytes / count, (resident("VmRSS") - before) / count
        say(f"         memory        peak +{peak / MB:.0f} MB; stays {stays:.1f} bytes a row (process: {all_told:+.1f})")
        await replayed(process, given, claimed, count)


async def replayed(process: processes.Process, given: Parts, claimed: Claimed, count: int) -> None:
    """Known events in their order: rows read one by one, and as a lane reads them."""
    async with asyncio.TaskGroup() as tasks:
        lane = Lane(LANE, given, claimed, tasks)
        few, many = min(count // 2, 100), min(count // 2, 5000)
        meter = Meter()
        for number in range(few):
            assert await process.journal.between(LANE, number + 1, number + 1)
        say(f"replay   row by row    {meter.per_second(few)}")
        meter = Meter()
        for number in range(many):
            assert await planning.recall(lane, identity.digest(f"order-{number:09d}"), bool)
        say(f"         as a lane     {meter.per_second(many)}")


async def live(servers: str, group: str, folder: Path, kind: str, count: int) -> None:
    """Claim a journal of live flows, up to the point where the input is started."""
    async with processes.Process(KafkaOptions(servers, group)) as process:
        await warm(process)
        keeper = Keeper(LANE, parts(process, folder))
        before = resident("VmRSS")
        meter = Meter()
        running = asyncio.create_task(keeper.run())
        while keeper.state != "running":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)
        assert keeper.lane is not None
        assert len(keeper.lane.flows) == count
        say(f"{kind:<8} to the input  {meter.per_second(count)}; {(resident('VmRSS') - before) / count:,.0f} bytes a flow")
        keeper.drop()
        running.cancel()
        await asyncio.wait([running])


async def warm(process: processes.Process) -> None:
    """A process has its producer's id long before it is given a lane."""
    await process.producer.produce(journal_topic(process.settings.group_id, LANE.topic) + ".warm", 0, b"k", b"v")


def say(line: str) -> None:
    """One line of the result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def in_child(servers: str, group: str, folder: Path, kind: str, count: int) -> None:
    """Every measurement has a process of its own, on one core."""
    child = os.fork()
    if child == 0:
        rest_collector()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        uvloop.run(settled(servers, group, folder, count) if kind == "ended" else live(servers, group, folder, kind, count))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{kind}: failed")


def measure(broker: Broker, settled_rows: int, live_rows: int) -> None:
    """Write and claim each kind of journal."""
    cores = sorted(os.sched_getaffinity(0))
    if isinstance(broker, JavaBroker) and len(cores) > 1:
        for thread in Path(f"/proc/{broker.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), set(cores[1:]))
    say(f"broker: {broker.description}; claims on one core")
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in (("ended", settled_rows), ("followed", live_rows), ("mixed", live_rows), ("open", live_rows)):
            if count:
                group = f"bench-{kind}-{os.getpid()}"
                writer = os.fork()
                if writer == 0:
                    size = write(broker.bootstrap_servers, group, kind, count)
                    say(f"{kind:<8} {count:,} rows of {size / count:.0f} bytes")
                    os._exit(0)
                os.waitpid(writer, 0)
                in_child(broker.bootstrap_servers, group, Path(folder), kind, count)


def main() -> None:
    """Run all and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--settled", type=int, default=1_000_000)
    options.add_argument("--live", type=int, default=100_000)
    chosen = options.parse_args()
    broker = find()
    try:
        measure(broker, chosen.settled, chosen.live)
    finally:
        broker.close()


if __name__ == "__main__":
    main()
