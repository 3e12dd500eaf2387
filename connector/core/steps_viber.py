"""Viber steps: free-form, template and OTP template (Routee's documentation: Standard, Transactional, OTP Failover)."""

from __future__ import annotations

import re

from connector.core import steps
from connector.core.durations import parse_duration
from connector.core.fields import Draft, Node, https, length, not_blank, one_of, url, uuid, web
from connector.core.model import Api, Channel, JsonObject
from connector.core.steps import LabelPlace, Step

FILE_TYPES = (
    *("doc", "docx", "rtf", "dot", "dotx", "odt", "odf", "fodt", "txt", "info", "pdf", "xps", "pdax", "eps"),
    *("xls", "xlsx", "ods", "fods", "csv", "xlsm", "xltx"),
)
OTP_LANGUAGES = (
    *("ar", "be", "bg", "br", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hr", "id", "it", "ja", "ko"),
    *("my", "nl", "pl", "pt", "ru", "sk", "sr", "sv", "th", "tr", "uk", "vi"),
)
OTP_TEMPLATE_TYPES = (
    *("basic", "basic_5min", "with_business_name", "with_validity", "with_type", "with_action", "with_reason"),
    *("with_type_and_validity", "with_business_and_validity_hours"),
)
BUSINESS_NAME_TYPES = frozenset({"with_business_name", "with_business_and_validity_hours", "with_reason"})
SCOPES = {"primary": "PRIMARY_DEVICE", "all": "ALL_DEVICES"}
CONTENT = ("text", "image", "file", "video")

_REGION = re.compile(r"([a-zA-Z]{2,3})[-_][a-zA-Z0-9_-]+", re.ASCII)
_LARGEST_VIDEO_MB, _LONGEST_VIDEO_SECONDS = 200, 600


def language(text: str) -> str:
    """Viber's template languages have no regions: ``el-GR`` and ``el_GR`` mean ``el``; ``pt-BR`` is ``br``."""
    text = text.strip()
    if text.lower().replace("_", "-") == "pt-br":
        return "br"
    found = _REGION.fullmatch(text)
    return found[1].lower() if found else text


def compile_viber(draft: Draft, doc: JsonObject, api: Api) -> Step:
    """A free-form step from ``viber:`` without ``template``."""
    if not any(key in doc for key in CONTENT):
        draft.flaw("a Viber message needs a text, an image, a file or a video", "or template: for an approved template")
    tree: dict[str, Node] = {"senderInfoTrackingId": draft.at("sender").text(doc["sender"], not_blank)}
    if "inbound_url" in doc:
        tree["inboundUrl"] = draft.at("inbound_url").text(doc["inbound_url"], web)
    if "expire_on_delivery" in doc:
        tree["expireOnDelivery"] = doc["expire_on_delivery"]
    tree["message"] = _content(draft, doc)
    return Step(
        type="Viber",
        channel=Channel.VIBER,
        path=draft.place,
        tree=steps.common(draft, doc, Channel.VIBER, tree),
        label_place=LabelPlace.STEP,
        validity=steps.validity(draft, doc, api, Channel.VIBER),
        to=steps.recipient(draft, doc),
        label=steps.label(draft, doc),
    )


def compile_viber_template(draft: Draft, doc: JsonObject, api: Api) -> Step:
    """A step with an approved template from ``viber:`` with ``template``. It carries no label: Routee refuses one with 400."""
    tree: dict[str, Node] = {
        "senderInfoTrackingId": draft.at("sender").text(doc["sender"], not_blank),
        "templateId": draft.at("template").text(doc["template"], uuid),
        "templateLang": draft.at("lang").text(doc["lang"], not_blank, shape=language),
        "templateParams": draft.at("params").tree(doc.get("params", {}), personal=True),
    }
    if "device_scope" in doc:
        tree["deliveryScope"] = SCOPES[doc["device_scope"]]
    if "seq" in doc:
        tree["seq"] = draft.at("seq").tree(doc["seq"])
    return Step(
        type="Viber",
        channel=Channel.VIBER,
        path=draft.place,
        tree=steps.common(draft, doc, Channel.VIBER, tree),
        label_place=LabelPlace.NONE,
        validity=steps.validity(draft, doc, api, Channel.VIBER, always=True),
        to=steps.recipient(draft, doc),
    )


def compile_viber_otp(draft: Draft, doc: JsonObject, api: Api) -> Step:
    """A step with one of Viber's OTP templates from ``viber_otp:``."""
    tree: dict[str, Node] = {
        "senderInfoTrackingId": draft.at("sender").text(doc["sender"], not_blank),
        "templateId": draft.at("template").text(doc["template"], uuid),
        "pin": draft.at("pin").text(doc["pin"], length(4, 10), personal=True),
    }
    if "lang" in doc:
        tree["templateLang"] = draft.at("lang").text(doc["lang"], one_of(OTP_LANGUAGES, "language of OTP templates"), shape=language)
    kind = doc.get("template_type")
    if kind is not None:
        tree["templateType"] = kind
    if "business_name" in doc:
        tree["businessName"] = draft.at("business_name").text(doc["business_name"], length(1, 50))
    elif kind in BUSINESS_NAME_TYPES:
        draft.flaw(f"business_name is missing: template_type {kind} needs it")
    return Step(
        type="ViberOtp",
        channel=Channel.VIBER,
        path=draft.place,
        tree=steps.common(draft, doc, Channel.VIBER, tree),
        label_place=LabelPlace.STEP,
        validity=steps.validity(draft, doc, api, Channel.VIBER),
        to=steps.recipient(draft, doc),
        label=steps.label(draft, doc),
    )


def _content(draft: Draft, doc: JsonObject) -> dict[str, Node]:
    message: dict[str, Node] = {}
    if "text" in doc:
        message["text"] = draft.at("text").text(doc["text"], length(1, 1000), personal=True)
    if "image" in doc:
        message["imageUrl"] = draft.at("image").text(doc["image"], https)
    if "button" in doc:
        place, button = draft.at("button"), doc["button"]
        message["action"] = {
            "caption": place.at("caption").text(button["caption"], length(1, 30)),
            "targetUrl": place.at("url").text(button["url"], url(("https", "http"), 1000)),
        }
    if "file" in doc:
        place, file = draft.at("file"), doc["file"]
        message["viberFile"] = {
            "fileName": place.at("name").text(file["name"], length(1, 25)),
            "fileType": place.at("type").text(file["type"], one_of(FILE_TYPES, "file type")),
            "fileUrl": place.at("url").text(file["url"], https),
        }
    if "video" in doc:
        message["viberVideo"] = _video(draft.at("video"), doc["video"])
    return message


def _video(draft: Draft, video: JsonObject) -> dict[str, Node]:
    size, duration = video["size_mb"], video["duration"]
    seconds = parse_duration(duration) / 1000 if isinstance(duration, str) else duration
    if not 0 < size <= _LARGEST_VIDEO_MB:
        draft.at("size_mb").flaw("a video has more than 0 and at most 200 MB")
    if not 0 < seconds <= _LONGEST_VIDEO_SECONDS:
        draft.at("duration").flaw("a video has more than 0 and at most 600 seconds")
    return {
        "videoUrl": draft.at("url").text(video["url"], https),
        "videoThumbnail": draft.at("thumbnail").text(video["thumbnail"], https),
        "fileSize": size,
        "duration": int(seconds) if float(seconds).is_integer() else seconds,
    }
