"""What holds for every test: nothing measures how fast this machine was, no process-wide setting stays."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import wrapped

wrapped.mend()
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")
LEVEL = logging.getLogger().level
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Undo what programs do that are run in this process: they set up logging and how a signal ends them.

    The MCP library, too, configures all logging.
    """
    root = logging.getLogger()
    handlers, answers = set(root.handlers), {number: signal.getsignal(number) for number in SIGNALS}
    root.setLevel(LEVEL)
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(LEVEL)
    for number, answer in answers.items():
        if answer is not None and signal.getsignal(number) is not answer:
            signal.signal(number, answer)
