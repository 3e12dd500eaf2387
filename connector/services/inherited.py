"""The restart report: what became of the doubts that a lane had inherited when it was claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from connector.core.flow import Flow, State
from connector.logs import get_logger
from connector.services.live import Live

if TYPE_CHECKING:
    from connector.services.lane import Lane

log = get_logger("inherited")
_LOOK_S = 1.0
Fates = Counter[tuple[str, str]]  # (class, fate) → how many


async def report(lane: Lane, doubts: Sequence[Live]) -> None:
    """Count each inherited doubt when it ends, and tell once when all have; a lane that ends before leaves the rest to its next owner."""
    if not doubts:
        return
    fates: Fates = Counter()
    open_now = [(live, live.flow.resent) for live in doubts]
    while open_now:
        ended = [(live, fate) for live, resent in open_now if (fate := fate_of(live.flow, resent=resent)) is not None]
        for live, fate in ended:
            kind = str(live.flow.facts.message_class or "")
            fates[kind, fate] += 1
            lane.parts.metrics.inherited_doubts.labels(kind, fate).inc()
        gone = {live.id for live, _ in ended}
        open_now = [entry for entry in open_now if entry[0].id not in gone]
        if open_now:
            await lane.parts.clock.sleep(_LOOK_S)
    took_s = round(lane.parts.clock.boot() - lane.claimed_at, 1)
    totals = {fate: sum(count for (_, word), count in fates.items() if word == fate) for fate in ("resolved", "resent", "unknown")}
    log.info("restart_report", lane=str(lane.id), unresolved=len(doubts), **totals, classes=by_class(fates), took_s=took_s)


def fate_of(flow: Flow, *, resent: bool) -> str | None:
    """resolved (an attempt was found accepted), resent, or unknown; None: still open. ``resent``: it had been sent again before."""
    if not flow.state.settled:
        return None
    if flow.state is State.UNKNOWN:
        return "unknown"
    return "resent" if flow.resent and not resent else "resolved"


def by_class(counts: Fates) -> dict[str, dict[str, int]]:
    """Class → word → count, for a log line."""
    shown: dict[str, dict[str, int]] = {}
    for (kind, word), count in sorted(counts.items()):
        shown.setdefault(kind or "none", {})[word] = count
    return shown
