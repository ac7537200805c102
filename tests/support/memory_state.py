"""State in memory for tests of the machine and the application.

Owns ``MemoryState`` (the machine over a dict, block by block) and ``MemoryStore`` (what the application needs
of ``state.store.Store``, without a disk). Promises the store's rule: whole versions only.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from abci_app.check import Constants, open_envelope
from abci_app.genesis import genesis_state
from abci_app.machine.block import Block, BlockResult, TxResult, apply_block
from ledger.pb.proof_pb2 import CommitmentProof
from ledger.records import Parameters
from state.batch import Committed, Staged
from state.reader import Overlay
from state.tree import Tree
from tests.support.subjects import CHAIN_ID, genesis_bytes

CONSTANTS = Constants(CHAIN_ID, Parameters(image_digest_required=True, proposal_ttl_blocks=50))


@functools.cache
def _genesis() -> dict[bytes, bytes]:
    """Give the first state; judging its keys takes 20 ms, so it is made once."""
    return genesis_state(genesis_bytes(), CHAIN_ID)


class MemoryState:
    """A ledger at some height; blocks are applied to it."""

    def __init__(self, content: dict[bytes, bytes] | None = None) -> None:
        self.content = dict(_genesis() if content is None else content)
        self.height = 0
        self.time = 0
        self.constants = CONSTANTS
        self.result: BlockResult | None = None

    def get(self, key: bytes) -> bytes | None:
        """Give the value of ``key``."""
        return self.content.get(key)

    def apply(self, txs: Sequence[bytes], height: int | None = None) -> list[TxResult]:
        """Apply the next block, or the one of a later ``height``, for good."""
        self.height = self.height + 1 if height is None else height
        overlay = Overlay(self)
        block = Block(self.height, self.time, txs)
        self.result = apply_block(
            overlay, block, self.constants, lambda tx: open_envelope(tx, self.constants, overlay)
        )
        for key, value in overlay.changes().items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value
        return list(self.result.results)

    def root(self) -> bytes:
        """Give the root of the tree over the whole content."""
        return Tree.build(self.content.items()).root


class MemoryStore:
    """What ``ConclaveApplication`` asks of its store."""

    def __init__(self) -> None:
        self.committed = Committed()
        self.content: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Give the committed value of ``key``."""
        return self.content.get(key)

    def get_at(self, key: bytes, height: int) -> bytes | None:
        """Give the committed value of ``key``; only the newest height is kept."""
        assert height == self.committed.height
        return self.content.get(key)

    def prove_at(self, key: bytes, height: int) -> tuple[bytes | None, CommitmentProof]:
        """Give the value of ``key`` and its proof."""
        assert height == self.committed.height
        proof = self.committed.tree.prove(key, self.content.__getitem__)
        return self.content.get(key), proof

    def commit(self, staged: Staged) -> Committed:
        """Take a version as a whole."""
        assert staged.parent_app_hash == self.committed.app_hash
        for key, value in staged.changes.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value
        self.committed = staged.version
        return self.committed

    def close(self) -> None:
        """Nothing is open."""
