"""Plant each bug in a copy of the tree and see that its laws catch it: ``python -m tests.mutants [--only NAME …] [--rotate N]``.

Before that the laws must hold ``--unplanted N`` times in a row without a bug. With ``--simulate N`` the simulation looks for the bug
instead, in up to N seeds; some lie outside of what it plays (real sockets, HTTP documents, logs), so what it misses is only told.

Exit code 1 when a bug is missed, 2 when the laws do not hold without a bug, or a patch cannot be planted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.laws import End, run, simulate
from tests.mutants.patches import Mutant, UnfitPatch, choose, load, rotate
from tests.mutants.tree import ROOT, copy_tracked, plant


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of one planted bug."""

    mutant: Mutant
    ends: Mapping[str, End]
    seconds: float

    @property
    def is_caught(self) -> bool:
        """Every law that must see it did."""
        return all(end is End.BROKEN for end in self.ends.values())

    def line(self) -> str:
        """A line of the table."""
        said = "; ".join(f"{law.rpartition('::')[2]}" + ("" if end is End.BROKEN else f" ({end.value})") for law, end in self.ends.items())
        return f"{self.mutant.name:45} {'caught' if self.is_caught else 'MISSED':7} {self.seconds:6.1f} s  {said}"


def main(arguments: Sequence[str]) -> int:
    """Plant, run, tell."""
    wanted = _options().parse_args(arguments)
    try:
        mutants = load()
        if wanted.only:
            mutants = choose(mutants, wanted.only)
        if wanted.rotate:
            mutants = rotate(mutants, wanted.rotate, seed())
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            if wanted.simulate:
                return _simulate_all(mutants, Path(folder), wanted.simulate, wanted.jobs)
            return _plant_all(mutants, Path(folder), wanted.jobs, wanted.unplanted)
    except UnfitPatch as error:
        _say(str(error))
        return 2


def seed() -> int:
    """Of the commit, so that a run can be repeated; without one, of the day."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=False, capture_output=True, text=True)
    return int(head.stdout, 16) if head.returncode == 0 else int(time.time() // 86_400)


def _plant_all(mutants: Sequence[Mutant], folder: Path, jobs: int, times: int) -> int:
    started = time.monotonic()
    whole = copy_tracked(folder / "whole")
    for _ in range(times):
        begun = time.monotonic()
        held = run([law for mutant in mutants for law in mutant.laws], whole)
        if troubles := [f"{law} {end.value} without a planted bug" for law, end in held.items() if end is not End.HELD]:
            _say("\n".join(troubles))
            return 2
        _say(f"{len(held)} laws hold without a planted bug ({time.monotonic() - begun:.0f} s)")

    def one(mutant: Mutant) -> Caught:
        begun = time.monotonic()
        with planted(mutant, whole, folder) as tree:
            caught = Caught(mutant, run(mutant.laws, tree), time.monotonic() - begun)
        _say(caught.line())
        return caught

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, mutants))
    missed = [result.mutant.name for result in results if not result.is_caught]
    end = f"MISSED: {', '.join(missed)}" if missed else "all caught"
    _say(f"{len(results)} planted bugs, {end} ({time.monotonic() - started:.0f} s)")
    return 1 if missed else 0


def _simulate_all(mutants: Sequence[Mutant], folder: Path, seeds: int, jobs: int) -> int:
    """Exit code 2 where the simulation is red without a bug."""
    whole = copy_tracked(folder / "whole")
    if told := simulate(whole, seeds):
        _say(f"without a planted bug: {told}")
        return 2
    _say(f"{seeds} seeds are good without a planted bug")

    def one(mutant: Mutant) -> bool:
        begun = time.monotonic()
        with planted(mutant, whole, folder) as tree:
            told = simulate(tree, seeds)
        _say(f"{mutant.name:45} {'found' if told else '-':7} {time.monotonic() - begun:6.1f} s  {told}")
        return bool(told)

    with ThreadPoolExecutor(jobs) as pool:
        found = sum(pool.map(one, mutants))
    _say(f"{len(mutants)} planted bugs, {found} found by the simulation in at most {seeds} seeds")
    return 0


@contextmanager
def planted(mutant: Mutant, whole: Path, folder: Path) -> Iterator[Path]:
    """A copy of the tree with the bug in it."""
    tree = folder / mutant.name
    shutil.copytree(whole, tree)
    plant(mutant, tree)
    yield tree
    shutil.rmtree(tree)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    options.add_argument("--only", nargs="+", metavar="NAME", help="those whose name holds one of these words")
    options.add_argument("--rotate", type=int, metavar="N", help="N of them, which ones by the commit's hash")
    options.add_argument("--unplanted", type=int, metavar="N", default=1, help="how often the laws must hold without a bug (default 1)")
    options.add_argument("--simulate", type=int, metavar="N", help="let the simulation look for them, in up to N seeds each")
    options.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="J", help="how many at once")
    return options


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
