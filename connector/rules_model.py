"""The shape of a rules file (PUBLIC.md, Rules): keys, kinds of values, closed lists of words. What they mean is checked in ``core``.

Also where the JSON Schema for editors comes from. ``core`` compiles the plain data, so these models only judge it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    WithJsonSchema,
    model_validator,
)

from connector.core.durations import parse_duration
from connector.core.steps_viber import FILE_TYPES, OTP_TEMPLATE_TYPES
from connector.core.steps_voice import LANGUAGES


def _with_unit(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        message = f"a duration needs a unit: {value}s, {value}m or {value}h"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError into a problem of the file
    return value


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):
        message = f"{name!r} is no time zone, as in Europe/Athens"
        raise ValueError(message) from None
    return name


def _viber_kind(value: object) -> str:
    return "viber template" if isinstance(value, dict) and "template" in value else "viber free-form"


def _shortener_kind(value: object) -> str:
    return "short links" if isinstance(value, dict) else "switch"


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float):
        message = "must be a text, a number, true or false"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError into a problem of the file
    return value


def _seconds(value: object) -> object:
    if isinstance(value, str):
        return _duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = "must be seconds, or a duration such as 90s"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError into a problem of the file
    return value


def _words(*words: str) -> Any:  # noqa: ANN401 - a Literal made of a tuple
    return Literal[words]


Text = Annotated[str, Field(description="a text; {{ … }} reads the event")]
Condition = Annotated[str, Field(description="an expression, without braces: data.total > 0")]
Duration = Annotated[
    str, BeforeValidator(_with_unit), AfterValidator(_duration), Field(pattern=r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d)\s*$", examples=["90s"])
]
Zone = Annotated[str, AfterValidator(_zone)]
Extra = Annotated[dict[str, JsonValue], Field(description="added to the JSON as it is, last; strings are texts")]
Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Seconds = Annotated[Any, AfterValidator(_seconds), WithJsonSchema({"type": ["string", "number"]})]
Count = Annotated[int, Field(ge=1)]


class _Doc(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UrlShortener(_Doc):
    """Shortens every link of the text."""

    validity: Duration


class Sms(_Doc):
    """An SMS."""

    from_: Text | None = Field(None, alias="from", description="sender: up to 11 characters, or up to 16 digits without +")
    to: Text = ""
    body: Text
    flash: bool = False
    transcode: bool = False
    label: Text = ""
    ttl: Duration = "20h"
    url_shortener: Annotated[
        Annotated[bool, Tag("switch")] | Annotated[UrlShortener, Tag("short links")],
        Discriminator(_shortener_kind),
    ] = False
    restrictions: Extra = {}
    fail_over_on: Annotated[list[Literal["undelivered", "failed"]], Field(min_length=1)] = ["undelivered", "failed"]
    extra: Extra = {}


class Button(_Doc):
    """A button under a Viber message."""

    caption: Text
    url: Text


class File(_Doc):
    """A document in a Viber message."""

    name: Text
    type: _words(*FILE_TYPES)  # type: ignore[valid-type]
    url: Text


class Video(_Doc):
    """A video in a Viber message."""

    url: Text
    thumbnail: Text
    size_mb: float
    duration: Seconds = Field(description="seconds, or a duration")


class _AnyViber(_Doc):
    sender: Text = Field(description="senderInfoTrackingId of the active Viber sender")
    to: Text = ""
    ttl: Duration = "10m"
    fail_over_on: Annotated[list[Literal["expired", "failed", "undelivered"]], Field(min_length=1)] = ["expired", "failed", "undelivered"]
    extra: Extra = {}


class Viber(_AnyViber):
    """A free-form Viber message."""

    text: Text = ""
    image: Text = ""
    button: Button | None = None
    file: File | None = None
    video: Video | None = None
    inbound_url: Text = ""
    expire_on_delivery: bool = False
    label: Text = ""


class ViberTemplate(_AnyViber):
    """An approved Viber template (transactional)."""

    template: Text
    lang: Text
    params: dict[str, Scalar] = {}
    device_scope: Literal["primary", "all"] = "primary"
    seq: Scalar = ""


class ViberOtp(_Doc):
    """One of Viber's templates for verification codes."""

    sender: Text
    to: Text = ""
    template: Text
    lang: Text = "en"
    pin: Text
    template_type: _words(*OTP_TEMPLATE_TYPES) = "basic"  # type: ignore[valid-type]
    business_name: Text = ""
    ttl: Duration = Field("60s", description="required")
    label: Text = ""
    extra: Extra = {}


