"""CometBFT's byte rules: header hash, validator set hash, commit hash, vote sign bytes.

Owns the hand-written protobuf encodings these hashes are over, because "non-nullable" submessages are always
written (``12 00`` for an empty part set header, Go's zero time for an absent vote), which Python's protobuf
would leave out. Promises exactly the bytes of CometBFT 0.34-0.40 (notes cometbft §3; types/block.go,
types/canonical.go, types/encoding_helper.go). Never judges.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from consensus.light.keys import PROTO_FIELDS
from consensus.light.types import (
    SECOND_NS,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    PartSetHeader,
    Validator,
    ValidatorSet,
)
from state.merkle import merkle_root

_PRECOMMIT = 2
_TWO_64 = 1 << 64
_ONE_BYTE = tuple(bytes([number]) for number in range(0x80))
"""The varints of one byte: nearly all tags and lengths."""


def uvarint(number: int) -> bytes:
    """Encode an unsigned (or 64-bit two's complement negative) integer as a protobuf varint."""
    if 0 <= number < 0x80:
        return _ONE_BYTE[number]
    number %= _TWO_64
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number_field(field: int, value: int) -> bytes:
    """Encode a varint field; zero is left out."""
    return uvarint(field << 3) + uvarint(value) if value else b""


def bytes_field(field: int, value: bytes) -> bytes:
    """Encode a bytes or string field; empty is left out."""
    return message_field(field, value) if value else b""


def message_field(field: int, value: bytes) -> bytes:
    """Encode a length-delimited field that is written even when empty (gogoproto non-nullable)."""
    return uvarint(field << 3 | 2) + uvarint(len(value)) + value


def _sfixed64(field: int, value: int) -> bytes:
    return uvarint(field << 3 | 1) + (value % _TWO_64).to_bytes(8, "little") if value else b""


def timestamp_bytes(time_ns: int) -> bytes:
    """Encode a ``google.protobuf.Timestamp``; nanos are never negative."""
    seconds, nanos = divmod(time_ns, SECOND_NS)
    return _seconds_field(seconds) + number_field(2, nanos)


@lru_cache(maxsize=16)
def _seconds_field(seconds: int) -> bytes:
    """Encode the seconds, which the votes of a commit have in common or nearly."""
    return number_field(1, seconds)


def _part_set_header(parts: PartSetHeader) -> bytes:
    return number_field(1, parts.total) + bytes_field(2, parts.hash)


def block_id_bytes(block_id: BlockId) -> bytes:
    """Encode a BlockID (and, byte for byte the same, a CanonicalBlockID)."""
    return bytes_field(1, block_id.hash) + message_field(2, _part_set_header(block_id.parts))


def header_hash(header: Header) -> bytes:
    """Give the Merkle root over the header's 14 fields (types/block.go ``Header.Hash``)."""
    return merkle_root(
        [
            number_field(1, header.version_block) + number_field(2, header.version_app),
            bytes_field(1, header.chain_id.encode()),
            number_field(1, header.height),
            timestamp_bytes(header.time_ns),
            block_id_bytes(header.last_block_id),
            bytes_field(1, header.last_commit_hash),
            bytes_field(1, header.data_hash),
            bytes_field(1, header.validators_hash),
            bytes_field(1, header.next_validators_hash),
            bytes_field(1, header.consensus_hash),
            bytes_field(1, header.app_hash),
            bytes_field(1, header.last_results_hash),
            bytes_field(1, header.evidence_hash),
            bytes_field(1, header.proposer_address),
        ]
    )


def _simple_validator(validator: Validator) -> bytes:
    key = message_field(PROTO_FIELDS[validator.key_type], validator.public_key)
    return message_field(1, key) + number_field(2, validator.power)


@lru_cache(maxsize=32)
def validators_hash(validators: ValidatorSet) -> bytes:
    """Give the Merkle root over the set's keys and powers (types/validator_set.go ``Hash``)."""
    return merkle_root([_simple_validator(v) for v in validators.validators])


def commit_sig_bytes(sig: CommitSig) -> bytes:
    """Encode a CommitSig; its timestamp is always written, Go's zero time for an absent vote."""
    return (
        number_field(1, sig.flag)
        + bytes_field(2, sig.validator_address)
        + message_field(3, timestamp_bytes(sig.timestamp_ns))
        + bytes_field(4, sig.signature)
    )


def commit_hash(commit: Commit) -> bytes:
    """Give the Merkle root over the commit's signatures: the next header's ``last_commit_hash``."""
    return merkle_root([commit_sig_bytes(sig) for sig in commit.signatures])


def vote_sign_bytes(chain_id: str, commit: Commit) -> Callable[[CommitSig], bytes]:
    """Give the function from a vote of ``commit`` to the bytes its validator signed.

    All votes of a commit share everything but the timestamp and, for a nil vote, the block id
    (types/canonical.go ``CanonicalizeVote``), so the shared part is encoded once.
    """
    head = number_field(1, _PRECOMMIT) + _sfixed64(2, commit.height) + _sfixed64(3, commit.round)
    block = b"" if commit.block_id.is_zero() else message_field(4, block_id_bytes(commit.block_id))
    tail = bytes_field(6, chain_id.encode())

    def sign_bytes(sig: CommitSig) -> bytes:
        voted = block if sig.flag is BlockIdFlag.COMMIT else b""
        vote = head + voted + message_field(5, timestamp_bytes(sig.timestamp_ns)) + tail
        return uvarint(len(vote)) + vote

    return sign_bytes
