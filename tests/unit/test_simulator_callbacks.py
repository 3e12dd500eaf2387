"""When and how the simulator calls back: both strategies, the OTP shape, repeats, and the ways in which callbacks go astray."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from connector.simulator import Faults, recipient_for
from connector.simulator.callbacks import RETRIES_S
from tests.unit.simulator_box import FLOW_ID, OTP, Box, JsonDoc, flow, otp_sms, sms, viber, viber_otp

FALLS_BACK = "viber_expired_sms_ok"


def sent(scenario: str, strategy: str, seconds: float = 700, **options: object) -> Box:
    """A Viber-then-Sms flow with a callback, after a while."""
    box = Box(**options)
    to = recipient_for(scenario)
    box.send(flow(viber(to), sms(to, 2), strategy=strategy))
    box.advance(seconds)
    return box


def steps(doc: JsonDoc) -> list[str]:
    """Status names of the messages."""
    return [message["status"]["name"] for message in doc["messages"]]


def test_on_completion_calls_once_at_the_end() -> None:
    """One document, the flow's last, with flowKind and statusCode."""
    box = sent(FALLS_BACK, "OnCompletion")
    ((url, doc),) = box.callbacks.posts
    assert url == "http://127.0.0.1:1/hook"
    assert (doc["status"], doc["flowKind"], doc["statusCode"], doc["terminationChannel"]) == ("Succeeded", "standard", None, "Sms")
    assert steps(doc) == ["EXPIRED", "Delivered"]
    assert box.callbacks.posts[0][1] == {**box.track(doc["trackingId"]), "statusCode": None}


def test_on_step_calls_at_every_change() -> None:
    """Every status change of flow and steps, in order, each time the whole document."""
    box = sent(FALLS_BACK, "OnStep")
    assert [(doc["status"], steps(doc)) for _, doc in box.callbacks.posts] == [
        ("InProgress", ["QUEUED"]),
        ("InProgress", ["EXPIRED", "Queued"]),
        ("InProgress", ["EXPIRED", "Sent"]),
        ("Succeeded", ["EXPIRED", "Delivered"]),
    ]


def test_failed_flow_tells_its_status_code() -> None:
    """``statusCode`` is a string in standard callbacks, or an int by switch."""
    assert sent("all_fail", "OnCompletion").callbacks.posts[0][1]["statusCode"] == "2"
    assert sent("all_fail", "OnCompletion", switches={"status_code_type": "int"}).callbacks.posts[0][1]["statusCode"] == 2


@pytest.mark.parametrize(("word", "count"), [("OnCompletion", 1), ("OnStep", 4)])
def test_default_strategy_is_a_switch(word: str, count: int) -> None:
    """A callback without a strategy."""
    assert len(sent(FALLS_BACK, "", switches={"default_strategy": word}).callbacks.posts) == count


@pytest.mark.parametrize(("is_on", "last"), [(True, "SEEN"), (False, "DELIVERED")])
def test_seen_after_the_end_calls_by_switch(is_on: bool, last: str) -> None:
    """SEEN after DELIVERED had ended the flow: an OnStep callback, or none; never for OnCompletion."""
    box = sent("seen_after_delivered", "OnStep", switches={"late_seen_callback": is_on})
    assert steps(box.callbacks.posts[-1][1])[-1] == last
    assert box.callbacks.statuses[-1] == "Succeeded"
    assert len(sent("seen_after_delivered", "OnCompletion").callbacks.posts) == 1


def test_otp_callbacks_have_the_tracking_shape() -> None:
    """The body is what GET gives; not for the initial state; no repeat of an unchanged status."""
    box = Box()
    to = recipient_for(FALLS_BACK)
    flow_id = box.send(flow(viber_otp(to), otp_sms(to, 2), strategy=""), OTP)
    assert box.callbacks.posts == []
    box.advance(100)
    seen = [[step["status"] for step in doc["steps"]] for _, doc in box.callbacks.posts]
    assert seen == [["EXPIRED"], ["EXPIRED", "queued"], ["EXPIRED", "Sent"], ["EXPIRED", "Delivered"]]
    assert box.callbacks.statuses == ["InProgress", "Succeeded", "Succeeded", "Succeeded"]
    assert box.callbacks.posts[-1][1] == box.track_otp(flow_id)


def test_standard_callbacks_are_repeated_until_200() -> None:
    """Anything but 200 is repeated on the documented schedule, twelve times at most; other 2xx are no 200."""
    box = Box()
    box.callbacks.status = 204
    to = recipient_for("viber_ok")
    box.send(flow(sms(to), strategy="OnCompletion"))
    box.advance(10)
    assert len(box.callbacks.posts) == 1
    box.advance(30)
    assert len(box.callbacks.posts) == 2
    box.advance(60)
    assert len(box.callbacks.posts) == 3
    box.callbacks.status = 200
    box.advance(200)
    assert len(box.callbacks.posts) == 4
    box.advance(100_000, step_s=100)
    assert len(box.callbacks.posts) == 4


