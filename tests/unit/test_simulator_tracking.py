"""What the simulator shows of flows: create answers, tracking by id, the search with its lag, the OTP list."""

from __future__ import annotations

from typing import Any

import pytest

from connector.simulator import recipient_for
from connector.simulator.documents import iso
from tests.unit.simulator_box import OTP, TRANSACTIONAL, Box, JsonDoc, flow, label, otp_sms, sms, template, viber, viber_otp, voice

TO = recipient_for("viber_ok", 5)


def search(box: Box, *filters: JsonDoc, query: str = "") -> JsonDoc:
    """A page of the tracking search."""
    status, doc = box.post(f"/failover/tracking?{query}", list(filters))
    assert status == 200, doc
    page: JsonDoc = doc
    return page


def where(name: str, term: str, operator: str = "is") -> JsonDoc:
    """One filter."""
    return {"fieldName": name, "searchOperator": operator, "searchTerm": term}


def test_create_answers() -> None:
    """Standard and transactional answers carry trackingId, flowKind and the echo with defaults; no status unless switched on."""
    box = Box()
    _, doc = box.post("/failover", {"flow": [{k: v for k, v in viber(TO).items() if k != "ttl"}], "callback": {"url": "https://a.b"}})
    assert set(doc) == {"trackingId", "flowKind", "flow", "callback", "createdAt"}
    assert (doc["flowKind"], doc["flow"][0]["ttl"], doc["flow"][0]["failoverOnStatuses"]) == (
        "standard",
        10,
        ["Expired", "Failed", "Undelivered"],
    )
    _, doc = box.post(TRANSACTIONAL, flow(template(TO)))
    assert doc["flowKind"] == "transactional"
    assert doc["flow"][0]["seq"]
    assert doc["flow"][0]["deliveryScope"] == "PRIMARY_DEVICE"
    assert Box(switches={"echo_status_in_create": True}).post("/failover", flow(sms(TO)))[1]["status"] == "Queued"


def test_otp_create_answers() -> None:
    """Two steps: InProgress with the first one's token; one step: Succeeded, which means accepted."""
    box = Box()
    _, doc = box.post(OTP, flow(viber_otp(TO), otp_sms(TO, 2)))
    assert (doc["status"], doc["type"], doc["statusCode"]) == ("InProgress", "Viber", None)
    assert [step["trackingId"] is not None for step in doc["flow"]] == [True, False]
    assert "steps" not in doc
    _, doc = box.post(OTP, flow(otp_sms(TO)))
    assert (doc["status"], doc["type"]) == ("Succeeded", "Sms")
    assert "steps" in Box(switches={"otp_steps_in_create": True}).post(OTP, flow(otp_sms(TO)))[1]


def test_tracking_document() -> None:
    """The document as documented: casing by channel, body as object on Viber and text on Sms, label where its channel has it."""
    box = Box()
    to = recipient_for("viber_expired_sms_ok")
    short = sms(to, 2, message={"body": "hello", "label": label()})
    tracking_id = box.send(flow(viber(to, label=label()), short))
    box.advance(700)
    doc = box.track(tracking_id)
    first, second = doc["messages"]
    assert (first["type"], first["status"]["name"], first["body"], first["label"]) == ("Viber", "EXPIRED", {"text": "hello"}, label())
    assert (second["type"], second["status"]["name"], second["body"], second["label"]) == ("Sms", "Delivered", "hello", label())
    assert first["status"]["updatedDate"].endswith("Z")
    assert (first["country"], doc["flowKind"], doc["originatingService"]) == ("GR", "standard", "Failover")
    assert "statusCode" not in doc
    assert doc["createdAt"] == iso(box.simulator.provider.flows.get(tracking_id, is_otp=False).created)  # type: ignore[union-attr]


def test_voice_shows_its_recipient_as_object() -> None:
    """A Voice message has an object for ``to`` and no ttl."""
    box = Box()
    tracking_id = box.send(flow(voice(TO)))
    box.advance(60)
    (message,) = box.track(tracking_id)["messages"]
    assert (message["to"], message["status"]["name"]) == ({"phone": TO}, "Completed")
    assert "ttl" not in message


@pytest.mark.parametrize(("is_on", "count"), [(True, 3), (False, 1)])
def test_a_long_sms_shows_per_part(is_on: bool, count: int) -> None:
    """Parts share messageId, differ in smsId and split the price."""
    box = Box(switches={"sms_message_per_part": is_on})
    tracking_id = box.send(flow(sms(TO, message={"body": "x" * 400})))
    box.advance(60)
    doc = box.track(tracking_id)
    assert len(doc["messages"]) == count
    assert {message["parts"] for message in doc["messages"]} == {3}
    assert len({message["messageId"] for message in doc["messages"]}) == 1
    assert len({message["smsId"] for message in doc["messages"]}) == count
    assert doc["totalPrice"] == pytest.approx(0.108)


