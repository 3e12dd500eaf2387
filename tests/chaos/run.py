"""One run: start everything, feed and strike, heal, wait for the end of every flow, stop, and judge."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Message

from connector.adapters.kafka_client import callbacks_topic, journal_topic
from tests.acceptance.crew import PARTITIONS
from tests.chaos import gather
from tests.chaos.feed import Feed
from tests.chaos.fleet import LAG_S, LEASE_S, TIMEOUT_S, Fleet
from tests.chaos.report import Report
from tests.chaos.schedule import schedule
from tests.chaos.story import LONGEST_CODE_MS
from tests.chaos.strike import Striker
from tests.chaos.tail import OFFSETS_TOPIC, Tail
from tests.kafka import SETTINGS, Broker
from tests.proof.checker import Problem, check
from tests.proof.facts import Facts

_TICK_S: Final = 0.05
_TOLD_EVERY_S: Final = 10.0
_STUCK_S: Final = 60.0
_DRAIN_S: Final = 900.0
_QUIET_S: Final = 150.0  # longer than any flow may be silent
_BACKLOG_S: Final = 25.0
_LEAST_BACKLOG: Final = 1000
_START_S: Final = 60.0
_FORGIVING_MS: Final = 2000.0  # how late a busy simulator may note what reached it in time
_DROPPED: Final = re.compile(rb'"event":"lane_dropped".*?"reason":"(\w+)"|"reason":"(\w+)".*?"event":"lane_dropped"')


class Run:
    """One run on a broker of its own. ``execute`` gives the report; everything started is taken down, whatever happens."""

    def __init__(self, broker: Broker, folder: Path, report: Report) -> None:
        self.report = report
        self.fleet = Fleet(broker, folder, report.workers)
        self._feeding = True
        name = self.fleet.name
        self._tail = Tail(broker.bootstrap_servers, name, self.fleet.input, journal_topic(name, self.fleet.input))
        self._feed = Feed(broker.bootstrap_servers, self.fleet.input, report.seed, report.rate, self._wanted)
        self._striker = Striker(self.fleet, self._tail)
        self._begun = time.monotonic()
        self._told_at = 0.0
        self._lagging_since: dict[int, float] = {}

    def execute(self) -> Report:
        """From the first process to the verdict."""
        with self._everything() as offset:
            self._feed.start()
            self._rage()
            self._feeding = False
            self._drain()
            self.report.cpu_s = self.fleet.cpu_s()
            self.fleet.stop_all()
            self.fleet.stop_simulator()
            self._tail.close()
            self.report.skew_ms = 2.0 + abs(_clock_offset() - offset) * 1000
            self._judge()
        return self.report

    @contextmanager
    def _everything(self) -> Iterator[float]:
        """The clock's offset when the simulator was started: its ledger goes on with that."""
        with ExitStack() as stack:
            stack.callback(self._end_feed)
            stack.callback(self._tail.close)
            offset = _clock_offset()
            stack.enter_context(self.fleet)
            for number in range(1, self.fleet.size + 1):
                self.fleet.revive(number)
            self._await_journal()
            yield offset

    def _end_feed(self) -> None:
        self._feeding = False

    def _await_journal(self) -> None:
        """The first worker creates the topics; the tail begins when there is a commit to be followed."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            topics = self.fleet.topics()
            if OFFSETS_TOPIC in topics and journal_topic(self.fleet.name, self.fleet.input) in topics:
                self._tail.begin(PARTITIONS, int(SETTINGS["offsets.topic.num.partitions"]))
                return
            time.sleep(0.5)
        raise TimeoutError("no worker has made the journal")

    # ---------------------------------------------------------------------------------------------------------------- the storm

    def _rage(self) -> None:
        """Strike by the schedule; rest when a lane stands still, and see whether it recovers."""
        begun = self._begun = time.monotonic()
        seconds = self.report.minutes * 60
        for fault in schedule(self.report.seed, seconds, self.report.workers) if self.report.faults else ():
            self._wait(begun + fault.at_s)
            if self._stuck() and not self._truce():
                return
            if time.monotonic() - begun > seconds:
                break
            self._striker.strike(fault)
        self._wait(begun + seconds)

    def _wait(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self._tick()
            time.sleep(min(_TICK_S, left))

    def _tick(self) -> None:
        self._striker.tick()
        now = time.monotonic()
        for lane, end in list(self._feed.ends.items()):
            if self._tail.committed[lane] >= end:
                self._lagging_since.pop(lane, None)
            else:
                self._lagging_since.setdefault(lane, now)
        if now - self._told_at > _TOLD_EVERY_S:
            self._told_at = now
            self._tell()
        for trouble in (self._feed.trouble, self._tail.trouble):
            if trouble is not None:
                raise trouble

    def _wanted(self) -> bool | None:
        """More events? Not while the workers are far behind: an overload is no fault, and its backlog would outlast the run."""
        return self._lag() < max(_LEAST_BACKLOG, _BACKLOG_S * self.report.rate) if self._feeding else None

    def _lag(self) -> int:
        return sum(end - self._tail.committed[lane] for lane, end in self._feed.ends.items())

    def _stuck(self) -> list[int]:
        """Lanes with work that for a minute have neither written a flow's row nor moved their commit."""
        now = time.monotonic()
        return [lane for lane, since in self._lagging_since.items() if now - max(since, self._tail.moved_at.get(lane, 0.0)) > _STUCK_S]

    def _truce(self) -> bool:
        """No faults until every lane moves again. False: one does not, which is what must never be."""
        self.report.truces += 1
        self._say(f"lanes {self._stuck()} stand still: the faults rest")
        self._striker.heal()
        deadline = time.monotonic() + _STUCK_S
        while self._stuck():
            if time.monotonic() > deadline:
                self.report.add("hang", f"lanes {self._stuck()} have work and did not move for {_STUCK_S:.0f} s without any fault")
                self.fleet.dump_stacks()
                return False
            self._wait(time.monotonic() + 1)
        return True

    # ------------------------------------------------------------------------------------------------------------------ the calm

    def _drain(self) -> None:
        """Until everything is committed and no flow is open any more."""
        self._striker.heal()
        begun = time.monotonic()
        still = 0
        while still < 3:
            self._wait(time.monotonic() + 1)
            still = still + 1 if not self._feed.is_alive() and self._lag() == 0 and self._tail.open_flows == 0 else 0
            if self._stuck() and not self._truce():
                break
            now = time.monotonic()
            if now - begun > _DRAIN_S or now - max(begun, *self._tail.moved_at.values()) > _QUIET_S:
                left = f"{self._lag()} records behind and {self._tail.open_flows} flows open"
                self.report.add("hang", f"{left} {now - begun:.0f} s after the last fault")
                self.fleet.dump_stacks()
                break
        self.report.drain_s = round(time.monotonic() - begun, 1)

    def _tell(self) -> None:
        self.report.most_lag = max(self.report.most_lag, self._lag())
        deeds = self.fleet.deeds
        self._say(
            f"{len(self._feed.produced_ms)} events, lag {self._lag()}, {self._tail.open_flows} flows open, {len(self._tail.rows)} rows, "
            f"{deeds['kills']} kills, {deeds['freezes']} freezes, {deeds['broker_kills']} broker kills, "
            f"{sum(self.fleet.is_up(number) for number in self.fleet.workers)} workers up"
        )

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._begun:7.1f} s  {text}\n")
        sys.stderr.flush()

    # --------------------------------------------------------------------------------------------------------------- the verdict

    def _judge(self) -> None:
        begun, report, name = time.monotonic(), self.report, self.fleet.name
        self._say("reading the ledger and the topics")
        ledger = gather.read_ledger(self.fleet.ledger)
        facts = Facts(
            events=tuple(gather.read_input(self._read(self.fleet.input), report.seed, self._feed.produced_ms)),
            posts=ledger.posts,
            sends=tuple(gather.read_sends(self._read(f"{name}.sends"))),
            statuses=tuple(gather.read_statuses(self._read(f"{name}.statuses"))),
            letters=tuple(gather.read_letters(self._read(f"{name}.dead-letters"))),
            rows=self._tail.rows,
            rows_whole=self._tail.holes == 0,
            commits=self._tail.commits,
            callbacks_stored=tuple(gather.read_callbacks(self._read(callbacks_topic(name, self.fleet.input)))),
            callbacks_acked=ledger.acked,
            skew=report.skew_ms,
            resend_wait=(TIMEOUT_S + LAG_S) * 1000,
            expiry_lead=LONGEST_CODE_MS,
            expiry_grace=(LEASE_S + TIMEOUT_S) * 1000 + _FORGIVING_MS,
        )
        verdict = check(facts)
        report.events, report.events_per_second = len(facts.events), round(len(facts.events) / (report.minutes * 60), 1)
        report.checked, report.skipped, report.figures = verdict.checked, verdict.skipped, verdict.figures
        report.problems += verdict.problems
        report.problems += [Problem("contract", f"{kind} × {count}") for kind, count in ledger.violations.items()]
        report.problems += [Problem("process", text) for text in self.fleet.trouble]
        report.deeds, report.requests = dict(self.fleet.deeds), dict(ledger.requests)
        report.drops = _drops(self.fleet.folder)
        report.check_s = round(time.monotonic() - begun, 1)

    def _read(self, topic: str) -> Iterator[Message]:
        return gather.read_topic(self.fleet.bootstrap_servers, topic)


def _clock_offset() -> float:
    return time.time() - time.monotonic()


def _drops(folder: Path) -> dict[str, int]:
    """Why lanes were dropped, out of the workers' logs."""
    reasons: Counter[str] = Counter()
    for log in folder.glob("worker-*.log"):
        with log.open("rb") as lines:
            for line in lines:
                if b"lane_dropped" in line and (found := _DROPPED.search(line)):
                    reasons[(found[1] or found[2]).decode()] += 1
    return dict(reasons)
