"""Sms steps (Routee's documentation: Standard Failover, Transactional Failover, OTP Failover)."""

from __future__ import annotations

from connector.core import steps
from connector.core.durations import parse_duration
from connector.core.fields import Draft, Node, length, sms_sender
from connector.core.model import Api, Channel, JsonObject
from connector.core.steps import LabelPlace, Step

# Routee names no limit; the network's own is 255 parts of 153 characters (3GPP TS 23.040).
_BODY = length(1, 255 * 153)
_SHORTEST_LINK, _LONGEST_LINK = 3_600, 2_592_000  # seconds, Routee's documentation: Standard Failover


def compile_sms(draft: Draft, doc: JsonObject, api: Api) -> Step:
    """A step from ``sms:``. The OTP service knows only sender and body."""
    message: dict[str, Node] = {"body": draft.at("body").text(doc["body"], _BODY, personal=True)}
    tree: dict[str, Node] = {}
    if "from" in doc:
        tree["from"] = draft.at("from").text(doc["from"], sms_sender)
    elif api is not Api.OTP:
        draft.flaw("from is missing: an Sms step needs a sender", "from: ACME")
    if api is Api.OTP:
        unknown = ("flash", "transcode", "url_shortener", "restrictions", "fail_over_on")
        steps.unknown_here(draft, doc, unknown, "the OTP service documents only from and body for Sms")
        common = {key: value for key, value in doc.items() if key not in unknown}
    else:
        message.update({key: doc[key] for key in ("flash", "transcode") if key in doc})
        tree |= _links_and_restrictions(draft, doc)
        common = dict(doc)
    tree["message"] = message
    return Step(
        type="Sms",
        channel=Channel.SMS,
        path=draft.place,
        tree=steps.common(draft, common, Channel.SMS, tree),
        label_place=LabelPlace.STEP if api is Api.OTP else LabelPlace.MESSAGE,
        validity=steps.validity(draft, doc, api, Channel.SMS),
        to=steps.recipient(draft, doc),
        label=steps.label(draft, doc),
    )


def _links_and_restrictions(draft: Draft, doc: JsonObject) -> dict[str, Node]:
    tree: dict[str, Node] = {}
    shortener = doc.get("url_shortener")
    if shortener is True:
        tree["urlShortener"] = {}
    elif shortener:
        seconds, rest = divmod(parse_duration(shortener["validity"]), 1000)
        if rest or not _SHORTEST_LINK <= seconds <= _LONGEST_LINK:
            draft.at("url_shortener", "validity").flaw("short links live for 1h to 30d, in whole seconds")
        tree["urlShortener"] = {"urlValidity": seconds}
    if "restrictions" in doc:
        tree["restrictions"] = draft.at("restrictions").tree(doc["restrictions"])
    return tree
