"""Copies of the work tree to plant bugs in. The work tree itself is never touched."""

from __future__ import annotations

import os
import py_compile
import re
import shutil
import subprocess
from pathlib import Path

from tests.mutants.patches import Mutant, UnfitPatch

ROOT = Path(__file__).resolve().parents[2]
_PATCHED = re.compile(r"^\+\+\+ b/(?P<path>\S+)$", re.MULTILINE)


def copy_tracked(target: Path, root: Path = ROOT) -> Path:
    """What git knows of the tree and what is new in it, as it stands now; no caches, no environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source := root / name).is_file():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
    return target


def patched(mutant: Mutant) -> tuple[str, ...]:
    """The files that a patch changes."""
    return tuple(_PATCHED.findall(mutant.path.read_text("utf-8")))


def plant(mutant: Mutant, tree: Path) -> None:
    """Patch a copy and compile what was patched. Raises UnfitPatch."""
    # Inside a repository git would apply nothing to files that it does not track, and say nothing.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(tree.parent)
    apply = ["git", "apply", "--whitespace=nowarn", str(mutant.path)]
    done = subprocess.run(apply, cwd=tree, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise UnfitPatch(
            f"{mutant.path.name} no longer applies ({' '.join(done.stderr.split())}): "
            "make it anew, so that it plants the same bug in today's code"
        )
    for name in patched(mutant):
        try:
            py_compile.compile(str(tree / name), doraise=True)
        except py_compile.PyCompileError as error:
            raise UnfitPatch(f"{mutant.path.name} plants what does not compile: {error.msg.strip()}") from error
