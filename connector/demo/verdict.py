"""The checked summary. Pure: what was produced, what stands in Kafka and what Routee saw go in; checks that can fail come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connector.demo.seen import FlowSeen, Seen

_SHOWN = 5  # problems told of one check; the rest are counted


@dataclass(frozen=True, slots=True)
class Expected:
    """One event and the flow it must become."""

    flow_id: str
    event: str  # how people are told which one: type and story
    ends: str  # outcome of the SendEvent
    message_class: str | None
    digits: str = field(repr=False)  # of the recipient
    value: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ProviderFlow:
    """One flow that Routee accepted. ``flow_id`` is what its label says."""

    tracking_id: str
    flow_id: str | None
    digits: str = field(repr=False)
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """What Routee saw, told by itself."""

    accepted: Sequence[ProviderFlow]
    violations: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Life:
    """How the connector's process fared."""

    kills_wanted: int
    kills: int
    last_exit: int | None  # None: it goes on (``--keep``)
    left: int  # input records that are not committed


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the summary; it holds when there are no ``problems``."""

    name: str
    fact: str
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """No problem was found."""
        return not self.problems

    @property
    def told(self) -> tuple[str, ...]:
        """The problems as people are told them: the first few, and how many more there are."""
        more = len(self.problems) - _SHOWN
        return (*self.problems[:_SHOWN], *([f"… and {more} more"] if more > 0 else []))


def examine(events: int, expected: Sequence[Expected], seen: Seen, truth: Truth, life: Life) -> tuple[Check, ...]:
    """Every check of the summary. ``events``: how many were to be produced."""
    return (
        _ended(events, expected, seen),
        _as_told(expected, seen),
        _accepted_once(expected, seen, truth),
        _same_story(expected, seen, truth),
        _delivered(seen, truth),
        _in_sequence(seen),
        _letters(expected, seen, life),
        _lawful(truth),
        _lived(life),
    )


def _ended(events: int, expected: Sequence[Expected], seen: Seen) -> Check:
    """Each event has one flow, with one send decision, and an end."""
    problems = [f"{events - len(expected)} events are not in Kafka"] if len(expected) != events else []
    ended = 0
    for event in expected:
        flow = seen.flows.get(event.flow_id)
        if flow is None or not flow.decisions:
            problems.append(f"{event.event}: lost, no SendEvent (flow {event.flow_id})")
        elif len(flow.decisions) > 1:
            problems.append(f"{event.event}: {len(flow.decisions)} send decisions (flow {event.flow_id})")
        elif not flow.has_ended:
            problems.append(f"{event.event}: accepted, and no last StatusEvent (flow {event.flow_id})")
        else:
            ended += 1
    strangers = seen.flows.keys() - {event.flow_id for event in expected}
    problems += [f"flow {flow_id}: of no event" for flow_id in sorted(strangers)]
    return Check("every event ended exactly once", f"{ended} of {events}", tuple(problems))


def _as_told(expected: Sequence[Expected], seen: Seen) -> Check:
    """Each event ended as its story says; UNKNOWN instead only where a doubt had to stay one."""
    problems: list[str] = []
    told = unknown = 0
    for event in expected:
        flow = seen.flows.get(event.flow_id)
        if flow is None or flow.outcome is None:
            continue  # told by the check before
        if flow.outcome == event.ends:
            told += 1
        elif flow.outcome == "UNKNOWN" and _may_stay_in_doubt(event, flow):
            unknown += 1
        else:
            problems.append(f"{event.event}: {flow.outcome} instead of {event.ends} (flow {event.flow_id})")
    fact = f"{told} as planned" + (f", {unknown} left UNKNOWN by a kill: never sent on a guess" if unknown else "")
    return Check("each as its story demands", fact, tuple(problems))


def _may_stay_in_doubt(event: Expected, flow: FlowSeen) -> bool:
    """A kill can hit any send; marketing is then never sent on a guess, the others once."""
    doubted = any(attempt["outcome"] == "DOUBT" for body in flow.sends for attempt in body["attempts"])
    return doubted and (event.message_class == "marketing" or flow.was_resent)


def _accepted_once(expected: Sequence[Expected], seen: Seen, truth: Truth) -> Check:
    """Nobody was messaged twice: by the labels, and by the people, each of whom has one event."""
    flows = Counter(flow.flow_id for flow in truth.accepted if flow.flow_id is not None)
    problems = [f"flow {flow_id}: accepted {times} times" for flow_id, times in flows.items() if times > 1]
    people = Counter(flow.digits for flow in truth.accepted)
    by_person = {event.digits: event for event in expected}
    for digits, times in people.items():
        if times > 1 or digits not in by_person:
            event = by_person[digits].event if digits in by_person else "somebody without an event"
            problems.append(f"{event}: messaged {times} times")
    resent = sum(flow.was_resent for flow in seen.flows.values())
    fact = f"{len(truth.accepted)} accepted by Routee, 0 doubled; {resent} sent again after a doubt"
    return Check("nobody was messaged twice", fact, tuple(problems))


def _same_story(expected: Sequence[Expected], seen: Seen, truth: Truth) -> Check:
    """What Kafka says was accepted is what Routee accepted: neither more nor less, under the same ids."""
    theirs = {flow.tracking_id: flow for flow in truth.accepted}
    ours = {flow.tracking_id: flow for flow in seen.flows.values() if flow.outcome == "ACCEPTED"}
    problems = [f"flow {ours[one].flow_id}: ACCEPTED, but Routee knows nothing of it" for one in ours.keys() - theirs.keys()]
    by_person = {event.digits: event for event in expected}
    for one in theirs.keys() - ours.keys():
        event = by_person.get(theirs[one].digits)
        flow = seen.flows.get(event.flow_id) if event else None
        problems.append(f"{event.event if event else 'somebody'}: accepted by Routee, {flow.outcome if flow else 'nothing'} in Kafka")
    return Check("Kafka and Routee agree on what was sent", f"{len(ours.keys() & theirs.keys())} tracking ids", tuple(sorted(problems)))


def _delivered(seen: Seen, truth: Truth) -> Check:
    """What Kafka says was delivered is what Routee delivered."""
    ours = {flow.tracking_id: flow for flow in seen.flows.values() if flow.outcome == "ACCEPTED"}
    problems = [
        f"flow {ours[theirs.tracking_id].flow_id}: {'delivered' if theirs.delivered else 'not delivered'} by Routee, Kafka says otherwise"
        for theirs in truth.accepted
        if theirs.tracking_id in ours and ours[theirs.tracking_id].is_delivered is not theirs.delivered
    ]
    reached = sum(flow.delivered for flow in truth.accepted)
    fact = f"{reached} delivered; {len(truth.accepted) - reached} not, as planned: unreachable, expired or never reported"
    return Check("… and on what was delivered", fact, tuple(problems))


def _in_sequence(seen: Seen) -> Check:
    """A flow's StatusEvents count from 1 without a gap, and no output event stands twice."""
    problems = [
        f"flow {flow.flow_id}: seq {', '.join(map(str, numbers))}"
        for flow in seen.flows.values()
        if (numbers := [body["seq"] for body in flow.statuses]) != list(range(1, len(numbers) + 1))
    ]
    problems += [f"output {one}: stands {times} times" for one, times in seen.copies.items() if times > 1]
    statuses = sum(len(flow.statuses) for flow in seen.flows.values())
    return Check("statuses without gap or repeat", f"{statuses} StatusEvents, seq 1…n in each flow", tuple(problems))


