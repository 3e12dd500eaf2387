"""Routee's status words and what they mean: one table for words, one for reasons, one for normalised statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from connector.core.coerce import squash
from connector.core.model import Channel, FlowStatus, StepStatus


class Standing(NamedTuple):
    """How far a step status is: a higher rank replaces a lower one, never the other way round."""

    rank: int
    final: bool = False
    success: bool = False


class Reason(NamedTuple):
    """Why a step failed. ``permanent``: this phone will never get it on this channel; ``retryable``: the same message may work later."""

    group: str
    permanent: bool | None = None
    retryable: bool | None = None


_UNREACHABLE, _BLOCKED, _EXPIRED, _REJECTED = "UNREACHABLE", "BLOCKED", "EXPIRED", "REJECTED"
_BALANCE, _PROVIDER, _UNKNOWN = "BALANCE", "PROVIDER", "UNKNOWN"

# Success ranks above failure: a receipt that says "delivered" is a fact no late failure can undo, also where ``expireOnDelivery`` turns a
# delivered Viber message into an expired one. All failures are equal: the first one stays.
STANDING: Mapping[StepStatus, Standing] = {
    StepStatus.UNKNOWN: Standing(0),
    StepStatus.QUEUED: Standing(1),
    StepStatus.SENT: Standing(2),
    StepStatus.RINGING: Standing(3),
    StepStatus.BUSY: Standing(4, final=True),
    StepStatus.NO_ANSWER: Standing(4, final=True),
    StepStatus.EXPIRED: Standing(4, final=True),
    StepStatus.UNDELIVERED: Standing(4, final=True),
    StepStatus.FAILED: Standing(4, final=True),
    StepStatus.UNSENT: Standing(4, final=True),
    StepStatus.DELIVERED: Standing(5, final=True, success=True),
    StepStatus.COMPLETED: Standing(5, final=True, success=True),
    StepStatus.SEEN: Standing(6, final=True, success=True),
}

_SMS_WORDS = {
    "Queued": StepStatus.QUEUED,
    "Pending": StepStatus.QUEUED,  # OTP tracking: "pending or queued steps"
    "Sent": StepStatus.SENT,
    "Delivered": StepStatus.DELIVERED,
    "Undelivered": StepStatus.UNDELIVERED,
    "Expired": StepStatus.EXPIRED,  # OTP; elsewhere an SMS past its TTL is Undelivered/Expired
    "Failed": StepStatus.FAILED,
    "Unsent": StepStatus.UNSENT,
}
# "Sent" is not documented for Viber, but can mean nothing else.
_VIBER_WORDS = _SMS_WORDS | {"Seen": StepStatus.SEEN}
_VOICE_WORDS = {
    "Queued": StepStatus.QUEUED,
    "Initiated": StepStatus.SENT,
    "Ringing": StepStatus.RINGING,
    "InProgress": StepStatus.RINGING,
    "Completed": StepStatus.COMPLETED,
    "Busy": StepStatus.BUSY,
    "NoAnswer": StepStatus.NO_ANSWER,
    "Failed": StepStatus.FAILED,
    "Unsent": StepStatus.UNSENT,
    "Terminated": StepStatus.FAILED,
    "Unknown": StepStatus.UNKNOWN,  # one revision calls it final, one intermediate: so it ends nothing
}
_WORDS: Mapping[Channel, Mapping[str, StepStatus]] = {Channel.SMS: _SMS_WORDS, Channel.VIBER: _VIBER_WORDS, Channel.VOICE: _VOICE_WORDS}

# Reasons where the provider gives none that is known. Voice: Unsent and Terminated mean "no balance".
_DEFAULT_REASONS: Mapping[StepStatus, Reason] = {
    StepStatus.BUSY: Reason(_UNREACHABLE, permanent=False, retryable=True),
    StepStatus.NO_ANSWER: Reason(_UNREACHABLE, permanent=False, retryable=True),
    StepStatus.EXPIRED: Reason(_EXPIRED, permanent=False, retryable=True),
    StepStatus.UNDELIVERED: Reason(_UNKNOWN),
    StepStatus.FAILED: Reason(_PROVIDER),
    StepStatus.UNSENT: Reason(_BALANCE, permanent=False, retryable=True),
}
_WORD_REASONS = {"terminated": Reason(_BALANCE, permanent=False, retryable=True)}

_DETAILS: Mapping[str, Reason] = {
    "Undelivered on Handset": Reason(_UNREACHABLE, permanent=False, retryable=True),
    "Unknown Number": Reason(_UNREACHABLE, permanent=True, retryable=False),
    "Roaming": Reason(_UNREACHABLE, permanent=False, retryable=True),
    "Call Barred": Reason(_BLOCKED, retryable=False),
    "Unknown Status": Reason(_UNKNOWN),
    "Carrier Violation": Reason(_REJECTED, retryable=False),
    "Expired": Reason(_EXPIRED, permanent=False, retryable=True),
    "DND Error Code": Reason(_BLOCKED, permanent=True, retryable=False),
    "Not Viber User": Reason(_UNREACHABLE, permanent=True, retryable=False),
    "Opted Out": Reason(_BLOCKED, permanent=True, retryable=False),
    "System Failure": Reason(_PROVIDER, permanent=False, retryable=True),
    "Message Rejected": Reason(_REJECTED, retryable=False),
    "Timed Out": Reason(_EXPIRED, permanent=False, retryable=True),
    "Unsupported Equipment": Reason(_UNREACHABLE, permanent=True, retryable=False),
    "TTL Expired": Reason(_EXPIRED, permanent=False, retryable=True),
}
# Words that say no more than the status does: known (so never redacted), but no reason of their own.
_PLAIN_DETAILS = ("Sent", "Delivered", "Seen", "Queued", "Undelivered", "Failed")

_CHANNELS = {"sms": Channel.SMS, "viber": Channel.VIBER, "viberotp": Channel.VIBER, "voice": Channel.VOICE}
_FLOW_WORDS = {
    "Queued": FlowStatus.QUEUED,  # not in OTP
    "InProgress": FlowStatus.IN_PROGRESS,
    "Succeeded": FlowStatus.SUCCEEDED,
    "Failed": FlowStatus.FAILED,
}
# ``statusCode`` of a FAILED flow: what it says, and its group; None: that of the flow's last failed step.
_CODES: Mapping[int, tuple[str, str | None]] = {
    0: ("server error", _PROVIDER),
    1: ("insufficient balance", _BALANCE),
    2: ("no step is left", None),
    3: ("the step's end is none that starts the next one", None),
}
_SQUASHED_FLOW_WORDS = {squash(word): status for word, status in _FLOW_WORDS.items()}
_SQUASHED_WORDS = {channel: {squash(word): status for word, status in words.items()} for channel, words in _WORDS.items()}
_SQUASHED_DETAILS = {squash(word): reason for word, reason in _DETAILS.items()}
_KNOWN_DETAILS = _SQUASHED_DETAILS.keys() | {squash(word) for word in _PLAIN_DETAILS}


def channel_of(word: str) -> Channel | None:
    """The channel of a step's ``type`` (or OTP's ``channel``), in any casing."""
    return _CHANNELS.get(squash(word))


def flow_status(word: str) -> FlowStatus | None:
    """A flow's status word, in any casing; None for one that no table knows."""
    return _SQUASHED_FLOW_WORDS.get(squash(word))


