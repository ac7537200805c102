"""Suspensions on the ledger: a node identity that an agent's policy names cuts it off for everybody.

Owns the words between the guard and the ledger. Signs nothing but suspensions.
Source: docs/spec/agents.md §2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from consensus import agent_reader, speaking
from consensus.reader import VerifiedReader
from consensus.sources import Rpc
from consensus.speaking import Speaker
from consensus.submit import Patience
from identity.signer import Signer
from ledger.bodies import suspension_body
from ledger.errors import Code, Refused

NOT_AFTER_BLOCKS = 100
SUBMIT_SECONDS = 30.0
LOOKS_MAX = 5
"""Looks for a suspension that a node says is there already, a second apart: it is believed with proof."""


@dataclass(frozen=True, slots=True)
class LedgerSuspensions:
    """Suspends as one node; ``rpc`` and ``reader`` are its own, for it runs beside the calls."""

    rpc: Rpc
    reader: VerifiedReader
    node: str
    signer: Signer
    sleep: Callable[[float], None] = time.sleep

    def suspend(self, agent: str, code: int, evidence: str) -> int:
        """Suspend an agent; give the height since when.

        Raises:
            Refused: OBJECT_DUPLICATE where a node says it is suspended and that is not proven;
                PERMISSION_DENIED where its policy does not name this node; the ledger's own refusal.
            VerificationFailed, EnvironmentFault: as ``speaking.say``.
        """
        speaker = Speaker(self.node, [self.signer], NOT_AFTER_BLOCKS)
        body = suspension_body(agent, code=code, evidence=evidence, reason="the guard of an MCP server")
        patience = Patience(timeout_seconds=SUBMIT_SECONDS)
        try:
            return speaking.say(self.rpc, self.reader, speaker, body, patience=patience).height
        except Refused as refused:
            since = self._since(agent) if refused.code is Code.OBJECT_DUPLICATE else None
            if since is None:
                raise
            return since

    def _since(self, agent: str) -> int | None:
        """Give the height of a suspension that is there, proven; None where it does not show."""
        for look in range(LOOKS_MAX):
            if look:
                self.sleep(1.0)
            found = agent_reader.suspension_of(self.reader.at(), agent).value
            if found is not None:
                return found.height
        return None
