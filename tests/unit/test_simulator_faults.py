"""Refusals and faults of the simulator: tokens, magic recipients, rates, the control panel, and what the ledger says of all that."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pytest

from connector.simulator import FAULTS, SCENARIOS, SWITCHES, Faults, SimulatorOptions, recipient_for
from connector.simulator.answers import is_whole
from connector.simulator.faults import Wire
from connector.simulator.ledger import attempt_of
from connector.simulator.switches import Switches
from connector.simulator.wire import Answer
from tests.unit.simulator_box import FLOW_ID, OTP, STANDARD, Box, JsonDoc, flow, label, otp_sms, sms, viber, viber_otp


def attempt(box: Box, scenario: str, number: int = 1, path: str = STANDARD) -> Answer:
    """POST the ``number``-th attempt to a magic recipient."""
    to = recipient_for(scenario)
    doc = flow(viber_otp(to, label=label(number))) if path == OTP else flow(viber(to, label=label(number)))
    return box.request("POST", path, orjson.dumps(doc))


# ----------------------------------------------------------------------------------------------------------------- tokens


def test_token_is_reissued_with_the_rest_of_its_life() -> None:
    """A second request gives the same token with a smaller expires_in; after its end a new one."""
    box = Box(token_lifetime_s=100)
    box.advance(40)
    again = box.new_token()
    assert (again["access_token"], again["expires_in"], again["token_type"]) == (box.token, 60, "bearer")
    assert Box(switches={"token_reissue": False}).new_token()["expires_in"] == 3600
    box.advance(60)
    assert box.get("/accounts/me/balance")[0] == 401
    assert box.new_token()["access_token"] != box.token


@pytest.mark.parametrize("encoded", ["", "!!!", "app", "app:", ":secret", "app:wrong", "other:secret"])
def test_wrong_credentials_get_no_token(encoded: str) -> None:
    """401 with ``status`` and ``message``."""
    box = Box(applications={"app": "secret"})
    raw = encoded if encoded == "!!!" else base64.b64encode(encoded.encode()).decode()
    refused = box.new_token(f"Basic {raw}")
    assert (refused["status"], bool(refused["message"])) == (401, True)


def test_any_application_may_come_in_by_default() -> None:
    """Without a list of applications only the secret ``wrong`` is refused."""
    box = Box()
    assert "access_token" in box.new_token("Basic " + base64.b64encode(b"me:s").decode())
    assert "access_token" not in box.new_token("Basic " + base64.b64encode(b"me:wrong").decode())


def test_bad_tokens_are_refused_in_each_services_shape() -> None:
    """Stale: 401 with ``error``, or FastAPI's ``detail``; missing: 401 or 403 by switch, and noted."""
    box = Box()
    box.simulator.revoke_tokens()
    status, doc = box.post(STANDARD, flow(sms(recipient_for("viber_ok"))))
    assert (status, doc["error"]) == (401, "invalid_token")
    status, doc = box.post(OTP, flow(otp_sms(recipient_for("viber_ok"))))
    assert (status, list(doc)) == (401, ["detail"])
    assert box.simulator.violations == {}
    assert box.post(STANDARD, flow(), authorization="")[0] == 401
    assert box.post(OTP, flow(), authorization="")[0] == 403
    assert box.simulator.violations["missing_token"] == 2
    assert len(box.simulator.provider.flows) == 0


# ------------------------------------------------------------------------------------------------------- magic recipients


@pytest.mark.parametrize(
    ("scenario", "first", "is_accepted"),
    [
        ("rejected_400", (400, Wire.WHOLE), False),
        ("throttled_429", (429, Wire.WHOLE), False),
        ("unauthorized_once", (401, Wire.WHOLE), False),
        ("forbidden_once", (403, Wire.WHOLE), False),
        ("balance_400", (400, Wire.WHOLE), False),
        ("error_500_not_accepted", (500, Wire.WHOLE), False),
        ("error_500_accepted", (500, Wire.WHOLE), True),
        ("cut_before_accept", (200, Wire.RESET), False),
        ("cut_after_accept", (200, Wire.RESET), True),
        ("never_answering", (200, Wire.SILENCE), False),
        ("never_answering_accepted", (200, Wire.SILENCE), True),
        ("truncated_json", (200, Wire.HALF_JSON), True),
        ("cut_mid_body", (200, Wire.CUT_BODY), True),
        ("id_less_2xx", (200, Wire.WHOLE), True),
        ("redirected", (307, Wire.WHOLE), False),
    ],
)
@pytest.mark.parametrize("path", [STANDARD, OTP])
def test_fault_by_recipient(scenario: str, first: tuple[int, Wire], is_accepted: bool, path: str) -> None:
    """The first POST meets its fault; whether the flow was accepted is another matter, and the ledger knows it."""
    box = Box()
    reply = attempt(box, scenario, path=path)
    if not (scenario == "balance_400" and path == OTP):
        assert (reply.status, reply.wire) == first
    _, entry = box.simulator.ledger.entries
    assert (entry.accepted is not None) is is_accepted
    assert entry.status == (reply.status if is_whole(reply) else 0)
    assert (entry.fault is not None, entry.scenario, entry.recipient) == (True, scenario, recipient_for(scenario)[1:])
    assert box.simulator.accepted_by_flow() == ({FLOW_ID: [entry.accepted]} if is_accepted else {})


