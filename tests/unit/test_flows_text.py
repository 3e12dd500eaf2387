"""What ``flows`` puts on the screen."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings

from connector.cli import options
from connector.cli.flows_text import COLUMNS, flow_json, line, listed, looked_json, not_found, screen
from connector.cli.options import print_json, print_table, print_text
from connector.core import identity
from connector.core.flow import Attempt, Flow, Intended, Reported, Silent, State, advance
from connector.core.model import Accepted, Api, Channel, FlowReport, FlowStatus, MessageClass, Origin, StepReport, StepStatus
from connector.core.progress import FlowProgress
from connector.core.standing import Owner, Row
from connector.core.wanted import Wanted
from connector.ports import LaneId
from connector.services.lookup import Found, Looked
from tests.unit.flows import NOW, facts, walks
from tests.unit.test_outlook import TIMES
from tests.unit.test_timeline import delivered

OWNER = Owner("worker-2/118", NOW - 60_000, 4000)
LOOKED = Looked(lanes=6, flows=58, since_ms=NOW, waiting=0)


def found(flow: Flow, *, void: bool = False, owner: Owner | None = OWNER) -> Found:
    """As the lookup gives it."""
    return Found(LaneId("notifications", 0), Row(flow, 4711, 4000, NOW, void, NOW - 60_000), owner)


def wanted(name: str) -> Wanted:
    """What somebody asks for."""
    return Wanted.of(name, lambda value: identity.pseudonym(b"pepper", value))


DOUBT = Flow(
    facts(message_class=MessageClass.OTP, rule="login-code", recipient_hash=bytes(16)),
    State.DOUBT,
    attempt=2,
    attempts=(Attempt(1, NOW - 2000, "REFUSED", 429, "HTTP_429"), Attempt(2, NOW, "DOUBT", None, "timeout")),
    ever_posted=True,
    ever_doubted=True,
)


def test_a_doubt_says_what_is_known_and_what_comes() -> None:
    """One screen for three in the morning."""
    assert screen(found(DOUBT), TIMES, NOW + 40_000) == (
        "event     e1 (order)\n"
        "from      notifications/0/7, worth sending until 2027-01-15 09:00:00.000\n"
        "flow      30830fad-21ed-49b0-89d0-bbada2fd5640\n"
        "rule      login-code (rules v1): otp, standard API, viber → sms\n"
        "phone     00000000000000000000000000000000 (keyed hash)\n"
        "label     30830fad-21ed-49b0-89d0-bbada2fd5640.1 … .2\n"
        "state     DOUBT: attempt 2 may or may not have reached Routee\n"
        "because   doubt: no whole answer within `routee.timeout`\n"
        "to do     Nothing at once: tracking is searched for the message, and its class decides.\n"
        "\n"
        "  times are UTC\n"
        "  2027-01-15 07:59:58.000  CONNECTOR  attempt 1: REFUSED (HTTP 429, HTTP_429)\n"
        "  2027-01-15 07:59:59.000  EVENT      the event occurred\n"
        "  2027-01-15 08:00:00.000  CONNECTOR  attempt 2: in doubt: no whole answer in time\n"
        "\n"
        "next      2027-01-15 08:00:30.000 (10s ago: overdue)  not found by then, it is sent once more (attempt 3, flagged)\n"
        "          2027-01-15 08:15:00.000 (in 14m 20s)  tracking without an answer until then: UNKNOWN (search_failed)\n"
        "          Routee's tracking is searched again and again; found there, it is ACCEPTED\n"
        "lane      notifications/0, claimed by worker-2/118 at 2027-01-15 07:59:00.000\n"
        "row       journal offset 4711, written 2027-01-15 08:00:00.000\n"
    )


def test_an_accepted_flow_says_how_long_it_took_and_what_it_cost() -> None:
    """Acceptance, each step's end, delivery: from the journal alone, for people and as data."""
    flow = delivered()
    assert flow.progress is not None
    flow = replace(flow, progress=replace(flow.progress, total_price=Decimal("0.0468")), accepted_at_ms=NOW + 250)
    shown = screen(found(flow), TIMES, NOW + 90_000)
    assert (
        "\nafter     1.0s to the POST of attempt 1; from there 0.2s: accepted, 0.0s: viber EXPIRED, 0.0s: sms DELIVERED, "
        "0.0s: delivered by sms; costs 0.0468\n"
    ) in shown.replace("\n          ", " ")
    data = flow_json(found(flow), TIMES, NOW)
    assert data["took_ms"] == {"accepted": 250, "viber EXPIRED": 10, "sms DELIVERED": 20, "delivered by sms": 20}
    assert (data["sent_at"], data["delivered_at"], data["delivered_by"], data["total_price"]) == (
        "2027-01-15T08:00:00.000Z",
        "2027-01-15T08:00:00.020Z",
        "sms",
        "0.0468",
    )
    steps = orjson.loads(orjson.dumps(data["steps"]))
    assert [tuple(step[name] for name in ("order", "channel", "status", "reason_group", "ended_at")) for step in steps] == [
        (1, "viber", "EXPIRED", "EXPIRED", "2027-01-15T08:00:00.010Z"),
        (2, "sms", "DELIVERED", None, "2027-01-15T08:00:00.020Z"),
    ]
    assert data["reason_group"] is None


