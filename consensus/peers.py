"""Several untrusted nodes, and which of them is asked.

Owns the order of peers, the bounds on what one of them may cost for one header, and what is held against one.
Promises that a peer that lies, is slow, dead or endless loses its place to another, that nobody is asked
without bound, and that a fault of our own surroundings is held against nobody for long. Never judges a block.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from consensus.accuse import Pace
from consensus.answers import NodeStatus
from consensus.light.types import LightBlock, SignedHeader
from consensus.light.witness import nobody_agrees
from consensus.sources import Peer, newest_of
from consensus.time_left import within
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed

T = TypeVar("T")
PEERS_MAX = 100
_DOUBLINGS_MAX = 16
_UNFIT = frozenset({Code.RPC_UNREACHABLE, Code.RPC_ANSWER_INVALID, Code.RPC_ANSWER_TOO_LARGE, Code.TIMEOUT})
"""What only this peer is to blame for: another is asked."""
_REFUSALS = frozenset({Code.RPC_REFUSED, Code.HEIGHT_NOT_AVAILABLE})
"""What an honest node may answer where another gives what is asked."""
_OURS = frozenset({Code.TRUST_EXPIRED, Code.HEADERS_DIVERGED, Code.NO_WITNESS_AGREES})
"""What no other peer would change."""
_DOUBTFUL = frozenset(
    {Code.HEADER_FROM_FUTURE, Code.TRUST_ROOT_MISMATCH, Code.BISECTION_EXHAUSTED, Code.STALE}
)
"""What an honest peer may cause too: our clock, another root, a long gap, a node catching up."""


@dataclass(frozen=True, slots=True)
class PanelSettings:
    """How much is asked of peers.

    Attributes:
        witnesses_max: how many are asked for one header; the others wait in reserve.
        faults_max: after so many in a row a peer rests.
        rest_seconds: how long.
        liar_rest_seconds: how long one that showed what does not verify rests.
        requests_max: blocks and newest heights asked of one peer for one header.
        seconds_max: of one peer for one header, from the first question to it to the last byte it sends.
        slow_seconds: a witness that took longer over one header rests, and another peer is asked after one
            that did.
        lag_seconds: how long a header that nobody confirms waits for witnesses that have not got so far.
        doubt_seconds: how long one that somebody confirms waits for the others. An honest chain at rest shows
            a block of the present after two heartbeats of 5 s (``consensus.node.spec.Timing``).
        poll_seconds: between questions to those, at first.
    """

    witnesses_max: int = 4
    faults_max: int = 3
    rest_seconds: float = 60.0
    liar_rest_seconds: float = 3600.0
    requests_max: int = 1000
    seconds_max: float = 60.0
    slow_seconds: float = 5.0
    lag_seconds: float = 5.0
    doubt_seconds: float = 15.0
    poll_seconds: float = 0.02


@dataclass(slots=True)
class Seat:
    """A peer and what is held against it."""

    peer: Peer
    faults: int = 0
    rests_until: float = -math.inf
    rests: int = 0
    lied: bool = False


class Bounded:
    """One peer for one header: so many requests, so long from the first of them."""

    def __init__(self, peer: Peer, settings: PanelSettings, pace: Pace) -> None:
        self._peer, self._left, self._pace = peer, settings.requests_max, pace
        self._seconds_max = settings.seconds_max
        self._deadline: float | None = None

    def light_block(self, height: int) -> LightBlock:
        """Give a light block.

        Raises:
            EnvironmentFault: TIMEOUT once a bound is reached; and as the peer's own.
        """
        return self._within(lambda: self._peer.light_block(height))

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit; raises as ``light_block``."""
        return self._within(lambda: self._peer.signed_header(height))

    def newest(self) -> NodeStatus:
        """Give what it says of its newest block; raises as ``light_block``."""
        return self._within(lambda: newest_of(self._peer))

    def is_catching_up(self) -> bool:
        """Tell whether it says so itself; raises as ``light_block``."""
        return self._within(self._peer.status).catching_up

    def _within(self, ask: Callable[[], T]) -> T:
        self._left -= 1
        now = self._pace.monotonic()
        self._deadline = now + self._seconds_max if self._deadline is None else self._deadline
        if self._left < 0 or now >= self._deadline:
            raise EnvironmentFault(
                Code.TIMEOUT,
                got="too many requests" if self._left < 0 else "too long",
                expected="a header within the bounds of one peer",
                endpoint=self._peer.endpoint,
            )
        # What is asked may take many exchanges: a validator set comes in pages.
        with within(self._deadline - now):
            return ask()


