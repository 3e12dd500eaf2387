"""The tests find bugs: planted ones, some of them here, all by ``make mutants``; and the one who plants them cannot be fooled."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.laws import End, run
from tests.mutants.patches import Mutant, UnfitPatch, choose, load, rotate
from tests.mutants.tree import ROOT, copy_tracked, patched, plant

NOTED = """
import time
import pytest
def test_held(): pass
def test_broken(): assert 1 == 2
def test_not_raised():
    with pytest.raises(ValueError): pass
@pytest.mark.parametrize("n", range(3))
def test_one_case(n): assert n != 1
def test_crashed(): raise RuntimeError("assert nothing")
def test_slow():
    time.sleep(60)
@pytest.fixture
def gone(): assert False
def test_unprepared(gone): pass
@pytest.mark.skip
def test_skipped(): pass
"""
REQUIRED = {
    "no-lease",
    "no-validity-check",
    "resend-at-once-in-doubt",
    "offsets-before-rows",
    "lane-reused-after-an-unknown-produce",
    "journal-read-only-through-the-own-claim",
    "unsettled-flows-not-adopted",
    "checkpoint-without-barrier",
    "late-result-after-revoke-committed",
    "marketing-resent",
    "callback-acked-before-kafka",
    "redirect-followed",
    "hole-in-a-gap-tolerated",
    "intent-not-awaited",
    "pin-in-a-log",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_planted_bugs_are_caught() -> None:
    """Which three follows from the commit, so that a red run can be run again."""
    done = subprocess.run([sys.executable, "-m", "tests.mutants", "--rotate", "3"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 planted bugs, all caught" in done.stdout


def test_every_bug_can_still_be_planted(tmp_path: Path) -> None:
    """Whoever changes the lines that a patch is about makes the patch anew in the same commit; and each law it names is there."""
    for mutant in load():
        tree = tmp_path / mutant.name
        for name in patched(mutant):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
        plant(mutant, tree)
        assert all(name.startswith("connector/") for name in patched(mutant)), "bugs are planted in the product only"
        for path, _, law in (named.partition("::") for named in mutant.laws):
            assert f"def {law}(" in (ROOT / path).read_text("utf-8"), f"{mutant.path.name}: {path} has no {law}"


def test_the_bugs_that_would_break_the_promise_are_there() -> None:
    """Each rule that the promise rests on has the bug that forgets it, numbered without a gap."""
    mutants = load()
    assert [int(mutant.name[:2]) for mutant in mutants] == list(range(1, len(mutants) + 1))
    assert {mutant.name[3:] for mutant in mutants} >= REQUIRED
    assert len({mutant.bug for mutant in mutants}) == len(mutants)


def test_a_broken_law_is_told_from_a_broken_test(tmp_path: Path) -> None:
    """Only an assertion of the law itself counts: no crash, no time-out, no failed preparation, nothing that did not run."""
    (tmp_path / "test_noted.py").write_text(NOTED)
    names = ("held", "broken", "not_raised", "one_case", "crashed", "slow", "unprepared", "skipped")
    ends = run([f"test_noted.py::test_{name}" for name in names], tmp_path, law_limit_s=1)
    assert dict(zip(names, ends.values(), strict=True)) == {
        "held": End.HELD,
        "broken": End.BROKEN,
        "not_raised": End.BROKEN,
        "one_case": End.BROKEN,
        "crashed": End.UNCLEAR,
        "slow": End.UNCLEAR,
        "unprepared": End.UNCLEAR,
        "skipped": End.ABSENT,
    }


def test_a_run_that_takes_too_long_proves_nothing(tmp_path: Path) -> None:
    """It is ended, and none of its laws counts."""
    (tmp_path / "test_noted.py").write_text(NOTED)
    assert run(["test_noted.py::test_broken", "test_noted.py::test_slow"], tmp_path, limit_s=2) == {
        "test_noted.py::test_broken": End.ABSENT,
        "test_noted.py::test_slow": End.ABSENT,
    }


def test_a_law_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A renamed test must not pass for one that found nothing."""
    (tmp_path / "test_noted.py").write_text(NOTED)
    with pytest.raises(UnfitPatch, match="test_lost"):
        run(["test_noted.py::test_lost"], tmp_path)


def test_a_patch_that_no_longer_fits_is_named(tmp_path: Path) -> None:
    """The code has moved on; or the patch plants what Python cannot read."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "code.py").write_text("a = 1\nb = 2\n")
    patch = tmp_path / "01-x.patch"
    mutant = Mutant("01-x", patch, "bug", "promise", ("law",))
    patch.write_text("--- a/code.py\n+++ b/code.py\n@@ -1,2 +1,2 @@\n a = 1\n-c = 2\n+c = 3\n")
    with pytest.raises(UnfitPatch, match=r"01-x\.patch no longer applies.*code\.py"):
        plant(mutant, tmp_path / "tree")
    patch.write_text("--- a/code.py\n+++ b/code.py\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = (2\n")
    with pytest.raises(UnfitPatch, match="does not compile"):
        plant(mutant, tmp_path / "tree")


def test_a_head_that_says_too_little_is_refused(tmp_path: Path) -> None:
    """Bug, promise and laws are what the table is made of."""
    (tmp_path / "01-x.patch").write_text("# Bug: x\n# Law: y\n--- a/code.py\n")
    with pytest.raises(UnfitPatch, match="needs one Bug, one Promise"):
        load(tmp_path)
    (tmp_path / "01-x.patch").write_text("# Bugs: x\n")
    with pytest.raises(UnfitPatch, match="'Bugs'"):
        load(tmp_path)


def test_rotation_and_choice() -> None:
    """One seed gives the same bugs again, seeds that follow each other all of them; an unknown name is no empty choice."""
    mutants = load()
    assert rotate(mutants, 3, 7) == rotate(mutants, 3, 7)
    rounds = range(100, 100 + -(-len(mutants) // 3))
    assert {mutant for seed in rounds for mutant in rotate(mutants, 3, seed)} == set(mutants)
    assert choose(mutants, ["no-lease"]) == mutants[:1]
    with pytest.raises(UnfitPatch, match="no planted bug is called 'nothing'"):
        choose(mutants, ["nothing"])


def test_a_copy_holds_the_tree_as_it_stands(tmp_path: Path) -> None:
    """Tracked and new files, with what is not committed; nothing that git ignores, and nothing that was deleted."""
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    for name in ("kept.py", "gone.py", ".gitignore"):
        (root / name).write_text("ignored.py\n")
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    (root / "gone.py").unlink()
    (root / "kept.py").write_text("changed\n")
    (root / "new.py").write_text("")
    (root / "ignored.py").write_text("")
    copy = copy_tracked(tmp_path / "copy", root)
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "kept.py", "new.py"]
    assert (copy / "kept.py").read_text() == "changed\n"
