"""The fair order of what waits: nothing lost, urgent first, each in turn, and floods that delay nobody."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.mempool import Mempool, Waiting, fair_order
from tests.support.refusal import outcome

SIGNERS = "abcdef"
_line = st.lists(st.tuples(st.sampled_from(SIGNERS), st.booleans()), max_size=60)


def waiting_of(line: list[tuple[str, bool]]) -> list[Waiting]:
    return [Waiting(number.to_bytes(8), signer, urgent) for number, (signer, urgent) in enumerate(line)]


def of_signer(waiting: list[Waiting], signer: str, *, urgent: bool) -> list[Waiting]:
    return [one for one in waiting if one.signer == signer and one.urgent is urgent]


@pytest.mark.requires("mempool.order")
@settings(max_examples=80, deadline=None)
@given(_line)
def test_nothing_is_lost_or_doubled_urgent_comes_first_and_each_signer_keeps_its_order(
    line: list[tuple[str, bool]],
) -> None:
    waiting = waiting_of(line)
    ordered = fair_order(waiting)
    assert Counter(ordered) == Counter(waiting)
    assert [one.urgent for one in ordered] == sorted((one.urgent for one in waiting), reverse=True)
    for signer in SIGNERS:
        for urgent in (True, False):
            assert of_signer(ordered, signer, urgent=urgent) == of_signer(waiting, signer, urgent=urgent)


@pytest.mark.requires("mempool.order")
@settings(max_examples=80, deadline=None)
@given(_line)
def test_among_the_first_n_everybody_has_its_share(line: list[tuple[str, bool]]) -> None:
    waiting = [one for one in waiting_of(line) if not one.urgent]
    ordered = fair_order(waiting)
    queued = Counter(one.signer for one in waiting)
    for n in range(len(ordered) + 1):
        among = Counter(one.signer for one in ordered[:n])
        for signer, count in queued.items():
            assert among[signer] >= min(count, n // len(queued))


@pytest.mark.requires("mempool.order")
@settings(max_examples=60, deadline=None)
@given(_line, st.integers(0, 200), st.integers(0, 60))
def test_a_flood_delays_nobody_by_more_than_one_place_a_turn(
    line: list[tuple[str, bool]], flood: int, at: int
) -> None:
    calm = waiting_of(line)
    flooded = [Waiting(b"flood" + number.to_bytes(4), "mallory", urgent=False) for number in range(flood)]
    before, after = fair_order(calm), fair_order([*calm[:at], *flooded, *calm[at:]])
    turns: Counter[tuple[str, bool]] = Counter()
    for one in before:
        turns[one.signer, one.urgent] += 1
        delay = after.index(one) - before.index(one)
        assert delay <= (0 if one.urgent else turns[one.signer, False])


@pytest.mark.requires("mempool.turn")
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 200), _line, st.integers(0, 20))
def test_the_first_of_each_signer_is_in_the_next_block_however_little_is_offered(
    flood: int, line: list[tuple[str, bool]], offered: int
) -> None:
    """A block of so many places as there are signers, twice for those with urgent ones, has one of each."""
    flooded = [Waiting(b"flood" + number.to_bytes(4), "mallory", urgent=False) for number in range(flood)]
    waiting = [*flooded, *waiting_of(line)]
    mempool = Mempool()
    for one in waiting:
        mempool.take(one)
    places = sum(one.urgent for one in waiting) + len({one.signer for one in waiting if not one.urgent})
    txs = mempool.select(waiting[:offered], lambda _: True, 20 * places, 8)
    for signer in SIGNERS:
        for urgent in (True, False):
            assert all(one.tx in txs for one in of_signer(waiting, signer, urgent=urgent)[:1])


@pytest.mark.requires("mempool.share")
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SIGNERS), st.integers(1, 400)), max_size=120))
def test_however_a_few_flood_there_is_room_for_one_more_subject(asked: list[tuple[str, int]]) -> None:
    mempool = Mempool(txs_max=200, bytes_max=20_000)
    for number, (signer, size) in enumerate(asked):
        room = outcome(partial(mempool.check_room, size, urgent=False, signer=signer))
        if room[1] == 0:
            mempool.take(Waiting(number.to_bytes(8).ljust(size), signer, urgent=False))
    # Each takes at most a fifth of what the others left: six leave more than a quarter.
    mempool.check_room(16_000 * 4**6 // 5**6 // 4 - 100, urgent=False, signer="alice")


@pytest.mark.requires("mempool.select")
@settings(max_examples=60, deadline=None)
@given(_line, st.sets(st.integers(0, 59)), st.integers(0, 600), st.integers(0, 60))
def test_a_block_is_what_the_fair_order_gives_as_far_as_it_fits_and_admits(
    line: list[tuple[str, bool]], refused: set[int], room: int, heard: int
) -> None:
    waiting, mempool = waiting_of(line), Mempool()
    for one in waiting[:heard]:
        mempool.take(one)

    def admits(one: Waiting) -> bool:
        return int.from_bytes(one.tx) not in refused

    places = room // 16
    wanted = [one.tx for one in fair_order(waiting) if admits(one)][:places]
    assert mempool.select(waiting, admits, room, 8) == wanted
