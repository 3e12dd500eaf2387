"""Every instrument once, with its meaning: ``INSTRUMENTS`` is the table, ``Metrics`` the same table as bound attributes.

Prefix ``failover_``, base units, bounded labels: never a phone, a flow id or an event id. An instrument's attribute is its name
without the prefix and without ``_total``. Bind a child once where it is used often:
``accepted = metrics.sends.labels("otp", "otp", "ACCEPTED")``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from connector.core.flow import State
from connector.core.model import Api, MessageClass
from connector.core.reasons import CALLBACKS, INPUT, LANE_LOSSES

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = "failover_"

FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of what should take milliseconds (Kafka, one HTTP request), in seconds."""
SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Buckets of what may wait for its turn (record to POST, a claim), in seconds."""


class Kind(enum.StrEnum):
    """What Prometheus makes of it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the table. ``name`` is the full name as scraped (counters end in ``_total``)."""

    kind: Kind
    name: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def attribute(self) -> str:
        """Its name on ``Metrics``."""
        return self.name.removeprefix(PREFIX).removesuffix("_total")


def _counter(name: str, labels: str, text: str) -> Instrument:
    return Instrument(Kind.COUNTER, PREFIX + name, tuple(labels.split()), text)


def _gauge(name: str, labels: str, text: str) -> Instrument:
    return Instrument(Kind.GAUGE, PREFIX + name, tuple(labels.split()), text)


def _histogram(name: str, buckets: tuple[float, ...], text: str) -> Instrument:
    return Instrument(Kind.HISTOGRAM, PREFIX + name, (), text, buckets)


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    # input
    _counter("events_total", "topic", "Input records taken by a lane (tombstones and repeats included)"),
    _counter("events_unrouted_total", "topic", "Events that no rule matched (each ends as a SendEvent UNROUTED)"),
    _counter("duplicates_total", "", "Events met again and not routed anew: replays, repeats of a known event id"),
    _counter("tombstones_total", "", "Input records without a value: skipped"),
    _counter("clamped_times_total", "", "Events whose occurred_at lay more than 5 min in the future of Kafka's timestamp, or of our clock"),
    _gauge(
        "oldest_waiting_seconds", "topic", "How long the oldest event without a send decision has waited since Kafka got it (doubts apart)"
    ),
    _gauge(
        "lag_seconds",
        "topic",
        "Fetching only: age of the record last fetched while newer ones are not; 0 when all are in memory, sent or not",
    ),
    _counter("input_gone_total", "topic", "Input records that retention deleted before any lane had read them: lost, not by us"),
    _counter(
        "input_passed_total", "topic", "Input records passed over, since a lane without history began at the end (start_from: latest)"
    ),
    _gauge("input_paused", "reason", "Lanes whose input is held back now: buffer (as much is in memory as lane.buffer allows)"),
    _counter("dead_letters_total", "reason", "Records that can never be processed, by reason code"),
    _counter("dead_letters_truncated_total", "", "Dead letters too large for their topic: value replaced by its SHA-256"),
    _counter("rebalances_total", "kind", "Lanes that came or went with the group: assigned, revoked, lost"),
    _counter("commits_total", "result", "Offset commits of the group: ok, refused"),
    # sending
    _counter("sends_total", "api class outcome", "Send decisions, as written to the sends topic"),
    _counter("attempts_total", "api outcome", "POSTs to Routee by what came of them: accepted, rejected, refused, not_sent, doubt"),
    _histogram("send_seconds", SLOW, "From the record's Kafka timestamp to the first POST of its flow"),
    _histogram("provider_seconds", FAST, "From the first byte of a POST to Routee's whole answer"),
    _gauge("in_flight", "", "POSTs to Routee that wait for an answer now"),
    _gauge("in_flight_limit", "", "POSTs allowed at once now (adaptive, at most routee.max_in_flight)"),
    _gauge("rate_limit", "", "Requests per second this process may make now (its share of routee.rate)"),
    _gauge("breaker_state", "kind", "0 closed, 1 probing, 2 open; kind: provider, auth, balance"),
    _counter("token_requests_total", "result", "Requests for an access token: ok, refused, failed"),
    _gauge("flows", "state", "Flows in memory whose end is still open: new, parked, intent, not_sent, doubt, accepted"),
    # doubt
    _gauge("doubts", "class", "Flows whose last attempt may or may not have reached Routee, now"),
    _gauge("oldest_doubt_seconds", "", "How long the oldest open doubt has lasted; 0 when there is none"),
    _counter("resends_total", "class", "Second messages risked: flows sent again after a doubt (flagged resent_after_doubt)"),
    _counter("double_accepts_total", "class", "Flows of which a second attempt was proven accepted: somebody got it twice (audited)"),
    _counter("corrections_total", "", "Send decisions (UNKNOWN, or accepted by a guess) corrected by a later proof"),
    _counter("searches_total", "result", "Tracking searches for a doubt: found, absent, ambiguous, unanswered"),
    # statuses
    _counter("statuses_total", "api status origin", "StatusEvents, as written to the statuses topic"),
    _counter("status_words_unknown_total", "", "Status words of Routee that no table knows (read as UNKNOWN)"),
    _counter("silent_flows_total", "api", "Accepted flows that reached their deadline without an end (status UNKNOWN, reason silent)"),
    _counter("callbacks_total", "result", "Callbacks by answer: accepted, unparsable, cut, forged, unavailable, overloaded, limited"),
    _counter(
        "callbacks_begun_anew_total", "topic", "Claims whose callbacks log ended before what was heard of it: heard from its start again"
    ),
    _counter("callbacks_orphaned_total", "", "Verified callbacks for a flow that the lane does not know"),
    _histogram("callback_seconds", FAST, "From a callback's whole request to its answer"),
    _counter("polls_total", "result", "Tracking polls for silent flows: changed, unchanged, not_found, unanswered"),
    _counter(
        "poll_requests_total", "kind", "Requests that polls took: flow (for one), window (a page of all that were accepted in a minute)"
    ),
    # lanes
    _gauge("lanes", "state", "Lanes of this process: claiming, running, draining, refused"),
    _counter("fenced_total", "", "Lanes dropped because another process had claimed them"),
    _counter("lane_drops_total", "reason", "Lanes dropped and claimed anew, by reason (fenced included)"),
    _histogram("claim_seconds", SLOW, "From a claim's first row to a running lane"),
    _counter("gaps_read_total", "", "Gaps in a lane's own journal offsets that were read to learn what lies in them"),
    _counter("void_rows_total", "", "Rows met at a claim that a zombie had written"),
    _counter("adopted_flows_total", "class state", "Unsettled flows taken over at a claim, by the state they were left in"),
    _counter("inherited_doubts_total", "class outcome", "Doubts taken over at a claim that have ended: resolved, resent, unknown"),
    _counter("journal_rows_total", "", "Rows written to the journals"),
    _histogram("journal_seconds", FAST, "From queueing a journal row to knowing it valid"),
    _counter("checkpoints_total", "", "Checkpoints written"),
    _gauge("lane_buffer_records", "", "Input records held in memory by all lanes"),
    _gauge("lane_buffer_bytes", "", "Bytes of those"),
    _gauge("ledger_flows", "", "Flows remembered for the dedup window, settled ones included"),
    _counter("outputs_total", "kind", "Output events acknowledged by Kafka: send, status"),
    _gauge("outputs_pending", "", "Output events queued and not yet acknowledged"),
    # surroundings
    _counter("kafka_errors_total", "code", "Errors reported by librdkafka, by its error name"),
    _counter("registry_errors_total", "", "Schema registry requests that failed (input waits, nothing is dropped)"),
    _gauge("rules_info", "version", "1 for the version of the rules in force"),
    _gauge("build_info", "version", "1 for the version of the connector"),
)

_APIS: Final = tuple(Api)
_CLASSES: Final = tuple(MessageClass)
_SETTLED: Final = tuple(state.name for state in State if state.settled)
_ATTEMPT_WORDS: Final = ("accepted", "rejected", "refused", "not_sent", "doubt")

FROM_ZERO: Final[Mapping[str, tuple[Sequence[str], ...]]] = {
    "dead_letters": tuple((reason,) for reason in (*INPUT, *CALLBACKS)),
    "sends": (*product(_APIS, _CLASSES, _SETTLED), *product(("",), ("",), _SETTLED)),
    "attempts": tuple(product(_APIS, _ATTEMPT_WORDS)),
    "resends": tuple((kind,) for kind in _CLASSES),
    "double_accepts": tuple((kind,) for kind in _CLASSES),
    "callbacks": tuple((result,) for result in ("accepted", "unparsable", "cut", "forged", "unavailable", "overloaded", "limited")),
    "lane_drops": tuple((reason,) for reason in LANE_LOSSES),
}
"""Label values of counters that alerts read, by attribute: there from the start, at 0. Prometheus sees no increase in a series that is born
at its first count, so a process's first double would go unnoticed. An event without a rule has neither api nor class: both are empty."""


