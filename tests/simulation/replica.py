"""One simulated validator: the real application over a store that outlives it, a mempool, and crashes.

Owns what CometBFT does around an application: the handshake with replay, the mempool with its rechecks, and
the order of the calls. Promises that a crash loses exactly what a process loses: everything but its store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from abci_app.application import ConclaveApplication
from abci_app.machine.block import apply_block
from ledger.pb import abci_pb2 as pb
from state.batch import Committed, Staged
from state.store import Store
from tests.support.application import Chain
from tests.support.memory_state import MemoryStore

PROTOCOLS = dict.fromkeys((1, 2, 3), apply_block)
"""Three versions of the rules that are alike: what changes is who says so and when."""
CRASHES = ("before finalize", "after finalize", "before the write", "after the write", "after commit")


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided block: its transactions, its time in seconds, and the one answer all replicas must give."""

    txs: tuple[bytes, ...]
    time: int
    response: pb.ResponseFinalizeBlock


class Crashed(Exception):
    """The replica's process ends here."""


def _reach(point: str, crash: str) -> None:
    """Die at ``point`` if that is where the ``crash`` is."""
    if point == crash:
        raise Crashed


class CrashingStore:
    """A store whose process may die right before or right after the one write."""

    def __init__(self, inner: Store | MemoryStore) -> None:
        self._inner = inner
        self.crash = ""
        self.staged: Staged | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, key: bytes) -> bytes | None:
        """Give a committed value."""
        return self._inner.get(key)

    def commit(self, staged: Staged) -> Committed:
        """Write, unless the process dies before; dying after, nobody hears of it."""
        _reach("before the write", self.crash)
        version = self._inner.commit(staged)
        self.staged = staged
        _reach("after the write", self.crash)
        return version


class Replica:
    """A validator that is up or down. ``folder`` None keeps its store in memory."""

    def __init__(self, genesis: pb.RequestInitChain, folder: Path | None) -> None:
        self._genesis = genesis
        self._folder = folder
        self._disk: Store | MemoryStore = MemoryStore() if folder is None else Store.open(folder)
        self.mempool: dict[bytes, None] = {}
        self.store = CrashingStore(self._disk)
        self.chain: Chain | None = None

    @property
    def up(self) -> Chain:
        """The running application."""
        assert self.chain is not None, "a replica that is down was asked"
        return self.chain

    def close(self) -> None:
        """Release the store."""
        self._disk.close()

    def die(self) -> None:
        """Lose everything but the store."""
        self.chain, self.mempool = None, {}
        if self._folder is not None:
            self._disk.close()

    def start(self, blocks: Sequence[Decided]) -> None:
        """Come up as CometBFT brings an application up: Info, InitChain at height 0, then what it missed."""
        if self._folder is not None:
            self._disk.close()
            self._disk = Store.open(self._folder)
        self.store = CrashingStore(self._disk)
        self.chain = chain = Chain(ConclaveApplication(cast("Store", self.store), protocols=PROTOCOLS))
        chain.height, app_hash = chain.info()
        if chain.height == 0:
            chain.application.init_chain(self._genesis)
        else:
            assert app_hash == blocks[chain.height - 1].response.app_hash, "another state came back"
        for block in blocks[chain.height :]:
            chain.time = block.time
            assert chain.block(block.txs) == block.response, f"replay of height {chain.height} differs"

    def offer(self, tx: bytes) -> int:
        """CheckTx; what passes waits in the mempool."""
        code = self.up.check(tx)
        if code == 0:
            self.mempool[tx] = None
        return code

    def execute(self, txs: Sequence[bytes], time: int, crash: str) -> pb.ResponseFinalizeBlock | None:
        """FinalizeBlock and Commit, with a ``crash`` on the way or none; None where it never answered."""
        response = None
        self.up.time = time
        try:
            _reach("before finalize", crash)
            response = self.up.finalize(txs)
            _reach("after finalize", crash)
            self.store.crash = crash
            self.up.commit()
            _reach("after commit", crash)
        except Crashed:
            self.die()
        else:
            self._update_mempool(txs)
        return response

    def _update_mempool(self, txs: Sequence[bytes]) -> None:
        """Forget what is in the block and ask again about the rest, as the mempool does after each commit."""
        for tx in txs:
            self.mempool.pop(tx, None)
        for tx in list(self.mempool):
            if self.up.check(tx, recheck=True) != 0:
                del self.mempool[tx]
