"""One world for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Kafka and the provider, empty."""
    return World(tmp_path)
