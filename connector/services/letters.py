"""Dead letters on their way out: whoever ends a record's care with one goes on only when Kafka has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from connector.core.model import DeadLetter
from connector.errors import KafkaUnavailable, LaneStopped
from connector.logs import get_logger

if TYPE_CHECKING:
    from connector.services.lane import Lane

log = get_logger("letters")
_FIRST_WAIT_S, _LAST_WAIT_S = 0.5, 5.0


async def put(lane: Lane, letter: DeadLetter, about: Mapping[str, str], waits: Callable[[], None] = lambda: None) -> None:
    """Returns once it is acknowledged and counted; ``about``: what the log says of its flow; ``waits``: called when that will take long.

    Where the topic takes none, this one waits, and all else goes on. Raises LaneStopped when the lane drains: the next owner does it.
    """
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            await lane.parts.dead_letters.put(letter)
            break
        except KafkaUnavailable as error:
            if lane.draining:
                raise LaneStopped from error
            if wait_s == _FIRST_WAIT_S:
                log.warning("dead_letters_unavailable", **about, reason=str(error))
                waits()
            await lane.parts.clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _LAST_WAIT_S)
    lane.parts.metrics.dead_letters.labels(letter.reason).inc()
    log.warning("dead_letter", **about, record=letter.record.coordinates, reason=letter.reason, path=letter.path)
