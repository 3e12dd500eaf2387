"""The connector's own process: started like any user's, killed with -9, stopped with SIGTERM; and what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import httpx
import orjson

from connector.demo.place import child_environ

LogLine = Mapping[str, Any]

COMMAND = (sys.executable, "-P", "-m", "connector")
"""This connector in a process of its own; without ``-P`` it would be whatever is called so in the folder somebody stands in."""

_STOP_S = 15.0
_TAIL_S = 0.1
_SCRAPE_S = 0.5
_DOUBTS = re.compile(r'^failover_doubts\{class="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE)
_KEPT_LINES = 12


class Child:
    """One connector at a time. ``hear`` gets each of its log lines."""

    def __init__(self, config: Path, admin_url: str, hear: Callable[[LogLine], None]) -> None:
        self._config = config
        self._metrics = f"{admin_url}/metrics"
        self._hear = hear
        self._process: Process | None = None
        self._log: IO[bytes] | None = None
        self._rest = b""
        self.log = config.parent / "connector.log"
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)  # warnings and errors, and what is no log line at all
        self.doubts: dict[str, int] = {}  # by class, now
        self.starts = 0

    @property
    def pid(self) -> int:
        """Of the running process; 0 without one."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Start it; its lines go to the end of the log file."""
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND, "run", "--config", str(self._config), stdout=out, stderr=out, env=child_environ()
            )
        self.starts += 1

    async def kill(self) -> None:
        """SIGKILL: no goodbye, nothing is flushed."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
        self.doubts = {}

    async def stop(self) -> int:
        """SIGTERM, and kill -9 where that does not help. Gives the exit code."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
        return await process.wait()

    async def follow(self) -> None:
        """Read its log as it grows; ends by cancellation."""
        with contextlib.ExitStack() as stack:
            source: IO[bytes] | None = None
            while True:
                if source is None and self.log.exists():
                    source = stack.enter_context(self.log.open("rb"))
                if source is not None:
                    self._take(source.read())
                await asyncio.sleep(_TAIL_S)

    async def measure(self) -> None:
        """Ask for its metrics now and then; ends by cancellation."""
        async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    text = (await client.get(self._metrics)).text
                    self.doubts = {kind: int(float(value)) for kind, value in _DOUBTS.findall(text)}
                await asyncio.sleep(_SCRAPE_S)

    def _take(self, grown: bytes) -> None:
        *lines, self._rest = (self._rest + grown).split(b"\n")
        for line in filter(None, lines):
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                self.last_lines.append(line.decode(errors="replace"))
                continue
            if isinstance(entry, dict):
                if entry.get("level") in {"warning", "error", "critical"}:
                    self.last_lines.append(line.decode(errors="replace"))
                self._hear(entry)
