"""Light verification of one block on the ground of a trusted one.

Owns the order of the checks: cheapest first, attacker-sized work last (light/verifier.go). Promises one
of three verdicts for any block, and that an ``Ok`` means: at least one honest validator of the trusted
set stands behind the header, or the trusted header itself announced its set, and more than two thirds of
that set signed it. Never fetches, never reads a clock.
"""

from __future__ import annotations

from consensus.light import predicates
from consensus.light.encoding import header_hash
from consensus.light.signatures import VerifiedVotes, Vote, tally_by_address, tally_by_index
from consensus.light.types import _TRUST, Header, LightBlock, Options, Trusted, ValidatorSet
from consensus.light.verdict import Invalid, NotEnoughTrust, Ok, Verdict
from ledger.errors import Code, VerificationFailed


def verify(block: LightBlock, trusted: Trusted, options: Options, now_ns: int) -> Verdict:
    """Judge ``block``, adjacent to ``trusted`` or any number of heights later [LCV-FUNC-VALID.2].

    Args:
        block: what a peer said; ``next_validators`` is needed to skip onwards from it.
        trusted: the ground; its ``next_validators`` is needed unless the block is adjacent.
        options: periods and trust level.
        now_ns: the present, nanoseconds since the Unix epoch.
    """
    try:
        return _verify(block, trusted, options, now_ns)
    except VerificationFailed as error:
        return Invalid(error)


def _verify(block: LightBlock, trusted: Trusted, options: Options, now_ns: int) -> Verdict:
    predicates.is_within_trusting_period(trusted.header, options.trusting_period_ns, now_ns)
    digest = predicates.is_acceptable(block, trusted, options.clock_drift_ns, now_ns)
    commit = block.signed_header.commit
    votes: list[Vote] = []
    if block.height == trusted.height + 1:
        predicates.are_announced_validators(block.header, trusted.header)
    else:
        tally, votes = tally_by_address(_next_validators(trusted), commit, options.trust_level)
        if not tally.is_enough():
            return NotEnoughTrust(tally)
    votes = [*votes, *_two_thirds(block)]
    VerifiedVotes(trusted.header.chain_id, commit).check(votes)
    return Ok(Trusted(block.header, digest, _following(block), _TRUST))


def _following(block: LightBlock) -> ValidatorSet | None:
    """Give the set of the next height: as supplied, or the block's own where the header says they are one."""
    same = block.header.next_validators_hash == block.header.validators_hash
    return block.validators if same else block.next_validators


def _next_validators(trusted: Trusted) -> ValidatorSet:
    if trusted.next_validators is None:
        raise VerificationFailed(
            Code.NEXT_VALIDATORS_MISMATCH,
            got="no next validator set of the trusted block",
            expected="it, in order to skip heights",
            height=trusted.height,
        )
    return trusted.next_validators


def _two_thirds(block: LightBlock) -> list[Vote]:
    """Give the votes, unverified, of over two thirds of its own set [LCV-FUNC-VERIFYCOMMITLIGHT.1]."""
    commit = block.signed_header.commit
    predicates.has_a_vote_for_each(block.validators, commit)
    tally, votes = tally_by_index(block.validators, commit)
    if not tally.is_enough():
        raise VerificationFailed(
            Code.COMMIT_UNDER_TWO_THIRDS,
            got=f"{tally.signed} of {tally.total} voting power",
            expected=f"more than {tally.needed}",
            height=block.height,
        )
    return votes


def trust_root(block: LightBlock, chain_id: str, expected_hash: bytes | None) -> Trusted:
    """Take a block as the root of trust because the operator named it, or its validators.

    Args:
        block: the block; where no hash is given, the caller has compared its validator set with the
            operator's.
        chain_id: the chain the operator means.
        expected_hash: the header hash the operator named; None where the genesis validators are the root.

    Raises:
        VerificationFailed: TRUST_ROOT_MISMATCH for another hash, or any claim that does not hold: the commit
            must carry more than two thirds of the block's own set.
    """
    predicates.is_supported_version(block.header)
    predicates.is_of_chain(block.header, chain_id)
    digest = predicates.is_commit_for_header(block.signed_header)
    if expected_hash is not None and digest != expected_hash:
        raise VerificationFailed(
            Code.TRUST_ROOT_MISMATCH,
            got=digest,
            expected=f"{expected_hash.hex()}, the hash named as the root of trust",
            height=block.height,
        )
    predicates.are_validators_of(block.validators, block.header)
    if block.next_validators is not None:
        predicates.are_next_validators_of(block.next_validators, block.header)
    VerifiedVotes(chain_id, block.signed_header.commit).check(_two_thirds(block))
    return Trusted(block.header, digest, _following(block), _TRUST)


def linked_back(older: Header, newer: Trusted) -> Trusted:
    """Believe the header just below a trusted one, which names its hash [LCV-FUNC-BACKWARDS.2].

    Raises:
        VerificationFailed: COMMIT_MISMATCH if it is not the named predecessor, or a claim of
            ``light/verifier.go`` ``VerifyBackwards`` that does not hold: version, chain, an earlier time.
    """
    digest = header_hash(older)
    if older.height + 1 != newer.height or newer.header.last_block_id.hash != digest:
        raise VerificationFailed(
            Code.COMMIT_MISMATCH,
            got=f"block {digest.hex()} of height {older.height}",
            expected=f"block {newer.header.last_block_id.hash.hex()}, named by height {newer.height}",
        )
    predicates.is_supported_version(older)
    predicates.is_of_chain(older, newer.header.chain_id)
    predicates.is_newer(newer.header, older)
    return Trusted(older, digest, None, _TRUST)


def restored(header: Header, next_validators: ValidatorSet | None) -> Trusted:
    """Take up again what an earlier run verified and our own store kept, or what the operator wrote down.

    Args:
        header: the header; its hash is computed anew.
        next_validators: the set of the next height; None where only the next height may follow.

    Raises:
        VerificationFailed: NEXT_VALIDATORS_MISMATCH for a set that is not the header's.
    """
    if next_validators is not None:
        predicates.are_next_validators_of(next_validators, header)
    return Trusted(header, header_hash(header), next_validators, _TRUST)
