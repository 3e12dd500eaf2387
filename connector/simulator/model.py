"""The simulated provider's own records: flows and their steps as they change."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, field
from typing import Any

from connector.simulator.scenarios import Scenario

Json = dict[str, Any]


class Api(enum.StrEnum):
    """The three sends (Routee's documentation: Standard Failover, Transactional Failover, OTP Failover)."""

    STANDARD = "standard"
    TRANSACTIONAL = "transactional"
    OTP = "otp"


@dataclass(slots=True)
class Step:
    """One step of an accepted flow. ``status`` is in the channel's own casing; None before the step has started."""

    doc: Json
    channel: str  # Sms, Viber, Voice
    order: int
    ttl_s: float
    triggers: frozenset[str]  # lower case
    message_id: str
    status: str | None = None
    detailed: str = ""
    description: str = ""
    started: float = 0.0
    updated: float = 0.0
    expired_on_delivery: float | None = None
    is_unapproved: bool = False  # its template is not: it fails


@dataclass(slots=True)
class Flow:
    """One accepted flow. Times are epoch seconds on the simulator's clock; ``recipient`` is digits only, of the first step."""

    api: Api
    tracking_id: str
    created: float
    steps: list[Step]
    recipient: str
    scenario: Scenario
    rng: random.Random
    label: str | None
    callback: Json | None
    fails_with: int | None = None  # the whole flow fails soon, with this statusCode
    status: str = "Queued"
    status_code: int | None = None
    termination_channel: str | None = None
    updated: float = 0.0
    current: int = -1
    held_callbacks: list[bytes] = field(default_factory=list)
    overtaken_callbacks: list[bytes] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Has the flow reached its end? (An OTP flow's steps may still change.)"""
        return self.status in {"Succeeded", "Failed"}
