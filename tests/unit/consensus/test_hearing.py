"""Which witnesses are heard before a header is believed, and what that costs in questions and seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.answers import NodeStatus
from consensus.incident import FILE_NAME
from consensus.light.types import SECOND_NS, LightBlock
from consensus.peers import PanelSettings
from consensus.reader import VerifiedReader
from consensus.trust_store import TrustRoot, TrustStore
from ledger.errors import Code, ConclaveError, EnvironmentFault
from tests.support.attacks import (
    GROUND,
    MEMBERS,
    TARGET,
    Peer,
    Ticks,
    ahead_and_later,
    decided,
    liars,
    lunatic_between,
    panel_of,
    reader_over,
)
from tests.support.chain import Chain, set_of, signers
from tests.support.ledger import Ledger

LEDGER = decided(height=TARGET + 1)
LIARS = liars("over 1/3")
SETTINGS = PanelSettings()
DOUBT, LAG = SETTINGS.doubt_seconds, SETTINGS.lag_seconds


def peers(*names: str, forged: dict[int, LightBlock] | None = None) -> list[Peer]:
    """Give nodes of the ledger."""
    return [Peer(name, LEDGER, forged) for name in names]


def held_back(peer: Peer, height: Callable[[], int], *, catching_up: bool = False) -> Peer:
    """Let a node show no more than ``height`` gives, and say whether it is catching up."""
    peer.newest_height = height

    def say(status: NodeStatus) -> NodeStatus:
        return dataclasses.replace(status, catching_up=catching_up)

    peer.lies["status"] = say
    return peer


def fails(act: Callable[[], object]) -> ConclaveError:
    """Give what ``act`` is refused with."""
    with pytest.raises(ConclaveError) as caught:
        act()
    return caught.value


def slow(peer: Peer, ticks: Ticks, seconds: float) -> Peer:
    """Let a node take its time over every block."""

    def drag(block: LightBlock) -> LightBlock:
        ticks.wait(seconds)
        return block

    peer.lies["light_block"] = drag
    return peer


@pytest.mark.requires("witness.no-wait")
@pytest.mark.parametrize("count", [1, 2, 4])
def test_witnesses_that_have_the_header_cost_one_question_each_and_no_wait(
    count: int, tmp_path: Path
) -> None:
    ticks = Ticks()
    asked, *witnesses = peers("asked", *(f"w{n}" for n in range(count)))
    reader = reader_over(panel_of([asked, *witnesses], tmp_path, ticks=ticks), LEDGER, tmp_path)
    for height in range(GROUND, TARGET + 1):
        reader.header(height)
    headers = TARGET - GROUND
    assert [witness.asked for witness in witnesses] == [["light_block"] * headers] * count
    assert asked.asked == ["light_block"] * (headers + 1), "and the root of trust"
    assert ticks.now == 0


@pytest.mark.requires("witness.no-wait")
@pytest.mark.parametrize("late_seconds", [0.005, 0.06, 0.5])
def test_a_witness_that_is_late_by_little_delays_a_header_by_little_more(
    late_seconds: float, tmp_path: Path
) -> None:
    ticks = Ticks()
    asked, other, late = peers("asked", "w1", "w2")
    held_back(late, lambda: TARGET - (ticks.now < late_seconds))
    reader = reader_over(panel_of([asked, other, late], tmp_path, ticks=ticks), LEDGER, tmp_path)
    assert reader.header(TARGET)
    assert late_seconds <= ticks.now <= late_seconds * 1.25 + SETTINGS.poll_seconds
    assert reader.header(TARGET + 1) is not None, "late is no fault: it has its place still"


@pytest.mark.requires("witness.all-heard")
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_an_honest_witness_behind_is_heard_though_a_liar_agrees(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    """The chain gets to the forged header's time only after a while."""
    ticks = Ticks()
    forged = ahead_and_later(LEDGER.chain, LIARS)
    everybody = [*peers("liar", "liar-2", forged=forged), *peers("honest")]
    for peer in everybody:
        peer.newest_height = lambda: TARGET + (ticks.now >= DOUBT - 1)
    panel = panel_of([everybody[place] for place in order], tmp_path, ticks=ticks)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert fails(lambda: reader.header(TARGET + 3)).code is Code.HEADERS_DIVERGED
    assert (tmp_path / FILE_NAME).exists()
    assert DOUBT - 1 <= ticks.now <= DOUBT + 1


