"""Validators who sign two chains, and peers that show one of them.

Nine validators of equal power: two are less than a third, five more (as few as can decide two blocks), seven
more than two thirds; three and six are the thirds themselves, which never suffice. ``FORGERIES`` makes the
second chain of each attack as strong as its signers can; ``Peer`` is a node in memory that keeps the evidence
it is sent and whose chain may grow with time.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from consensus.accuse import Pace
from consensus.answers import NodeStatus
from consensus.incident import FILE_NAME, IncidentFile
from consensus.light.encoding import validators_hash
from consensus.light.types import SECOND_NS, LightBlock, SignedHeader
from consensus.peers import PanelSettings
from consensus.reader import VerifiedReader
from consensus.trust_store import TrustRoot, TrustStore
from consensus.witness import Panel
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.chain import Chain, Signer, set_of, sign, signers
from tests.support.ledger import Ledger, Node

MEMBERS = signers(*(f"v{n}" for n in range(9)))
SHARES = {"under 1/3": 2, "exactly 1/3": 3, "over 1/3": 5, "exactly 2/3": 6, "over 2/3": 7}
GROUND, TARGET = 2, 6
INVENTED = b"\x66" * 32


def by_address(chosen: Collection[Signer]) -> list[Signer]:
    """Give signers in the order of a validator set."""
    return sorted(chosen, key=lambda signer: signer.address)


ORDERED = tuple(by_address(MEMBERS))
MISLED = ORDERED[:2]
"""Honest validators who were shown the second chain only: the first can be decided without them."""


def liars(share: str) -> tuple[Signer, ...]:
    """Give the validators who misbehave: never those who are misled."""
    return ORDERED[-SHARES[share] :]


@functools.cache
def decided(misled: tuple[Signer, ...] = (), height: int = TARGET) -> Ledger:
    """Give a ledger up to ``height``, whose block of ``TARGET`` ``misled`` did not sign."""
    ledger = Ledger(Chain(MEMBERS))
    while ledger.height < height:
        ledger.commit()
    chain = ledger.chain
    chain.blocks[TARGET] = _signed(chain, chain.blocks[TARGET], MEMBERS, set(MEMBERS) - set(misled))
    return ledger


def _signed(
    chain: Chain, block: LightBlock, members: Collection[Signer], voters: Collection[Signer], round_: int = 0
) -> LightBlock:
    header = block.header
    absent = [member for member in members if member not in voters]
    commit = sign(chain.chain_id, header, list(members), absent=absent, round_=round_)
    return LightBlock(SignedHeader(header, commit), set_of(members), set_of(members))


def _with(chain: Chain, at: int, /, **fields: object) -> LightBlock:
    block = chain.blocks[at]
    return dataclasses.replace(
        block,
        signed_header=dataclasses.replace(
            block.signed_header,
            header=dataclasses.replace(block.header, **fields),  # type: ignore[arg-type]
        ),
    )


def lunatic_far(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """A header of a set that the liars invented: themselves, over heights that are skipped."""
    invented = validators_hash(set_of(voters))
    fields = {"app_hash": INVENTED, "validators_hash": invented, "next_validators_hash": invented}
    return {TARGET: _signed(chain, _with(chain, TARGET, **fields), voters, voters)}


def lunatic_near(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """An invented state in the very next header, whose set was announced."""
    return {GROUND + 1: _signed(chain, _with(chain, GROUND + 1, app_hash=INVENTED), MEMBERS, voters)}


def lunatic_between(
    chain: Chain, height: int, voters: tuple[Signer, ...], following: tuple[Signer, ...]
) -> LightBlock:
    """A header that the liars invented which leads back to the true chain: it announces the true set."""
    hashes = {
        "validators_hash": validators_hash(set_of(voters)),
        "next_validators_hash": validators_hash(set_of(following)),
    }
    forged = _signed(chain, _with(chain, height, app_hash=INVENTED, **hashes), voters, voters)
    return dataclasses.replace(forged, next_validators=set_of(following))


def equivocation(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """Another possible block of the same round, signed also by the honest who were shown nothing else."""
    return {TARGET: _signed(chain, _with(chain, TARGET, data_hash=INVENTED), MEMBERS, (*voters, *MISLED))}


def amnesia(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """Another possible block of a later round."""
    block = _with(chain, TARGET, data_hash=INVENTED)
    return {TARGET: _signed(chain, block, MEMBERS, (*voters, *MISLED), round_=1)}


def misled_by(attack: str) -> tuple[Signer, ...]:
    """Give the honest who signed the second chain and therefore not the first."""
    return MISLED if attack in ("equivocation", "amnesia") else ()


def ahead(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """A header three heights above the chain's newest, no later than it (forward lunatic)."""
    return _ahead(chain, voters, -SECOND_NS // 2)


def ahead_and_later(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """The same, later than the chain's newest: nothing contradicts it before the chain gets to its time."""
    return _ahead(chain, voters, 1)


def _ahead(chain: Chain, voters: tuple[Signer, ...], later_ns: int) -> dict[int, LightBlock]:
    own = validators_hash(set_of(voters))
    time_ns = chain.blocks[TARGET].header.time_ns + later_ns
    fields = {"height": TARGET + 3, "time_ns": time_ns, "app_hash": INVENTED}
    hashes = {"validators_hash": own, "next_validators_hash": own}
    return {TARGET + 3: _signed(chain, _with(chain, TARGET, **fields, **hashes), voters, voters)}


def from_future(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """A header whose time is an hour ahead of the reader's clock."""
    time_ns = chain.now_ns + 3600 * SECOND_NS
    return {TARGET: _signed(chain, _with(chain, TARGET, time_ns=time_ns), MEMBERS, voters)}


def back_in_time(chain: Chain, voters: tuple[Signer, ...]) -> dict[int, LightBlock]:
    """A header no later than the one already believed."""
    time_ns = chain.blocks[GROUND].header.time_ns
    return {TARGET: _signed(chain, _with(chain, TARGET, time_ns=time_ns), MEMBERS, voters)}


Forgery = Callable[[Chain, tuple[Signer, ...]], dict[int, LightBlock]]
FORGERIES: dict[str, Forgery] = {
    "lunatic, skipping": lunatic_far,
    "lunatic, next height": lunatic_near,
    "equivocation": equivocation,
    "amnesia": amnesia,
    "ahead of the chain": ahead,
    "ahead of the chain, later": ahead_and_later,
    "time in the future": from_future,
    "time going back": back_in_time,
}


class Peer(Node):
    """A node that shows a ledger, with blocks of its own where it lies, and keeps the evidence it is sent."""

    def __init__(self, endpoint: str, ledger: Ledger, forged: dict[int, LightBlock] | None = None) -> None:
        super().__init__(ledger)
        self.endpoint, self.forged = endpoint, forged or {}
        self.evidence: list[JsonObject] = []
        self.newest_height: Callable[[], int] = lambda: ledger.height
        """How far its chain is by now."""
        self.fault: EnvironmentFault | None = None
        self.closed = False

    def status(self) -> NodeStatus:
        """Give the newest height, its own included."""
        status, newest = super().status(), self.newest_height()
        if newest < self.ledger.height:
            status = dataclasses.replace(status, height=newest, time_ns=self.ledger.chain.time_ns(newest))
        return dataclasses.replace(status, height=max(status.height, *self.forged, 0))

    def broadcast_evidence(self, evidence: JsonObject) -> bytes:
        """Keep what is offered."""
        self._answer("broadcast_evidence", evidence)
        self.evidence.append(evidence)
        return bytes(32)

    def close(self) -> None:
        """Say that it was closed."""
        self.closed = True

    def _block(self, height: int) -> LightBlock:
        if height not in self.forged and height > self.newest_height():
            raise EnvironmentFault(Code.RPC_REFUSED, got=height, expected="a height of the chain")
        return self.forged.get(height) or super()._block(height)

    def _answer(self, method: str, answer: Any) -> Any:
        if self.fault is not None:
            self.asked.append(method)
            raise self.fault
        return super()._answer(method, answer)


class Ticks:
    """A clock that moves by what is waited, and by ``cost`` a look."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now, self.cost = 0.0, cost

    @property
    def pace(self) -> Pace:
        """It, as a panel takes it."""
        return Pace(self.look, self.wait)

    def look(self) -> float:
        """Give the seconds passed."""
        self.now += self.cost
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def panel_of(
    peers: Sequence[Peer], folder: Path, settings: PanelSettings | None = None, ticks: Ticks | None = None
) -> Panel:
    """Give a panel whose incidents are in ``folder``."""
    return Panel(peers, IncidentFile(folder / FILE_NAME), settings, (ticks or Ticks()).pace)


def reader_over(
    panel: Panel, ledger: Ledger, folder: Path, clock: Callable[[], int] | None = None
) -> VerifiedReader:
    """Give a reader that trusts height ``GROUND``."""
    chain = ledger.chain
    store = TrustStore(folder / "trust.json")
    store.ensure(TrustRoot.at(chain.chain_id, GROUND, chain.trusted(GROUND).hash))
    return VerifiedReader(panel, store, clock=clock or (lambda: chain.now_ns))