def test_faults_end_after_their_times() -> None:
    """throttled_429 meets two POSTs, rejected_400 all; ``fault_times`` overrides counts, not "all"."""
    box = Box()
    replies = [attempt(box, "throttled_429", n) for n in (1, 2, 3)]
    assert [reply.status for reply in replies] == [429, 429, 200]
    assert dict(replies[0].headers) == {"Retry-After": "1"}
    assert [attempt(box, "rejected_400", n).status for n in (4, 5, 6)] == [400, 400, 400]
    box = Box(fault_times=1)
    assert [attempt(box, "throttled_429", n).status for n in (1, 2)] == [429, 200]
    box = Box(fault_times=0)
    assert [attempt(box, "throttled_429", n).status for n in range(1, 9)] == [429] * 8


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_otp_failed_is_a_200(code: int) -> None:
    """HTTP 200, status Failed, no flowId, and nothing to find."""
    box = Box()
    reply = attempt(box, f"otp_failed_{code}", path=OTP)
    doc = orjson.loads(reply.body)
    assert (reply.status, doc["status"], doc["flowId"], doc["type"], doc["statusCode"]) == (200, "Failed", None, None, code)
    assert doc["error"]
    assert len(box.simulator.provider.flows) == 0


def test_an_empty_account() -> None:
    """400001009, or OTP 200 Failed 1, or by switch a flow that fails later; the balance shows it."""
    doc = flow(viber("+306912345678", label=label()))
    box = Box(faults=Faults(balance=0))
    status, body = box.post(STANDARD, doc)
    assert (status, body["code"], body["developerMessage"]) == (400, "400001009", "Insufficient Balance")
    assert box.post(OTP, flow(otp_sms("+306912345678")))[1]["statusCode"] == 1
    assert box.get("/accounts/me/balance")[1]["balance"] == 0
    box = Box(faults=Faults(balance=0), switches={"balance": "async", "status_code_in_tracking": True})
    tracking_id = box.send(doc)
    box.advance(10)
    assert (box.track(tracking_id)["status"], box.track(tracking_id)["statusCode"]) == ("Failed", "1")


def test_slow_answers_take_their_seconds() -> None:
    """n mod 100 seconds; other answers wait only the latency."""
    box = Box(latency_s=(0.5, 0.5))
    slow = box.request("POST", STANDARD, orjson.dumps(flow(sms(recipient_for("slow", 103)))))
    assert slow.delay_s == pytest.approx(3.5)
    assert attempt(box, "viber_ok").delay_s == pytest.approx(0.5)


# ------------------------------------------------------------------------------------------------------------------ rates


def test_rates_are_met() -> None:
    """A rate of 0.3 meets about three in ten; a drawn fault does not count against a recipient's scenario."""
    box = Box(faults=Faults(sends={"throttled": 0.3, "error_500_accepted": 0.2}))
    faults = [attempt(box, "viber_ok", n).status for n in range(1, 1001)]
    assert 250 < faults.count(429) < 350
    assert 150 < faults.count(500) < 250
    assert box.simulator.ledger.summary()["accepted"] == 1000 - faults.count(429)
    assert box.simulator.ledger.summary()["repeats"] == 1


def test_a_storm_passes() -> None:
    """Faults put in force for some seconds end by themselves; tracking and tokens have rates of their own."""
    box = Box()
    box.simulator.set_faults(for_s=10, sends={"unauthorized": 1.0}, tracking={"unauthorized": 1.0}, tokens={"error_503": 1.0})
    assert attempt(box, "viber_ok", 1).status == 401
    assert box.get("/accounts/me/balance")[0] == 401
    assert "access_token" not in box.new_token()
    box.advance(10)
    assert attempt(box, "viber_ok", 2).status == 200
    assert box.get("/accounts/me/balance")[0] == 200
    assert "access_token" in box.new_token()


def test_the_panel_shows_every_flow() -> None:
    """As the provider has it now, page by page: what a test may hold its outputs to."""
    box = Box()
    assert attempt(box, "viber_ok").status == 200
    box.advance(60)
    (told,) = box.get("/_simulator/flows")[1]
    assert (told["status"], [step["status"] for step in told["steps"]]) == ("Succeeded", ["DELIVERED"])
    assert box.get("/_simulator/flows?page=1")[1] == []
    assert box.get("/_simulator/flows?page=x")[0] == 400


