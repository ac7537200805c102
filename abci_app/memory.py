"""The memory of opened transactions, so that one is opened once for mempool, proposal and block.

Owns its bounds: in entries and in weight, because strangers choose what is opened. Promises that forgetting
changes speed only. Never decides anything.
"""

from __future__ import annotations

from collections import OrderedDict

from abci_app.check import Opened
from ledger.actions import Proposal, Report
from ledger.changes import Configure, Release
from ledger.limits import KIB, MIB

OPENED_WEIGHT_MAX = 32 * MIB
"""Bytes of RAM, estimated."""
_BASE_WEIGHT = KIB
_CLUSTER_WEIGHT = 128
_TOUCH_WEIGHT = 512
_REPORT_FACTOR = 4
"""A parsed report takes several times its JSON."""


class OpenedMemory:
    """Opened transactions by the SHA-256 of their bytes; the oldest are forgotten first."""

    __slots__ = ("_entries", "_weight")

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, tuple[Opened, int]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def weight(self) -> int:
        """The estimated bytes of RAM of what is remembered."""
        return self._weight

    def get(self, key: bytes) -> Opened | None:
        """Give what was remembered under ``key``."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: bytes, opened: Opened, size: int) -> None:
        """Remember ``opened``, made of a transaction of ``size`` bytes; too heavy alone, it is not."""
        weight = _weigh(opened, size)
        if weight > OPENED_WEIGHT_MAX or key in self._entries:
            return
        self._entries[key] = (opened, weight)
        self._weight += weight
        while self._weight > OPENED_WEIGHT_MAX:
            _, (_, forgotten) = self._entries.popitem(last=False)
            self._weight -= forgotten

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._weight = 0


def _weigh(opened: Opened, size: int) -> int:
    action = opened.action
    if isinstance(action, Report):
        return _BASE_WEIGHT + _REPORT_FACTOR * size
    if isinstance(action, Proposal) and isinstance(action.change, Release):
        touches = len(opened.content.touches) if opened.content is not None else 0
        return _BASE_WEIGHT + _CLUSTER_WEIGHT * len(action.change.clusters) + _TOUCH_WEIGHT * touches
    if isinstance(action, Proposal) and isinstance(action.change, Configure):
        return _BASE_WEIGHT + _REPORT_FACTOR * size
    return _BASE_WEIGHT
