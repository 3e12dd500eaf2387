"""The table of instruments: published names, bounded labels, one attribute each."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from connector.metrics import FROM_ZERO, INSTRUMENTS, PREFIX, Kind, Metrics, markdown_table, process_registry

PUBLISHED = {
    "failover_events_total": ("topic",),
    "failover_sends_total": ("api", "class", "outcome"),
    "failover_attempts_total": ("api", "outcome"),
    "failover_send_seconds": (),
    "failover_provider_seconds": (),
    "failover_statuses_total": ("api", "status", "origin"),
    "failover_doubts": ("class",),
    "failover_resends_total": ("class",),
    "failover_duplicates_total": (),
    "failover_dead_letters_total": ("reason",),
    "failover_callbacks_total": ("result",),
    "failover_polls_total": ("result",),
    "failover_lag_seconds": ("topic",),
    "failover_in_flight": (),
    "failover_breaker_state": ("kind",),
    "failover_lanes": ("state",),
    "failover_fenced_total": (),
    "failover_claim_seconds": (),
    "failover_token_requests_total": ("result",),
    "failover_rules_info": ("version",),
}
BOUNDED = {"topic", "api", "class", "outcome", "status", "origin", "reason", "result", "kind", "state", "version", "code"}
PACKAGE = Path(__file__).parents[2] / "connector"
TYPES: dict[Kind, type[object]] = {Kind.COUNTER: Counter, Kind.GAUGE: Gauge, Kind.HISTOGRAM: Histogram}


def test_the_published_instruments_are_there() -> None:
    """Dashboards and alerts rely on these names and labels."""
    table = {instrument.name: instrument.labels for instrument in INSTRUMENTS}
    assert {name: table.get(name) for name in PUBLISHED} == PUBLISHED


def test_names_follow_the_fields_conventions() -> None:
    """Prefix, base unit, ``_total`` on counters and on nothing else; every name once; a meaning each."""
    names = [instrument.name for instrument in INSTRUMENTS]
    assert len(set(names)) == len(names)
    for instrument in INSTRUMENTS:
        assert re.fullmatch(PREFIX + r"[a-z]+(_[a-z]+)*", instrument.name)
        assert instrument.name.endswith("_total") == (instrument.kind is Kind.COUNTER)
        assert not instrument.name.endswith(("_ms", "_millis", "_kb"))
        assert instrument.help
        assert bool(instrument.buckets) == (instrument.kind is Kind.HISTOGRAM)
        assert instrument.buckets == tuple(sorted(instrument.buckets))


def test_labels_are_bounded() -> None:
    """No label can hold a phone, a flow id or an event id."""
    assert {label for instrument in INSTRUMENTS for label in instrument.labels} <= BOUNDED


def test_every_instrument_is_an_attribute_and_no_attribute_is_more() -> None:
    """The class says for mypy what the table says for Prometheus: neither can drift."""
    metrics = Metrics()
    assert set(Metrics.__annotations__) == {instrument.attribute for instrument in INSTRUMENTS}
    for instrument in INSTRUMENTS:
        assert type(getattr(metrics, instrument.attribute)) is TYPES[instrument.kind]
        assert Metrics.__annotations__[instrument.attribute] == TYPES[instrument.kind].__name__


def test_every_instrument_is_used() -> None:
    """Nothing is shown that no line of the connector ever sets."""
    used = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).rpartition(".")[2] in {"metrics", "_metrics"}
    }
    assert [instrument.name for instrument in INSTRUMENTS if instrument.attribute not in used] == []


def test_two_do_not_collide() -> None:
    """Each has its registry: what one counts, the other does not."""
    one, two = Metrics(), Metrics()
    one.events.labels("a").inc()
    assert b'failover_events_total{topic="a"} 1.0' in one.render()
    assert b"topic=" not in two.render()
    assert b"_created" not in one.render()


def test_the_first_of_its_kind_is_an_increase() -> None:
    """What alerts count is there at 0 before anything happened: a series born at 1 shows no increase."""
    shown = Metrics().render().decode().splitlines()
    for line in (
        'failover_double_accepts_total{class="otp"} 0.0',
        'failover_dead_letters_total{reason="BAD_JSON"} 0.0',
        'failover_sends_total{api="otp",class="otp",outcome="EXPIRED"} 0.0',
        'failover_sends_total{api="",class="",outcome="INVALID"} 0.0',
        'failover_attempts_total{api="transactional",outcome="accepted"} 0.0',
        'failover_callbacks_total{result="forged"} 0.0',
        'failover_lane_drops_total{reason="fenced"} 0.0',
    ):
        assert line in shown


def test_every_labelled_counter_that_an_alert_reads_starts_at_0() -> None:
    """An alert on another counter must say here which label values it has."""
    alerts = (PACKAGE.parent / "deploy/prometheus/alerts.yaml").read_text()
    read = set(re.findall(r"(failover_\w+_total)[^\n]*\[", alerts))
    assert len(read) > 5
    assert {one.attribute for one in INSTRUMENTS if one.name in read and one.labels} <= FROM_ZERO.keys()


def test_a_label_too_few_is_an_error() -> None:
    """A wrong use shows in the first test that runs it."""
    with pytest.raises(ValueError, match="label"):
        Metrics().sends.labels("otp")


def test_the_process_is_measured_too() -> None:
    """In production the registry also tells of memory and descriptors."""
    assert b"process_open_fds" in Metrics(process_registry()).render()


def test_the_markdown_table_has_a_row_each() -> None:
    """What the README shows is the table itself."""
    lines = markdown_table().splitlines()
    assert len(lines) == 2 + len(INSTRUMENTS)
    assert all(line.count("|") == 5 for line in lines)
