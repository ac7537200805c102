"""Accounts against the plainest model: a set of nonces, a count by window, a list of heights."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import account, canonical
from ledger.account import EMPTY, Account
from ledger.errors import Code
from ledger.limits import (
    JSON_INTEGER_MAX,
    NONCE_AHEAD_MAX,
    NONCE_MAX,
    NONCE_WINDOW_SIZE,
    OPEN_PROPOSALS_MAX,
    RATE_WINDOW_BLOCKS,
)
from tests.support.refusal import outcome

_numbers = st.integers(0, 300) | st.integers(0, JSON_INTEGER_MAX)
_accounts = st.builds(
    Account,
    _numbers,
    st.integers(0, 2**64 - 1),
    _numbers,
    _numbers,
    st.dictionaries(_numbers, st.integers(1, OPEN_PROPOSALS_MAX), max_size=OPEN_PROPOSALS_MAX).map(
        lambda places: tuple(sorted(places.items()))
    ),
)


@pytest.mark.requires("ledger.account-record")
@settings(max_examples=60, deadline=None)
@given(_accounts)
def test_what_is_written_is_canonical_and_reads_back(record: Account) -> None:
    content = account.write(record)
    plain = {
        **dataclasses.asdict(record),
        "open": [list(places) for places in record.open],
        "seen": f"{record.seen:016x}",
    }
    assert content == canonical.dump(plain)
    assert account.read(content) == record


NONCES = st.integers(1, 150) | st.integers(1, 4 * NONCE_AHEAD_MAX) | st.integers(1, NONCE_MAX)


def expected_of(used: set[int], nonce: int) -> Code:
    """Judge by the specification's words (docs/spec/ledger.md §1.3)."""
    highest = max(used, default=0)
    if nonce > highest:
        return Code.OK if nonce <= highest + NONCE_AHEAD_MAX else Code.NONCE_TOO_FAR
    if nonce <= highest - NONCE_WINDOW_SIZE:
        return Code.NONCE_TOO_OLD
    return Code.NONCE_REPLAYED if nonce in used else Code.OK


@pytest.mark.requires("ledger.account-nonce")
@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.integers(1, 150) | st.integers(1, 4 * NONCE_AHEAD_MAX) | st.integers(1, NONCE_MAX), max_size=60
    )
)
def test_the_window_admits_what_the_set_admits(nonces: list[int]) -> None:
    record, used = EMPTY, set[int]()
    for nonce in nonces:
        verdict = expected_of(used, nonce)
        after, met = outcome(partial(account.use_nonce, record, nonce))
        assert met is verdict
        if met is Code.OK:
            record = after
            used.add(nonce)
        assert record.highest == max(used, default=0)
        assert 0 <= record.seen < 2**64


@pytest.mark.requires("ledger.account-rate")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, RATE_WINDOW_BLOCKS // 2), max_size=40), st.integers(1, 5))
def test_no_window_has_more_envelopes_than_allowed(steps: list[int], most: int) -> None:
    record, height, let_in = EMPTY, 1, list[int]()
    for step in steps:
        height += step
        window = height // RATE_WINDOW_BLOCKS
        has_room = let_in.count(window) < most
        after, met = outcome(partial(account.count_envelope, record, height, most))
        assert met is (Code.OK if has_room else Code.RATE_EXCEEDED)
        if met is Code.OK:
            record = after
            let_in.append(window)


_deeds = st.tuples(st.sampled_from(["open", "close"]), st.integers(0, 8), st.integers(0, 3))


@pytest.mark.requires("ledger.account-open")
@settings(max_examples=80, deadline=None)
@given(st.lists(_deeds, max_size=40), st.integers(1, 4))
def test_open_proposals_are_those_of_a_plain_list(deeds: list[tuple[str, int, int]], most: int) -> None:
    """Closing comes for proposals that are open still, as in the machine, or that never were."""
    record, height, plain = EMPTY, 1, list[int]()
    for deed, length, step in deeds:
        height += step
        expires = height + length
        plain = [last for last in plain if last >= height]
        if deed == "close":
            record = account.close_proposal(record, expires)
            if expires in plain:
                plain.remove(expires)
        else:
            fits = len(plain) < most
            after, met = outcome(partial(account.open_proposal, record, expires, height, most))
            assert met is (Code.OK if fits else Code.OPEN_PROPOSALS_EXCEEDED)
            if met is Code.OK:
                record = after
                plain.append(expires)
        listed = [last for last, number in record.open for _ in range(number)]
        assert [last for last in listed if last >= height] == sorted(plain)
        assert len(listed) <= most
