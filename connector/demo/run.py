"""One demo, whole: the place is opened, the show played, its end examined and told, everything taken away."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from connector import logs
from connector.demo.place import Place, open_place
from connector.demo.screen import Screen, header_lines, summary
from connector.demo.show import Plan, Show
from connector.demo.verdict import Check, Life, ProviderFlow, Truth, examine
from connector.simulator.ledger import attempt_of

_DELIVERED: Final = frozenset({"delivered", "seen", "completed"})
_END_S: Final = 10.0
_WIDTH: Final = 160  # of the summary in a file
_TICK_S: Final = 0.05


async def run(plan: Plan, kafka: str | None, *, keep: bool, as_json: bool) -> int:
    """Exit code: 0 when every check holds. Progress on stderr, the summary on stdout. Raises KafkaUnavailable."""
    logs.configure("error", "console")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with open_place(kafka, plan.seed, keep=keep) as place:
        screen = Screen(Console(stderr=True), header_lines(place, plan.events, plan.kills, plan.seed))
        show = Show(plan, place, screen)
        try:
            if not await _unless(stopped, show, screen):
                sys.stderr.write("stopped before the end: nothing was checked\n")
                return 1
            seconds = screen.now_s
            checks = await _examined(show, keep=keep)
            _print(show, checks, seconds, as_json=as_json)
            if keep:
                _print_addresses(place, show)
                await stopped.wait()
            return 0 if all(check.holds for check in checks) else 1
        finally:
            await show.child.stop()
            show.watcher.close()


async def _unless(stopped: asyncio.Event, show: Show, screen: Screen) -> bool:
    """Play it. False: somebody stopped it first."""
    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(show.play())
        stopping = tasks.create_task(stopped.wait())
        with screen.shown(show.rows, show.tally):
            await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not playing.done():
            playing.cancel()
            return False
    return True


async def _examined(show: Show, *, keep: bool) -> tuple[Check, ...]:
    """Stop the connector cleanly, read what is left in the output topics, and look at everything."""
    exit_code = show.child.exit_code
    if exit_code is None and not keep:
        exit_code = await show.child.stop()
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        left = await asyncio.to_thread(_uncommitted, show.place)
        show.watcher.read()
        if (left == 0 or exit_code is not None) and show.watcher.is_at_end():
            break
        await asyncio.sleep(_TICK_S)
    life = Life(show.plan.kills, show.kills, exit_code, left)
    expected = tuple(show.feeder.expected.values())
    return examine(show.plan.events, expected, show.watcher.seen, _truth(show.place), life)


def _uncommitted(place: Place) -> int:
    """Records of the input that the connector's group has not committed."""
    kafka = place.settings.kafka
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.group_id, "log_level": 0})
    try:
        count = next(plan.partitions for plan in place.plans if plan.name == place.notifications)
        asked = [TopicPartition(place.notifications, number) for number in range(count)]
        ends = {one.partition: consumer.get_watermark_offsets(one, timeout=_END_S)[1] for one in asked}
        return sum(ends[one.partition] - max(0, one.offset) for one in consumer.committed(asked, timeout=_END_S))
    finally:
        consumer.close()


def _truth(place: Place) -> Truth:
    simulator = place.simulator
    accepted = [
        ProviderFlow(
            flow.tracking_id,
            attempt_of(flow.label)[0],
            flow.recipient,
            delivered=any((step.status or "").lower() in _DELIVERED for step in flow.steps),
        )
        for flow in simulator.provider.flows
    ]
    return Truth(accepted, dict(simulator.violations))


def _print(show: Show, checks: Sequence[Check], seconds: float, *, as_json: bool) -> None:
    holds = all(check.holds for check in checks)
    if as_json:
        found = [{"name": check.name, "ok": check.holds, "fact": check.fact, "problems": check.problems} for check in checks]
        counts = {row.name.strip(): {**row.counts, "all": row.total} for row in show.rows()}
        data: dict[str, Any] = {"ok": holds, "seconds": round(seconds, 1), "kills": show.kills, "checks": found, "counts": counts}
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        console.print(summary(checks, seconds, show.plan.events, show.kills), highlight=False)
    if not holds:
        kept = shutil.copy(show.child.log, Path(tempfile.gettempdir()) / f"failover-demo-{os.getpid()}.log")
        sys.stderr.write("".join(f"{line}\n" for line in (*show.child.last_lines, f"the connector’s log: {kept}")))


def _print_addresses(place: Place, show: Show) -> None:
    topics = place.settings.topics
    for name, value in (
        ("metrics", f"{place.admin_url}/metrics"),
        ("health", f"{place.admin_url}/readyz"),
        ("Routee", f"{place.simulator.base_url}/_simulator/summary   (also ledger, faults)"),
        ("Kafka", f"{place.bootstrap}   {place.notifications} → {topics.sends}, {topics.statuses}, {topics.dead_letters}"),
        ("settings", str(place.config)),
        ("rules", str(place.settings.rules)),
        ("log", str(show.child.log)),
    ):
        sys.stdout.write(f"{name:<10}{value}\n")
    sys.stdout.write(
        f"What became of one event:\n  failover-connector flows show {_telling(show)} --config {shlex.quote(str(place.config))}\n"
    )
    sys.stdout.write("It goes on until Ctrl-C.\n")
    sys.stdout.flush()


def _telling(show: Show) -> str:
    """The id of an event with a story: sent again after a doubt, or fallen back to a second channel."""
    flows = [flow for flow in show.watcher.seen.flows.values() if flow.sends]
    told = max(flows, key=lambda flow: (flow.was_resent, flow.has_failed_over, len(flow.statuses)), default=None)
    return shlex.quote(str(told.sends[-1]["event_id"])) if told else "ID"
