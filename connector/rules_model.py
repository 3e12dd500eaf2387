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
        raise ValueError(f"a duration needs a unit: {value}s, {value}m or {value}h")  # noqa: TRY004 - what pydantic collects
    return value


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is no time zone, as in Europe/Athens") from None
    return name


def _viber_kind(value: object) -> str:
    return "viber template" if isinstance(value, dict) and "template" in value else "viber free-form"


def _shortener_kind(value: object) -> str:
    return "short links" if isinstance(value, dict) else "switch"


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError("must be a text, a number, true or false")  # noqa: TRY004 - what pydantic collects
    return value


def _seconds(value: object) -> object:
    if isinstance(value, str):
        return _duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be seconds, or a duration such as 90s")  # noqa: TRY004 - what pydantic collects
    return value


def _words(*words: str) -> Any:  # noqa: ANN401 - a Literal made of a tuple
    return Literal[words]


ABSENT: Any = None  # a key may be left out, but not be empty

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

    from_: Text = Field(ABSENT, alias="from", description="sender: up to 11 characters, or up to 16 digits without +")
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
    button: Button = ABSENT
    file: File = ABSENT
    video: Video = ABSENT
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

    say: Say = ABSENT
    play: Play = ABSENT

    @model_validator(mode="after")
    def _one(self) -> Verb:
        if len(self.model_fields_set) != 1:
            raise ValueError("a verb is either say or play")
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

    sms: Sms = ABSENT
    viber: AnyViber = ABSENT
    voice: Voice = ABSENT
    viber_otp: ViberOtp = ABSENT
    if_: Condition = Field("", alias="if", description="the step is left out where this does not hold")

    @model_validator(mode="after")
    def _one_channel(self) -> StepDoc:
        if len(self.model_fields_set - {"if_"}) != 1:
            raise ValueError("a step has exactly one of sms, viber, voice, viber_otp")
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
    quiet_hours: QuietHoursDoc = ABSENT
    limit: LimitDoc = ABSENT
    callback: Literal["on_step", "on_completion", "none"] = "on_step"
    continue_: bool = Field(default=False, alias="continue", description="later rules may match too")
    extra: Extra = {}
    steps: Annotated[list[StepDoc], Field(min_length=1)]


class RulesDoc(_Doc):
    """A rules file of failover-connector."""

    rules: Annotated[list[RuleDoc], Field(min_length=1)]
