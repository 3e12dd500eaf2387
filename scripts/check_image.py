"""Build the image, start deploy/compose.yaml, send events through it, stop it, and look at what happened. Needs Docker and free ports.

Shows of the image what no unit test can: it installs, runs read-only as nobody, gets healthy, works on a real Kafka, stops in peace.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer

ROOT = Path(__file__).resolve().parent.parent
BROKER = "localhost:29092"
EVENTS = 40
WAIT_S = 60


def compose(*arguments: str) -> str:
    """Run docker compose on our file; raises CalledProcessError."""
    command = ["docker", "compose", "--file", str(ROOT / "deploy/compose.yaml"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def produce() -> None:
    """Events for the first rules of deploy/local, each to a phone of its own."""
    producer = Producer({"bootstrap.servers": BROKER})
    for number in range(EVENTS):
        phone = f"+3069000{number:05}"
        event = {
            "event_id": f"image-{number}",
            "type": "auth.password_reset",
            "occurred_at": int(time.time() * 1000),
            "recipient": {"phone": phone},
            "data": {"code": f"{number:06}"},
        }
        producer.produce("notifications", json.dumps(event).encode(), key=phone)
    if producer.flush(WAIT_S):
        raise TimeoutError("the events could not be written")


def consume() -> dict[str, str]:
    """Send decisions by event id, once there is one for each event or the time is over."""
    consumer = Consumer(
        {"bootstrap.servers": BROKER, "group.id": "check-image", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe(["failover.sends"])
    decisions: dict[str, str] = {}
    end = time.monotonic() + WAIT_S
    while len(decisions) < EVENTS and time.monotonic() < end:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            send = json.loads(message.value() or b"{}")
            decisions[send["event_id"]] = send["outcome"]
    consumer.close()
    return decisions


def main() -> int:
    """Exit code."""
    try:
        compose("up", "--build", "--wait", "--quiet-pull")
        produce()
        decisions = consume()
        compose("stop", "connector")
        stopped = json.loads(compose("ps", "--all", "--format", "json", "connector").splitlines()[0])["ExitCode"]
        good = list(decisions.values()).count("ACCEPTED") == EVENTS and stopped == 0
        print(f"image: {len(decisions)} of {EVENTS} events decided {sorted(set(decisions.values()))}, stopped with {stopped}")
        if not good:
            print(compose("logs", "--tail", "40", "connector"), file=sys.stderr)
        return 0 if good else 1
    finally:
        compose("down", "--volumes", "--timeout", "5")


if __name__ == "__main__":
    sys.exit(main())