def test_control_panel() -> None:
    """Faults change over HTTP, nonsense is refused and changes nothing; summary and ledger can be read; no token, no ledger entry."""
    box = Box()
    assert box.post("/_simulator/faults", {"sends": {"cut": 1}, "latency_s": [0, 1], "for_s": 5}, authorization="")[0] == 200
    assert attempt(box, "viber_ok").wire is Wire.RESET
    refused: list[object] = [
        [],
        {"sends": {"meteor": 1}},
        {"sends": {"cut": 2}},
        {"sends": "cut"},
        {"tracking": {"cut_accepted": 1}},
        {"nope": 1},
        {"for_s": "soon"},
        {"balance": "much"},
        {"latency_s": [1]},
        {"callback_loss": True},
    ]
    for nonsense in refused:
        assert box.post("/_simulator/faults", nonsense)[0] == 400, nonsense
    assert box.request("POST", "/_simulator/faults", b"{").status == 400
    assert box.get("/_simulator/faults")[1]["sends"] == {"cut": 1}
    assert box.get("/_simulator/summary")[1]["requests"] == {"token": 1, "send": 1}
    assert [entry["what"] for entry in box.get("/_simulator/ledger?since=1")[1]] == ["send"]
    assert box.get("/_simulator/ledger?since=x")[0] == 400
    assert box.get("/_simulator/switches")[1]["token_type"] == "bearer"
    assert box.get("/_simulator/nope")[0] == 404
    box.post("/_simulator/revoke-tokens", {})
    assert box.get("/accounts/me/balance")[0] == 401


# ----------------------------------------------------------------------------------------------------------------- ledger


def test_two_posts_of_one_attempt_are_a_violation() -> None:
    """The same label twice is a duplicate attempt, even if the first was refused; the same flow twice is a repeat."""
    box = Box()
    attempt(box, "throttled_429", 1)
    attempt(box, "throttled_429", 1)
    assert box.simulator.violations == {"repeated_label": 1}
    attempt(box, "throttled_429", 2)
    attempt(box, "throttled_429", 3)
    assert [len(ids) for ids in box.simulator.ledger.repeats().values()] == [2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{FLOW_ID}.3", (FLOW_ID, 3)),
        (f"spring-sale|{FLOW_ID}.12", (FLOW_ID, 12)),
        (FLOW_ID, (None, None)),
        ("spring-sale", (None, None)),
        (None, (None, None)),
    ],
)
def test_attempts_are_read_from_labels(text: str | None, expected: tuple[str | None, int | None]) -> None:
    """``<flow_id>.<n>`` at the end of a label, whatever stands before it."""
    assert attempt_of(text) == expected


def test_ledger_file_is_written_before_the_answer(tmp_path: Path) -> None:
    """Each request is a whole JSON line, recipient in clear, as soon as it is answered; the object's repr hides it."""
    box = Box(ledger_file=tmp_path / "ledger.jsonl")
    attempt(box, "cut_after_accept")
    lines: list[JsonDoc] = [orjson.loads(line) for line in (tmp_path / "ledger.jsonl").read_bytes().splitlines()]
    assert [line["what"] for line in lines] == ["token", "send"]
    assert lines == [entry.as_json() | {"violations": []} for entry in box.simulator.ledger.entries]
    assert (lines[1]["recipient"], lines[1]["flow_id"], lines[1]["attempt"]) == (recipient_for("cut_after_accept"), FLOW_ID, 1)
    assert lines[1]["accepted"] == box.simulator.accepted_by_flow()[FLOW_ID][0]
    assert recipient_for("cut_after_accept")[1:] not in repr(box.simulator.ledger.entries)


def test_ledger_keeps_what_it_is_told_to() -> None:
    """With ``ledger_entries`` only the newest entries stay; counts and acceptances stay all."""
    box = Box(ledger_entries=2)
    for number in range(1, 6):
        attempt(box, "viber_ok", number)
    assert [entry.attempt for entry in box.simulator.ledger.entries] == [4, 5]
    assert len(box.simulator.accepted_by_flow()[FLOW_ID]) == 5


# ---------------------------------------------------------------------------------------------------------------- options


def test_names_are_unique_and_wrong_ones_refused() -> None:
    """Scenarios, faults and switches are closed sets."""
    assert len({entry.number for entry in SCENARIOS.values()}) == len(SCENARIOS)
    assert len({entry.name for entry in SWITCHES}) == len(SWITCHES)
    assert {entry.fault.name for entry in SCENARIOS.values() if entry.fault} <= set(FAULTS)
    for wrong in ({"scenario": "nope"}, {"time_scale": 0}, {"switches": {"nope": True}}, {"switches": {"balance": "maybe"}}):
        with pytest.raises(ValueError, match=r"unknown|above|none of"):
            SimulatorOptions(**wrong)
    with pytest.raises(ValueError, match="neither"):
        Switches({"strict_strategy": "maybe"})
    assert Switches({"strict_strategy": "on"}).is_on("strict_strategy")


def test_default_scenario_is_an_option() -> None:
    """Recipients that are no magic numbers follow the option; magic ones do not."""
    box = Box(scenario="all_fail", switches={"status_code_in_tracking": True})
    for to, status in (("+306912345678", "Failed"), (recipient_for("viber_ok"), "Succeeded")):
        tracking_id = box.send(flow(sms(to)))
        box.advance(30)
        assert box.track(tracking_id)["status"] == status
