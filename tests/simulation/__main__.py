"""``python -m tests.simulation --seeds 1000``: play seeds; one line per failure, one line at the end. Exit code 1 on any failure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from tests.simulation.runner import Played, Tally, play, played, quiet
from tests.simulation.setting import draw

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
    chosen = parser.parse_args()
    if chosen.replay is not None:
        return _replay(chosen.replay, with_trace=chosen.trace)
    tally = Tally()
    for one in played(range(chosen.first, chosen.first + chosen.seeds), chosen.jobs):
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


def _tell(one: Played) -> None:
    law, text = one.problems[0]
    more = f" (and {len(one.problems) - 1} more)" if len(one.problems) > 1 else ""
    how = f"python -m tests.simulation --replay {one.seed} --trace"
    print(f"FAILED seed {one.seed}: {law}: {text[:400]}{more}; replay: {how}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
