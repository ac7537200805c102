"""What a subject has used: its nonces, its share of a window of heights, its places for open proposals.

Owns the account record and the rules by which it is drawn on. Every transaction reads one and writes one, so
it has a writer and a reader of its own. Never reads state.

Source: docs/spec/ledger.md §1.3, spam.md.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from ledger import canonical, shape
from ledger.errors import Code, Refused
from ledger.limits import NONCE_AHEAD_MAX, NONCE_WINDOW_SIZE, OPEN_PROPOSALS_MAX, RATE_WINDOW_BLOCKS
from ledger.types import Json

_MASK = (1 << NONCE_WINDOW_SIZE) - 1


Places = tuple[int, int]
"""A last height, and how many open proposals have it: one block's proposals are one entry."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a subject has used.

    Attributes:
        highest: the highest nonce used.
        seen: which of the 64 nonces up to it are used (bit i: ``highest - i``).
        window: ``height // RATE_WINDOW_BLOCKS`` of the last envelope that was counted.
        count: envelopes counted in it.
        open: last heights of the subject's open proposals, rising, each with how many end there.
    """

    highest: int = 0
    seen: int = 0
    window: int = 0
    count: int = 0
    open: tuple[Places, ...] = ()


EMPTY = Account()


def write(account: Account) -> bytes:
    """Give the canonical bytes of an account; the map of nonces is written as 16 hex digits."""
    return b'{"count":%d,"highest":%d,"open":[%s],"seen":"%016x","window":%d}' % (
        account.count,
        account.highest,
        b",".join([b"[%d,%d]" % places for places in account.open]),
        account.seen,
        account.window,
    )


def read(content: bytes | None) -> Account:
    """Read an account; absent means nothing used.

    Raises:
        Refused: any code of ``shape``.
    """
    if content is None:
        return EMPTY
    plain = _PLAIN.fullmatch(content)
    if plain is not None:
        count, highest, opened, seen, window = plain.groups()
        numbers = [int(number) for number in _DIGITS.findall(opened)]
        places = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        if _is_rising(places):
            return Account(int(highest), int(seen, 16), int(window), int(count), places)
    value = shape.fields(
        canonical.load_plain(content), "account", required=("count", "highest", "open", "seen", "window")
    )
    seen = value["seen"]
    if type(seen) is not str or len(seen) != 16 or set(seen) - set("0123456789abcdef"):
        raise shape.invalid("account.seen", seen, "16 hex digits")
    listed = shape.array(value["open"], "account.open", items_max=OPEN_PROPOSALS_MAX)
    places = tuple(_places(item) for item in listed)
    if not _is_rising(places):
        raise shape.invalid("account.open", listed, "heights, rising")
    return Account(
        shape.integer(value["highest"], "account.highest"),
        int(seen, 16),
        shape.integer(value["window"], "account.window"),
        shape.integer(value["count"], "account.count"),
        places,
    )


def _places(value: Json) -> Places:
    pair = shape.array(value, "account.open", items_max=2)
    if len(pair) != 2:
        raise shape.invalid("account.open", value, "a height and a number")
    height, number = (shape.integer(item, "account.open") for item in pair)
    if not 1 <= number <= OPEN_PROPOSALS_MAX:
        raise shape.invalid("account.open", number, f"1 to {OPEN_PROPOSALS_MAX} proposals")
    return height, number


_NUMBER = rb"(0|[1-9][0-9]{0,14}+)"
_PAIR = rb"\[[1-9][0-9]{0,14}+,[1-9][0-9]?+\]"
_DIGITS = re.compile(rb"[0-9]++")
_PLAIN = re.compile(
    rb'\{"count":%s,"highest":%s,"open":\[((?:%s(?:,%s){0,%d}+)?+)\],'
    rb'"seen":"([0-9a-f]{16})","window":%s\}'
    % (_NUMBER, _NUMBER, _PAIR, _PAIR, OPEN_PROPOSALS_MAX - 1, _NUMBER)
)
"""What ``write`` gives, as far as it is surely within every limit; the rest takes the long way."""


def use_nonce(account: Account, nonce: int, *, late: bool = False) -> Account:
    """The nonce is fresh: above the highest used, or unused inside the window. Gives the account after it.

    Args:
        account: of the signer.
        nonce: of the envelope.
        late: below the window it passes too, and uses nothing: for what can take effect only once anyway.

    Raises:
        Refused: NONCE_REPLAYED, NONCE_TOO_OLD or NONCE_TOO_FAR.
    """
    if nonce > account.highest + NONCE_AHEAD_MAX:
        # Whoever has stolen a key must not use up all nonces of its subject at once.
        raise Refused(
            Code.NONCE_TOO_FAR,
            got=nonce,
            expected=f"at most {account.highest + NONCE_AHEAD_MAX}",
            todo="sign again with the nonce after the highest used",
        )
    if nonce > account.highest:
        shift = nonce - account.highest
        seen = (account.seen << shift) & _MASK if shift < NONCE_WINDOW_SIZE else 0
        return Account(nonce, seen | 1, account.window, account.count, account.open)
    age = account.highest - nonce
    if age >= NONCE_WINDOW_SIZE:
        if late:
            return account
        raise Refused(
            Code.NONCE_TOO_OLD,
            got=nonce,
            expected=f"above {account.highest - NONCE_WINDOW_SIZE}",
            todo="sign again with a fresh nonce",
        )
    if account.seen >> age & 1:
        raise Refused(
            Code.NONCE_REPLAYED,
            got=nonce,
            expected="a nonce not used before",
            todo="sign again with a fresh nonce",
        )
    return Account(account.highest, account.seen | 1 << age, account.window, account.count, account.open)


def next_nonce(account: Account, *, late: bool = False) -> int:
    """Give a nonce for the next envelope; for one that may be late, one that nobody can use up first."""
    if late and account.highest > NONCE_WINDOW_SIZE:
        return account.highest - NONCE_WINDOW_SIZE
    return account.highest + 1


def count_envelope(account: Account, height: int, envelopes_max: int) -> Account:
    """The subject has envelopes left in this window of heights. Gives the account after one more.

    Raises:
        Refused: RATE_EXCEEDED; the fact ``height`` is the first height of the next window.
    """
    window = height // RATE_WINDOW_BLOCKS
    count = account.count + 1 if window == account.window else 1
    if count > envelopes_max:
        opens = (window + 1) * RATE_WINDOW_BLOCKS
        raise Refused(
            Code.RATE_EXCEEDED,
            got=f"{count} envelopes since height {window * RATE_WINDOW_BLOCKS}",
            expected=f"at most {envelopes_max}",
            todo=f"wait for height {opens}",
            height=opens,
        )
    return Account(account.highest, account.seen, window, count, account.open)


def open_proposal(account: Account, expires: int, height: int, open_max: int) -> Account:
    """The subject has a place for one more open proposal; those that expired give theirs back.

    Raises:
        Refused: OPEN_PROPOSALS_EXCEEDED.
    """
    still = tuple(places for places in account.open if places[0] >= height)
    used = sum(number for _, number in still)
    if used >= open_max:
        raise Refused(
            Code.OPEN_PROPOSALS_EXCEEDED,
            got=f"{used} open proposals",
            expected=f"at most {open_max}",
            todo=f"have some judged; the next expires after height {still[0][0]}",
            height=still[0][0] + 1,
        )
    return _with_open(account, _changed(still, expires, 1))


def close_proposal(account: Account, expires: int) -> Account:
    """Give the place of a closed proposal back; nothing happens where it was given back already."""
    if all(last != expires for last, _ in account.open):
        return account
    return _with_open(account, _changed(account.open, expires, -1))


def _changed(places: tuple[Places, ...], height: int, by: int) -> tuple[Places, ...]:
    numbers = dict(places)
    numbers[height] = numbers.get(height, 0) + by
    return tuple(sorted((last, number) for last, number in numbers.items() if number))


def _with_open(account: Account, places: tuple[Places, ...]) -> Account:
    return Account(account.highest, account.seen, account.window, account.count, places)


def _is_rising(places: tuple[Places, ...]) -> bool:
    return all(one[0] < other[0] for one, other in itertools.pairwise(places))
