"""JSON lines on stderr, one per event: ``{"at": …, "level": …, "module": …, "event": "lane_claimed", …}``.

Every event's name is in ``EVENTS``, with its meaning; what happened goes into the fields, never into the name. Phones, texts, PINs,
tokens and secrets are taken out by ``redact`` before a line is rendered, whoever wrote it: this code, uvicorn or librdkafka.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]

EVENTS: Final[Mapping[str, str]] = {
    # process
    "starting": "the process begins: version, role, group, topics, version of the rules, addresses, how many files may be open",
    "settings": "debug: every setting in force (secrets masked)",
    "ready": "everything is open; lanes come as the group assigns them",
    "stopping": "a stop was asked for (signal): intake ends, lanes drain",
    "part_closed": "one part of the process is closed: which, and how long it took",
    "stopped": "the process ends; carries the exit code",
    "http_listening": "an HTTP server took its port",
    "http_stopped": "an HTTP server let go of its port",
    "library": "a line of a library (uvicorn, librdkafka); ``module`` names it",
    "start_refused": "the topics cannot be trusted: nothing is begun; what is wrong and what to do is in the line",
    # Kafka
    "kafka_error": "librdkafka reports an error; it goes on trying",
    "kafka_unavailable": "no broker can be reached, or a topic cannot be asked for: waiting, not ready",
    "kafka_fatal": "the producer is lost for good: all lanes are dropped and claimed anew with a new one",
    "input_settings_unreadable": "the dead-letter topic is created with the broker's default size: the inputs' settings may not be read",
    "settings_unreadable": "the journals' settings may not be read (ACL DescribeConfigs): how long they remember is not checked",
    "topic_created": "a missing topic was created with the right settings",
    "lanes_assigned": "the group gave lanes to this process",
    "lanes_revoked": "the group takes lanes back, in peace",
    "lanes_lost": "the group gave lanes to somebody else already",
    "commit_refused": "the broker refused an offset commit (the journal stays the truth)",
    "registry_unavailable": "the schema registry cannot be asked: input waits",
    "dead_letters_unavailable": "the dead-letter topic takes none (there? writable? large enough?): what needs one waits",
    # lanes
    "lane_claimed": "a lane runs: its epoch, where its input goes on, flows adopted by class and state",
    "restart_report": "all doubts that a lane had inherited at its claim have ended: resolved (found accepted), resent, unknown, by class",
    "input_gone": "the input lost records before anybody had read them (its retention is shorter than the backlog): how many",
    "input_passed": "a lane without history began at its input's end, by `kafka.start_from: latest`: how many records that passes over",
    "gap_unread": "a gap in a lane's own journal offsets could not be read, for a reason nobody foresaw: the lane is dropped",
    "lane_dropped": "a lane was dropped and is claimed anew, by reason",
    "lane_refused": "a lane's topics cannot be trusted: a person must act; the remedy is in the line",
    # flows
    "duplicate_event": "a known event was met again: no output; whom it repeats (``first``). With another type the event id is not one",
    "dead_letter": "a record can never be processed: reason, path and coordinates",
    "send_decided": "debug: a send decision, as in the sends topic",
    "send_corrected": "a settled send decision was replaced: a late proof showed the message accepted",
    "event_fields_left_out": "an event that a later release left in the journal has fields that this one does not know; said once",
    "flow_in_doubt": "an attempt may or may not have arrived",
    "doubt_resolved": "a doubt ended; `resolution`: found (accepted), resend (it is sent once more) or unknown",
    "resend_after_doubt": "a flow is sent again after a doubt (audit)",
    "double_accept": "a second attempt of a flow is proven accepted (audit)",
    "flow_silent": "an accepted flow reached its deadline without an end",
    # provider
    "provider_unreachable": "nothing can be sent to Routee, or no token can be had, by reason; flows wait and try again",
    "rate_lowered": "Routee refused many messages for their number (429): sends go at half the rate or less, and faster again within 20 s",
    "breaker_opened": "sending is held: provider, auth or balance; said once, until it closes",
    "breaker_closed": "sending goes on",
    # callbacks
    "status_word_unknown": "Routee uses a word for a status or a kind of step that no table knows: read as UNKNOWN, told once (report it)",
    "callback_unparsable": "a verified callback's body is no document of Routee: the flow is polled instead",
    "callback_of_later_release": "a callback is in a later release's schema: only whose it is can be read, so Routee is asked",
    "callback_orphaned": "a verified callback for a flow that the lane does not know",
    "callbacks_begun_anew": "a callbacks log ends before what was heard of it (its topic was made anew, or cut off): heard from its start",
    "callbacks_unavailable": "callbacks cannot be handed to Kafka now: answered 503, called again later",
}

MASK: Final = "[redacted]"

_SECRET_KEYS: Final = frozenset(
    {
        "authorization",
        "body",
        "content",
        "credentials",
        "data",
        "documents",
        "headers",
        "html",
        "key",
        "message_body",
        "msisdn",
        "params",
        "password",
        "payload",
        "pepper",
        "phone",
        "phones",
        "pin",
        "recipient",
        "recipients",
        "secret",
        "secrets",
        "text",
        "texts",
        "to",
        "token",
        "value",
    }
)
_SECRET_ENDINGS: Final = ("_secret", "_secrets", "_token", "_password", "_phone", "_pin", "_pepper", "_recipient", ".password", ".secret")

# In this order: what must stay readable (group "keep": uuid, ISO time, topic/partition/offset, IPv4), then what must go.
_SENSITIVE: Final = re.compile(
    r"""
      (?P<keep>
          \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b
        | \b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![\d-])
        | (?<![\w/.-])[a-z_][\w.-]*/\d{1,6}/\d{1,19}(?![\w/])
        | (?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])
      )
    | (?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]+
    | (?P<path>/callbacks/v1/[\w-]+/)[\w.~=-]+
    | (?P<pair>["']?\b[\w.]*(?:password|secret|token|pin|pepper|phone)["']?\s*[=:]\s*)(?:"[^"]*"|'[^']*'|[^\s,;&"']+)
    | \beyJ[\w-]{8,}\.[\w-]+\.[\w-]+
    | (?<![0-9a-z])\+?\d(?:[ ()-]{0,2}\d){6,}(?![0-9a-z])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SHORTEST: Final = 7  # no phone and no token is shorter
_DEPTH: Final = 6


def redact_text(text: str) -> str:
    """``text`` without phones (runs of 7 digits or more), bearer tokens, callback tokens and ``secret=…`` pairs."""
    return _SENSITIVE.sub(_masked, text) if len(text) >= _SHORTEST else text


def _masked(match: re.Match[str]) -> str:
    if kept := match["keep"]:
        return kept
    return (match["scheme"] or match["path"] or match["pair"] or "") + MASK


def is_secret_key(key: str) -> bool:
    """Whether a field of that name is masked whole."""
    word = key.lower().replace("-", "_")
    return word in _SECRET_KEYS or word.endswith(_SECRET_ENDINGS)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: mask fields by name, and what looks like personal data in every string, at any depth."""
    for key, value in event.items():
        event[key] = MASK if is_secret_key(key) and value is not None else _clean(value, _DEPTH)
    return event


def _clean(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth and isinstance(value, Mapping):
        return {str(key): MASK if is_secret_key(str(key)) and item is not None else _clean(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth - 1) for item in value]
    return redact_text(str(value))


def configure(level: Level = "info", format: Format = "json", stream: TextIO | None = None) -> None:  # noqa: A002 - the setting's own name
    """Send every log line of the process to ``stream`` (None: stderr) in that format. Call it once, first thing."""
    target = sys.stderr if stream is None else stream
    shared = _processors()
    renderer = _renderer(format, colours=target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _library_line, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """Logger of a module: ``get_logger(__name__).info("lane_claimed", lane=str(lane), epoch=epoch)``."""
    return cast("FilteringBoundLogger", structlog.get_logger(module=name.removeprefix("connector.")))


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        redact,
    ]


def _renderer(format: Format, *, colours: bool) -> Processor:  # noqa: A002 - the setting's own name
    if format == "console":
        return structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="at")
    return _json


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {name: event.pop(name, None) for name in ("at", "level", "module", "event")}
    line = {**first, **event}
    try:
        return orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, a lone surrogate: a line is never lost for that
        return json.dumps(line, default=str)


def _library_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn a library's free text into a field of the one event ``library``: names stay a closed set."""
    return {"module": event.pop("logger"), **event, "event": "library", "message": str(event.get("event"))}
