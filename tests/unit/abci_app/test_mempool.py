"""What waits on one node: its count, its shares, its lanes, and what of it goes into a block."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pytest

from abci_app.mempool import (
    ORDINARY_LANE_BYTES_MAX,
    SHARE,
    URGENT_LANE_BYTES_MAX,
    URGENT_LANE_TXS_MAX,
    Lane,
    Mempool,
    Waiting,
    fair_order,
)
from ledger.errors import Code
from ledger.limits import BLOCK_BYTES_MAX, ENVELOPE_BYTES_MAX, MEMPOOL_BYTES_MAX, MIB
from tests.support.refusal import refusal_of

ROOM = 10**6


def plain(name: str, signer: str = "alice", size: int = 10) -> Waiting:
    return Waiting(name.encode().ljust(size, b"."), signer, urgent=False)


def urgent(name: str, signer: str = "warden", size: int = 10) -> Waiting:
    return Waiting(name.encode().ljust(size, b"."), signer, urgent=True)


def chosen(mempool: Mempool, offered: Iterable[Waiting] = (), refused: Iterable[Waiting] = ()) -> list[str]:
    txs = mempool.select(list(offered), lambda waiting: waiting not in refused, ROOM, 8)
    return [tx.decode().rstrip(".") for tx in txs]


def full(mempool: Mempool, count: int, signer: str = "crowd") -> None:
    for number in range(count):
        mempool.take(plain(f"{signer}-{number}", signer))


@pytest.mark.requires("mempool.order")
def test_urgent_ones_go_first_and_signers_take_turns() -> None:
    waiting = [
        plain("a1"),
        plain("a2"),
        plain("a3"),
        plain("b1", "bob"),
        urgent("u1"),
        plain("c1", "carol"),
        urgent("u2"),
        urgent("v1", "vera"),
        plain("b2", "bob"),
    ]
    order = [w.tx.decode().rstrip(".") for w in fair_order(waiting)]
    assert order == ["u1", "v1", "u2", "a1", "b1", "c1", "a2", "b2", "a3"]
    assert fair_order([]) == []


@pytest.mark.requires("mempool.room")
def test_ordinary_ones_never_fill_the_last_fifth() -> None:
    mempool = Mempool(txs_max=10, bytes_max=1000)
    full(mempool, 7)
    mempool.check_room(10, urgent=False)
    mempool.check_room(730, urgent=False)
    refusal_of(lambda: mempool.check_room(731, urgent=False), Code.MEMPOOL_BUSY)
    full(mempool, 1)
    refusal_of(lambda: mempool.check_room(1, urgent=False), Code.MEMPOOL_BUSY)
    mempool.check_room(10_000, urgent=True)
    full(mempool, 20)
    mempool.check_room(10_000, urgent=True)


@pytest.mark.requires("mempool.room")
def test_what_waits_is_counted_anew_by_the_recheck_after_each_commit() -> None:
    mempool = Mempool(txs_max=10, bytes_max=1000)
    full(mempool, 8)
    refusal_of(lambda: mempool.check_room(1, urgent=False), Code.MEMPOOL_BUSY)
    mempool.committed()
    full(mempool, 7)
    mempool.check_room(1, urgent=False)
    full(mempool, 1)
    refusal_of(lambda: mempool.check_room(1, urgent=False), Code.MEMPOOL_BUSY)


@pytest.mark.requires("mempool.share")
def test_a_flood_of_one_leaves_room_for_others() -> None:
    mempool, taken = Mempool(txs_max=100, bytes_max=10**6), 0
    for signer, most in (("mallory", 16), ("oscar", 13), ("trudy", 10)):
        for number in range(most):
            mempool.check_room(10, urgent=False, signer=signer)
            mempool.take(plain(f"{signer}-{number}", signer))
            taken += 1
        refusal_of(partial(mempool.check_room, 10, urgent=False, signer=signer), Code.MEMPOOL_BUSY)
        assert SHARE * (most + 1) > 80 - taken
    mempool.check_room(10, urgent=False, signer="alice")


@pytest.mark.requires("mempool.share")
def test_the_share_is_of_bytes_too() -> None:
    mempool = Mempool(txs_max=10**6, bytes_max=1000)
    mempool.check_room(200, urgent=False, signer="alice")
    refusal_of(lambda: mempool.check_room(201, urgent=False, signer="alice"), Code.MEMPOOL_BUSY)
    mempool.take(plain("half", size=80))
    mempool.check_room(100, urgent=False, signer="alice")
    refusal_of(lambda: mempool.check_room(101, urgent=False, signer="alice"), Code.MEMPOOL_BUSY)
    mempool.check_room(180, urgent=False, signer="bob")


@pytest.mark.requires("mempool.share")
def test_neither_what_else_a_signer_has_waiting_nor_a_full_mempool_stops_its_freeze() -> None:
    mempool = Mempool(txs_max=100, bytes_max=10**6)
    full(mempool, 80, "warden")
    mempool.check_room(10, urgent=True, signer="warden")
    for number in range(4):
        mempool.check_room(10, urgent=True, signer="mallory")
        mempool.take(urgent(f"m{number}", "mallory"))
    refusal_of(lambda: mempool.check_room(10, urgent=True, signer="mallory"), Code.MEMPOOL_BUSY)
    mempool.check_room(10, urgent=True, signer="warden")


@pytest.mark.requires("mempool.lane")
def test_a_lane_holds_of_each_signer_the_first_without_a_gap() -> None:
    lane = Lane(txs_max=100, bytes_max=100)
    alice = [
        lane.offer(plain("a1", size=10)),
        lane.offer(plain("a2", size=13)),
        lane.offer(plain("a3", size=2)),
    ]
    bob = [lane.offer(plain("b1", "bob", 22)), lane.offer(plain("b2", "bob", 2))]
    assert (alice, bob) == ([True, False, False], [True, False])
    lane.reopen()
    assert lane.offer(plain("a3", size=2))
    assert [w.tx[:2] for w in lane.candidates()] == [b"a1", b"b1", b"a3"]


@pytest.mark.requires("mempool.lane")
def test_what_a_lane_lets_go_of_gives_its_share_back() -> None:
    lane, twice = Lane(txs_max=8, bytes_max=1000), plain("a1")
    assert lane.offer(twice)
    assert lane.offer(twice)
    assert len(lane) == 1
    assert not lane.offer(plain("a2"))
    lane.remove(twice.tx)
    lane.remove(twice.tx)
    lane.reopen()
    assert twice.tx not in lane
    assert lane.offer(plain("a2"))
    lane.clear()
    assert lane.candidates() == []
    assert lane.offer(twice)


@pytest.mark.requires("mempool.urgent")
def test_an_urgent_one_is_proposed_before_all_that_is_offered_and_also_when_it_is_not_offered() -> None:
    mempool, freeze = Mempool(), urgent("freeze")
    offered = [plain(f"a{number}") for number in range(3)]
    mempool.take(freeze)
    assert chosen(mempool, offered) == ["freeze", "a0", "a1", "a2"]
    assert chosen(mempool, [*offered, freeze]) == ["freeze", "a0", "a1", "a2"]


@pytest.mark.requires("mempool.urgent")
def test_an_urgent_one_waits_through_commits_until_it_is_in_a_block_or_refused() -> None:
    mempool = Mempool()
    freeze, stale, pause = urgent("freeze"), urgent("stale"), urgent("pause")
    for waiting in (freeze, stale, pause):
        mempool.take(waiting)
    mempool.committed()
    assert chosen(mempool) == ["freeze", "stale", "pause"]
    mempool.committed([plain("other").tx, freeze.tx])
    assert chosen(mempool, refused=[stale]) == ["pause"]
    assert chosen(mempool) == ["pause"]
    mempool.forget(pause.tx)
    mempool.forget(pause.tx)
    assert chosen(mempool) == []


@pytest.mark.requires("mempool.urgent")
def test_a_flood_of_urgent_ones_leaves_room_in_the_lane() -> None:
    mempool = Mempool()
    for number in range(10 * URGENT_LANE_TXS_MAX):
        mempool.take(urgent(f"m{number}", "mallory"))
    mempool.take(urgent("freeze"))
    names = chosen(mempool)
    assert names[:2] == ["m0", "freeze"]
    assert len(names) <= URGENT_LANE_TXS_MAX // SHARE + 1
    mempool.committed([urgent("freeze").tx])
    mempool.take(urgent("m-late", "mallory"))
    assert "m-late" not in chosen(mempool)
    mempool.committed([urgent(f"m{number}", "mallory").tx for number in range(URGENT_LANE_TXS_MAX)])
    mempool.take(urgent("m-late", "mallory"))
    assert chosen(mempool) == ["m-late"]


@pytest.mark.requires("mempool.turn")
def test_a_flood_that_fills_all_that_cometbft_offers_holds_up_nobody() -> None:
    mempool = Mempool()
    flood = [plain(f"m{number}", "mallory") for number in range(5000)]
    for waiting in [*flood, plain("a1"), plain("a2")]:
        mempool.take(waiting)
    assert chosen(mempool, flood[:3])[:4] == ["m0", "a1", "m1", "a2"]


@pytest.mark.requires("mempool.turn")
def test_ordinary_ones_are_held_until_the_next_commit_and_again_if_they_still_wait() -> None:
    mempool, stays = Mempool(), plain("a2")
    mempool.take(plain("a1"))
    mempool.take(stays)
    mempool.committed()
    assert chosen(mempool) == []
    mempool.take(stays)
    assert chosen(mempool) == ["a2"]


@pytest.mark.requires("mempool.select")
def test_what_does_not_fit_or_is_not_admitted_is_passed_over() -> None:
    mempool = Mempool()
    offered = [
        plain("a1", size=50),
        plain("b1", "bob", 70),
        plain("c1", "carol", 20),
        plain("d1", "dave", 22),
    ]
    asked: list[Waiting] = []

    def admits(waiting: Waiting) -> bool:
        asked.append(waiting)
        return waiting != offered[2]

    assert mempool.select(offered, admits, 88, 8) == [offered[0].tx, offered[3].tx]
    assert asked == [offered[0], offered[2], offered[3]]
    assert mempool.select(offered, admits, 87, 8) == [offered[0].tx]
    assert mempool.select(offered, admits, 0, 8) == []


@pytest.mark.requires("mempool.select")
def test_an_urgent_one_that_does_not_fit_waits_on() -> None:
    mempool, freeze = Mempool(), urgent("freeze", size=100)
    mempool.take(freeze)
    assert mempool.select([], lambda _: True, 107, 8) == []
    assert mempool.select([], lambda _: True, 108, 8) == [freeze.tx]


@pytest.mark.requires("mempool.select")
def test_the_largest_release_finds_a_place_and_urgent_ones_leave_most_of_a_block() -> None:
    mempool = Mempool()
    mempool.check_room(ENVELOPE_BYTES_MAX, urgent=False, signer="alice")
    assert SHARE * ENVELOPE_BYTES_MAX < ORDINARY_LANE_BYTES_MAX < MEMPOOL_BYTES_MAX
    assert URGENT_LANE_BYTES_MAX + ENVELOPE_BYTES_MAX + MIB < BLOCK_BYTES_MAX
