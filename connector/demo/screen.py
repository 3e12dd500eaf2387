"""How a run looks: a live table on a terminal, a line now and then without one; the summary on both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from connector.demo.place import Place
from connector.demo.tally import COLUMNS, NO_CLASS, Ended, Moment, Row, Tally
from connector.demo.verdict import Check

Rows = Callable[[], Sequence[Row]]

_FRAME_S: Final = 0.25
_LINE_S: Final = 2.0
_TABLE_WIDTH: Final = 68
_WIDE: Final = 132  # from here on the latest flows stand beside the table
_MOMENTS: Final = 6
_TABLE_LINES: Final = 15
_FEED_LINES, _BLANKS = 8, 5
_TITLES: Final = {NO_CLASS: "no rule"}
_LINE_NAMES: Final = (
    "accepted",
    "delivered",
    "by fail-over",
    "rejected",
    "expired",
    "invalid",
    "unrouted",
    "unknown if sent",
    "in doubt now",
)


class Screen:
    """One console for everything that happens while it happens."""

    def __init__(self, console: Console, header: Sequence[str]) -> None:
        self._console = console
        self._header = header
        self._began = time.monotonic()
        self._live: Live | None = None
        self._waits_for = ""
        self._state = self._printed = ""

    @property
    def now_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def wait_for(self, what: str) -> None:
        """What the next lines wait for; empty: nothing in particular. Only where there is no frame, which shows it all the time."""
        self._waits_for = what

    def tell(self, moment: Moment) -> None:
        """Say at once what happened; on a terminal it stands in the frame."""
        if self._live is None:
            self._print(Text(f"{clock(moment.at_s)}  {moment.text}", style=moment.style))

    @contextmanager
    def shown(self, rows: Rows, tally: Tally) -> Iterator[None]:
        """The header, and on a terminal the live frame, whose last state stays."""
        header = Group(Text("failover-connector demo", style="bold"), *(Text(text, style="dim") for text in self._header))
        if not self._console.is_terminal:
            self._print(header)
            yield
            return
        self._console.print(Padding(header, (1, 1, 0, 1)))
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as self._live:
            yield
            self._live.update(self.frame(rows(), tally), refresh=True)

    async def repaint(self, rows: Rows, tally: Tally) -> None:
        """Show how it stands, again and again; ends by cancellation."""
        while True:
            if self._live is not None:
                self._live.update(self.frame(rows(), tally), refresh=True)
            await asyncio.sleep(_LINE_S if self._live is None else _FRAME_S)
            if self._live is None:
                self.say_news(state(rows(), len(tally.ended)))

    def say_news(self, now: str) -> None:
        """A line for what has changed; where nothing has, one for what is waited for."""
        waiting = f"waiting: {self._waits_for}" if self._waits_for else self._printed
        said = waiting if now == self._state else now
        self._state = now
        if said != self._printed:
            self._printed = said
            self._print(Text(f"{clock(self.now_s)}  {said}", style="dim"))

    def frame(self, rows: Sequence[Row], tally: Tally) -> RenderableType:
        """The whole screen at one moment."""
        width, height = self._console.size
        table, moments = _table(rows, self.now_s), tally.moments[-_MOMENTS:]
        if width >= _WIDE:
            body: RenderableType = _side_by_side(table, _feed(tally.feed, _TABLE_LINES - 1))
        else:
            feed = _feed(tally.feed, min(_FEED_LINES, height - _TABLE_LINES - _MOMENTS - _BLANKS))
            body = Group(table, "", feed) if feed.row_count else table
        return Padding(Group(body, "", _moments(moments)), (1, 1, 0, 1))

    def _print(self, what: RenderableType) -> None:
        self._console.print(what, highlight=False, soft_wrap=True)


def header_lines(place: Place, events: int, kills: int, seed: int) -> tuple[str, ...]:
    """What is going on, and what is faster here than in life."""
    times = "" if kills == 1 else f" {kills} times"
    fate = f"; kill -9 hits the connector{times} in mid-send" if kills else ""
    return (
        f"{events} events → Kafka ({place.kafka}) → the connector (a child process) → Routee (simulated) → Kafka",
        f"Some are broken, stale, refused or never answered{fate}. Each must end exactly once.",
        *place.scaled,
        f"Seed {seed}: the same one makes the same events.",
    )


def clock(seconds: float) -> str:
    """``01:07``."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def state(rows: Sequence[Row], ended: int) -> str:
    """How it stands, in one line of plain text."""
    total = {row.name.strip().partition(",")[0]: row.total for row in rows}
    return f"{ended} of {total['events']} ended · " + " · ".join(f"{total[name]} {name}" for name in _LINE_NAMES)


def summary(checks: Sequence[Check], seconds: float, events: int, kills: int) -> RenderableType:
    """The checks, each with its fact, and the problems of those that fail."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column()
    for check in checks:
        mark = Text("✓", style="green") if check.holds else Text("✗", style="bold red")
        table.add_row(mark, Text(check.name), Text(check.fact, style="dim") if check.holds else _problems(check))
    if all(check.holds for check in checks):
        end = Text(f"{events} events, {kills} × kill -9: 0 lost, 0 doubled", style="bold green")
    else:
        end = Text("FAILED", style="bold red")
    end.append(f"   in {seconds:.0f} s", style="not bold dim")
    return Padding(Group(table, "", end), 1)


def _problems(check: Check) -> Text:
    return Text("\n").join(Text(problem, style="red") for problem in check.told)


def _side_by_side(left: Table, right: Table) -> RenderableType:
    grid = Table.grid(padding=(0, 3, 0, 0), expand=True)
    grid.add_column(width=_TABLE_WIDTH)
    grid.add_column(ratio=1)
    grid.add_row(left, right)
    return grid


def _plain_table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)


def _table(rows: Sequence[Row], now_s: float) -> Table:
    table = _plain_table()
    table.add_column(clock(now_s), no_wrap=True, min_width=18)
    for name in COLUMNS:
        table.add_column(_TITLES.get(name, name), justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True, min_width=5)
    for row in rows:
        cells = (_number(row.counts.get(name, 0), row.style) for name in COLUMNS)
        table.add_row(Text(row.name, style=row.style if row.total else "dim"), *cells, _number(row.total, f"bold {row.style}"))
    return table


def _number(value: int, style: str) -> Text:
    return Text(str(value), style=style) if value else Text("·", style="dim")


def _feed(feed: Iterable[Ended], lines: int) -> Table:
    table = _plain_table()
    table.add_column("person", no_wrap=True, style="dim", min_width=8)
    table.add_column("event", no_wrap=True, min_width=20)
    table.add_column("what became of it", no_wrap=True, overflow="ellipsis")
    for ended in list(feed)[-lines:] if lines > 0 else ():
        words = Text(" → ", style="dim").join(Text(text, style=style) for text, style in ended.words)
        table.add_row(ended.person, ended.event, words)
    return table


def _moments(moments: Sequence[Moment]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for moment in moments:
        table.add_row(clock(moment.at_s), Text(moment.text, style=moment.style))
    return table
