"""The account of a subject: exact bytes, strict reading, and what each rule draws from it."""

from __future__ import annotations

from functools import partial

import pytest

from ledger import account
from ledger.account import EMPTY, Account
from ledger.errors import Code
from ledger.limits import JSON_INTEGER_MAX, NONCE_AHEAD_MAX, NONCE_MAX, OPEN_PROPOSALS_MAX, RATE_WINDOW_BLOCKS
from tests.support.refusal import refusal_of

GOLDEN = b'{"count":7,"highest":70,"open":[[120,2],[4000,1]],"seen":"8000000000000001","window":12}'


@pytest.mark.requires("ledger.account-record")
def test_an_account_has_the_bytes_of_the_specification() -> None:
    record = Account(highest=70, seen=1 << 63 | 1, window=12, count=7, open=((120, 2), (4000, 1)))
    assert account.write(record) == GOLDEN
    assert account.read(GOLDEN) == record
    assert account.read(None) == EMPTY == Account(0, 0, 0, 0, ())
    assert account.write(EMPTY) == b'{"count":0,"highest":0,"open":[],"seen":"0000000000000000","window":0}'


@pytest.mark.requires("ledger.account-record")
@pytest.mark.parametrize("number", [1, 10**15 - 1, 10**15, JSON_INTEGER_MAX])
def test_the_short_road_and_the_long_one_read_the_same(number: int) -> None:
    for places in (1, 99, 100, OPEN_PROPOSALS_MAX):
        full = Account(number, 2**64 - 1, number, number, ((0, 1), (number, places)))
        assert account.read(account.write(full)) == full


@pytest.mark.requires("ledger.account-record")
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"count":7,', b"", Code.FIELD_MISSING),
        (b'"count":7', b'"count":7,"credit":1', Code.FIELD_UNKNOWN),
        (b'"count":7', b'"count":-7', Code.FIELD_INVALID),
        (b'"count":7', b'"count":"7"', Code.FIELD_INVALID),
        (b'"highest":70', b'"highest":9007199254740992', Code.BODY_NUMBER_OUT_OF_RANGE),
        (b"8000000000000001", b"800000000000000A", Code.FIELD_INVALID),
        (b"8000000000000001", b"80000000000000010", Code.FIELD_INVALID),
        (b"[120,2],[4000,1]", b"[4000,1],[120,2]", Code.FIELD_INVALID),
        (b"[120,2],[4000,1]", b"[120,1],[120,1]", Code.FIELD_INVALID),
        (b"[120,2]", b"[120,true]", Code.FIELD_INVALID),
        (b"[120,2]", b"[120]", Code.FIELD_INVALID),
        (b"[120,2]", b"[120,2,3]", Code.LIMIT_EXCEEDED),
        (b"[120,2]", b"[120,0]", Code.FIELD_INVALID),
        (b"[120,2]", b"[120,%d]" % (OPEN_PROPOSALS_MAX + 1), Code.FIELD_INVALID),
        (b"[120,2]", b"120", Code.FIELD_INVALID),
        (b"[120,2]", b",".join(b"[%d,1]" % i for i in range(OPEN_PROPOSALS_MAX)), Code.LIMIT_EXCEEDED),
    ],
)
def test_anything_else_is_no_account(old: bytes, new: bytes, code: Code) -> None:
    assert old in GOLDEN
    refusal_of(lambda: account.read(GOLDEN.replace(old, new)), code)


@pytest.mark.requires("ledger.account-nonce")
def test_a_nonce_is_used_once_and_not_below_the_window() -> None:
    record = account.use_nonce(account.use_nonce(EMPTY, 100), 37)
    assert (record.highest, record.seen) == (100, 1 << 63 | 1)
    refusal_of(lambda: account.use_nonce(record, 37), Code.NONCE_REPLAYED)
    refusal_of(lambda: account.use_nonce(record, 100), Code.NONCE_REPLAYED)
    refusal_of(lambda: account.use_nonce(record, 36), Code.NONCE_TOO_OLD)
    assert account.use_nonce(record, 101).seen == 0b11
    assert account.use_nonce(record, 163).seen == 1 << 63 | 1
    assert account.use_nonce(record, 164).seen == 1
    assert account.use_nonce(record, 100 + NONCE_AHEAD_MAX) == Account(100 + NONCE_AHEAD_MAX, 1)


