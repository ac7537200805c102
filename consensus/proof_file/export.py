"""Making a proof file from what a node says.

Owns the collecting: the answers the question needs, the fewest headers that reach them from a root of
trust, and where the envelopes stand in their blocks as far as the node still has those. Promises that a
file is given only after it was judged like a stranger's. Source: docs/spec/proof-file.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consensus.answers import InclusionProof
from consensus.light.types import LightBlock
from consensus.proof_file.findings import Trail, ask
from consensus.proof_file.form import INCLUSIONS_MAX, Inclusion, Kind, ProofFile, Question, decode, encode
from consensus.proof_file.judge import Judged, judge
from consensus.proof_file.recorded import Recording
from consensus.reader import VerifiedReader
from consensus.trust_store import MemoryStore, TrustRoot
from ledger import statekeys
from ledger.errors import Code, EnvironmentFault
from ledger.types import sha256
from state.merkle import prove

if TYPE_CHECKING:
    from consensus.rpc import Rpc


@dataclass(frozen=True, slots=True)
class Exported:
    """A proof file's bytes, and what it proves."""

    content: bytes
    judged: Judged


def export(rpc: Rpc, root: TrustRoot, question: Question, target: int, now_ns: int) -> Exported:
    """Make a file that answers ``question`` by the header of ``target``.

    Args:
        rpc: the node, unverified; it must still have the state of ``target - 1``.
        root: what the file begins from; its height must not be above ``target``.
        question: what is asked.
        target: the height of the proving header.
        now_ns: the present.

    Raises:
        VerificationFailed, Refused: as ``judge``.
        EnvironmentFault: the node does not answer.
    """
    source = Recording(rpc)
    trails: tuple[Trail, ...] = ()
    if question.kind is not Kind.HEADERS:
        reader = VerifiedReader(source, MemoryStore(root), clock=lambda: now_ns)
        trails = ask(reader.at(target - 1), question).trails
    inclusions = tuple(_inclusions(rpc, source, root, trails, target))
    heights = {inclusion.height for inclusion in inclusions}
    heights |= {trail.final_height for trail in trails}
    file = ProofFile(
        chain_id=root.chain_id,
        question=question,
        blocks=_blocks(rpc, root, heights, target, now_ns),
        answers=tuple(answer for _, answer in sorted(source.answers.items())),
        inclusions=inclusions,
    )
    content = encode(file)
    return Exported(content, judge(decode(content), root, now_ns))


def _blocks(rpc: Rpc, root: TrustRoot, heights: set[int], target: int, now_ns: int) -> tuple[LightBlock, ...]:
    """Give the fewest blocks that lead from the root over the wanted heights to the target."""
    source = Recording(rpc)
    reader = VerifiedReader(source, MemoryStore(root), clock=lambda: now_ns)
    for height in [root.height, *sorted(h for h in heights if root.height < h < target), target]:
        try:
            reader.header(height)
        except EnvironmentFault as fault:
            # A pruned block in between makes the file say less, not wrong.
            if fault.code is not Code.RPC_REFUSED or height in (root.height, target):
                raise
    return tuple(block for _, block in sorted(source.blocks.items()))


def _inclusions(
    rpc: Rpc, source: Recording, root: TrustRoot, trails: tuple[Trail, ...], target: int
) -> Iterator[Inclusion]:
    heights = {voice.envelope: voice.height for trail in trails for voice in trail.voices}
    for identifier, height in sorted(heights.items())[:INCLUSIONS_MAX]:
        kept = source.answers.get(statekeys.envelope(identifier))
        if kept is None or kept.value is None or not root.height <= height <= target:
            continue
        try:
            txs = rpc.block_txs(height)
        except EnvironmentFault as fault:
            if fault.code is not Code.RPC_REFUSED:
                raise
            continue
        if kept.value in txs:
            index = txs.index(kept.value)
            aunts = prove([sha256(tx) for tx in txs], index)
            yield Inclusion(identifier, height, InclusionProof(len(txs), index, tuple(aunts)))
