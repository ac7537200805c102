"""Suspensions on the ledger: a node identity that an agent's policy names cuts it off for everybody.

Owns the words between the guard and the ledger. Signs nothing but suspensions.
Source: docs/spec/agents.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus import speaking
from consensus.reader import VerifiedReader
from consensus.sources import Rpc
from consensus.speaking import Speaker
from consensus.submit import Patience
from identity.signer import Signer
from ledger.bodies import suspension_body

NOT_AFTER_BLOCKS = 100
SUBMIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LedgerSuspensions:
    """Suspends as one node; ``rpc`` and ``reader`` are its own, for it runs beside the calls."""

    rpc: Rpc
    reader: VerifiedReader
    node: str
    signer: Signer

    def suspend(self, agent: str, code: int, evidence: str) -> int:
        """Suspend an agent; give the height since when.

        Raises:
            Refused: OBJECT_DUPLICATE where it is suspended; PERMISSION_DENIED where its policy does not name
                this node; the ledger's own refusal.
            VerificationFailed, EnvironmentFault: as ``speaking.say``.
        """
        speaker = Speaker(self.node, [self.signer], NOT_AFTER_BLOCKS)
        body = suspension_body(agent, code=code, evidence=evidence, reason="the guard of an MCP server")
        patience = Patience(timeout_seconds=SUBMIT_SECONDS)
        return speaking.say(self.rpc, self.reader, speaker, body, patience=patience).height
