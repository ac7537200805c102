"""A ledger whose node comes and goes while a subscriber waits, by a script."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import NoReturn

from consensus.light.types import SECOND_NS
from consensus.reader import VerifiedReader
from consensus.subscription import Height, Pace, Signal, subscribe
from consensus.trust_store import MemoryStore
from ledger.errors import Code, EnvironmentFault
from tests.support.ledger import Ledger, Node
from tests.unit.consensus.ledgers import root_of

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