class Roster:
    """The peers in order of preference, the first asked first.

    Args:
        peers: at least one.
        settings: bounds.
        pace: the time of rests.

    Raises:
        Refused: USAGE for none, too many, or one endpoint twice.
    """

    def __init__(self, peers: Sequence[Peer], settings: PanelSettings, pace: Pace) -> None:
        endpoints = {peer.endpoint for peer in peers}
        if not 0 < len(peers) <= PEERS_MAX or len(endpoints) != len(peers):
            raise Refused(Code.USAGE, got=len(peers), expected=f"1 … {PEERS_MAX} RPC endpoints, each once")
        self.settings, self.pace = settings, pace
        self._seats = [Seat(peer) for peer in peers]
        self.asked = self._seats[0]

    @property
    def peers(self) -> list[Peer]:
        """All of them."""
        return [seat.peer for seat in self._seats]

    def bounded(self, seat: Seat) -> Bounded:
        """Give a peer for one header."""
        return Bounded(seat.peer, self.settings, self.pace)

    def witnesses(self, asked: Seat) -> list[Seat]:
        """Give who confirms what ``asked`` shows: those fit, else those that rest but never lied."""
        others = [seat for seat in self._seats if seat is not asked]
        fit = [seat for seat in others if not self.is_resting(seat)]
        return (fit or [seat for seat in others if not seat.lied])[: self.settings.witnesses_max]

    def attempt(self, work: Callable[[Seat], T], *, refusals: bool = False) -> T:
        """Do ``work`` with the peer asked; where it lies or does not answer, with the next.

        Args:
            work: with one peer.
            refusals: also go on where a node refuses (RPC_REFUSED, HEIGHT_NOT_AVAILABLE), without holding it
                against the node.

        Raises:
            ConclaveError: the first failure, if no peer does better; NO_WITNESS_AGREES where all have lied.
        """
        first: VerificationFailed | EnvironmentFault | None = None
        for _ in self._seats:
            seat = self.asked
            if seat.lied and self.is_resting(seat):
                break
            try:
                result = work(seat)
            except (VerificationFailed, EnvironmentFault) as error:
                refused = refusals and error.code in _REFUSALS
                if not self.blame(seat, error) and not refused:
                    raise
                first = first or error
                self.pass_on(seat)
            else:
                seat.faults = 0
                return result
        raise first or nobody_agrees(0, "every peer has lied")

    def pass_on(self, seat: Seat) -> None:
        """Let another peer be asked: the next that is fit, else the one whose rest ends first."""
        now, start = self.pace.monotonic(), self._seats.index(seat)
        others = self._seats[start + 1 :] + self._seats[:start]
        if others:
            self.asked = min(others, key=lambda other: max(other.rests_until, now))

    def blame(self, seat: Seat, error: VerificationFailed | EnvironmentFault) -> bool:
        """Hold a failure against a peer; tell whether another may do better."""
        if isinstance(error, EnvironmentFault) and error.code not in _UNFIT:
            return False
        if error.code in _OURS or len(self._seats) == 1:
            return False
        now = self.pace.monotonic()
        seat.faults += 1
        if isinstance(error, VerificationFailed) and error.code not in _DOUBTFUL:
            seat.lied, seat.rests_until = True, now + self.settings.liar_rest_seconds
        elif seat.faults >= self.settings.faults_max:
            seat.faults, seat.rests_until = 0, now + self.settings.rest_seconds
        return True

    @contextlib.contextmanager
    def timing(self, seat: Seat) -> Iterator[None]:
        """Let a peer rest that took too long over what is asked inside."""
        began = self.pace.monotonic()
        try:
            yield
        finally:
            if self.pace.monotonic() - began > self.settings.slow_seconds:
                self.rest(seat)

    def rest(self, seat: Seat) -> None:
        """Let a peer that kept a header waiting rest, twice as long as the last time; it told no lie."""
        now, longest = self.pace.monotonic(), self.settings.liar_rest_seconds
        seat.rests = 1 if now - seat.rests_until > longest else seat.rests + 1
        seconds = min(longest, self.settings.rest_seconds * 2.0 ** min(seat.rests - 1, _DOUBLINGS_MAX))
        seat.rests_until = max(seat.rests_until, now + seconds)

    def is_resting(self, seat: Seat) -> bool:
        """Tell whether a peer is a witness only where no other is fit."""
        rests = seat.rests_until > self.pace.monotonic()
        seat.lied = seat.lied and rests
        return rests
