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

from ledger.errors import NO_ROOM, Code, EnvironmentFault, Refused, unwritable
from ledger.keys import did_key, key_id

KEY_FILE_BYTES_MAX = 16 * 1024
"""A PKCS#8 ed25519 key is under 1 KiB even when encrypted."""
KEY_FILE_MODE = 0o600
_PEM = serialization.Encoding.PEM
_PKCS8 = serialization.PrivateFormat.PKCS8
_RAW = serialization.Encoding.Raw
_RAW_PUBLIC = serialization.PublicFormat.Raw


class Signer(Protocol):
    """Something that signs for one key pair, wherever the private half lives."""

    @property
    def did(self) -> str:
        """The did:key of the public key."""
        ...

    @property
    def key_id(self) -> str:
        """The multibase multicodec form of the public key (``docs/spec/ledger.md`` §1.1)."""
        ...

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the ed25519 public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign ``message``; gives 64 bytes."""
        ...


@dataclass(frozen=True, slots=True)
class FileSigner:
    """An ed25519 key that was read from a PKCS#8 PEM file."""

    public_key: bytes
    did: str
    key_id: str
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Sign ``message`` with ed25519 (RFC 8032); gives 64 bytes."""
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


def generate_key(path: str | os.PathLike[str], passphrase: bytes | None = None) -> Signer:
    """Make an ed25519 key and write it to ``path`` (PKCS#8 PEM, mode 0600, created exclusively).

    Args:
        path: a file that does not exist yet; its folder does.
        passphrase: encrypts the file if given and not empty.

    Raises:
        Refused: KEY_FILE_INVALID if the file exists already.
        EnvironmentFault: DISK_FULL, KEY_FILE_INVALID if it cannot be written; nothing is left of it.
    """
    private = Ed25519PrivateKey.generate()
    sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        sealed = serialization.BestAvailableEncryption(passphrase)
    content = private.private_bytes(_PEM, _PKCS8, sealed)
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
    return _signer(private)


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
    return _signer(_load(path, content, passphrase))


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


def _load(path: Path, content: bytes, passphrase: bytes | None) -> Ed25519PrivateKey:
    expected = "an ed25519 private key in PKCS#8 PEM"
    cure = "make a key with: conclave key new NAME"
    if b"-----BEGIN " not in content:
        raise _invalid(path, "no PEM block", expected, cure)
    encrypted = b"BEGIN ENCRYPTED PRIVATE KEY" in content
    if encrypted and not passphrase:
        raise _invalid(
            path, "an encrypted key and no passphrase", "the passphrase", "set CONCLAVE_PASSPHRASE"
        )
    try:
        private = serialization.load_pem_private_key(content, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise _invalid(
                path, "a wrong passphrase or a damaged file", expected, "check the passphrase"
            ) from error
        raise _invalid(path, "a PEM block that does not parse", expected, cure) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _invalid(path, f"a key of another type ({type(private).__name__})", expected, cure)
    return private


def _signer(private: Ed25519PrivateKey) -> FileSigner:
    public = private.public_key().public_bytes(_RAW, _RAW_PUBLIC)
    return FileSigner(public_key=public, did=did_key(public), key_id=key_id(public), _private=private)


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