class Metrics:
    """The table as attributes, on a registry of its own (so that two of them never collide)."""

    events: Counter
    events_unrouted: Counter
    duplicates: Counter
    tombstones: Counter
    clamped_times: Counter
    oldest_waiting_seconds: Gauge
    lag_seconds: Gauge
    input_gone: Counter
    input_passed: Counter
    input_paused: Gauge
    dead_letters: Counter
    dead_letters_truncated: Counter
    rebalances: Counter
    commits: Counter
    sends: Counter
    attempts: Counter
    send_seconds: Histogram
    provider_seconds: Histogram
    in_flight: Gauge
    in_flight_limit: Gauge
    rate_limit: Gauge
    breaker_state: Gauge
    token_requests: Counter
    flows: Gauge
    doubts: Gauge
    oldest_doubt_seconds: Gauge
    resends: Counter
    double_accepts: Counter
    corrections: Counter
    searches: Counter
    statuses: Counter
    status_words_unknown: Counter
    silent_flows: Counter
    callbacks: Counter
    callbacks_begun_anew: Counter
    callbacks_orphaned: Counter
    callback_seconds: Histogram
    polls: Counter
    poll_requests: Counter
    lanes: Gauge
    fenced: Counter
    lane_drops: Counter
    claim_seconds: Histogram
    gaps_read: Counter
    void_rows: Counter
    adopted_flows: Counter
    inherited_doubts: Counter
    journal_rows: Counter
    journal_seconds: Histogram
    checkpoints: Counter
    lane_buffer_records: Gauge
    lane_buffer_bytes: Gauge
    ledger_flows: Gauge
    outputs: Counter
    outputs_pending: Gauge
    kafka_errors: Counter
    registry_errors: Counter
    rules_info: Gauge
    build_info: Gauge

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """``registry`` None: a fresh one, empty but for the table."""
        # A *_created series beside each counter and bucket set doubles the scrape and is read by nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry() if registry is None else registry
        for instrument in INSTRUMENTS:
            setattr(self, instrument.attribute, _create(instrument, self.registry))
        for attribute, known in FROM_ZERO.items():
            for values in known:
                getattr(self, attribute).labels(*values)

    def render(self) -> bytes:
        """Write the scrape in Prometheus' text format. Blocks for ~20 ms with thousands of series: call it in a thread."""
        return generate_latest(self.registry)


def process_registry() -> CollectorRegistry:
    """Make a registry that also tells of the process: CPU, memory, file descriptors, garbage collector, Python's version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def markdown_table() -> str:
    """Print the table as Markdown, for the README."""
    return "\n".join(_table_lines()) + "\n"


def _table_lines() -> Iterator[str]:
    yield "| metric | kind | labels | meaning |"
    yield "| --- | --- | --- | --- |"
    for instrument in INSTRUMENTS:
        labels = ", ".join(f"`{label}`" for label in instrument.labels) or "–"
        yield f"| `{instrument.name}` | {instrument.kind} | {labels} | {instrument.help} |"


_TYPES: Final[Mapping[Kind, type[Counter | Gauge]]] = {Kind.COUNTER: Counter, Kind.GAUGE: Gauge}


def _create(instrument: Instrument, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if instrument.kind is Kind.HISTOGRAM:
        return Histogram(instrument.name, instrument.help, instrument.labels, buckets=instrument.buckets, registry=registry)
    return _TYPES[instrument.kind](instrument.name, instrument.help, instrument.labels, registry=registry)
