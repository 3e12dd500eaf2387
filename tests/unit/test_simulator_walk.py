"""The life of flows in the simulator, by scenario, with time moved by hand."""

from __future__ import annotations

import random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.simulator import SCENARIOS, recipient_for
from connector.simulator.plan import plan_step
from connector.simulator.scenarios import scenario_of
from tests.unit.simulator_box import OTP, TRANSACTIONAL, Box, JsonDoc, flow, otp_sms, sms, template, viber, viber_otp, voice


def walked(scenario: str, *kinds: str, seconds: float = 3000, **options: object) -> tuple[Box, JsonDoc]:
    """A flow of these steps to a magic recipient, after ``seconds``, as tracking with statusCode shows it."""
    box = Box(switches={"status_code_in_tracking": True}, **options)
    to = recipient_for(scenario)
    make = {"sms": sms, "viber": viber, "voice": voice}
    tracking_id = box.send(flow(*(make[kind](to, order) for order, kind in enumerate(kinds, 1))))
    box.advance(seconds, step_s=1)
    return box, box.track(tracking_id)


def end(doc: JsonDoc) -> tuple[object, ...]:
    """(status, statusCode, terminationChannel, step statuses)."""
    steps = [message["status"]["name"] for message in doc["messages"]]
    return doc["status"], doc["statusCode"], doc["terminationChannel"], steps


@pytest.mark.parametrize(
    ("scenario", "kinds", "expected"),
    [
        ("viber_ok", ("viber", "sms"), ("Succeeded", None, "Viber", ["DELIVERED"])),
        ("viber_ok", ("sms",), ("Succeeded", None, "Sms", ["Delivered"])),
        ("viber_ok", ("voice", "sms"), ("Succeeded", None, "Voice", ["Completed"])),
        ("viber_expired_sms_ok", ("viber", "sms"), ("Succeeded", None, "Sms", ["EXPIRED", "Delivered"])),
        ("viber_expired_sms_ok", ("viber",), ("Failed", "2", "Viber", ["EXPIRED"])),
        ("all_fail", ("voice", "viber", "sms"), ("Failed", "2", "Sms", ["Busy", "UNDELIVERED", "Undelivered"])),
        ("voice_busy_then_sms", ("voice", "sms"), ("Succeeded", None, "Sms", ["Busy", "Delivered"])),
        ("seen_after_delivered", ("viber", "sms"), ("Succeeded", None, "Viber", ["SEEN"])),
        ("not_triggered", ("viber", "sms"), ("Failed", "3", "Viber", ["UNSENT"])),
        ("server_error_later", ("viber", "sms"), ("Failed", "0", "Viber", ["QUEUED"])),
        ("balance_later", ("sms",), ("Failed", "1", "Sms", ["Sent"])),
        ("otp_failed_3", ("viber",), ("Failed", "3", "Viber", ["QUEUED"])),
        ("silent", ("viber", "sms"), ("InProgress", None, None, ["QUEUED"])),
    ],
)
def test_scenario(scenario: str, kinds: tuple[str, ...], expected: tuple[object, ...]) -> None:
    """Each magic recipient leads its flow to the end that the table promises."""
    _, doc = walked(scenario, *kinds)
    assert end(doc) == expected


def test_flow_is_queued_then_in_progress() -> None:
    """Accepted means Queued without a message; InProgress begins with the first step; order, not position, says which is first."""
    box = Box()
    to = recipient_for("viber_ok")
    tracking_id = box.send(flow(sms(to, 2), viber(to, 1)))
    assert (box.track(tracking_id)["status"], box.track(tracking_id)["messages"]) == ("Queued", [])
    box.advance(0.5)
    doc = box.track(tracking_id)
    assert (doc["status"], [message["type"] for message in doc["messages"]]) == ("InProgress", ["Viber"])


def test_viber_expires_at_its_ttl_and_not_before() -> None:
    """Without a receipt a Viber step is EXPIRED when ``ttl`` minutes have passed."""
    box, doc = walked("viber_expired_sms_ok", "viber", "sms", seconds=10 * 60)
    assert end(doc)[3] == ["QUEUED"]
    box.advance(0.3)
    assert [message["status"]["name"] for message in box.track(doc["trackingId"])["messages"]] == ["EXPIRED", "Queued"]


def test_time_scale_makes_the_provider_faster() -> None:
    """At scale 60 a ttl of ten minutes has passed after ten seconds."""
    _, doc = walked("viber_expired_sms_ok", "viber", "sms", seconds=11, time_scale=60)
    assert doc["status"] == "Succeeded"


def test_expire_on_delivery_ends_with_seen_or_expired() -> None:
    """With expireOnDelivery DELIVERED ends nothing: EXPIRED at the ttl starts the next step, SEEN succeeds."""
    for scenario, expected in (("viber_ok", ["EXPIRED", "Delivered"]), ("seen_after_delivered", ["SEEN"])):
        box = Box()
        to = recipient_for(scenario)
        tracking_id = box.send(flow(viber(to, expireOnDelivery=True), sms(to, 2)))
        box.advance(9.5 if scenario == "viber_ok" else 5)
        assert box.track(tracking_id)["status"] == "InProgress"
        box.advance(700)
        doc = box.track(tracking_id)
        assert [message["status"]["name"] for message in doc["messages"]] == expected
        assert (doc["messages"][0]["expiredOnDeliveryAt"] is not None) is (scenario == "viber_ok")


