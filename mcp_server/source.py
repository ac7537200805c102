"""The ledger as this server reaches it: a reader that verifies, and the node's word marked as one.

Promises that a state comes from ``VerifiedReader`` alone. Never signs, never sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from consensus.evidence import Evidence
from consensus.reader import VerifiedReader, View
from consensus.sources import Rpc
from consensus.trust_store import TrustRoot
from ledger import canonical, shape
from ledger.errors import Code, EnvironmentFault, Refused, caused
from ledger.receipt import code_of
from ledger.types import JsonObject

DRY_RUN_PATH = "/dry-run"
_ANSWERED = ("code", "name", "refusal")
_OF_PROPOSALS = ("requirement", "operation", "risk", "clusters", "missing", "approvers", "state")


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
        answer = self.rpc.abci_query(DRY_RUN_PATH, canonical.dump({"proposal": identifier}), 0)
        if answer.code:
            raise Refused(
                code_of(answer.code) or Code.QUERY_INVALID,
                got="a refusal",
                expected="an answer of the application",
            )
        try:
            return shape.fields(
                canonical.load(answer.value), "answer", required=_ANSWERED, optional=_OF_PROPOSALS
            )
        except Refused as refusal:
            raise caused(EnvironmentFault, Code.RPC_ANSWER_INVALID, refusal) from None
