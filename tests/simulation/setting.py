"""What one seed decides beforehand: policy, rules, events, processes, and the schedule of faults."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import orjson

from connector.core import identity
from connector.core.model import MessageClass
from connector.core.routing import RoutingTable
from connector.ports import LaneId
from connector.rules_file import load_rules
from connector.services.parts import Policy
from tests.simulation.kafka import Weather
from tests.simulation.routee import Moods

EPOCH_MS = 1_800_000_000_000
TOPIC = "notifications"
_RULES = """
rules:
  - name: code
    match: {type: code}
    class: otp
    send: otp
    steps: [{sms: {from: ACME, body: "Code {{ data.pin }}", ttl: 30s}}]
  - name: viber-code
    match: {type: viber-code}
    class: otp
    send: otp
    steps:
      - viber_otp:
          sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10
          template: 0aac888f-2ee2-4112-9659-1755a951966a
          pin: "{{ data.pin }}"
          ttl: 30s
      - sms: {from: ACME, body: "Code {{ data.pin }}", ttl: 30s}
  - name: order
    match: {type: order}
    class: transactional
    steps: [{sms: {from: ACME, body: "Order {{ data.id }}", ttl: 1m}}]
  - name: shipped
    match: {type: shipped}
    class: transactional
    steps:
      - viber:
          sender: 6c1c7f0e-7f43-4a6e-9d0e-3f2a1f1d9b10
          template: 7d2b0c9e-1c51-4b6a-8a55-0d6f2b9f3c41
          lang: en
          ttl: 30s
      - sms: {from: ACME, body: "Shipped {{ data.id }}", ttl: 1m}
  - name: invoice
    match: {type: invoice}
    class: transactional
    in_doubt: never
    steps: [{sms: {from: ACME, body: "Invoice", ttl: 1m}}]
  - name: sale
    match: {type: sale}
    class: marketing
    steps: [{sms: {from: ACME, body: "Sale", ttl: 1m}}]
  - name: twin-a
    match: {type: twin}
    class: transactional
    continue: true
    steps: [{sms: {from: ACME, body: "A", ttl: 1m}}]
  - name: twin-b
    match: {type: twin}
    class: transactional
    steps: [{sms: {from: ACME, body: "B", ttl: 1m}}]
"""
RULES_OF: Mapping[str, tuple[str, ...]] = {
    "code": ("code",),
    "viber-code": ("viber-code",),
    "order": ("order",),
    "shipped": ("shipped",),
    "invoice": ("invoice",),
    "sale": ("sale",),
    "twin": ("twin-a", "twin-b"),
    "unheard-of": (),
}
CLASS_OF: Mapping[str, MessageClass] = {
    "code": MessageClass.OTP,
    "viber-code": MessageClass.OTP,
    "order": MessageClass.TRANSACTIONAL,
    "shipped": MessageClass.TRANSACTIONAL,
    "invoice": MessageClass.TRANSACTIONAL,
    "sale": MessageClass.MARKETING,
    "twin-a": MessageClass.TRANSACTIONAL,
    "twin-b": MessageClass.TRANSACTIONAL,
}
NEVER_RESENT = frozenset({"invoice", "sale"})
_MOST_COMMON = ("code", "viber-code", "order", "order", "shipped", "invoice", "sale", "twin", "unheard-of")
_EXPIRY_MS = {MessageClass.OTP: 90_000, MessageClass.TRANSACTIONAL: 400_000, MessageClass.MARKETING: 600_000}


@functools.cache
def rules() -> RoutingTable:
    """The rules of every simulated process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(_RULES)
        return load_rules(path, {})[0]


