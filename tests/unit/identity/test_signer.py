"""Key files: made safely, opened strictly, refused with the cure."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from identity.signer import generate_key, open_signer
from ledger.errors import Code, ConclaveError
from ledger.keys import public_key_of, verify_ed25519


@pytest.mark.requires("identity.key-file")
def test_a_new_key_signs_what_its_did_verifies(tmp_path: Path) -> None:
    made = generate_key(tmp_path / "alice.pem")
    opened = open_signer(f"file:{tmp_path}/alice.pem")
    assert (opened.did, opened.key_id) == (made.did, made.key_id)
    assert opened.did == f"did:key:{opened.key_id}"
    assert public_key_of(opened.did) == opened.public_key
    assert verify_ed25519(public_key_of(opened.key_id), b"message", opened.sign(b"message"))
    assert not verify_ed25519(opened.public_key, b"other", opened.sign(b"message"))


@pytest.mark.requires("identity.key-file")
def test_a_key_file_is_private_exclusive_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    old = os.umask(0)
    try:
        generate_key(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(ConclaveError) as refusal:
        generate_key(path)
    assert refusal.value.code is Code.KEY_FILE_INVALID
    assert path.read_bytes() == before


@pytest.mark.requires("identity.key-file")
def test_the_private_half_is_not_shown(tmp_path: Path) -> None:
    signer = generate_key(tmp_path / "alice.pem")
    assert "rivate" not in repr(signer)


@pytest.mark.requires("identity.passphrase")
def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    made = generate_key(path, b"open sesame")
    assert b"ENCRYPTED" in path.read_bytes()
    assert open_signer(f"file:{path}", b"open sesame").did == made.did
    for wrong in (None, b"", b"closed"):
        with pytest.raises(ConclaveError) as refusal:
            open_signer(f"file:{path}", wrong)
        assert refusal.value.code is Code.KEY_FILE_INVALID
        assert refusal.value.facts["file"] == str(path)


@pytest.mark.requires("identity.key-refused")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o666])
def test_loose_permissions_are_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "alice.pem"
    generate_key(path)
    path.chmod(mode)
    with pytest.raises(ConclaveError) as refusal:
        open_signer(f"file:{path}")
    assert refusal.value.code is Code.KEY_FILE_INVALID
    assert f"chmod 600 {path}" in refusal.value.todo


def _other_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.requires("identity.key-refused")
@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 64, b"-----BEGIN PRIVATE KEY-----\nAAAA\n", b"x" * 20_000, _other_key()]
)
def test_wrong_content_is_refused_naming_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConclaveError) as refusal:
        open_signer(f"file:{path}")
    assert refusal.value.code is Code.KEY_FILE_INVALID
    assert refusal.value.facts["file"] == str(path)
    assert refusal.value.todo


@pytest.mark.requires("identity.key-refused")
@pytest.mark.parametrize(
    "uri",
    [
        "",
        "alice.pem",
        "file:",
        "file:/nowhere/alice.pem",
        "file:/tmp",
        "file:a\0b",
        "pkcs11:token=a",
        "vault:x",
        "ftp:x",
    ],
)
def test_an_unusable_key_uri_is_refused(uri: str) -> None:
    with pytest.raises(ConclaveError) as refusal:
        open_signer(uri)
    assert refusal.value.code is Code.KEY_FILE_INVALID
    assert refusal.value.todo
