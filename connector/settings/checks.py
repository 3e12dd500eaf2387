"""Checks between settings: each alone is fine, together they would break a promise. Values in, findings out."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from connector.core.durations import format_duration
from connector.settings.layers import Place

if TYPE_CHECKING:
    from connector.settings.tree import Settings

OWNED_PROPERTIES: Final = frozenset({
    "acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee", "retries", "message.send.max.retries",
    "max.in.flight", "max.in.flight.requests.per.connection", "message.timeout.ms", "delivery.timeout.ms",
    "delivery.report.only.error", "partitioner", "transactional.id", "transaction.timeout.ms", "group.id", "group.instance.id",
    "group.protocol", "group.remote.assignor", "partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms",
    "auto.offset.reset", "enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store",
    "offset.store.method", "enable.partition.eof", "isolation.level", "allow.auto.create.topics", "bootstrap.servers",
    "metadata.broker.list", "error_cb", "log_cb", "logger", "stats_cb", "throttle_cb", "on_commit", "on_delivery",
})  # fmt: skip
"""librdkafka properties on which the lane protocol rests: the connector's own."""

KEY_BYTES: Final = 32
"""The least length of a callback key: that of the MAC's hash."""

_LONGEST_TOPIC: Final = 249
_LOCAL_ENDINGS: Final = (".localhost", ".local", ".internal", ".svc", ".cluster.local")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, where it is best mended, and which other settings take part in it."""

    place: Place
    what: str
    hint: str = ""
    also: tuple[Place, ...] = ()

    @property
    def concerns(self) -> tuple[Place, ...]:
        """All places that take part."""
        return (self.place, *self.also)


def errors(settings: Settings) -> Iterator[Finding]:
    """What stops the start."""
    yield from _times(settings)
    yield from _topics(settings)
    yield from _kafka(settings)
    yield from _urls(settings)
    yield from _routee(settings)
    yield from _callbacks(settings)


def advice(settings: Settings) -> Iterator[Finding]:
    """What is allowed and yet worth a second look."""
    lane, routee = settings.lane, settings.routee
    resolved = lane.lease + routee.timeout + lane.provider_lag
    if settings.callbacks.public_url is None:
        yield Finding(("callbacks", "public_url"), "is not set: statuses come by polls only, later than by callbacks")
    if settings.privacy.recipient == "clear":
        yield Finding(("privacy", "recipient"), "writes phones into the output topics as they are")
    if settings.shutdown.grace < routee.timeout + lane.lease:
        least = _spell(routee.timeout + lane.lease)
        yield Finding(("shutdown", "grace"), f"is shorter than lane.lease + routee.timeout ({least}): a stop may leave sends in doubt")
    if settings.expiry.otp <= resolved:
        least = _spell(resolved)
        yield Finding(("expiry", "otp"), f"is over before a doubt can be resolved ({least}): a login code in doubt is never sent again")
    if settings.kafka.group_protocol == "consumer" and "session_timeout" in settings.kafka.model_fields_set:
        yield Finding(("kafka", "session_timeout"), "has no effect with group_protocol: consumer (it is the broker's setting there)")


def is_local(host: str) -> bool:
    """Whether plain HTTP to that host stays inside: loopback and private addresses, names without a dot, cluster names."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_ENDINGS)
    return address.is_private or address.is_loopback


def _times(settings: Settings) -> Iterator[Finding]:
    lane, doubt, expiry, polling = settings.lane, settings.doubt, settings.expiry, settings.polling
    longest = max(expiry.otp, expiry.transactional, expiry.marketing) + polling.flow_deadline + doubt.give_up
    if lane.dedup_window <= longest:
        yield Finding(
            ("lane", "dedup_window"),
            f"must be longer than the longest flow: longest expiry + polling.flow_deadline + doubt.give_up = {_spell(longest)}",
            "a repeat of an event that is still open could be sent twice",
            (("expiry",), ("polling", "flow_deadline"), ("doubt", "give_up")),
        )
    if settings.lane.lease > settings.routee.timeout:
        yield Finding(("lane", "lease"), "must not be longer than routee.timeout", also=(("routee", "timeout"),))
    resolved = lane.lease + settings.routee.timeout + lane.provider_lag
    if doubt.give_up <= resolved:
        text = f"must be longer than lane.lease, routee.timeout and lane.provider_lag together ({_spell(resolved)})"
        hint = "before that, tracking cannot prove that a send did not arrive"
        yield Finding(("doubt", "give_up"), text, hint, (("lane", "lease"), ("routee", "timeout"), ("lane", "provider_lag")))
    if doubt.transactional_wait < lane.provider_lag:
        yield Finding(("doubt", "transactional_wait"), "must not be shorter than lane.provider_lag", also=(("lane", "provider_lag"),))
    schedules = {("schedules", kind.value): schedule for kind, schedule in polling.schedules.chosen.items()}
    for path, schedule in ({("schedule",): polling.schedule} | schedules).items():
        if any(later <= earlier for earlier, later in itertools.pairwise(schedule)):
            yield Finding(("polling", *path), "must rise: each step longer than the one before")


