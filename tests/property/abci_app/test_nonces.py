"""The nonce window against the plainest model: the set of nonces used."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import rules
from ledger.errors import Code, Refused
from ledger.limits import NONCE_MAX, NONCE_WINDOW_SIZE
from ledger.records import NonceWindow, read_nonces, write


def expected(used: set[int], nonce: int) -> Code:
    """Judge by the specification's words (docs/spec/ledger.md §1.3)."""
    highest = max(used, default=0)
    if nonce > highest:
        return Code.OK
    if nonce <= highest - NONCE_WINDOW_SIZE:
        return Code.NONCE_TOO_OLD
    return Code.NONCE_REPLAYED if nonce in used else Code.OK


@pytest.mark.requires("abci.nonce-window")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 150) | st.integers(1, NONCE_MAX), max_size=60))
def test_the_window_admits_what_the_set_admits(nonces: list[int]) -> None:
    window, used = NonceWindow(0, 0), set[int]()
    for nonce in nonces:
        verdict = expected(used, nonce)
        try:
            window = rules.use_nonce(window, nonce)
        except Refused as refusal:
            met = refusal.code
        else:
            met = Code.OK
            used.add(nonce)
        assert met is verdict
        assert window.highest == max(used, default=0)
        assert 0 <= window.seen < 2**64
        assert read_nonces(write(window)) == window
