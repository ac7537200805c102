"""A small signed chain in memory: real headers, real commits, real validator sets, no CometBFT.

``Chain`` makes light blocks with any validator sets and any liars among them; ``forge`` makes what a
dishonest quorum or a careless relay would show. Everything is deterministic: keys come from names, times
from heights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256K1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.signing import SigningKey

from consensus.light.encoding import commit_hash, header_hash, validators_hash, vote_sign_bytes
from consensus.light.keys import SECP256K1_ORDER
from consensus.light.types import (
    EMPTY_BLOCK_ID,
    GO_ZERO_TIME_NS,
    SECOND_NS,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    KeyType,
    LightBlock,
    PartSetHeader,
    SignedHeader,
    Trusted,
    Validator,
    ValidatorSet,
)
from consensus.light.verifier import restored
from ledger.types import sha256
from state.merkle import merkle_root

CHAIN_ID = "conclave-test"
START_NS = 1_800_000_000 * SECOND_NS
EMPTY_HASH = merkle_root([])


@dataclass(frozen=True)
class Signer:
    """A validator with its private key."""

    key: SigningKey
    power: int

    @property
    def validator(self) -> Validator:
        """The public half."""
        return Validator(KeyType.ED25519, bytes(self.key.verify_key), self.power)

    @property
    def address(self) -> bytes:
        """Its address."""
        return self.validator.address

    def sign(self, message: bytes) -> bytes:
        """Sign as a validator of its type does."""
        return self.key.sign(message).signature


@dataclass(frozen=True)
class SecpSigner(Signer):
    """A validator with a secp256k1 key, made of the same seed."""

    @property
    def validator(self) -> Validator:
        """The public half."""
        point = self._private().public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return Validator(KeyType.SECP256K1, point, self.power)

    def sign(self, message: bytes) -> bytes:
        """Give R and S, the lower of the two S."""
        r, s = decode_dss_signature(
            self._private().sign(message, ECDSA(SHA256(), deterministic_signing=True))
        )
        return r.to_bytes(32, "big") + min(s, SECP256K1_ORDER - s).to_bytes(32, "big")

    def _private(self) -> EllipticCurvePrivateKey:
        return derive_private_key(int.from_bytes(bytes(self.key), "big"), SECP256K1())


def signers(*names: str, power: int = 10) -> tuple[Signer, ...]:
    """Make validators of equal power, one a name."""
    return tuple(Signer(SigningKey(sha256(name.encode())), power) for name in names)


def secp_signers(*names: str, power: int = 10) -> tuple[Signer, ...]:
    """Make validators with secp256k1 keys, one a name."""
    return tuple(SecpSigner(SigningKey(sha256(name.encode())), power) for name in names)


def set_of(chosen: Collection[Signer]) -> ValidatorSet:
    """Give the validator set of these signers."""
    return ValidatorSet.of(tuple(signer.validator for signer in chosen))


def sign(
    chain_id: str,
    header: Header,
    members: Sequence[Signer],
    *,
    absent: Collection[Signer] = (),
    nil: Collection[Signer] = (),
    round_: int = 0,
) -> Commit:
    """Make the commit for ``header`` by ``members``, some of whom vote nil or not at all."""
    digest = header_hash(header)
    block_id = BlockId(digest, PartSetHeader(1, sha256(digest)))
    by_address = {member.address: member for member in members}
    commit = Commit(header.height, round_, block_id, ())
    to_sign = vote_sign_bytes(chain_id, commit)
    sigs = []
    for index, address in enumerate(set_of(members).addresses):
        member = by_address[address]
        if member in absent:
            sigs.append(CommitSig(BlockIdFlag.ABSENT, b"", GO_ZERO_TIME_NS, b""))
            continue
        flag = BlockIdFlag.NIL if member in nil else BlockIdFlag.COMMIT
        vote = CommitSig(flag, address, header.time_ns + index + 1, b"")
        sigs.append(dataclasses.replace(vote, signature=member.sign(to_sign(vote))))
    return dataclasses.replace(commit, signatures=tuple(sigs))


class Chain:
    """A chain that grows by ``append``; ``blocks[h]`` is height h.

    Args:
        members: the validators of height 1.
        chain_id: its id.
        start_ns: the time of height 1.
        step_ns: between heights.
    """

    def __init__(
        self,
        members: Sequence[Signer],
        *,
        chain_id: str = CHAIN_ID,
        start_ns: int = START_NS,
        step_ns: int = SECOND_NS,
    ) -> None:
        self.chain_id, self._start_ns, self._step_ns = chain_id, start_ns, step_ns
        self.members: dict[int, tuple[Signer, ...]] = {1: tuple(members)}
        self.blocks: dict[int, LightBlock] = {}

    @property
    def height(self) -> int:
        """The newest height."""
        return len(self.blocks)

    @property
    def now_ns(self) -> int:
        """A moment after the newest header."""
        return self.time_ns(self.height) + SECOND_NS

    def time_ns(self, height: int) -> int:
        """The time of a header."""
        return self._start_ns + (height - 1) * self._step_ns

    def append(
        self, *, following: Sequence[Signer] | None = None, absent: Collection[Signer] = (), **fields: Any
    ) -> LightBlock:
        """Make the next block.

        Args:
            following: the validators from the next height on; None: unchanged.
            absent: members that do not vote.
            fields: header fields to set.
        """
        height = self.height + 1
        members = self.members[height]
        self.members[height + 1] = tuple(following) if following is not None else members
        previous = self.blocks.get(height - 1)
        last = previous.signed_header.commit if previous else Commit(0, 0, EMPTY_BLOCK_ID, ())
        header = Header(
            version_block=11,
            version_app=1,
            chain_id=self.chain_id,
            height=height,
            time_ns=self.time_ns(height),
            last_block_id=last.block_id,
            last_commit_hash=commit_hash(last),
            data_hash=EMPTY_HASH,
            validators_hash=validators_hash(set_of(members)),
            next_validators_hash=validators_hash(set_of(self.members[height + 1])),
            consensus_hash=sha256(b"params"),
            app_hash=b"",
            last_results_hash=EMPTY_HASH,
            evidence_hash=EMPTY_HASH,
            proposer_address=members[0].address,
        )
        self.blocks[height] = self._block(dataclasses.replace(header, **fields), members, absent)
        return self.blocks[height]

    def extend(self, count: int) -> None:
        """Append ``count`` plain blocks."""
        for _ in range(count):
            self.append()

    def _block(self, header: Header, members: Sequence[Signer], absent: Collection[Signer]) -> LightBlock:
        commit = sign(self.chain_id, header, members, absent=absent)
        following = self.members.get(header.height + 1, tuple(members))
        return LightBlock(SignedHeader(header, commit), set_of(members), set_of(following))

    def forge(
        self,
        height: int,
        *,
        members: Sequence[Signer] | None = None,
        absent: Collection[Signer] = (),
        **fields: Any,
    ) -> LightBlock:
        """Give block ``height`` with other header fields, signed properly by its own or other members."""
        header = dataclasses.replace(self.blocks[height].header, **fields)
        return self._block(header, members or self.members[height], absent)

    def trusted(self, height: int) -> Trusted:
        """Give a block as already verified."""
        block = self.blocks[height]
        return restored(block.header, block.next_validators)
