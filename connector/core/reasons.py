"""Every reason code the connector writes, once: what it means, and what a person does about it.

How a code is written tells who speaks. UPPER_SNAKE: the event or its rule is at fault (``INPUT``; the dead letter bears the same code), a
callback is for nobody (``CALLBACKS``; in dead letters only), or it is Routee's own word (``PROVIDER``; its nine-digit codes stand as they
came). lower_snake: what the connector decided (``DECISIONS``), what became of one POST (``ATTEMPTS``), or why a lane was dropped
(``LANE_LOSSES``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple


class Meaning(NamedTuple):
    """One row: what the code says, and what to do about it (empty: nothing)."""

    says: str
    remedy: str = ""


_RULE = "Mend the text in the rule, or what the producer puts there. Then produce the event again under a new event id."
_PRODUCER = "Mend the producer. Then produce the event again under a new event id."
_LATER = "Nothing: it is tried again, until the event expires."
_DOUBT = "Nothing at once: tracking is searched for the message, and its class decides."
_BY_HAND = "Look for the label or the phone at Routee. If it was not sent and still makes sense, produce the event under a new event id."
_CLAIMED = "Nothing, unless it repeats."
_BROKERS = "If it repeats: look at the brokers."

INPUT: Final[Mapping[str, Meaning]] = {
    # the bytes
    "EMPTY": Meaning("the record has no bytes to read", _PRODUCER),
    "BAD_JSON": Meaning("the value is no JSON document", _PRODUCER),
    "BAD_AVRO": Meaning("the bytes do not fit the schema that they name", _PRODUCER),
    "UNFRAMED_AVRO": Meaning(
        "Avro without a schema id or fingerprint: the schema cannot be known", "Use a registry's serializer, or the single-object encoding."
    ),
    "NO_REGISTRY": Meaning("the value names a schema of a registry, and none is set", "Set `schema_registry.url`."),
    "SCHEMA_NOT_FOUND": Meaning(
        "the registry does not know the schema, or the fingerprint is none of `avro/`",
        "Register the schema; check that it is the same registry.",
    ),
    "UNSUPPORTED_SCHEMA": Meaning(
        "the schema is neither Avro nor JSON, or cannot be read", "Produce Avro or JSON; mend the schema, its references too."
    ),
    "TOO_DEEP": Meaning("lists and objects are nested too deep", _PRODUCER),
    # the shape
    "MISSING_FIELD": Meaning("a field that every event needs is missing or empty", "Check the producer, and the paths under `fields`."),
    "BAD_TYPE": Meaning("a field holds another kind of value than expected", "Check the producer, and the paths under `fields`."),
    "BAD_TIME": Meaning("a time is neither ISO 8601 nor epoch milliseconds", _PRODUCER),
    "BAD_HEADER": Meaning("a CloudEvents header is not UTF-8", _PRODUCER),
    "TOO_LONG": Meaning("an id, type or other short text is too long", _PRODUCER),
    # the phone
    "PHONE_MISSING": Meaning("the event has no phone", "Check the producer, and `fields.phone`."),
    "PHONE_UNPARSABLE": Meaning(
        "the phone is no number, or holds something else than digits, spaces, dashes, dots and brackets", _PRODUCER
    ),
    "PHONE_NO_COUNTRY": Meaning(
        "the phone has no country code, or one that does not exist", "Write phones as +30…; a national number is not guessed."
    ),
    "PHONE_INVALID": Meaning("the phone is too short or too long for its country", _PRODUCER),
    # the message
    "TEMPLATE_UNDEFINED": Meaning(
        "a text or condition of the rule reads a value that the event does not have", "`default('…')` in the rule, or mend the producer."
    ),
    "TEMPLATE_FAILED": Meaning("a text or condition of the rule cannot be worked out with this event", _RULE),
    "TEMPLATE_FUEL": Meaning("a text or condition of the rule takes too long to work out", "Make it simpler: fewer or shorter loops."),
    "FIELD_EMPTY": Meaning("a text that must say something is empty", _RULE),
    "FIELD_TOO_LONG": Meaning("a text is longer than Routee takes", _RULE),
    "FIELD_TOO_SHORT": Meaning("a text is shorter than Routee takes", _RULE),
    "FIELD_INVALID": Meaning("a text is none that Routee takes there (sender, id, address, language …)", _RULE),
    "NO_STEPS": Meaning("every step's `if` was false", "Leave one step without `if`, or say in `when` what the rule is for."),
    "NOT_JSON": Meaning("a text holds characters that cannot be written as UTF-8", _PRODUCER),
    "RULE_GONE": Meaning(
        "the event was routed to a rule that the rules no longer have",
        "Bring the rule back under its name, or produce the event under a new event id.",
    ),
    "INTERNAL": Meaning(
        "a defect of the connector", "Report it, with the dead letter's headers; then produce the event under a new event id."
    ),
}
"""Reasons of dead letters and of SendEvents INVALID."""

CALLBACKS: Final[Mapping[str, Meaning]] = {
    "CALLBACK_ORPHANED": Meaning(
        "Routee called a URL of ours for a flow that the lane's journal does not hold (any more), or that was never sent",
        "Nothing for a flow older than the journal's retention. Else: was a journal deleted? Has another group the same keys?",
    ),
    "CALLBACK_UNREADABLE": Meaning(
        "a record of the callbacks topic is none of this release's callbacks",
        "Look who else writes to that topic. The flow, if there is one, is polled.",
    ),
}
"""Reasons of dead letters of stage ``callback``: their record is one of the callbacks topic, and no event comes of it."""

DECISIONS: Final[Mapping[str, Meaning]] = {
    "expired": Meaning(
        "the event's time was over before it could be sent",
        "Look at the lag and the breakers of that time; is `expires_after` long enough?",
    ),
    "ttl_over": Meaning("a login code's time was too short for the shortest ttl that Routee takes", "As for `expired`."),
    "superseded": Meaning("a newer code for the same phone by the same rule made this one worthless"),
    "overtaken": Meaning("in doubt, and a later event of the same key and class was sent: a resend would come out of order", _BY_HAND),
    "called_back": Meaning("in doubt, and Routee called its URL, so it has the message, but without saying under which id", _BY_HAND),
    "not_found": Meaning("in doubt, not shown by tracking, and its class or an earlier resend forbids another one", _BY_HAND),
    "ambiguous": Meaning("in doubt, and tracking shows several messages that may be this one", _BY_HAND),
    "search_failed": Meaning("in doubt, and tracking gave no usable answer for `doubt.give_up`", _BY_HAND),
    "rules_changed": Meaning("in doubt, and not sent again under rules that have changed since", _BY_HAND),
    "input_gone": Meaning(
        "the input topic no longer holds the event, so the message cannot be made (again)",
        "Give the input a retention that outlasts outages.",
    ),
}
"""Other reasons of SendEvents."""

ATTEMPTS: Final[Mapping[str, Meaning]] = {
    # no byte left us
    "dns": Meaning("not sent: Routee's host name has no address", _LATER),
    "refused": Meaning("not sent: the connection was refused", _LATER),
    "unreachable": Meaning("not sent: no route to Routee", _LATER),
    "connect_timeout": Meaning("not sent: no connection in time", _LATER),
    "tls": Meaning("not sent: no encrypted connection", "Check `routee.ca_file`, the clock, and what stands between."),
    "proxy": Meaning("not sent: the proxy did not let it through", "Check `routee.proxy`."),
    "pool_timeout": Meaning("not sent: every connection was busy", "Look at failover_provider_seconds and `routee.max_in_flight`."),
    "lease_over": Meaning("not sent: it was too late after its journal row", "Nothing; if it is frequent, look for a starved CPU."),
    "token": Meaning("not sent: Routee's token service cannot be reached", _LATER),
    # maybe arrived
    "timeout": Meaning("doubt: no whole answer within `routee.timeout`", _DOUBT),
    "reset": Meaning("doubt: the connection was cut while the answer was awaited", _DOUBT),
    "closed": Meaning("closed without an answer: a doubt after the request was written, not sent before", _DOUBT),
    "cut": Meaning("doubt: the answer broke off", _DOUBT),
    "protocol": Meaning("doubt: the answer is no HTTP", _DOUBT),
    "too_large": Meaning("doubt: the answer is larger than any of Routee's", _DOUBT),
    "unparsable": Meaning("doubt: a success without a JSON object", _DOUBT),
    "no_id": Meaning("doubt: a success without a tracking id", _DOUBT),
    "failed_with_id": Meaning("doubt: OTP says Failed, and names a flow", _DOUBT),
    "failed_without_code": Meaning("doubt: OTP says Failed, and no known cause", _DOUBT),
    "http_<status>": Meaning("doubt: an HTTP status that says nothing about the message (408, 5xx, a redirect …)", _DOUBT),
    "http_other": Meaning("doubt: a status that HTTP does not have", _DOUBT),
    "adopted": Meaning("doubt: the process that was sending it is gone", _DOUBT),
}
"""Reasons of ``attempts[]``, and of the log lines flow_in_doubt and provider_unreachable."""

PROVIDER: Final[Mapping[str, Meaning]] = {
    "400001009": Meaning("Routee: insufficient balance", "Top up; sending goes on by itself."),
    "<nine digits or a word>": Meaning(
        "Routee's own code, as its answer has it", "`detail` has Routee's words; mostly a sender or a template that is not approved."
    ),
    "HTTP_<status>": Meaning("Routee refused the message without a code of its own", "`detail` has Routee's words, if any."),
    "STATUS_CODE_0": Meaning(
        "OTP: no channel took the code, by a fault of Routee's; tried three times", "Look whether Routee knows of trouble."
    ),
    "STATUS_CODE_1": Meaning("OTP: insufficient balance", "Top up; sending goes on by itself."),
    "STATUS_CODE_2": Meaning("OTP: no channel took the code", "`detail` has Routee's words."),
    "STATUS_CODE_3": Meaning("OTP: no channel took the code", "`detail` has Routee's words."),
    "TOKEN_REFUSED": Meaning("Routee gives no token for this id and secret", "Check `routee.application_id` and its secret."),
}
"""Routee's words, as reasons of SendEvents REJECTED and of ``attempts[]``."""