def test_a_success_that_is_a_trigger_starts_the_next_step() -> None:
    """``Completed`` among Voice's triggers means: call, then message too."""
    box = Box()
    to = recipient_for("viber_ok")
    tracking_id = box.send(flow(voice(to, failoverOnStatuses=["completed"]), sms(to, 2)))
    box.advance(200)
    assert [message["status"]["name"] for message in box.track(tracking_id)["messages"]] == ["Completed", "Delivered"]


@pytest.mark.parametrize(("word", "expected"), [("none", ("Failed", "3")), ("default", ("Failed", "2"))])
def test_empty_triggers_are_a_switch(word: str, expected: tuple[str, str]) -> None:
    """An empty failoverOnStatuses means "nothing triggers", or the channel's default."""
    box = Box(switches={"empty_triggers": word, "status_code_in_tracking": True})
    tracking_id = box.send(flow(viber(recipient_for("all_fail"), failoverOnStatuses=[])))
    box.advance(60)
    assert end(box.track(tracking_id))[:2] == expected


def test_unapproved_template_fails_its_step_or_the_send() -> None:
    """An unapproved template gives a FAILED step (async), a 400 (sync), or nothing (off)."""
    to = recipient_for("viber_ok")
    doc = flow(template(to, templateId="ffffffff-ffff-4fff-bfff-ffffffffffff"), sms(to, 2))
    box = Box()
    tracking_id = box.send(doc, TRANSACTIONAL)
    box.advance(60)
    assert [message["status"]["name"] for message in box.track(tracking_id)["messages"]] == ["FAILED", "Delivered"]
    assert Box(switches={"template_check": "sync"}).post(TRANSACTIONAL, doc)[0] == 400
    box = Box(switches={"template_check": "off"})
    tracking_id = box.send(doc, TRANSACTIONAL)
    box.advance(60)
    assert [message["status"]["name"] for message in box.track(tracking_id)["messages"]] == ["DELIVERED"]


def test_otp_succeeds_once_the_last_channel_was_sent() -> None:
    """OTP counts ttl in seconds, and Succeeded while the SMS is only queued proves no delivery."""
    box = Box()
    to = recipient_for("viber_expired_sms_ok")
    flow_id = box.send(flow(viber_otp(to), otp_sms(to, 2)), OTP)
    assert box.track_otp(flow_id)["status"] == "InProgress"
    box.advance(59)
    assert [step["status"] for step in box.track_otp(flow_id)["steps"]] == ["queued"]
    box.advance(1)
    doc = box.track_otp(flow_id)
    assert (doc["status"], [step["status"] for step in doc["steps"]]) == ("Succeeded", ["EXPIRED", "queued"])
    box.advance(60)
    assert [step["status"] for step in box.track_otp(flow_id)["steps"]] == ["EXPIRED", "Delivered"]


@pytest.mark.parametrize(("is_on", "status"), [(False, "Succeeded"), (True, "Failed")])
def test_otp_that_failed_after_succeeded_is_a_switch(is_on: bool, status: str) -> None:
    """A single-step OTP flow is Succeeded when accepted; whether its later failure shows is open."""
    box = Box(switches={"otp_fails_after_succeeded": is_on})
    flow_id = box.send(flow(otp_sms(recipient_for("all_fail"))), OTP)
    assert box.track_otp(flow_id)["status"] == "Succeeded"
    box.advance(60)
    doc = box.track_otp(flow_id)
    assert (doc["status"], doc["steps"][0]["status"]) == (status, "Undelivered")


def test_the_same_seed_gives_the_same_fate() -> None:
    """Chance comes from the seed and the label alone."""

    def fates(seed: int) -> list[object]:
        box = Box(seed=seed)
        ids = [box.send(flow(viber(f"+30697{n:07d}", label=f"l{n}"), sms(f"+30697{n:07d}", 2))) for n in range(40)]
        box.advance(2000, step_s=5)
        return [end({"statusCode": None, **box.track(tracking_id)}) for tracking_id in ids]

    assert fates(1) == fates(1)
    assert fates(1) != fates(2)
    assert len({str(fate) for fate in fates(1)}) > 3


@given(
    channel=st.sampled_from(["Sms", "Viber", "Voice"]),
    word=st.sampled_from(sorted({entry.outcome(channel) for entry in SCENARIOS.values() for channel in ("Sms", "Viber", "Voice")})),
    ttl_s=st.floats(0, 86_400),
    seed=st.integers(0, 1000),
    expires=st.booleans(),
)
def test_a_plan_never_goes_back_in_time(channel: str, word: str, ttl_s: float, seed: int, expires: bool) -> None:
    """Any outcome of any channel is a plan that starts at once, in order, with Queued."""
    plan = plan_step(channel, word, ttl_s, random.Random(seed), expires_on_delivery=expires)  # noqa: S311 - chance to be repeated
    delays = [change.after_s for change in plan]
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert plan[0].status.lower() == "queued"


@given(name=st.sampled_from(sorted(SCENARIOS)), n=st.integers(0, 99_999))
def test_magic_numbers_are_valid_and_lead_back(name: str, n: int) -> None:
    """Every magic recipient is a valid mobile number and stands for its scenario alone."""
    number = recipient_for(name, n)
    assert phonenumbers.is_valid_number(phonenumbers.parse(number))
    found = scenario_of(number[1:])
    assert found is not None
    assert found.name == name
    assert scenario_of("306912345678") is None


@pytest.mark.parametrize(("name", "n"), [("nope", 0), ("slow", -1), ("slow", 100_000)])
def test_there_is_no_other_magic_number(name: str, n: int) -> None:
    """Unknown scenarios and too large numbers raise ValueError."""
    with pytest.raises(ValueError, match=r"scenario|between"):
        recipient_for(name, n)
