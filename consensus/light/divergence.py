"""Where two chains part.

Owns the walk that keeps the blocks it verified, and the search for the last block on which two peers agree
(light/detector.go ``examineConflictingHeaderAgainstTrace``). Promises that both sides of what it finds were
verified from the same ground. Never performs I/O: each peer is a function from heights to light blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consensus.light.attack import AttackEvidence, accuse
from consensus.light.bisection import bisect, drive
from consensus.light.encoding import header_hash
from consensus.light.predicates import are_validators_of
from consensus.light.timestamp import format_time
from consensus.light.types import LightBlock, Options, Trusted
from ledger.errors import Code, VerificationFailed

Fetch = Callable[[int], LightBlock]


@dataclass(frozen=True, slots=True)
class Walked:
    """A finished walk: each verified block, and the same as it was shown, in order; the target is last."""

    verified: tuple[Trusted, ...]
    shown: tuple[LightBlock, ...]

    @property
    def target(self) -> Trusted:
        """What the walk was for."""
        return self.verified[-1]


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two blocks that both verify from one.

    Attributes:
        ground: the last block of both, as believed.
        common: the same block as the source showed it, its validators verified.
        trace: the source's blocks from there on; the last contradicts ``conflicting``.
        conflicting: the other side's block.
    """

    ground: Trusted
    common: LightBlock
    trace: tuple[LightBlock, ...]
    conflicting: LightBlock

    def evidence(self) -> AttackEvidence:
        """Give the evidence against ``conflicting``, the source held to be right."""
        return accuse(self.conflicting, self.trace[-1], self.common)


def walk(ground: Trusted, height: int, options: Options, now_ns: int, fetch: Fetch) -> Walked:
    """Verify ``height`` from ``ground`` and keep what was shown on the way [LCV-FUNC-MAIN.2].

    Raises:
        VerificationFailed: as ``bisect``; whatever ``fetch`` raises passes through.
    """
    seen: dict[int, LightBlock] = {}
    trace: list[Trusted] = []

    def keep(wanted: int) -> LightBlock:
        seen[wanted] = fetch(wanted)
        return seen[wanted]

    drive(bisect(ground, height, options, now_ns, trace=trace), keep)
    return Walked(tuple(trace), tuple(seen[trusted.height] for trusted in trace))


@dataclass(frozen=True, slots=True)
class Judging:
    """How and when the walks of one examination are judged."""

    options: Options
    now_ns: int


def examine(
    ground: Trusted, trace: Sequence[LightBlock], claimed: LightBlock, source: Fetch, judging: Judging
) -> Divergence:
    """Find where ``source``, which shows ``claimed``, leaves a trace that was verified from ``ground``.

    Source: ``CreateEvidenceForPeer`` of [LCD-FUNC-DETECTOR.2]; what is found is [CMBC-LC-ATTACK-EVIDENCE.1].

    Args:
        ground: what both sides begin from.
        trace: the other side's blocks above it, ascending, verified each on the ground of the one before.
        claimed: the source's block that differs: of the height of the last of ``trace``, or, where the source
            says its chain has not got so far, of a lower height and no earlier time.
        source: gives the source's other blocks.
        judging: options and the present.

    Raises:
        VerificationFailed: the source's blocks do not verify, or nothing differs (HEADER_MALFORMED).
        EnvironmentFault: whatever ``source`` raises.
    """
    believed = ground
    common: LightBlock | None = None
    for block in trace:
        height = min(block.height, claimed.height)
        if height < block.height and block.header.time_ns > claimed.header.time_ns:
            break
        if height <= believed.height:
            last = common or _common(ground, source)
            return Divergence(believed, last, (last,), block)
        shown = claimed if height == claimed.height else source(height)
        walked = _towards(believed, shown, source, judging)
        if walked.target.hash != header_hash(block.header):
            return Divergence(believed, common or _common(ground, source), walked.shown, block)
        believed, common = walked.target, shown
    raise VerificationFailed(
        Code.HEADER_MALFORMED,
        got=f"height {claimed.height}, {format_time(claimed.header.time_ns)}",
        expected="a block that contradicts the other side's",
    )


def _towards(believed: Trusted, shown: LightBlock, source: Fetch, judging: Judging) -> Walked:
    def fetch(height: int) -> LightBlock:
        return shown if height == shown.height else source(height)

    return walk(believed, shown.height, judging.options, judging.now_ns, fetch)


def _common(ground: Trusted, source: Fetch) -> LightBlock:
    block = source(ground.height)
    digest = header_hash(block.header)
    if digest != ground.hash:
        raise VerificationFailed(
            Code.COMMIT_MISMATCH, got=digest, expected=ground.hash.hex(), height=ground.height
        )
    are_validators_of(block.validators, block.header)
    return block
