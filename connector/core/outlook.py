"""What a flow waits for and what happens next, from its journal row and the settings alone: for people, and for the agenda's polls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from connector.core import reasons, status
from connector.core.doubt import class_policy, wait_ms
from connector.core.flow import Flow, State
from connector.core.model import FlowStatus, InDoubt, MessageClass
from connector.core.progress import FlowProgress

_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Times:
    """The settings that decide when; milliseconds."""

    lease_ms: int
    timeout_ms: int
    provider_lag_ms: int
    transactional_wait_ms: int
    give_up_ms: int
    poll_schedule_s: tuple[float, ...]
    flow_deadline_ms: int
    class_schedules_s: Mapping[MessageClass, tuple[float, ...]] = field(default_factory=dict)  # in place of poll_schedule_s

    def schedule_s(self, kind: MessageClass | None) -> tuple[float, ...]:
        """After how much silence a flow of this class is polled."""
        return self.class_schedules_s.get(kind, self.poll_schedule_s) if kind is not None else self.poll_schedule_s


@dataclass(frozen=True, slots=True)
class Ahead:
    """One thing to come; ``at_ms`` None: no time can be told."""

    what: str
    at_ms: int | None = None


def deadline_ms(flow: Flow, flow_deadline_ms: int) -> int:
    """When an accepted flow without an end is given up: its TTLs and the setting's time after acceptance."""
    return (flow.accepted_at_ms or 0) + flow.facts.ttl_total_ms + flow_deadline_ms


def poll_ms(flow: Flow, schedule_s: tuple[float, ...], now_ms: int) -> int:
    """The next point of the schedule after the last news, with jitter from the flow's hash.

    Behind the schedule's end its last step is repeated: a flow found silent after an outage is asked about soon, too.
    """
    jitter = jitter_of(flow.facts.flow_id)
    since_ms = min(flow.changed_at_ms, now_ms)  # news of the future: the clock was set back, which must not put off what comes next
    points = (since_ms + int(point * 1000 * jitter) for point in schedule_s)
    last_ms = int(schedule_s[-1] * 1000 * jitter)
    later_ms = now_ms + last_ms - (now_ms - since_ms) % last_ms
    return next((point for point in points if point > now_ms), later_ms)


def jitter_of(flow_id: str) -> float:
    """1 to 1.2, the same for a flow in every process."""
    return 1.0 + _JITTER * int(flow_id[:4], 16) / 0xFFFF


# ------------------------------------------------------------------------------------------------------------ state in words


def state_words(flow: Flow) -> str:
    """Where the flow stands, in plain words."""
    if flow.state is State.ACCEPTED:
        return _accepted_words(flow)
    return {
        State.PARKED: "waiting for its next try",
        State.INTENT: f"attempt {flow.attempt} is being sent; its answer is not known yet",
        State.NOT_SENT: f"attempt {flow.attempt} did not leave us; it is tried again",
        State.DOUBT: f"attempt {flow.attempt} may or may not have reached Routee",
        State.REJECTED: "Routee refused it; nothing was sent",
        State.EXPIRED: "not sent: its time was over",
        State.SUPPRESSED: "not sent, by decision",
        State.UNROUTED: "no rule matches; nothing to send",
        State.INVALID: "no message could be made of it; it is in the dead letters",
        State.UNKNOWN: "maybe sent, and no way left to know by machine",
    }.get(flow.state, "just begun")


def _accepted_words(flow: Flow) -> str:
    progress = flow.progress
    if progress is None:
        return "Routee took it"
    reached = [step for step in progress.steps if step.final and step.rank > _FAILED_RANK]
    if reached:
        return "delivered by " + ", ".join(dict.fromkeys(step.channel.value for step in reached))
    if progress.delivered:
        return "delivered"
    if progress.undelivered:
        return "Routee took it, and no step reached the person" + _failures(progress)
    if progress.status is FlowStatus.UNKNOWN:
        return "Routee took it, and was silent about it until the deadline"
    under_way = next((step.channel.value for step in reversed(progress.steps) if not step.final), "")
    if under_way:
        return f"Routee took it; {under_way} is under way"
    return "Routee took it; no end is known yet"


def _failures(progress: FlowProgress) -> str:
    """``: viber EXPIRED (EXPIRED), sms UNDELIVERED (UNREACHABLE, Unknown Number)``; nothing where no step is known."""
    failed = [step for step in progress.steps if step.final]
    why = [", ".join(word for word in (step.reason_group, step.detail) if word) for step in failed]
    words = [f"{step.channel} {step.status}" + (f" ({said})" if said else "") for step, said in zip(failed, why, strict=True)]
    return ": " + ", ".join(words) if words else ""


_FAILED_RANK = 4


