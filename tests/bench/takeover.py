"""How long a lane rests when its owner goes: two workers on a real Kafka, settled rows in the journals, a steady stream of events.

``python -m tests.bench.takeover [--times N] [--settled N]`` (``make bench-takeover``) kills one worker with -9, N times (default 5), and
measures until the first POST of each lane that it had, as the simulator's ledger tells; then the same from the moment in which a worker
that got SIGTERM gives its lanes back, as its log tells. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer, TopicPartition

from connector.adapters.kafka_client import journal_topic
from connector.core import identity, rows
from connector.core.rows import Checkpoint
from connector.simulator import recipient_for
from tests.acceptance.crew import PARTITIONS, Crew
from tests.bench.claim import flows
from tests.kafka import Broker, find

EVERY_S = 0.05  # one event for each lane
PATIENCE_S = 60.0


class Team(Crew):
    """Two workers with the default session timeout."""

    def settings(self, admin_port: int, public_port: int) -> dict[str, Any]:
        """As in the acceptance tests, but for the session."""
        chosen = super().settings(admin_port, public_port)
        chosen["kafka"]["session_timeout"] = "10s"
        return chosen

    def lanes(self, number: int) -> dict[int, str]:
        """Partition → state of the worker's lanes; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[number][0]}/readyz", timeout=2) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as unready:
            told = json.load(unready)
        except OSError:
            return {}
        return {int(lane.rpartition("/")[2]): state for lane, state in told.get("lanes", {}).items()}

    def wait_shared(self) -> None:
        """Until each of both serves half of the lanes."""
        until(lambda: all(list(self.lanes(number).values()) == ["running"] * (PARTITIONS // 2) for number in (1, 2)), "no even share")

    def fill(self, settled: int) -> None:
        """Rows of ended flows into every journal, as an earlier owner left them. No worker may run."""
        name = journal_topic(self.name, self.input)
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
        for partition in range(PARTITIONS):
            with self._consumer(f"{self.name}-filler") as consumer:
                epoch = consumer.get_watermark_offsets(TopicPartition(name, partition), 20)[1]
            put = functools.partial(_put, producer, name, partition)
            put(*rows.claim_row(f"bench-{partition}", "bench", 0))
            count = settled // PARTITIONS
            for k, flow in enumerate(flows("ended", count), 1):  # of input long gone
                old = replace(flow, facts=replace(flow.facts, source_offset=-k))
                put(*rows.flow_row(old, epoch, k))
            put(*rows.checkpoint_row(Checkpoint(epoch + count, {}, None, 0), epoch, count + 1))
            producer.flush(60)


def _put(producer: Producer, topic: str, partition: int, key: bytes, value: bytes) -> None:
    producer.produce(topic, value, key, partition)


class Stream:
    """Events for every lane, one after the other, and the first POST of each lane since some moment."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._lane_of: dict[str, int] = {}
        self._made_at: dict[str, float] = {}
        self._read = 0  # bytes of the ledger
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        """While events are produced."""
        self._thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._thread.join()

    def _run(self) -> None:
        producer = Producer({"bootstrap.servers": self._team.bootstrap_servers, "linger.ms": 0})
        number = 0
        while not self._stopped.wait(EVERY_S):
            for lane in range(PARTITIONS):
                number += 1
                event_id = f"take-{number}"
                flow_id = identity.flow_id(event_id, "order-shipped")
                self._lane_of[flow_id], self._made_at[flow_id] = lane, time.time()
                phone = recipient_for("viber_ok", number)
                event = {"event_id": event_id, "type": "order.shipped", "recipient": {"phone": phone}, "data": {"order_id": str(number)}}
                producer.produce(self._team.input, orjson.dumps(event), phone.encode(), lane)
            producer.poll(0)
        producer.flush(20)

    def _new_lines(self) -> list[bytes]:
        """What the ledger has gained, whole lines only."""
        with self._team.ledger.open("rb") as ledger:
            ledger.seek(self._read)
            gained = ledger.read()
        gained = gained[: gained.rfind(b"\n") + 1]
        self._read += len(gained)
        return gained.splitlines()

    def first_posts(self, lanes: set[int], since: float) -> dict[int, float]:
        """Lane → seconds from ``since`` to the first POST of an event made after it. Raises TimeoutError."""
        found: dict[int, float] = {}

        def complete() -> bool:
            for line in self._new_lines():
                entry = orjson.loads(line)
                lane = self._lane_of.get(entry["flow_id"] or "")
                if entry["what"] == "send" and lane in lanes and lane not in found and self._made_at[entry["flow_id"]] > since:
                    found[lane] = entry["at"] - since
            return found.keys() == lanes

        until(complete, "a lane sent nothing")
        return found


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Poll. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def killed(team: Team, stream: Stream, number: int) -> list[float]:
    """Seconds from kill -9 to the first POST elsewhere, of each lane."""
    lanes = set(team.lanes(number))
    at = time.time()
    team.kill(number)
    return list(stream.first_posts(lanes, at).values())


def stopped(team: Team, stream: Stream, number: int) -> list[float]:
    """The same from the moment in which a stopping worker has given its lanes back."""
    lanes = set(team.lanes(number))
    team.stop(number)
    told = [json.loads(line) for line in (team.folder / f"worker-{number}.log").read_text().splitlines() if '"lanes_revoked"' in line]
    return list(stream.first_posts(lanes, datetime.fromisoformat(told[-1]["at"]).timestamp()).values())


def main() -> None:
    """Run both and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--times", type=int, default=5)
    options.add_argument("--settled", type=int, default=100_000)
    options.add_argument("--folder", type=Path, help="keep ledger and logs here")
    chosen = options.parse_args()
    broker = find()
    try:
        with (
            tempfile.TemporaryDirectory() as passing,
            Team(broker.bootstrap_servers, chosen.folder or Path(passing), time_scale=1.0) as team,
        ):
            team.start_worker(1)
            until(lambda: list(team.lanes(1).values()) == ["running"] * PARTITIONS, "not claimed")
            team.stop(1)
            team.fill(chosen.settled)
            for number in (1, 2):
                team.start_worker(number)
            team.wait_shared()
            stream = Stream(team)
            with stream.flowing():
                measure("kill -9", killed, team, stream, chosen.times)
                measure("SIGTERM", stopped, team, stream, chosen.times)
    finally:
        broker.close()


def _team(broker: Broker, folder: Path) -> Team:
    return Team(broker.bootstrap_servers, folder, time_scale=1.0)


def measure(name: str, take: Callable[[Team, Stream, int], list[float]], team: Team, stream: Stream, times: int) -> None:
    """Take a worker away so many times, each time another; print the slowest lane of each."""
    slowest, all_lanes = [], []
    for turn in range(times):
        number = turn % 2 + 1
        time.sleep(2)
        seconds = take(team, stream, number)
        slowest.append(max(seconds))
        all_lanes += seconds
        team.start_worker(number)
        team.wait_shared()
    told = ", ".join(f"{second:.1f}" for second in slowest)
    sys.stdout.write(
        f"{name}: first send elsewhere, slowest lane each time: {told} s; median of all lanes {statistics.median(all_lanes):.1f} s\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
