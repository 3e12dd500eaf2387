"""The tree of settings, with the defaults as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from connector.core.model import MessageClass
from connector.settings.layers import did_you_mean
from connector.settings.types import Count, Duration, FilePath, GroupId, Listen, Properties, Rate, Secret, Size, Text, Topic, Url, Weights

FIELDS: Final = ("event_id", "type", "occurred_at", "expires_at", "tenant", "phone", "recipient_id", "locale", "timezone", "data")
"""What ``fields`` may map."""


def _default(value: object, meaning: str) -> Any:  # noqa: ANN401 - a default as people write it; the field's own type parses it
    return Field(default=value, description=meaning)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


# --------------------------------------------------------------------------------------------------------------- sections


class Kafka(_Section):
    """The cluster and this group's place in it."""

    bootstrap_servers: Text = _default("localhost:9092", "brokers to begin with, host:port, separated by commas")
    group_id: GroupId = _default("failover-connector", "consumer group; also prefixes internal topics")
    group_protocol: Literal["classic", "consumer"] = _default("classic", "classic (cooperative-sticky) or consumer (KIP-848)")
    session_timeout: Duration = _default("10s", "classic only: after how long a silent member loses its lanes")
    start_from: Literal["earliest", "latest"] = _default(
        "earliest",
        "where a lane without any history begins: at the first start ever, and in a partition that its input gets later. "
        "With latest, what such a partition held before it was first claimed is passed over (`input_passed`): "
        "set earliest once the group runs, before partitions are added",
    )
    properties: Properties = _default(
        {}, "any librdkafka property (TLS, SASL …) but those the connector owns; `<name>_file` reads a secret"
    )


class Topics(_Section):
    """Input and output topics (internal ones: ``Settings.topic_names``)."""

    notifications: Weights = _default(("notifications",), "input topics; a map {name: weight} gives rate shares")
    sends: Topic = _default("failover.sends", "one SendEvent for each flow's send decision")
    statuses: Topic = _default("failover.statuses", "one StatusEvent for each change of a flow or step")
    dead_letters: Topic = _default("failover.dead-letters", "records that can never be processed")
    suppressions: Topic | None = _default(None, "opt-outs; failover.suppressions to switch it on")
    shadow: Topic = _default("failover.shadow", "what a shadow run would have sent")
    copy_headers: tuple[Text, ...] = _default(
        ("traceparent", "tracestate"), "record headers copied to the outputs, by the process that read the record"
    )
    create: bool = _default(value=False, meaning="true: missing topics are created with the right settings")
    replication_factor: Annotated[int, Field(ge=-1, le=32_767)] = _default(-1, "of created topics; -1: the broker's default")


class Format(_Section):
    """Encodings of events."""

    input: Literal["auto", "avro", "json"] = _default("auto", "auto tells by each record's own framing")
    output: Literal["avro", "json"] = _default("avro", "encoding of sends and statuses")


class SchemaRegistry(_Section):
    """Confluent-compatible schema registry."""

    url: Url | None = _default(None, "null: Avro single-object encoding with the schemas of avro/")
    properties: Properties = _default({}, "any setting of Confluent's registry client (basic.auth.user.info, ssl.ca.location …)")


class OtpApplication(_Section):
    """Credentials of an application of its own for OTP."""

    application_id: Text | None = _default(None, "null: the application above")
    application_secret: Secret | None = _default(None, "null: the application above")


class Routee(_Section):
    """The provider's account and how hard it may be used."""

    auth_url: Url = _default("https://auth.routee.net", "where tokens come from")
    base_url: Url = _default("https://connect.routee.net", "where messages go to")
    application_id: Annotated[Text, Field(description="the application's id, from the provider's console")]
    application_secret: Annotated[Secret, Field(description="the application's secret")]
    otp: OtpApplication = _default({}, "OTP may need an application of its own")
    timeout: Duration = _default("10s", "T: deadline of one request")
    rate: Rate = _default("100/s", "the account's limit, shared over all replicas by lanes")
    max_in_flight: Count = _default(256, "POSTs of one process at once")
    otp_label_visible: bool = _default(value=False, meaning="true once a real OTP list item was seen to carry our label")
    ca_file: FilePath | None = _default(None, "certificates to trust instead of the system's")
    proxy: Annotated[Url | None, Field(repr=False)] = _default(None, "HTTP proxy (CONNECT)")


class Buffer(_Section):
    """How much input a lane holds in memory."""

    records: Count = _default(2000, "records")
    bytes: Size = _default("64MB", "bytes")


class Lane(_Section):
    """The lane protocol's times and bounds."""

    lease: Duration = _default("3s", "L: how long after its intent a send may start")
    provider_lag: Duration = _default("20s", "V: how late an accepted send may become visible to tracking")
    dedup_window: Duration = _default("72h", "how long a known event is not routed again")
    park_max_rows: Count = _default(20_000, "so many flows of one lane may wait for a later attempt; then its input waits, too")
    buffer: Buffer = _default({}, "how much input a lane holds in memory")


class Doubt(_Section):
    """When the provider cannot tell whether a send arrived."""

    give_up: Duration = _default("15m", "tracking unreachable for that long: the flow ends UNKNOWN")
    transactional_wait: Duration = _default("120s", "wait before a transactional message is sent again")


Schedule = Annotated[tuple[Duration, ...], Field(min_length=1)]


class Expiry(_Section):
    """How long a message is worth sending, from the event's time, by class."""

    otp: Duration = _default("3m", "login codes")
    transactional: Duration = _default("6h", "orders, bookings")
    marketing: Duration = _default("24h", "campaigns")

    def of(self, kind: MessageClass) -> timedelta:
        """The expiry of a class."""
        return {MessageClass.OTP: self.otp, MessageClass.TRANSACTIONAL: self.transactional, MessageClass.MARKETING: self.marketing}[kind]


