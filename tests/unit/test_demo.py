"""The demo's own truth: its events are what they claim to be, and each check of its summary can fail."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from connector.adapters.decode import RecordDecoder
from connector.core.model import Record
from connector.demo import screen
from connector.demo.seen import Letter, Seen
from connector.demo.stories import draw
from connector.demo.tally import NO_CLASS, Tally
from connector.demo.traffic import make_events
from connector.demo.verdict import Check, Expected, Life, ProviderFlow, Truth, examine
from connector.errors import InputError
from connector.rules_file import load_rules
from connector.simulator import SCENARIOS

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
SENT, REFUSED, BROKEN = "flow-sent", "flow-refused", "flow-broken"
SENT_TO, REFUSED_TO, BROKEN_TO = "306900100001", "306901000002", "306900100003"

# ------------------------------------------------------------------------------------------------------------- planted ledgers


def send(flow_id: str, outcome: str, number: int = 1, **other: object) -> dict[str, Any]:
    """A SendEvent, as much of it as the demo reads."""
    body: dict[str, Any] = {
        "id": f"{flow_id}#{number}",
        "flow_id": flow_id,
        "event_type": "order.shipped",
        "outcome": outcome,
        "reason": None,
        "tracking_id": f"track-{flow_id}" if outcome == "ACCEPTED" else None,
        "attempts": [{"n": 1, "outcome": "ACCEPTED"}],
        "resent_after_doubt": False,
        "duplicate": False,
        "correction": False,
        "recipient": "0123456789abcdef",
    }
    return body | other


def status(flow_id: str, seq: int, **other: object) -> dict[str, Any]:
    """A StatusEvent; the third is the last one."""
    done = seq == 3
    step = {"order": 1, "channel": "viber", "status": "DELIVERED" if done else "QUEUED"}
    body: dict[str, Any] = {
        "id": f"{flow_id}#{seq + 1}",
        "flow_id": flow_id,
        "seq": seq,
        "status": "SUCCEEDED" if done else "IN_PROGRESS",
        "terminal": done,
        "delivered": done,
        "step": step,
        "origin": "CALLBACK",
    }
    return body | other


def accepted(name: str, flow_id: str | None, digits: str, *, delivered: bool = False) -> ProviderFlow:
    """A flow that Routee accepted."""
    return ProviderFlow(f"track-{name}", flow_id, digits, delivered)


class Run:
    """A run in which everything went well, to be spoilt."""

    def __init__(self) -> None:
        self.events = 3
        self.expected = [
            Expected(SENT, "sent", "ACCEPTED", "marketing", SENT_TO),
            Expected(REFUSED, "refused", "REJECTED", "transactional", REFUSED_TO),
            Expected(BROKEN, "broken", "INVALID", None, BROKEN_TO, b"{"),
        ]
        self.sends = [send(SENT, "ACCEPTED"), send(REFUSED, "REJECTED"), send(BROKEN, "INVALID")]
        self.statuses = [status(SENT, seq) for seq in (1, 2, 3)]
        self.letters = [Letter(BROKEN, "BAD_JSON", b"{")]
        self.accepted = [accepted(SENT, SENT, SENT_TO, delivered=True)]
        self.violations: dict[str, int] = {}
        self.life = Life(1, 1, 0, 0)

    @property
    def seen(self) -> Seen:
        """What a consumer has read."""
        seen = Seen()
        for body in self.sends:
            seen.send(body)
        for body in self.statuses:
            seen.status(body)
        seen.letters = self.letters
        return seen

    def failed(self) -> dict[str, tuple[str, ...]]:
        """The checks that do not hold, with what they tell."""
        checks = examine(self.events, self.expected, self.seen, Truth(self.accepted, self.violations), self.life)
        return {check.name: check.problems for check in checks if not check.holds}


ENDED = "every event ended exactly once"
AS_TOLD = "each as its story demands"
ONCE = "nobody was messaged twice"
AGREED = "Kafka and Routee agree on what was sent"
DELIVERED = "… and on what was delivered"
SEQUENCE = "statuses without gap or repeat"
LETTERS = "dead letters are the invalid events"
LAWFUL = "Routee’s contract was kept"
LIVED = "survived kill -9"


PLANTED: dict[str, tuple[Callable[[Run], object], set[str]]] = {
    "an event without a SendEvent": (lambda run: run.sends.pop(1), {ENDED}),
    "an event that was not produced": (lambda run: setattr(run, "events", 4), {ENDED}),
    "two send decisions": (lambda run: run.sends.append(send(REFUSED, "REJECTED", 2)), {ENDED}),
    "no last StatusEvent": (lambda run: run.statuses.pop(), {ENDED, DELIVERED}),
    "a flow of no event": (lambda run: run.sends.append(send("flow-of-nobody", "UNROUTED")), {ENDED}),
    "another end": (lambda run: run.sends.__setitem__(1, send(REFUSED, "EXPIRED")), {AS_TOLD}),
    "UNKNOWN without a doubt": (lambda run: run.sends.__setitem__(1, send(REFUSED, "UNKNOWN")), {AS_TOLD}),
    "a flow accepted twice": (lambda run: run.accepted.append(accepted("again", SENT, SENT_TO)), {ONCE, AGREED}),
    "a person messaged twice": (lambda run: run.accepted.append(accepted("again", None, SENT_TO)), {ONCE, AGREED}),
    "a stranger messaged": (lambda run: run.accepted.append(accepted("stranger", None, "306999999999")), {ONCE, AGREED}),
    "an acceptance that Kafka denies": (lambda run: run.accepted.append(accepted("denied", REFUSED, REFUSED_TO)), {AGREED}),
    "an acceptance that Routee denies": (lambda run: run.accepted.clear(), {AGREED}),
    "a delivery that Routee denies": (lambda run: run.accepted.__setitem__(0, accepted(SENT, SENT, SENT_TO)), {DELIVERED}),
    "a gap in seq": (lambda run: run.statuses.pop(1), {SEQUENCE}),
    "statuses out of order": (lambda run: run.statuses.insert(1, run.statuses.pop(0)), {SEQUENCE}),
    "an output twice": (lambda run: run.statuses.insert(1, status(SENT, 1)), {SEQUENCE}),
    "no dead letter": (lambda run: run.letters.clear(), {LETTERS}),
    "more letters than kills explain": (lambda run: run.letters.extend(run.letters * 2), {LETTERS}),
    "a good event's dead letter": (lambda run: run.letters.append(Letter(SENT, "BAD_JSON", b"{}")), {LETTERS}),
    "a dead letter with other bytes": (lambda run: run.letters.__setitem__(0, Letter(BROKEN, "BAD_JSON", None)), {LETTERS}),
    "a breach of the contract": (lambda run: run.violations.update(repeated_label=1), {LAWFUL}),
    "a kill that did not happen": (lambda run: setattr(run, "life", Life(2, 1, 0, 0)), {LIVED}),
    "a crash": (lambda run: setattr(run, "life", Life(1, 1, 1, 0)), {LIVED}),
    "input that was not committed": (lambda run: setattr(run, "life", Life(1, 1, 0, 7)), {LIVED}),
}


def test_a_good_run_holds() -> None:
    """Nothing is found where nothing is wrong."""
    assert Run().failed() == {}


@pytest.mark.parametrize(("spoil", "broken"), PLANTED.values(), ids=PLANTED.keys())
def test_each_check_can_fail(spoil: Callable[[Run], object], broken: set[str]) -> None:
    """A planted fault is found, by the checks whose fault it is and by no other."""
    run = Run()
    spoil(run)
    assert run.failed().keys() == broken


@pytest.mark.parametrize(
    ("kind", "outcome", "resent", "holds"),
    [
        ("marketing", "DOUBT", False, True),
        ("marketing", "ACCEPTED", False, False),
        ("otp", "DOUBT", False, False),
        ("otp", "DOUBT", True, True),
        ("transactional", "REFUSED", True, False),
    ],
)
def test_unknown_needs_a_doubt(kind: str, outcome: str, resent: bool, holds: bool) -> None:
    """A flow may end UNKNOWN against its story only out of a doubt: marketing at once, the others after their one resend."""
    run = Run()
    run.expected[1] = Expected(REFUSED, "refused", "REJECTED", kind, REFUSED_TO)
    run.sends[1] = send(REFUSED, "UNKNOWN", attempts=[{"n": 1, "outcome": outcome}], resent_after_doubt=resent)
    assert (AS_TOLD not in run.failed()) is holds


def test_a_letter_may_come_again_after_a_kill() -> None:
    """A dead letter is acknowledged before its row: a kill between the two writes it once more, and the summary says so."""
    run = Run()
    run.letters *= 2
    assert run.failed() == {}
    run.life = Life(0, 0, 0, 0)
    assert run.failed().keys() == {LETTERS}


def test_a_correction_replaces_a_decision() -> None:
    """UNKNOWN that is corrected to ACCEPTED is one decision; an audited duplicate is none."""
    run = Run()
    unknown = send(SENT, "UNKNOWN", tracking_id=None)
    proof = send(SENT, "ACCEPTED", 9, correction=True)
    audit = send(SENT, "ACCEPTED", 10, duplicate=True, tracking_id="track-other")
    run.sends = [unknown, proof, audit, *run.sends[1:]]
    assert run.failed() == {}


def test_many_problems_are_cut() -> None:
    """A check tells its first problems and counts the rest."""
    told = Check("name", "fact", tuple(map(str, range(12)))).told
    assert (told[0], len(told), told[-1]) == ("0", 6, "… and 7 more")


# -------------------------------------------------------------------------------------------------------------------- events


def test_the_same_seed_makes_the_same_events() -> None:
    """A run can be repeated; another seed makes other events."""
    assert make_events(120, 7, NOW) == make_events(120, 7, NOW)
    assert make_events(120, 7, NOW) != make_events(120, 8, NOW)


async def test_each_event_is_what_it_claims() -> None:
    """Every record decodes to the identity it names and is routed to its story's rule; the broken ones cannot be decoded at all."""
    local, _ = load_rules(ROOT / "deploy/local/rules.yaml", {})
    calls, _ = load_rules(ROOT / "connector/demo/rules.yaml", {})
    decoder = RecordDecoder()
    for offset, event in enumerate(make_events(400, 3, NOW)[0]):
        record = Record("notifications", 0, offset, int(NOW.timestamp() * 1000), event.key, event.value, tuple(event.headers))
        try:
            found = await decoder.decode(record)
        except InputError:
            assert event.identity is None
            continue
        assert found.identity == event.identity
        assert found.recipient.phone is not None
        rules = [*local.route(found), *calls.route(found)]
        assert [(rule.name, rule.message_class) for rule in rules] == (
            [(event.story.rule, event.story.message_class)] if event.story.rule else []
        )


