"""Several nodes, none of them trusted: one is asked, the others are witnesses.

Owns ``Panel``. Promises that a header counts only when a witness shows the same, where there is more than
one node; that two provable chains end in an incident that halts every reader of the folder, with both sides
told (``consensus.accuse``), and never in a choice; and that a useless peer costs a bounded time and loses its
place (``consensus.peers``). Never resolves an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from consensus import answers
from consensus.accuse import Accusation, Pace, Side, accusations, send
from consensus.hearing import Question, hear_all
from consensus.incident import Incident, IncidentFile, Shown
from consensus.light.attack import AttackEvidence
from consensus.light.divergence import Judging, walk
from consensus.light.encoding import header_hash
from consensus.light.types import LightBlock, Options, SignedHeader, Trusted
from consensus.light.witness import nobody_agrees
from consensus.peers import Bounded, PanelSettings, Roster, Seat
from consensus.sources import Peer, Rpc
from ledger.errors import Code, EnvironmentFault, VerificationFailed

T = TypeVar("T")


class Panel:
    """An ``Rpc`` over several peers, which ``VerifiedHeaders`` also asks for headers that witnesses confirm.

    Args:
        peers: in order of preference; the first is asked first. A single one has no witness: then nothing is
            cross-checked, only an earlier incident still halts.
        incidents: where an attack is recorded.
        settings: bounds.
        pace: the time of waits.

    Raises:
        Refused: USAGE for none, too many, or one endpoint twice.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        incidents: IncidentFile,
        settings: PanelSettings | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.incidents = incidents
        self._roster = Roster(peers, settings or PanelSettings(), pace or Pace())

    @property
    def endpoint(self) -> str:
        """The endpoint of the peer that is asked."""
        return self._roster.asked.peer.endpoint

    @property
    def witnesses(self) -> tuple[str, ...]:
        """The endpoints that are asked to confirm a header."""
        return tuple(seat.peer.endpoint for seat in self._roster.witnesses(self._roster.asked))

    def close(self) -> None:
        """Close the peers' connections."""
        for peer in self._roster.peers:
            peer.close()

    def status(self) -> answers.NodeStatus:
        """Give what the peer asked says of itself."""
        return self.attempt(lambda peer: peer.status())

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``, unverified."""
        return self.attempt(lambda peer: peer.signed_header(height))

    def light_block(self, height: int) -> LightBlock:
        """Give the light block of ``height``, unverified."""
        return self.attempt(lambda peer: peer.light_block(height))

    def abci_query(self, path: str, data: bytes, height: int) -> answers.QueryAnswer:
        """Query the application of the peer asked."""
        return self.attempt(lambda peer: peer.abci_query(path, data, height))

    def broadcast_tx_sync(self, tx: bytes) -> answers.BroadcastAnswer:
        """Offer a transaction to the peer asked."""
        return self.attempt(lambda peer: peer.broadcast_tx_sync(tx))

    def tx(self, tx_hash: bytes) -> answers.TxAnswer:
        """Give an included transaction."""
        return self.attempt(lambda peer: peer.tx(tx_hash))

    def block_txs(self, height: int) -> tuple[bytes, ...]:
        """Give the transactions of block ``height``."""
        return self.attempt(lambda peer: peer.block_txs(height))

    def block_results(self, height: int) -> tuple[answers.TxResult, ...]:
        """Give the transaction results of block ``height``."""
        return self.attempt(lambda peer: peer.block_results(height))

    def attempt(self, work: Callable[[Peer], T], *, refusals: bool = False) -> T:
        """Do ``work`` with the peer asked; where it lies or does not answer, with the next, each once.

        With ``refusals``, also where it says that it can't.

        Raises:
            ConclaveError: the first peer's failure, if none does better; NO_WITNESS_AGREES where every peer
                has lied.
        """
        return self._roster.attempt(lambda seat: work(seat.peer), refusals=refusals)

    def ask_another(self) -> None:
        """Ask another peer from now on, without holding anything against this one."""
        self._roster.pass_on(self._roster.asked)

    def within_bounds(self, work: Callable[[Bounded], T]) -> T:
        """Do ``work`` with the blocks of the peer asked, as ``attempt``, within the bounds of one header."""
        return self._roster.attempt(lambda seat: work(self._roster.bounded(seat)), refusals=True)

    def confirmed(self, ground: Trusted, height: int, options: Options, now_ns: int) -> Trusted:
        """Verify ``height`` from ``ground`` through one peer and have it confirmed by a witness.

        The blocks between that the walk went over are given to nobody: witnesses were not asked about them.

        Raises:
            VerificationFailed: HEADERS_DIVERGED, now or by an earlier incident; NO_WITNESS_AGREES; whatever
                the blocks of every peer fail by.
            EnvironmentFault: no peer answers; RPC_REFUSED where the peer asked has no such height: another is
                asked from now on.
        """
        self.incidents.check()
        judging = Judging(options, now_ns)

        def work(seat: Seat) -> Trusted:
            source, began = self._roster.bounded(seat), self._roster.pace.monotonic()
            try:
                walked = walk(ground, height, options, now_ns, source.light_block)
            except EnvironmentFault as fault:
                if fault.code is Code.RPC_REFUSED:
                    self._roster.pass_on(seat)
                raise
            took = self._roster.pace.monotonic() - began
            self._cross_check(seat, Question(walked, ground, judging))
            if took > self._roster.settings.slow_seconds:
                self._roster.pass_on(seat)
            return walked.target

        return self._roster.attempt(work)

    def confirmed_first(self, first: Callable[[Bounded], Trusted], now_ns: int) -> Trusted:
        """Have the header that the genesis validators signed confirmed: ``first`` takes it from a peer.

        No evidence is made of two: a full node takes none without a block before.

        Raises:
            VerificationFailed, EnvironmentFault: as ``confirmed``.
        """
        self.incidents.check()

        def work(seat: Seat) -> Trusted:
            found = first(self._roster.bounded(seat))
            agree = 0
            witnesses = self._roster.witnesses(seat)
            for witness in witnesses:
                try:
                    with self._roster.timing(witness):
                        other = first(self._roster.bounded(witness))
                except (VerificationFailed, EnvironmentFault) as error:
                    self._roster.blame(witness, error)
                    continue
                if other.hash != found.hash:
                    sides = Shown(seat.peer.endpoint, found.hash), Shown(witness.peer.endpoint, other.hash)
                    raise self.incidents.record(Incident(found.header.chain_id, found.height, now_ns, *sides))
                witness.faults, agree = 0, agree + 1
            self._require(agree, seat, found.height)
            return found

        return self._roster.attempt(work, refusals=True)

    def _cross_check(self, seat: Seat, question: Question) -> None:
        heard = hear_all(question, seat, self._roster)
        if heard.contradicting is not None and heard.claimed is not None:
            raise self._halt(seat, heard.contradicting, heard.claimed, question)
        self._require(heard.agree, seat, question.walked.target.height)

    def _require(self, agree: int, seat: Seat, height: int) -> None:
        if agree or len(self._roster.peers) == 1:
            return
        # It may be the one asked that shows what nobody else has: the next time another is.
        self._roster.pass_on(seat)
        raise nobody_agrees(height, f"{seat.peer.endpoint} alone shows this header")

    def _halt(self, seat: Seat, witness: Seat, claimed: LightBlock, question: Question) -> VerificationFailed:
        target, peers = question.walked.target, self._roster.peers
        sides = self._side(seat), self._side(witness)
        made = accusations(question.ground, question.walked, claimed, sides, question.judging)
        incident = Incident(
            chain_id=target.header.chain_id,
            height=target.height,
            detected_at_ns=question.judging.now_ns,
            primary=Shown(seat.peer.endpoint, target.hash),
            witness=Shown(witness.peer.endpoint, header_hash(claimed.header)),
            evidence=_evidence(made),
        )
        # Kept before anybody is told: telling takes time, and a process may end.
        self.incidents.record(incident)
        sent, final = send(made, peers, self._roster.pace)
        return self.incidents.record(replace(incident, evidence=_evidence(final), sent=sent))

    def _side(self, seat: Seat) -> Side:
        return Side(seat.peer.endpoint, self._roster.bounded(seat).light_block)


def _evidence(made: Sequence[Accusation]) -> tuple[tuple[str, AttackEvidence], ...]:
    return tuple((accusation.against, accusation.evidence()) for accusation in made)


def ask_another(rpc: Rpc) -> None:
    """Ask another peer from now on, without holding anything against this one; a single node stays."""
    if isinstance(rpc, Panel):
        rpc.ask_another()


def attempt(rpc: Rpc, work: Callable[[Rpc], T], *, refusals: bool = False) -> T:
    """Do ``work`` with ``rpc``; with a panel, with whichever peer does it honestly.

    With ``refusals``, what one peer says it can't do is asked of the others, too.

    Raises:
        ConclaveError: whatever ``work`` raises.
    """
    return rpc.attempt(work, refusals=refusals) if isinstance(rpc, Panel) else work(rpc)
