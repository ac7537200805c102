"""Who connects finds a place while anybody only waits, and no peer takes more than its share."""

from __future__ import annotations

import pytest

from mcp_server.places import Places, peer_of


class Held:
    """A connection that a test plays."""

    def __init__(self, peer: str, *, owes: bool = True) -> None:
        self.peer, self.owes, self.is_put_out = peer, owes, False

    def give_way(self) -> None:
        self.is_put_out = True


def entered(places: Places, peer: str, times: int, *, owes: bool = True) -> list[Held]:
    """Let connections in; each finds a place."""
    found = [Held(peer, owes=owes) for _ in range(times)]
    assert [places.enter(each) for each in found] == [True] * times
    return found


@pytest.mark.requires("mcp.places")
def test_who_only_waits_gives_way_the_oldest_first() -> None:
    places = Places(places_max=8, per_peer_max=4)
    first = entered(places, "a", 6)
    assert [each.is_put_out for each in first] == [True, True, False, False, False, False]
    entered(places, "b", 3)
    entered(places, "c", 2)
    assert [each.is_put_out for each in first] == [True] * 3 + [False] * 3, "the largest peer gives way"


@pytest.mark.requires("mcp.places")
def test_who_asked_is_not_put_out_and_a_full_peer_is_refused_alone() -> None:
    places = Places(places_max=8, per_peer_max=4)
    busy = entered(places, "a", 4, owes=False)
    assert not places.enter(Held("a"))
    (other,) = entered(places, "b", 1)
    entered(places, "c", 3, owes=False)
    entered(places, "d", 1)
    assert (other.is_put_out, [each.is_put_out for each in busy]) == (True, [False] * 4)
    full = Places(places_max=4, per_peer_max=4)
    (served, *_) = entered(full, "a", 4, owes=False)
    assert not full.enter(Held("b"))
    full.leave(served)
    full.leave(served)
    entered(full, "b", 1)


@pytest.mark.requires("mcp.places")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "10.0.0.1", False),
    ],
)
def test_a_peer_is_an_address_or_a_network_of_one_machine(one: str, other: str, same: bool) -> None:
    assert (peer_of(one) == peer_of(other)) is same
