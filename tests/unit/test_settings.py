"""The settings: names and defaults as published, everything wrong at once and where it stands, secrets never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from connector.adapters.kafka_client import owned_properties
from connector.core.model import MessageClass
from connector.core.notification import FIELDS as MAPPABLE
from connector.errors import ConfigError
from connector.logs import is_secret_key
from connector.settings import (
    FIELDS,
    OWNED_PROPERTIES,
    Settings,
    advice,
    dotted,
    load_settings,
    milliseconds,
    redacted,
    settings_json_schema,
)
from connector.settings.layers import section_of

LEAST = """
routee: {application_id: app, application_secret: s3cret-of-routee}
privacy: {pepper: pepper-of-16-bytes}
"""
KEY = "0123456789abcdef" * 2
EXAMPLE = Path(__file__).parents[2] / "deploy/local/connector.yaml"
# PUBLIC names and defaults, as the file has them.
DEFAULTS: Mapping[str, Any] = {
    "kafka": {
        "bootstrap_servers": "localhost:9092",
        "group_id": "failover-connector",
        "group_protocol": "classic",
        "session_timeout": "10s",
        "start_from": "earliest",
        "properties": {},
    },
    "topics": {
        "notifications": {"notifications": 1.0},
        "sends": "failover.sends",
        "statuses": "failover.statuses",
        "dead_letters": "failover.dead-letters",
        "suppressions": None,
        "shadow": "failover.shadow",
        "copy_headers": ["traceparent", "tracestate"],
        "create": False,
        "replication_factor": -1,
    },
    "format": {"input": "auto", "output": "avro"},
    "fields": {},
    "schema_registry": {"url": None, "properties": {}},
    "routee": {
        "auth_url": "https://auth.routee.net",
        "base_url": "https://connect.routee.net",
        "application_id": "app",
        "application_secret": "**********",
        "otp": {"application_id": None, "application_secret": None},
        "timeout": "10s",
        "rate": "100/s",
        "max_in_flight": 256,
        "otp_label_visible": False,
        "ca_file": None,
        "proxy": None,
    },
    "lane": {
        "lease": "3s",
        "provider_lag": "20s",
        "dedup_window": "3d",
        "park_max_rows": 20_000,
        "buffer": {"records": 2000, "bytes": 64_000_000},
    },
    "doubt": {"give_up": "15m", "transactional_wait": "2m"},
    "expiry": {"otp": "3m", "transactional": "6h", "marketing": "1d"},
    "polling": {
        "schedule": ["30s", "2m", "10m", "30m", "2h", "6h", "1d"],
        "schedules": {"otp": None, "transactional": None, "marketing": None},
        "max_share": 0.1,
        "flow_deadline": "1h",
    },
    "callbacks": {"public_url": None, "listen": "0.0.0.0:8080", "secrets": []},
    "admin": {"listen": "0.0.0.0:9090"},
    "privacy": {"recipient": "hash", "pepper": "**********", "dead_letters": "original"},
    "shutdown": {"grace": "30s"},
    "log": {"level": "info", "format": "json"},
}

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a settings file and loads it; keyword arguments are environment variables."""

    def loading(text: str = LEAST, **environ: str) -> Settings:
        (tmp_path / "connector.yaml").write_text(text)
        return load_settings(tmp_path / "connector.yaml", environ)

    return loading


def problems(load: Load, text: str = LEAST, **environ: str) -> list[str]:
    """The problems of a file, without the folder it lies in."""
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    return [re.sub(r"^/\S*/", "", str(problem)) for problem in caught.value.problems]


def test_the_defaults_are_the_published_ones(load: Load, tmp_path: Path) -> None:
    """Names and defaults are fixed: users, charts and tests rely on them."""
    shown = redacted(load())
    assert shown.pop("rules") == str(tmp_path / "rules.yaml")
    assert shown == DEFAULTS


def test_the_example_is_good() -> None:
    """The example file loads as it is, for the simulator's port and a broker on this machine."""
    settings = load_settings(EXAMPLE, {})
    assert settings.routee.base_url == "http://127.0.0.1:8181"
    assert settings.rules == EXAMPLE.parent / "rules.yaml"


