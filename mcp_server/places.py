"""Who is connected: a newcomer finds a place as long as anybody only waits.

Owns the bounds on connections, of all and of one peer. Promises that nobody is kept out by connections on
which nothing was asked yet, that no peer takes more than its share, and that who asked is never put out.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

CONNECTIONS_MAX = 128
PEER_CONNECTIONS_MAX = 64
"""Of one address; of IPv6 of one /64, which is what one machine is given."""


class Connected(Protocol):
    """A connection that has a place."""

    @property
    def peer(self) -> str:
        """Whose it is, as ``peer_of``."""
        ...

    @property
    def owes(self) -> bool:
        """Whether the peer has yet to send a request, or the rest of one."""
        ...

    def give_way(self) -> None:
        """End at once."""
        ...


class Places:
    """The places of one server."""

    def __init__(self, places_max: int = CONNECTIONS_MAX, per_peer_max: int = PEER_CONNECTIONS_MAX) -> None:
        self._places_max, self._per_peer_max = places_max, per_peer_max
        self._taken: dict[Connected, None] = {}

    def enter(self, newcomer: Connected) -> bool:
        """Give a place, if need be that of the one that has owed a request for longest; tells whether it did.

        A peer at its share gives way itself; else the peer that has most.
        """
        of_peer = self._of(newcomer.peer)
        if len(of_peer) >= self._per_peer_max:
            leaving = _first_owing(of_peer)
        elif len(self._taken) >= self._places_max:
            leaving = self._of_the_largest()
        else:
            leaving = newcomer
        if leaving is None:
            return False
        if leaving is not newcomer:
            self.leave(leaving)
            leaving.give_way()
        self._taken[newcomer] = None
        return True

    def leave(self, leaving: Connected) -> None:
        """Free a place; once is enough."""
        self._taken.pop(leaving, None)

    def _of(self, peer: str) -> list[Connected]:
        return [each for each in self._taken if each.peer == peer]

    def _of_the_largest(self) -> Connected | None:
        owing = {each.peer: each for each in reversed(self._taken) if each.owes}
        return max(owing.values(), key=lambda each: len(self._of(each.peer)), default=None)


def peer_of(address: str) -> str:
    """Give what one peer's addresses have in common."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ipaddress.ip_network((int(found), 64), strict=False))


def _first_owing(of_peer: list[Connected]) -> Connected | None:
    return next((each for each in of_peer if each.owes), None)
