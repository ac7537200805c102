"""How long this thread may still take with a node.

Owns the moment by which every exchange begun inside ``within`` has ended, however many there are: a question
that is answered page by page has no more time than one that is answered at once. Never reads, never writes.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar

_UNTIL_S: ContextVar[float] = ContextVar("until_s", default=math.inf)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound what is begun inside, all together; of several bounds the nearest counts."""
    token = _UNTIL_S.set(min(_UNTIL_S.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _UNTIL_S.reset(token)


def at_most(seconds: float) -> float:
    """Give ``seconds``, or what is left where that is less; zero or below where nothing is."""
    return min(seconds, _UNTIL_S.get() - time.monotonic())