def test_switches_change_the_document() -> None:
    """Array roots, older status keys, int or empty status codes: each is one switch."""
    box = Box(
        switches={
            "tracking_root": "array",
            "status_keys": "status",
            "status_code_in_tracking": True,
            "no_status_code": "empty",
            "flow_kind_in_tracking": False,
        },
    )
    tracking_id = box.send(flow(sms(TO)))
    box.advance(60)
    _, (doc,) = box.get(f"/failover/tracking/{tracking_id}")
    assert doc["statusCode"] == ""
    assert doc["messages"][0]["status"]["status"] == "Delivered"
    assert "flowKind" not in doc


def test_unknown_ids_are_404_in_each_services_shape() -> None:
    """And a flow is found only through its own service."""
    box = Box()
    otp_id, standard_id = box.send(flow(otp_sms(TO)), OTP), box.send(flow(sms(TO)))
    for unknown in ("nope", otp_id):
        status, doc = box.get(f"/failover/tracking/{unknown}")
        assert (status, doc["code"][:3]) == (404, "404")
    for unknown in ("nope", standard_id):
        assert box.get(f"/failover-otp/otp/failover/{unknown}") == (404, {"detail": "Tracking not found"})


def test_otp_flow_is_found_by_any_message_token() -> None:
    """The flow id and both steps' tokens tell the same story."""
    box = Box()
    to = recipient_for("viber_expired_sms_ok")
    flow_id = box.send(flow(viber_otp(to), otp_sms(to, 2)), OTP)
    box.advance(100)
    doc = box.track_otp(flow_id)
    assert [box.track_otp(step["trackingId"]) for step in doc["steps"]] == [doc, doc]
    assert [step["role"] for step in doc["steps"]] == ["primary", "failover"]
    assert doc["steps"][1]["failover_from_message_token"] == doc["steps"][0]["trackingId"]
    assert doc["total_cost"] == pytest.approx(sum(step["price"] for step in doc["steps"]))


def test_search_finds_after_the_index_lag_and_not_before() -> None:
    """A flow is found by search ``search_lag_s`` after its acceptance; by id at once."""
    box = Box(search_lag_s=20)
    tracking_id = box.send(flow(sms(TO, message={"body": "x", "label": label()})))
    box.advance(19)
    assert search(box, where("to", TO))["content"] == []
    assert box.track(tracking_id)["trackingId"] == tracking_id
    box.advance(1)
    (found,) = search(box, where("to", TO))["content"]
    assert (found["trackingId"], found["messages"][0]["label"]) == (tracking_id, label())
    otp_id = box.send(flow(otp_sms(TO)), OTP)
    digits = TO.lstrip("+")
    assert box.get(f"/failover-otp/otp/failover?phone_number={digits}")[1]["total"] == 0
    box.advance(20)
    assert box.get(f"/failover-otp/otp/failover?phone_number={digits}")[1]["results"][0]["flowId"] == otp_id


@pytest.mark.parametrize(("form", "plus", "digits"), [("any", 1, 1), ("plus", 1, 0), ("digits", 0, 1)])
def test_how_a_recipient_must_be_written_is_a_switch(form: str, plus: int, digits: int) -> None:
    """``to`` with or without ``+``, in both services."""
    box = Box(switches={"search_to_form": form})
    box.send(flow(sms(TO)))
    box.send(flow(otp_sms(TO)), OTP)
    bare = TO.lstrip("+")
    assert [search(box, where("to", term))["totalElements"] for term in (TO, bare)] == [plus, digits]
    found = [box.get(f"/failover-otp/otp/failover?phone_number={term}")[1]["total"] for term in (f"%2B{bare}", bare)]
    assert found == [plus, digits]


def test_an_unencoded_plus_finds_nothing_and_is_noted() -> None:
    """A ``+`` in a query string is a space."""
    box = Box()
    box.send(flow(otp_sms(TO)), OTP)
    assert box.get(f"/failover-otp/otp/failover?phone_number={TO}")[1]["total"] == 0
    assert box.simulator.violations == {"unencoded_plus": 1}


def test_search_pages_and_window() -> None:
    """Pages count from 0, ten each by default; the window is by creation; newest first."""
    box = Box()
    ids = []
    for _ in range(25):
        ids.append(box.send(flow(sms(TO))))
        box.advance(1)
    pages: list[Any] = [search(box, where("to", TO), query=f"page={page}") for page in range(3)]
    assert [page["numberOfElements"] for page in pages] == [10, 10, 5]
    assert [(page["first"], page["last"], page["totalPages"]) for page in pages] == [(True, False, 3), (False, False, 3), (False, True, 3)]
    assert [found["trackingId"] for page in pages for found in page["content"]] == ids[::-1]
    start = box.now - 25
    query = f"dateStart={iso(start + 5)}&dateEnd={iso(start + 9)}&size=100"
    assert [found["trackingId"] for found in search(box, query=query)["content"]] == ids[5:10][::-1]
    assert search(box, query="page=7")["content"] == []


