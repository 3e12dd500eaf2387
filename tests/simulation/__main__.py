"""``python -m tests.simulation --seeds 1000``: play seeds; one line per failure, one line at the end. Exit code 1 on any failure.

``--compare`` plays them with the usual consumers, too, and prints a table; ``--worker commit-after-send`` with that one alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from tests.simulation.compare import HEAD, OURS, WORKERS, Ground, compared, ledger
from tests.simulation.runner import Played, Tally, play, played, quiet
from tests.simulation.setting import draw
from tests.simulation.world import World

_TELL_EVERY = 500


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes at work")
    parser.add_argument("--replay", type=int, help="play this seed alone, and tell all that is wrong")
    parser.add_argument("--trace", action="store_true", help="with --replay: what happened when")
    parser.add_argument("--stop-at-first", action="store_true", help="end with the first failure")
    parser.add_argument("--json", type=Path, help="write a report to this file")
    parser.add_argument("--compare", action="store_true", help="the connector beside the usual consumers, as a table")
    parser.add_argument("--worker", choices=WORKERS, help="only this row of it (ours: as without, unless with --compare)")
    parser.add_argument("--ground", type=Ground, choices=list(Ground), help="with --compare or --worker: only these faults")
    chosen = parser.parse_args()
    if chosen.replay is not None and chosen.worker not in {None, OURS}:
        return _replay_usual(chosen.replay, chosen.worker, chosen.ground or Ground.ALL, with_trace=chosen.trace)
    if chosen.replay is not None:
        return _replay(chosen.replay, with_trace=chosen.trace)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    if chosen.compare or chosen.worker not in {None, OURS}:
        workers = [chosen.worker] if chosen.worker else list(WORKERS)
        grounds = [chosen.ground] if chosen.ground else list(Ground)
        return _compare(seeds, workers, grounds, chosen.jobs)
    tally = Tally()
    for one in played(seeds, chosen.jobs):
        tally.add(one)
        if one.problems:
            _tell(one)
            if chosen.stop_at_first:
                break
        if tally.seeds % _TELL_EVERY == 0:
            print(f"  {tally.seeds} seeds, {len(tally.failed)} failed, {tally.took_s:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
    if chosen.json is not None:
        chosen.json.write_bytes(orjson.dumps(tally.report(), option=orjson.OPT_INDENT_2))
    print(tally.line())  # noqa: T201 - what it is run for
    return 1 if tally.failed else 0


def _replay(seed: int, *, with_trace: bool) -> int:
    quiet()
    one = play(draw(seed), with_trace=with_trace)
    for line in one.trace:
        print(line)  # noqa: T201
    for law, text in one.problems:
        print(f"seed {seed}: {law}: {text}")  # noqa: T201
    print(f"seed {seed}: {len(one.problems)} problems; {one.simulated_s:.0f} s simulated; trace {one.trace_hash}")  # noqa: T201
    return 1 if one.problems else 0


def _replay_usual(seed: int, worker: str, ground: Ground, *, with_trace: bool) -> int:
    """The same for a usual consumer, of which nothing but the provider's ledger is judged."""
    quiet()
    world = World(ground.of(seed), WORKERS[worker]).run()
    counts = ledger(world)
    for line in world.lines if with_trace else ():
        print(line)  # noqa: T201
    print(f"seed {seed}, {worker}, {ground}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))  # noqa: T201
    return 1 if counts["broken"] else 0


def _compare(seeds: range, workers: list[str], grounds: list[Ground], jobs: int) -> int:
    """Exit code 1: a run did not come to its end, or the connector lost or doubled something."""
    is_wrong = False
    print(HEAD, flush=True)  # noqa: T201 - what it is run for
    for row in compared(seeds, workers, grounds, jobs):
        print(row.line(), flush=True)  # noqa: T201
        is_wrong = is_wrong or row.is_wrong
    return 1 if is_wrong else 0


def _tell(one: Played) -> None:
    law, text = one.problems[0]
    more = f" (and {len(one.problems) - 1} more)" if len(one.problems) > 1 else ""
    how = f"python -m tests.simulation --replay {one.seed} --trace"
    print(f"FAILED seed {one.seed}: {law}: {text[:400]}{more}; replay: {how}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
