"""What the guard remembers of one principal: frozen, bounded, replaced by every judgement.

Owns the memory and how it is changed. Promises that no memory holds what was said, only digests of it. Never
forgets a suspension by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from ledger.agent_policy import Rate
from ledger.errors import Code, Refused
from ledger.limits import LOOP_CALLS_MAX
from ledger.types import Did
from mcp_server.guard.buckets import Bucket, take
from mcp_server.guard.calls import Reason
from mcp_server.guard.limits import (
    BUCKETS_MAX,
    NS_PER_SECOND,
    OPEN_PROPOSALS_SECONDS,
    PRINCIPALS_MAX,
    SEEN_OBJECTS_MAX,
    SEEN_PIECES_MAX,
    SEEN_TOUCHES_MAX,
)

_NONE: Mapping[str, Bucket] = MappingProxyType({})
_NOTHING: Mapping[bytes, None] = MappingProxyType({})


def _no_buckets() -> Mapping[str, Bucket]:
    return _NONE


def _nothing() -> Mapping[bytes, None]:
    return _NOTHING


class Past(NamedTuple):
    """A call that was made: digests of its exact form, of its shape, and of its answer once there is one."""

    exact: bytes
    shape: bytes
    at_ns: int
    answer: bytes | None = None
    is_poll: bool = False


@dataclass(frozen=True, slots=True)
class GuardState:
    """The memory of one principal.

    Attributes:
        buckets: by ``tool/quantity``; ``*`` is all tools.
        history: the latest calls, oldest first.
        pieces, objects, touches: what was seen, oldest first.
        proposals_ns: when proposals were let through.
        suspended: why the principal is cut off, None while it is not.
    """

    buckets: Mapping[str, Bucket] = field(default_factory=_no_buckets)
    history: tuple[Past, ...] = ()
    pieces: Mapping[bytes, None] = field(default_factory=_nothing)
    objects: Mapping[bytes, None] = field(default_factory=_nothing)
    touches: Mapping[bytes, None] = field(default_factory=_nothing)
    proposals_ns: tuple[int, ...] = ()
    suspended: Reason | None = None

    def lifted(self) -> GuardState:
        """Give the state after a person lifted the suspension: the loop and the trips are forgotten."""
        kept = {k: v for k, v in self.buckets.items() if k not in ("*/trips", "*/refusals")}
        return replace(self, suspended=None, history=(), buckets=kept)


class Draft:
    """A state while one call is judged. Changes nothing of the state it began from."""

    __slots__ = ("buckets", "history", "now_ns", "objects", "pieces", "proposals_ns", "suspended", "touches")

    def __init__(self, state: GuardState, now_ns: int) -> None:
        self.now_ns = now_ns
        self.buckets: Mapping[str, Bucket] = state.buckets
        self.history = state.history
        self.pieces = state.pieces
        self.objects = state.objects
        self.touches = state.touches
        self.proposals_ns = state.proposals_ns
        self.suspended = state.suspended

    def freeze(self) -> GuardState:
        """Give the state as it is after the call."""
        return GuardState(
            buckets=self.buckets,
            history=self.history,
            pieces=self.pieces,
            objects=self.objects,
            touches=self.touches,
            proposals_ns=self.proposals_ns,
            suspended=self.suspended,
        )

    def pay(self, costs: Iterable[tuple[str, Rate, int]]) -> tuple[str, Rate, int] | None:
        """Take every cost from its bucket, or none of them; give the one that could not pay and its wait."""
        changed = dict(self.buckets)
        for name, rate, amount in costs:
            taken = take(changed.get(name), rate, amount, self.now_ns)
            if taken.wait_ns:
                return name, rate, taken.wait_ns
            changed[name] = taken.bucket
        while len(changed) > BUCKETS_MAX:
            # The one unused for longest has had most time to be full again.
            del changed[min(changed, key=lambda k: changed[k].at_ns)]
        self.buckets = changed
        return None

    def remember_call(self, past: Past) -> None:
        """Add a call to the history."""
        self.history = (*self.history, past)[-LOOP_CALLS_MAX:]

    def remember_pieces(self, marks: Iterable[bytes]) -> None:
        """Add opaque pieces or identifiers to what was seen."""
        self.pieces = _with(self.pieces, marks, SEEN_PIECES_MAX)

    def remember_objects(self, marks: Iterable[bytes]) -> None:
        """Add objects to what was seen."""
        self.objects = _with(self.objects, marks, SEEN_OBJECTS_MAX)

    def remember_touches(self, marks: Iterable[bytes]) -> None:
        """Add what is outside the usual to what was seen."""
        self.touches = _with(self.touches, marks, SEEN_TOUCHES_MAX)

    def recent_proposals(self) -> tuple[int, ...]:
        """Give when proposals were let through that the ledger may not show yet."""
        first = self.now_ns - OPEN_PROPOSALS_SECONDS * NS_PER_SECOND
        return tuple(at for at in self.proposals_ns if at > first)


def _with(seen: Mapping[bytes, None], marks: Iterable[bytes], items_max: int) -> Mapping[bytes, None]:
    changed = {**seen, **dict.fromkeys(marks)}
    for old in list(changed)[: max(0, len(changed) - items_max)]:
        del changed[old]
    return changed


class GuardMemory:
    """The states of all principals, owned by one server. Forgets none: who is one too many is refused."""

    __slots__ = ("_principals_max", "_states")

    def __init__(self, principals_max: int = PRINCIPALS_MAX) -> None:
        self._states: dict[Did, GuardState] = {}
        self._principals_max = principals_max

    def of(self, principal: Did) -> GuardState:
        """Give the state of a principal, an empty one for who is new."""
        return self._states.get(principal) or GuardState()

    def put(self, principal: Did, state: GuardState) -> None:
        """Keep the state of a principal.

        Raises:
            Refused: LIMIT_EXCEEDED for one principal more than there can be identities.
        """
        if principal not in self._states and len(self._states) >= self._principals_max:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got="one principal more",
                expected=f"at most {self._principals_max} principals",
            )
        self._states[principal] = state