def _topics(settings: Settings) -> Iterator[Finding]:
    topics, internal = settings.topics, settings.topic_names
    owners: dict[str, str] = {internal.control: "the control topic"}
    for name in topics.notifications:
        owners |= {internal.journal(name): f"the journal of {name}", internal.callbacks(name): f"the callbacks of {name}"}
    named: list[tuple[Place, str]] = [(("topics", "notifications"), name) for name in topics.notifications]
    for key in ("sends", "statuses", "dead_letters", "suppressions", "shadow"):
        name = getattr(topics, key)
        named += [(("topics", key), name)] if name else []
    for place, name in named:
        if owner := owners.get(name):
            yield Finding(place, f"`{name}` is already {owner}: every topic has one use", also=(("topics",), ("kafka", "group_id")))
        owners.setdefault(name, f"topics.{place[1]}")
    longest = max((internal.callbacks(name) for name in topics.notifications), key=len)
    if len(longest) > _LONGEST_TOPIC:
        yield Finding(
            ("topics", "notifications"), f"gives an internal topic a name of {len(longest)} characters; Kafka takes {_LONGEST_TOPIC}"
        )
    for index, header in enumerate(topics.copy_headers):
        if header.startswith(("failover.", "__connect.")):
            yield Finding(("topics", "copy_headers", index), f"`{header}` is one of the connector's own headers")


def _kafka(settings: Settings) -> Iterator[Finding]:
    homes = {"bootstrap.servers": "bootstrap_servers", "group.id": "group_id", "session.timeout.ms": "session_timeout"}
    homes |= {"metadata.broker.list": "bootstrap_servers", "group.protocol": "group_protocol", "auto.offset.reset": "start_from"}
    for name in settings.kafka.properties:
        if name in OWNED_PROPERTIES:
            hint = f"set kafka.{homes[name]}" if name in homes else "the promise of one message per event rests on it"
            yield Finding(("kafka", "properties", name), "is the connector's own", hint)


def _urls(settings: Settings) -> Iterator[Finding]:
    urls: tuple[tuple[Place, str | None], ...] = (
        (("routee", "auth_url"), settings.routee.auth_url),
        (("routee", "base_url"), settings.routee.base_url),
        (("callbacks", "public_url"), settings.callbacks.public_url),
    )
    for place, url in urls:
        parts = urlsplit(url or "")
        if parts.scheme == "http" and not is_local(parts.hostname or ""):
            yield Finding(place, "must be https (plain http only inside: localhost, private addresses, names without a dot)")
        if parts.username is not None:
            yield Finding(place, "must not hold a user name or password")
    if urlsplit(settings.schema_registry.url or "").username is not None:
        yield Finding(("schema_registry", "url"), "must not hold a password", "use schema_registry.properties: basic.auth.user.info")


def _routee(settings: Settings) -> Iterator[Finding]:
    routee = settings.routee
    if (routee.otp.application_id is None) != (routee.otp.application_secret is None):
        yield Finding(("routee", "otp"), "needs both application_id and application_secret, or neither")
    if routee.ca_file is not None and not routee.ca_file.is_file():
        yield Finding(("routee", "ca_file"), f"{routee.ca_file} is no file")


def _callbacks(settings: Settings) -> Iterator[Finding]:
    callbacks = settings.callbacks
    hint = "make one with: openssl rand -hex 32"
    if callbacks.public_url is not None and not callbacks.secrets:
        yield Finding(("callbacks", "secrets"), "must hold a key when callbacks.public_url is set", hint, (("callbacks", "public_url"),))
    for index, key in enumerate(callbacks.keys):
        if len(key) < KEY_BYTES:
            yield Finding(("callbacks", "secrets", index), f"must be {KEY_BYTES} bytes or longer", hint)
    if len(set(callbacks.keys)) != len(callbacks.keys):
        yield Finding(("callbacks", "secrets"), "holds the same key twice")
    port = callbacks.listen.rpartition(":")[2]
    if port != "0" and port == settings.admin.listen.rpartition(":")[2]:
        yield Finding(("admin", "listen"), "must be another port than callbacks.listen", also=(("callbacks", "listen"),))


def _spell(value: timedelta) -> str:
    return format_duration(value // timedelta(milliseconds=1))
