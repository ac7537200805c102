"""What a rule of the machine works on: pending state, height, block time, and what is told to watchers.

Owns ``Context``. Promises that a fork is kept or dropped as a whole, events and all. Reads no clock:
``time`` is block time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from abci_app.check import Constants
from ledger import records
from state.reader import Overlay


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for watchers; no part of consensus. Source: docs/spec/events.md."""

    kind: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Context:
    """One step of the machine.

    Attributes:
        state: what is read and changed.
        height: of the block.
        time: of the block, seconds since the epoch.
        constants: of the ledger, as they were before the block.
        events: told so far.
        powers: validator powers that changed, by key id; 0 removes.
    """

    state: Overlay
    height: int
    time: int
    constants: Constants
    events: list[Event] = field(default_factory=list)
    powers: dict[str, int] = field(default_factory=dict)

    def fork(self) -> Context:
        """Give a context whose changes count only once it is merged."""
        return Context(Overlay(self.state), self.height, self.time, self.constants)

    def merge(self, fork: Context) -> None:
        """Take over what ``fork`` did."""
        fork.state.commit_into_parent()
        self.events += fork.events
        self.powers |= fork.powers

    def put(self, key: bytes, record: Any) -> None:
        """Write a record of ``ledger.records``."""
        self.state.put(key, records.write(record))

    def emit(self, kind: str, /, **attributes: object) -> None:
        """Tell watchers. Attributes that are None are left out; names are spelled in camel case."""
        told = ((_camel(name), str(value)) for name, value in attributes.items() if value is not None)
        self.events.append(Event(f"conclave.{kind}", tuple(told)))


@functools.cache
def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
