"""``topics`` against a real broker: what is created is what is verified, and what is wrong is named with its remedy."""

from __future__ import annotations

import json
import socket
import uuid
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests import kafka
from tests.acceptance.crew import RULES
from tests.acceptance.test_cli import connector


def settings_file(folder: Path, bootstrap_servers: str, *, create: bool = False) -> str:
    """A settings file with topics that nobody else has; gives their prefix."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    (folder / "connector.yaml").write_text(
        json.dumps({
            "kafka": {"bootstrap_servers": bootstrap_servers, "group_id": prefix},
            "topics": {
                "notifications": [f"{prefix}.in"],
                "create": create,
                "replication_factor": 1,
                **{name: f"{prefix}.{name}" for name in ("sends", "statuses", "dead_letters", "shadow")},
            },
            "routee": {"application_id": "a", "application_secret": "s"},
            "privacy": {"pepper": "0123456789abcdef"},
        })
    )  # fmt: skip
    return prefix


@pytest.mark.broker
def test_create_makes_what_verify_wants(broker: kafka.Broker, tmp_path: Path) -> None:
    """Missing topics are named and refused, created once, then good; a grown input is followed by ``--grow``."""
    prefix = settings_file(tmp_path, broker.bootstrap_servers)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    users_own = NewTopic(f"{prefix}.in", 2, 1)
    admin.create_topics([users_own])[f"{prefix}.in"].result(10)
    missing = connector("topics", "verify", folder=tmp_path)
    assert missing.returncode == 1
    journal = f"{prefix}.{prefix}.in.journal"
    assert f"refuse: {journal}: the journal topic is missing\n    remedy: failover-connector topics create" in missing.stdout

    created = connector("topics", "create", "--json", folder=tmp_path)
    assert created.returncode == 0, created.stderr
    names = json.loads(created.stdout)["created"]
    assert {journal, f"{prefix}.control", f"{prefix}.sends"} <= set(names)
    assert f"{prefix}.in" not in names
    assert connector("topics", "create", folder=tmp_path).stdout == f"all {len(names) + 1} topics are there\n"
    verified = connector("topics", "verify", "--json", folder=tmp_path)
    told = json.loads(verified.stdout)
    assert (verified.returncode, told["ok"]) == (0, True), told
    assert {finding["severity"] for finding in told["findings"]} <= {"note"}

    admin.create_partitions([NewPartitions(f"{prefix}.in", 3)])[f"{prefix}.in"].result(10)
    behind = connector("topics", "verify", folder=tmp_path)
    assert behind.returncode == 1
    assert "must be 3" in behind.stdout
    followed = connector("topics", "create", "--grow", folder=tmp_path)
    assert (followed.returncode, followed.stdout.count("grown ")) == (0, 2), followed.stdout
    assert connector("topics", "verify", folder=tmp_path).returncode == 0


@pytest.mark.broker
@pytest.mark.slow
def test_a_lost_journal_is_begun_on_purpose_only(broker: kafka.Broker, tmp_path: Path) -> None:
    """``run`` and ``topics create`` refuse with exit code 2 and the command; ``topics begin`` makes it, lane by lane, and once."""
    prefix = settings_file(tmp_path, broker.bootstrap_servers, create=True)
    (tmp_path / "rules.yaml").write_text(RULES)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(f"{prefix}.in", 2, 1)])[f"{prefix}.in"].result(10)
    assert connector("topics", "create", folder=tmp_path).returncode == 0
    journal = f"{prefix}.{prefix}.in.journal"
    Producer({"bootstrap.servers": broker.bootstrap_servers}).produce(f"{prefix}.in", b"one", partition=1)
    with_offset = ConsumerGroupTopicPartitions(prefix, [TopicPartition(f"{prefix}.in", 1, 1)])
    admin.alter_consumer_group_offsets([with_offset])[prefix].result(10)
    admin.delete_topics([journal])[journal].result(10)

    for command in (("topics", "create"), ("run", "--role", "worker")):
        refused = connector(*command, folder=tmp_path)
        assert refused.returncode == 2, refused.stderr
        assert f"topic {journal}: the journal is missing although the group has committed offsets" in refused.stderr
        assert "failover-connector topics begin" in refused.stderr
    assert '"event":"start_refused"' in refused.stderr

    dry = connector("topics", "begin", "--dry-run", folder=tmp_path)
    assert dry.stdout == (
        f"would create {journal}\n{prefix}.in/1 would begin at 1\n"
        "2 lanes looked at: 1 to begin, 1 without a committed offset\nnothing was written\n"
    ), dry.stderr
    begun = connector("topics", "begin", "--json", folder=tmp_path)
    assert (begun.returncode, json.loads(begun.stdout)) == (0, {"created": [journal], "lanes": {f"{prefix}.in/1": 1}}), begun.stderr
    assert connector("topics", "begin", folder=tmp_path).stdout == ("2 lanes looked at: 1 with a history, 1 without a committed offset\n")


@pytest.mark.slow
def test_a_broker_that_is_away_is_exit_code_1(tmp_path: Path) -> None:
    """The error says what was asked of the broker; no stack."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings_file(tmp_path, f"127.0.0.1:{closed.getsockname()[1]}")
        answer = connector("topics", "verify", folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "failover-connector: no broker answers at " in answer.stderr
    assert "listing topics: " in answer.stderr
    assert "Traceback" not in answer.stderr
