"""Following a ledger through a node that comes and goes: no height is missed, age is told, lies end it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from consensus.light.types import SECOND_NS
from consensus.subscription import Gap, Height, Stale, subscribe
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from ledger.limits import HISTORY_HEIGHTS
from tests.unit.consensus.ledgers import code_of
from tests.unit.consensus.waiting import World, away, back, behind, grow, time_passes


@pytest.mark.requires("subscription.every-height")
def test_heights_come_one_by_one_and_go_on() -> None:
    world = World(grow, grow, lambda _: None, grow)
    found = [signal for signal in world.signals() if isinstance(signal, Height)]
    assert [signal.view.height for signal in found] == [1, 2, 3, 4, 5]
    assert [signal.is_newest for signal in found] == [False, True, True, True, True]
    assert World().heights(after=1) == [2]
    assert World().heights(after=7) == []


@pytest.mark.requires("subscription.every-height")
def test_whoever_keeps_the_last_height_goes_on_after_a_restart() -> None:
    world = World(grow, grow, grow, grow)
    first = list(itertools.islice((s.view.height for s in world.signals() if isinstance(s, Height)), 3))
    again = world.heights(after=first[-1])
    assert first + again == list(range(1, world.ledger.height))


@pytest.mark.requires("subscription.every-height")
def test_a_node_that_breaks_off_between_two_heights_is_asked_again() -> None:
    world = World(back, height=8)
    given_ = iter([0] * 5)

    def breaks(answer: Any) -> Any:
        if next(given_, None) is None:
            raise EnvironmentFault(Code.RPC_UNREACHABLE)
        return answer

    world.node.lies["light_block"] = breaks
    assert world.heights() == list(range(1, 8))


@pytest.mark.requires("subscription.stale-told")
@pytest.mark.parametrize(
    ("trouble", "cause"), [(away, Code.RPC_UNREACHABLE), (behind, Code.STALE), (None, None)]
)
def test_age_is_told_once_with_its_cause_and_is_over_with_a_fresh_height(
    trouble: Callable[[World], object] | None, cause: Code | None
) -> None:
    hour = time_passes(3600)
    world = World(trouble or back, time_passes(30), hour, hour, _renew, hour)
    signals = list(world.signals())
    kinds = ["stale" if isinstance(s, Stale) else s.view.height for s in signals if not isinstance(s, Gap)]
    assert kinds == [1, 2, "stale", 3, "stale"]
    stale = signals[2]
    assert isinstance(stale, Stale)
    assert (stale.height, stale.cause and stale.cause.code) == (2, cause)
    assert stale.age_ns >= 3600 * SECOND_NS


def _renew(world: World) -> None:
    back(world)
    world.ledger.chain._start_ns += world.late_ns
    world.late_ns = 0
    grow(world)


@pytest.mark.requires("subscription.stale-told")
def test_a_node_that_never_answers_is_stale_too() -> None:
    world = World(time_passes(30), time_passes(60))
    away(world)
    (stale,) = list(world.signals())
    assert isinstance(stale, Stale)
    assert stale.height == 0


@pytest.mark.requires("subscription.paced")
def test_pauses_grow_while_a_node_is_away_and_only_then() -> None:
    world = World(grow, away, *[grow] * 5, back, grow, grow)
    list(world.signals())
    assert world.pauses == [1, 1, 1, 2, 4, 8, 8, 8, 1, 1, 1]


@pytest.mark.requires("subscription.lies-end-it")
def test_a_lie_ends_it_and_a_negative_height_is_none() -> None:
    world = World(grow)
    world.node.lies["light_block"] = lambda block: dataclasses.replace(
        block,
        signed_header=dataclasses.replace(
            block.signed_header, header=dataclasses.replace(block.header, app_hash=b"\x01" * 32)
        ),
    )
    with pytest.raises(VerificationFailed) as failed:
        world.heights()
    assert code_of(failed) is Code.COMMIT_MISMATCH
    with pytest.raises(Refused) as refused:
        subscribe(world.reader, -1)
    assert code_of(refused) is Code.FIELD_INVALID


@pytest.mark.requires("subscription.gap-told")
@pytest.mark.parametrize("is_pruned", [False, True])
def test_what_nobody_can_prove_any_more_is_a_gap(is_pruned: bool) -> None:
    world = World(height=2 * HISTORY_HEIGHTS + 30)
    newest = world.ledger.height - 1
    if is_pruned:

        def pruned(block: Any) -> Any:
            if 1 < block.header.height <= newest - HISTORY_HEIGHTS:
                raise EnvironmentFault(Code.RPC_REFUSED, got=block.header.height)
            return block

        world.node.lies.update(light_block=pruned, signed_header=pruned)
    else:
        world.reader.at()
    gap, *found = list(world.signals())
    assert gap == Gap(1, newest - HISTORY_HEIGHTS)
    assert [s.view.height for s in found if isinstance(s, Height)] == list(range(gap.last + 1, newest + 1))


@pytest.mark.requires("subscription.gap-told")
def test_a_node_that_is_away_makes_no_gap_however_far_behind_we_are() -> None:
    world = World(away, back, height=HISTORY_HEIGHTS + 20)
    signals = world.signals()
    first = next(signals)
    assert isinstance(first, Height)
    away(world)
    rest = [signal for signal in signals if not isinstance(signal, Stale)]
    heights = [signal.view.height for signal in (first, *rest) if isinstance(signal, Height)]
    assert len(heights) == len(rest) + 1
    assert heights == list(range(1, world.ledger.height))
