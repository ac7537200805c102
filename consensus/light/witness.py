"""Asking others whether they see the same chain.

Owns the comparison of a verified header with what witnesses show (light/detector.go). Promises to tell an
attack (a second header that also verifies from the same trust) from a witness that merely talks nonsense.
Never performs I/O: each witness is a function from heights to light blocks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from consensus.light.bisection import bisect, drive
from consensus.light.encoding import header_hash
from consensus.light.types import LightBlock, Options, Trusted
from ledger.errors import Code, EnvironmentFault, VerificationFailed

Witness = Callable[[int], LightBlock]


class Testimony(enum.Enum):
    """What one witness's answer means."""

    AGREES = "agrees"
    DIVERGES = "diverges"
    USELESS = "useless"


def compare(target: Trusted, ground: Trusted, options: Options, now_ns: int, witness: Witness) -> Testimony:
    """Compare ``target``, verified from ``ground``, with a witness's block of that height."""
    try:
        if header_hash(witness(target.height).header) == target.hash:
            return Testimony.AGREES
        other = drive(bisect(ground, target.height, options, now_ns, trace=[]), witness)
    except (VerificationFailed, EnvironmentFault):
        return Testimony.USELESS
    return Testimony.AGREES if other.hash == target.hash else Testimony.DIVERGES


def cross_check(
    target: Trusted, ground: Trusted, options: Options, now_ns: int, witnesses: Sequence[Witness]
) -> None:
    """Check that no witness proves another chain, and that, where there are any, one agrees.

    Raises:
        VerificationFailed: HEADERS_DIVERGED: two headers of one height verify, so validators misbehaved;
            NO_WITNESS_AGREES.
    """
    heard = [compare(target, ground, options, now_ns, witness) for witness in witnesses]
    if Testimony.DIVERGES in heard:
        raise VerificationFailed(
            Code.HEADERS_DIVERGED,
            got=f"witness {heard.index(Testimony.DIVERGES)} proves another header",
            expected=f"header {target.hash.hex()}",
            todo="stop: validators signed two chains; keep both headers as evidence",
            height=target.height,
        )
    if heard and Testimony.AGREES not in heard:
        raise VerificationFailed(
            Code.NO_WITNESS_AGREES,
            got=f"{len(heard)} witnesses, none with this header",
            expected="one that agrees",
            todo="check the witnesses' endpoints",
            height=target.height,
        )
