"""Published ed25519 edge cases, judged by ZIP-215, and the published key of a specification."""

from __future__ import annotations

import json

import pytest

from ledger import keys
from ledger.ed25519 import is_registrable
from tests.vectors.state.shared import SHARED

ZIP_215 = "VVVVVVXXXVVV"
"""The row of the published table of verifiers (ed25519-speccheck, README)."""
SPECCHECK = SHARED / "vectors" / "ed25519-speccheck" / "cases.json"
DID_W3C = SHARED / "vectors" / "did-w3c"


@pytest.mark.requires("ledger.ed25519-zip215")
def test_speccheck_row_is_zip_215() -> None:
    if not SPECCHECK.is_file():
        pytest.skip(f"no vectors at {SPECCHECK}")
    cases = json.loads(SPECCHECK.read_text())
    verdicts = [
        keys.verify_ed25519(*(bytes.fromhex(case[field]) for field in ("pub_key", "message", "signature")))
        for case in cases
    ]
    assert "".join("V" if verdict else "X" for verdict in verdicts) == ZIP_215


@pytest.mark.requires("ledger.key-registrable")
def test_speccheck_keys_of_small_or_mixed_order_are_not_registrable() -> None:
    """0, 1: small order; 2 to 5, 8, 9: mixed order; 10, 11: not canonical; 6, 7: honest keys."""
    if not SPECCHECK.is_file():
        pytest.skip(f"no vectors at {SPECCHECK}")
    crafted = [bytes.fromhex(case["pub_key"]) for case in json.loads(SPECCHECK.read_text())]
    assert [i for i, key in enumerate(crafted) if is_registrable(key)] == [6, 7]


@pytest.mark.requires("ledger.did-key")
def test_published_credential_verifies_under_its_did_key() -> None:
    if not DID_W3C.is_dir():
        pytest.skip(f"no vectors at {DID_W3C}")
    multibase = json.loads((DID_W3C / "publicKey.json").read_text())["publicKeyMultibase"]
    folder = DID_W3C / "eddsa-jcs-2022"
    message = bytes.fromhex((folder / "combinedHashJCS.txt").read_text())
    signature = bytes.fromhex((folder / "sigHexJCS.txt").read_text())
    public_key = keys.public_key_of(multibase)
    assert keys.key_id(public_key) == multibase
    assert keys.verify_ed25519(public_key, message, signature)
    assert not keys.verify_ed25519(public_key, message + b"x", signature)
