"""Checks of the repository itself, without network: the locks fit pyproject.toml, and no tracked file names what must not be named."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ]+)(?P<hashes>( --hash=sha256:[0-9a-f]{64})+)$")
# Hosts of package registries (each installation has its own mirror) and absolute paths of a build machine. Brackets keep the patterns
# from finding themselves.
FORBIDDEN = re.compile(
    r"py[p]i\.org|python[h]osted\.org|npm[j]s\.org|repo1?\.maven\.(org|apache\.org)|proxy\.go[l]ang\.org|static\.crates\.i[o]"
    r"|deb\.deb[i]an\.org|/wor[k]/(main|shared|brief)|/roo[t]/\.(pyenv|cache|m2)|/opt/w[h]eels"
)


def read_lock(name: str) -> tuple[dict[str, str], list[str]]:
    """Pinned versions by canonical name, and every line that is not a pin with hashes."""
    pins: dict[str, str] = {}
    odd = []
    for line in (ROOT / name).read_text().replace(" \\\n   ", "").splitlines():
        if match := PINNED.match(line):
            pins[canonicalize_name(match["name"])] = match["version"]
        elif line and not line.startswith("#"):
            odd.append(f"{name}: not a pinned requirement with hashes: {line[:80]}")
    return pins, odd


def unmet(lock: str, pins: dict[str, str], wanted: list[str]) -> Iterator[str]:
    """Requirements of pyproject.toml that the lock lacks or pins outside their bounds."""
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield f"{lock}: pyproject.toml wants {requirement}, the lock has {version or 'nothing'}; run: make lock"


def stale_locks() -> Iterator[str]:
    """Where the three locks and pyproject.toml do not fit together."""
    meta = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, build = meta["project"], meta["build-system"]["requires"]
    run_pins, odd = read_lock("requirements.lock")
    yield from odd
    yield from unmet("requirements.lock", run_pins, project["dependencies"])
    for lock, wanted in (("requirements-build.lock", build), ("requirements-dev.lock", [*project["optional-dependencies"]["dev"], *build])):
        pins, odd = read_lock(lock)
        yield from odd
        yield from unmet(lock, pins, wanted)
        for name in sorted(run_pins.keys() & pins.keys()):
            if pins[name] != run_pins[name]:
                yield f"{lock}: {name} is {pins[name]}, but requirements.lock has {run_pins[name]}; run: make lock"


def forbidden_words() -> Iterator[str]:
    """Lines of tracked files that name a package registry's host or a path of one machine."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if found := FORBIDDEN.search(line):
                yield f"{name}:{number}: names {found.group()}, which must not be in the repository"


if __name__ == "__main__":
    troubles = [*stale_locks(), *forbidden_words()]
    print("\n".join(troubles) or "repository: locks fresh, no forbidden words")
    sys.exit(1 if troubles else 0)
