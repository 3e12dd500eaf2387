"""The simulator itself: one HTTP server that plays the token service, the three sends, tracking, and its own control panel."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from connector.simulator import answers
from connector.simulator.callbacks import Callbacks
from connector.simulator.checks import Checks
from connector.simulator.control import Control
from connector.simulator.faults import Faults
from connector.simulator.ledger import Entry, Ledger, words
from connector.simulator.model import Api
from connector.simulator.options import SimulatorOptions
from connector.simulator.posting import Poster, Posts
from connector.simulator.provider import Provider
from connector.simulator.requests import check_request
from connector.simulator.sends import Sends
from connector.simulator.tokens import Bearer
from connector.simulator.tracking import Handler, Trackings
from connector.simulator.wire import Answer, Connection, HttpRequest

_SENDS = {
    "/failover": Api.STANDARD,
    "/failover/transactional": Api.TRANSACTIONAL,
    "/failover-otp/otp/send-failover": Api.OTP,
}
_OPEN = {
    "/failover-otp": {"service": "failover-otp", "version": "1.0.0", "status": "running", "health": "/health"},
    "/failover-otp/health": {"status": "ok"},
}
_BACKLOG = 4096


def _wall_clock() -> Callable[[], float]:
    """Epoch seconds that never jump."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class Simulator:
    """Routee in the box. ``clock`` (epoch seconds) and ``posts`` are for tests: with an own clock, time passes only by ``run_due()``.

    ::

        simulator = Simulator(SimulatorOptions(time_scale=60))
        await simulator.start()
        ...  # simulator.base_url, simulator.auth_url
        assert simulator.violations == {} and simulator.ledger.repeats() == {}
        await simulator.stop()
    """

    def __init__(
        self, options: SimulatorOptions | None = None, *, clock: Callable[[], float] | None = None, posts: Posts | None = None
    ) -> None:
        self.options = options or SimulatorOptions()
        self.provider = Provider(self.options, clock or _wall_clock())
        self._is_hand_moved = clock is not None
        self._poster = Poster(self.options.callback_concurrency, self.options.callback_timeout_s) if posts is None else None
        self._callbacks = Callbacks(self.provider, posts or self._poster or Poster(1, 1.0))
        self._sends = Sends(self.provider, self._callbacks.first_of)
        self._trackings = Trackings(self.provider)
        self._control = Control(self.provider)
        self.provider.walk.on_change = self._callbacks.on_change
        self.provider.walk.on_due = self._arm
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0
        self._address = ("", 0)
        self._exact: dict[tuple[str, str], tuple[str, Handler]] = {
            ("POST", "/failover/tracking"): ("search", self._trackings.search),
            ("POST", "/failover/tracking/"): ("search", self._trackings.search),
            ("GET", "/failover-otp/otp/failover"): ("search", self._trackings.otp_list),
            ("GET", "/failover-otp/otp/templates"): ("templates", self._trackings.templates),
            ("GET", "/accounts/me/balance"): ("balance", self._trackings.balance),
        }

    # ------------------------------------------------------------------------------------------------------------- life

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(
            lambda: Connection(self.answer, self._connections),
            host,
            port,
            backlog=_BACKLOG,
            ssl=self.options.tls,
        )
        self._address = self._server.sockets[0].getsockname()[:2]
        if self._poster is not None:
            self._poster.start()
        due = self.provider.walk.next_due
        if due is not None:
            self._arm(due)

    async def stop(self) -> None:
        """Cut every connection; nothing more is accepted, walked or called back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None
        if self._poster is not None:
            await self._poster.stop()
        self.provider.ledger.close()

    @property
    def base_url(self) -> str:
        """``http://host:port``, for ``routee.base_url``."""
        host, port = self._address
        return f"{'https' if self.options.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def auth_url(self) -> str:
        """For ``routee.auth_url``: the same server."""
        return self.base_url

    # ------------------------------------------------------------------------------------------------------------- facts

    @property
    def ledger(self) -> Ledger:
        """Every request seen."""
        return self.provider.ledger

    @property
    def violations(self) -> Counter[str]:
        """Breaches of the contract by kind: what it refuses, and oddities such as a repeated label."""
        return self.provider.ledger.violations

    def accepted_by_flow(self) -> dict[str, list[str]]:
        """The labels' flow id → tracking ids of its accepted flows."""
        return self.provider.ledger.accepted_by_flow()

    def set_faults(self, for_s: float | None = None, **changes: Any) -> Faults:  # noqa: ANN401 - fields of Faults
        """Change faults from now on, for good or for ``for_s`` seconds. Raises ValueError."""
        return self.provider.board.change(changes, for_s)

    def revoke_tokens(self) -> None:
        """Every token dies now."""
        self.provider.tokens.revoke()

    def run_due(self) -> None:
        """Do all that is due by the clock."""
        self.provider.walk.run(self.provider.clock())

    # ------------------------------------------------------------------------------------------------------------- time

    def _arm(self, due: float) -> None:
        if self._loop is None or self._is_hand_moved or (self._timer is not None and due >= self._armed):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = due
        self._timer = self._loop.call_later(max(0.0, due - self.provider.clock()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.run_due()
        due = self.provider.walk.next_due
        if due is not None:
            self._arm(due)

    # ---------------------------------------------------------------------------------------------------------- requests

    def answer(self, request: HttpRequest) -> Answer:
        """The answer to any request; all but the control panel's are in the ledger."""
        api = _SENDS.get(request.path)
        if api is not None and request.method == "POST":
            return self._sends.handle(api, request)
        if request.path.startswith("/_simulator/"):
            return self._control.handle(request)
        checks = Checks()
        what, reply, fault = self._other(request, checks)
        ledger = self.provider.ledger
        status = reply.status if answers.is_whole(reply) else 0
        path = request.path
        ledger.add(
            Entry(
                ledger.next_seq(), self.provider.clock(), what, request.method, path, status, fault=fault, violations=words(checks.issues)
            )
        )
        return self.provider.delayed(reply)

    def _other(self, request: HttpRequest, checks: Checks) -> tuple[str, Answer, str | None]:
        """What it was, its answer, and the fault that met it."""
        if request.path == "/oauth/token" and request.method == "POST":
            reply, fault = self._met(self.provider.board.now().tokens, None)
            return "token", reply or self.provider.tokens.issue(request, checks), fault
        if request.method == "GET" and request.path.rstrip("/") in _OPEN:
            return "health", answers.answer(_OPEN[request.path.rstrip("/")]), None
        what, handler = self._handler(request)
        if handler is None:
            checks.note("unknown_path", (), "no such resource")
            return what, answers.platform_error(404, "Not found", self.provider.switches), None
        return self._protected(what, handler, request, checks)

    def _handler(self, request: HttpRequest) -> tuple[str, Handler | None]:
        exact = self._exact.get((request.method, request.path))
        if exact is not None:
            return exact
        if request.method == "GET" and (request.path == "/failover/tracking" or _is_below(request.path, "/failover/tracking/")):
            return "track", self._trackings.flow
        if request.method == "GET" and _is_below(request.path, "/failover-otp/otp/failover/"):
            return "track", self._trackings.otp_flow
        return "other", None

    def _protected(self, what: str, handler: Handler, request: HttpRequest, checks: Checks) -> tuple[str, Answer, str | None]:
        is_otp = request.path.startswith("/failover-otp/")
        bearer = check_request(request, checks, self.provider.tokens)
        if bearer is not Bearer.VALID:
            word = "otp_missing_token_status" if is_otp else "missing_token_status"
            status = int(self.provider.switches.word(word)) if bearer is Bearer.MISSING else 401
            return what, answers.unauthorized(status, is_otp=is_otp), None
        reply, fault = self._met(self.provider.board.now().tracking, Api.OTP if is_otp else Api.STANDARD)
        if reply is not None:
            return what, reply, fault
        if not self._is_hand_moved:
            self.run_due()
        return what, handler(request, checks), None

    def _met(self, rates: Mapping[str, float], api: Api | None) -> tuple[Answer | None, str | None]:
        fault = self.provider.board.draw(rates)
        if fault is None:
            return None, None
        retry_after_s = self.provider.board.now().retry_after_s
        padding = {"content": [], "padding": "cut in the middle"}
        reply = answers.faulty(
            fault, padding, api=api, retry_after_s=retry_after_s, now=self.provider.clock(), switches=self.provider.switches
        )
        return reply, fault.name


def _is_below(path: str, parent: str) -> bool:
    return path.startswith(parent) and "/" not in path[len(parent) :]
