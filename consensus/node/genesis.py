"""Genesis and node keys in CometBFT's own JSON.

Owns the genesis document, validator and node keys, and their files (private ones 0600, never overwritten).
Promises that the same arguments give the same genesis bytes. It decides nothing about the ledger's genesis
objects: the caller gives them as ``app_state``.

Source: CometBFT v0.38 types/genesis.go, privval/file.go, p2p/key.go.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from consensus.node.spec import NodePaths
from ledger.errors import Code, EnvironmentFault, Refused, unwritable
from ledger.limits import ABCI_MESSAGE_BYTES_MAX, BLOCK_BYTES_MAX, CHAIN_ID_BYTES_MAX, MIB
from ledger.types import JsonObject

SEED_BYTES = 32
DEFAULT_POWER = 10
EVIDENCE_AGE_BLOCKS = 100_000
EVIDENCE_AGE_NS = 21 * 24 * 3600 * 1_000_000_000
"""Longer than the trusting period of readers (consensus.light.types.Options): an attack on a header that a
reader may still build on can be proved."""
"""Misbehaviour can be punished while either age is not passed; trusting periods must stay below it."""
EVIDENCE_BYTES_MAX = 1 * MIB
GENESIS_BYTES_MAX = ABCI_MESSAGE_BYTES_MAX - 1 * MIB
"""The genesis travels in one InitChain."""


@dataclass(frozen=True, slots=True)
class NodeKey:
    """An ed25519 key pair as CometBFT files hold it."""

    seed: bytes
    public: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> NodeKey:
        """Give the key of a 32-byte seed."""
        return cls(seed, bytes(SigningKey(seed).verify_key))

    @classmethod
    def generate(cls) -> NodeKey:
        """Give a new random key."""
        return cls.from_seed(secrets.token_bytes(SEED_BYTES))

    @property
    def address(self) -> str:
        """The first 20 bytes of SHA-256 of the public key, 40 upper-case hex digits."""
        return hashlib.sha256(self.public).digest()[:20].hex().upper()

    @property
    def node_id(self) -> str:
        """The p2p id of this key, 40 lower-case hex digits."""
        return self.address.lower()

    def __repr__(self) -> str:
        """Show the address only: a key must not leak into a log."""
        return f"NodeKey({self.address})"


@dataclass(frozen=True, slots=True)
class GenesisValidator:
    """A validator of the first height: name, ed25519 public key (32 bytes), voting power."""

    name: str
    public: bytes
    power: int = DEFAULT_POWER


def genesis(
    chain_id: str, time_ns: int, validators: tuple[GenesisValidator, ...], app_state: JsonObject
) -> bytes:
    """Give the genesis file. ``time_ns`` counts from the Unix epoch.

    Raises:
        Refused: GENESIS_INVALID (chain id, validators), LIMIT_EXCEEDED (too large for one InitChain).
    """
    if not 1 <= len(chain_id.encode()) <= CHAIN_ID_BYTES_MAX:
        raise Refused(
            Code.GENESIS_INVALID, got=chain_id, expected=f"a chain id of 1 to {CHAIN_ID_BYTES_MAX} bytes"
        )
    if not validators or any(v.power < 1 or len(v.public) != SEED_BYTES for v in validators):
        raise Refused(
            Code.GENESIS_INVALID, got=validators, expected="validators with 32-byte keys and power above 0"
        )
    if len({v.public for v in validators}) != len(validators):
        raise Refused(Code.GENESIS_INVALID, got="two validators with one key", expected="distinct keys")
    document = {
        "genesis_time": _rfc3339(time_ns),
        "chain_id": chain_id,
        "initial_height": "1",
        "consensus_params": _consensus_params(),
        "validators": [_validator(v) for v in validators],
        "app_hash": "",
        "app_state": app_state,
    }
    content = json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
    if len(content) > GENESIS_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"a genesis of {len(content)} bytes",
            expected=f"at most {GENESIS_BYTES_MAX} bytes",
        )
    return content


def write_node_files(paths: NodePaths, genesis_file: bytes, validator: NodeKey, node: NodeKey) -> None:
    """Write genesis, keys and the initial signing state under a home.

    Raises:
        EnvironmentFault: HOME_EXISTS (a key is there already: never overwritten), HOME_INVALID, DISK_FULL.
    """
    for folder in (paths.home, paths.config.parent, paths.validator_state.parent, paths.logs):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = _typed("PrivKey", validator.seed + validator.public)
    validator_key = {
        "address": validator.address,
        "pub_key": _typed("PubKey", validator.public),
        "priv_key": private,
    }
    _write_new(paths.validator_key, _json(validator_key), 0o600)
    _write_new(paths.node_key, _json({"priv_key": _typed("PrivKey", node.seed + node.public)}), 0o600)
    _write_new(paths.validator_state, _json({"height": "0", "round": 0, "step": 0}), 0o600)
    _write_new(paths.genesis, genesis_file, 0o644)


def load_key(path: Path) -> NodeKey:
    """Read ``priv_validator_key.json`` or ``node_key.json``.

    Raises:
        EnvironmentFault: KEY_FILE_INVALID.
    """
    try:
        private = base64.b64decode(json.loads(path.read_bytes())["priv_key"]["value"], validate=True)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _key_fault(path, type(error).__name__) from error
    if len(private) != 2 * SEED_BYTES:
        raise _key_fault(path, f"{len(private)} bytes")
    key = NodeKey.from_seed(private[:SEED_BYTES])
    if key.public != private[SEED_BYTES:]:
        raise _key_fault(path, "a public half of another key")
    return key


def _consensus_params() -> JsonObject:
    return {
        "block": {"max_bytes": str(BLOCK_BYTES_MAX), "max_gas": "-1"},
        "evidence": {
            "max_age_num_blocks": str(EVIDENCE_AGE_BLOCKS),
            "max_age_duration": str(EVIDENCE_AGE_NS),
            "max_bytes": str(EVIDENCE_BYTES_MAX),
        },
        "validator": {"pub_key_types": ["ed25519"]},
        "version": {"app": "0"},
        "abci": {"vote_extensions_enable_height": "0"},
    }


def _validator(validator: GenesisValidator) -> JsonObject:
    return {
        "address": hashlib.sha256(validator.public).digest()[:20].hex().upper(),
        "pub_key": _typed("PubKey", validator.public),
        "power": str(validator.power),
        "name": validator.name,
    }


def _typed(kind: str, key: bytes) -> JsonObject:
    return {"type": f"tendermint/{kind}Ed25519", "value": base64.b64encode(key).decode()}


def _json(document: JsonObject) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def _rfc3339(time_ns: int) -> str:
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanos:09d}Z"


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise EnvironmentFault(
            Code.HOME_EXISTS,
            got=path,
            expected="a home without keys",
            todo="choose another home, or move this one away",
        ) from error
    except OSError as error:
        raise unwritable(error, path=str(path)) from error


def _key_fault(path: Path, got: str) -> EnvironmentFault:
    return EnvironmentFault(
        Code.KEY_FILE_INVALID,
        got=got,
        expected="a CometBFT ed25519 key file",
        todo="restore the file from a backup; never one of an older signing state",
        file=str(path),
    )
