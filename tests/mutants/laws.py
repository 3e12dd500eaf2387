"""Running laws on a copy of the tree, and telling a broken law from a broken test."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.mutants.patches import UnfitPatch

LIMIT_S = 300
LAW_LIMIT_S = 60
_USAGE_ERROR = 4  # pytest's exit code
# What pytest says of an assertion, and of ``pytest.raises`` without its exception.
_BROKEN = ("AssertionError", "assert ", "Failed: DID NOT RAISE")


class End(enum.Enum):
    """How a law ended."""

    HELD = "held"
    BROKEN = "broken"  # by assertion
    UNCLEAR = "failed, but not by assertion"
    ABSENT = "did not run"


def run(laws: Iterable[str], tree: Path, *, limit_s: float = LIMIT_S, law_limit_s: float = LAW_LIMIT_S) -> Mapping[str, End]:
    """The end of each law; its cases count together: broken as soon as one is. Raises UnfitPatch for a law that is not there."""
    wanted = tuple(dict.fromkeys(laws))
    report = tree / "laws.xml"
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", f"--junitxml={report}"]
    limits = ["--timeout", str(law_limit_s), "--timeout-method", "signal"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    command = [*pytest, *limits, *wanted]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, check=False, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return dict.fromkeys(wanted, End.ABSENT)
    if done.returncode == _USAGE_ERROR:
        unknown = [line for line in done.stderr.splitlines() if "not found" in line]
        raise UnfitPatch("\n".join(unknown) or f"pytest cannot be asked: {done.stderr}")
    return _ends(wanted, report)


def simulate(tree: Path, seeds: int) -> str:
    """What the tree's simulation says of its first failure in so many seeds; empty when there is none."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--stop-at-first"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"no end within {LIMIT_S} s"
    if done.returncode not in {0, 1}:
        raise UnfitPatch(f"the simulation cannot be played: {done.stderr}")
    return done.stdout.partition("\n")[0].partition("; replay")[0] if done.returncode else ""


def _ends(wanted: Iterable[str], report: Path) -> Mapping[str, End]:
    met: dict[str, set[End]] = defaultdict(set)
    if report.exists():
        for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
            path = case.get("classname", "").replace(".", "/") + ".py"
            met[f"{path}::{case.get('name', '').partition('[')[0]}"].add(_end(case))
    return {law: _together(met[law]) for law in wanted}


def _end(case: ET.Element) -> End:
    failure = case.find("failure")
    if failure is not None:
        return End.BROKEN if failure.get("message", "").startswith(_BROKEN) else End.UNCLEAR
    if case.find("error") is not None:
        return End.UNCLEAR
    return End.ABSENT if case.find("skipped") is not None else End.HELD


def _together(ends: set[End]) -> End:
    return next((end for end in (End.BROKEN, End.UNCLEAR, End.HELD) if end in ends), End.ABSENT)
