"""Hearing the witnesses of one header.

Owns when enough of them were heard. Promises that each is asked, that one which has the header costs one
question, that one which is behind is waited for within a bound even where others agree (light/detector.go
``compareNewLightBlockWithWitness``), and that whoever keeps a header waiting in vain rests. Never judges who
is right, and never decides what becomes of a contradiction.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.light.divergence import Judging, Walked
from consensus.light.types import SECOND_NS, LightBlock, Trusted
from consensus.light.witness import Heard, Testimony, hear, hear_newest
from consensus.peers import Bounded, Roster, Seat
from ledger.errors import EnvironmentFault, VerificationFailed

_PAUSE_SHARE = 0.1
"""Between questions, of what was waited so far: who is late by little is heard soon."""


@dataclass(frozen=True, slots=True)
class Question:
    """A header one peer has proven, about which witnesses are asked."""

    walked: Walked
    ground: Trusted
    judging: Judging

    def hear(self, witness: Bounded) -> Heard:
        """Ask a witness for the same height; one that has not got so far, for its newest."""
        heard = self._hear(witness)
        if heard.testimony is not Testimony.BEHIND:
            return heard
        refusal, target = heard.cause, self.walked.target
        try:
            newest = witness.newest()
            if newest.height > target.height:
                # It got there meanwhile, or it does not keep this height: then it never will show it.
                again = self._hear(witness)
                is_gone = again.testimony is Testimony.BEHIND
                return Heard(Testimony.USELESS, cause=refusal) if is_gone else again
            if newest.height == target.height:
                return heard
            if newest.time_ns >= target.header.time_ns:
                return self._hear_newest(witness, newest.height)
            # One block behind is soon heard, whatever it does.
            is_syncing = newest.height < target.height - 1 and witness.is_catching_up()
            return Heard(Testimony.SYNCING) if is_syncing else heard
        except (VerificationFailed, EnvironmentFault) as error:
            return Heard(Testimony.USELESS, cause=error)

    def ahead_seconds(self) -> float:
        """How far the header is ahead of our clock: no honest chain shows a later one any sooner."""
        return max(0, self.walked.target.header.time_ns - self.judging.now_ns) / SECOND_NS

    def _hear(self, witness: Bounded) -> Heard:
        judging = self.judging
        return hear(self.walked.target, self.ground, judging.options, judging.now_ns, witness.light_block)

    def _hear_newest(self, witness: Bounded, newest: int) -> Heard:
        block, judging = witness.light_block(newest), self.judging
        if block.height != newest:
            return Heard(Testimony.BEHIND)
        target, fetch = self.walked.target, witness.light_block
        return hear_newest(block, target, self.ground, judging.options, judging.now_ns, fetch)


@dataclass(frozen=True, slots=True)
class Hearing:
    """What became of it.

    Attributes:
        agree: how many witnesses show the same header.
        contradicting: who proves another.
        claimed: that one's block.
    """

    agree: int
    contradicting: Seat | None = None
    claimed: LightBlock | None = None


def hear_all(question: Question, asked: Seat, roster: Roster) -> Hearing:
    """Ask every witness of what ``asked`` has shown, until one contradicts or all have told what they know.

    One that is behind may belong to a chain that contradicts the header as soon as it gets to its time. While
    nobody agrees it is waited for ``lag_seconds``, otherwise ``doubt_seconds`` and what the header is ahead
    of our clock; then it counts as not reached. One that is behind because it is catching up, as it says
    itself, is not waited for where another agrees; nor is one that rests.
    Source: light/detector.go, [LCD-FUNC-DETECTOR.2].

    Args:
        question: what ``asked`` has proven.
        asked: who is no witness of it.
        roster: the others; whoever was heard too late or in vain rests.
    """
    pace, settings = roster.pace, roster.settings
    waiting = [(seat, roster.bounded(seat)) for seat in roster.witnesses(asked)]
    # Where all rest they are asked all the same, but who kept headers waiting does not keep this one too.
    rested = {id(seat) for seat, _ in waiting if roster.is_resting(seat)}
    agree, began = 0, None
    while True:
        heard = []
        for seat, bounded in waiting:
            with roster.timing(seat):
                said = question.hear(bounded)
            if said.block is not None:
                return Hearing(agree, seat, said.block)
            if said.testimony is Testimony.AGREES:
                seat.faults, agree = 0, agree + 1
            elif said.testimony is Testimony.USELESS and said.cause is not None:
                roster.blame(seat, said.cause)
            heard.append(said.testimony)
        awaited = {Testimony.BEHIND} if agree else {Testimony.BEHIND, Testimony.SYNCING}
        waiting = [
            witness
            for witness, told in zip(waiting, heard, strict=True)
            if told in awaited and not (agree and id(witness[0]) in rested)
        ]
        began = pace.monotonic() if began is None else began
        waited = pace.monotonic() - began
        bound = settings.doubt_seconds + question.ahead_seconds() if agree else settings.lag_seconds
        if not waiting or waited >= bound:
            break
        pace.pause(max(settings.poll_seconds, waited * _PAUSE_SHARE))
    # Where nobody agrees, it may be the header that is to blame.
    for seat, _ in waiting if agree else ():
        roster.rest(seat)
    return Hearing(agree)
