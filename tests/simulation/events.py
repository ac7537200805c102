"""What the machine told of one step, as plain texts: a transaction's events, or some of a block's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

PREFIX = "conclave."
Said = dict[str, str]


@dataclass(frozen=True, slots=True)
class Segment:
    """The events of one step, in order: what happened and its attributes."""

    events: tuple[tuple[str, Said], ...]

    def of(self, kind: str) -> list[Said]:
        """Give those of one kind."""
        return [said for what, said in self.events if what == kind]


def segment(events: Iterable[Any]) -> Segment:
    """Read the events of a transaction."""
    return Segment(
        tuple(
            (event.type.removeprefix(PREFIX), {a.key: a.value for a in event.attributes}) for event in events
        )
    )


def segments(events: Iterable[Any]) -> Iterator[Segment]:
    """Read a block's own events: one step ends with what became of a proposal."""
    step: list[tuple[str, Said]] = []
    for found in segment(events).events:
        step.append(found)
        if found[0] == "proposal":
            yield Segment(tuple(step))
            step = []
    if step:
        yield Segment(tuple(step))
