"""What PyNaCl accepts, ZIP-215 accepts: the fast path never lets a signature in that the rule refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger import keys
from ledger.ed25519 import is_registrable, verify_zip215

SEEDS = st.binary(min_size=32, max_size=32)


@pytest.mark.requires("ledger.ed25519-fast-subset")
@settings(max_examples=60, deadline=None)
@given(SEEDS, st.binary(max_size=80), st.lists(st.tuples(st.integers(0, 767), st.booleans()), max_size=2))
def test_pynacl_is_within_zip_215(seed: bytes, message: bytes, flips: list[tuple[int, bool]]) -> None:
    private = SigningKey(seed)
    signed = int.from_bytes(bytes(private.verify_key) + private.sign(message).signature, "little")
    for bit, _ in flips:
        signed ^= 1 << bit
    content = signed.to_bytes(96, "little")
    public_key, signature = content[:32], content[32:]
    fast = keys.verify_ed25519(public_key, message, signature, exact=False)
    exact = verify_zip215(public_key, message, signature)
    assert exact or not fast
    assert keys.verify_ed25519(public_key, message, signature) == exact
    if content == bytes(private.verify_key) + private.sign(message).signature:
        assert fast


@pytest.mark.requires("ledger.did-key")
@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_every_generated_key_is_registrable_and_its_id_reads_back(seed: bytes) -> None:
    public_key = bytes(SigningKey(seed).verify_key)
    assert is_registrable(public_key)
    assert keys.public_key_of(keys.key_id(public_key)) == public_key
    assert keys.public_key_of(keys.did_key(public_key)) == public_key
