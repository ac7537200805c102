"""The one way by which an agent's word reaches the ledger.

Owns the signing keys of the agents this server speaks for, and the order: judge by the agent's policy, ask
the node, sign, send, prove. Promises that an agent's envelope is signed by its own key alone, that nothing is
signed which reaches outside its agent's policy or which a node says would be refused, that only a proven
receipt is told, and that no text of a node's comes back. It makes proposals, withdrawals and observations; an
approval cannot be said through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consensus import agent_reader, speaking
from consensus.reader import VerifiedReader, check_fresh
from consensus.sources import Rpc
from consensus.speaking import Answer, Speaker
from consensus.submit import Patience, ProvenReceipt
from ledger import canonical
from ledger.bodies import proposal_body
from ledger.envelope import AnySigningKey
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import ActionKind, JsonObject
from mcp_server.guard.reach import Reach, check_reach
from mcp_server.node_words import in_our_words

SUBMIT_SECONDS = 30.0
NOT_AFTER_BLOCKS = 100
"""A model that was not answered asks again: what it said before shall not be included an hour later."""
NODE = "the answering node"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A change an agent asks for.

    Attributes:
        tool: by which it asks.
        change: as the body of a proposal holds it.
        reach: what it would reach.
        reason: why.
        against: the newest revision it was made for; 0 for a new release.
    """

    tool: str
    change: JsonObject
    reach: Reach
    reason: str
    against: int

    def body(self, dry_run: str | None = None) -> bytes:
        """Give the body of the proposal."""
        return proposal_body(self.change, reason=self.reason, against=self.against, dry_run=dry_run)


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

    def rehearse(self, principal: str, wanted: Wanted) -> Answer | None:
        """Judge a change by the agent's policy and have a node try it; None where the node tries nothing.

        Raises:
            Refused: TOOL_NOT_ALLOWED, ARGUMENT_NOT_ALLOWED; by its code the refusal that it would meet.
            VerificationFailed, EnvironmentFault: as ``View.read``.
        """
        self._check_policy(principal, wanted)
        try:
            question: JsonObject = {"signer": principal, "body": canonical.load(wanted.body())}
            answer = speaking.dry_run(self._rpc, question, NODE)
        except EnvironmentFault:
            # A node that makes no dry run is no obstacle: the ledger judges, the people who approve look.
            return None
        except Refused as refusal:
            raise in_our_words(refusal) from None
        if answer.refusal is not None:
            raise in_our_words(answer.refusal)
        return answer

    def propose(self, principal: str, wanted: Wanted) -> Proposed:
        """Propose a change as an agent.

        Raises:
            Refused: as ``rehearse``; by its code the ledger's own.
            VerificationFailed, EnvironmentFault: as ``speaking.say``.
        """
        answer = self.rehearse(principal, wanted)
        made = wanted.body(None if answer is None else answer.digest)
        return Proposed(self._say(principal, made), answer)

    def say(self, principal: str, body: bytes) -> ProvenReceipt:
        """Sign ``body``, which is no proposal, as an agent, send it and give the proven receipt.

        Raises:
            Refused: TOOL_NOT_ALLOWED; by its code the ledger's own refusal.
            VerificationFailed, EnvironmentFault: as ``speaking.say``.
        """
        if canonical.load(body).get("kind") == ActionKind.PROPOSAL.value:
            raise ValueError("a proposal is judged by its agent's policy first: propose")
        return self._say(principal, body)

    def _say(self, principal: str, body: bytes) -> ProvenReceipt:
        keys = self._keys.get(principal)
        if keys is None:
            raise not_spoken_for()
        speaker = Speaker(principal, keys, NOT_AFTER_BLOCKS)
        patience = Patience(timeout_seconds=SUBMIT_SECONDS)
        try:
            return speaking.say(self._rpc, self._reader, speaker, body, patience=patience)
        except Refused as refusal:
            # Not even a proven result proves the text beside its code.
            raise in_our_words(refusal) from None

    def _check_policy(self, principal: str, wanted: Wanted) -> None:
        """Judge what becomes of a proposal by the newest policy, at the last moment before it is signed."""
        view = self._reader.at()
        check_fresh(view)
        found = agent_reader.policy_of(view, principal).value
        tool = None if found is None else found.policy.tool(wanted.tool)
        if tool is None:
            raise Refused(
                Code.TOOL_NOT_ALLOWED,
                got="a tool that the agent's policy does not name",
                expected="a tool of the agent's policy",
                todo="ask an operator for a policy",
            )
        check_reach(wanted.reach, tool)


def not_spoken_for() -> Refused:
    """Make the refusal of who has no key here."""
    return Refused(
        Code.TOOL_NOT_ALLOWED,
        got="a caller whose signing key this server does not hold",
        expected="an agent this server speaks for",
        todo="an operator starts the server with the agent's key; see docs/guides/mcp.md",
    )
