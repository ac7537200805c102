"""What holds for every test: nothing measures how fast this machine was, no logging stays set up."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")
LEVEL = logging.getLogger().level


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what programs do that are run in this process: the MCP library, too, configures all logging."""
    root = logging.getLogger()
    handlers = set(root.handlers)
    root.setLevel(LEVEL)
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(LEVEL)
