"""Python's garbage collector while a large state is opened.

Owns its pause. Promises that it looks at nothing made meanwhile, then or later: the nodes of a million keys
live as long as the process; walking them frees nothing, and takes half of an opening and a second of any full
collection later. Reference counts free them as ever. For the edge of a process: the collector is one
for all its threads.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_lived() -> Iterator[None]:
    """Keep the collector away from what is made in this block."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
