"""Everything Routee's documentation leaves open, as named switches.

What nobody has seen documented can only be inferred. Each such behaviour of the simulator is one row here, so
that a single real call can settle it without touching code, and so that a test can try the connector against either answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switch:
    """One open question: its default answer, the other answers, and the page of Routee's documentation that leaves it open."""

    name: str
    default: str | bool
    choices: tuple[str, ...]  # empty for a yes/no switch
    page: str
    meaning: str

    def parse(self, value: str | bool) -> str | bool:
        """The value as this switch holds it; ``"true"``/``"false"`` are understood for yes/no switches. Raises ValueError."""
        if self.choices:
            if value in self.choices:
                return value
            raise ValueError(f"switch {self.name!r}: {value!r} is none of {', '.join(self.choices)}")
        if isinstance(value, bool):
            return value
        if value.lower() in {"true", "yes", "on"}:
            return True
        if value.lower() in {"false", "no", "off"}:
            return False
        raise ValueError(f"switch {self.name!r}: {value!r} is neither true nor false")


def _flag(name: str, page: str, meaning: str, *, default: bool) -> Switch:
    return Switch(name, default, (), page, meaning)


def _word(name: str, choices: str, page: str, meaning: str) -> Switch:
    """The first of the ``choices`` is the default."""
    words = tuple(choices.split("|"))
    return Switch(name, words[0], words, page, meaning)


SWITCHES: tuple[Switch, ...] = (
    # tokens
    _flag("token_reissue", "authentication", "a second token request gives the same token with a smaller expires_in", default=True),
    _word("token_type", "bearer|Bearer", "authentication", "casing of token_type"),
    _word("missing_token_status", "401|403", "authentication", "no Authorization header at /failover…"),
    _word("otp_missing_token_status", "403|401", "authentication, OTP Failover", "no Authorization header at /failover-otp…"),
    # what a request may look like
    _flag("strict_type_case", "Standard Failover", "step types only in their documented casing", default=True),
    _flag("unique_order", "Standard Failover", "a repeated order is refused on /failover and /failover/transactional", default=True),
    _flag("sms_sender_limits", "Standard Failover", "Sms from: 16 digits or 11 characters, as on POST /sms", default=True),
    _flag("viber_message_required", "Standard Failover", "a free-form Viber step needs a message with some content", default=True),
    _flag("bm_extras_on_standard", "Standard Failover", "deliveryScope and seq are tolerated on a free-form Viber step", default=False),
    _flag(
        "viber_extras_on_template",
        "Transactional Failover",
        "inboundUrl and expireOnDelivery are tolerated on a template Viber step",
        default=True,
    ),
    _flag("viber_ttl_required", "Transactional Failover", "a template Viber step without ttl is refused", default=False),
    _word("url_shortener_place", "any|step|message", "Standard Failover", "where an Sms step may carry urlShortener"),
    _word("dial_plan_spelling", "any|dialPlan|dialplan|dialPlans", "Standard Failover", "how the dial plan may be spelled"),
    _flag("wide_voice_triggers", "Standard Failover", "Voice also fails over on Completed, Failed, Unsent, Terminated", default=True),
    _word("empty_triggers", "none|default|refuse", "Standard Failover", "what an empty failoverOnStatuses means"),
    _flag(
        "strict_strategy", "Standard Failover", "OnChange is refused (else understood as OnStep, and noted as a violation)", default=False
    ),
    _word("default_strategy", "OnCompletion|OnStep", "Standard Failover", "callback without a strategy"),
    _flag("callback_url_required", "Standard Failover", "a callback object needs a url", default=True),
    _flag("unknown_step_keys", "Standard Failover", "step keys that no table knows are ignored (else refused)", default=True),
    _flag("otp_long_flows", "OTP Failover", "an OTP flow may have more than two steps", default=True),
    _word(
        "template_check",
        "async|sync|off",
        "Transactional Failover",
        "an unapproved template or one without its pin: FAILED step, 400 at once, or never noticed",
    ),
    _word("balance", "sync|async", "Standard Failover", "an empty account: 400 400001009 at once, or a flow that fails with statusCode 1"),
    # answers
    _flag("echo_status_in_create", "Standard Failover", "the create answer carries status", default=False),
    _flag("otp_steps_in_create", "OTP Failover", "the OTP create answer carries steps as tracking does", default=False),
    _flag("error_properties", "errors", "a validation 400 carries properties (field name to message)", default=True),
    _word("error_code_type", "string|int", "errors", "type of the error body's code"),
    # tracking and callbacks
    _flag("tracking_list_get", "tracking", "GET /failover/tracking without an id lists flows", default=False),
    _word("tracking_root", "object|array", "tracking", "root of GET /failover/tracking/{id}"),
    _word("status_keys", "name|status", "tracking", "status.name + updatedDate, or the older status.status + date"),
    _flag("flow_kind_in_tracking", "tracking", "tracking bodies carry flowKind", default=True),
    _flag("status_code_in_tracking", "tracking", "tracking bodies carry statusCode, as callbacks do", default=False),
    _word("status_code_type", "string|int", "statuses", "type of statusCode in standard documents"),
    _word("no_status_code", "null|empty", "statuses", "statusCode of a flow that did not fail"),
    _flag("termination_in_progress", "tracking", "terminationChannel names the running channel before the end", default=False),
    _flag("sms_message_per_part", "tracking", "a long Sms shows as one message per part", default=True),
    _word("filter_container", "any|array|object", "tracking", "body of the tracking search"),
    _word("search_to_form", "any|plus|digits", "tracking", "how a recipient must be written to be found"),
    _word("search_order", "newest|oldest", "tracking", "order of search results"),
    _word("otp_list_items", "flow|delivery", "OTP tracking", "what an item of the OTP list is"),
    _flag("label_in_otp_list", "OTP tracking", "items of the OTP list carry the label", default=False),
    _flag("otp_tag_is_label", "OTP tracking", "the OTP list's tag filter matches the step's label", default=True),
    _word("otp_templates_root", "object|array", "OTP templates", "root of GET /otp/templates"),
    _flag("callback_retries", "callbacks", "standard callbacks are repeated until they are answered with 200", default=True),
    _flag("late_seen_callback", "statuses", "SEEN after the flow's end fires an OnStep callback", default=True),
    _flag(
        "otp_fails_after_succeeded",
        "OTP tracking, statuses",
        "an OTP flow turns Failed when its last step fails (else Succeeded, once sent, stays)",
        default=False,
    ),
)

_BY_NAME = {switch.name: switch for switch in SWITCHES}


class Switches:
    """A full setting of all switches. Raises ValueError for an unknown name or value."""

    __slots__ = ("_values",)

    def __init__(self, overrides: Mapping[str, str | bool] | None = None) -> None:
        self._values: dict[str, str | bool] = {switch.name: switch.default for switch in SWITCHES}
        for name, value in (overrides or {}).items():
            switch = _BY_NAME.get(name)
            if switch is None:
                raise ValueError(f"unknown switch {name!r}; there are: {', '.join(sorted(_BY_NAME))}")
            self._values[name] = switch.parse(value)

    def is_on(self, name: str) -> bool:
        """A yes/no switch."""
        return self._values[name] is True

    def word(self, name: str) -> str:
        """A switch with several answers."""
        return str(self._values[name])

    def as_dict(self) -> dict[str, str | bool]:
        """All switches, for people to read."""
        return dict(self._values)
