"""Alerts and dashboard speak of metrics that exist, with labels that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from connector.metrics import INSTRUMENTS, Kind

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/failover-connector.json").read_text())
SERIES = re.compile(r"(failover_[a-z_]+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"by \(([a-z, ]+)\)")


def expressions() -> Iterator[str]:
    """All of PromQL in deploy/."""
    yield from (alert["expr"] for alert in ALERTS)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])


def known() -> dict[str, frozenset[str]]:
    """Series names as Prometheus stores them, with their labels."""
    names: dict[str, frozenset[str]] = {}
    for instrument in INSTRUMENTS:
        labels = frozenset(instrument.labels)
        if instrument.kind is Kind.HISTOGRAM:
            names |= {f"{instrument.name}_bucket": labels | {"le"}, f"{instrument.name}_sum": labels, f"{instrument.name}_count": labels}
        else:
            names[instrument.name] = labels
    return names


def test_every_series_exists() -> None:
    """A renamed metric or label cannot leave an alert that never fires."""
    series = known()
    for expression in expressions():
        for name, matchers in SERIES.findall(expression):
            assert name in series, expression
            filtered = {matcher.split("=")[0].rstrip("!~ ") for matcher in matchers.split(",") if matcher} - {"namespace"}
            grouped = {label for group in GROUPED.findall(expression) for label in group.split(", ")}
            assert filtered | grouped <= series[name], expression


def test_counters_are_rated() -> None:
    """A counter is read by rate or increase, never by its bare value, which a restart sets back."""
    for expression in expressions():
        for match in re.finditer(r"(\w+)\(failover_\w+(?:_total|_bucket)\b", expression):
            assert match[1] in ("rate", "increase"), expression


def test_alerts_tell_what_to_do() -> None:
    """Each alert has a severity, says what is wrong for people, and names the first thing to do."""
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("page", "ticket"), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "action"}, alert["alert"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not on PATH: the alerts' own test was not run")
def test_alerts_fire() -> None:
    """The alerts' own test passes: they fire when they should, and not before."""
    result = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yaml"], cwd=DEPLOY / "prometheus", check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
