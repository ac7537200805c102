"""Evidence of an attack on light clients, as CometBFT takes it.

Owns the record, which of the three attacks it shows, whom it names, and its JSON, protobuf and hash.
Promises the bytes and names that a full node works out by itself (types/evidence.go
``LightClientAttackEvidence``), and that nobody is named whose signature does not verify. Never judges who is
right and never sends.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from consensus.light.encoding import (
    block_id_bytes,
    bytes_field,
    commit_sig_bytes,
    header_hash,
    message_field,
    number_field,
    timestamp_bytes,
    uvarint,
    vote_sign_bytes,
)
from consensus.light.keys import PROTO_FIELDS, verify
from consensus.light.render import signed_header_json, validators_json
from consensus.light.timestamp import format_time
from consensus.light.types import (
    GO_ZERO_TIME_NS,
    HASH_BYTES,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    LightBlock,
    SignedHeader,
    Validator,
    ValidatorSet,
)
from ledger.types import JsonObject, sha256

JSON_TYPE = "tendermint/LightClientAttackEvidence"
_ABSENT = CommitSig(BlockIdFlag.ABSENT, b"", GO_ZERO_TIME_NS, b"")
_FOLLOWS_FROM_STATE = (
    "validators_hash",
    "next_validators_hash",
    "consensus_hash",
    "app_hash",
    "last_results_hash",
)
"""Header fields that no honest proposer can choose (``ConflictingHeaderIsInvalid``)."""


class AttackKind(enum.StrEnum):
    """How a second header came to be signed."""

    LUNATIC = "lunatic"
    """It says what no state gives."""
    EQUIVOCATION = "equivocation"
    """It is a possible block, signed twice in one round."""
    AMNESIA = "amnesia"
    """It is a possible block, signed in another round by validators who forgot what they were bound to."""


@dataclass(frozen=True, slots=True)
class AttackEvidence:
    """What is shown to full nodes. Made by ``accuse``.

    Attributes:
        kind: which attack.
        conflicting: the block that is accused, with the votes that verify.
        common_height: the last height both sides agree on; of an equivocation or amnesia, the height itself.
        byzantine: who misbehaved, by power descending, then address; nobody for amnesia.
        total_power: of the validators of ``common_height``.
        time_ns: of the header of ``common_height``.
    """

    kind: AttackKind
    conflicting: LightBlock
    common_height: int
    byzantine: tuple[Validator, ...]
    total_power: int
    time_ns: int


def accuse(conflicting: LightBlock, trusted: LightBlock, common: LightBlock) -> AttackEvidence:
    """Make the evidence against ``conflicting`` [LC-DATA-EVIDENCE.1].

    Source: light/detector.go ``newLightClientAttackEvidence``.

    Args:
        conflicting: the block to accuse, verified from ``common``.
        trusted: the other side's block, of the same height, or of the height just below for a block of a
            height that the other side's chain has not reached.
        common: the last block of both sides, with its validators verified.
    """
    accused = with_sound_votes(conflicting)
    kind = kind_of(accused.signed_header, trusted.signed_header)
    ground = common if kind is AttackKind.LUNATIC else trusted
    return AttackEvidence(
        kind=kind,
        conflicting=accused,
        common_height=ground.height,
        byzantine=byzantine_validators(kind, accused, trusted.signed_header.commit, common.validators),
        total_power=ground.validators.total_power,
        time_ns=ground.header.time_ns,
    )


def kind_of(conflicting: SignedHeader, trusted: SignedHeader) -> AttackKind:
    """Tell which attack two headers show (types/evidence.go ``GetByzantineValidators``)."""
    one, other = conflicting.header, trusted.header
    if any(getattr(one, name) != getattr(other, name) for name in _FOLLOWS_FROM_STATE):
        return AttackKind.LUNATIC
    same_round = conflicting.commit.round == trusted.commit.round
    return AttackKind.EQUIVOCATION if same_round else AttackKind.AMNESIA


def byzantine_validators(
    kind: AttackKind, conflicting: LightBlock, trusted: Commit, common: ValidatorSet
) -> tuple[Validator, ...]:
    """Name who misbehaved [LCAI-FUNC-MAIN.1] (types/evidence.go ``GetByzantineValidators``).

    Args:
        kind: which attack.
        conflicting: the accused block.
        trusted: the other side's commit.
        common: the validators of the last common height.
    """
    votes = conflicting.signed_header.commit.signatures
    if kind is AttackKind.AMNESIA:
        return ()
    if kind is AttackKind.LUNATIC:
        known, voters = common, [v.validator_address for v in votes if v.flag is BlockIdFlag.COMMIT]
    else:
        known, both = conflicting.validators, zip(votes, trusted.signatures, strict=False)
        commits = (BlockIdFlag.COMMIT, BlockIdFlag.COMMIT)
        voters = [one.validator_address for one, other in both if (one.flag, other.flag) == commits]
    chosen = set(voters)
    # A validator set is already by power, then address.
    return tuple(
        validator
        for address, validator in zip(known.addresses, known.validators, strict=True)
        if address in chosen
    )


def with_sound_votes(block: LightBlock) -> LightBlock:
    """Give ``block`` with every vote for it that does not verify made absent.

    Verification stops at two thirds, so a liar may put anything behind; a full node checks all votes and
    would refuse the whole evidence for one wrong one (``VerifyCommitLightAllSignatures``).
    """
    commit = block.signed_header.commit
    sign_bytes = vote_sign_bytes(block.header.chain_id, commit)

    def judged(index: int, vote: CommitSig) -> CommitSig:
        if vote.flag is not BlockIdFlag.COMMIT:
            return vote
        validator, address = block.validators.validators[index], block.validators.addresses[index]
        sound = vote.validator_address == address and verify(
            validator.key_type, validator.public_key, sign_bytes(vote), vote.signature
        )
        return vote if sound else _ABSENT

    votes = tuple(judged(index, vote) for index, vote in enumerate(commit.signatures))
    signed = replace(block.signed_header, commit=replace(commit, signatures=votes))
    return replace(block, signed_header=signed)


def evidence_json(evidence: AttackEvidence) -> JsonObject:
    """Give the evidence as ``/broadcast_evidence`` takes it (rpc/core/evidence.go, libs/json)."""
    validators = validators_json(evidence.conflicting.validators)
    return {
        "type": JSON_TYPE,
        "value": {
            "ConflictingBlock": {
                "signed_header": signed_header_json(evidence.conflicting.signed_header),
                "validator_set": {
                    "validators": validators,
                    "proposer": validators[_proposer_index(evidence.conflicting)],
                },
            },
            "CommonHeight": str(evidence.common_height),
            # Nobody is null: an empty list is another thing to a full node.
            "ByzantineValidators": _named_json(evidence.byzantine) or None,
            "TotalVotingPower": str(evidence.total_power),
            "Timestamp": format_time(evidence.time_ns),
        },
    }


def _named_json(named: tuple[Validator, ...]) -> list[JsonObject]:
    return validators_json(ValidatorSet.of(named))


def _proposer_index(block: LightBlock) -> int:
    """Give who proposed; the field is in no hash, but must name one of the set."""
    addresses, proposer = block.validators.addresses, block.header.proposer_address
    return addresses.index(proposer) if proposer in addresses else 0


def evidence_bytes(evidence: AttackEvidence) -> bytes:
    """Give the protobuf: the leaf of a block's evidence hash (types/evidence.go ``Bytes``)."""
    block = evidence.conflicting
    signed = message_field(1, header_bytes(block.header)) + message_field(
        2, commit_bytes(block.signed_header.commit)
    )
    members = [_validator_bytes(v) for v in block.validators.validators]
    of_set = b"".join(message_field(1, member) for member in members)
    of_set += message_field(2, members[_proposer_index(block)])
    return (
        message_field(1, message_field(1, signed) + message_field(2, of_set))
        + number_field(2, evidence.common_height)
        + b"".join(message_field(3, _validator_bytes(v)) for v in evidence.byzantine)
        + number_field(4, evidence.total_power)
        + message_field(5, timestamp_bytes(evidence.time_ns))
    )