@pytest.mark.requires("ledger.account-nonce-ahead")
def test_nobody_uses_up_all_nonces_at_once() -> None:
    for nonce in (NONCE_AHEAD_MAX + 1, NONCE_MAX):
        refusal_of(partial(account.use_nonce, EMPTY, nonce), Code.NONCE_TOO_FAR)
        refusal_of(partial(account.use_nonce, EMPTY, nonce, late=True), Code.NONCE_TOO_FAR)


@pytest.mark.requires("ledger.account-nonce-late")
@pytest.mark.parametrize("highest", [0, 1, 64, 65, 66, 5000])
def test_the_nonce_of_a_recovery_passes_whatever_was_used_before_it(highest: int) -> None:
    record = Account(highest, (1 << 64) - 1)
    assert account.next_nonce(record) == highest + 1
    nonce = account.next_nonce(record, late=True)
    account.use_nonce(record, nonce, late=True)
    if highest > 64:
        raced = Account(highest + 10_000, (1 << 64) - 1)
        assert account.use_nonce(raced, nonce, late=True) == raced


@pytest.mark.requires("ledger.account-nonce-late")
def test_what_may_be_late_passes_below_the_window_and_uses_nothing() -> None:
    record = account.use_nonce(EMPTY, 100)
    assert account.use_nonce(record, 36, late=True) == record
    assert account.use_nonce(record, 37, late=True) == account.use_nonce(record, 37)
    refusal_of(lambda: account.use_nonce(record, 100, late=True), Code.NONCE_REPLAYED)


@pytest.mark.requires("ledger.account-nonce")
def test_a_nonce_draws_on_nothing_else() -> None:
    record = Account(5, 1, 3, 9, ((70, 1), (80, 2)))
    for nonce in (4, 6, 600):
        after = account.use_nonce(record, nonce)
        assert (after.window, after.count, after.open) == (3, 9, ((70, 1), (80, 2)))


@pytest.mark.requires("ledger.account-rate")
def test_envelopes_are_counted_anew_in_each_window_of_heights() -> None:
    first, last = 2 * RATE_WINDOW_BLOCKS, 3 * RATE_WINDOW_BLOCKS - 1
    record = Account(5, 1, 1, 9, ((70, 1),))
    for height, count in ((first, 1), (first, 2), (last, 3)):
        record = account.count_envelope(record, height, 3)
        assert record == Account(5, 1, 2, count, ((70, 1),))
    refusal = refusal_of(lambda: account.count_envelope(record, last, 3), Code.RATE_EXCEEDED)
    assert refusal.facts == {"height": last + 1}
    assert account.count_envelope(record, last + 1, 3) == Account(5, 1, 3, 1, ((70, 1),))


@pytest.mark.requires("ledger.account-rate")
def test_a_lower_limit_counts_at_once() -> None:
    refusal_of(lambda: account.count_envelope(Account(count=9), 1, 4), Code.RATE_EXCEEDED)
    assert account.count_envelope(Account(count=9), 1, 10).count == 10


@pytest.mark.requires("ledger.account-open")
def test_a_subject_has_so_many_open_proposals_until_they_expire() -> None:
    record = account.open_proposal(account.open_proposal(EMPTY, 50, 10, 2), 40, 10, 2)
    assert record.open == ((40, 1), (50, 1))
    refusal = refusal_of(lambda: account.open_proposal(record, 60, 40, 2), Code.OPEN_PROPOSALS_EXCEEDED)
    assert refusal.facts == {"height": 41}
    assert account.open_proposal(record, 60, 41, 2).open == ((50, 1), (60, 1))
    refusal_of(lambda: account.open_proposal(record, 60, 10, 1), Code.OPEN_PROPOSALS_EXCEEDED)


@pytest.mark.requires("ledger.account-open")
def test_a_closed_proposal_gives_one_place_back_and_once() -> None:
    record = Account(5, 1, 3, 9, ((40, 2), (50, 1)))
    once = account.close_proposal(record, 40)
    assert once == Account(5, 1, 3, 9, ((40, 1), (50, 1)))
    assert account.close_proposal(account.close_proposal(once, 40), 40).open == ((50, 1),)
    assert account.close_proposal(record, 41) is record