@pytest.mark.requires("witness.all-heard")
def test_a_header_ahead_of_our_clock_is_doubted_for_that_much_longer(tmp_path: Path) -> None:
    ticks = Ticks()
    forged = ahead_and_later(LEDGER.chain, LIARS)
    everybody = [*peers("liar", "liar-2", forged=forged), *peers("honest")]
    time_ns = forged[TARGET + 3].header.time_ns
    for peer in everybody:
        peer.newest_height = lambda: TARGET + (ticks.now >= DOUBT + 6)
    panel = panel_of(everybody, tmp_path, ticks=ticks)
    reader = reader_over(panel, LEDGER, tmp_path, lambda: time_ns - 8 * SECOND_NS)
    assert fails(lambda: reader.header(TARGET + 3)).code is Code.HEADERS_DIVERGED
    assert ticks.now >= DOUBT + 6


@pytest.mark.requires("witness.no-wait", "witness.lag")
def test_a_witness_waited_for_in_vain_rests_twice_as_long_each_time(tmp_path: Path) -> None:
    ticks = Ticks()
    asked, other, late = peers("asked", "w1", "late")
    held_back(late, lambda: GROUND)
    panel = panel_of([asked, other, late], tmp_path, ticks=ticks)
    reader, took, rested = reader_over(panel, LEDGER, tmp_path), [], []
    for height in (GROUND + 1, GROUND + 3):
        began = ticks.now
        reader.header(height)
        took.append(ticks.now - began)
        began = ticks.now
        reader.header(height + 1)
        assert ticks.now == began, "it keeps nothing waiting while it rests"
        while "late" not in panel.witnesses:
            ticks.wait(1)
        rested.append(ticks.now - began)
    assert all(DOUBT <= seconds <= DOUBT + 2 for seconds in took)
    assert rested == pytest.approx([SETTINGS.rest_seconds, 2 * SETTINGS.rest_seconds], abs=1)
    ticks.wait(SETTINGS.liar_rest_seconds + 1)
    reader.header(TARGET + 1)
    seen = [panel.witnesses]
    ticks.wait(SETTINGS.rest_seconds + 1)
    seen.append(panel.witnesses)
    assert seen == [("w1",), ("w1", "late")], "a long time without is forgotten"


@pytest.mark.requires("witness.no-wait", "witness.lag")
def test_who_confirms_nothing_is_not_rested_for_what_nobody_confirms(tmp_path: Path) -> None:
    ticks = Ticks()
    asked, *others = peers("asked", "w1", "w2")
    for peer in others:
        held_back(peer, lambda: TARGET - 1)
    panel = panel_of([asked, *others], tmp_path, ticks=ticks)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert fails(lambda: reader.header(TARGET)).code is Code.NO_WITNESS_AGREES
    assert LAG <= ticks.now <= LAG + 1
    assert (panel.endpoint, panel.witnesses) == ("w1", ("asked", "w2"))


@pytest.mark.requires("witness.no-wait")
def test_who_says_that_it_is_catching_up_is_not_waited_for_where_another_agrees(tmp_path: Path) -> None:
    ticks = Ticks()
    asked, other, syncing = peers("asked", "w1", "syncing")
    held_back(syncing, lambda: GROUND, catching_up=True)
    panel = panel_of([asked, other, syncing], tmp_path, ticks=ticks)
    assert reader_over(panel, LEDGER, tmp_path).header(TARGET)
    assert ticks.now == 0
    assert panel.witnesses == ("w1", "syncing")
    (tmp_path / "two").mkdir()
    panel = panel_of([asked, syncing], tmp_path / "two", ticks=ticks)
    held_back(syncing, lambda: TARGET if ticks.now > 1 else GROUND, catching_up=True)
    assert reader_over(panel, LEDGER, tmp_path / "two").header(TARGET), "alone it is waited for"
    assert 1 <= ticks.now < 2


@pytest.mark.requires("witness.all-heard")
def test_who_is_catching_up_still_contradicts(tmp_path: Path) -> None:
    forged = ahead_and_later(LEDGER.chain, LIARS)
    everybody = [*peers("liar", "liar-2", forged=forged), *peers("honest")]
    held_back(everybody[2], lambda: TARGET + 1, catching_up=True)
    reader = reader_over(panel_of(everybody, tmp_path), LEDGER, tmp_path)
    assert fails(lambda: reader.header(TARGET + 3)).code is Code.HEADERS_DIVERGED


