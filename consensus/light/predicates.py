"""The claims a light client checks, one a function.

Each either returns or raises ``VerificationFailed`` with what was got and expected. Owns no order: the
verifier composes them. Every reference to time is an argument. Tags in brackets are those of CometBFT's
``spec/light-client/verification`` (002, 003); file names are CometBFT v0.39.4's.
"""

from __future__ import annotations

from consensus.light.encoding import header_hash, validators_hash
from consensus.light.timestamp import format_time
from consensus.light.types import (
    BLOCK_PROTOCOL,
    Commit,
    Header,
    LightBlock,
    SignedHeader,
    Trusted,
    ValidatorSet,
)
from ledger.errors import Code, VerificationFailed


def is_within_trusting_period(header: Header, trusting_period_ns: int, now_ns: int) -> None:
    """The trusted header has not expired: ``time + period > now`` [LCV-INV-TP.1] (``HeaderExpired``).

    Raises:
        VerificationFailed: TRUST_EXPIRED.
    """
    if header.time_ns + trusting_period_ns <= now_ns:
        raise VerificationFailed(
            Code.TRUST_EXPIRED,
            got=format_time(header.time_ns),
            expected="a trusted header younger than the trusting period",
            todo="check this machine's clock; if it is right, name a newer header: conclave trust --help",
            height=header.height,
            now_ns=now_ns,
            trusting_period_ns=trusting_period_ns,
        )


def is_supported_version(header: Header) -> None:
    """The block protocol is 11 [LCV-FUNC-VALID.2] (types/block.go ``Header.ValidateBasic``).

    Raises:
        VerificationFailed: HEADER_VERSION_UNSUPPORTED.
    """
    if header.version_block != BLOCK_PROTOCOL:
        raise VerificationFailed(
            Code.HEADER_VERSION_UNSUPPORTED,
            got=header.version_block,
            expected=f"block protocol {BLOCK_PROTOCOL}",
            height=header.height,
        )


def is_of_chain(header: Header, chain_id: str) -> None:
    """The header is of the trusted chain [LCV-FUNC-VALID.2] (types/light.go ``SignedHeader.ValidateBasic``).

    Raises:
        VerificationFailed: HEADER_CHAIN_MISMATCH.
    """
    if header.chain_id != chain_id:
        raise VerificationFailed(
            Code.HEADER_CHAIN_MISMATCH, got=header.chain_id, expected=chain_id, height=header.height
        )


def is_commit_for_header(signed_header: SignedHeader) -> bytes:
    """The commit is for this header: height and hash [CMBC-SOUND-DISTR-POSS-COMMIT.1]; gives the hash.

    Raises:
        VerificationFailed: HEADER_MALFORMED for a height below 1 or no signatures, COMMIT_MISMATCH.
    """
    header, commit = signed_header.header, signed_header.commit
    if header.height < 1 or not commit.signatures:
        raise VerificationFailed(
            Code.HEADER_MALFORMED,
            got=f"height {header.height}, {len(commit.signatures)} signatures",
            expected="height ≥ 1, at least one signature",
        )
    if commit.height != header.height:
        raise VerificationFailed(
            Code.COMMIT_MISMATCH, got=f"commit of height {commit.height}", expected=f"height {header.height}"
        )
    digest = header_hash(header)
    if commit.block_id.hash != digest:
        raise VerificationFailed(
            Code.COMMIT_MISMATCH,
            got=f"commit for block {commit.block_id.hash.hex()}",
            expected=f"block {digest.hex()}, the hash of the header beside it",
            height=header.height,
        )
    return digest


