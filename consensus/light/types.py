"""Blocks as a light client sees them: headers, commits, validator sets.

Owns the frozen records and the two levels of belief: ``LightBlock`` is what a peer said, ``Trusted`` is what
was verified (or named by the operator as the root of trust). Promises that an address is always derived from
its key, that a validator set is always in CometBFT's own order, and that only ``consensus.light.verifier``
holds the seal that makes a ``Trusted``. Never reads bytes and never judges.

Times are integer nanoseconds since the Unix epoch, possibly negative; hashes are raw bytes.
"""

from __future__ import annotations

import enum
from dataclasses import InitVar, dataclass

from consensus.light.keys import ADDRESS_BYTES, KeyType, address_of
from ledger.errors import Code, Refused, VerificationFailed

__all__ = [
    "ADDRESS_BYTES",
    "EMPTY_BLOCK_ID",
    "GO_ZERO_TIME_NS",
    "SECOND_NS",
    "BlockId",
    "BlockIdFlag",
    "Commit",
    "CommitSig",
    "Header",
    "KeyType",
    "LightBlock",
    "Options",
    "PartSetHeader",
    "SignedHeader",
    "TrustLevel",
    "Trusted",
    "Validator",
    "ValidatorSet",
]

INT64_MAX = 2**63 - 1
VALIDATORS_MAX = 10_000
"""CometBFT's own limit (types/vote_set.go MaxVotesCount)."""
TOTAL_VOTING_POWER_MAX = INT64_MAX // 8
"""CometBFT types/validator_set.go MaxTotalVotingPower."""
HASH_BYTES = 32
SIGNATURE_BYTES_MAX = 96
"""CometBFT types/signable.go MaxSignatureSize, before v0.40."""
MLDSA65_SIGNATURE_BYTES = 3309
"""What v0.40 raised it to: the size of the one larger kind of signature, which no client here can judge."""
APP_HASH_BYTES_MAX = 256
"""CometBFT leaves the application hash unbounded; no application we talk to needs more."""
BLOCK_PROTOCOL = 11
GO_ZERO_TIME_NS = -62_135_596_800 * 10**9
"""0001-01-01T00:00:00Z, the timestamp of an absent vote."""
SECOND_NS = 10**9


class BlockIdFlag(enum.IntEnum):
    """What a commit says of one validator (types/block.go)."""

    ABSENT = 1
    COMMIT = 2
    NIL = 3


@dataclass(frozen=True, slots=True)
class PartSetHeader:
    """How many parts a block was split into, and their Merkle root."""

    total: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block by the hash of its header and its part set; the empty one is ``EMPTY_BLOCK_ID``."""

    hash: bytes
    parts: PartSetHeader

    def is_zero(self) -> bool:
        """Tell whether this names no block (types/block.go ``IsZero``)."""
        return not self.hash and not self.parts.hash and self.parts.total == 0


EMPTY_BLOCK_ID = BlockId(b"", PartSetHeader(0, b""))


@dataclass(frozen=True, slots=True)
class Header:
    """A block header, field for field CometBFT's. ``app_hash`` proves the state of ``height - 1``."""

    version_block: int
    version_app: int
    chain_id: str
    height: int
    time_ns: int
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes


