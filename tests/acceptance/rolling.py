"""Rolling restarts under load: ``python -m tests.acceptance.rolling --restarts 50`` (``make rolling``); ``test_rolling.py`` does a few.

Two workers, a steady stream of events, answers that take up to two seconds so that POSTs are under way at every moment. Each worker in
turn gets SIGTERM, is waited for, started again, and waited for until every lane is served. No scenario here brings a doubt of its own, so
any doubt is a stop's doing.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from connector.simulator import recipient_for
from tests import kafka
from tests.acceptance.crew import PARTITIONS, Crew, Event, Findings, make_events

_CALM = {"viber_ok", "viber_expired_sms_ok", "all_fail", "duplicate_callbacks", "reordered_callbacks", "rejected_400"}
log = logging.getLogger("rolling")
_READY_S = 120.0
_STOP_S = 60.0  # grace, and what librdkafka takes at most to leave a group
_DONE_S = 150.0


class CalmCrew(Crew):
    """With the product's own lease and deadline: on a busy machine, too, a doubt is a stop's doing and no slow answer's."""

    def settings(self, admin_port: int, public_port: int) -> dict[str, Any]:
        """See ``Crew``."""
        settings = super().settings(admin_port, public_port)
        times = {"routee": {"timeout": "10s"}, "lane": {"lease": "3s"}, "shutdown": {"grace": "20s"}, "kafka": {"session_timeout": "10s"}}
        return {name: {**section, **times.get(name, {})} for name, section in settings.items()}


@dataclass(slots=True)
class Rolled:
    """What the restarts have shown. Seconds."""

    restarts: int = 0
    events: int = 0
    stops_s: list[float] = field(default_factory=list)  # from SIGTERM to the process's end
    ready_s: list[float] = field(default_factory=list)  # from the new process's start to every lane served
    codes: list[int] = field(default_factory=list)
    doubts: int = 0  # attempts that ended in doubt, of all SendEvents
    inherited: int = 0  # doubts that a claim met
    problems: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """All in one line."""
        stops, ready = sorted(self.stops_s), sorted(self.ready_s)
        return (
            f"rolling: {self.restarts} restarts under {self.events} events: {self.doubts} doubts, {self.inherited} inherited, "
            f"{len(self.problems)} problems; stop p50 {statistics.median(stops):.1f} s, worst {stops[-1]:.1f} s; "
            f"ready again p50 {statistics.median(ready):.1f} s, worst {ready[-1]:.1f} s"
        )


def steady(first: int, count: int, seed: int) -> list[Event]:
    """About ``count`` events from number ``first`` on, without doubts of their own; every third answer takes one or two seconds."""
    drawn = [event for event in make_events(count, seed + first) if event.scenario in _CALM and event.event_id]
    return [_renumbered(event, first + place) for place, event in enumerate(drawn)]


def _renumbered(event: Event, number: int) -> Event:
    """Under an id of its own, in JSON; slow where its turn says so."""
    body: dict[str, Any] = {
        "event_id": f"event-{number}",
        "type": event.type,
        "occurred_at": time.time_ns() // 1_000_000 - (48 * 3_600_000 if event.fate == "expired" else 0),
        "recipient": {"phone": "12" if event.fate == "invalid" else recipient_for(event.scenario, number % 100_000)},
        "data": {"code": f"{number % 10**6:06d}", "order_id": str(number)},
    }
    scenario = event.scenario
    if event.fate == "sent" and number % 3 == 0:
        scenario, body["recipient"]["phone"] = "slow", recipient_for("slow", number % 1000 * 100 + 1 + number % 2)
    phone = body["recipient"]["phone"]
    return Event(body["event_id"], event.type, scenario, event.fate, orjson.dumps(body), phone.encode())


def roll(crew: Crew, restarts: int, per_second: float, seed: int = 5) -> Rolled:
    """Start two workers, restart them in turn while events flow, and judge what is there at the end."""
    rolled, stream = Rolled(restarts), _Stream(crew, per_second, seed)
    crew.start_worker(1)
    crew.start_worker(2)
    _await_ready(crew)
    with stream:
        for number in range(restarts):
            worker = 1 + number % 2
            begun = time.monotonic()
            rolled.codes.append(crew.stop(worker, _STOP_S))
            stopped = time.monotonic()
            rolled.stops_s.append(stopped - begun)
            crew.start_worker(worker)
            _await_ready(crew)
            rolled.ready_s.append(time.monotonic() - stopped)
            log.info("restart %d: stopped in %.1f s, ready in %.1f s", number + 1, rolled.stops_s[-1], rolled.ready_s[-1])
    rolled.events = len(stream.events)
    found = crew.wait_until_done(stream.events, _DONE_S)
    rolled.problems = found.problems(stream.events) + [f"exit code {code}" for code in rolled.codes if code]
    rolled.doubts = doubts_of(found)
    rolled.inherited = _inherited(crew)
    return rolled


def doubts_of(found: Findings) -> int:
    """Attempts that ended in doubt."""
    return sum(line["outcome"] == "DOUBT" for sent in found.sends.values() for event in sent for line in event["attempts"])


def _logs(crew: Crew) -> list[bytes]:
    return [path.read_bytes() for path in crew.folder.glob("worker-*.log")]


def _inherited(crew: Crew) -> int:
    """Doubts that some claim found, as the restart reports say."""
    lines = [orjson.loads(line) for told in _logs(crew) for line in told.splitlines() if line.startswith(b"{")]
    claims = [line["classes"] for line in lines if line["event"] == "lane_claimed"]
    return sum(states.get("doubt", 0) for claim in claims for states in claim.values())


class _Stream:
    """A steady stream of events beside the restarts."""

    def __init__(self, crew: Crew, per_second: float, seed: int) -> None:
        self.events: list[Event] = []
        self._crew = crew
        self._per_second = per_second
        self._seed = seed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream")

    def _run(self) -> None:
        batch = max(int(self._per_second), 10)
        while not self._over.is_set():
            made = steady(len(self.events), batch, self._seed)
            self.events += made
            self._crew.produce(made, self._per_second)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _await_ready(crew: Crew) -> None:
    """Until the workers serve all lanes between them."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        lanes = [_running(admin) for admin, _ in crew.ports.values()]
        if all(lanes) and sum(lanes) == PARTITIONS:
            return
        time.sleep(0.05)
    raise TimeoutError("the lanes are not served again")


def _running(admin_port: int) -> int:
    with contextlib.suppress(OSError):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=5) as answer:
                body = orjson.loads(answer.read())
        except urllib.error.HTTPError as error:
            body = orjson.loads(error.read())
        return sum(state == "running" for state in body.get("lanes", {}).values())
    return 0


def main() -> int:
    """Exit code 0 when every restart kept the promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.rolling", description=__doc__)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--per-second", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    asked = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    broker = kafka.find()
    try:
        folder = Path(tempfile.mkdtemp(prefix="rolling-"))
        with CalmCrew(broker.bootstrap_servers, folder) as crew:
            rolled = roll(crew, asked.restarts, asked.per_second, asked.seed)
    finally:
        broker.close()
    if asked.report:
        asked.report.write_bytes(orjson.dumps(asdict(rolled), option=orjson.OPT_INDENT_2))
    sys.stdout.write("\n".join([*rolled.problems[:20], rolled.line]) + "\n")
    failed = bool(rolled.problems or rolled.doubts or rolled.inherited)
    sys.stderr.write(f"everything it left is in {folder}\n" if failed else "")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
