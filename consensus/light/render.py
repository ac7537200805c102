"""From typed blocks back to the JSON of CometBFT's RPC.

Owns the one writing side of the shapes that ``consensus.light.parse`` reads: the trust store keeps headers in
it and test chains serve it. Promises that parsing what it gives yields the same record.
"""

from __future__ import annotations

import base64

from consensus.light.timestamp import format_time
from consensus.light.types import BlockId, Commit, Header, SignedHeader, ValidatorSet
from ledger.types import JsonObject


def block_id_json(block_id: BlockId) -> JsonObject:
    """Give a ``block_id`` object."""
    return {
        "hash": block_id.hash.hex().upper(),
        "parts": {"total": block_id.parts.total, "hash": block_id.parts.hash.hex().upper()},
    }


def header_json(header: Header) -> JsonObject:
    """Give a ``header`` object."""
    return {
        "version": {"block": str(header.version_block), "app": str(header.version_app)},
        "chain_id": header.chain_id,
        "height": str(header.height),
        "time": format_time(header.time_ns),
        "last_block_id": block_id_json(header.last_block_id),
        "last_commit_hash": header.last_commit_hash.hex().upper(),
        "data_hash": header.data_hash.hex().upper(),
        "validators_hash": header.validators_hash.hex().upper(),
        "next_validators_hash": header.next_validators_hash.hex().upper(),
        "consensus_hash": header.consensus_hash.hex().upper(),
        "app_hash": header.app_hash.hex().upper(),
        "last_results_hash": header.last_results_hash.hex().upper(),
        "evidence_hash": header.evidence_hash.hex().upper(),
        "proposer_address": header.proposer_address.hex().upper(),
    }


def commit_json(commit: Commit) -> JsonObject:
    """Give a ``commit`` object."""
    return {
        "height": str(commit.height),
        "round": commit.round,
        "block_id": block_id_json(commit.block_id),
        "signatures": [
            {
                "block_id_flag": int(sig.flag),
                "validator_address": sig.validator_address.hex().upper(),
                "timestamp": format_time(sig.timestamp_ns),
                "signature": base64.b64encode(sig.signature).decode() if sig.signature else None,
            }
            for sig in commit.signatures
        ],
    }


def signed_header_json(signed_header: SignedHeader) -> JsonObject:
    """Give a ``signed_header`` object."""
    return {"header": header_json(signed_header.header), "commit": commit_json(signed_header.commit)}


def validators_json(validators: ValidatorSet) -> list[JsonObject]:
    """Give a list of validators, in the set's order."""
    return [
        {
            "address": address.hex().upper(),
            "pub_key": {"type": str(v.key_type), "value": base64.b64encode(v.public_key).decode()},
            "voting_power": str(v.power),
            "proposer_priority": "0",
        }
        for address, v in zip(validators.addresses, validators.validators, strict=True)
    ]