_UNDELIVERED: Mapping[str, str] = {
    "UNREACHABLE": "Is the phone right, and on? A new event sends anew.",
    "BLOCKED": "The person or the network blocks such messages: another channel, or ask the person.",
    "EXPIRED": "It could not be reached in the steps' `ttl`: a new event sends anew.",
    "REJECTED": "Ask Routee: the network refuses the sender, or the text.",
    "BALANCE": "Top up the account at Routee; a new event sends anew.",
    "PROVIDER": "A fault at Routee or behind it: a new event sends anew.",
}


def reason_words(flow: Flow) -> tuple[str, str]:
    """What the flow's own reason code means, and what to do about it; empty where there is nothing to say."""
    if flow.state is State.ACCEPTED and flow.progress is not None and flow.progress.undelivered:
        group = status.reason_group(flow.progress) or ""
        return (f"why it reached nobody: {group}", _UNDELIVERED[group]) if group in _UNDELIVERED else ("", "")
    code = flow.reason
    if code is None and flow.state in {State.DOUBT, State.INTENT, State.NOT_SENT} and flow.attempts:
        code = flow.attempts[-1].reason
    found = reasons.meaning(code) if code else None
    return (found.says, found.remedy) if found else ("", "")


# ------------------------------------------------------------------------------------------------------------------- next


def outlook(flow: Flow, times: Times, now_ms: int, claimed_ms: int | None) -> tuple[Ahead, ...]:
    """What comes next, soonest first. ``claimed_ms``: when the claim was written under which the flow's row stands, if known."""
    return tuple(sorted(_ahead(flow, times, now_ms, claimed_ms), key=lambda one: (one.at_ms is None, one.at_ms or 0)))


def _ahead(flow: Flow, times: Times, now_ms: int, claimed_ms: int | None) -> Iterator[Ahead]:
    match flow.state:
        case State.PARKED | State.NOT_SENT if flow.called:
            yield Ahead("an attempt's URL was called: it ends as UNKNOWN (called_back)", flow.due_ms)
        case State.PARKED:
            yield Ahead(f"attempt {flow.next_attempt}", flow.due_ms)
            yield _expiry(flow)
        case State.NOT_SENT:
            yield Ahead(f"attempt {flow.next_attempt}, within seconds")
            yield _expiry(flow)
        case State.INTENT:
            posted_ms = flow.attempts[-1].at_ms if flow.attempts else flow.facts.occurred_at_ms
            yield Ahead("an answer, or the attempt is a doubt", posted_ms + times.lease_ms + times.timeout_ms)
        case State.DOUBT:
            yield from _doubt(flow, times, claimed_ms)
        case State.ACCEPTED if not flow.finished:
            ends_ms = deadline_ms(flow, times.flow_deadline_ms)
            asked_ms = poll_ms(flow, times.schedule_s(flow.facts.message_class), now_ms)
            yield Ahead("Routee is asked, unless a callback comes before", min(ends_ms, asked_ms))
            yield Ahead("without an end by then it is UNKNOWN (silent)", ends_ms)
        case State.ACCEPTED:
            yield Ahead("nothing; a late receipt would be written as a correction")
        case State.UNKNOWN:
            yield Ahead("nothing by itself; a late proof would correct it")
        case _:
            yield Ahead("nothing: this is its end")


def _expiry(flow: Flow) -> Ahead:
    end = "UNKNOWN (expired)" if flow.ever_doubted else "EXPIRED"
    return Ahead(f"not sent by then, it is {end}", flow.facts.expires_at_ms)


def _doubt(flow: Flow, times: Times, claimed_ms: int | None) -> Iterator[Ahead]:
    """Tracking is searched until absence is conclusive; an inherited doubt counts from the claim."""
    policy = class_policy(flow.facts.message_class or MessageClass.MARKETING, flow.facts.in_doubt)
    posted_ms = flow.attempts[-1].at_ms if flow.attempts else flow.facts.occurred_at_ms
    inherited = claimed_ms is not None and claimed_ms > posted_ms
    since_ms = claimed_ms if inherited and claimed_ms is not None else posted_ms
    wait = wait_ms(
        policy,
        inherited=inherited,
        lease_ms=times.lease_ms,
        timeout_ms=times.timeout_ms,
        lag_ms=times.provider_lag_ms,
        transactional_wait_ms=times.transactional_wait_ms,
    )
    yield Ahead("Routee's tracking is searched again and again; found there, it is ACCEPTED")
    over = flow.facts.expires_at_ms <= since_ms + wait
    if flow.resent or flow.overtaken or flow.called or over or policy is InDoubt.NEVER:
        then = "not found by then, it ends as UNKNOWN"
    else:
        then = f"not found by then, it is sent once more (attempt {flow.next_attempt}, flagged)"
    yield Ahead(then, since_ms + wait)
    yield Ahead("tracking without an answer until then: UNKNOWN (search_failed)", since_ms + times.give_up_ms)
