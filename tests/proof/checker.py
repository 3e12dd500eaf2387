"""The promise, law by law, over what is known when all is over.

==== ======================================================================================================================
I1   every flow ended once: one send decision that agrees with the provider, a terminal status for each accepted one
I2   no flow is accepted twice, but for a resend after a doubt that is flagged; no attempt is posted twice; marketing never
I3   every further attempt names what came before it: a known refusal, or a doubt that the journal holds and that was waited out
I4   every POST has its valid INTENT in the journal before
I5   no offset is committed past an event without a valid row
I6   a flow's statuses count from 1 without a hole, rise, and follow from one another
I7   first POSTs per (key, class) come in input order
I8   every invalid event has its dead letter, byte-equal and with its coordinates; nothing else has one
I9   nothing is posted after its event expired
I10  every callback answered with 200 is in Kafka
==== ======================================================================================================================

A row is *valid* when no CLAIM lies between its epoch and its offset. Copies of an output under one id count once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.proof import effects, journal
from tests.proof.facts import Facts
from tests.proof.known import Known, Output, Problem

__all__ = ["LAWS", "Problem", "Verdict", "check", "problems"]

Law = Callable[[Known], Iterable[str]]
LAWS: Mapping[str, Law] = {
    "I1": effects.ended_once,
    "I2": effects.accepted_once,
    "I3": journal.resends_are_founded,
    "I4": journal.intents_come_first,
    "I5": journal.commits_stay_behind,
    "I6": effects.statuses_follow,
    "I7": journal.keys_keep_their_order,
    "I8": effects.letters_are_whole,
    "I9": effects.nothing_expired_is_sent,
    "I10": effects.callbacks_are_stored,
}
_JOURNAL_LAWS = ("I3", "I4", "I5", "I7")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``skipped`` names each law that was not checked, with the reason; ``figures`` count what is lawful yet worth knowing."""

    problems: tuple[Problem, ...]
    checked: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)


def check(facts: Facts) -> Verdict:
    """Every law that the facts allow to be checked."""
    known = Known(facts)
    skipped = dict(_unknown(facts))
    checked = tuple(law for law in LAWS if law not in skipped)
    found = tuple(Problem(law, text) for law in checked for text in LAWS[law](known))
    return Verdict(found, checked, skipped, _figures(known))


def problems(facts: Facts) -> list[Problem]:
    """Only what is broken."""
    return list(check(facts).problems)


def _unknown(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.rows is None or not facts.rows_whole:
        reason = "no journal" if facts.rows is None else "rows of the journal were gone before they were read"
        yield from ((law, reason) for law in _JOURNAL_LAWS)
    if facts.commits is None:
        yield "I5", "no commits"
    if facts.callbacks_acked is None or facts.callbacks_stored is None:
        yield "I10", "callbacks answered or callbacks stored are not known"


def _figures(known: Known) -> dict[str, int]:
    facts = known.facts
    outcomes = Counter(known.final[flow].outcome for flow in known.final)
    accepted = Counter(len(posts) for posts in known.accepts.values())
    return {
        "events": len(facts.events),
        "flows": len(known.flows),
        "posts": len(facts.posts),
        "accepts": sum(len(posts) for posts in known.accepts.values()),
        "accepted_twice": sum(flows for times, flows in accepted.items() if times > 1),
        "resent": sum(any(send.resent_after_doubt for send in sends) for sends in known.sends.values()),
        "unknown": outcomes["UNKNOWN"],
        "unknown_not_accepted": _unknown_flows(known, accepted=False),
        "unknown_accepted": _unknown_flows(known, accepted=True),
        "corrections": sum(send.correction for send in facts.sends),
        "copies": _copies(facts.sends) + _copies(facts.statuses) + _copies(facts.letters),
        "rows": len(facts.rows or ()),
        "void_rows": sum(not known.is_valid(row) for row in facts.rows or ()),
        "claims": sum(len(claims) for claims in known.claims.values()),
        "commits": len(facts.commits or ()),
        "callbacks_acked": len(facts.callbacks_acked or ()),
        **{f"outcome_{outcome.lower()}": count for outcome, count in sorted(outcomes.items())},
    }


def _unknown_flows(known: Known, *, accepted: bool) -> int:
    return sum(send.outcome == "UNKNOWN" and (flow in known.accepts) is accepted for flow, send in known.final.items())


def _copies(outputs: Sequence[Output]) -> int:
    return len(outputs) - len({output.id for output in outputs})