LANE_LOSSES: Final[Mapping[str, Meaning]] = {
    "fenced": Meaning("another process has claimed the lane", "Nothing after a rebalance; else look for processes that freeze."),
    "superseded": Meaning("another process claimed the lane while this one was claiming it", _CLAIMED),
    "input_begun_anew": Meaning(
        "the input topic was deleted and created anew, or cut off, under the running lane",
        "The next claim refuses the lane, with the remedy: its journal speaks of other records.",
    ),
    "callbacks_begun_anew": Meaning(
        "the callbacks topic was deleted and created anew, or cut off, under the running lane", "Not to be done: calls on it are lost."
    ),
    "group_lost": Meaning("the group gave the partition to another process", "If it repeats: CPU, or `kafka.session_timeout`."),
    "closed": Meaning("the tenure of the lane had ended", _CLAIMED),
    "produce_unknown": Meaning("nobody knows whether a journal row was written", _BROKERS),
    "offset_unknown": Meaning("Kafka acknowledged a row without its offset", _BROKERS),
    "output_unknown": Meaning(
        "nobody knows whether an output event was written", "If it repeats: look at the brokers, and at the rights on the output topics."
    ),
    "grace_over": Meaning("a stopping process could not write its last rows in `shutdown.grace`", _BROKERS),
    "gap_unread": Meaning("a gap in the lane's journal could not be read", _BROKERS),
    "rows_replaced": Meaning("the journal was compacted while it was read; it is read anew", _CLAIMED),
    "row_failed": Meaning("a defect of the connector met a row", "Report it, with the log lines around it."),
    "kafka_unavailable": Meaning("a broker could not be asked", _BROKERS),
    "produce_failed": Meaning("a CLAIM or checkpoint was refused by Kafka", _BROKERS),
    "produce_timed_out": Meaning("a CLAIM or checkpoint was not acknowledged in time", _BROKERS),
    "no_such_topic": Meaning("the lane's journal is not there", "`failover-connector topics verify`"),
    "message_too_large": Meaning("the journal takes no rows of that size", "`failover-connector topics verify`"),
    "producer_fatal": Meaning("librdkafka gave the producer up; a new one takes over", _BROKERS),
    "producer_closed": Meaning("the producer was closed meanwhile: a stop", _CLAIMED),
}
"""Reasons of the log line lane_dropped and of failover_lane_drops_total."""


_FAMILIES: Final = (
    (re.compile(r"http_\d+", re.ASCII), ATTEMPTS["http_<status>"]),
    (re.compile(r"HTTP_\d+", re.ASCII), PROVIDER["HTTP_<status>"]),
    (re.compile(r"\d{9}", re.ASCII), PROVIDER["<nine digits or a word>"]),
)


def meaning(code: str) -> Meaning | None:
    """What a flow's or attempt's code says; None for a word of Routee's that no table knows."""
    for table in (INPUT, CALLBACKS, DECISIONS, ATTEMPTS, PROVIDER):
        if code in table:
            return table[code]
    return next((says for pattern, says in _FAMILIES if pattern.fullmatch(code)), None)


def tables() -> Iterator[tuple[str, Mapping[str, Meaning]]]:
    """Each table with its heading."""
    yield "Dead letters, and SendEvents INVALID", INPUT
    yield "Dead letters of callbacks", CALLBACKS
    yield "Other SendEvents", DECISIONS
    yield "Single attempts", ATTEMPTS
    yield "Routee's words", PROVIDER
    yield "Dropped lanes", LANE_LOSSES
