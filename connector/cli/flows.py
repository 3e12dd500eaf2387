"""``failover-connector flows``: what became of an event, and which flows stand where, read from the journals without taking part."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from connector.cli import flows_text
from connector.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, print_table, print_text, read_settings
from connector.core.durations import parse_duration
from connector.core.model import MessageClass
from connector.core.wanted import FOLLOWED, OPEN, STATE_WORDS, UNDELIVERED, Listed, Wanted

if TYPE_CHECKING:
    from connector.core.outlook import Times
    from connector.ports import Archive
    from connector.services.lookup import Progress
    from connector.settings import Settings

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Show what became of an event, or list flows by state.")

_WHOLE = 3  # more flows than these are listed, and only the newest is shown whole
_WORDS = (*STATE_WORDS, OPEN, FOLLOWED, UNDELIVERED)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="ID", help="Event id, flow id, tracking id, TOPIC/PARTITION/OFFSET of the event, or the phone (+30…)."),
    ],
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known of an event: attempts, statuses, and what happens next.

    Reads the journals from outside; running workers notice nothing. Exit code 1 when nothing was found.
    """
    from connector.core.identity import pseudonym  # noqa: PLC0415 - keeps --help fast
    from connector.services.lookup import find  # noqa: PLC0415 - keeps --help fast

    settings = read_settings(config)
    wanted = Wanted.of(name, lambda phone: pseudonym(settings.pepper, phone))
    found, looked = _with_archive(settings, lambda archive, progress: find(archive, wanted, progress))
    now_ms, times = time.time_ns() // 1_000_000, _times(settings)
    if as_json:
        print_json({"flows": [flows_text.flow_json(one, times, now_ms) for one in found], "looked": flows_text.looked_json(looked)})
    elif len(found) > _WHOLE:
        print_table(flows_text.COLUMNS, [flows_text.line(one, now_ms) for one in found])
        print_text(flows_text.several(len(found)) + flows_text.screen(found[-1], times, now_ms))
    elif found:
        print_text("\n".join(flows_text.screen(one, times, now_ms) for one in found))
    else:
        window_ms = round(settings.lane.dedup_window.total_seconds() * 1000)
        print_text(flows_text.not_found(wanted, looked, settings.kafka.group_id, window_ms))
    _warn(looked.refused)
    raise typer.Exit(0 if found else 1)


@app.command(name="ls")
def list_(
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=f"{', '.join(_WORDS)}; several with commas. Without it: whatever is not finished."),
    ] = None,
    older: Annotated[str | None, typer.Option(metavar="DURATION", help="Only flows that stand there for longer: 90s, 10m, 2h.")] = None,
    message_class: Annotated[list[MessageClass] | None, typer.Option("--class", help="May be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the oldest first.")] = 50,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List flows by state, the oldest first. Reads the journals from outside; running workers notice nothing.

    "open" is every state without a send decision; "followed" is accepted, with its end still awaited; "undelivered" is accepted,
    and no step reached the person.
    """
    from connector.services.lookup import list_flows  # noqa: PLC0415 - keeps --help fast

    listed, older_ms = Listed(frozenset(_state(word) for words in state or () for word in words.split(","))), _duration(older)
    settings = read_settings(config)
    now_ms = time.time_ns() // 1_000_000
    before_ms = None if older_ms is None else now_ms - older_ms
    chosen, count, looked = _with_archive(
        settings,
        lambda archive, progress: list_flows(
            archive, listed, progress, before_ms=before_ms, classes=frozenset(message_class or ()), limit=limit
        ),
    )
    if as_json:
        flows = [flows_text.flow_json(one, _times(settings), now_ms) for one in chosen]
        print_json({"count": count, "flows": flows, "looked": flows_text.looked_json(looked)})
    elif chosen:
        print_table(flows_text.COLUMNS, [flows_text.line(one, now_ms) for one in chosen])
    if not as_json:
        print_text(flows_text.listed(len(chosen), count, looked), err=True)
    _warn(looked.refused)


def _state(word: str) -> str:
    plain = word.strip().lower()
    if plain not in _WORDS:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(_WORDS)}", param_hint="--state")
    return plain


def _duration(text: str | None) -> int | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older") from None


def _warn(refused: tuple[tuple[Any, str], ...]) -> None:
    for lane, reason in refused:
        print_text(f"warning: the journal of {lane} was left out: {reason}\n", err=True)


def _times(settings: Settings) -> Times:
    from connector.core.outlook import Times  # noqa: PLC0415 - keeps --help fast
    from connector.settings import milliseconds  # noqa: PLC0415 - keeps --help fast

    return Times(
        lease_ms=milliseconds(settings.lane.lease),
        timeout_ms=milliseconds(settings.routee.timeout),
        provider_lag_ms=milliseconds(settings.lane.provider_lag),
        transactional_wait_ms=milliseconds(settings.doubt.transactional_wait),
        give_up_ms=milliseconds(settings.doubt.give_up),
        poll_schedule_s=tuple(step.total_seconds() for step in settings.polling.schedule),
        class_schedules_s={
            kind: tuple(step.total_seconds() for step in schedule) for kind, schedule in settings.polling.schedules.chosen.items()
        },
        flow_deadline_ms=milliseconds(settings.polling.flow_deadline),
    )


def _with_archive(settings: Settings, look: Callable[[Archive, Progress], Coroutine[Any, Any, T]]) -> T:
    """Open what is read from, look, close it. Raises KafkaUnavailable after about five seconds without a broker."""
    from connector import logs  # noqa: PLC0415 - keeps --help fast
    from connector.adapters.kafka_archive import KafkaArchive  # noqa: PLC0415 - keeps --help fast
    from connector.wiring import kafka_options  # noqa: PLC0415 - keeps --help fast

    logs.configure("error", "console")

    async def whole() -> T:
        archive = KafkaArchive(kafka_options(settings), tuple(settings.topics.notifications), settings.topics.statuses)
        try:
            with _progress() as progress:
                return await look(archive, progress)
        finally:
            await archive.close()

    return asyncio.run(whole())


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr while it reads, gone at the end; only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - the same

    columns = (TextColumn("reading {task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("…", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
