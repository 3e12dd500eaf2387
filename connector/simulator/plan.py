"""How one step goes, decided when it starts: the documented statuses in order, delays in provider seconds. Pure but for ``rng``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_MIX: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "Sms": (("delivered", "undelivered", "failed", "expired"), (92, 4, 2, 2)),
    "Viber": (("delivered", "seen", "expired", "undelivered", "failed"), (40, 30, 20, 6, 4)),
    "Voice": (("completed", "busy", "no_answer", "failed"), (60, 15, 20, 5)),
}
SUCCESS = frozenset({"delivered", "seen", "completed"})
FINAL = SUCCESS | {"undelivered", "failed", "unsent", "expired", "busy", "noanswer", "terminated"}


@dataclass(frozen=True, slots=True)
class Change:
    """A step's next status, ``after_s`` provider seconds from the step's start. The words are the documented ones."""

    after_s: float
    status: str
    detailed: str
    description: str


def plan_step(channel: str, word: str, ttl_s: float, rng: random.Random, *, expires_on_delivery: bool = False) -> Sequence[Change]:
    """All changes of one step with outcome ``word``; the first is at once. An outcome the channel does not know becomes its nearest."""
    if word == "mixed":
        outcomes, weights = _MIX[channel]
        word = rng.choices(outcomes, weights)[0]
    pace = 0.5 + rng.random()
    if channel == "Sms":
        return _plan_sms(word, ttl_s, pace)
    if channel == "Viber":
        return _plan_viber(word, ttl_s, pace, expires_on_delivery=expires_on_delivery)
    return _plan_voice(word, pace)


def _plan_sms(word: str, ttl_s: float, pace: float) -> Sequence[Change]:
    queued = Change(0, "Queued", "Queued", "The SMS is queued.")
    sent = Change(min(1 * pace, ttl_s / 4), "Sent", "Sent", "The SMS was sent, no receipt yet.")
    receipt = min(4 * pace, ttl_s / 2)
    match word:
        case "silent":
            return (queued, sent)
        case "expired":
            return (queued, sent, Change(ttl_s, "Undelivered", "Expired", "The SMS was not delivered within its ttl."))
        case "undelivered":
            return (queued, sent, Change(receipt, "Undelivered", "Unknown Number", "The SMS could not be delivered."))
        case "failed":
            return (queued, Change(sent.after_s, "Failed", "Failed", "The SMS could not be processed."))
        case "unsent":
            return (queued, Change(sent.after_s, "Unsent", "Failed", "The balance does not suffice."))
        case _:
            return (queued, sent, Change(receipt, "Delivered", "Delivered", "The SMS was sent and it was delivered to its recipient."))


def _plan_viber(word: str, ttl_s: float, pace: float, *, expires_on_delivery: bool) -> Sequence[Change]:
    queued = Change(0, "QUEUED", "Queued", "The message is queued.")
    receipt = min(2 * pace, ttl_s / 2)
    delivered = Change(receipt, "DELIVERED", "Delivered", "The message was delivered to its recipient.")
    expired = Change(ttl_s, "EXPIRED", "TTL Expired", "The message expired.")
    match word:
        case "silent":
            return (queued,)
        case "expired":
            return (queued, expired)
        case "undelivered":
            return (queued, Change(receipt, "UNDELIVERED", "Not Viber User", "The recipient is no Viber user."))
        case "failed":
            return (queued, Change(receipt, "FAILED", "Message Rejected", "The message was not accepted by the platform."))
        case "unsent":
            return (queued, Change(receipt, "UNSENT", "System Failure", "The balance does not suffice."))
        case "seen":
            seen = min(20 * pace, receipt + 0.8 * max(ttl_s - receipt, 0)) if expires_on_delivery else 20 * pace
            return (queued, delivered, Change(max(seen, receipt), "SEEN", "Delivered", "The message was seen by its recipient."))
        case _:
            return (queued, delivered, expired) if expires_on_delivery else (queued, delivered)


def _plan_voice(word: str, pace: float) -> Sequence[Change]:
    start = (
        Change(0, "Queued", "Queued", "The call is queued."),
        Change(1 * pace, "Initiated", "Initiated", "The call was initiated."),
        Change(2 * pace, "Ringing", "Ringing", "The phone is ringing."),
    )
    match word:
        case "silent":
            return start
        case "busy":
            return (*start, Change(4 * pace, "Busy", "Busy", "The line was busy."))
        case "no_answer" | "expired" | "undelivered":
            return (*start, Change(30 * pace, "NoAnswer", "NoAnswer", "Nobody answered."))
        case "failed":
            return (*start[:2], Change(2 * pace, "Failed", "Failed", "The call failed."))
        case "terminated" | "unsent":
            return (*start, Change(4 * pace, "Terminated", "Terminated", "The balance does not suffice."))
        case _:
            talking = Change(8 * pace, "InProgress", "InProgress", "The call was answered.")
            return (*start, talking, Change(20 * pace, "Completed", "Completed", "The call was completed."))
