"""The ledger as this server reaches it: a reader that verifies, and the node's word marked as one.

Promises that a state comes from ``VerifiedReader`` alone. Never signs, never sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from consensus import speaking
from consensus.evidence import Evidence
from consensus.reader import VerifiedReader, View
from consensus.sources import Rpc
from consensus.trust_store import TrustRoot
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class Source:
    """A ledger.

    Attributes:
        rpc: the node, or a panel of nodes; unverified.
        reader: reads through it with proof.
        root: the root of trust, from which proof files begin.
        digest_key: random, one for a process: of the digests in place of secrets.
        evidence: envelopes judged before; bounded.
    """

    rpc: Rpc
    reader: VerifiedReader
    root: TrustRoot
    digest_key: bytes
    evidence: Evidence = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", Evidence(self.root.chain_id))

    def view(self, height: int | None = None) -> View:
        """Give the newest proven state, or that of ``height``.

        Raises:
            Refused: HEIGHT_NOT_AVAILABLE for a height to come, or one whose state is gone.
            VerificationFailed, EnvironmentFault: as ``VerifiedReader.at``.
        """
        if height is None:
            return self.reader.at()
        newest = self.reader.newest_height() - 1
        if height > newest:
            raise Refused(
                Code.HEIGHT_NOT_AVAILABLE, got=height, expected=f"1 … {newest}", todo="leave out `at`"
            )
        try:
            return self.reader.at(height)
        except EnvironmentFault as fault:
            if fault.code is not Code.RPC_REFUSED:
                raise
            raise Refused(
                Code.HEIGHT_NOT_AVAILABLE,
                got=height,
                expected="a height the node still has",
                todo="leave out `at`, or name a later one",
            ) from None

    def ask(self, identifier: str) -> JsonObject:
        """Give what the node says a proposal still needs (docs/spec/ledger.md §4): its word, not a proof.

        Raises:
            Refused: what the node's application answers.
            EnvironmentFault: RPC_ANSWER_INVALID, or the node does not answer.
        """
        return speaking.ask(self.rpc, {"proposal": identifier})
