"""A connection whose dialler was cancelled in the very moment it was made."""

from __future__ import annotations

import asyncio

from connector.adapters.http_connection import Connection


class Home:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def made(self, connection: Connection) -> None:
        self.told.append("made")

    def rested(self, connection: Connection) -> None:
        self.told.append("rested")

    def lost(self, connection: Connection) -> None:
        self.told.append("lost")


class Line(asyncio.Transport):
    """A transport that only notes its end."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


async def test_an_abandoned_connection_is_reset_and_counts_nowhere() -> None:
    """Nobody would ever close it: reset at once, its slot (given back by the dialler) is not given back a second time."""
    home, line = Home(), Line()
    connection = Connection(home, 4.0)
    connection.abandoned = True
    connection.connection_made(line)
    assert line.aborted
    connection.connection_lost(None)
    assert home.told == []


async def test_a_wanted_connection_is_made_and_lost_once() -> None:
    """The usual life, for contrast."""
    home, line = Home(), Line()
    connection = Connection(home, 4.0)
    connection.connection_made(line)
    connection.connection_lost(None)
    assert not line.aborted
    assert home.told == ["made", "lost"]