@pytest.mark.requires("witness.no-wait")
def test_who_does_not_keep_a_height_is_not_waited_for_and_not_blamed(tmp_path: Path) -> None:
    ticks = Ticks()
    asked, other, pruned = peers("asked", "w1", "pruned")

    def from_target(block: LightBlock) -> LightBlock:
        if block.height < TARGET:
            raise EnvironmentFault(Code.RPC_REFUSED, got="lowest height is 6", endpoint="pruned")
        return block

    pruned.lies["light_block"] = from_target
    panel = panel_of([asked, other, pruned], tmp_path, ticks=ticks)
    reader = reader_over(panel, LEDGER, tmp_path)
    for height in range(GROUND + 1, TARGET + 1):
        assert reader.header(height)
    assert ticks.now == 0
    assert panel.witnesses == ("w1", "pruned")


@pytest.mark.requires("witness.bounded", "witness.no-wait")
def test_a_slow_witness_takes_no_time_from_the_next_and_rests(tmp_path: Path) -> None:
    ticks = Ticks()
    asked, hostile, honest = peers("asked", "hostile", "honest")
    slow(hostile, ticks, SETTINGS.seconds_max + 1)
    panel = panel_of([asked, hostile, honest], tmp_path, ticks=ticks)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert reader.header(GROUND + 1)
    assert honest.asked == ["light_block"]
    assert panel.witnesses == ("honest",)
    took = ticks.now
    for height in range(GROUND + 2, TARGET + 1):
        assert reader.header(height)
    assert ticks.now == took
    assert hostile.asked == ["light_block"]


@pytest.mark.requires("witness.bounded", "witness.first-header")
def test_a_slow_witness_of_the_first_header_rests_too(tmp_path: Path) -> None:
    ticks = Ticks()
    asked, hostile, honest = peers("asked", "hostile", "honest")
    slow(hostile, ticks, SETTINGS.slow_seconds + 1)
    panel = panel_of([asked, hostile, honest], tmp_path, ticks=ticks)
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(TrustRoot(LEDGER.chain.chain_id, 1, None, set_of(MEMBERS)))
    assert VerifiedReader(panel, store, clock=lambda: LEDGER.chain.now_ns).header(1)
    assert panel.witnesses == ("honest",)


@pytest.mark.requires("witness.no-wait")
def test_where_every_witness_rests_a_stuck_one_keeps_no_second_header_waiting(tmp_path: Path) -> None:
    ticks = Ticks()
    asked, late, stuck = peers("asked", "late", "stuck")
    held_back(stuck, lambda: GROUND)
    slow(late, ticks, SETTINGS.slow_seconds + 1)
    reader = reader_over(panel_of([asked, late, stuck], tmp_path, ticks=ticks), LEDGER, tmp_path)
    costs = []
    for height in range(GROUND + 1, TARGET + 1):
        began, questions = ticks.pace.monotonic(), len(stuck.asked)
        reader.header(height)
        costs.append(ticks.pace.monotonic() - began)
        assert len(stuck.asked) > questions, "it is asked all the same"
    assert costs[0] > DOUBT
    assert max(costs[1:]) < SETTINGS.slow_seconds + 3


@pytest.mark.requires("witness.rotation")
def test_after_a_slow_node_another_is_asked(tmp_path: Path) -> None:
    ticks = Ticks()
    hostile, *honest = peers("hostile", "h1", "h2")
    panel = panel_of([hostile, *honest], tmp_path, ticks=ticks)
    reader = reader_over(panel, LEDGER, tmp_path)
    reader.header(GROUND + 1)
    assert panel.endpoint == "hostile"
    slow(hostile, ticks, SETTINGS.slow_seconds + 1)
    reader.header(GROUND + 2)
    assert panel.endpoint == "h1"


@pytest.mark.requires("witness.between")
def test_a_block_between_is_not_believed_because_its_target_is(tmp_path: Path) -> None:
    """More than a third forge one the walk goes over; from it the true target verifies."""
    old, new = signers(*(f"a{n}" for n in range(6))), signers(*(f"b{n}" for n in range(6)))
    ledger, target, between = Ledger(Chain(old)), 14, 8
    for gone in (0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6):
        ledger.chain.append(following=(*old[gone:], *new[:gone]))
    chain = ledger.chain
    voters = tuple(sorted(old, key=lambda signer: signer.address))[-3:]
    forged = lunatic_between(chain, between, voters, new)
    liar = Peer("liar", ledger, {between: forged})
    panel = panel_of([liar, Peer("h1", ledger), Peer("h2", ledger)], tmp_path)
    reader = reader_over(panel, ledger, tmp_path)
    assert reader.header(target).hash == chain.trusted(target).hash
    assert liar.asked.count("light_block") == 3, "the root, the target, the one between"
    for height in (between, between - 1):
        assert reader.header(height).hash == chain.trusted(height).hash