def _letters(expected: Sequence[Expected], seen: Seen, life: Life) -> Check:
    """The dead letters are the invalid events, each with its bytes.

    A letter is acknowledged before its journal row, so that none can be lost: a kill between the two writes it once more.
    """
    dead = {event.flow_id: event for event in expected if event.ends == "INVALID"}
    written = Counter(letter.flow_id for letter in seen.letters)
    problems = [f"{event.event}: no dead letter" for flow_id, event in dead.items() if flow_id not in written]
    problems += [f"flow {flow_id}: {times} dead letters" for flow_id, times in written.items() if times > 1 + life.kills]
    problems += [f"flow {flow_id}: a dead letter of a good event" for flow_id in written.keys() - dead.keys()]
    problems += [
        f"flow {letter.flow_id}: the dead letter’s bytes are not the event’s"
        for letter in seen.letters
        if letter.flow_id in dead and letter.value != dead[letter.flow_id].value
    ]
    again = len(seen.letters) - len(written)
    fact = f"{len(written)} of {len(dead)}, byte for byte" + (f"; {again} written again after a kill" if again else "")
    return Check("dead letters are the invalid events", fact, tuple(problems))


def _lawful(truth: Truth) -> Check:
    """Routee refused nothing of ours as a breach of its contract."""
    problems = tuple(f"{kind}: {times} times" for kind, times in sorted(truth.violations.items()))
    return Check("Routee’s contract was kept", f"{sum(truth.violations.values())} violations", problems)


def _lived(life: Life) -> Check:
    """The kills took place, and the process in the end stopped cleanly."""
    problems = []
    if life.kills != life.kills_wanted:
        problems.append(f"only {life.kills} of {life.kills_wanted} kills took place")
    if life.last_exit not in {0, None}:
        problems.append(f"the connector ended with exit code {life.last_exit}")
    if life.left:
        problems.append(f"{life.left} input records are not committed")
    end = "still running" if life.last_exit is None else "then a clean stop"
    if not life.kills_wanted:
        return Check("lived and stopped cleanly", end.removeprefix("then "), tuple(problems))
    return Check("survived kill -9", f"{life.kills} × kill -9, {end}", tuple(problems))
