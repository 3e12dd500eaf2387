"""A worker that sends, with and without slow sockets on its public port: what they do to the time from an event to its POST."""

from __future__ import annotations

import contextlib
import heapq
import multiprocessing
import selectors
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import uvloop
from confluent_kafka import Producer

from connector.core import identity
from connector.simulator import recipient_for
from tests.acceptance.crew import PARTITIONS, Crew
from tests.acceptance.rolling import CalmCrew
from tests.bench.callbacks.calls import Caller
from tests.bench.callbacks.client import Door
from tests.bench.callbacks.fleet import await_open
from tests.bench.callbacks.verdict import Part, percentile_ms
from tests.kafka import Broker

_DONE_S: Final = 60.0
_DRIP_S: Final = 1.0
_APART: Final = multiprocessing.get_context("spawn")
_EVENTS: Final = "slow"  # what the ids of the sent ones begin with


class Sockets:
    """``count`` of them at any time: heads of a byte a second, heads that stop, bodies of a byte a second. Each is opened anew when cut.

    The bodies belong to genuine calls, as none else are read: about events that were sent, as Routee's own would be. All stand in a
    process of their own, so that nothing but the worker under them is slowed.
    """

    def __init__(self, caller: Caller, sent: int, port: int, count: int) -> None:
        """``sent``: so many of the caller's events there are, from 1."""
        self._caller = caller
        self._sent = sent
        self._port = port
        self._count = count
        self._standing, self._over = _APART.Event(), _APART.Event()
        self._opened = _APART.Value("i", 0)

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """While they all stand. Raises RuntimeError when they cannot."""
        process = _APART.Process(target=self.hold, daemon=True)
        process.start()
        try:
            while not self._standing.wait(0.1):
                if not process.is_alive():
                    raise RuntimeError("the slow sockets do not stand")
            yield
        finally:
            self._over.set()
            process.join()

    @property
    def opened(self) -> int:
        """So many were opened, again and again."""
        return int(self._opened.value)

    def hold(self) -> None:
        """Hold them until told to let go; each at a time of its own, and by as little work as can be."""
        now = time.monotonic()
        due = [(now + number / self._count, number, 0) for number in range(self._count)]  # when, which, its how manieth connection
        heapq.heapify(due)
        standing = [0] * self._count
        kept: dict[int, tuple[socket.socket, bytearray]] = {}
        with selectors.DefaultSelector() as selector:
            while not self._over.is_set():
                ahead = due[0][0] - time.monotonic() if due else 0.05
                for key, _ in selector.select(min(max(ahead, 0.0), 0.05)):
                    number = key.data
                    selector.unregister(key.fileobj)
                    kept.pop(number)[0].close()
                    standing[number] += 1
                    heapq.heappush(due, (time.monotonic() + 0.01, number, standing[number]))
                now = time.monotonic()
                while due and due[0][0] <= now:
                    _, number, turn = heapq.heappop(due)
                    if turn == standing[number]:
                        with contextlib.suppress(OSError):
                            self._go_on(number, kept, selector)
                        heapq.heappush(due, (now + _DRIP_S, number, turn))
                if len(kept) >= self._count * 0.9:  # some are always on their way back
                    self._standing.set()
        for one, _ in kept.values():
            one.close()

    def _go_on(self, number: int, kept: dict[int, tuple[socket.socket, bytearray]], selector: selectors.BaseSelector) -> None:
        """The next byte; the connection and what it begins with, where there is none."""
        if number in kept:
            one, rest = kept[number]
            if rest:
                one.send(bytes([rest.pop(0)]))
            return
        request = self._caller.call(1 + number % self._sent).request
        whole = request.index(b"\r\n\r\n") + 4
        at_once, dripping = ((1, True), (whole // 2, False), (whole, True))[number % 3]
        one = socket.create_connection(("127.0.0.1", self._port), 2)
        one.setblocking(False)
        one.send(request[:at_once])
        kept[number] = one, bytearray(request[at_once : at_once + 60] if dripping else b"")
        selector.register(one, selectors.EVENT_READ, number)
        self._opened.value += 1


class Sends:
    """Events at a steady rate, and when the simulator's ledger saw the POST of each."""

    def __init__(self, crew: Crew, rate: float) -> None:
        self._crew = crew
        self._rate = rate
        self._producer = Producer({"bootstrap.servers": crew.bootstrap_servers, "linger.ms": 0})
        self._made_at: dict[str, float] = {}
        self.made = 0  # events so far
        self._read = 0  # bytes of the ledger
        self.posts: Counter[str] = Counter()  # by flow

    def measure(self, seconds: float) -> list[float]:
        """Seconds from each event to its POST. Raises TimeoutError when one has none."""
        begun, made = time.monotonic(), set[str]()
        for turn in range(int(seconds * self._rate)):
            if (ahead := begun + turn / self._rate - time.monotonic()) > 0:
                self._producer.flush(0)
                time.sleep(ahead)
            made.add(self._produce())
        self._producer.flush(20)
        took: dict[str, float] = {}
        deadline = time.monotonic() + _DONE_S
        while made - took.keys():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(made - took.keys())} events were not sent")
            time.sleep(0.1)
            took |= self._seen()
        return [took[flow] for flow in made]

    def _produce(self) -> str:
        self.made += 1
        event_id = f"{_EVENTS}-{self.made}"
        flow, phone = identity.flow_id(event_id, "order-shipped"), recipient_for("viber_ok", self.made)
        event = {"event_id": event_id, "type": "order.shipped", "recipient": {"phone": phone}, "data": {"order_id": str(self.made)}}
        self._made_at[flow] = time.time()
        self._producer.produce(self._crew.input, orjson.dumps(event), phone.encode(), self.made % PARTITIONS)
        self._producer.poll(0)
        return flow

    def _seen(self) -> dict[str, float]:
        """Flow → seconds, of POSTs that are new in the ledger."""
        with self._crew.ledger.open("rb") as ledger:
            ledger.seek(self._read)
            gained = ledger.read()
        gained = gained[: gained.rfind(b"\n") + 1]
        self._read += len(gained)
        sends = [entry for entry in map(orjson.loads, gained.splitlines()) if entry["what"] == "send"]
        self.posts.update(entry["flow_id"] for entry in sends)
        return {entry["flow_id"]: entry["at"] - self._made_at[entry["flow_id"]] for entry in sends}


def slow(broker: Broker, folder: Path, *, sockets: int, pairs: int, seconds: float, rate: float) -> Part:
    """Pairs of runs of ``seconds`` with ``rate`` events/s, with the sockets first and last by turns."""
    part = Part("slow")
    folder.mkdir(parents=True)
    with CalmCrew(broker.bootstrap_servers, folder) as crew:
        crew.start_worker(1)
        admin, public = crew.ports[1]
        await_open(public)
        (secret,) = crew.settings(admin, public)["callbacks"]["secrets"]
        caller, sends, opened = Caller(crew.input, secret.encode(), _EVENTS), Sends(crew, rate), 0
        sends.measure(max(5.0, seconds))  # lanes are claimed, code is warm, the JVM's too
        p99: dict[bool, list[float]] = {False: [], True: []}
        for pair in range(pairs):
            for is_slow in (pair % 2 == 0, pair % 2 != 0):
                held = Sockets(caller, sends.made, public, sockets if is_slow else 0)
                with held.standing():
                    took = sends.measure(seconds)
                    part.problems += uvloop.run(_still_answered(caller, public, pair))
                p99[is_slow].append(percentile_ms(took, 0.99))
                opened += held.opened
        if repeated := [flow for flow, posts in sends.posts.items() if posts != 1]:
            part.problems.append(f"{len(repeated)} events were posted more than once")
        if code := crew.stop(1):
            part.problems.append(f"the worker ended with code {code}")
    ratios = [loaded / quiet for loaded, quiet in zip(p99[True], p99[False], strict=True)]
    ratio = round(statistics.median(ratios), 3)
    part.figures = {"sockets": sockets, "opened": opened, "ratio": ratio, "ratios": ratios, "with_ms": p99[True], "without_ms": p99[False]}
    part.line = (
        f"{sockets:,} slow sockets ({opened:,} opened, as each is cut): sends' p99 × {ratio:.2f}, median of {pairs} pairs (target < 1.10); "
        f"with {statistics.median(p99[True])} ms, without {statistics.median(p99[False])} ms"
    )
    return part


async def _still_answered(caller: Caller, port: int, pair: int) -> list[str]:
    """What true calls hear meanwhile, but 200."""
    door = Door(port)
    heard: Counter[str] = Counter()
    for number in range(20):
        try:
            heard[str(await door.post(caller.call(1_000_000 + pair * 20 + number).request))] += 1
        except OSError as error:
            heard[type(error).__name__] += 1
    door.close()
    del heard["200"]
    return [f"true calls beside the slow sockets heard {dict(heard)}"] if heard else []
