"""A node's answers, recorded and given again.

Owns the two ends: ``Recording`` passes a node's answers on and keeps them; ``Recorded`` gives those of a
file and nothing else. Promises that whoever reads through ``Recorded`` judges exactly as on a live node,
and that what was never asked for can be told. Believes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from consensus.answers import NodeStatus, QueryAnswer
from consensus.light.types import LightBlock, SignedHeader
from consensus.proof_file.form import Answer, ProofFile
from ledger import statekeys
from ledger.errors import Code, EnvironmentFault, VerificationFailed

if TYPE_CHECKING:
    from consensus.answers import BroadcastAnswer, TxAnswer, TxResult
    from consensus.rpc import Rpc


class _Silent:
    """The questions of ``consensus.rpc.Rpc`` that a reader of state never asks."""

    def broadcast_tx_sync(self, tx: bytes) -> BroadcastAnswer:
        """Take nothing."""
        self._refuse(tx)

    def tx(self, tx_hash: bytes) -> TxAnswer:
        """Know none."""
        self._refuse(tx_hash)

    def block_txs(self, height: int) -> tuple[bytes, ...]:
        """Know none."""
        self._refuse(height)

    def block_results(self, height: int) -> tuple[TxResult, ...]:
        """Know none."""
        self._refuse(height)

    def _refuse(self, got: object) -> NoReturn:
        raise EnvironmentFault(Code.RPC_REFUSED, got=got, expected="a question about headers or state")


class Recording(_Silent):
    """Passes on what ``rpc`` says of headers and state, and keeps it."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.blocks: dict[int, LightBlock] = {}
        self.answers: dict[bytes, Answer] = {}

    def status(self) -> NodeStatus:
        """Give what the node says of itself."""
        return self._rpc.status()

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``."""
        return self.light_block(height).signed_header

    def light_block(self, height: int) -> LightBlock:
        """Give the light block of ``height``."""
        if height not in self.blocks:
            self.blocks[height] = self._rpc.light_block(height)
        return self.blocks[height]

    def abci_query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Give a value with its proof."""
        answer = self._rpc.abci_query(path, data, height)
        if answer.code == 0 and answer.proof is not None:
            self.answers[data] = Answer(data, answer.value or None, answer.proof)
        return answer


class Recorded(_Silent):
    """Gives the answers of a file. ``asked`` are the keys that were asked for."""

    def __init__(self, file: ProofFile) -> None:
        self._file = file
        self._blocks = {block.height: block for block in file.blocks}
        self._answers = {answer.key: answer for answer in file.answers}
        self.asked: set[bytes] = set()

    def status(self) -> NodeStatus:
        """Give the newest block of the file."""
        newest = self._file.blocks[-1].header
        return NodeStatus(newest.chain_id, newest.height, newest.time_ns, catching_up=False)

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``."""
        return self.light_block(height).signed_header

    def light_block(self, height: int) -> LightBlock:
        """Give the light block of ``height``.

        Raises:
            VerificationFailed: PROOF_MISSING.
        """
        if height not in self._blocks:
            raise VerificationFailed(
                Code.PROOF_MISSING,
                got=f"no block of height {height}",
                expected=f"every block that is needed; the file goes from {self._file.root_height} to "
                f"{self._file.target_height}",
                todo="name a header of the file as the root of trust, or have it exported from yours",
                height=height,
            )
        return self._blocks[height]

    def abci_query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Give what the file says of a key.

        Raises:
            VerificationFailed: PROOF_MISSING.
        """
        del path
        answer = self._answers.get(data)
        if answer is None:
            raise VerificationFailed(
                Code.PROOF_MISSING,
                got="nothing in the file",
                expected="a value with its proof, or a proof of its absence",
                todo="have the proof exported again",
                key=statekeys.text(data),
            )
        self.asked.add(data)
        return QueryAnswer(0, "", data, answer.value or b"", height, answer.proof)
