"""What this release does not keep is refused, not ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.rules_file import load_rules
from connector.settings import Settings
from connector.unenforced import unenforced

RULE = """
rules:
  - name: night
    match: {type: sale}
    class: marketing
    KEY
    steps: [{sms: {from: ACME, body: "Sale", ttl: 10m}}]
"""
REQUIRED = {"routee": {"application_id": "a", "application_secret": "b"}, "privacy": {"pepper": "0123456789abcdef"}}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("quiet_hours: {from: '22:00', to: '08:00', timezone: Europe/Athens}", "quiet_hours"),
        ("limit: {count: 1, per: 1d}", "limit"),
        ('dedupe_key: "{{ data.id }}"', "dedupe_key"),
    ],
)
def test_a_rule_that_promises_too_much_is_refused(tmp_path: Path, line: str, named: str) -> None:
    """A key that nobody enforces yet stops the start, with its rule's place."""
    (tmp_path / "rules.yaml").write_text(RULE.replace("KEY", line))
    table, _ = load_rules(tmp_path / "rules.yaml", {})
    [problem] = unenforced(Settings.model_validate(REQUIRED), table)
    assert named in problem.what
    assert problem.where.startswith("rules.yaml:")


def test_opt_outs_that_nobody_reads_are_refused(tmp_path: Path) -> None:
    """A suppressions topic would be ignored: refused; without it nothing is wrong."""
    (tmp_path / "rules.yaml").write_text(RULE.replace("    KEY\n", ""))
    table, _ = load_rules(tmp_path / "rules.yaml", {})
    assert unenforced(Settings.model_validate(REQUIRED), table) == ()
    [problem] = unenforced(Settings.model_validate(REQUIRED | {"topics": {"suppressions": "opt-outs"}}), table)
    assert problem.where == "topics.suppressions"
