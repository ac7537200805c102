"""Anchors on the ledger: a node identity says how far its audit has come.

Owns the words between the audit and the ledger. Promises that an anchor counts only once the ledger's record
of it is proven or its receipt is, that one that is there already is not sent again, and that a ledger which
knows more of this log than the log holds is an alarm. Signs nothing but anchors.
Source: docs/spec/agents.md §3.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus import agent_reader
from consensus.reader import VerifiedReader, check_fresh
from consensus.sources import Rpc
from consensus.speaking import Speaker, sealed
from consensus.submit import Patience, submit
from identity.signer import Signer
from ledger.bodies import anchor_body
from ledger.errors import Code, VerificationFailed

NOT_AFTER_BLOCKS = 100
SUBMIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LedgerAnchors:
    """Anchors by one node; ``rpc`` and ``reader`` are its own, for it runs beside the calls."""

    rpc: Rpc
    reader: VerifiedReader
    node: str
    signer: Signer

    def anchor(self, log: str, count: int, head: str) -> int:
        """Anchor record ``count`` of ``log``; give the height since which the ledger has it.

        Raises:
            VerificationFailed: AUDIT_CUT where the ledger has a later anchor, AUDIT_FORKED where it has
                another head; and as ``submit``.
            Refused: the ledger's own refusal: SIGNER_UNKNOWN, KEY_NOT_OF_SIGNER, …
            EnvironmentFault: as ``submit``.
        """
        view = self.reader.at()
        check_fresh(view)
        known = agent_reader.anchor_of(view, self.node, log).value
        if known is not None and known.count >= count:
            if (known.count, known.head) == (count, head):
                return known.height
            raise VerificationFailed(
                Code.AUDIT_CUT if known.count > count else Code.AUDIT_FORKED,
                got=f"record {count} with hash {head}",
                expected=f"record {known.count} with hash {known.head}, anchored at height {known.height}",
                todo="another server writes this log, or it was cut: see conclave audit verify",
                log=log,
            )
        speaker = Speaker(self.node, [self.signer], NOT_AFTER_BLOCKS)
        envelope = sealed(view, speaker, anchor_body(log, count, head))
        return submit(
            self.rpc, self.reader, envelope, patience=Patience(timeout_seconds=SUBMIT_SECONDS)
        ).height