def test_search_filters_combine() -> None:
    """Filters are joined by AND; words in any casing; OTP flows are never found here."""
    box = Box()
    box.send(flow(otp_sms(TO)), OTP)
    standard, transactional = box.send(flow(sms(TO))), box.send(flow(template(TO), sms(TO, 2)), TRANSACTIONAL)
    box.advance(60)

    def found(*filters: JsonDoc) -> list[str]:
        return [entry["trackingId"] for entry in search(box, *filters)["content"]]

    assert found() == [transactional, standard]
    assert found(where("flowKind", "transactional")) == [transactional]
    assert found(where("terminationChannel", "VIBER", "IS")) == [transactional]
    assert found(where("status", "succeeded"), where("type", "Sms")) == [standard]
    assert found(where("type", "Sms", "is_not")) == [transactional]
    assert found(where("to", TO[1:8], "starts_with")) == [transactional, standard]
    assert found(where("to", TO[-5:], "ends_with"), where("to", "zzz", "contains")) == []


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", [where("label", "x")]),
        ("", [where("status", "Done")]),
        ("", [where("status", "Failed", "contains")]),
        ("", [{"fieldName": "to"}]),
        ("", ["to"]),
        ("", "to"),
        ("size=0", []),
        ("size=2001", []),
        ("page=-1", []),
        ("dateStart=yesterday", []),
    ],
)
def test_search_refuses_nonsense(query: str, body: object) -> None:
    """Unknown fields, operators, terms, pages or dates: 400, and noted."""
    box = Box()
    assert box.post(f"/failover/tracking?{query}", body)[0] == 400
    assert sum(box.simulator.violations.values()) == 1


def test_filter_container_is_a_switch() -> None:
    """One filter may stand alone, or must not, or must."""
    for word, array, alone in (("any", 200, 200), ("array", 200, 400), ("object", 400, 200)):
        box = Box(switches={"filter_container": word})
        assert box.post("/failover/tracking", [where("to", TO)])[0] == array
        assert box.post("/failover/tracking", where("to", TO))[0] == alone


def test_get_without_an_id_lists_nothing() -> None:
    """GET /failover/tracking/ is 405 unless the switch says otherwise."""
    assert Box().get("/failover/tracking/")[0] == 405
    assert Box(switches={"tracking_list_get": True}).get("/failover/tracking/")[0] == 200


def test_otp_list() -> None:
    """Filters, paging, and the label only by switch."""
    for is_on in (False, True):
        box = Box(switches={"label_in_otp_list": is_on})
        ids = [box.send(flow(otp_sms(TO, label=f"tag{n}")), OTP) for n in range(3)]
        doc = box.get("/failover-otp/otp/failover?limit=2&offset=1")[1]
        assert (doc["total"], [item["flowId"] for item in doc["results"]]) == (3, [ids[1], ids[0]])
        assert ("label" in doc["results"][0]["steps"][0]) is is_on
        assert [item["flowId"] for item in box.get("/failover-otp/otp/failover?tag=tag1")[1]["results"]] == [ids[1]]
        assert box.get(f"/failover-otp/otp/failover?flow_id={ids[2]}&status=succeeded")[1]["total"] == 1
        assert box.get("/failover-otp/otp/failover?status=Failed")[1]["total"] == 0
        assert box.get("/failover-otp/otp/failover?limit=0")[0] == 422
    box = Box(switches={"otp_list_items": "delivery"})
    box.send(flow(otp_sms(TO)), OTP)
    assert box.get("/failover-otp/otp/failover")[1]["results"][0]["channel"] == "sms"


def test_the_small_endpoints() -> None:
    """Templates, balance, health; health needs no token; any other path is 404 and noted."""
    box = Box()
    assert len(box.get("/failover-otp/otp/templates")[1]["templates"]) == 9
    assert box.get("/accounts/me/balance")[1]["balance"] == 100.0
    assert box.get("/failover-otp/health", authorization="") == (200, {"status": "ok"})
    assert box.get("/failover-otp", authorization="")[1]["service"] == "failover-otp"
    assert box.simulator.violations == {}
    assert box.get("/failover-otp/failover-otp/otp/templates")[0] == 404
    assert box.simulator.violations == {"unknown_path": 1}


def test_the_oldest_flows_are_forgotten() -> None:
    """Beyond ``max_flows`` the oldest flow is gone from tracking and search."""
    box = Box(max_flows=2)
    ids = [box.send(flow(sms(TO))) for _ in range(3)]
    assert box.get(f"/failover/tracking/{ids[0]}")[0] == 404
    assert [found["trackingId"] for found in search(box, where("to", TO))["content"]] == [ids[2], ids[1]]
    assert box.send(flow(viber(TO)))