def test_all_problems_are_told_at_once_with_their_lines(load: Load) -> None:
    """Unknown keys, bad values, missing ones and contradictions: one start shows them all, each where it stands."""
    text = """\
kafka:
  grup_id: x
  session_timeout: 10
  properties: {acks: 1}
topics: {sends: notifications}
routee:
  application_id: 123
lane: {dedup_window: 2h}
privacy: {pepper: short}
wrong: 1
"""
    found = problems(load, text, CONNECTOR_ROUTEE__MAX_IN_FLIGHT="many")
    expected = [
        "connector.yaml:2: `kafka.grup_id` is no setting\n    hint: did you mean `group_id`?",
        "connector.yaml:3: `kafka.session_timeout` 10 is not a duration: write the unit too",
        "connector.yaml:4: `kafka.properties.acks` is the connector's own",
        "connector.yaml:5: `topics.sends` `notifications` is already topics.notifications",
        "connector.yaml:6: `routee.application_secret` is missing\n    hint: set it in the file, or as CONNECTOR_ROUTEE__APPLICATION",
        "connector.yaml:7: `routee.application_id` must be text (put it in quotes)",
        "connector.yaml:8: `lane.dedup_window` must be longer than the longest flow",
        "connector.yaml:9: `privacy.pepper` must be 16 characters or longer",
        "connector.yaml:10: `wrong` is no setting\n    hint: valid: admin, callbacks,",
        "CONNECTOR_ROUTEE__MAX_IN_FLIGHT: `routee.max_in_flight` must be a valid integer",
    ]
    for line in expected:
        assert [entry for entry in found if entry.startswith(line)], (line, found)
    assert len(found) == len(expected)


def test_a_wrong_value_is_not_blamed_twice(load: Load) -> None:
    """A check between settings stays silent while one of them is wrong by itself: its default must not be judged in its place."""
    given = LEAST.replace("{application_id", "{timeout: 30 parsecs, application_id") + "lane: {lease: 20s}"
    [found] = problems(load, given)
    assert "'30 parsecs' is not a duration" in found


def test_an_empty_file_names_what_it_needs(load: Load) -> None:
    """What has no default is asked for by name, with the variable that may hold it."""
    found = "\n".join(problems(load, ""))
    assert "`routee` is missing" in found
    assert "`privacy` is missing" in found
    found = "\n".join(problems(load, "routee:\nprivacy:\n"))
    for name in ("routee.application_id", "routee.application_secret", "privacy.pepper"):
        assert f"`{name}` is missing" in found
    assert "CONNECTOR_PRIVACY__PEPPER" in found


@pytest.mark.parametrize("text", ["- a\n- b\n", "text", "a: [", "a: 1\na: 2\n", "\tkafka: 1", "kafka: !!python/object:os.system {}"])
def test_a_file_that_is_no_settings_file_is_a_problem(load: Load, text: str) -> None:
    """Broken YAML, a key twice, no mapping: a problem with its line, not a stack."""
    assert all(entry.startswith("connector.yaml:") for entry in problems(load, text))


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """The error says which file, and how to name another."""
    with pytest.raises(ConfigError, match=r"cannot be read[^\n]*\n *hint: name another file with --config"):
        load_settings(tmp_path / "nowhere.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"kafka: \xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(tmp_path / "latin.yaml", {})


def test_the_environment_goes_over_the_file(load: Load) -> None:
    """Scalars as they are written, lists and maps as JSON, nested keys by two underscores, an empty value unsets what may be null."""
    settings = load(
        LEAST
        + "kafka: {group_id: of-file, properties: {a: 1}}\ncallbacks: {public_url: 'https://h.example.com', secrets: ["
        + KEY
        + "]}\n",
        CONNECTOR_KAFKA__GROUP_ID="of-env",
        CONNECTOR_KAFKA__PROPERTIES='{"b": 2}',
        CONNECTOR_LANE__BUFFER__BYTES="1MB",
        CONNECTOR_ROUTEE__OTP_LABEL_VISIBLE="true",
        CONNECTOR_POLLING__SCHEDULE='["1s", "2s"]',
        CONNECTOR_TOPICS__NOTIFICATIONS='{"a": 3, "b": 1}',
        CONNECTOR_FIELDS__PHONE="customer.mobile",
        CONNECTOR_CALLBACKS__PUBLIC_URL="",
        CONNECTOR_RULES="other.yaml",
        CONNECTOR_PORT="tcp://10.0.0.1:80",
        PATH="/bin",
    )
    assert settings.kafka.group_id == "of-env"
    assert settings.kafka.properties == {"b": 2}
    assert settings.lane.buffer.bytes == 1_000_000
    assert settings.routee.otp_label_visible is True
    assert settings.polling.schedule == (timedelta(seconds=1), timedelta(seconds=2))
    assert settings.topics.notifications == {"a": 3, "b": 1}
    assert settings.fields == {"phone": "customer.mobile"}
    assert settings.callbacks.public_url is None
    assert settings.rules.name == "other.yaml"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CONNECTOR_KAFKA__GRUP_ID", "x", "is no setting\n    hint: did you mean `group_id`?"),
        ("CONNECTOR_KAFKA_GROUP_ID", "x", "is no setting\n    hint: did you mean CONNECTOR_KAFKA__GROUP_ID?"),
        ("CONNECTOR_KAFKA", "{}", "names a section, not a setting"),
        ("CONNECTOR_KAFKA__GROUP_ID__X", "x", "is no setting: `group_id` has no keys of its own"),
        ("CONNECTOR_TOPICS__COPY_HEADERS", "a,b", "must be JSON"),
        ("CONNECTOR_LANE__LEASE", "soon", "`lane.lease` 'soon' is not a duration"),
        ("CONNECTOR_ROUTEE__APPLICATION_SECRET_FILE", "/nowhere/at/all", "cannot be read: /nowhere/at/all: No such file or directory"),
    ],
)
def test_a_bad_variable_is_named(load: Load, name: str, value: str, says: str) -> None:
    """The problem stands at the variable, since that is where it is mended."""
    [found] = problems(load, **{name: value})
    assert found.startswith(f"{name}: ")
    assert says in found