def test_a_dead_endpoint_is_given_up() -> None:
    """After the whole schedule nothing more comes; the repeats carry the same document."""
    box = Box(time_scale=3600)
    box.callbacks.status = None
    box.send(flow(sms(recipient_for("viber_ok")), strategy="OnCompletion"))
    box.advance(sum(RETRIES_S) / 3600 + 20, step_s=0.005)
    assert len(box.callbacks.posts) == 1 + len(RETRIES_S) == 13
    assert len({str(doc) for _, doc in box.callbacks.posts}) == 1
    assert box.simulator.ledger.callbacks["given_up"] == 1


def test_otp_callbacks_are_never_repeated() -> None:
    """Fire and forget."""
    box = Box()
    box.callbacks.status = 503
    box.send(flow(otp_sms(recipient_for("viber_ok")), strategy=""), OTP)
    box.advance(5000, step_s=10)
    assert [doc["steps"][0]["status"] for _, doc in box.callbacks.posts] == ["Sent", "Delivered"]


def test_no_callbacks() -> None:
    """By scenario, by option, by strategy: none; tracking still tells."""
    for box in (sent("no_callbacks", "OnStep"), sent(FALLS_BACK, "OnStep", callbacks=False), sent("silent", "OnStep")):
        assert box.callbacks.posts == []


def test_late_callbacks() -> None:
    """They come ``late_callback_s`` of provider time after the change."""
    box = sent("late_callbacks", "OnCompletion", late_callback_s=1000)
    assert box.callbacks.posts == []
    box.advance(920)
    assert box.callbacks.statuses == ["Succeeded"]


def test_duplicate_callbacks() -> None:
    """Every one twice, the same document."""
    posts = sent("duplicate_callbacks", "OnStep").callbacks.posts
    assert len(posts) == 8
    assert posts[::2] == posts[1::2]


def test_reordered_callbacks() -> None:
    """All at the end, last first."""
    box = sent("reordered_callbacks", "OnStep")
    assert box.callbacks.statuses == ["Succeeded", "InProgress", "InProgress", "InProgress"]
    assert steps(box.callbacks.posts[-1][1]) == ["QUEUED"]


def test_callback_rates() -> None:
    """Loss, duplicates and delay by rate, for all flows."""
    assert sent(FALLS_BACK, "OnStep", faults=Faults(callback_loss=1)).callbacks.posts == []
    assert len(sent(FALLS_BACK, "OnStep", faults=Faults(callback_duplicate=1)).callbacks.posts) == 8
    box = sent(FALLS_BACK, "OnCompletion", faults=Faults(callback_delay_s=100))
    assert box.callbacks.posts == []
    box.advance(100)
    assert len(box.callbacks.posts) == 1


def test_callbacks_out_of_step_by_rate() -> None:
    """Reordered: each but the last comes behind a later one, none is left out. Late: so much later, all of them."""
    box = sent(FALLS_BACK, "OnStep", faults=Faults(callback_reorder=1))
    assert box.callbacks.statuses == ["Succeeded", "InProgress", "InProgress", "InProgress"]
    assert box.simulator.ledger.callbacks["reordered"] == 3
    box = Box(faults=Faults(callback_reorder=1))
    box.send(flow(otp_sms(recipient_for("viber_ok")), strategy=""), OTP)
    box.advance(100)
    assert [doc["steps"][0]["status"] for _, doc in box.callbacks.posts] == ["Delivered", "Sent"]
    box = sent(FALLS_BACK, "OnStep", faults=Faults(callback_late=1, callback_late_s=1000))
    assert box.callbacks.posts == []
    box.advance(1000)
    assert len(box.callbacks.posts) == box.simulator.ledger.callbacks["late"] == 4


async def test_callback_before_answer() -> None:
    """The answer of the send waits until the first callback was answered."""
    box = Box()
    doc = flow(sms(recipient_for("callback_before_answer")), strategy="OnCompletion")
    reply = box.request("POST", "/failover", str(doc).replace("'", '"').encode())
    assert reply.after is not None
    waiting = asyncio.ensure_future(reply.after)
    await asyncio.sleep(0)
    assert not waiting.done()
    box.advance(10)
    await waiting
    assert box.callbacks.statuses == ["Succeeded"]


@pytest.mark.parametrize("status", [200, 503])
def test_the_ledger_file_tells_which_callbacks_were_taken(tmp_path: Path, status: int) -> None:
    """One line for each that was answered with success, with the document as it went out; none for a refused one."""
    box = Box(ledger_file=tmp_path / "ledger.jsonl")
    box.callbacks.status = status
    to = recipient_for("viber_ok")
    box.send(flow(viber(to, label=f"{FLOW_ID}.2"), sms(to, 2), strategy="OnCompletion"))
    box.advance(20)
    lines = [orjson.loads(line) for line in (tmp_path / "ledger.jsonl").read_bytes().splitlines()]
    taken = [(line["flow_id"], line["attempt"], line["body"]) for line in lines if line["what"] == "callback"]
    assert taken == ([(FLOW_ID, 2, box.callbacks.posts[0][1])] if status == 200 else [])
    assert all(line["body"] is None for line in lines if line["what"] != "callback")
