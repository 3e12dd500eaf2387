"""``examples/`` as a user runs them, on topics that a real connector has written."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.acceptance.conftest import Ended
from tests.acceptance.test_cli import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]  # the first test waits for a connector's work


def report(topics: dict[str, Any], bootstrap_servers: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    script = ROOT / "examples/delivery_report.py"
    places = ["--bootstrap-servers", bootstrap_servers, "--sends", topics["sends"], "--statuses", topics["statuses"]]
    return subprocess.run(
        [sys.executable, "-W", "error", str(script), *places, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def repeat(bootstrap_servers: str, *topics: str) -> int:
    """Write everything once more, as a process frozen while writing could; gives how many events that were."""
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "nobody", "enable.auto.commit": False})
    written = 0
    for topic in topics:
        places = [TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, 20).topics[topic].partitions]
        left = sum(consumer.get_watermark_offsets(place, 20)[1] for place in places)
        consumer.assign(places)
        for _ in range(left):
            message = consumer.poll(20)
            assert message is not None
            producer.produce(topic, message.value(), message.key(), partition=message.partition() or 0, headers=message.headers())
        written += left
    consumer.close()
    producer.flush(20)
    return written


def test_the_delivery_report_counts_what_happened(ended: Ended) -> None:
    """Known scenarios give known numbers, by channel and by fallback; everything written twice changes nothing but the repeats."""
    settings = yaml.safe_load((ended.folder / "connector.yaml").read_text())
    topics, servers = settings["topics"], settings["kafka"]["bootstrap_servers"]
    answer = report(topics, servers, "--json")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    sent = [event.scenario for event in ended.events if event.fate == "sent"]
    reached_at_once, reached_later, lost = (sent.count(name) for name in ("viber_ok", "viber_expired_sms_ok", "all_fail"))
    assert min(reached_at_once, reached_later, lost) > 0
    assert told["flows"] == len(ended.events)
    assert told["outcomes"]["ACCEPTED"] == len(sent)
    assert told["under_way"] == told["repeats_dropped"] == 0
    accepted = told["accepted"]["all"]
    assert (accepted["tried"], accepted["delivered"]) == (len(sent), reached_at_once + reached_later)
    by_channel = {name: (share["tried"], share["delivered"]) for name, share in told["channels"].items()}
    assert by_channel == {"viber": (len(sent), reached_at_once), "sms": (reached_later + lost, reached_later)}
    [(name, fallback)] = told["fallbacks"].items()
    assert (name, fallback["tried"], fallback["delivered"]) == ("viber → sms", reached_later + lost, reached_later)
    assert fallback["rate"] == pytest.approx(reached_later / (reached_later + lost))

    repeats = repeat(servers, topics["sends"], topics["statuses"])
    again = json.loads(report(topics, servers, "--json", "--since", "1h").stdout)
    assert again == {**told, "repeats_dropped": repeats}
    text = report(topics, servers).stdout
    assert f"{len(ended.events)} flows: {len(sent)} ACCEPTED" in text
    assert f"{repeats} repeats were dropped" in text


def test_a_topic_that_is_not_there_is_named_as_an_error(ended: Ended) -> None:
    """Exit code 1, no stack; a wrong duration is wrong use."""
    servers = yaml.safe_load((ended.folder / "connector.yaml").read_text())["kafka"]["bootstrap_servers"]
    answer = report({"sends": "no-such-topic", "statuses": "no-such-topic"}, servers)
    assert answer.returncode == 1
    assert "Kafka cannot be read: " in answer.stderr
    assert "Traceback" not in answer.stderr
    assert report({"sends": "s", "statuses": "t"}, servers, "--since", "soon").returncode == 2
