"""Counting and verifying the signatures of a commit.

Owns the two tallies of types/validation.go: by index against the set that signed, by address against a
set that was trusted earlier. Promises that power is counted first and signatures verified only if the
count could pass, that at most the signatures needed to pass are verified, and that every one of those
must be right (``keys.verify``). A vote for nil or none never counts.
"""

from __future__ import annotations

from consensus.light.encoding import vote_sign_bytes
from consensus.light.keys import verify
from consensus.light.parallel import first_failing
from consensus.light.types import BlockIdFlag, Commit, CommitSig, TrustLevel, Validator, ValidatorSet
from consensus.light.verdict import Tally
from ledger.errors import Code, VerificationFailed

Vote = tuple[int, Validator, CommitSig]
"""Index in the commit, who voted by the set looked in, and the vote."""


class VerifiedVotes:
    """The votes of one commit already verified: none is verified twice, however often it counts."""

    __slots__ = ("_seen", "_sign_bytes")

    def __init__(self, chain_id: str, commit: Commit) -> None:
        self._sign_bytes = vote_sign_bytes(chain_id, commit)
        self._seen: set[tuple[int, bytes]] = set()

    def check(self, votes: list[Vote]) -> None:
        """Verify each vote's signature.

        Raises:
            VerificationFailed: COMMIT_SIGNATURE_INVALID at the first wrong one.
        """
        named = {(index, validator.public_key): (index, validator, sig) for index, validator, sig in votes}
        fresh = [vote for name, vote in named.items() if name not in self._seen]
        wrong = first_failing(fresh, self._is_right)
        if wrong is not None:
            index, validator, sig = fresh[wrong]
            raise VerificationFailed(
                Code.COMMIT_SIGNATURE_INVALID,
                got=sig.signature,
                expected="the validator's signature over this block",
                index=index,
                validator=validator.address.hex(),
            )
        self._seen.update(named)

    def _is_right(self, vote: Vote) -> bool:
        _, validator, sig = vote
        return verify(validator.key_type, validator.public_key, self._sign_bytes(sig), sig.signature)


def tally_by_index(validators: ValidatorSet, commit: Commit) -> tuple[Tally, list[Vote]]:
    """Count the power that signed, vote i by validator i; needed is two thirds.

    Source: [LCV-FUNC-VERIFYCOMMITLIGHT.1], [CMBC-SOUND-DISTR-POSS-COMMIT.1].

    The address beside each counted vote must be that validator's (CSA-2026-001).

    Raises:
        VerificationFailed: COMMIT_ADDRESS_MISMATCH.
    """
    needed = validators.total_power * 2 // 3
    signed, votes = 0, []
    for index, sig in enumerate(commit.signatures):
        if sig.flag is not BlockIdFlag.COMMIT:
            continue
        if sig.validator_address != validators.addresses[index]:
            raise VerificationFailed(
                Code.COMMIT_ADDRESS_MISMATCH,
                got=sig.validator_address,
                expected=validators.addresses[index].hex(),
                index=index,
                height=commit.height,
            )
        votes.append((index, validators.validators[index], sig))
        signed += validators.validators[index].power
        if signed > needed:
            break
    return Tally(signed, needed, validators.total_power), votes


def tally_by_address(validators: ValidatorSet, commit: Commit, level: TrustLevel) -> tuple[Tally, list[Vote]]:
    """Count how much of an earlier trusted set signed; strangers are skipped [CMBC-VAL-CONTAINS-CORR.1].

    Raises:
        VerificationFailed: VALIDATOR_DUPLICATE for one validator voting twice.
    """
    needed = validators.total_power * level.numerator // level.denominator
    known = dict(zip(validators.addresses, validators.validators, strict=True))
    seen: set[bytes] = set()
    signed, votes = 0, []
    for index, sig in enumerate(commit.signatures):
        validator = known.get(sig.validator_address) if sig.flag is BlockIdFlag.COMMIT else None
        if validator is None:
            continue
        if sig.validator_address in seen:
            raise VerificationFailed(
                Code.VALIDATOR_DUPLICATE,
                got=sig.validator_address,
                expected="one vote a validator",
                index=index,
            )
        seen.add(sig.validator_address)
        votes.append((index, validator, sig))
        signed += validator.power
        if signed > needed:
            break
    return Tally(signed, needed, validators.total_power), votes
