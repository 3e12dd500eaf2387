"""How well are flows followed when callbacks are not to be relied on, and for how few polls?

``python -m tests.bench.flows`` sends 100,000 flows through two workers (below 10,000 flows: one) on a real Kafka to the simulated Routee,
which doubles 10 % of its callbacks, lets 20 % be overtaken by later ones and 5 % come after the first poll, and loses 20 %; then the same
without any callbacks, by polls only. Each flow's last status must be the provider's own end (UNKNOWN where the provider has none), its
numbers without a hole, and every flow must end: exit code 1 otherwise. Polls / (sends + polls), out of the simulator's ledger, stands
beside its target; every request that reads tracking counts as a poll.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, Message, TopicPartition

from connector.simulator import recipient_for
from tests.acceptance.crew import RULES, Crew, Event
from tests.chaos.gather import read_ledger, read_statuses
from tests.kafka import Broker, NoBroker, own_broker
from tests.proof.endings import Truth, broken
from tests.proof.facts import StatusSeen

MISCHIEF: Final = {"callback_duplicate": 0.1, "callback_reorder": 0.2, "callback_late": 0.05, "callback_loss": 0.2}
TARGETS: Final = {"callbacks": 0.10, "polls only": 0.50}
_TYPES: Final = ("auth.login_code", "order.shipped", "order.shipped", "campaign.flash_sale", "campaign.flash_sale")
_STORIES: Final = ("viber_ok", "viber_ok", "viber_ok", "viber_expired_sms_ok", "all_fail", "seen_after_delivered")
_TIME_SCALE: Final = 60.0
_LONG_RUN: Final = 10_000  # from here on timers are longer: in a short run nothing may take a minute
_SILENT: Final = 0.001
_SILENT_IN_SHORT: Final = 0.05
_SILENCE_S: Final = 180.0
_QUIET_S: Final = 3.0
_PAGE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds. A life of hours takes seconds here; what is late comes when a flow was polled for the first time."""

    first_poll: float
    deadline: float

    @property
    def late(self) -> float:
        """After the schedule's first step, its jitter, and the gathering behind it."""
        return self.first_poll * 2 + 1

    @property
    def words(self) -> str:
        """What differs from the defaults, for the screen."""
        return (
            f"timers scaled: first poll after {self.first_poll:g} s (30), silent {self.deadline:g} s after the TTLs (3600), "
            f"late callbacks come {self.late:g} s late, Routee {_TIME_SCALE:g} × as fast"
        )


@dataclass(slots=True)
class Result:
    """One run. ``problems``: each breach of correctness, in words."""

    mode: str
    flows: int
    target: float
    seconds: float = 0.0
    sends: int = 0
    asked: int = 0  # polls for one flow
    pages: int = 0  # of time windows
    ended: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    callbacks: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def polls(self) -> int:
        """Requests that read tracking."""
        return self.asked + self.pages

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)} | {"polls": self.polls, "share": round(self.share, 4)}

    @property
    def share(self) -> float:
        """Polls / (sends + polls)."""
        return self.polls / max(1, self.sends + self.polls)

    @property
    def lines(self) -> Iterator[str]:
        """For the screen."""
        met = "met" if self.share <= self.target else "MISSED"
        yield f"{self.mode}: {self.flows} flows in {self.seconds:.0f} s; ends: {_counts(self.ended)}; told by: {_counts(self.origins)}"
        yield f"  callbacks: {_counts(self.callbacks) or 'none'}"
        yield f"  {self.asked} flows asked about alone, {self.pages} pages of time windows"
        yield f"  polls {self.polls} / (sends {self.sends} + polls) = {self.share:.3f}, target <= {self.target:.2f}: {met}"
        yield f"  every flow ended rightly, seq gap-free: {'yes' if not self.problems else f'NO, {len(self.problems)} problems'}"
        yield from (f"    {problem}" for problem in self.problems[:10])


class Followed(Crew):
    """Workers whose timers are scaled; without a public URL where polls alone shall do."""

    def __init__(self, bootstrap_servers: str, folder: Path, timers: Timers, *, callbacks: bool) -> None:
        super().__init__(bootstrap_servers, folder, time_scale=_TIME_SCALE, rules=RULES)
        self._timers = timers
        self._callbacks = callbacks

    def settings(self, admin_port: int, public_port: int) -> dict[str, Any]:
        """The polls' share is the default's."""
        tree = super().settings(admin_port, public_port)
        first = self._timers.first_poll
        steps = [f"{first * factor:g}s" for factor in (1, 2, 4, 8, 16)]
        tree["polling"] = {"schedule": steps, "flow_deadline": f"{self._timers.deadline:g}s"}
        if not self._callbacks:
            del tree["callbacks"]
        return tree

    def panel(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Ask or tell the simulator."""
        url = f"http://127.0.0.1:{self.simulator_port}/_simulator/{path}"
        request = urllib.request.Request(url, None if body is None else orjson.dumps(body))
        with urllib.request.urlopen(request, timeout=_PAGE_S) as answer:  # noqa: S310 - our own process
            return orjson.loads(answer.read())

    def truths(self) -> Iterator[Truth]:
        """Every accepted flow as the provider has it now."""
        for page in itertools.count():
            told = self.panel(f"flows?page={page}")
            if not told:
                return
            for flow in told:
                words = tuple(step["status"] for step in flow["steps"] if step["status"] is not None)
                yield Truth(flow["flow_id"] or "", flow["api"], flow["status"], words)

    def await_ends(self, flows: int, origins: Counter[str]) -> list[StatusSeen]:
        """The statuses as they come, until so many flows have ended and nothing more came for a moment, or nothing at all for long."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": f"{self.name}-ends", "enable.auto.commit": False})
        topic = f"{self.name}.statuses"
        consumer.assign([TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, 20).topics[topic].partitions])
        seen: list[StatusSeen] = []
        ended: set[str] = set()
        heard_at = time.monotonic()
        try:
            while time.monotonic() - heard_at < (_QUIET_S if len(ended) >= flows else _SILENCE_S):
                messages = [message for message in consumer.consume(2000, 0.5) if message.error() is None]
                for message, status in zip(messages, read_statuses(iter(messages)), strict=True):
                    heard_at = time.monotonic()
                    seen.append(status)
                    if status.terminal and status.flow_id not in ended:
                        ended.add(status.flow_id)
                        origins[_origin(message)] += 1
        finally:
            consumer.close()
        return seen


