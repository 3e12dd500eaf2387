"""The transport is held to its laws on both event loops; everything else runs on the one that a test gets anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """``test_http_client*`` run twice."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith("test_http_client"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories
