"""Whether a bridge has had its first look, as its own account says.

Owns the reading of ``bridge-status.json`` by whoever started the bridge, and how long trouble told there may
last before it is taken for the answer. Promises that any file gives an account or none. Starts nothing and
waits for nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ledger.types import JsonObject
from runtime.said import error_of

TROUBLE_SECONDS = 3.0
"""How long a bridge that starts may hold, or not reach its cluster, before that counts as its answer."""
PAUSE_SECONDS = 5.0
"""A bridge that runs already may not look again for so long, at what was away and is here now."""
STATUS_BYTES_MAX = 1024 * 1024


class FirstLook:
    """Waits for a bridge's first look, and lets it say itself why it cannot have one.

    Args:
        path: of the bridge's own account.
        patience_s: how long it may be in trouble.
        monotonic_s: seconds of a clock that never goes back.
    """

    def __init__(
        self, path: Path, patience_s: float, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._patience_s, self._monotonic_s = path, patience_s, monotonic_s
        self._troubled_since: float | None = None

    def __call__(self) -> bool:
        """Tell whether the bridge has verified a header and reached its cluster.

        Raises:
            EnvironmentFault, VerificationFailed: what keeps it from that for longer than a start takes.
        """
        status = read_status(self._path)
        said = status.get("hold") or status.get("kubernetes")
        trouble = said if isinstance(said, dict) else {}
        height = status.get("height")
        if type(height) is int and height >= 1 and trouble.get("code") == 0:
            return True
        now = self._monotonic_s()
        if not trouble.get("code"):
            self._troubled_since = None
        elif self._troubled_since is None:
            self._troubled_since = now
        elif now - self._troubled_since > self._patience_s:
            error = error_of(trouble)
            if error is not None:
                raise error
        return False


def read_status(path: Path) -> JsonObject:
    """Read a bridge's status file; empty while there is none that can be read."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(STATUS_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
