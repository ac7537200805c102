"""The one way by which an agent's word reaches the ledger.

Owns the signing keys of the agents this server speaks for, and the order: ask the node, sign, send, prove.
Promises that an agent's envelope is signed by its own key alone, that nothing is signed which a node says
would be refused, and that only a proven receipt is told. It makes proposals, withdrawals and observations;
an approval cannot be said through it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consensus import speaking
from consensus.reader import VerifiedReader
from consensus.sources import Rpc
from consensus.speaking import Answer, Speaker
from consensus.submit import Patience, ProvenReceipt
from ledger import canonical
from ledger.bodies import proposal_body
from ledger.envelope import AnySigningKey
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import JsonObject

SUBMIT_SECONDS = 30.0
NOT_AFTER_BLOCKS = 100
"""A model that was not answered asks again: what it said before shall not be included an hour later."""
NODE = "the answering node"


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal the ledger took, and what the node said of it before."""

    proven: ProvenReceipt
    answer: Answer | None


class Proposer:
    """Speaks for agents.

    Args:
        rpc: where to send; unverified.
        reader: verifies what became of it.
        keys: by DID, the keys each agent signs with.
    """

    def __init__(self, rpc: Rpc, reader: VerifiedReader, keys: Mapping[str, Sequence[AnySigningKey]]) -> None:
        self._rpc, self._reader, self._keys = rpc, reader, dict(keys)

    def speaks_for(self, principal: str | None) -> bool:
        """Whether it holds a key of this agent."""
        return principal in self._keys

    def propose(self, principal: str, change: JsonObject, *, reason: str, against: int | None) -> Proposed:
        """Propose a change as an agent.

        Raises:
            Refused: TOOL_NOT_ALLOWED; the refusal that the proposal would meet, or met.
            VerificationFailed, EnvironmentFault: as ``speaking.say``.
        """
        body = functools.partial(proposal_body, change, reason=reason, against=against)
        answer: Answer | None = None
        try:
            question: JsonObject = {"signer": principal, "body": canonical.load(body())}
            answer = speaking.dry_run(self._rpc, question, NODE)
        except EnvironmentFault:
            # A node that makes no dry run is no obstacle: the ledger judges, the people who approve look.
            pass
        if answer is not None and answer.refusal is not None:
            raise answer.refusal
        made = body(dry_run=None if answer is None else answer.digest)
        return Proposed(self.say(principal, made), answer)

    def say(self, principal: str, body: bytes) -> ProvenReceipt:
        """Sign ``body`` as an agent, send it and give the proven receipt.

        Raises:
            Refused: TOOL_NOT_ALLOWED; the ledger's own refusal.
            VerificationFailed, EnvironmentFault: as ``speaking.say``.
        """
        keys = self._keys.get(principal)
        if keys is None:
            raise not_spoken_for()
        speaker = Speaker(principal, keys, NOT_AFTER_BLOCKS)
        patience = Patience(timeout_seconds=SUBMIT_SECONDS)
        return speaking.say(self._rpc, self._reader, speaker, body, patience=patience)


def not_spoken_for() -> Refused:
    """Make the refusal of who has no key here."""
    return Refused(
        Code.TOOL_NOT_ALLOWED,
        got="a caller whose signing key this server does not hold",
        expected="an agent this server speaks for",
        todo="an operator starts the server with the agent's key; see docs/guides/mcp.md",
    )
