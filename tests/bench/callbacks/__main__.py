"""``python -m tests.bench.callbacks``: see the package."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import orjson

from tests.bench.callbacks.forged import forged
from tests.bench.callbacks.plain import plain
from tests.bench.callbacks.slow import slow
from tests.bench.callbacks.storm import storm
from tests.bench.callbacks.verdict import Part
from tests.kafka import Broker, NoBroker, own_broker

_SHORT = {"seconds": 4.0, "callbacks": 3_000, "kills": 3, "bounces": 1, "forged": 5_000, "pairs": 1}


def main() -> int:
    """0: nothing was lost, forged or answered wrongly."""
    given = _options()
    work: dict[str, Callable[[Broker, Path], Part]] = {
        "plain": lambda broker, folder: plain(broker, folder, seconds=given.seconds),
        "storm": lambda broker, folder: storm(
            broker, folder, callbacks=given.callbacks, rate=given.rate, kills=given.kills, bounces=given.bounces, seed=given.seed
        ),
        "forged": lambda broker, folder: forged(broker, folder, calls=given.forged),
        "slow": lambda broker, folder: slow(
            broker, folder, sockets=given.sockets, pairs=given.pairs, seconds=given.seconds, rate=given.events
        ),
    }
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # takes everything down, as Ctrl-C does
    parts: list[Part] = []
    folder = Path(tempfile.mkdtemp(prefix="callbacks-"))
    try:
        with own_broker(lasting=not given.short) as broker:
            for name in given.only or work:
                part = work[name](broker, folder / name)
                parts.append(part)
                sys.stdout.write(f"{name}: {part.line}\n" + "".join(f"  WRONG: {problem}\n" for problem in part.problems))
                sys.stdout.flush()
    except NoBroker as reason:
        sys.stderr.write(f"no broker that may be killed: {reason}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    finally:
        if given.report:
            given.report.parent.mkdir(parents=True, exist_ok=True)
            told = {part.name: {**part.figures, "line": part.line, "problems": part.problems} for part in parts}
            given.report.write_bytes(orjson.dumps({"cores": os.cpu_count(), "parts": told}, option=orjson.OPT_INDENT_2))
        if len(parts) < len(given.only or work) or any(part.problems for part in parts):
            sys.stderr.write(f"logs and settings: {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if any(part.problems for part in parts) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.callbacks", description="The ingress under load, kills and forgery.")
    parser.add_argument("--only", action="append", choices=("plain", "storm", "forged", "slow"), help="this part only; may be repeated")
    parser.add_argument("--short", action="store_true", help="about a minute for all; what is given beside it still counts")
    parser.add_argument("--seconds", type=float, default=40.0, help="plain: of load; slow: of each run (default 40)")
    parser.add_argument("--callbacks", type=int, default=200_000, help="storm (default 200,000)")
    parser.add_argument("--rate", type=float, default=200.0, help="storm: callbacks per second (default 200)")
    parser.add_argument("--kills", type=int, default=50, help="storm: receivers killed with -9 (default 50)")
    parser.add_argument("--bounces", type=int, default=5, help="storm: broker kills (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="storm: when they come (default 1)")
    parser.add_argument("--forged", type=int, default=1_000_000, help="forged calls (default 1,000,000)")
    parser.add_argument("--sockets", type=int, default=1_000, help="slow sockets (default 1,000)")
    parser.add_argument("--pairs", type=int, default=9, help="slow: runs with and without (default 9 of each)")
    parser.add_argument("--events", type=float, default=60.0, help="slow: events per second (default 60)")
    parser.add_argument("--report", type=Path, help="write the figures there as JSON")
    if "--short" in sys.argv:
        parser.set_defaults(**_SHORT)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
