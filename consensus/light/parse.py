"""From the JSON of CometBFT's RPC to typed blocks.

Owns the shapes of ``signed_header`` and of validator lists. Promises that any JSON value gives either a
record whose sizes are within CometBFT's own limits or ``VerificationFailed`` (HEADER_MALFORMED,
VALIDATOR_SET_INVALID, KEY_TYPE_UNSUPPORTED, VALIDATOR_DUPLICATE); never judges signatures or hashes.

``lax=True`` is the spelling of the conformance door and of foreign test vectors: integers may be numbers,
unknown fields are ignored, ``part_set_header`` stands for ``parts``, ``last_block_id`` may be null, an
absent vote may carry no time or the Unix epoch.
"""

from __future__ import annotations

from typing import Any

from consensus.light.fields import Fields
from consensus.light.keys import PUBLIC_KEY_BYTES, has_addresses
from consensus.light.types import (
    ADDRESS_BYTES,
    APP_HASH_BYTES_MAX,
    EMPTY_BLOCK_ID,
    GO_ZERO_TIME_NS,
    HASH_BYTES,
    MLDSA65_SIGNATURE_BYTES,
    SIGNATURE_BYTES_MAX,
    VALIDATORS_MAX,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    KeyType,
    LightBlock,
    PartSetHeader,
    SignedHeader,
    Validator,
    ValidatorSet,
)
from ledger.errors import Code, VerificationFailed
from ledger.limits import CHAIN_ID_BYTES_MAX

_HEADER_FIELDS = (
    "version",
    "chain_id",
    "height",
    "time",
    "last_block_id",
    "last_commit_hash",
    "data_hash",
    "validators_hash",
    "next_validators_hash",
    "consensus_hash",
    "app_hash",
    "last_results_hash",
    "evidence_hash",
    "proposer_address",
)
_HASH = (HASH_BYTES,)
_HASH_OR_EMPTY = (0, HASH_BYTES)
_KEY_TYPES = {kind.value: kind for kind in KeyType}
_ROUND_MAX = 2**31 - 1
_PARTS_MAX = 2**32 - 1


def parse_block_id(value: Any, where: str, *, lax: bool = False) -> BlockId:
    """Read a ``block_id`` object.

    Raises:
        VerificationFailed: HEADER_MALFORMED.
    """
    if value is None and lax:
        return EMPTY_BLOCK_ID
    fields = Fields(value, where, lax=lax)
    fields.only("hash", "parts")
    parts_name = "part_set_header" if lax and fields.get("parts") is None else "parts"
    parts_value = fields.get(parts_name)
    if parts_value is None and lax:
        return BlockId(fields.hex("hash", _HASH_OR_EMPTY), EMPTY_BLOCK_ID.parts)
    parts = Fields(parts_value, f"{where}.{parts_name}", lax=lax)
    parts.only("total", "hash")
    return BlockId(
        hash=fields.hex("hash", _HASH_OR_EMPTY),
        parts=PartSetHeader(parts.small("total", _PARTS_MAX), parts.hex("hash", _HASH_OR_EMPTY)),
    )


def parse_header(value: Any, *, lax: bool = False) -> Header:
    """Read a ``header`` object.

    Raises:
        VerificationFailed: HEADER_MALFORMED.
    """
    fields = Fields(value, "header", lax=lax)
    fields.only(*_HEADER_FIELDS)
    version = Fields(fields.get("version"), "header.version", lax=lax)
    version.only("block", "app")
    return Header(
        version_block=version.uint64("block"),
        version_app=version.uint64("app"),
        chain_id=fields.text("chain_id", CHAIN_ID_BYTES_MAX),
        height=fields.int64("height"),
        time_ns=fields.time("time"),
        last_block_id=parse_block_id(fields.get("last_block_id"), "header.last_block_id", lax=lax),
        last_commit_hash=fields.hex("last_commit_hash", _HASH_OR_EMPTY),
        data_hash=fields.hex("data_hash", _HASH_OR_EMPTY),
        validators_hash=fields.hex("validators_hash", _HASH),
        next_validators_hash=fields.hex("next_validators_hash", _HASH_OR_EMPTY),
        consensus_hash=fields.hex("consensus_hash", _HASH_OR_EMPTY),
        app_hash=fields.hex_upto("app_hash", APP_HASH_BYTES_MAX),
        last_results_hash=fields.hex("last_results_hash", _HASH_OR_EMPTY),
        evidence_hash=fields.hex("evidence_hash", _HASH_OR_EMPTY),
        proposer_address=fields.hex("proposer_address", (ADDRESS_BYTES,)),
    )


def _parse_commit_sig(value: Any, index: int, *, lax: bool) -> CommitSig:
    fields = Fields(value, f"commit.signatures[{index}]", lax=lax)
    fields.only("block_id_flag", "validator_address", "timestamp", "signature")
    number = fields.small("block_id_flag", 3)
    if number == 0:
        raise fields.malformed("block_id_flag", number, "1, 2 or 3")
    flag = BlockIdFlag(number)
    time_ns = GO_ZERO_TIME_NS if lax and fields.get("timestamp") is None else fields.time("timestamp")
    signature = _signature(fields)
    if flag is BlockIdFlag.ABSENT:
        address = fields.hex("validator_address", (0,))
        if signature or (time_ns != GO_ZERO_TIME_NS and not (lax and time_ns == 0)):
            raise fields.malformed("", "an absent vote with content", "an absent vote without")
        return CommitSig(flag, address, time_ns, signature)
    if not signature:
        raise fields.malformed("signature", "", "a signature")
    return CommitSig(flag, fields.hex("validator_address", (ADDRESS_BYTES,)), time_ns, signature)


