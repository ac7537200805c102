"""The envelope over arbitrary fields and arbitrary bytes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger import envelope
from ledger.actions import read_action
from ledger.envelope import Envelope, Signature
from ledger.errors import Code, Refused
from ledger.types import Did
from tests.support.refusal import outcome
from tests.support.subjects import ALICE, CHAIN_ID, seal

TX = seal(ALICE, b'{"a":1}', 7)
UINT64 = st.integers(0, 2**64 - 1)
ENVELOPES = st.builds(
    Envelope,
    body=st.binary(max_size=40),
    chain_id=st.text(max_size=12),
    signer=st.text(max_size=12).map(Did),
    nonce=UINT64 | st.integers(0, 3),
    not_after_height=UINT64 | st.integers(0, 3),
    signatures=st.lists(
        st.builds(
            Signature,
            st.text(max_size=4) | st.just("zQm"),
            st.binary(max_size=2) | st.sampled_from((bytes(64), bytes(3373))),
        ),
        max_size=9,
    ).map(tuple),
)


def open_envelope(content: bytes) -> Envelope:
    """Open, verify and read as the machine does; composite keys are not registered."""
    opened = envelope.decode(content)
    envelope.verify_signatures(opened, chain_id=CHAIN_ID)
    read_action(opened.body, image_digest_required=True)
    return opened


CHUNKS = st.sampled_from([TX[i : i + 9] for i in range(0, len(TX), 9)]) | st.binary(max_size=6)


@pytest.mark.requires("ledger.envelope-one-encoding")
@settings(max_examples=100, deadline=None)
@given(ENVELOPES)
def test_what_decodes_encodes_to_the_same_bytes(written: Envelope) -> None:
    content = envelope.encode(written)
    read, code = outcome(lambda: envelope.decode(content))
    if not code:
        assert read == written
        assert envelope.encode(read) == content


@pytest.mark.requires("ledger.envelope-id-unsigned")
@settings(max_examples=100, deadline=None)
@given(ENVELOPES, ENVELOPES)
def test_different_content_never_shares_an_id(one: Envelope, other: Envelope) -> None:
    same = dataclasses.replace(one, signatures=()) == dataclasses.replace(other, signatures=())
    assert (envelope.envelope_id(one) == envelope.envelope_id(other)) == same


@pytest.mark.requires("ledger.envelope-any-bytes")
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.lists(CHUNKS, max_size=60).map(b"".join) | ENVELOPES.map(envelope.encode))
@example(b"")
@example(b"\x0b" * 200_000)
@example(b"\x32\xff\xff\xff\xff\x0f")
def test_any_bytes_open_or_are_refused(content: bytes) -> None:
    opened, code = outcome(lambda: open_envelope(content))
    assert (opened is None) == bool(code)
    assert outcome(lambda: envelope.decode(content))[1] in (code, Code.OK)


@pytest.mark.requires("ledger.envelope-any-bytes")
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 2**53 - 1), st.integers(1, 2**53 - 1))
def test_any_signed_body_opens_or_is_refused(body: bytes, nonce: int, not_after: int) -> None:
    """A stranger can sign anything with a key of their own."""
    with pytest.raises(Refused):
        open_envelope(seal(ALICE, body, nonce, not_after=not_after))


@pytest.mark.requires("ledger.envelope-mutation")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 64 * 8 - 1), st.integers(0, 64 * 8 - 1))
def test_no_bit_of_a_signature_can_be_changed_under_the_exact_rule(one: int, two: int) -> None:
    opened = envelope.decode(TX)
    flipped = int.from_bytes(opened.signatures[0].value, "big") ^ (1 << one) ^ (0 if one == two else 1 << two)
    signature = Signature(ALICE.key_id, flipped.to_bytes(64, "big"))
    with pytest.raises(Refused):
        envelope.verify_signatures(
            dataclasses.replace(opened, signatures=(signature,)),
            chain_id=CHAIN_ID,
        )
