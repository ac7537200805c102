"""Composite private keys: made, opened, and what they sign."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from identity.composite_signer import CompositeSigner
from identity.signer import generate_key, open_signer
from ledger import composite
from ledger.errors import Code, ConclaveError
from ledger.keys import Algorithm, PublicKey
from tests.support.refusal import refusal_of


def made(path: Path, passphrase: bytes | None = None) -> CompositeSigner:
    """Make a composite key file."""
    signer = generate_key(path, passphrase, Algorithm.COMPOSITE)
    assert isinstance(signer, CompositeSigner)
    return signer


@pytest.mark.requires("identity.composite-key")
@pytest.mark.parametrize("passphrase", [None, b"open sesame"])
def test_a_composite_key_file_opens_as_the_key_that_was_made(
    tmp_path: Path, passphrase: bytes | None
) -> None:
    path = tmp_path / "alice.pem"
    signer = made(path, passphrase)
    opened = open_signer(f"file:{path}", passphrase)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().count(b"-----BEGIN ") == 2
    assert (opened.algorithm, opened.key_id, opened.public_key) == (
        Algorithm.COMPOSITE,
        signer.key_id,
        signer.public_key,
    )
    public = PublicKey(Algorithm.COMPOSITE, opened.public_key)
    assert public.key_id == opened.key_id
    signature = opened.sign(b"message", b"chain")
    assert composite.verify(public, b"message", signature, context=b"chain")
    assert not composite.verify(public, b"message", signature, context=b"other")
    assert not composite.verify(public, b"message", opened.sign(b"message"), context=b"chain")


@pytest.mark.requires("identity.composite-key")
def test_a_composite_key_has_no_did_key_and_shows_no_private_half(tmp_path: Path) -> None:
    signer = made(tmp_path / "alice.pem")
    refusal_of(lambda: signer.did, Code.KEY_INVALID)
    refusal_of(lambda: signer.sign(b"", b"c" * 256), Code.LIMIT_EXCEEDED)
    assert "rivate" not in repr(signer)


@pytest.mark.requires("identity.composite-key")
def test_halves_missing_doubled_turned_or_of_another_algorithm_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "good.pem")
    first, second = (tmp_path / "good.pem").read_bytes().split(b"-----BEGIN ")[1:]
    pem, pkcs8, plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    other = MLDSA44PrivateKey.generate().private_bytes(pem, pkcs8, plain).removeprefix(b"-----BEGIN ")
    path = tmp_path / "bad.pem"
    for blocks in (
        [first],
        [second, first],
        [first, first],
        [second, second],
        [first, second, second],
        [other, second],
    ):
        path.write_bytes(b"".join(b"-----BEGIN " + block for block in blocks))
        path.chmod(0o600)
        with pytest.raises(ConclaveError) as refusal:
            open_signer(f"file:{path}")
        assert refusal.value.code is Code.KEY_FILE_INVALID
        assert refusal.value.facts["file"] == str(path)