def test_secrets_come_from_files(load: Load, tmp_path: Path) -> None:
    """Beside each secret stands ``<key>_file``, relative to the settings file; a list has one secret a line."""
    for name, text in {"app": "of-file\n", "keys": f"{KEY}1\n{KEY}2\n\n", "sasl": "pässword\n"}.items():
        (tmp_path / name).write_text(text)
    settings = load(
        "routee: {application_id: a, application_secret_file: app}\nprivacy: {pepper: pepper-of-16-bytes}\n"
        "kafka: {properties: {sasl.password_file: sasl}}\n",
        CONNECTOR_CALLBACKS__SECRETS_FILE="keys",
    )
    assert settings.routee.application_secret.get_secret_value() == "of-file"
    assert settings.callbacks.keys == (f"{KEY}1".encode(), f"{KEY}2".encode())
    assert settings.kafka.properties == {"sasl.password": "pässword"}


def test_the_environment_wins_whichever_way_a_secret_is_given(load: Load, tmp_path: Path) -> None:
    """A secret in the environment replaces the file's ``key`` and ``key_file``; both in one place are a contradiction."""
    (tmp_path / "app").write_text("of-file")
    given = "privacy: {pepper: pepper-of-16-bytes}\nroutee: {application_id: a, "
    one = load(given + "application_secret: of-yaml}", CONNECTOR_ROUTEE__APPLICATION_SECRET_FILE="app")
    two = load(given + "application_secret_file: app}", CONNECTOR_ROUTEE__APPLICATION_SECRET="of-env")
    assert one.routee.application_secret.get_secret_value() == "of-file"
    assert two.routee.application_secret.get_secret_value() == "of-env"
    both = problems(load, given + "application_secret: x, application_secret_file: app}")
    assert both == [
        "connector.yaml:2: `routee.application_secret_file` and `application_secret` are both given\n    hint: keep one of them"
    ]
    both = problems(load, CONNECTOR_ROUTEE__APPLICATION_SECRET="x", CONNECTOR_ROUTEE__APPLICATION_SECRET_FILE="app")
    assert both[0].startswith("CONNECTOR_ROUTEE__APPLICATION_SECRET_FILE: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lane: {lease: 11s}", "`lane.lease` must not be longer than routee.timeout"),
        ("doubt: {give_up: 30s}", "`doubt.give_up` must be longer than"),
        ("doubt: {transactional_wait: 10s}", "`doubt.transactional_wait` must not be shorter than lane.provider_lag"),
        ("polling: {schedule: [2m, 2m]}", "`polling.schedule` must rise"),
        ("polling: {schedule: []}", "`polling.schedule` must not be empty"),
        ("topics: {notifications: [a, a]}", "names a topic twice"),
        ("topics: {notifications: []}", "`topics.notifications` must not be empty"),
        ("topics: {notifications: [a b]}", "is no topic name"),
        ("topics: {notifications: {a: 0}}", "must be greater than 0"),
        ("topics: {statuses: failover.sends}", "is already topics.sends"),
        ("topics: {sends: failover-connector.notifications.journal}", "is already the journal of notifications"),
        (f"topics: {{notifications: [{'x' * 249}]}}", "gives an internal topic a name of 278 characters"),
        ("topics: {copy_headers: [failover.id]}", "is one of the connector's own headers"),
        ("kafka: {group_id: 'a b'}", "`kafka.group_id` must be 1 to 180 letters"),
        ("kafka: {properties: {group.id: x}}", "is the connector's own\n    hint: set kafka.group_id"),
        ("callbacks: {public_url: 'https://h.example.com'}", "`callbacks.secrets` must hold a key"),
        (f"callbacks: {{public_url: 'http://h.example.com', secrets: [{KEY}]}}", "`callbacks.public_url` must be https"),
        ("callbacks: {public_url: 'ftp://h'}", "`callbacks.public_url` must be a URL"),
        ("callbacks: {secrets: [short]}", "`callbacks.secrets[0]` must be 32 bytes or longer"),
        (f"callbacks: {{secrets: [{KEY}, {KEY}]}}", "holds the same key twice"),
        ("callbacks: {listen: '8080'}", "`callbacks.listen` must be an address and a port"),
        ("admin: {listen: '127.0.0.1:8080'}", "`admin.listen` must be another port than callbacks.listen"),
        ("fields: {phones: a.b}", "`phones` cannot be mapped; did you mean `phone`?"),
        ("log: {level: loud}", "`log.level` must be 'debug', 'info', 'warning' or 'error'"),
        ("lane: {lease: 0s}", "must be longer than nothing"),
        ("lane: {buffer: {bytes: 1.5}}", "is not a size"),
        ("schema_registry: {url: 'https://me:pw@sr.example.com'}", "must not hold a password"),
    ],
)
def test_what_would_break_a_promise_stops_the_start(load: Load, text: str, says: str) -> None:
    """Each check between settings, alone."""
    [found] = problems(load, LEAST + text)
    assert says in found


