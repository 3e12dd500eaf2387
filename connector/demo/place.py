"""Where a run takes place: a Kafka, a simulated Routee, and a folder with the settings and rules that the connector is started with."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.adapters.kafka_admin import KafkaTopics
from connector.adapters.kafka_mock import MockCluster
from connector.adapters.kafka_topics import Role, TopicPlan
from connector.settings import Settings, load_settings
from connector.simulator import Simulator, SimulatorOptions
from connector.wiring import kafka_options, topic_plans

LANES: Final = 4
_OUTPUT_PARTITIONS: Final = 2
_INSTALLED: Final = frozenset(
    {"site-packages", "dist-packages"}
)  # found anyway; on PYTHONPATH they would stand before Python's own library
_RATE: Final = 200
_SECRET: Final = "demo-only-0123456789abcdef0123456789abcdef"  # noqa: S105 - it guards made-up callbacks on this machine for a minute
TIME_SCALE: Final = 720.0
LATENCY_S: Final = (0.02, 0.12)

SCALED: Final[dict[str, dict[str, Any]]] = {
    "routee": {"timeout": "1s"},
    "lane": {"lease": "1s", "provider_lag": "1s"},
    "doubt": {"give_up": "15s", "transactional_wait": "2s"},
    "polling": {
        # dense, so that a flow which stayed silent through a kill is soon asked about
        "schedule": [f"{step}s" for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 62, 78, 97, 120)],
        "flow_deadline": "6s",
        "max_share": 0.5,
    },
}
"""Settings that differ from the defaults so that a life of hours takes seconds; ``Place.scaled`` says them."""
_SESSION_S, _REAL_BROKER_SESSION_S = 3, 6  # a broker allows no less than 6 s unless told so


@dataclass(frozen=True, slots=True)
class Place:
    """One run's surroundings. ``outputs`` maps sends, statuses and dead letters to their topics' names."""

    kafka: str  # how people call it
    bootstrap: str
    config: Path
    settings: Settings
    simulator: Simulator
    plans: tuple[TopicPlan, ...]
    session_s: int

    @property
    def notifications(self) -> str:
        """The input topic."""
        return next(iter(self.settings.topics.notifications))

    @property
    def admin_url(self) -> str:
        """The connector's private port."""
        return f"http://{self.settings.admin.listen}"

    @property
    def scaled(self) -> tuple[str, ...]:
        """What runs faster than in life, for people: Routee, and the connector's waits with their defaults in brackets."""
        hour = f"{3600 / TIME_SCALE:.0f} s"
        return (
            f"Time runs faster: an hour at Routee takes {hour}, and the connector waits less. In seconds, the usual ones in brackets:",
            f"a dead process is noticed after {self.session_s} (10) · Routee may take 1 to answer (10)",
            "a send begins within 1 (3) or not at all · no news for 1 (30): Routee is asked; for 6 (3600): given up",
            "what Routee does not show after 1 (20), or 2 for orders (120), is not there",
        )


@asynccontextmanager
async def open_place(kafka: str | None, seed: int, *, keep: bool) -> AsyncIterator[Place]:
    """Set it all up; at the end everything is taken away, but with ``keep`` a real broker's topics, and the folder that tells of them.

    Raises KafkaUnavailable, or OSError where no port is free.
    """
    async with AsyncExitStack() as stack:
        simulator = Simulator(
            SimulatorOptions(seed=seed, time_scale=TIME_SCALE, latency_s=LATENCY_S, search_lag_s=0.3, late_callback_s=1200.0)
        )
        await simulator.start()
        stack.push_async_callback(simulator.stop)
        folder = stack.enter_context(_folder(keep=keep and kafka is not None))
        cluster = None if kafka else stack.enter_context(MockCluster())
        bootstrap = kafka or (cluster.bootstrap_servers if cluster else "")
        prefix = f"demo-{uuid.uuid4().hex[:6]}." if kafka else ""
        session_s = _REAL_BROKER_SESSION_S if kafka else _SESSION_S
        config = _write(folder, bootstrap, prefix, session_s, simulator)
        settings = load_settings(config, {})
        plans = _sized(topic_plans(settings, shadow=False))
        if cluster is not None:
            for plan in plans:
                cluster.make_topic(plan.name, plan.partitions)
        else:
            stack.enter_context(_topics_on(settings, plans, keep=keep))
        name = f"a real broker at {bootstrap}" if kafka else "librdkafka’s mock cluster"
        yield Place(name, bootstrap, config, settings, simulator, plans, session_s)


def _sized(plans: tuple[TopicPlan, ...]) -> tuple[TopicPlan, ...]:
    """Partition counts of the demo's own."""
    counts = {Role.INPUT: LANES, Role.JOURNAL: LANES, Role.CALLBACKS: LANES, Role.OUTPUT: _OUTPUT_PARTITIONS}
    return tuple(replace(plan, partitions=counts.get(plan.role, 1), partitions_of=None) for plan in plans)


@contextmanager
def _topics_on(settings: Settings, plans: tuple[TopicPlan, ...], *, keep: bool) -> Iterator[None]:
    """This run's own topics on a real broker; taken away again."""
    KafkaTopics(kafka_options(settings)).create(plans)
    try:
        yield
    finally:
        if not keep:
            admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers, "log_level": 0})
            for answer in admin.delete_topics([plan.name for plan in plans]).values():
                with contextlib.suppress(KafkaException):
                    answer.result(10)


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="failover-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, bootstrap: str, prefix: str, session_s: int, simulator: Simulator) -> Path:
    """The settings file and the rules beside it."""
    rules = folder / "rules"
    rules.mkdir()
    shutil.copy(_examples() / "rules.yaml", rules / "examples.yaml")
    (rules / "demo.yaml").write_text((resources.files("connector.demo") / "rules.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    public, admin = _free_ports(2)
    tree: dict[str, Any] = {
        "kafka": {"bootstrap_servers": bootstrap, "group_id": f"{prefix}connector", "session_timeout": f"{session_s}s"},
        "topics": {
            "notifications": [f"{prefix}notifications"],
            "sends": f"{prefix}failover.sends",
            "statuses": f"{prefix}failover.statuses",
            "dead_letters": f"{prefix}failover.dead-letters",
        },
        "format": {"output": "json"},
        "routee": {
            "auth_url": simulator.auth_url,
            "base_url": simulator.base_url,
            "application_id": "demo",
            "application_secret": "demo",
            "rate": f"{_RATE}/s",
        },
        "callbacks": {"public_url": f"http://127.0.0.1:{public}", "listen": f"127.0.0.1:{public}", "secrets": [_SECRET]},
        "admin": {"listen": f"127.0.0.1:{admin}"},
        "rules": "rules",
        "privacy": {"pepper": _SECRET},
    }
    for section, values in SCALED.items():
        tree[section] = tree.get(section, {}) | values
    config = folder / "connector.yaml"
    config.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return config


def _examples() -> Path:
    """The example settings and rules: in the wheel, or in the work tree."""
    packed = Path(str(resources.files("connector"))) / "_examples"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "deploy" / "local"


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def child_environ() -> dict[str, str]:
    """The environment without the user's own settings of a connector; Python finds this very package first, installed or not."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTOR_")}
    home = Path(__file__).resolve().parents[2]
    if home.name in _INSTALLED:
        return inherited
    return inherited | {"PYTHONPATH": os.pathsep.join(filter(None, (str(home), inherited.get("PYTHONPATH"))))}
