"""The accepted flows, found by id, message token or recipient; the oldest are forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from connector.simulator.model import Api, Flow


class Flows:
    """At most ``keep`` flows."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._order: deque[Flow] = deque()
        self._by_id: dict[str, Flow] = {}
        self._by_recipient: dict[str, list[Flow]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._order)

    def add(self, flow: Flow) -> None:
        """Remember a flow."""
        self._order.append(flow)
        for key in self._keys(flow):
            self._by_id[key] = flow
        self._by_recipient.setdefault(flow.recipient, []).append(flow)
        if len(self._order) > self._keep:
            self._forget(self._order.popleft())

    def get(self, key: str, *, is_otp: bool) -> Flow | None:
        """By tracking id; an OTP flow also by the token of any of its messages (Routee's documentation: OTP tracking)."""
        flow = self._by_id.get(key)
        return flow if flow is not None and (flow.api is Api.OTP) is is_otp else None

    def to(self, digits: str) -> Iterable[Flow]:
        """All flows whose first step went to this number, oldest first."""
        return self._by_recipient.get(digits, ())

    def _keys(self, flow: Flow) -> tuple[str, ...]:
        return (flow.tracking_id, *(step.message_id for step in flow.steps)) if flow.api is Api.OTP else (flow.tracking_id,)

    def _forget(self, flow: Flow) -> None:
        for key in self._keys(flow):
            self._by_id.pop(key, None)
        same = self._by_recipient.get(flow.recipient)
        if same is not None:
            same.remove(flow)
            if not same:
                del self._by_recipient[flow.recipient]