class Schedules(_Section):
    """A class's own polling schedule, in place of ``polling.schedule``."""

    otp: Schedule | None = _default(None, "login codes; null: `polling.schedule`")
    transactional: Schedule | None = _default(None, "orders, bookings; null: `polling.schedule`")
    marketing: Schedule | None = _default(None, "campaigns; null: `polling.schedule`")

    @property
    def chosen(self) -> dict[MessageClass, Schedule]:
        """Those that are set."""
        given = {MessageClass.OTP: self.otp, MessageClass.TRANSACTIONAL: self.transactional, MessageClass.MARKETING: self.marketing}
        return {kind: schedule for kind, schedule in given.items() if schedule is not None}


class Polling(_Section):
    """Asking about accepted flows that stay silent."""

    schedule: Schedule = _default(
        ("30s", "2m", "10m", "30m", "2h", "6h", "24h"), "after how much silence a flow is polled, each step longer than the one before"
    )
    schedules: Schedules = _default({}, "a schedule of its own for a class")
    max_share: Annotated[float, Field(gt=0, le=1)] = _default(
        0.1,
        "polls as a share of sends and polls together, and as a part of `routee.rate`; without callbacks 0.5 unless set. "
        "A few are always allowed, and the last one at a flow's deadline",
    )
    flow_deadline: Duration = _default(
        "1h", "after the sum of a flow's TTLs Routee is asked a last time: still no end means UNKNOWN, silent"
    )


class Callbacks(_Section):
    """The public port that Routee calls."""

    public_url: Url | None = _default(
        None, "https://hooks.example.com, also with a path, which a proxy may take away or not; null: no callbacks, polls only"
    )
    listen: Listen = _default("0.0.0.0:8080", "address of the public port")
    secrets: tuple[Secret, ...] = _default(
        (), "HMAC keys of 32 bytes or more; the first signs, all are good; `secrets_file`: one per line. To change: README, Operations"
    )

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The HMAC keys as bytes. Never log."""
        return tuple(secret.get_secret_value().encode() for secret in self.secrets)


class Admin(_Section):
    """The private port."""

    listen: Listen = _default("0.0.0.0:9090", "/metrics /healthz /readyz /startupz")


class Privacy(_Section):
    """What of a person leaves the process."""

    recipient: Literal["hash", "masked", "clear"] = _default("hash", "recipients in output events")
    pepper: Annotated[
        SecretStr, Field(min_length=16, description="key of all hashes of phones and keys, 16 bytes or more, the same everywhere")
    ]
    dead_letters: Literal["original", "coordinates"] = _default("original", "coordinates: the record's value is left out")


class Shutdown(_Section):
    """How a stop goes."""

    grace: Duration = _default("30s", "how long open POSTs may take to end after SIGTERM")


class Log(_Section):
    """Lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = _default("info", "the least level shown")
    format: Literal["json", "console"] = _default("json", "json for machines, console for people")


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Names of the internal topics, all under the group's."""

    group: str

    def journal(self, notifications: str) -> str:
        """Journal of an input topic."""
        return f"{self.group}.{notifications}.journal"

    def callbacks(self, notifications: str) -> str:
        """Callbacks topic of an input topic."""
        return f"{self.group}.{notifications}.callbacks"

    @property
    def control(self) -> str:
        """The group's control topic."""
        return f"{self.group}.control"


def _field_paths(value: object) -> object:
    for name in value if isinstance(value, dict) else ():
        if name not in FIELDS:
            raise ValueError(f"`{name}` cannot be mapped; {did_you_mean(str(name), FIELDS)}")
    return value


class Settings(_Section):
    """The whole tree. ``Settings.model_validate({...})`` for tests; ``load_settings`` for people."""

    kafka: Kafka = _default({}, "the cluster and this group's place in it")
    topics: Topics = _default({}, "input and output topics")
    format: Format = _default({}, "encodings of events")
    fields: Annotated[Mapping[str, Text], BeforeValidator(_field_paths)] = _default({}, "foreign shapes: our name to a dotted path")
    schema_registry: SchemaRegistry = _default({}, "Confluent-compatible schema registry")
    routee: Routee
    lane: Lane = _default({}, "the lane protocol's times and bounds")
    doubt: Doubt = _default({}, "when the provider cannot tell whether a send arrived")
    expiry: Expiry = _default({}, "how long a message is worth sending")
    polling: Polling = _default({}, "asking about accepted flows that stay silent")
    callbacks: Callbacks = _default({}, "the public port that Routee calls")
    admin: Admin = _default({}, "the private port")
    rules: FilePath = _default("rules.yaml", "a file or a directory")
    privacy: Privacy
    shutdown: Shutdown = _default({}, "how a stop goes")
    log: Log = _default({}, "lines on stderr")

    @property
    def topic_names(self) -> TopicNames:
        """Names of the internal topics."""
        return TopicNames(self.kafka.group_id)

    @property
    def longest_flow(self) -> timedelta:
        """Bound of a flow's life, whatever the rules say: its expiry is cut so that its TTLs and deadline fit the window."""
        return self.lane.dedup_window

    @property
    def poll_share(self) -> float:
        """``polling.max_share``, or half of all requests where there are no callbacks and nothing was set."""
        chosen = "max_share" in self.polling.model_fields_set or self.callbacks.public_url is not None
        return self.polling.max_share if chosen else 0.5

    @property
    def pepper(self) -> bytes:
        """Key of ``identity.pseudonym``. Never log."""
        return self.privacy.pepper.get_secret_value().encode()
