"""``run --role ingress``: the front door alone, as many of them as there need be."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import httpx
import pytest

from connector.adapters.callback_codec import decode_callback
from connector.adapters.kafka_client import callbacks_topic
from connector.core.capability import CallbackClaim, callback_url, mint
from tests.acceptance.crew import PARTITIONS, Crew
from tests.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_any_ingress_takes_callbacks_of_any_lane(broker: Broker, tmp_path: Path) -> None:
    """Two of them, neither with a lane: each takes what the key has signed, into its lane's partition, and logs no path."""
    with Crew(broker.bootstrap_servers, tmp_path) as crew, httpx.Client(trust_env=False, timeout=10) as client:
        for number in (1, 2):
            crew.start_worker(number, role="ingress")
        key = crew.settings(0, 0)["callbacks"]["secrets"][0].encode()
        tokens, wanted = [], set()
        for number, (admin, public) in crew.ports.items():
            deadline = time.monotonic() + 30
            while client.get(f"http://127.0.0.1:{admin}/readyz").status_code != httpx.codes.OK and time.monotonic() < deadline:
                time.sleep(0.1)
            assert client.get(f"http://127.0.0.1:{admin}/readyz").json() == {"ok": True}
            for partition in range(PARTITIONS):
                claim = CallbackClaim(crew.input, partition, str(uuid.uuid4()), number, bytes(16))
                kid, token = mint((key,), claim)
                url = callback_url(f"http://127.0.0.1:{public}", kid, token)
                assert client.post(url, json={"trackingId": "t-1", "status": "Succeeded"}).status_code == httpx.codes.OK
                assert client.post(f"{url}A", json={}).status_code == httpx.codes.NOT_FOUND
                tokens.append(token)
                wanted.add((partition, claim.flow_id, number))
        assert [crew.stop(number) for number in crew.ports] == [0, 0]
        messages = crew.read(callbacks_topic(crew.name, crew.input))
        told = "".join(path.read_text("utf-8") for path in tmp_path.glob("worker-*.log"))
    taken = [(message.partition(), decode_callback(message.value())) for message in messages]
    assert {(partition, callback.flow_id, callback.attempt) for partition, callback in taken} == wanted
    assert len(taken) == len(wanted)
    assert "http_listening" in told
    assert not [token for token in tokens if token in told]
