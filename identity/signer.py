"""Private keys: opening, making and signing with them.

Owns the ``Signer`` shape and the table of key URI schemes. Promises that a private key never leaves this part
(a signer gives signatures and public facts only), that a new key file is created exclusively with mode 0600,
and that an unusable key file is refused with its path and the cure. Never talks to the network, never logs
key bytes, never overwrites a key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from identity.composite_signer import composite_signer
from ledger.errors import NO_ROOM, Code, EnvironmentFault, Refused, unwritable
from ledger.keys import Algorithm, did_key, key_id

KEY_FILE_BYTES_MAX = 16 * 1024
"""Both PKCS#8 halves of a composite key are under 1 KiB even when encrypted, as long as they hold seeds."""
KEY_FILE_MODE = 0o600
_PEM = serialization.Encoding.PEM
_PKCS8 = serialization.PrivateFormat.PKCS8
_RAW = serialization.Encoding.Raw
_RAW_PUBLIC = serialization.PublicFormat.Raw
_BEGIN = b"-----BEGIN "
_EXPECTED = "an ed25519 private key in PKCS#8 PEM, or an ML-DSA-65 and an ed25519 one"
_CURE = "make a key with: conclave key new NAME"

Private = Ed25519PrivateKey | MLDSA65PrivateKey


class Signer(Protocol):
    """Something that signs for one key pair, wherever the private half lives."""

    @property
    def did(self) -> str:
        """The did:key of the public key; a composite key has none (``CompositeSigner.did`` refuses)."""
        ...

    @property
    def key_id(self) -> str:
        """The text that names the public key (docs/spec/identities.md §1)."""
        ...

    @property
    def public_key(self) -> bytes:
        """The public key, as many bytes as the algorithm has."""
        ...

    @property
    def algorithm(self) -> Algorithm:
        """What it signs with."""
        ...

    def sign(self, message: bytes, context: bytes = b"") -> bytes:
        """Sign ``message``; a composite signature is bound to ``context``, for an envelope the chain id."""
        ...


@dataclass(frozen=True, slots=True)
class FileSigner:
    """An ed25519 key that was read from a PKCS#8 PEM file."""

    public_key: bytes
    did: str
    key_id: str
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    @property
    def algorithm(self) -> Algorithm:
        """What it signs with."""
        return Algorithm.ED25519

    def sign(self, message: bytes, context: bytes = b"") -> bytes:
        """Sign ``message`` with ed25519 (RFC 8032), which has no context; gives 64 bytes."""
        del context
        return self._private.sign(message)


def open_signer(uri: str, passphrase: bytes | None = None) -> Signer:
    """Open the key that ``uri`` names.

    Args:
        uri: ``file:PATH``; the schemes ``pkcs11:`` and ``vault:`` are known and refused.
        passphrase: what an encrypted key file was encrypted with.

    Raises:
        Refused: KEY_FILE_INVALID (unreadable scheme or content, loose permissions, wrong passphrase).
        EnvironmentFault: KEY_FILE_INVALID when the file is not there or cannot be read.
    """
    scheme, colon, rest = uri.partition(":")
    opener = _SCHEMES.get(scheme) if colon else None
    if opener is None:
        raise Refused(
            Code.KEY_FILE_INVALID,
            got=f"key URI {uri!r}",
            expected="one of " + ", ".join(f"{name}:…" for name in _SCHEMES),
            todo="write file:PATH to name a key file",
            uri=uri,
        )
    return opener(rest, passphrase)


def generate_key(
    path: str | os.PathLike[str],
    passphrase: bytes | None = None,
    algorithm: Algorithm = Algorithm.ED25519,
) -> Signer:
    """Make a key and write it to ``path`` (PKCS#8 PEM, mode 0600, created exclusively).

    Args:
        path: a file that does not exist yet; its folder does.
        passphrase: encrypts the file if given and not empty.
        algorithm: of a composite key the file holds the ML-DSA-65 half, then the ed25519 half.

    Raises:
        Refused: KEY_FILE_INVALID if the file exists already.
        EnvironmentFault: DISK_FULL, KEY_FILE_INVALID if it cannot be written; nothing is left of it.
    """
    private: list[Private] = [Ed25519PrivateKey.generate()]
    if algorithm is Algorithm.COMPOSITE:
        private.insert(0, MLDSA65PrivateKey.generate())
    sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        sealed = serialization.BestAvailableEncryption(passphrase)
    content = b"".join(half.private_bytes(_PEM, _PKCS8, sealed) for half in private)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _write_new(os.open(path, flags, KEY_FILE_MODE), Path(path), content)
    except FileExistsError as error:
        raise Refused(
            Code.KEY_FILE_INVALID,
            got=f"{path} exists already",
            expected="a new file",
            todo="choose another name; a key is never overwritten",
            file=str(path),
        ) from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise unwritable(error, file=str(path)) from error
        raise _unreadable(Path(path), error, "make sure the folder exists and is writable") from error
    return _signer(Path(path), private)


