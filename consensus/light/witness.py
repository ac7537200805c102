"""Asking others whether they see the same chain.

Owns the comparison of a verified header with what witnesses show (light/detector.go). Promises to tell an
attack (a second header that also verifies from the same trust) from a witness that merely talks nonsense or
has not got so far. Never performs I/O: each witness is a function from heights to light blocks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consensus.light.bisection import bisect, drive
from consensus.light.encoding import header_hash
from consensus.light.types import LightBlock, Options, Trusted
from ledger.errors import Code, EnvironmentFault, VerificationFailed

Witness = Callable[[int], LightBlock]


class Testimony(enum.Enum):
    """What one witness's answer means."""

    AGREES = "agrees"
    DIVERGES = "diverges"
    BEHIND = "behind"
    SYNCING = "syncing"
    """Behind, and it says itself that it is catching up."""
    USELESS = "useless"


@dataclass(frozen=True, slots=True)
class Heard:
    """One witness's answer.

    Attributes:
        testimony: what it means.
        block: the witness's block that diverges.
        cause: why it is of no use.
    """

    testimony: Testimony
    block: LightBlock | None = None
    cause: VerificationFailed | EnvironmentFault | None = None


def hear(target: Trusted, ground: Trusted, options: Options, now_ns: int, witness: Witness) -> Heard:
    """Compare ``target``, verified from ``ground``, with a witness's block [LCD-FUNC-DETECTOR.2].

    A witness that refuses the height is BEHIND until it shows what it has: see ``hear_newest``.
    """
    try:
        block = witness(target.height)
    except EnvironmentFault as fault:
        behind = fault.code is Code.RPC_REFUSED
        return Heard(Testimony.BEHIND if behind else Testimony.USELESS, cause=fault)
    except VerificationFailed as lie:
        return Heard(Testimony.USELESS, cause=lie)
    return _judged(block, target, ground, options, now_ns, witness)  # the one block is not asked for twice


def hear_newest(
    newest: LightBlock, target: Trusted, ground: Trusted, options: Options, now_ns: int, witness: Witness
) -> Heard:
    """Compare ``target`` with the newest block of a witness whose chain has not reached its height.

    A chain whose lower block is no older contradicts the target: times only grow (a forward lunatic attack).
    """
    if newest.header.time_ns < target.header.time_ns or newest.height <= ground.height:
        return Heard(Testimony.BEHIND)
    return _judged(newest, target, ground, options, now_ns, witness)


def _judged(
    block: LightBlock, target: Trusted, ground: Trusted, options: Options, now_ns: int, witness: Witness
) -> Heard:
    if header_hash(block.header) == target.hash:
        return Heard(Testimony.AGREES)

    def fetch(height: int) -> LightBlock:
        return block if height == block.height else witness(height)

    try:
        drive(bisect(ground, block.height, options, now_ns, trace=[]), fetch)
    except (VerificationFailed, EnvironmentFault) as error:
        return Heard(Testimony.USELESS, cause=error)
    return Heard(Testimony.DIVERGES, block=block)


def cross_check(
    target: Trusted, ground: Trusted, options: Options, now_ns: int, witnesses: Sequence[Witness]
) -> None:
    """Check that no witness proves another chain, and that, where there are any, one agrees.

    Source: [LCD-FUNC-DETECTOR.2]; what it is for is [LCD-DIST-INV-STORE.1], [LCD-DIST-TERM-ATTACK.1].

    Raises:
        VerificationFailed: HEADERS_DIVERGED: two headers of one height verify, so validators misbehaved;
            NO_WITNESS_AGREES.
    """
    heard = [hear(target, ground, options, now_ns, witness).testimony for witness in witnesses]
    if Testimony.DIVERGES in heard:
        raise diverged(target, f"witness {heard.index(Testimony.DIVERGES)}")
    if heard and Testimony.AGREES not in heard:
        raise nobody_agrees(target.height, f"{len(heard)} witnesses, none with this header")


def diverged(target: Trusted, witness: str) -> VerificationFailed:
    """Make the refusal of a header that ``witness`` proves another for."""
    return VerificationFailed(
        Code.HEADERS_DIVERGED,
        got=f"{witness} proves another header",
        expected=f"header {target.hash.hex()}",
        todo="stop: validators signed two chains; keep both headers as evidence",
        height=target.height,
    )


def nobody_agrees(height: int, got: str) -> VerificationFailed:
    """Make the refusal of a header that no witness confirms."""
    return VerificationFailed(
        Code.NO_WITNESS_AGREES,
        got=got,
        expected="one that agrees",
        todo="check the witnesses' endpoints",
        height=height,
    )
