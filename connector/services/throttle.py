"""Who may POST now: breakers, the account's rate, concurrency, and the more urgent class first."""

from __future__ import annotations

import asyncio
import enum
import heapq
import itertools
from asyncio import Future
from collections import deque

from connector.core.model import MessageClass
from connector.logs import get_logger
from connector.metrics import Metrics
from connector.ports import Clock

log = get_logger("throttle")
_BURST_S = 0.1  # a bucket holds this much of the rate: a start never lets a second's worth through at once
_WINDOW_S = 10.0
_TELL_S = 10.0
_WINDOW_MIN = 20
_TICK_S = 0.05
_SLOW_MIN, _SLOW_SHARE = 5, 0.2  # so many 429s in 10 s, and this part of all answers, are the account's limit and no single message's
_SLOWER_S, _FASTER_PER_S = 2.0, 0.05
_SPARE_POLLS, _SPARE_POLLS_PER_S = 3.0, 0.1  # what a process may ask however little it sends
_LAST_SHARE = 0.5  # of the rate, for last questions
_NO_BOUND = 1e6  # polls per send
_QUESTION_S = 120.0  # so long questions alone probe the breakers auth and balance; then a message does: not all accounts may ask
_LONG_S = 10.0  # a backlog of sends that lasts longer lets those few polls through
_DEEPEST_DEBT = 100.0  # what is asked beyond it is free: an outage's overdue flows must not silence polls for hours


class Breaker(enum.Enum):
    """Why nothing may be sent. Open means park and wait, never dead-letter."""

    AUTH = "auth"  # the token is refused, twice
    BALANCE = "balance"  # the account is empty
    PROVIDER = "provider"  # ≥ 50 % doubts of ≥ 20 in 10 s


