"""A real Kafka for the tests, the first that is there.

``KAFKA_BOOTSTRAP_SERVERS`` → Docker (testcontainers) → Apache Kafka from Maven jars with ``java``. ``find`` starts it and says which
it was; ``NoBroker`` tells why there is none. Own brokers are one KRaft node that forgets everything at its end, with a busy cleaner.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

VERSION: Final = "4.3.1"
IMAGE: Final = "apache/kafka:4.1.0"
ROOT: Final = Path(__file__).parent.parent
JARS: Final = ROOT / ".cache" / "kafka" / VERSION
READY_S: Final = 60.0

SETTINGS: Final[dict[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "log.cleaner.backoff.ms": "500",
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "500",
}


class NoBroker(Exception):
    """None of the ways leads to a broker; the text says why each failed."""


class Broker:
    """A broker that somebody else runs: it can be used, not harmed."""

    can_be_killed = False

    def __init__(self, bootstrap_servers: str, description: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.description = description

    def wait_ready(self, seconds: float = READY_S) -> None:
        """Wait until it answers; raises TimeoutError."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        deadline = time.monotonic() + seconds
        while True:
            try:
                admin.list_topics(timeout=1)
            except KafkaException:
                if time.monotonic() > deadline:
                    msg = f"{self.description}: not ready within {seconds:.0f} s"
                    raise TimeoutError(msg) from None
            else:
                return

    def start(self) -> None:
        """Start it (again), with what it holds."""

    def stop(self) -> None:
        """Stop it cleanly."""

    def kill(self) -> None:
        """Take its process away (kill -9)."""
        raise NotImplementedError(self.description)

    def restart(self) -> None:
        """Kill it, and start it again with what it holds."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Stop it and forget what it holds."""


class JavaBroker(Broker):
    """Apache Kafka as a subprocess, its log in a directory of its own."""

    can_be_killed = True

    def __init__(self, jars: Path, *, lasting: bool = False) -> None:
        """``lasting``: it works long enough for the compiler's best to pay."""
        port, controller = _free_port(), _free_port()
        super().__init__(f"127.0.0.1:{port}", f"Apache Kafka {VERSION} from Maven jars")
        self._java = ["java", "-Xmx512m", "-XX:+UseSerialGC", *(() if lasting else ("-XX:TieredStopAtLevel=1",)), "-cp", f"{jars}/*"]
        self._java.append("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        self._directory = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._properties = self._directory / "server.properties"
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "log.dirs": str(self._directory / "log"),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        # Not every one will do: the tool takes an id that begins with "-" for an option. The first bit of this one is 0.
        cluster = base64.urlsafe_b64encode(bytes([uuid.uuid4().bytes[0] & 0x7F]) + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        storage = ["kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(self._properties)]
        _run([*self._java, *storage], READY_S)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running process, for SIGSTOP and SIGCONT."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with (self._directory / "out").open("ab") as out:
            self._process = subprocess.Popen([*self._java, "kafka.Kafka", str(self._properties)], stdout=out, stderr=out)
        self.wait_ready()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


class DockerBroker(Broker):
    """Apache Kafka in a container; the host's port is chosen before, so that it can be advertised."""

    can_be_killed = True

    def __init__(self) -> None:
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - reads the environment when imported

        port = _free_port()
        super().__init__(f"127.0.0.1:{port}", f"{IMAGE} in Docker")
        settings = SETTINGS | {
            "listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093,INSIDE://localhost:9094",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},INSIDE://localhost:9094",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,INSIDE:PLAINTEXT",
            "inter.broker.listener.name": "INSIDE",  # the broker also calls itself (transaction markers), where the host's port is unknown
            "controller.quorum.voters": "1@localhost:9093",
            "log.dirs": "/tmp/kafka-logs",  # noqa: S108 - in the container
        }
        environment = {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in settings.items()}
        container: Any = DockerContainer(IMAGE).with_envs(**environment)
        container.ports["9092/tcp"] = ("127.0.0.1", port)
        self._container = container
        self._started = False

    def start(self) -> None:
        if self._started:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
        self._started = True
        self.wait_ready()

    def stop(self) -> None:
        self._container.get_wrapped_container().stop(timeout=20)

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def close(self) -> None:
        self._container.stop(force=True, delete_volume=True)


def find(*, lasting: bool = False) -> Broker:
    """The first broker that is there, started and ready; ``lasting`` as for JavaBroker. Raises NoBroker."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        broker = Broker(servers, f"KAFKA_BOOTSTRAP_SERVERS={servers}")
        broker.wait_ready()
        return broker
    reasons: list[str] = []
    for name, make in (("Docker", _in_docker), ("java", lambda: _from_jars(lasting=lasting))):
        try:
            return make()
        except (NoBroker, OSError, subprocess.SubprocessError) as reason:
            reasons.append(f"{name}: {reason}")
    raise NoBroker("; ".join(["KAFKA_BOOTSTRAP_SERVERS is not set", *reasons]))


def _in_docker() -> Broker:
    if shutil.which("docker") is None:
        raise NoBroker("no docker command")
    _run(["docker", "info"], 5)
    try:
        _run(["docker", "image", "inspect", IMAGE], 10)
    except NoBroker:
        _run(["docker", "pull", "--quiet", IMAGE], 120)
    return _started(DockerBroker())


def _from_jars(*, lasting: bool) -> Broker:
    for command in ("java", "mvn"):
        if shutil.which(command) is None:
            raise NoBroker(f"no {command} command")
    return _started(JavaBroker(_jars(), lasting=lasting))


def _started(broker: Broker) -> Broker:
    try:
        broker.start()
    except Exception as reason:
        with contextlib.suppress(Exception):
            broker.close()
        raise NoBroker(f"{broker.description}: {reason}") from reason
    return broker


def _jars() -> Path:
    """Fetched once; test runs that start together wait for each other."""
    complete = JARS / ".complete"
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS.parent / f"{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            pom = str(Path(__file__).parent / "pom.xml")
            _run(["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"], 300)
            complete.touch()
    return JARS


def _run(command: list[str], seconds: float) -> None:
    """Silent on success; its last lines are the reason on failure."""
    done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        raise NoBroker(f"{command[0]} failed: {' '.join(lines[-3:])}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def own_broker(*, lasting: bool = False) -> Iterator[Broker]:
    """A broker of one test's own, which it may kill; ``lasting`` as for JavaBroker. Raises NoBroker where only somebody else's is there."""
    broker = find(lasting=lasting)
    if not broker.can_be_killed:
        raise NoBroker(f"{broker.description} cannot be killed")
    try:
        yield broker
    finally:
        broker.close()


def main() -> int:
    """``make kafka``: one to try things on, until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with own_broker() as broker:
            sys.stdout.write(f"Kafka at {broker.bootstrap_servers} ({broker.description}), until Ctrl-C\n")
            if isinstance(broker, JavaBroker):
                for script, name in (("producer", "ConsoleProducer"), ("consumer", "consumer.ConsoleConsumer")):
                    sys.stdout.write(f"kafka-console-{script}.sh: java -cp '{JARS}/*' org.apache.kafka.tools.{name}\n")
            sys.stdout.flush()
            while True:
                signal.pause()
    except NoBroker as reason:
        sys.stderr.write(f"no Kafka can be started: {reason}\n")
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