def header_bytes(header: Header) -> bytes:
    """Encode a Header message (proto/tendermint/types/types.proto)."""
    version = number_field(1, header.version_block) + number_field(2, header.version_app)
    return (
        message_field(1, version)
        + bytes_field(2, header.chain_id.encode())
        + number_field(3, header.height)
        + message_field(4, timestamp_bytes(header.time_ns))
        + message_field(5, block_id_bytes(header.last_block_id))
        + bytes_field(6, header.last_commit_hash)
        + bytes_field(7, header.data_hash)
        + bytes_field(8, header.validators_hash)
        + bytes_field(9, header.next_validators_hash)
        + bytes_field(10, header.consensus_hash)
        + bytes_field(11, header.app_hash)
        + bytes_field(12, header.last_results_hash)
        + bytes_field(13, header.evidence_hash)
        + bytes_field(14, header.proposer_address)
    )


def commit_bytes(commit: Commit) -> bytes:
    """Encode a Commit message."""
    return (
        number_field(1, commit.height)
        + number_field(2, commit.round)
        + message_field(3, block_id_bytes(commit.block_id))
        + b"".join(message_field(4, commit_sig_bytes(sig)) for sig in commit.signatures)
    )


def _validator_bytes(validator: Validator) -> bytes:
    key = bytes_field(PROTO_FIELDS[validator.key_type], validator.public_key)
    return bytes_field(1, validator.address) + message_field(2, key) + number_field(3, validator.power)


def evidence_hash(evidence: AttackEvidence) -> bytes:
    """Give the hash a full node knows the evidence by: 31 of 32 bytes, as it copies them (``Hash``)."""
    digest = header_hash(evidence.conflicting.header)
    return sha256(digest[: HASH_BYTES - 1] + b"\x00" + uvarint(evidence.common_height << 1))
