"""Following a ledger through a node that comes and goes: no height is missed, age is told, lies end it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.light.types import SECOND_NS
from consensus.reader import VerifiedReader
from consensus.subscription import Gap, Height, Pace, Signal, Stale, subscribe
from consensus.trust_store import MemoryStore
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from ledger.limits import HISTORY_HEIGHTS
from tests.support.ledger import Ledger, Node
from tests.unit.consensus.ledgers import code_of, root_of

ROUNDS_MAX = 200


class World:
    """A ledger, a flaky node and a clock; ``script`` is what happens while the subscriber waits."""

    def __init__(self, *script: Callable[[World], object], height: int = 3) -> None:
        self.ledger = Ledger()
        for _ in range(height):
            self.ledger.commit()
        self.node = Node(self.ledger)
        self.script = iter(script)
        self.late_ns = 0
        self.pauses: list[float] = []
        self.reader = VerifiedReader(self.node, MemoryStore(root_of(self.ledger)), clock=self.wall_ns)

    def wall_ns(self) -> int:
        return self.ledger.chain.now_ns + self.late_ns

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        assert len(self.pauses) < ROUNDS_MAX
        step = next(self.script, None)
        if step is not None:
            step(self)
        return step is None

    def signals(self, after: int = 0) -> Iterator[Signal]:
        return subscribe(self.reader, after, Pace(1.0, 8.0, self.wait, self.wall_ns))

    def heights(self, after: int = 0) -> list[int]:
        return [signal.view.height for signal in self.signals(after) if isinstance(signal, Height)]


def grow(world: World) -> None:
    world.ledger.commit()


def away(world: World) -> None:
    def gone(_: object) -> NoReturn:
        raise EnvironmentFault(Code.RPC_UNREACHABLE)

    world.node.lies.update(status=gone, light_block=gone, signed_header=gone)


def back(world: World) -> None:
    world.node.lies.clear()


def behind(world: World) -> None:
    world.node.lies["status"] = lambda answer: dataclasses.replace(answer, height=2)


def time_passes(seconds: int) -> Callable[[World], object]:
    def later(world: World) -> None:
        world.late_ns += seconds * SECOND_NS

    return later


@pytest.mark.requires("subscription.every-height")
def test_heights_come_one_by_one_and_go_on() -> None:
    world = World(grow, grow, lambda _: None, grow)
    found = [signal for signal in world.signals() if isinstance(signal, Height)]
    assert [signal.view.height for signal in found] == [1, 2, 3, 4, 5]
    assert [signal.is_newest for signal in found] == [False, True, True, True, True]
    assert World().heights(after=1) == [2]
    assert World().heights(after=7) == []


@pytest.mark.requires("subscription.every-height")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.sampled_from([grow, away, back, behind]), max_size=12), after=st.integers(0, 3))
def test_no_height_is_missed_however_the_node_behaves(steps: list[Any], after: int) -> None:
    world = World(*steps, back, grow)
    assert world.heights(after) == list(range(after + 1, world.ledger.height))


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
