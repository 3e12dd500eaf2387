"""The short form of ``python -m tests.bench.flows``: flows whose callbacks fail are followed to their ends, for few polls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.flows import run
from tests.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]  # ~30 s each


@pytest.mark.parametrize("callbacks", [True, False], ids=["bad callbacks", "polls only"])
def test_every_flow_ends_rightly_for_few_polls(broker: Broker, tmp_path: Path, callbacks: bool) -> None:
    """Doubled, overtaken, late and missing callbacks, or none: the provider's own end for each flow, and polls within their share."""
    result = run(broker, tmp_path, 1000 if callbacks else 500, 400.0, callbacks=callbacks)
    assert result.problems == []
    assert result.share <= result.target
    assert callbacks is (result.origins["CALLBACK"] > 0)
    assert result.origins["POLL"] > 0
    assert result.ended["UNKNOWN"] == result.origins["TIMEOUT"] > 0