@pytest.mark.parametrize("columns", [20, 80, 300])
def test_a_screen_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Long lines go on below their text; no width takes a word away."""
    whole = screen(found(delivered()), TIMES, NOW).split()
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = screen(found(delivered()), TIMES, NOW)
    assert max(map(len, shown.splitlines())) <= max(columns, 75)
    assert shown.split() == whole


def test_a_code_that_reached_nobody_says_so_and_why() -> None:
    """OTP's Succeeded only says that it was taken: a code whose steps all failed is undelivered, on the screen, in lists and as data."""
    expired = StepReport(1, Channel.VIBER, StepStatus.EXPIRED, "EXPIRED", reason_group="EXPIRED", updated_at_ms=NOW + 10_000)
    lost = StepReport(
        2,
        Channel.SMS,
        StepStatus.UNDELIVERED,
        "UNDELIVERED",
        reason_group="UNREACHABLE",
        detail="Unknown Number",
        updated_at_ms=NOW + 12_000,
    )
    flow = advance(advance(Flow(facts(api=Api.OTP)), Intended(), NOW), Accepted("t1", 200, None), NOW + 500)
    flow = advance(flow, Reported(FlowReport("t1", FlowStatus.SUCCEEDED, steps=(expired, lost)), Origin.CALLBACK, 1), NOW + 20_000)
    shown = " ".join(screen(found(flow), TIMES, NOW + 60_000).split())
    said = "Routee took it, and no step reached the person: viber EXPIRED (EXPIRED), sms UNDELIVERED (UNREACHABLE, Unknown Number)"
    assert f"state ACCEPTED: {said}" in shown
    assert "to do Is the phone right, and on?" in shown
    assert line(found(flow), NOW + 60_000)[0] == "ACCEPTED UNDELIVERED"
    assert line(found(flow), NOW + 60_000)[5] == "UNREACHABLE"
    _, last = flow.pending[-1]
    assert (last.body["status"], last.body["terminal"], last.body["delivered"], last.body["reason_group"]) == (
        "SUCCEEDED",
        True,
        False,
        "UNREACHABLE",
    )
    silent = advance(advance(advance(Flow(facts()), Intended(), NOW), Accepted("t1", 200, None), NOW), Silent(), NOW + 10**8)
    assert (line(found(silent), NOW + 10**8)[0], line(found(silent), NOW + 10**8)[5]) == ("ACCEPTED UNKNOWN", "silent")
    assert line(found(delivered()), NOW)[0] == "ACCEPTED DELIVERED"
    bare = replace(flow, progress=FlowProgress(Api.STANDARD, FlowStatus.FAILED, terminal=True))
    assert "no step reached the person · was" not in screen(found(bare), TIMES, NOW)
    assert "\nstate     ACCEPTED: Routee took it, and no step reached the person\n" in screen(found(bare), TIMES, NOW)