def _write_new(descriptor: int, path: Path, content: bytes) -> None:
    """Write a file that was just created; half a key is no key, so it goes if that fails."""
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _open_file(rest: str, passphrase: bytes | None) -> Signer:
    path = Path(rest)
    content = _read_private(path)
    return _signer(path, _load(path, content, passphrase))


def _read_private(path: Path) -> bytes:
    """Read the file through one descriptor, so that what was checked is what is read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, "check the path, or make a key with: conclave key new NAME") from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise _invalid(path, "not a regular file", "a PEM file", "name the key file itself")
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(facts.st_mode)
        if mode & 0o077:
            raise _invalid(
                path,
                f"mode {mode:04o}: others can read or write the private key",
                "mode 0600",
                f"chmod 600 {path}; if others could read it, make a new key",
            )
        content = file.read(KEY_FILE_BYTES_MAX + 1)
    if len(content) > KEY_FILE_BYTES_MAX:
        raise _invalid(
            path, f"more than {KEY_FILE_BYTES_MAX} bytes", "a PEM file", "name the key file itself"
        )
    return content


def _load(path: Path, content: bytes, passphrase: bytes | None) -> list[Private]:
    """Load every PEM block of the file."""
    blocks = [_BEGIN + block for block in content.split(_BEGIN)[1:]]
    if not 1 <= len(blocks) <= 2:
        got = "no PEM block" if not blocks else f"{len(blocks)} PEM blocks"
        raise _invalid(path, got, _EXPECTED, _CURE)
    if b"BEGIN ENCRYPTED PRIVATE KEY" in content and not passphrase:
        raise _invalid(
            path, "an encrypted key and no passphrase", "the passphrase", "set CONCLAVE_PASSPHRASE"
        )
    return [_load_block(path, block, passphrase) for block in blocks]


def _load_block(path: Path, block: bytes, passphrase: bytes | None) -> Private:
    encrypted = b"BEGIN ENCRYPTED PRIVATE KEY" in block
    try:
        private = serialization.load_pem_private_key(block, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise _invalid(
                path, "a wrong passphrase or a damaged file", _EXPECTED, "check the passphrase"
            ) from error
        raise _invalid(path, "a PEM block that does not parse", _EXPECTED, _CURE) from error
    if not isinstance(private, Ed25519PrivateKey | MLDSA65PrivateKey):
        raise _invalid(path, f"a key of another type ({type(private).__name__})", _EXPECTED, _CURE)
    return private


def _signer(path: Path, private: list[Private]) -> Signer:
    match private:
        case [Ed25519PrivateKey() as only]:
            public = only.public_key().public_bytes(_RAW, _RAW_PUBLIC)
            return FileSigner(public_key=public, did=did_key(public), key_id=key_id(public), _private=only)
        case [MLDSA65PrivateKey() as mldsa, Ed25519PrivateKey() as ed25519]:
            return composite_signer(mldsa, ed25519)
    got = ", ".join(type(half).__name__ for half in private)
    raise _invalid(path, f"these keys: {got}", _EXPECTED, _CURE)


def _not_yet(scheme: str, what: str) -> Callable[[str, bytes | None], Signer]:
    def refuse(rest: str, passphrase: bytes | None) -> Signer:
        del passphrase
        raise Refused(
            Code.KEY_FILE_INVALID,
            got=f"{scheme}:{rest}",
            expected="file:PATH",
            todo=f"keys held by {what} are not supported by this version; use a key file",
            uri=f"{scheme}:{rest}",
        )

    return refuse


_SCHEMES: dict[str, Callable[[str, bytes | None], Signer]] = {
    "file": _open_file,
    "pkcs11": _not_yet("pkcs11", "a PKCS#11 token"),
    "vault": _not_yet("vault", "a Vault server"),
}


def _invalid(path: Path, got: str, expected: str, todo: str) -> Refused:
    return Refused(Code.KEY_FILE_INVALID, got=f"{path}: {got}", expected=expected, todo=todo, file=str(path))


def _unreadable(path: Path, error: Exception, todo: str) -> EnvironmentFault:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return EnvironmentFault(
        Code.KEY_FILE_INVALID, got=f"{path}: {reason}", expected="a key file", todo=todo, file=str(path)
    )