def make_flows(count: int, seed: int) -> list[Event]:
    """One flow each: one in five an OTP, the others by the time-window search's services; a few that the provider never ends."""
    chance = random.Random(seed)  # noqa: S311 - a mix, not a secret
    return [_event(number, chance, long=count >= _LONG_RUN) for number in range(count)]


def _event(number: int, chance: random.Random, *, long: bool) -> Event:
    type_ = chance.choice(_TYPES)
    # A short run has no minute for an SMS's ttl to pass.
    silent = chance.random() < (_SILENT if long else _SILENT_IN_SHORT if type_ == "auth.login_code" else 0)
    scenario = "silent" if silent else chance.choice(_STORIES)
    phone = recipient_for(scenario, number % 100_000)
    body = {  # it occurs when it is written: no code may be too old because its turn comes late
        "event_id": f"event-{number}",
        "type": type_,
        "recipient": {"phone": phone},
        "data": {"code": f"{chance.randrange(10**6):06d}", "order_id": str(number)},
    }
    return Event(f"event-{number}", type_, scenario, "sent", orjson.dumps(body), str(number).encode())


def run(broker: Broker, folder: Path, flows: int, rate: float, *, callbacks: bool, seed: int = 1) -> Result:
    """One mode, in a folder of its own."""
    mode = "callbacks" if callbacks else "polls only"
    timers = timers_for(flows)
    result = Result(mode, flows, TARGETS[mode])
    events = make_flows(flows, seed)
    with Followed(broker.bootstrap_servers, folder, timers, callbacks=callbacks) as crew:
        crew.panel("faults", {**MISCHIEF, "callback_late_s": timers.late * _TIME_SCALE})
        for number in range(1, 3 if flows >= _LONG_RUN else 2):
            crew.start_worker(number)
        begun = time.monotonic()
        crew.produce(events, per_second=rate)
        statuses = crew.await_ends(flows, result.origins)
        result.seconds = time.monotonic() - begun
        truths = list(crew.truths())
        result.callbacks = crew.panel("summary")["callbacks"]
        codes = [crew.stop(number) for number in crew.workers]
        ledger = read_ledger(crew.ledger)
    result.sends, result.asked, result.pages = (ledger.requests[what] for what in ("send", "track", "search"))
    last = {status.flow_id: status.status for status in statuses}
    result.ended.update(last.values())
    result.problems = list(broken((event.flow_id for event in events), truths, statuses))
    result.problems += [f"contract violation {kind} × {count}" for kind, count in ledger.violations.items()]
    result.problems += [f"a worker ended with code {code}" for code in codes if code]
    return result


def timers_for(flows: int) -> Timers:
    """A long run's polls gather as many flows of a minute as in production; a short one has no minute."""
    return Timers(30.0, 60.0) if flows >= _LONG_RUN else Timers(8.0, 5.0)


def _origin(message: Message) -> str:
    return str(orjson.loads(message.value() or b"")["origin"])


def _counts(counted: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))


def main() -> int:
    """Both modes; 0: every flow ended rightly."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.flows", description="Follow flows whose callbacks fail, for few polls.")
    parser.add_argument("--flows", type=int, default=100_000, help="how many, in each mode (default 100000)")
    parser.add_argument("--rate", type=float, default=120.0, help="events per second (default 120)")
    parser.add_argument("--report", type=Path, help="write figures and problems there, as JSON")
    given = parser.parse_args()
    sys.stdout.write(timers_for(given.flows).words + "\n")
    results: list[Result] = []
    try:
        with own_broker() as broker:
            for callbacks in (True, False):
                with tempfile.TemporaryDirectory(prefix="flows-") as folder:
                    results.append(run(broker, Path(folder), given.flows, given.rate, callbacks=callbacks))
                sys.stdout.write("\n".join(results[-1].lines) + "\n")
                sys.stdout.flush()
    except NoBroker as reason:
        sys.stderr.write(f"no broker: {reason}\n")
        return 2
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        told = [result.as_json() for result in results]
        given.report.write_bytes(orjson.dumps({"timers": timers_for(given.flows).words, "runs": told}, option=orjson.OPT_INDENT_2))
    return 1 if any(result.problems for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