class Throttle:
    """One per process. ``share`` (0…1) is the part of the account's rate that this process's lanes are owed."""

    def __init__(
        self, clock: Clock, metrics: Metrics, rate_per_s: float, max_in_flight: int, poll_share: float = 0.1, probe_s: float = 5.0
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._rate = rate_per_s
        self._share = 0.0
        self._limit = max_in_flight
        self._probe_s = probe_s
        self._poll_share = poll_share
        self._poll_tokens = self._last_tokens = 1.0
        self.polls_per_send = poll_share / (1.0 - poll_share) if poll_share < 1 else _NO_BOUND
        self._polls_earned = 0.0
        self._polls_spare = _SPARE_POLLS
        self._poll_filled = clock.boot()
        self._in_flight = 0
        self._tokens = 0.0
        self._filled = clock.boot()
        self._waiting: list[tuple[int, int, Future[bool], int]] = []
        self._waiting_since = 0.0
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._open: dict[Breaker, float] = {}
        self._probing: set[Breaker] = set()
        self._told_unreachable = -_TELL_S
        self._pace = 1.0  # of the rate, at ``_paced``: below 1 since Routee said that it was too much
        self._paced = -_SLOWER_S
        self._slowed: deque[float] = deque()  # 429s
        self._results: deque[tuple[float, bool]] = deque()
        self._bad = 0  # of them
        metrics.in_flight_limit.set(max_in_flight)
        for kind in Breaker:
            metrics.breaker_state.labels(kind.value).set(0)

    def set_share(self, share: float) -> None:
        """The lanes owned have changed. The bucket starts empty, so that two owners never add up to more than the rate."""
        self._share = share
        self._tokens = 0.0
        self._filled = self._clock.boot()
        self.tell()
        self._wake.set()

    def tell(self) -> None:
        """Set the gauge of what may be sent now."""
        self._metrics.rate_limit.set(self._rate * self._share * self._pace_at(self._clock.boot()))

    async def enter(self, message_class: MessageClass, until_ms: int) -> bool:
        """Wait for breakers, rate and a permit: True, to be paired with ``leave``. False: it became ``until_ms`` meanwhile."""
        waiter: Future[bool] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._waiting_since = self._clock.boot()
        heapq.heappush(self._waiting, (message_class.priority, next(self._order), waiter, until_ms))
        self._dispense()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.leave()
            raise

    def leave(self) -> None:
        """The POST has ended."""
        self._in_flight -= 1
        self._metrics.in_flight.set(self._in_flight)
        if not self._in_flight and self._probing:
            self.open(self._probing.pop())  # the probe never reached the provider, so it says nothing: another one later
        self._dispense()

    def unreachable(self, reason: str) -> None:
        """No byte could be sent: said once in a while, since every waiting flow meets the same."""
        now = self._clock.boot()
        if now - self._told_unreachable >= _TELL_S:
            self._told_unreachable = now
            log.warning("provider_unreachable", reason=reason)

    def record(self, *, bad: bool, refused: Breaker | None = None) -> None:
        """What came of a POST, for the breakers: ``bad``: a doubt or a 5xx; ``refused``: for what that breaker is there."""
        now = self._clock.boot()
        if self._probing:
            kind = self._probing.pop()
            if bad or refused is kind:
                self.open(kind)
            else:
                self.close(kind)
            return
        self._results.append((now, bad))
        self._bad += bad
        while self._results[0][0] < now - _WINDOW_S:
            self._bad -= self._results.popleft()[1]
        if len(self._results) >= _WINDOW_MIN and 2 * self._bad >= len(self._results):
            self.open(Breaker.PROVIDER)

    def slow_down(self) -> None:
        """A POST met 429 or 425. Many of them halve the rate, every 2 s, down to a tenth; it comes back within 20 s."""
        now = self._clock.boot()
        self._slowed.append(now)
        while self._slowed[0] < now - _WINDOW_S:
            self._slowed.popleft()
        if len(self._slowed) < max(_SLOW_MIN, _SLOW_SHARE * len(self._results)) or now - self._paced < _SLOWER_S:
            return
        pace = self._pace_at(now)
        if pace >= 1.0:
            log.warning("rate_lowered", refused=len(self._slowed))
        self._fill()
        self._pace, self._paced = pace / 2, now
        self._slowed.clear()
        self.tell()

    def open(self, kind: Breaker) -> None:
        """Nothing more is begun until a probe succeeds."""
        if kind not in self._open:  # not for each POST that was under way, nor for each probe that failed
            log.error("breaker_opened", breaker=kind.value)
        self._open[kind] = self._clock.boot() + (self._probe_s if kind is Breaker.PROVIDER else _QUESTION_S)
        self._results.clear()
        self._bad = 0
        self._metrics.breaker_state.labels(kind.value).set(2)

    def close(self, kind: Breaker) -> None:
        """A probe succeeded."""
        if self._open.pop(kind, None) is not None:
            log.info("breaker_closed", breaker=kind.value)
        self._metrics.breaker_state.labels(kind.value).set(0)
        self._wake.set()

    def is_open(self, kind: Breaker) -> bool:
        """Whether this breaker holds everything back."""
        return kind in self._open

    def earn_polls(self, polls: float) -> None:
        """So many more may be asked: sends have earned them, or a lane brings them along. Less than none: it takes them away."""
        self._polls_earned = max(self._polls_earned + polls, -_DEEPEST_DEBT)

    def may_poll(self, *, last: bool = False) -> bool:
        """Take one request out of the polls' budget. ``last``: a flow ends with it, so it needs none, and has a rate of its own.

        Polls are at most ``polling.max_share`` of sends and polls together, but for a few that a quiet process may always make (later sends
        pay for them), and go no faster than that share of the rate. What sends need comes first, but for those few where they wait for
        long; what waits for a breaker needs nothing.
        """
        now = self._clock.boot()
        rate = self._rate * self._share * self._poll_share
        self._poll_tokens = min(self._poll_tokens + (now - self._poll_filled) * rate, max(1.0, rate))
        self._polls_spare = min(self._polls_spare + (now - self._poll_filled) * _SPARE_POLLS_PER_S, _SPARE_POLLS)
        last_rate = self._rate * self._share * _LAST_SHARE
        self._last_tokens = min(self._last_tokens + (now - self._poll_filled) * last_rate, max(1.0, last_rate))
        self._poll_filled = now
        if last:
            if self._last_tokens < 1.0:
                return False
            self._last_tokens -= 1.0
            self.earn_polls(-1.0)
            return True
        earned = 0.0 if self._waiting and not self._open else self._polls_earned
        if self._poll_tokens < 1.0 or self._sends_first(now) or max(earned, self._polls_spare) < 1.0:
            return False
        self._poll_tokens -= 1.0
        if earned < 1.0:
            self._polls_spare -= 1.0
        self.earn_polls(-1.0)
        return True

    def _sends_first(self, now: float) -> bool:
        """Sends wait for permits, and have not waited for long; or the token is refused, and polls would be, too."""
        if not self._waiting:
            return False
        return Breaker.AUTH in self._open if self._open else now - self._waiting_since < _LONG_S

    async def run(self) -> None:
        """Hand out permits as time brings them; ends by cancellation."""
        while True:
            self._dispense()
            self._expire()
            if not self._waiting:
                await self._wake.wait()
                self._wake.clear()
                continue
            await self._clock.sleep(self._until_next())

    def _pace_at(self, now: float) -> float:
        return min(1.0, self._pace + (now - self._paced) * _FASTER_PER_S)

    def _until_next(self) -> float:
        rate = self._rate * self._share * self._pace_at(self._clock.boot())
        missing = max(0.0, 1.0 - self._tokens)
        if rate <= 0 or not missing:  # it is a breaker or a permit that is waited for: whoever gives that hands out at once
            return _TICK_S
        return min(_TICK_S, max(0.001, missing / rate))

    def _dispense(self) -> None:
        self._fill()
        while self._waiting:
            if self._waiting[0][2].done():
                heapq.heappop(self._waiting)
                continue
            if self._in_flight >= self._limit or self._tokens < 1.0:
                break
            waiter = self._next_waiter()
            if waiter is None:
                break
            self._tokens -= 1.0
            self._in_flight += 1
            self._metrics.in_flight.set(self._in_flight)
            waiter.set_result(True)
        if self._waiting:
            self._wake.set()

    def _expire(self) -> None:
        """Nobody waits beyond the event's expiry, whatever is open."""
        now_ms = self._clock.now_ms()
        for entry in self._waiting:
            if entry[3] <= now_ms and not entry[2].done():
                entry[2].set_result(False)
        if any(entry[2].done() for entry in self._waiting):  # cancelled ones, too: their lane is gone
            self._waiting = [entry for entry in self._waiting if not entry[2].done()]
            heapq.heapify(self._waiting)

    def _next_waiter(self) -> Future[bool] | None:
        """The most urgent waiter; with one breaker open and due for a probe, the least urgent one instead."""
        if not self._open:
            return heapq.heappop(self._waiting)[2]
        if len(self._open) > 1 or self._probing:
            return None
        [(kind, due)] = self._open.items()
        if self._clock.boot() < due:
            return None
        candidates = [entry for entry in self._waiting if not entry[2].done()]
        probe = max(candidates, key=lambda entry: (entry[0], -entry[1]))
        self._waiting.remove(probe)
        heapq.heapify(self._waiting)
        self._probing.add(kind)
        self._metrics.breaker_state.labels(kind.value).set(1)
        return probe[2]

    def _fill(self) -> None:
        now = self._clock.boot()
        rate = self._rate * self._share * self._pace_at(now)
        self._tokens = min(self._tokens + (now - self._filled) * rate, max(1.0, rate * _BURST_S))
        self._filled = now


class PollBudget:
    """One lane's part of what may be polled. It goes with the lane, by its CHECKPOINT, so that a take-over earns nothing twice."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._left = 0.0

    @property
    def left(self) -> float:
        """For the next owner. What was asked beyond it stays with this process."""
        return round(max(self._left, 0.0), 1)

    def take_over(self, left: float | None, followed: int) -> None:
        """From the former owner; None: it did not say, so each flow that is still followed counts as one of its sends."""
        self._earn(followed * self._throttle.polls_per_send if left is None else left)

    def sent(self) -> None:
        """Each send allows for its part of a poll."""
        self._earn(self._throttle.polls_per_send)

    def may_poll(self, *, last: bool = False) -> bool:
        """See ``Throttle.may_poll``: whatever its lanes have left is the process's."""
        allowed = self._throttle.may_poll(last=last)
        if allowed:
            self._left = max(self._left - 1.0, -_DEEPEST_DEBT)
        return allowed

    def close(self) -> None:
        """The lane goes."""
        self._throttle.earn_polls(-self.left)

    def _earn(self, polls: float) -> None:
        self._left += polls
        self._throttle.earn_polls(polls)
