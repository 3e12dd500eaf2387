"""The small scripts behind make: they find what they are there to find."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from scripts import check_repo, make_venv


def test_a_python_without_venv_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Debian left ensurepip out, the message names the package to install."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name))
    assert f"apt-get install python3.{sys.version_info[1]}-venv" in make_venv.missing()


def test_a_whole_python_lacks_nothing() -> None:
    """On a complete Python nothing is missing."""
    assert make_venv.missing() == ""


def test_the_locks_are_fresh() -> None:
    """pyproject.toml and the three locks fit together."""
    assert list(check_repo.stale_locks()) == []


@pytest.mark.parametrize("wanted", ["httpx>=99", "not-in-the-lock"])
def test_a_stale_lock_is_seen(wanted: str) -> None:
    """A requirement that the lock lacks, or pins outside its bounds, is reported."""
    pins, _ = check_repo.read_lock("requirements.lock")
    assert list(check_repo.unmet("requirements.lock", pins, [wanted]))


@pytest.mark.parametrize("line", ["https://py" + "pi.org/simple", "/wor" + "k/main/x", "/opt/w" + "heels"])
def test_forbidden_words_are_seen(line: str) -> None:
    """Registry hosts and paths of one machine are found."""
    assert check_repo.FORBIDDEN.search(line)
