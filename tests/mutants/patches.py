"""The planted bugs as files: ``NN-name.patch``, a unified diff with a head that says what breaks and who must see it.

::

    # Bug: what is broken
    # Promise: which promise that breaks
    # Law: tests/….py::test_… (one line for each; every one of them must fail by assertion)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug. ``laws`` are pytest's node ids without parameters: a law with parameters fails when one of its cases does."""

    name: str
    path: Path
    bug: str
    promise: str
    laws: tuple[str, ...]


class UnfitPatch(Exception):
    """A patch that cannot be planted, or whose head is not complete; the text says what to do."""


def load(folder: Path = FOLDER) -> tuple[Mutant, ...]:
    """All of them, by number. Raises UnfitPatch."""
    return tuple(_read(path) for path in sorted(folder.glob("*.patch")))


def choose(mutants: Sequence[Mutant], names: Iterable[str]) -> tuple[Mutant, ...]:
    """Those whose name holds one of ``names``. Raises UnfitPatch for a name that fits none."""
    wanted = tuple(names)
    for name in wanted:
        if not any(name in mutant.name for mutant in mutants):
            raise UnfitPatch(f"no planted bug is called {name!r}; there are: {', '.join(mutant.name for mutant in mutants)}")
    return tuple(mutant for mutant in mutants if any(name in mutant.name for name in wanted))


def rotate(mutants: Sequence[Mutant], count: int, seed: int) -> tuple[Mutant, ...]:
    """``count`` neighbours in a ring that begins at ``seed``: the same seed gives the same ones, seeds that follow each other all."""
    first = seed * count
    return tuple(mutants[(first + step) % len(mutants)] for step in range(min(count, len(mutants))))


def table(mutants: Iterable[Mutant]) -> str:
    """The Markdown table of ``tests/README.md``."""
    lines = ["| planted bug | what is broken | the promise | caught by |", "| --- | --- | --- | --- |"]
    for mutant in mutants:
        laws = ", ".join(f"`{law.rpartition('::')[2]}`" for law in mutant.laws)
        lines.append(f"| `{mutant.name}` | {mutant.bug} | {mutant.promise} | {laws} |")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> Mutant:
    said: dict[str, list[str]] = {"Bug": [], "Promise": [], "Law": []}
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("# "):
            break
        word, _, text = line.removeprefix("# ").partition(": ")
        if word not in said:
            raise UnfitPatch(f"{path.name}: the head's words are Bug, Promise and Law, not {word!r}")
        said[word].append(text.strip())
    if len(said["Bug"]) != 1 or len(said["Promise"]) != 1 or not said["Law"]:
        raise UnfitPatch(f"{path.name}: the head needs one Bug, one Promise and at least one Law")
    return Mutant(path.stem, path, said["Bug"][0], said["Promise"][0], tuple(said["Law"]))
