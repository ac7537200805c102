"""How the application ends when a call fails: logged, with the status that tells its supervisor what to do.

Owns nothing else. Both transports ask it.
"""

from __future__ import annotations

import logging

from ledger.errors import Code, EnvironmentFault
from runtime.log import event
from runtime.status import EXIT_FAILED, EXIT_PERMANENT

_PERMANENT = frozenset({Code.UPGRADE_REQUIRED})
"""Trying again with the same binary cannot help."""
_LOG = logging.getLogger("abci_app")


def status_of(error: Exception) -> int:
    """Log what failed, inside the handler of ``error``; give the exit status."""
    if isinstance(error, EnvironmentFault) and error.code in _PERMANENT:
        event(_LOG, "stopped", level=logging.ERROR, **error.to_json())
        return EXIT_PERMANENT
    _LOG.exception("call failed")
    return EXIT_FAILED