@pytest.mark.parametrize(
    ("routee", "says"),
    [
        ("base_url: 'http://connect.routee.net'", "`routee.base_url` must be https"),
        ("auth_url: 'https://me:pw@auth.routee.net'", "must not hold a user name or password"),
        ("rate: 100", "100 is not a rate"),
        ("otp: {application_id: x}", "`routee.otp` needs both"),
        ("ca_file: nowhere.pem", "nowhere.pem is no file"),
        ("max_in_flight: 0", "must be greater than or equal to 1"),
    ],
)
def test_routee_is_checked(load: Load, routee: str, says: str) -> None:
    """The provider's section, alone."""
    [found] = problems(load, f"routee: {{application_id: a, application_secret: s, {routee}}}\nprivacy: {{pepper: pepper-of-16-bytes}}\n")
    assert says in found


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "simulator", "10.1.2.3", "simulator.default.svc", "host.docker.internal"]
)
def test_plain_http_stays_possible_inside(load: Load, host: str) -> None:
    """A simulator in the same network needs no certificate."""
    assert load(LEAST, CONNECTOR_ROUTEE__BASE_URL=f"http://{host}:8181/").routee.base_url == f"http://{host}:8181"


def test_secrets_are_never_shown(load: Load) -> None:
    """Not by repr, not by the start's log line, not by an error."""
    hidden = ["s3cret-of-routee", "pepper-of-16-bytes", KEY, "hunter2", "proxypw"]
    text = LEAST.replace("}", ", proxy: 'http://me:proxypw@proxy:3128'}", 1)
    text += f"callbacks: {{secrets: [{KEY}]}}\nkafka: {{properties: {{sasl.password: hunter2, ssl.ca.location: /ca.pem}}}}\n"
    settings = load(text)
    shown = repr(settings) + str(settings) + orjson.dumps(redacted(settings)).decode()
    shown += "\n".join(problems(load, text + "x: 1\n", CONNECTOR_LANE__LEASE="1h"))
    assert not [secret for secret in hidden if secret in shown]
    assert "/ca.pem" in shown


