"""What waits: how much of it, whose, and in which order it goes into a block.

Owns this node's admission beyond the rules of the ledger: no part of consensus. CometBFT keeps the mempool
itself, first come, first served, and offers a block's worth from its front. Promises that ordinary ones never
fill it to the brim, that a subject takes no more than a share of what is free, that a freeze or a revocation
goes into the next block whatever waits before it, and that nobody's flood holds up anybody else for more than
a turn. Never judges a transaction by its content. Source: docs/spec/spam.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ledger.errors import Code, Refused
from ledger.limits import BLOCK_BYTES_MAX, MEMPOOL_BYTES_MAX, MEMPOOL_TXS_MAX, MIB

ORDINARY_PERCENT = 80
"""Of the mempool that ordinary transactions may fill; the rest is for urgent ones."""
SHARE = 4
"""A subject may hold one part in so many of what is free: alone a fifth of all, and others find room."""
URGENT_LANE_TXS_MAX = 256
URGENT_LANE_BYTES_MAX = 1 * MIB
ORDINARY_LANE_TXS_MAX = 10_000
ORDINARY_LANE_BYTES_MAX = 4 * BLOCK_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction that waits: its bytes, who signed it, whether it only takes away."""

    tx: bytes
    signer: str
    urgent: bool


class Tally:
    """How much there is, in transactions and bytes, and how much of it is whose."""

    __slots__ = ("_held", "bytes", "txs")

    def __init__(self) -> None:
        self.txs = self.bytes = 0
        self._held: dict[str, tuple[int, int]] = {}

    def add(self, signer: str, size: int) -> None:
        """Count one more."""
        txs, held = self._held.get(signer, (0, 0))
        self._held[signer] = (txs + 1, held + size)
        self.txs += 1
        self.bytes += size

    def subtract(self, signer: str, size: int) -> None:
        """Count one less of what was added."""
        txs, held = self._held[signer]
        if txs == 1:
            del self._held[signer]
        else:
            self._held[signer] = (txs - 1, held - size)
        self.txs -= 1
        self.bytes -= size

    def clear(self) -> None:
        """Count from nothing again."""
        self.txs = self.bytes = 0
        self._held.clear()

    def is_share(self, signer: str, size: int, free_txs: int, free_bytes: int) -> bool:
        """Whether the signer, with one more of ``size`` bytes, holds no more than a share of what is free."""
        txs, held = self._held.get(signer, (0, 0))
        return SHARE * (txs + 1) <= free_txs and SHARE * (held + size) <= free_bytes


class Lane:
    """Transactions of one kind that the application proposes itself, even where CometBFT does not offer them.

    Promises to hold of each signer the first that wait, without a gap, so that its order is kept.
    """

    __slots__ = ("_bytes_max", "_closed", "_tally", "_txs_max", "_waiting")

    def __init__(self, txs_max: int, bytes_max: int) -> None:
        self._txs_max, self._bytes_max = txs_max, bytes_max
        self._waiting: dict[bytes, Waiting] = {}
        self._tally = Tally()
        self._closed: set[str] = set()

    def __contains__(self, tx: bytes) -> bool:
        return tx in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def candidates(self) -> list[Waiting]:
        """Give what is held, in the order it came."""
        return list(self._waiting.values())

    def offer(self, waiting: Waiting) -> bool:
        """Hold one more if its signer's share allows it; from the first it does not, none of the signer's."""
        if waiting.tx in self._waiting:
            return True
        signer, size = waiting.signer, len(waiting.tx)
        free_txs, free_bytes = self._txs_max - self._tally.txs, self._bytes_max - self._tally.bytes
        if signer in self._closed or not self._tally.is_share(signer, size, free_txs, free_bytes):
            self._closed.add(signer)
            return False
        self._waiting[waiting.tx] = waiting
        self._tally.add(signer, size)
        return True

    def remove(self, tx: bytes) -> None:
        """Let go of one, if it is held."""
        waiting = self._waiting.pop(tx, None)
        if waiting is not None:
            self._tally.subtract(waiting.signer, len(tx))

    def reopen(self) -> None:
        """Hold what is offered of any signer again: all that waits is about to be offered anew, in order."""
        self._closed.clear()

    def clear(self) -> None:
        """Let go of everything."""
        self._waiting.clear()
        self._tally.clear()
        self._closed.clear()