def _signature(fields: Fields) -> bytes:
    """Read a signature. One that only an ML-DSA-65 key makes is refused by that, not as one too large."""
    signature = fields.base64("signature", MLDSA65_SIGNATURE_BYTES)
    if len(signature) == MLDSA65_SIGNATURE_BYTES:
        raise VerificationFailed(
            Code.KEY_TYPE_UNSUPPORTED,
            got=f"a signature of {len(signature)} bytes, as of an ML-DSA-65 key",
            expected=_supported(),
            field=fields.named("signature"),
        )
    if len(signature) > SIGNATURE_BYTES_MAX:
        raise fields.malformed("signature", f"{len(signature)} bytes", f"at most {SIGNATURE_BYTES_MAX} bytes")
    return signature


def parse_commit(value: Any, *, lax: bool = False) -> Commit:
    """Read a ``commit`` object.

    Raises:
        VerificationFailed: HEADER_MALFORMED.
    """
    fields = Fields(value, "commit", lax=lax)
    fields.only("height", "round", "block_id", "signatures")
    signatures = fields.items("signatures", VALIDATORS_MAX)
    return Commit(
        height=fields.int64("height"),
        round=fields.small("round", _ROUND_MAX),
        block_id=parse_block_id(fields.get("block_id"), "commit.block_id", lax=lax),
        signatures=tuple(_parse_commit_sig(sig, i, lax=lax) for i, sig in enumerate(signatures)),
    )


def parse_signed_header(value: Any, *, lax: bool = False) -> SignedHeader:
    """Read a ``signed_header`` object, as in ``/commit``.

    Raises:
        VerificationFailed: HEADER_MALFORMED.
    """
    fields = Fields(value, "signed_header", lax=lax)
    fields.only("header", "commit")
    return SignedHeader(
        header=parse_header(fields.get("header"), lax=lax), commit=parse_commit(fields.get("commit"), lax=lax)
    )


def parse_validator(value: Any, index: int, *, lax: bool = False, power: str = "voting_power") -> Validator:
    """Read one validator; ``power`` names its power field (``power`` in a genesis file).

    Raises:
        VerificationFailed: VALIDATOR_SET_INVALID, or KEY_TYPE_UNSUPPORTED with the type met.
    """
    code = Code.VALIDATOR_SET_INVALID
    fields = Fields(value, f"validators[{index}]", lax=lax, code=code)
    fields.only("address", "pub_key", power, "proposer_priority", "name")
    key = Fields(fields.get("pub_key"), f"validators[{index}].pub_key", lax=lax, code=code)
    key.only("type", "value")
    key_type = _key_type(key.text("type", 64), f"validators[{index}].pub_key")
    size = PUBLIC_KEY_BYTES[key_type]
    public_key = key.base64("value", size)
    if len(public_key) != size:
        raise key.malformed("value", f"{len(public_key)} bytes", f"{size} bytes")
    validator = Validator(key_type, public_key, fields.int64(power))
    stated = fields.hex("address", (0, ADDRESS_BYTES))
    if stated and stated != validator.address:
        raise fields.malformed("address", stated.hex(), validator.address.hex())
    return validator


def _supported() -> str:
    return " or ".join(kind for kind in KeyType if has_addresses(kind))


def _key_type(name: str, where: str) -> KeyType:
    known = _KEY_TYPES.get(name)
    if known is None or not has_addresses(known):
        raise VerificationFailed(
            Code.KEY_TYPE_UNSUPPORTED,
            got=name,
            expected=_supported(),
            field=where,
        )
    return known


def parse_validators(value: Any, *, lax: bool = False) -> ValidatorSet:
    """Read a list of validators, in any order.

    Raises:
        VerificationFailed: VALIDATOR_SET_INVALID, VALIDATOR_DUPLICATE, KEY_TYPE_UNSUPPORTED.
    """
    if not isinstance(value, list) or len(value) > VALIDATORS_MAX:
        raise VerificationFailed(
            Code.VALIDATOR_SET_INVALID,
            got=len(value) if isinstance(value, list) else type(value).__name__,
            expected=f"a list of at most {VALIDATORS_MAX} validators",
        )
    return ValidatorSet.of(tuple(parse_validator(v, i, lax=lax) for i, v in enumerate(value)))


def parse_light_block(value: Any, *, lax: bool = False) -> LightBlock:
    """Read ``{signed_header, validators, next_validators?}``.

    Raises:
        VerificationFailed: as the parts.
    """
    fields = Fields(value, "light_block", lax=lax)
    fields.only("signed_header", "validators", "next_validators")
    following = fields.get("next_validators")
    return LightBlock(
        signed_header=parse_signed_header(fields.get("signed_header"), lax=lax),
        validators=parse_validators(fields.get("validators"), lax=lax),
        next_validators=None if following is None else parse_validators(following, lax=lax),
    )