class Say(_Doc):
    """Text that is read aloud."""

    text: Text
    language: _words(*LANGUAGES)  # type: ignore[valid-type]
    gender: Literal["male", "female"] = "female"
    repeat: Count = 1
    barge_in: bool = False


class Play(_Doc):
    """A wav file that is played."""

    url: Text
    repeat: Count = 1
    barge_in: bool = False


class Verb(_Doc):
    """One of say and play."""

    say: Say | None = None
    play: Play | None = None

    @model_validator(mode="after")
    def _one(self) -> Verb:
        if len(self.model_fields_set) != 1:
            message = "a verb is either say or play"
            raise ValueError(message)
        return self


class Voice(_Doc):
    """A call."""

    from_: Text = Field(alias="from")
    to: Text = ""
    say: list[Say] = []
    play: list[Play] = []
    verbs: list[Verb] = []
    machine_detection: Literal["hangup", "continue"] = "hangup"
    event_url: Text = ""
    fail_over_on: Annotated[
        list[Literal["busy", "no_answer", "completed", "failed", "unsent", "terminated"]],
        Field(min_length=1),
    ] = ["busy", "no_answer"]
    extra: Extra = {}


AnyViber = Annotated[
    Annotated[Viber, Tag("viber free-form")] | Annotated[ViberTemplate, Tag("viber template")],
    Discriminator(_viber_kind),
]


class StepDoc(_Doc):
    """One step; exactly one channel."""

    sms: Sms | None = None
    viber: AnyViber | None = None
    voice: Voice | None = None
    viber_otp: ViberOtp | None = None
    if_: Condition = Field("", alias="if", description="the step is left out where this does not hold")

    @model_validator(mode="after")
    def _one_channel(self) -> StepDoc:
        if len(self.model_fields_set - {"if_"}) != 1:
            message = "a step has exactly one of sms, viber, voice, viber_otp"
            raise ValueError(message)
        return self


class QuietHoursDoc(_Doc):
    """No message between these times of day."""

    from_: str = Field(alias="from", examples=["21:30"])
    to: str = Field(examples=["08:00"])
    timezone: Zone = Field("UTC", description="for recipients whose event names none")


class LimitDoc(_Doc):
    """At most so many messages of this rule to one recipient."""

    count: Count
    per: Duration


class RuleDoc(_Doc):
    """One rule."""

    name: str = Field(description="unique; letters, digits, dots, dashes, underscores; stays the same for ever, flows are found by it")
    match: dict[str, JsonValue] = Field({}, description='equal · [any of] · "prefix*" · {gte, gt, lte, lt} · {exists: true}')
    when: Condition = ""
    default: bool = Field(default=False, description="takes what no other rule matched")
    send: Literal["standard", "transactional", "otp"] = Field("standard", description="may be left out: follows from the steps")
    class_: Literal["otp", "transactional", "marketing"] = Field("marketing", alias="class", description="follows from send")
    expires_after: Duration = "6h"
    tenant: Text = ""
    label: Text = ""
    in_doubt: Literal["resend", "wait", "never"] = "wait"
    dedupe_key: Text = ""
    quiet_hours: QuietHoursDoc | None = None
    limit: LimitDoc | None = None
    callback: Literal["on_step", "on_completion", "none"] = "on_step"
    continue_: bool = Field(default=False, alias="continue", description="later rules may match too")
    extra: Extra = {}
    steps: Annotated[list[StepDoc], Field(min_length=1)]


class RulesDoc(_Doc):
    """A rules file of failover-connector."""

    rules: Annotated[list[RuleDoc], Field(min_length=1)]


# Which model judges what stands under a key: for the hint after an unknown key.
MODELS: dict[str, tuple[type[BaseModel], ...]] = {
    "rules": (RuleDoc,),
    "steps": (StepDoc,),
    "sms": (Sms,),
    "url_shortener": (UrlShortener,),
    "viber free-form": (Viber, ViberTemplate),
    "viber template": (ViberTemplate, Viber),
    "viber_otp": (ViberOtp,),
    "voice": (Voice,),
    "say": (Say,),
    "play": (Play,),
    "verbs": (Verb,),
    "button": (Button,),
    "file": (File,),
    "video": (Video,),
    "quiet_hours": (QuietHoursDoc,),
    "limit": (LimitDoc,),
}


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys as they are written in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


BRANCHES = frozenset({"viber free-form", "viber template", "switch", "short links"})
