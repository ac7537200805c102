"""Any bytes as transactions and queries: one result each, no exception, no trace."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Code
from ledger.limits import BLOCK_BYTES_MAX
from tests.simulation.traffic import Traffic
from tests.support.application import Chain
from tests.support.memory_state import MemoryState
from tests.support.subjects import ALICE, MEMBERS, STRANGER, seal

CODES = set(Code)


@functools.cache
def known() -> tuple[bytes, ...]:
    """Give transactions of a random history, some good."""
    source = Traffic.of(5)
    return tuple(tx for height in range(1, 6) for tx in source.block(height))


SIGNED = st.builds(
    seal,
    st.sampled_from((*MEMBERS, STRANGER)),
    st.binary(max_size=40) | st.just(b'{"apiVersion":"conclave.internal/v1","kind":"Approval"}'),
    st.integers(1, 2**53 - 1),
    not_after=st.integers(1, 2**53 - 1),
)
TXS = st.lists(st.binary(max_size=120) | st.deferred(lambda: st.sampled_from(known())) | SIGNED, max_size=8)


@pytest.mark.requires("abci.any-bytes")
@settings(max_examples=40, deadline=None)
@given(TXS, st.integers(1, 2**40))
def test_apply_block_gives_one_result_a_transaction(txs: list[bytes], height: int) -> None:
    state = MemoryState()
    results = state.apply(txs, height)
    assert len(results) == len(txs)
    for result in results:
        assert result.code in CODES
        assert (result.refusal is None) == (result.code is Code.OK) == bool(result.data)
    again = MemoryState()
    assert [(r.code, r.data) for r in again.apply(txs, height)] == [(r.code, r.data) for r in results]
    assert again.content == state.content


@pytest.mark.requires("abci.any-bytes")
@settings(max_examples=40, deadline=None)
@given(TXS, st.text(max_size=8) | st.sampled_from(["/state", "/check"]), st.integers(-(2**63), 2**63 - 1))
def test_the_application_answers_any_bytes(txs: list[bytes], path: str, height: int) -> None:
    chain = Chain()
    chain.start()
    chain.block([])
    for tx in txs:
        assert chain.check(tx) in CODES
        assert chain.query(path, tx, height).code in CODES
        assert chain.query(path, tx, prove=True).code in CODES
    kept = chain.prepare(txs, BLOCK_BYTES_MAX)
    assert chain.process(kept)
    assert all(result.code in CODES for result in chain.finalize(kept).tx_results)
    chain.process(txs)
    response = chain.block(txs)
    assert len(response.tx_results) == len(txs)
    assert chain.info() == (2, response.app_hash)


@pytest.mark.requires("abci.any-bytes")
def test_bodies_made_to_hurt() -> None:
    """Signed by a member, so that they get as far as they can."""
    chain = Chain()
    chain.start()
    bodies = [
        b"[" * 2_000_000,
        b'{"a":' * 100_000,
        b'"' + b'\\"' * 1_000_000,
        b"1" * 4_000_000,
        b"1e" + b"9" * 4_000_000,
        b"\xff" * 1_000_000,
        b'{"apiVersion":"conclave.internal/v1","kind":{}}',
        b'{"apiVersion":"conclave.internal/v1","change":{"release":null},"kind":"Proposal"}',
    ]
    txs = [seal(ALICE, body, number + 1) for number, body in enumerate(bodies)]
    codes = [result.code for result in chain.block(txs).tx_results]
    assert codes == [
        Code.BODY_TOO_DEEP,
        Code.BODY_TOO_DEEP,
        Code.BODY_NOT_JSON,
        Code.BODY_NUMBER_OUT_OF_RANGE,
        Code.BODY_NUMBER_OUT_OF_RANGE,
        Code.BODY_NOT_JSON,
        Code.ACTION_UNKNOWN,
        Code.FIELD_INVALID,
    ]
