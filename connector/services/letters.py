"""Dead letters on their way out: whoever ends a record's care with one goes on only when Kafka has it."""

from __future__ import annotations

from collections.abc import Mapping

from connector.core.model import DeadLetter
from connector.errors import KafkaUnavailable, LaneLost
from connector.logs import get_logger
from connector.services.parts import Parts

log = get_logger("letters")


async def put(parts: Parts, letter: DeadLetter, about: Mapping[str, str]) -> None:
    """Returns once it is acknowledged and counted; ``about``: what the log says of its flow. Raises LaneLost: the next tenure does it."""
    try:
        await parts.dead_letters.put(letter)
    except KafkaUnavailable as error:
        raise LaneLost("dead_letter_unavailable") from error
    parts.metrics.dead_letters.labels(letter.reason).inc()
    log.warning("dead_letter", **about, record=letter.record.coordinates, reason=letter.reason, path=letter.path)