@settings(deadline=None)
@given(walks)
def test_every_flow_has_its_screen_line_and_json(steps: list[tuple[Flow, object, Flow]]) -> None:
    """Whatever stands in a journal; the JSON is JSON, the line has its columns."""
    for _, _, flow in steps:
        one = found(flow)
        assert screen(one, TIMES, NOW).startswith("event     e1 (order)\n")
        assert max(map(len, screen(one, TIMES, NOW).splitlines())) <= 160
        assert len(line(one, NOW)) == len(COLUMNS)
        assert orjson.loads(orjson.dumps(flow_json(one, TIMES, NOW)))["state"] == flow.state.name


def test_what_is_special_is_said() -> None:
    """A resend, two acceptances, other rules of the event, a void row, a claim that is gone, statuses that are missing."""
    flow = replace(
        DOUBT, facts=facts(siblings=("a", "b"), tenant="acme"), resent=True, tracking_id="t1", duplicates=("t2",), overtaken=True
    )
    shown = screen(replace(found(flow, void=True, owner=None), unread="1 of 2 statuses were not found: why"), TIMES, NOW)
    for words in (
        "tenant acme",
        "tracking t1, t2 (duplicate)",
        "sent again after a doubt · ACCEPTED TWICE · overtaken",
        "2 rules matched this event: a, b",
        "(1 of 2 statuses were not found: why)",
        "its claim is gone from the journal",
        "void: written by a process that had lost the lane",
    ):
        assert words in " ".join(shown.split())
    nobody = Flow(
        facts(rule="", event_type="", api=None, message_class=None, channels=()), State.INVALID, reason="BAD_JSON", changed_at_ms=NOW
    )
    shown = screen(found(nobody), TIMES, NOW)
    assert "\nrule " not in shown
    assert "because   BAD_JSON: the value is no JSON document\n" in shown
    assert line(found(nobody), NOW + 3_700_000) == ("INVALID", "1h 1m", "–", "–", "0", "BAD_JSON", "notifications/0", "e1")
    assert "was in doubt" in screen(found(replace(DOUBT, state=State.UNKNOWN)), TIMES, NOW)
    guessed = found(replace(DOUBT, state=State.ACCEPTED, tracking_id="t1", guessed=True))
    assert "a guess until its callback comes" in " ".join(screen(guessed, TIMES, NOW).split())
    assert flow_json(guessed, TIMES, NOW)["guessed"]


ODD_TIMES = [-62_135_604_000_000, 253_402_300_800_000, 10**19 - 1, -1]


@pytest.mark.parametrize("ms", ODD_TIMES)
def test_no_time_of_an_event_breaks_a_list(ms: int) -> None:
    """.NET's MinValue with an offset, a header of 19 digits: what no calendar holds is shown as its milliseconds."""
    flow = replace(DOUBT, facts=facts(occurred_at_ms=ms, expires_at_ms=ms, message_class=MessageClass.OTP))
    flow = replace(flow, attempts=(Attempt(1, ms, "DOUBT", None, "timeout"),), changed_at_ms=ms)
    one = replace(found(flow), row=replace(found(flow).row, written_ms=ms, claimed_ms=ms))
    raw = str(ms) if ms != -1 else "1969-12-31"
    shown = screen(one, TIMES, NOW)
    assert f"worth sending until {raw}" in shown
    assert f"\n  {raw}" in shown
    data = orjson.loads(orjson.dumps(flow_json(one, TIMES, NOW)))
    assert [data[name].startswith(raw) for name in ("occurred_at", "expires_at", "since")] == [True] * 3
    assert len(line(one, NOW)) == len(COLUMNS)
    assert "looked at" in listed(1, 1, replace(LOOKED, since_ms=ms))