@dataclass(frozen=True, slots=True)
class CommitSig:
    """One validator's part of a commit; the timestamp is the signer's own."""

    flag: BlockIdFlag
    validator_address: bytes
    timestamp_ns: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """The precommits that finalize a block, in the order of its validator set."""

    height: int
    round: int
    block_id: BlockId
    signatures: tuple[CommitSig, ...]


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header and the commit that is said to be for it."""

    header: Header
    commit: Commit


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator; ``address`` follows from the key."""

    key_type: KeyType
    public_key: bytes
    power: int

    @property
    def address(self) -> bytes:
        """The address of its key, by the rule of its type."""
        return address_of(self.key_type, self.public_key)


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """Validators by power descending, then address ascending. Made by ``ValidatorSet.of``.

    Attributes:
        validators: the set in CometBFT's order.
        addresses: their addresses, same order.
        total_power: the sum of their powers.
    """

    validators: tuple[Validator, ...]
    addresses: tuple[bytes, ...]
    total_power: int

    @classmethod
    def of(cls, validators: tuple[Validator, ...]) -> ValidatorSet:
        """Order and check a set, however it came.

        Raises:
            VerificationFailed: VALIDATOR_SET_INVALID for too many, a negative power or too much power in
                all; VALIDATOR_DUPLICATE for one key twice.
        """
        if len(validators) > VALIDATORS_MAX:
            raise VerificationFailed(
                Code.VALIDATOR_SET_INVALID,
                got=len(validators),
                expected=f"at most {VALIDATORS_MAX} validators",
            )
        pairs = sorted(((v.address, v) for v in validators), key=lambda pair: (-pair[1].power, pair[0]))
        addresses = tuple(address for address, _ in pairs)
        if len(set(addresses)) != len(addresses):
            raise VerificationFailed(Code.VALIDATOR_DUPLICATE, expected="every validator once")
        if any(v.power < 0 for v in validators):
            raise VerificationFailed(Code.VALIDATOR_SET_INVALID, expected="no negative power")
        total = sum(v.power for v in validators)
        if total > TOTAL_VOTING_POWER_MAX:
            raise VerificationFailed(
                Code.VALIDATOR_SET_INVALID,
                got=total,
                expected=f"total power at most {TOTAL_VOTING_POWER_MAX}",
            )
        return cls(tuple(v for _, v in pairs), addresses, total)


@dataclass(frozen=True, slots=True)
class LightBlock:
    """What a peer says of one height. Nothing of it is believed.

    Attributes:
        signed_header: header and commit.
        validators: the set that is said to have signed it.
        next_validators: the set of the next height; None where the peer was not asked for it.
    """

    signed_header: SignedHeader
    validators: ValidatorSet
    next_validators: ValidatorSet | None = None

    @property
    def header(self) -> Header:
        """The header inside."""
        return self.signed_header.header

    @property
    def height(self) -> int:
        """The header's height."""
        return self.signed_header.header.height


class _TrustSeal:
    """The capability to make ``Trusted`` blocks; one instance, held by ``consensus.light.verifier``."""

    __slots__ = ()


_TRUST = _TrustSeal()


@dataclass(frozen=True, slots=True)
class Trusted:
    """A block that was verified, or that the operator named as the root of trust.

    Where one comes from: ``verifier.verify``, ``trust_root``, ``linked_back``, or ``restored`` from our own
    store. A ``LightBlock`` never turns into one in any other way.

    Attributes:
        header: the believed header.
        hash: its hash.
        next_validators: the set of the next height, matching ``header.next_validators_hash``; None where
            only the next height may be verified from here.

    Raises:
        TypeError: made anywhere but in ``consensus.light.verifier``.
    """

    header: Header
    hash: bytes
    next_validators: ValidatorSet | None
    seal: InitVar[object]
    """Shown once and not kept: no block can lend it to another (``dataclasses.replace`` has none to give)."""

    def __post_init__(self, seal: object) -> None:
        if seal is not _TRUST:
            raise TypeError("a Trusted block is made by consensus.light.verifier alone")

    @property
    def height(self) -> int:
        """The header's height."""
        return self.header.height


@dataclass(frozen=True, slots=True)
class TrustLevel:
    """The share of a trusted set that must have signed a later block, within [1/3, 1].

    Raises:
        Refused: FIELD_INVALID outside that range (light/verifier.go ``ValidateTrustLevel``).
    """

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        num, den = self.numerator, self.denominator
        if not (0 < num <= den <= INT64_MAX and num * 3 >= den):
            raise Refused(Code.FIELD_INVALID, got=f"{num}/{den}", expected="a trust level within [1/3, 1]")


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        trusting_period_ns: how long a verified header may serve as ground for the next; must stay below the
            time in which misbehaviour is punished (the chain's evidence age, 48 h by default).
        clock_drift_ns: how far ahead of our clock a header may be.
        trust_level: the share of the trusted set that must have signed when heights are skipped.
    """

    trusting_period_ns: int = 14 * 24 * 3600 * SECOND_NS
    clock_drift_ns: int = 10 * SECOND_NS
    trust_level: TrustLevel = TrustLevel(1, 3)