def test_settings_are_told_by_their_dotted_names(load: Load) -> None:
    """In the log each setting has the name that a person would write; no name of a setting is taken for a phone's or a PIN's field."""
    shown = dotted(redacted(load(LEAST + "fields: {phone: customer.mobile}\n")))
    assert (shown["lane.lease"], shown["fields.phone"], shown["kafka.properties"]) == ("3s", "customer.mobile", {})
    assert sorted(name for name in shown if is_secret_key(name) and "*" not in str(shown[name])) == ["routee.otp.application_secret"]


def test_the_tree_cannot_be_changed(load: Load) -> None:
    """Parsed once, frozen: nobody changes a setting behind another's back."""
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.kafka.group_id = "other"  # type: ignore[misc]


def test_polls_may_take_half_where_there_are_no_callbacks(load: Load) -> None:
    """Without callbacks polls are the only way to a status; a share that somebody chose stays."""
    url = f"callbacks: {{public_url: 'https://h.example.com', secrets: [{KEY}]}}"
    assert load().poll_share == 0.5
    assert load(LEAST + url).poll_share == 0.1
    assert load(LEAST + "polling: {max_share: 0.2}").poll_share == 0.2


def test_a_class_may_have_a_polling_schedule_of_its_own(load: Load) -> None:
    """The others keep the common one; it rises, too."""
    chosen = load(LEAST + "polling: {schedules: {marketing: [10m, 2h]}}").polling.schedules.chosen
    assert {kind: [step.total_seconds() for step in steps] for kind, steps in chosen.items()} == {MessageClass.MARKETING: [600, 7200]}
    (problem,) = problems(load, LEAST + "polling: {schedules: {otp: [2m, 30s]}}")
    assert "polling.schedules.otp" in problem
    assert "must rise" in problem


def test_internal_topics_carry_the_groups_name(load: Load) -> None:
    """Two groups on one cluster never share a journal."""
    names = load(LEAST + "kafka: {group_id: g}").topic_names
    assert (names.journal("in"), names.callbacks("in"), names.control) == ("g.in.journal", "g.in.callbacks", "g.control")


def test_advice_is_given_and_stops_nothing(load: Load) -> None:
    """What is allowed and yet worth a second look."""
    settings = load(
        LEAST.replace("{pepper", "{recipient: clear, pepper")
        + "kafka: {group_protocol: consumer, session_timeout: 9s}\nshutdown: {grace: 1s}\nexpiry: {otp: 10s}\n"
    )
    named = [problem.what.split("`")[1] for problem in advice(settings, "connector.yaml")]
    assert named == ["callbacks.public_url", "privacy.recipient", "shutdown.grace", "expiry.otp", "kafka.session_timeout"]


def test_our_lists_are_the_adapters_and_the_cores() -> None:
    """Settings may import neither, so they keep their own copy: here they are held together."""
    assert owned_properties() == OWNED_PROPERTIES
    assert tuple(MAPPABLE) == FIELDS


def _leaves(model: type[BaseModel]) -> list[tuple[type[BaseModel], str]]:
    found: list[tuple[type[BaseModel], str]] = []
    for name, info in model.model_fields.items():
        section = section_of(info)
        found += _leaves(section) if section else [(model, name)]
    return found


def test_every_setting_says_what_it_means() -> None:
    """The schema is the reference: no setting without a description, secrets also as files, nothing unknown let through."""
    schema = settings_json_schema()
    shapes = {"Settings": schema, **schema["$defs"]}
    for model, name in _leaves(Settings):
        known = shapes[model.__name__]["properties"][name]
        assert known.get("description"), name
        if model.model_fields[name].annotation is SecretStr:
            assert f"{name}_file" in shapes[model.__name__]["properties"]
    assert all(shape["additionalProperties"] is False for shape in shapes.values())
    assert shapes["Routee"]["required"] == ["application_id"]


@given_settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_anywhere_is_a_problem_or_a_setting(value: object) -> None:
    """However wrong a value is, the answer is a validation error, never another exception."""
    for section in ("kafka", "topics", "routee", "lane", "fields", "rules", "polling"):
        try:
            Settings.model_validate(
                {"routee": {"application_id": "a", "application_secret": "s"}, "privacy": {"pepper": "p" * 16}, section: value}
            )
        except ValidationError:
            continue


@given_settings(deadline=None)
@given(st.integers(1, 10**12))
def test_durations_are_whole_milliseconds(number: int) -> None:
    """What the core counts in is exact."""
    assert milliseconds(timedelta(milliseconds=number)) == number