NASTY = "e\x1b]0;owned\x07\x9b2J\u202eabc\r\nstate     ACCEPTED\udc80"


def test_what_others_wrote_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, C1 controls, turned letters and line breaks of an event stand there as escapes, in every shape of output."""
    flow = replace(DOUBT, facts=facts(event_id=NASTY, rule=NASTY, tenant=NASTY), reason=NASTY, tracking_id=NASTY)
    flow = replace(flow, attempts=(Attempt(1, NOW, "REFUSED", 429, NASTY), Attempt(2, NOW, "DOUBT", None, NASTY)))
    one = replace(found(flow), unread=NASTY)
    shown = [screen(one, TIMES, NOW), not_found(wanted(NASTY), LOOKED, "shop", 1000)]
    print_table(COLUMNS, [line(one, NOW)])
    shown.append(capsys.readouterr().out)
    print_text(NASTY, err=True)
    shown.append(capsys.readouterr().err)
    for text in shown:
        assert text.replace("\n", "").isprintable()
        assert "\\x1b" in text
    assert "\nstate     ACCEPTED" not in "".join(shown[:3])
    assert len(shown[2].splitlines()) == 2


def test_json_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """With nothing in it that a terminal obeys, and yet the same document."""
    data = {"id": "e\x1b\x7f\x9b2J\u202e\n\U000e0001é→"}
    print_json(data)
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert "é→" in shown
    assert json.loads(shown) == data


def test_commands_write_through_one_place() -> None:
    """So that no new one forgets it."""
    commands = Path(options.__file__).parent.glob("*.py")
    direct = re.compile(r"std(out|err)\.write|\bprint\(")
    assert [path.name for path in commands if direct.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(("waiting", "records"), [(1, "1 record "), (12, "12 records ")])
def test_not_found_says_where_and_what_it_may_be(waiting: int, records: str) -> None:
    """The journals' age, the memory's length, and what no worker has taken yet."""
    shown = not_found(wanted("e-9"), replace(LOOKED, waiting=waiting), "shop", 259_200_000)
    assert shown.startswith("not found: e-9\nlooked at 58 flows in 6 journals that go back to 2027-01-15 08:00:00.000 UTC (group shop)\n")
    assert "older than 3d (lane.dedup_window)" in shown
    assert f"the input holds {records}" in shown
    assert "the input holds" not in not_found(wanted("e-9"), LOOKED, "shop", 259_200_000)
    assert "go back" not in not_found(wanted("e-9"), replace(LOOKED, since_ms=None), "shop", 259_200_000)


def test_not_found_tells_what_a_phone_is_looked_for_by() -> None:
    """Its hash, since the output topics have nothing else; and that a phone needs its country."""
    shown = not_found(wanted("+30 691 234 5678"), LOOKED, "shop", 1000)
    assert shown.startswith("not found: this phone\n")
    assert f"its hash is {identity.pseudonym(b'pepper', b'+306912345678').hex()}, if privacy.pepper is that of the workers" in shown
    assert "691" not in shown.replace(identity.pseudonym(b"pepper", b"+306912345678").hex(), "")
    assert "a phone is read with its country code only" in not_found(wanted("691 234 5678"), LOOKED, "shop", 1000)
    assert "country code" not in not_found(wanted("e-9"), LOOKED, "shop", 1000)


def test_a_list_says_how_much_of_it_is_shown() -> None:
    """One, all, or the oldest of more."""
    assert listed(1, 1, LOOKED).startswith("1 flow; looked at 58 flows")
    assert listed(2, 2, LOOKED).startswith("2 flows; ")
    assert listed(50, 99, LOOKED).startswith("50 of 99 flows, the oldest; ")
    assert "--state" in listed(0, 0, LOOKED)
    assert "--state" not in listed(1, 1, LOOKED)
    refused = replace(LOOKED, refused=((LaneId("notifications", 3), "no journal"),))
    assert looked_json(refused)["refused"] == [{"lane": "notifications/3", "reason": "no journal"}]
