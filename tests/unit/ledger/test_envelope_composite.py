"""Envelopes signed with composite keys, with several, and with keys nobody registered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from ledger import envelope
from ledger.envelope import Envelope, Signature
from ledger.errors import Code
from ledger.keys import PublicKey
from tests.support.key_rings import CHAIN_ID, Ring, composite, plain, public
from tests.support.refusal import refusal_of

OLD, NEW = plain("old"), composite("new")
REGISTERED = {NEW.key_id: public(NEW)}


def sealed(key: Ring | Sequence[Ring], chain_id: str = CHAIN_ID) -> Envelope:
    """Seal a small body and open its bytes."""
    tx = envelope.seal(b"{}", chain_id=chain_id, signer=OLD.did, nonce=1, not_after_height=9, key=key)
    return envelope.decode(tx)


def verify(opened: Envelope, known: dict[str, PublicKey] = REGISTERED, chain_id: str = CHAIN_ID) -> str:
    """Verify under registered keys."""
    return envelope.verify_signatures(opened, chain_id=chain_id, resolve=known.get)


@pytest.mark.requires("ledger.envelope-composite")
def test_a_composite_signature_verifies_under_the_registered_key() -> None:
    opened = sealed(NEW)
    assert len(opened.signatures[0].value) == 3373
    assert verify(opened) == envelope.envelope_id(opened)
    refusal_of(lambda: verify(dataclasses.replace(opened, nonce=2)), Code.SIGNATURE_INVALID)
    refusal_of(lambda: verify(opened, known={}), Code.KEY_NOT_OF_SIGNER)
    other = {NEW.key_id: public(composite("other"))}
    refusal_of(lambda: verify(opened, known=other), Code.KEY_NOT_OF_SIGNER)
    refusal_of(lambda: envelope.verify_signatures(opened, chain_id=CHAIN_ID), Code.KEY_NOT_OF_SIGNER)


@pytest.mark.requires("ledger.envelope-composite")
def test_a_composite_signature_is_bound_to_the_chain_by_its_context() -> None:
    opened = sealed(NEW)
    message = envelope.sign_bytes_of(opened)
    for context in (b"", b"other"):
        foreign = dataclasses.replace(opened, signatures=(Signature(NEW.key_id, NEW.sign(message, context)),))
        refusal_of(lambda foreign=foreign: verify(foreign), Code.SIGNATURE_INVALID)  # type: ignore[misc]


@pytest.mark.requires("ledger.envelope-composite")
def test_several_keys_sign_one_envelope_in_the_order_of_their_ids() -> None:
    keys: list[Ring] = [plain("b"), NEW, plain("a"), OLD]
    opened = sealed(keys)
    ids = [signature.key_id for signature in opened.signatures]
    assert ids == sorted(key.key_id for key in keys)
    assert verify(opened) == verify(sealed(keys[::-1]))
    broken = dataclasses.replace(
        opened, signatures=(*opened.signatures[:-1], Signature(ids[-1], opened.signatures[0].value))
    )
    refusal_of(lambda: verify(broken), Code.SIGNATURE_INVALID)


@pytest.mark.requires("ledger.envelope-composite")
def test_a_key_id_says_how_long_its_signature_is() -> None:
    opened = sealed(OLD)
    for key_id, size in ((OLD.key_id, 3373), (NEW.key_id, 64), (NEW.key_id, 3372), (NEW.key_id, 3374)):
        changed = dataclasses.replace(opened, signatures=(Signature(key_id, bytes(size)),))
        refusal_of(lambda changed=changed: envelope.decode(envelope.encode(changed)), Code.SIGNATURE_INVALID)  # type: ignore[misc]


@pytest.mark.requires("ledger.envelope-signatures")
def test_whose_the_key_is_is_no_question_of_the_envelope() -> None:
    """So the verdict may be remembered: it never changes with the state."""
    assert verify(sealed(plain("stranger")), known={})
    weak = dataclasses.replace(sealed(OLD), signatures=(Signature("z6Mk", bytes(64)),))
    refusal_of(lambda: verify(weak), Code.KEY_INVALID)
