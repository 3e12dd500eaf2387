"""The shape of a rules file (docs/rules.md): keys, kinds of values, closed lists of words. What they mean is checked in ``core``.

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

_LABEL = "your own words before the connector's label in Routee's reports"
_FAIL_OVER = "results after which the next step is tried; left out: Routee's default"


class _Doc(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UrlShortener(_Doc):
    """Shortens every link of the text."""

    validity: Duration


class Sms(_Doc):
    """An SMS."""

    from_: Text = Field(ABSENT, alias="from", description="sender: up to 11 characters, or up to 16 digits without +")
    to: Text = Field("", description="E.164; left out: the event's phone")
    body: Text = Field(description="the text of the message")
    flash: bool = Field(default=False, description="shown at once, and not kept by the phone")
    transcode: bool = Field(
        default=False, description="letters outside the SMS alphabet are replaced; left out: as the Routee application has it"
    )
    label: Text = Field("", description=_LABEL)
    ttl: Duration = Field(
        "20h", description="how long Routee tries, in whole minutes; left out: Routee's 20h. send: otp needs it, in whole seconds"
    )
    url_shortener: Annotated[
        Annotated[bool, Tag("switch")] | Annotated[UrlShortener, Tag("short links")],
        Discriminator(_shortener_kind),
        Field(description="links in the text are shortened; validity: for how long they work"),
    ] = False
    restrictions: Extra = Field({}, description="ids that some countries ask for (India: TRAI), as Routee names them")
    fail_over_on: Annotated[list[Literal["undelivered", "failed"]], Field(min_length=1)] = Field(
        ["undelivered", "failed"], description=_FAIL_OVER
    )
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
    to: Text = Field("", description="E.164; left out: the event's phone")
    ttl: Duration = Field("10m", description="how long Routee tries, from 30s on in tenths of a minute; left out: 10m")
    fail_over_on: Annotated[list[Literal["expired", "failed", "undelivered"]], Field(min_length=1)] = Field(
        ["expired", "failed", "undelivered"], description=_FAIL_OVER
    )
    extra: Extra = {}


class Viber(_AnyViber):
    """A free-form Viber message."""

    text: Text = Field("", description="the text of the message")
    image: Text = Field("", description="https address of a picture")
    button: Button = Field(ABSENT, description="a button under the message, and where it leads")
    file: File = Field(ABSENT, description="a document instead of a text")
    video: Video = Field(ABSENT, description="a video, with its preview picture")
    inbound_url: Text = Field("", description="where Routee sends what people answer")
    expire_on_delivery: bool = Field(
        default=False, description="delivered, but not seen within the ttl, counts as expired: people may get both steps"
    )
    label: Text = Field("", description=_LABEL)


class ViberTemplate(_AnyViber):
    """An approved Viber template (transactional)."""

    template: Text = Field(description="id of a template that Viber has approved")
    lang: Text = Field(description="language of the template, as in en or el")
    params: dict[str, Scalar] = Field({}, description="values of the template's parameters, by name")
    device_scope: Literal["primary", "all"] = Field("primary", description="to the person's phone only, or to every device")
    seq: Scalar = Field("", description="a number of your own for the message; left out: Routee makes one")


class ViberOtp(_Doc):
    """One of Viber's templates for verification codes."""

    sender: Text = Field(description="senderInfoTrackingId of the active Viber sender")
    to: Text = Field("", description="E.164; left out: the event's phone")
    template: Text = Field(description="id of one of Viber's templates for codes")
    lang: Text = Field("en", description="language of the template; left out: en")
    pin: Text = Field(description="the code; never logged, journalled or put out")
    template_type: _words(*OTP_TEMPLATE_TYPES) = Field("basic", description="which parameters the template has; left out: basic")  # type: ignore[valid-type]
    business_name: Text = Field("", description="for the templates that name a business")
    ttl: Duration = Field("60s", description="needed: how long Routee tries, in whole seconds")
    label: Text = Field("", description=_LABEL)
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

    from_: Text = Field(alias="from", description="the number that is shown, E.164")
    to: Text = Field("", description="E.164; left out: the event's phone")
    say: list[Say] = Field([], description="texts that are read aloud, one after the other")
    play: list[Play] = Field([], description="wav files that are played, after all of say")
    verbs: list[Verb] = Field([], description="say and play in an order of their own")
    machine_detection: Literal["hangup", "continue"] = Field("hangup", description="what to do when a machine answers; left out: hangup")
    event_url: Text = Field("", description="where Routee tells of the machine, with continue")
    fail_over_on: Annotated[
        list[Literal["busy", "no_answer", "completed", "failed", "unsent", "terminated"]],
        Field(min_length=1),
    ] = Field(["busy", "no_answer"], description=_FAIL_OVER)
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
    when: Condition = Field("", description="a condition beside match, without braces: data.total > 0")
    default: bool = Field(default=False, description="takes what no other rule matched")
    send: Literal["standard", "transactional", "otp"] = Field("standard", description="may be left out: follows from the steps")
    class_: Literal["otp", "transactional", "marketing"] = Field("marketing", alias="class", description="follows from send")
    expires_after: Duration = Field(
        "6h", description="how long after the event it may still be sent; left out: expiry.otp, .transactional or .marketing"
    )
    tenant: Text = Field("", description="whose message it is; left out: the event's tenant")
    label: Text = Field("", description=_LABEL)
    in_doubt: Literal["resend", "wait", "never"] = Field(
        "wait", description="a send nobody knows of: again soon, again later, never; left out: by class"
    )
    dedupe_key: Text = Field("", description="refused in this release")
    quiet_hours: QuietHoursDoc = Field(ABSENT, description="refused in this release")
    limit: LimitDoc = Field(ABSENT, description="refused in this release")
    callback: Literal["on_step", "on_completion", "none"] = Field("on_step", description="when Routee calls back; left out: on_step")
    continue_: bool = Field(default=False, alias="continue", description="later rules may match too")
    extra: Extra = {}
    steps: Annotated[
        list[StepDoc], Field(min_length=1, description="what is tried, in order; the next one where a result of fail_over_on comes")
    ]


class RulesDoc(_Doc):
    """A rules file of failover-connector."""

    rules: Annotated[list[RuleDoc], Field(min_length=1)]