def step_status(channel: Channel, word: str) -> StepStatus | None:
    """A step's status word, in any casing, with or without spaces; None for one that no table knows."""
    return _SQUASHED_WORDS[channel].get(squash(word))


def is_known_detail(detail: str) -> bool:
    """Whether this is one of the provider's own detail words (anything else is free text and must be redacted)."""
    return squash(detail) in _KNOWN_DETAILS


def reason_of(status: StepStatus, word: str, detail: str | None) -> Reason | None:
    """Why a step failed, by its detail, else by its word, else by its status; None for a step that did not fail."""
    default = _DEFAULT_REASONS.get(status)
    if default is None:
        return None
    known = _SQUASHED_DETAILS.get(squash(detail)) if detail else None
    return known or _WORD_REASONS.get(squash(word)) or default


def flow_reason(code: int | None, steps: Sequence[str | None]) -> str:
    """The reason group of a flow that reached nobody: by its ``statusCode``, else that of the last step that has one, else UNKNOWN."""
    _, group = _CODES.get(-1 if code is None else code, ("", None))
    return group or next((group for group in reversed(steps) if group), _UNKNOWN)


def status_table_markdown() -> str:
    """The tables above as Markdown, for the documentation."""
    flows = "| flow's word | status |\n| --- | --- |\n" + "".join(f"| {word} | {status} |\n" for word, status in _FLOW_WORDS.items())
    codes = "| statusCode of a failed flow | meaning | reason group |\n| --- | --- | --- |\n" + "".join(
        f"| {code} | {says} | {group or 'of its last failed step'} |\n" for code, (says, group) in _CODES.items()
    )
    head = "| channel | Routee's word | status | rank | final | delivered | reason group | permanent | retryable |\n" + "| --- " * 9 + "|\n"
    words = "".join(
        f"| {channel} | {word} | {status} | {STANDING[status].rank} | {_yes(STANDING[status].final)} | {_yes(STANDING[status].success)} "
        f"| {_reason_cells(reason_of(status, word, None))} |\n"
        for channel, rows in _WORDS.items()
        for word, status in rows.items()
    )
    details = "".join(f"| {detail} | {_reason_cells(reason)} |\n" for detail, reason in _DETAILS.items())
    return (
        f"{flows}\n{codes}\n{head}{words}\n| detailedStatus | reason group | permanent | retryable |\n| --- | --- | --- | --- |\n{details}"
    )


def _reason_cells(reason: Reason | None) -> str:
    return f"{reason.group} | {_yes(reason.permanent)} | {_yes(reason.retryable)}" if reason else "– | – | –"


def _yes(fact: bool | None) -> str:
    return {None: "–", True: "yes", False: "no"}[fact]