def test_nobody_gets_two_events() -> None:
    """Recipients are counted at Routee: each who can be messaged has one event."""
    digits = [event.digits for event in make_events(2000, 1, NOW)[0] if not event.story.is_dead]
    assert len(digits) == len(set(digits))


@pytest.mark.parametrize(("count", "least"), [(1, 1), (60, 9), (200, 20)])
def test_few_events_show_much(
    count: int,
    least: int,
) -> None:
    """Even few events hold many stories, each of which the simulator knows; of all three classes from some on."""
    stories = draw(count, random.Random(5))  # noqa: S311 - to be repeated
    assert len(stories) == count
    assert {story.scenario for story in stories} <= SCENARIOS.keys()
    assert len({(story.type, story.scenario, story.ends) for story in stories}) >= least
    if count > 50:
        assert {story.message_class for story in stories} == {None, "otp", "transactional", "marketing"}
        assert {story.ends for story in stories} == {"ACCEPTED", "REJECTED", "EXPIRED", "UNROUTED", "INVALID", "UNKNOWN"}


# -------------------------------------------------------------------------------------------------------------------- screen


def shown(run: Run, width: int, height: int) -> str:
    """The frame as plain text."""
    seen, tally = run.seen, Tally(kinds={SENT: "marketing", REFUSED: "transactional", BROKEN: NO_CLASS})
    tally.people[SENT_TO] = "marketing"
    tally.produced.update(tally.kinds.values())
    for flow in seen.flows.values():
        tally.hear(flow, 1.0)
    rows = tally.rows(seen.flows.values(), [SENT_TO], {"otp": 2})
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as text:
        console.print(screen.Screen(console, ()).frame(rows, tally))
    return text.get() + screen.state(rows, len(tally.ended))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 40), (132, 40), (200, 60)])
