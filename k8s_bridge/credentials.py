"""Credentials that are replaced while the bridge runs.

Owns the reading of the kubeconfig, or the pod's own account, once more after the API server did not accept
what was read before: a rotated token or client certificate, another authority. Promises that it is read at
most once in ``PAUSE_S`` whatever the number of threads that were turned away, and that a file which cannot be
used keeps what was there. Never watches files: a token that is accepted needs no other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from kubernetes.client.configuration import Configuration

from ledger.errors import EnvironmentFault
from runtime.log import event

PAUSE_S = 2.0
_LOG = logging.getLogger("bridge.credentials")


class Credentials:
    """How to find the API server's configuration again.

    Args:
        load: reads it; raises KUBECONFIG_INVALID.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self, load: Callable[[], Configuration], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._not_before_s = monotonic()
        self._count = 0

    @property
    def count(self) -> int:
        """How often they were read again; what a request notes before it is sent."""
        return self._count

    def again(self, count: int, take: Callable[[Configuration], None]) -> bool:
        """Read them again for a request that was turned away; gives whether it is worth sending again.

        Args:
            count: as it was when the request was sent.
            take: uses what was read.
        """
        with self._lock:
            if self._count != count:
                return True
            if self._monotonic() < self._not_before_s:
                return False
            self._not_before_s = self._monotonic() + PAUSE_S
            try:
                configuration = self._load()
            except EnvironmentFault as fault:
                event(_LOG, "credentials not read", level=logging.WARNING, **fault.to_json())
                return False
            take(configuration)
            self._count += 1
            event(_LOG, "credentials read again")
            return True