@dataclass(frozen=True, slots=True)
class Coming:
    """One record that will be produced to the input. ``kind`` "": bytes that are no event; None: a tombstone."""

    at: float
    lane: LaneId
    key: bytes | None
    kind: str | None
    event_id: str
    phone: str
    expires_s: float | None = None

    def value(self, occurred_at_ms: int) -> bytes | None:
        """Its bytes, made when it happens."""
        if self.kind is None:
            return None
        if not self.kind:
            return b'{"event_id": broken ' + self.event_id.encode()
        event = {
            "event_id": self.event_id,
            "type": self.kind,
            "occurred_at": occurred_at_ms,
            "recipient": {"phone": self.phone},
            "expires_at": None if self.expires_s is None else occurred_at_ms + int(self.expires_s * 1000),
            "data": {"id": "1", "pin": "1234"},
        }
        return orjson.dumps(event)

    def expires_at_ms(self, occurred_at_ms: int) -> int | None:
        """By its class and its own word; None where nothing is routed."""
        routed = RULES_OF.get(self.kind or "", ())
        if not routed:
            return None
        own = [] if self.expires_s is None else [occurred_at_ms + int(self.expires_s * 1000)]
        return min([occurred_at_ms + _EXPIRY_MS[CLASS_OF[routed[0]]], *own])


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens at a time. ``slot``: the process it happens to; ``amount``: seconds, steps or milliseconds."""

    at: float
    kind: str
    slot: int = 0
    amount: float = 0.0


@dataclass(slots=True)
class Setting:
    """One run, whole."""

    seed: int
    lanes: tuple[LaneId, ...]
    slots: int
    policy: Policy
    coming: list[Coming]
    faults: list[Fault] = field(default_factory=list)
    weather: Weather = field(default_factory=Weather)
    moods: Moods = field(default_factory=Moods)
    heal_at: float = 1.0
    aim_at_post: float = 0.0  # chance that the sender is killed or stopped at the moment of its POST
    aim_at_intent: float = 0.0  # the same when its INTENT lands
    restart_s: float = 3.0
    shuffled: bool = True
    rate: float = 50.0
    calm_s: float = 8.0  # nothing is to come for so long: the run is over
    fates: dict[tuple[str, int], str] = field(default_factory=dict)  # (flow id, attempt) → what the provider makes of its POST
    kill_at: int = 0  # the step at which the first process of slot 0 is killed
    freeze_at: int = 0  # the same, but it is stopped for ``freeze_s``, and another goes on
    freeze_s: float = 12.0


def policy(rng: Random) -> Policy:
    """Times, short enough that a run is over soon."""
    lag_s = rng.choice((3.0, 8.0, 20.0))
    return Policy(
        lease_s=rng.choice((1.0, 3.0)),
        timeout_s=rng.choice((2.0, 5.0, 10.0)),
        provider_lag_s=lag_s,
        transactional_wait_s=rng.choice((lag_s, 40.0)),
        give_up_s=rng.choice((60.0, 200.0)),
        expiry_ms=_EXPIRY_MS,
        poll_schedule_s=(5.0, 15.0, 30.0),
        flow_deadline_s=20.0,
        checkpoint_s=rng.choice((1.0, 3.0)),
        checkpoint_idle_s=60.0,
        commit_s=1.0,
        short_retry_s=rng.choice((2.0, 5.0)),
        breaker_probe_s=3.0,
        buffer_records=rng.choice((3, 2000)),
    )


def draw(seed: int) -> Setting:
    """Everything a seed decides beforehand; what is decided on the way comes from the same seed."""
    rng = Random(seed)  # noqa: S311 - a seed that replays is the point
    lanes = tuple(LaneId(TOPIC, number) for number in range(rng.choice((1, 1, 2, 3))))
    heal_at = rng.uniform(20, 70)
    setting = Setting(
        seed=seed,
        lanes=lanes,
        slots=rng.choice((1, 2, 2, 3)),
        policy=policy(rng),
        coming=_events(rng, lanes, heal_at),
        heal_at=heal_at,
        restart_s=rng.choice((0.5, 3.0, 10.0)),
        rate=rng.choice((1.0, 20.0, 1000.0)),
        aim_at_post=rng.choice((0.0, 0.0, 0.1, 0.4)),
        aim_at_intent=rng.choice((0.0, 0.0, 0.1, 0.4)),
    )
    setting.weather = _weather(rng)
    setting.moods = _moods(rng)
    setting.faults = _faults(rng, setting)
    setting.moods.edge = rng.choice((0.0, 0.0, 0.3, 0.9))
    return setting


def _events(rng: Random, lanes: tuple[LaneId, ...], until: float) -> list[Coming]:
    coming: list[Coming] = []
    kinds = rng.sample(_MOST_COMMON, rng.randint(1, len(_MOST_COMMON)))
    odd = rng.choice((0.0, 0.1, 0.3))
    for number in range(rng.choice((1, 2, 4, 8, 12))):
        lane = rng.choice(lanes)
        person = rng.randint(0, 2)
        key = None if rng.random() < 0.15 else f"k{lane.partition}{person}".encode()
        phone = f"+30691234{lane.partition}{person}{0 if key else 1}{rng.randint(0, 1)}"
        at = rng.uniform(0, until * 0.8) if rng.random() < 0.5 else rng.uniform(0, 3)
        kind: str | None = rng.choice(kinds)
        if rng.random() < odd:
            kind = rng.choice(("", None))
        expires_s = rng.uniform(1, 60) if rng.random() < 0.15 else None
        coming.append(Coming(at, lane, key, kind, f"e{number}", phone, expires_s))
        if rng.random() < odd and kind:
            again = rng.randint(1, 2)
            coming += [Coming(at + rng.random() * 30, lane, key, kind, f"e{number}", phone, expires_s) for _ in range(again)]
    return sorted(coming, key=lambda one: one.at)


def _some(rng: Random, most: float) -> float:
    """Mostly nothing."""
    return rng.random() * most if rng.random() < 0.25 else 0.0


def _weather(rng: Random) -> Weather:
    return Weather(
        usual_s=rng.choice((0.0, 0.002, 0.05)),
        slow=_some(rng, 0.3),
        slow_s=rng.choice((0.5, 4.0, 20.0)),
        late_ack=_some(rng, 0.3),
        timed_out=_some(rng, 0.1),
        unknown=_some(rng, 0.1),
        twice=_some(rng, 0.3),
    )


def _moods(rng: Random) -> Moods:
    return Moods(
        lost_reply=_some(rng, 0.6),
        cut_reply=_some(rng, 0.6),
        late=_some(rng, 0.6),
        vanished=_some(rng, 0.6),
        server_error=_some(rng, 0.5),
        throttled=_some(rng, 0.5),
        unauthorised=_some(rng, 0.3),
        rejected=_some(rng, 0.3),
        otp_failed=_some(rng, 0.5),
        slow=_some(rng, 0.5),
        no_connection=_some(rng, 0.4),
        pool_wait=_some(rng, 0.4),
        search_fails=_some(rng, 0.7),
        silent=_some(rng, 0.5),
        callback_missing=rng.choice((0.0, 0.3, 1.0)),
        callback_odd=_some(rng, 1.0),
    )


def _faults(rng: Random, setting: Setting) -> list[Fault]:
    kinds = {
        "kill": 4,
        "kill_all": 1,
        "kill_soon": 4,
        "freeze": 5,
        "freeze_soon": 3,
        "stop": 2,
        "cut_off": 3,
        "broker_down": 2,
        "rebalance": 4,
        "forget_commits": 1,
        "fatal": 1,
        "step": 1,
        "slow_claims": 1,
    }
    chosen = rng.sample(list(kinds), rng.randint(0, len(kinds)))
    faults = []
    for _ in range(rng.randint(0, 14) if chosen else 0):
        kind = rng.choices(chosen, [kinds[name] for name in chosen])[0]
        faults.append(Fault(rng.uniform(0, setting.heal_at), kind, rng.randrange(setting.slots), _amount(rng, kind)))
    return sorted(faults, key=lambda fault: fault.at)


def _amount(rng: Random, kind: str) -> float:
    if kind in {"freeze", "freeze_soon", "cut_off", "broker_down"}:
        return rng.choice((rng.uniform(0.2, 3), rng.uniform(3, 30)))
    if kind == "kill_soon":
        return rng.randint(1, 400)
    if kind == "step":
        return rng.randint(-10_000, 10_000)
    return rng.choice((1.0, 30.0))


def one_event(kind: str, fate: str = "accepted", slots: int = 1) -> Setting:
    """No trouble at all but what the provider makes of the first POST: the ground for killing at every step."""
    lane = LaneId(TOPIC, 0)
    fates = {(identity.flow_id("e0", rule), 1): fate for rule in RULES_OF[kind]}
    times = Policy(
        lease_s=1.0,
        timeout_s=2.0,
        provider_lag_s=3.0,
        transactional_wait_s=3.0,
        give_up_s=60.0,
        expiry_ms=_EXPIRY_MS,
        poll_schedule_s=(2.0, 5.0),
        flow_deadline_s=20.0,
        checkpoint_s=1.0,
        commit_s=0.5,
    )
    coming = [Coming(0.2, lane, b"k", kind, "e0", "+306912340000")]
    setting = Setting(seed=1, lanes=(lane,), slots=slots, policy=times, coming=coming, heal_at=1.0, restart_s=0.5, shuffled=False)
    setting.fates, setting.calm_s = fates, 1.0
    return setting
