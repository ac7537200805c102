"""An application driven as CometBFT drives it, in memory.

Owns ``Chain``: InitChain, then block after block through prepare, process, finalize and commit. Promises that
it never calls out of CometBFT's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from abci_app.application import ConclaveApplication
from ledger.limits import BLOCK_BYTES_MAX
from ledger.pb import abci_pb2 as pb
from state.store import Store
from tests.support.memory_state import MemoryStore
from tests.support.subjects import CHAIN_ID, genesis_bytes


def memory_application(store: MemoryStore | None = None) -> ConclaveApplication:
    """Give an application over a store in memory."""
    return ConclaveApplication(cast("Store", store or MemoryStore()))


class Chain:
    """One validator's application and the height it is at."""

    def __init__(self, application: ConclaveApplication | None = None) -> None:
        self.application = application or memory_application()
        self.height = 0
        self.time = 0

    def start(self) -> bytes:
        """Send InitChain; give its app hash."""
        request = pb.RequestInitChain(chain_id=CHAIN_ID, app_state_bytes=genesis_bytes(), initial_height=1)
        return self.application.init_chain(request).app_hash

    def check(self, tx: bytes, *, recheck: bool = False) -> int:
        """Send CheckTx; give its code."""
        kind = pb.RECHECK if recheck else pb.NEW
        return self.application.check_tx(pb.RequestCheckTx(tx=tx, type=kind)).code

    def prepare(self, txs: Sequence[bytes], max_tx_bytes: int = BLOCK_BYTES_MAX) -> list[bytes]:
        """Send PrepareProposal for the next height; give the transactions kept."""
        request = pb.RequestPrepareProposal(txs=txs, max_tx_bytes=max_tx_bytes, height=self.height + 1)
        return list(self.application.prepare_proposal(request).txs)

    def process(self, txs: Sequence[bytes]) -> bool:
        """Send ProcessProposal for the next height; tell whether it was accepted."""
        request = pb.RequestProcessProposal(txs=txs, height=self.height + 1)
        return self.application.process_proposal(request).status == pb.ResponseProcessProposal.ACCEPT

    def finalize(self, txs: Sequence[bytes]) -> pb.ResponseFinalizeBlock:
        """Send FinalizeBlock for the next height, at ``time``."""
        request = pb.RequestFinalizeBlock(txs=txs, height=self.height + 1)
        request.time.seconds = self.time
        return self.application.finalize_block(request)

    def commit(self) -> None:
        """Send Commit."""
        self.application.commit(pb.RequestCommit())
        self.height += 1

    def block(self, txs: Sequence[bytes]) -> pb.ResponseFinalizeBlock:
        """Finalize and commit the next block."""
        response = self.finalize(txs)
        self.commit()
        return response

    def info(self) -> tuple[int, bytes]:
        """Send Info; give height and app hash."""
        response = self.application.info(pb.RequestInfo())
        return response.last_block_height, response.last_block_app_hash

    def query(self, path: str, content: bytes, height: int = 0, *, prove: bool = False) -> pb.ResponseQuery:
        """Send Query."""
        return self.application.query(pb.RequestQuery(path=path, data=content, height=height, prove=prove))
