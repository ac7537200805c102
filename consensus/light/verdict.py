"""The three answers of verification.

Owns ``Verdict``: verified, not enough trust (ask for a nearer block), or a lie. Keeping the second apart from
the third is what makes skipping safe: neither is ever mistaken for the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.light.types import Trusted
from ledger.errors import VerificationFailed


@dataclass(frozen=True, slots=True)
class Tally:
    """Voting power counted: ``signed`` must exceed ``needed`` out of ``total``."""

    signed: int
    needed: int
    total: int

    def is_enough(self) -> bool:
        """Tell whether strictly more than needed has signed."""
        return self.signed > self.needed


@dataclass(frozen=True, slots=True)
class Ok:
    """The block verifies; ``trusted`` is what may now be believed."""

    trusted: Trusted


@dataclass(frozen=True, slots=True)
class NotEnoughTrust:
    """Too little of the trusted set signed the block. It may be true: verify a nearer one first."""

    tally: Tally


@dataclass(frozen=True, slots=True)
class Invalid:
    """The block does not verify and never will on this ground; ``error`` says why."""

    error: VerificationFailed


Verdict = Ok | NotEnoughTrust | Invalid
