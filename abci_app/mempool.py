"""What waits: how much of it, whose, and in which order it goes into a block.

Owns this node's admission beyond the rules of the ledger: no part of consensus. CometBFT keeps the mempool itself, first
come, first served, without priorities. Promises that ordinary transactions never fill it to the brim, that a freeze or a
revocation goes into the next block whatever waits before it, and that nobody's flood holds up anybody else for more
than a turn. Source: docs/spec/spam.md.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ledger.errors import Code, Refused
from ledger.limits import MEMPOOL_BYTES_MAX, MEMPOOL_TXS_MAX, MIB

ORDINARY_PERCENT = 80
"""Of the mempool that ordinary transactions may fill; the rest is for urgent ones."""
URGENT_TXS_MAX = 256
URGENT_BYTES_MAX = 1 * MIB


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction that waits: its bytes, who signed it, whether it only takes away."""

    tx: bytes
    signer: str
    urgent: bool


class Mempool:
    """What this node let in and has not seen in a block yet."""

    __slots__ = ("_bytes", "_bytes_max", "_txs", "_txs_max", "_urgent", "_urgent_bytes")

    def __init__(self, txs_max: int = MEMPOOL_TXS_MAX, bytes_max: int = MEMPOOL_BYTES_MAX) -> None:
        self._txs_max, self._bytes_max = txs_max, bytes_max
        self._txs = self._bytes = self._urgent_bytes = 0
        self._urgent: OrderedDict[bytes, Waiting] = OrderedDict()

    def check_room(self, size: int, *, urgent: bool) -> None:
        """There is room for one more of ``size`` bytes.

        Raises:
            Refused: MEMPOOL_BUSY, never for an urgent one.
        """
        if urgent:
            return
        full = 100 * (self._txs + 1) > ORDINARY_PERCENT * self._txs_max
        if full or 100 * (self._bytes + size) > ORDINARY_PERCENT * self._bytes_max:
            raise Refused(
                Code.MEMPOOL_BUSY,
                got=f"{self._txs} transactions of {self._bytes} bytes",
                expected=f"less than {ORDINARY_PERCENT} % of {self._txs_max} and {self._bytes_max}",
                todo="send it again later, or to another node",
            )

    def take(self, waiting: Waiting) -> None:
        """Count one that was let in, or that was asked about again and still waits."""
        self._txs += 1
        self._bytes += len(waiting.tx)
        if not waiting.urgent or waiting.tx in self._urgent:
            return
        if len(self._urgent) < URGENT_TXS_MAX and self._urgent_bytes + len(waiting.tx) <= URGENT_BYTES_MAX:
            self._urgent[waiting.tx] = waiting
            self._urgent_bytes += len(waiting.tx)

    def forget(self, tx: bytes) -> None:
        """Let go of one that was refused."""
        waiting = self._urgent.pop(tx, None)
        if waiting is not None:
            self._urgent_bytes -= len(tx)

    def committed(self, txs: Iterable[bytes] = ()) -> None:
        """A block was committed: CometBFT asks again about all that still waits, and so it is counted anew."""
        self._txs = self._bytes = 0
        for tx in txs:
            self.forget(tx)

    def select(
        self, offered: Sequence[Waiting], admits: Callable[[Waiting], bool], room: int, overhead: int
    ) -> list[bytes]:
        """Choose a block's transactions: the urgent ones, then one of each signer in turn.

        Args:
            offered: what CometBFT offers, in its order.
            admits: whether one may be in the block after those chosen before it.
            room: bytes of transactions the block holds.
            overhead: bytes each takes besides its own.
        """
        known = {waiting.tx for waiting in self._urgent.values()}
        everything = [*self._urgent.values(), *(w for w in offered if w.tx not in known)]
        chosen: list[bytes] = []
        for waiting in fair_order(everything):
            size = len(waiting.tx) + overhead
            if size <= room and admits(waiting):
                chosen.append(waiting.tx)
                room -= size
        return chosen


def fair_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Order what waits: urgent ones first; among equals one of each signer in turn, each signer's in its order."""
    lanes: tuple[OrderedDict[str, deque[Waiting]], ...] = (OrderedDict(), OrderedDict())
    for one in waiting:
        lanes[not one.urgent].setdefault(one.signer, deque()).append(one)
    ordered: list[Waiting] = []
    for lane in lanes:
        queues = list(lane.values())
        while queues:
            ordered += [queue.popleft() for queue in queues]
            queues = [queue for queue in queues if queue]
    return ordered
