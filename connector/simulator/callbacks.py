"""Calling the client back: every change or the end only, repeated or fired once, out of step where a scenario wants it."""

from __future__ import annotations

import asyncio

import orjson

from connector.simulator import documents
from connector.simulator.model import Api, Flow
from connector.simulator.plan import FINAL
from connector.simulator.posting import Posts
from connector.simulator.provider import Provider
from connector.simulator.scenarios import CallbackStyle
from connector.simulator.walk import Moment

_MINUTE, _HOUR = 60.0, 3600.0
RETRIES_S: tuple[float, ...] = (
    30.0,
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR for hours in (1, 2, 4, 8, 24)),
)
_FIRST_CALLBACK_S = 5.0
_HTTP_OK = 200


class Callbacks:
    """Listens to the walk and posts. Delays and repeats pass in provider time."""

    def __init__(self, provider: Provider, posts: Posts) -> None:
        self._provider = provider
        self._posts = posts
        self._first: dict[str, asyncio.Future[None]] = {}

    def on_change(self, moment: Moment) -> None:
        """A flow or a step has changed."""
        flow = moment.flow
        if flow.callback is None or not self._provider.options.callbacks or flow.scenario.callbacks is CallbackStyle.NONE:
            return
        if not self._is_wanted(moment):
            return
        provider = self._provider
        body = orjson.dumps(
            documents.otp_tracked(flow) if flow.api is Api.OTP else documents.tracked(flow, provider.switches, is_callback=True),
        )
        if flow.scenario.callbacks is CallbackStyle.REORDERED:
            flow.held_callbacks.append(body)
            if flow.is_over:
                held, flow.held_callbacks = flow.held_callbacks, []
                for late in reversed(held):
                    self._send(flow, late)
            return
        self._send(flow, body)
        if flow.scenario.callbacks is CallbackStyle.DUPLICATE:
            self._send(flow, body)

    async def first_of(self, flow: Flow) -> None:
        """Returns once the first callback of the flow was answered, at the latest after five seconds."""
        first = asyncio.get_running_loop().create_future()
        self._first[flow.tracking_id] = first
        try:
            async with asyncio.timeout(_FIRST_CALLBACK_S):
                await first
        except TimeoutError:
            return
        finally:
            self._first.pop(flow.tracking_id, None)

    def _is_wanted(self, moment: Moment) -> bool:
        """Does this flow's strategy ask for a callback now?"""
        flow, switches = moment.flow, self._provider.switches
        if flow.api is Api.OTP:
            return True
        strategy = (flow.callback or {}).get("strategy") or switches.word("default_strategy")
        if strategy == "OnCompletion":
            return moment.is_end
        return not moment.is_late or switches.is_on("late_seen_callback")

    def _send(self, flow: Flow, body: bytes) -> None:
        provider = self._provider
        rate, counts = provider.board.now().callback_reorder, provider.ledger.callbacks
        if rate and _more_follows(flow) and provider.rng.random() < rate:
            counts["reordered"] += 1
            flow.overtaken_callbacks.append(body)
            return
        overtaken, flow.overtaken_callbacks = flow.overtaken_callbacks, []
        for one in (body, *overtaken):
            self._send_now(flow, one)

    def _send_now(self, flow: Flow, body: bytes) -> None:
        provider = self._provider
        faults = provider.board.now()
        counts = provider.ledger.callbacks
        if faults.callback_loss and provider.rng.random() < faults.callback_loss:
            counts["lost"] += 1
            return
        delay_s = faults.callback_delay_s + (provider.options.late_callback_s if flow.scenario.callbacks is CallbackStyle.LATE else 0.0)
        if faults.callback_late and provider.rng.random() < faults.callback_late:
            counts["late"] += 1
            delay_s += faults.callback_late_s
        copies = 2 if faults.callback_duplicate and provider.rng.random() < faults.callback_duplicate else 1
        for _ in range(copies):
            if delay_s:
                provider.walk.at(provider.clock(), delay_s, lambda _now: self._post(flow, body, 0))
            else:
                self._post(flow, body, 0)

    def _post(self, flow: Flow, body: bytes, attempt: int) -> None:
        url = str((flow.callback or {}).get("url"))
        counts = self._provider.ledger.callbacks
        counts["sent" if attempt == 0 else "retried"] += 1
        if not self._posts.submit(url, body, lambda status: self._answered(flow, body, attempt, status)):
            counts["dropped"] += 1

    def _answered(self, flow: Flow, body: bytes, attempt: int, status: int | None) -> None:
        provider = self._provider
        first = self._first.get(flow.tracking_id)
        if first is not None and not first.done():
            first.set_result(None)
        if status is not None and (status == _HTTP_OK or (flow.api is Api.OTP and status // 100 == 2)):  # noqa: PLR2004 - 2xx
            provider.ledger.callbacks["ok"] += 1
            provider.ledger.taken(provider.clock(), flow.api.value, flow.label, str((flow.callback or {}).get("url")), body)
            return
        provider.ledger.callbacks["failed"] += 1
        if flow.api is Api.OTP or not provider.switches.is_on("callback_retries"):
            return  # OTP: fire and forget
        if attempt == len(RETRIES_S):
            provider.ledger.callbacks["given_up"] += 1
            return
        provider.walk.at(provider.clock(), RETRIES_S[attempt], lambda _now: self._post(flow, body, attempt + 1))


def _more_follows(flow: Flow) -> bool:
    """Is another callback of this flow to come?"""
    if flow.api is Api.OTP:
        return (flow.steps[flow.current].status or "").lower() not in FINAL
    return not flow.is_over