class Mempool:
    """What this node let in and has not seen in a block yet.

    Exact as long as CometBFT rechecks all that waits after each commit, before anything new (``recheck``).
    """

    __slots__ = ("_bytes_max", "_lanes", "_tallies", "_txs_max")

    def __init__(self, txs_max: int = MEMPOOL_TXS_MAX, bytes_max: int = MEMPOOL_BYTES_MAX) -> None:
        self._txs_max, self._bytes_max = txs_max, bytes_max
        self._tallies = {True: Tally(), False: Tally()}
        self._lanes = {
            True: Lane(URGENT_LANE_TXS_MAX, URGENT_LANE_BYTES_MAX),
            False: Lane(ORDINARY_LANE_TXS_MAX, ORDINARY_LANE_BYTES_MAX),
        }

    def check_room(self, size: int, *, urgent: bool, signer: str = "") -> None:
        """There is room for one more of ``size`` bytes, and its signer holds no more than a share of it.

        Urgent ones have the whole mempool and are counted apart: what else a signer has waiting never stops
        its freeze. Without a signer there is no share, and nothing stops an urgent one.

        Raises:
            Refused: MEMPOOL_BUSY.
        """
        percent = 100 if urgent else ORDINARY_PERCENT
        txs = sum(tally.txs for tally in self._tallies.values())
        held = sum(tally.bytes for tally in self._tallies.values())
        free_txs = percent * self._txs_max // 100 - txs
        free_bytes = percent * self._bytes_max // 100 - held
        if not urgent and (free_txs < 1 or free_bytes < size):
            raise _busy(f"{txs} transactions of {held} bytes", f"room for {size} bytes more in {percent} %")
        if signer and not self._tallies[urgent].is_share(signer, size, free_txs, free_bytes):
            raise _busy(
                f"one more of {signer}",
                f"at most 1/{SHARE} of {free_txs} transactions and {free_bytes} bytes",
            )

    def take(self, waiting: Waiting) -> None:
        """Count one that was let in, or that was rechecked and still waits; hold it for the next block."""
        self._tallies[waiting.urgent].add(waiting.signer, len(waiting.tx))
        self._lanes[waiting.urgent].offer(waiting)

    def forget(self, tx: bytes) -> None:
        """Let go of an urgent one that a recheck refused."""
        self._lanes[True].remove(tx)

    def committed(self, txs: Iterable[bytes] = ()) -> None:
        """A block was committed: CometBFT rechecks all that still waits; so it is counted and held anew.

        Urgent ones stay held until they are in a block or no longer admitted: CometBFT, once full, may drop
        what passed CheckTx without a word to its sender.

        Args:
            txs: the block's.
        """
        for tally in self._tallies.values():
            tally.clear()
        urgent, ordinary = self._lanes[True], self._lanes[False]
        ordinary.clear()
        urgent.reopen()
        for tx in txs if len(urgent) else ():
            urgent.remove(tx)

    def select(
        self, offered: Sequence[Waiting], admits: Callable[[Waiting], bool], room: int, overhead: int
    ) -> list[bytes]:
        """Choose a block's transactions: the urgent ones, then one of each signer in turn.

        What does not fit is passed over. An urgent one that is not admitted is let go of.

        Args:
            offered: what CometBFT offers, in its order.
            admits: whether one may be in the block after those chosen before it.
            room: bytes of transactions the block holds.
            overhead: bytes each takes besides its own.
        """
        urgent, ordinary = self._lanes[True], self._lanes[False]
        everything = {
            waiting.tx: waiting for waiting in (*urgent.candidates(), *ordinary.candidates(), *offered)
        }
        chosen: list[bytes] = []
        for waiting in fair_order(everything.values()):
            size = len(waiting.tx) + overhead
            if size > room:
                continue
            if admits(waiting):
                chosen.append(waiting.tx)
                room -= size
            elif waiting.urgent:
                urgent.remove(waiting.tx)
        return chosen


def fair_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Order what waits: urgent ones first; among equals one of each signer in turn, each signer's in order.

    Signers take turns in the order of their first transaction. Time grows with the number of transactions.
    """
    lanes: tuple[dict[str, deque[Waiting]], ...] = ({}, {})
    for one in waiting:
        lanes[not one.urgent].setdefault(one.signer, deque()).append(one)
    ordered: list[Waiting] = []
    for lane in lanes:
        queues = list(lane.values())
        while queues:
            ordered += [queue.popleft() for queue in queues]
            queues = [queue for queue in queues if queue]
    return ordered


def _busy(got: str, expected: str) -> Refused:
    return Refused(
        Code.MEMPOOL_BUSY, got=got, expected=expected, todo="send it again later, or to another node"
    )
