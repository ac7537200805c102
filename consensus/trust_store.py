"""What this machine trusts, kept across restarts.

Owns one JSON file: the root of trust the operator named and the newest header verified from it. Promises
that a reader sees either the old or the new content, never a mixture (temporary file, fsync, rename,
fsync of the folder), and that damage is noticed (a checksum inside). The file is owner-only; it is not
secret, but whoever can write it chooses what is believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from consensus.light.encoding import header_hash, validators_hash
from consensus.light.fields import Fields
from consensus.light.parse import parse_header, parse_validator, parse_validators
from consensus.light.render import header_json, validators_json
from consensus.light.types import HASH_BYTES, VALIDATORS_MAX, Trusted, ValidatorSet
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed, unwritable
from ledger.limits import CHAIN_ID_BYTES_MAX, MIB
from ledger.types import JsonObject, sha256

_FORMAT = 1
_FILE_BYTES_MAX = 16 * MIB
"""Two sets of ``VALIDATORS_MAX`` validators fit."""


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """What the operator decided to believe. Made by ``from_genesis`` or ``at``.

    Attributes:
        chain_id: the chain.
        height: the height of the first header believed.
        hash: that header's hash; None where the genesis validators are the root.
        validators: the genesis validators; None where a hash is the root.
    """

    chain_id: str
    height: int
    hash: bytes | None
    validators: ValidatorSet | None

    @classmethod
    def from_genesis(cls, genesis: JsonObject) -> TrustRoot:
        """Trust the validators of a genesis file: they must have signed the first header.

        Args:
            genesis: the parsed genesis file.

        Raises:
            Refused: GENESIS_INVALID.
        """
        try:
            fields = Fields(genesis, "genesis", lax=True)
            items = fields.items("validators", VALIDATORS_MAX)
            chosen = tuple(parse_validator(v, i, lax=True, power="power") for i, v in enumerate(items))
            validators = ValidatorSet.of(chosen)
            height = fields.int64("initial_height") if fields.get("initial_height") is not None else 1
            chain_id = fields.text("chain_id", CHAIN_ID_BYTES_MAX)
        except VerificationFailed as error:
            raise Refused(
                Code.GENESIS_INVALID,
                got=error.got,
                expected=error.expected,
                cause=error.code.name,
                **error.facts,
            ) from None
        if not validators.validators or not chain_id or height < 0:
            raise Refused(Code.GENESIS_INVALID, expected="a chain id and at least one validator")
        return cls(chain_id, max(height, 1), None, validators)

    @classmethod
    def at(cls, chain_id: str, height: int, header_hash: bytes) -> TrustRoot:
        """Trust the header of ``height`` by its hash, learned from somebody the operator trusts.

        Raises:
            Refused: FIELD_INVALID for no height or a hash that is not 32 bytes.
        """
        if height < 1 or len(header_hash) != HASH_BYTES or not chain_id:
            raise Refused(
                Code.FIELD_INVALID,
                got=f"{chain_id}, height {height}, hash of {len(header_hash)} bytes",
                expected="a chain id, a height from 1 and a hash of 32 bytes",
            )
        return cls(chain_id, height, header_hash, None)


@dataclass(frozen=True, slots=True)
class TrustState:
    """The file's content.

    Attributes:
        root: what the operator named.
        newest: the newest verified block; None before the first.
        verified_at_ns: when it was verified, nanoseconds since the epoch; 0 before the first.
    """

    root: TrustRoot
    newest: Trusted | None = None
    verified_at_ns: int = 0


class TrustStore:
    """The file at ``path``. Its folder must exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> TrustState | None:
        """Read the file; None where there is none yet.

        Raises:
            EnvironmentFault: TRUST_STORE_CORRUPT, HOME_INVALID where it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(_FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        try:
            return _read_state(content)
        except (ConclaveError, ValueError, KeyError, TypeError, RecursionError) as error:
            detail = str(error) if isinstance(error, ConclaveError) else type(error).__name__
            self._corrupt(detail)

    def ensure(self, root: TrustRoot) -> TrustState:
        """Read the file, or begin it with ``root``.

        Raises:
            EnvironmentFault: as ``load`` and ``save``.
            Refused: TRUST_ROOT_MISMATCH if the file was begun with another root.
        """
        state = self.load()
        if state is None:
            state = TrustState(root)
            self.save(state)
        elif state.root != root:
            raise Refused(
                Code.TRUST_ROOT_MISMATCH,
                got=f"{root.chain_id} from height {root.height}",
                expected=f"{state.root.chain_id} from height {state.root.height}, as the file has it",
                todo="remove the file to begin anew with another root of trust",
                file=str(self.path),
            )
        return state

    def save(self, state: TrustState) -> None:
        """Replace the file durably.

        Raises:
            EnvironmentFault: DISK_FULL, HOME_INVALID.
        """
        content = _write_state(state)
        folder = self.path.parent
        try:
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
                raise
            _sync_folder(folder)
        except OSError as error:
            raise self._unusable(error) from None

    def _corrupt(self, detail: str) -> NoReturn:
        raise EnvironmentFault(
            Code.TRUST_STORE_CORRUPT,
            got=detail,
            expected="the file as this program wrote it",
            todo="check the disk; then remove the file and name the root of trust again",
            file=str(self.path),
        )

    def _unusable(self, error: OSError) -> EnvironmentFault:
        return unwritable(error, "a folder this user may read and write", file=str(self.path))


class MemoryStore(TrustStore):
    """A trust store that lives no longer than its process: for a file that is judged once, and for tests."""

    def __init__(self, root: TrustRoot) -> None:
        super().__init__(Path("(in memory)"))
        self._state = TrustState(root)

    def load(self) -> TrustState:
        """Give what is kept."""
        return self._state

    def save(self, state: TrustState) -> None:
        """Keep ``state``."""
        self._state = state


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _canonical(content: JsonObject) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _write_state(state: TrustState) -> bytes:
    content: JsonObject = {
        "format": _FORMAT,
        "root": _root_json(state.root),
        "newest": None if state.newest is None else _trusted_json(state.newest),
        "verifiedAt": state.verified_at_ns,
    }
    return _sealed(content)


def _sealed(content: JsonObject) -> bytes:
    return _canonical(content | {"checksum": sha256(_canonical(content)).hex()}) + b"\n"


def _read_state(content: bytes) -> TrustState:
    if len(content) > _FILE_BYTES_MAX:
        raise ValueError(len(content))
    value = json.loads(content)
    del value["checksum"]
    if _sealed(value) != content or value["format"] != _FORMAT:
        raise Refused(Code.TRUST_STORE_CORRUPT, got="a wrong checksum or format")
    newest = value["newest"]
    return TrustState(
        root=_read_root(value["root"]),
        newest=None if newest is None else _read_trusted(newest),
        verified_at_ns=int(value["verifiedAt"]),
    )


def _root_json(root: TrustRoot) -> JsonObject:
    return {
        "chainId": root.chain_id,
        "height": root.height,
        "hash": None if root.hash is None else root.hash.hex(),
        "validators": None if root.validators is None else validators_json(root.validators),
    }


def _read_root(value: JsonObject) -> TrustRoot:
    return TrustRoot(
        chain_id=str(value["chainId"]),
        height=int(value["height"]),
        hash=None if value["hash"] is None else bytes.fromhex(value["hash"]),
        validators=None if value["validators"] is None else parse_validators(value["validators"]),
    )


def _trusted_json(trusted: Trusted) -> JsonObject:
    following: Any = None if trusted.next_validators is None else validators_json(trusted.next_validators)
    return {"header": header_json(trusted.header), "nextValidators": following}


def _read_trusted(value: JsonObject) -> Trusted:
    header = parse_header(value["header"])
    following = None if value["nextValidators"] is None else parse_validators(value["nextValidators"])
    if following is not None and validators_hash(following) != header.next_validators_hash:
        raise Refused(Code.TRUST_STORE_CORRUPT, got="a validator set that does not match its header")
    return Trusted(header, header_hash(header), following)
