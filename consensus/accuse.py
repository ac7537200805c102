"""Telling both sides of a divergence about each other.

Owns the making of the evidence against either side and its sending to every other peer (light/detector.go
``handleConflictingHeaders``). Promises that a peer that does not answer changes nothing: sending is best
effort, bounded, and its outcome is written down. Never decides who is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from consensus.incident import Sending
from consensus.light.attack import AttackEvidence, evidence_json
from consensus.light.divergence import Divergence, Fetch, Judging, Walked, examine
from consensus.light.encoding import header_hash
from consensus.light.types import LightBlock, Trusted
from ledger.errors import Code, ConclaveError, EnvironmentFault, VerificationFailed
from ledger.types import JsonObject

SENDS_MAX = 3
"""A full node judges a block only once it keeps its commit: one block later."""
SEND_PAUSE_SECONDS = 1.0
ACCEPTED, WITHHELD = "accepted", "withheld"
"""What became of a piece of evidence, else the code of its refusal."""
SENDING_SECONDS_MAX = 60.0
"""After that nobody else is told: the evidence is kept in the incident."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The time of waits: seconds that only grow, and how to let some pass."""

    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


class Receiver(Protocol):
    """Who takes evidence."""

    @property
    def endpoint(self) -> str:
        """Its endpoint."""
        ...

    def broadcast_evidence(self, evidence: JsonObject) -> bytes:
        """Offer evidence; gives its hash.

        Raises:
            EnvironmentFault: RPC_REFUSED where the node does not find it valid.
        """
        ...


@dataclass(frozen=True, slots=True)
class Side:
    """One of two peers that contradict each other: its endpoint, and its blocks within a bound."""

    endpoint: str
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class Accusation:
    """A divergence seen from one side.

    Attributes:
        against: the endpoint of the side accused.
        divergence: where the two part.
        source: the side held to be right.
    """

    against: str
    divergence: Divergence
    source: Side

    def evidence(self) -> AttackEvidence:
        """Give the evidence."""
        return self.divergence.evidence()

    def renewed(self) -> Accusation:
        """Give the same with the source's present commit: of the newest height it may still change."""
        trace = self.divergence.trace
        block = self.source.fetch(trace[-1].height)
        if header_hash(block.header) != header_hash(trace[-1].header):
            return self
        return replace(self, divergence=replace(self.divergence, trace=(*trace[:-1], block)))


def accusations(
    ground: Trusted, walked: Walked, claimed: LightBlock, sides: tuple[Side, Side], judging: Judging
) -> tuple[Accusation, ...]:
    """Give what can be proven against the primary, then against the witness.

    Args:
        ground: what both sides begin from.
        walked: the primary's verified blocks.
        claimed: the witness's block that diverges.
        sides: primary and witness.
        judging: options and the present.
    """
    primary, witness = sides
    try:
        found = examine(ground, walked.shown, claimed, witness.fetch, judging)
    except (VerificationFailed, EnvironmentFault):
        return ()
    made = [Accusation(primary.endpoint, found, witness)]
    try:
        back = examine(found.ground, found.trace, found.conflicting, primary.fetch, judging)
    except (VerificationFailed, EnvironmentFault):
        return tuple(made)
    return (*made, Accusation(witness.endpoint, back, primary))


def send(
    made: Sequence[Accusation], peers: Sequence[Receiver], pace: Pace
) -> tuple[tuple[Sending, ...], tuple[Accusation, ...]]:
    """Offer each piece of evidence to every peer but the one it accuses; an honest one keeps what is true.

    Evidence that names nobody (amnesia) is withheld: a CometBFT node takes it, but once it has read it back
    from its own store it finds it invalid, and so does everybody its every proposal.

    Returns:
        what became of each, and the accusations as they were last sent.
    """
    deadline = pace.monotonic() + SENDING_SECONDS_MAX
    sent: list[Sending] = []
    final: list[Accusation] = []
    for accusation in made:
        last = accusation
        for peer in peers:
            if peer.endpoint != accusation.against:
                answer, last = _offer(last, peer, pace, deadline)
                sent.append(Sending(accusation.against, peer.endpoint, answer))
        final.append(last)
    return tuple(sent), tuple(final)


def _offer(accusation: Accusation, peer: Receiver, pace: Pace, deadline: float) -> tuple[str, Accusation]:
    answer = Code.TIMEOUT.name
    for attempt in range(SENDS_MAX):
        if pace.monotonic() >= deadline:
            break
        try:
            if attempt:
                pace.pause(SEND_PAUSE_SECONDS)
                accusation = accusation.renewed()
            evidence = accusation.evidence()
            if not evidence.byzantine:
                return WITHHELD, accusation
            peer.broadcast_evidence(evidence_json(evidence))
        except ConclaveError as error:
            answer = error.code.name
            if error.code is not Code.RPC_REFUSED:
                break
        else:
            return ACCEPTED, accusation
    return answer, accusation