def test_the_frame_fits(width: int, height: int) -> None:
    """No line is wider than the terminal, and the frame is no higher."""
    lines = shown(Run(), width, height).splitlines()[:-1]
    assert max(map(len, lines)) <= width
    assert len(lines) <= height


def test_the_table_counts_by_class() -> None:
    """What happened stands in the row of its name and the column of its class."""
    text = shown(Run(), 132, 40)
    rows: Mapping[str, list[str]] = {line[1:20].strip(): line[20:70].split()[:5] for line in text.splitlines()}
    assert rows["events"] == ["·", "1", "1", "1", "3"]
    assert rows["delivered"] == ["·", "·", "1", "·", "1"]
    assert rows["rejected"] == ["·", "1", "·", "·", "1"]
    assert rows["in doubt now"] == ["2", "·", "·", "·", "2"]
    assert "dead letter: None" in text
    assert text.splitlines()[-1].startswith("3 of 3 ended · 1 accepted · 1 delivered")


def test_the_summary_shows_problems() -> None:
    """A failed check is told with its problem, and the end says so."""
    run = Run()
    run.sends.append(send(REFUSED, "REJECTED", 2))
    checks = examine(run.events, run.expected, run.seen, Truth(run.accepted, run.violations), run.life)
    console = Console(file=io.StringIO(), width=160)
    with console.capture() as text:
        console.print(screen.summary(checks, 42.0, 3, 1))
    assert "refused: 2 send decisions" in text.get()
    assert "FAILED" in text.get()
    assert "0 lost" not in text.get()


def test_a_line_is_news_or_says_what_is_waited_for() -> None:
    """Without a terminal nothing is repeated; a pause says once what it waits for."""
    text = io.StringIO()
    shown = screen.Screen(Console(file=text), ())
    shown.say_news("100 of 200 ended")
    shown.say_news("100 of 200 ended")
    shown.wait_for("Kafka frees the lanes")
    for _ in range(3):
        shown.say_news("100 of 200 ended")
    shown.wait_for("")
    shown.say_news("100 of 200 ended")
    shown.say_news("120 of 200 ended")
    lines = [line.partition("  ")[2] for line in text.getvalue().splitlines()]
    assert all(line.startswith("00:0") for line in text.getvalue().splitlines())
    assert lines == ["100 of 200 ended", "waiting: Kafka frees the lanes", "120 of 200 ended"]