def is_newer(header: Header, trusted: Header) -> None:
    """Height and time are both past the trusted header's [LCV-FUNC-VALID.2] (``verifyNewHeaderAndVals``).

    Raises:
        VerificationFailed: HEADER_NOT_NEWER, HEADER_TIME_NOT_NEWER.
    """
    if header.height <= trusted.height:
        raise VerificationFailed(
            Code.HEADER_NOT_NEWER, got=header.height, expected=f"a height above {trusted.height}"
        )
    if header.time_ns <= trusted.time_ns:
        raise VerificationFailed(
            Code.HEADER_TIME_NOT_NEWER,
            got=format_time(header.time_ns),
            expected=f"a time after {format_time(trusted.time_ns)}",
            height=header.height,
        )


def is_not_from_future(header: Header, clock_drift_ns: int, now_ns: int) -> None:
    """The header's time is before ``now + drift`` [LCV-FUNC-VALID.2].

    Raises:
        VerificationFailed: HEADER_FROM_FUTURE.
    """
    if header.time_ns >= now_ns + clock_drift_ns:
        raise VerificationFailed(
            Code.HEADER_FROM_FUTURE,
            got=format_time(header.time_ns),
            expected=f"a time before {format_time(now_ns)} plus {clock_drift_ns} ns",
            todo="check this machine's clock: most often it runs behind",
            height=header.height,
            ahead_ns=header.time_ns - now_ns,
        )


def are_validators_of(validators: ValidatorSet, header: Header) -> None:
    """The supplied set is the one the header names [LCV-FUNC-VALID.2].

    Raises:
        VerificationFailed: VALIDATORS_HASH_MISMATCH.
    """
    _hash_matches(validators, header.validators_hash, header.height, Code.VALIDATORS_HASH_MISMATCH)


def are_next_validators_of(validators: ValidatorSet, header: Header) -> None:
    """The supplied next set is the one the header names [LCV-FUNC-VALID.2].

    Raises:
        VerificationFailed: NEXT_VALIDATORS_MISMATCH.
    """
    _hash_matches(validators, header.next_validators_hash, header.height, Code.NEXT_VALIDATORS_MISMATCH)


def _hash_matches(validators: ValidatorSet, expected: bytes, height: int, code: Code) -> None:
    digest = validators_hash(validators)
    if digest != expected:
        raise VerificationFailed(code, got=digest, expected=expected.hex(), height=height)


def are_announced_validators(header: Header, trusted: Header) -> None:
    """The set of the next height is the one its predecessor announced [LCV-FUNC-VALID.2] (adjacent only).

    Raises:
        VerificationFailed: NEXT_VALIDATORS_MISMATCH.
    """
    if header.validators_hash != trusted.next_validators_hash:
        raise VerificationFailed(
            Code.NEXT_VALIDATORS_MISMATCH,
            got=header.validators_hash,
            expected=f"{trusted.next_validators_hash.hex()}, announced by height {trusted.height}",
            height=header.height,
        )


def has_a_vote_for_each(validators: ValidatorSet, commit: Commit) -> None:
    """The commit has exactly one entry a validator [LCV-FUNC-VERIFYCOMMITLIGHT.1].

    Source: types/validation.go ``verifyBasicValsAndCommit``.

    Raises:
        VerificationFailed: COMMIT_MISMATCH.
    """
    if len(commit.signatures) != len(validators.validators):
        raise VerificationFailed(
            Code.COMMIT_MISMATCH,
            got=f"{len(commit.signatures)} signatures",
            expected=f"{len(validators.validators)}, one a validator",
            height=commit.height,
        )


def is_acceptable(block: LightBlock, trusted: Trusted, clock_drift_ns: int, now_ns: int) -> bytes:
    """All that needs no signature holds [LCV-FUNC-VALID.2]; gives the hash (``verifyNewHeaderAndVals``).

    Raises:
        VerificationFailed: the first claim above that fails.
    """
    header = block.header
    is_supported_version(header)
    is_of_chain(header, trusted.header.chain_id)
    digest = is_commit_for_header(block.signed_header)
    is_newer(header, trusted.header)
    is_not_from_future(header, clock_drift_ns, now_ns)
    are_validators_of(block.validators, header)
    if block.next_validators is not None:
        are_next_validators_of(block.next_validators, header)
    return digest
