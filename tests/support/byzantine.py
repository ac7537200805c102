"""``python -m tests.support.byzantine``: the real application, but it proposes what no honest one does.

Owns ``ByzantineApplication``: each time it is asked for a proposal it plays the next of ``TRICKS``, and it
votes for everything. Each trick played is a line in the home's ``tricks.log``: trick, height.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from abci_app.__main__ import main
from abci_app.application import ConclaveApplication
from ledger.bodies import rollback_body
from ledger.limits import ENVELOPE_BYTES_MAX
from ledger.pb import abci_pb2 as pb
from state.store import Store
from tests.support.subjects import ALICE, STRANGER, Pen, Subject, seal

LOG = "tricks.log"
CHAIN_ID = "byzantine-test"
REJECTED = ("garbage", "too large", "forged", "other chain", "empty")
"""Tricks that every honest node must vote against."""
TOLERATED = ("duplicates", "expired", "strangers", "old")
"""Tricks that cost a place in a block and nothing else."""
TRICKS = tuple(itertools.chain.from_iterable(itertools.zip_longest(REJECTED, TOLERATED, fillvalue="garbage")))
_nonces = itertools.count(1)


def make(trick: str, honest: Sequence[bytes], seen: Sequence[bytes]) -> list[bytes]:
    """Give the transactions of a block that plays ``trick``."""
    makers: dict[str, Callable[[], list[bytes]]] = {
        "garbage": lambda: [*honest, b"\xff" * 300],
        "too large": lambda: [bytes(ENVELOPE_BYTES_MAX + 1)],
        "forged": lambda: [_forged()],
        "other chain": lambda: [*honest, Pen().propose(ALICE)],
        "empty": lambda: [*honest, b"\n\x00"],
        "duplicates": lambda: [_own()] * 3,
        "expired": lambda: [_own(not_after=1)],
        "strangers": lambda: [_own(who=STRANGER)],
        "old": lambda: list(seen[-5:]),
    }
    return makers[trick]()


def _own(who: Subject = ALICE, not_after: int = 10_000) -> bytes:
    return seal(who, rollback_body("none", 1), next(_nonces), not_after=not_after, chain_id=CHAIN_ID)


def _forged() -> bytes:
    tx = bytearray(_own())
    tx[-1] ^= 1
    return bytes(tx)


class ByzantineApplication(ConclaveApplication):
    """A validator that cheats when it proposes."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._tricks = itertools.cycle(TRICKS)
        self._seen: list[bytes] = []
        self.log: Path | None = None

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        """Propose the next trick."""
        honest = list(super().prepare_proposal(request).txs)
        trick = next(self._tricks)
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{trick},{request.height}\n")
        return pb.ResponsePrepareProposal(txs=make(trick, honest, self._seen))

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        """Vote for everything."""
        return pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.ACCEPT)

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        """Execute as everybody does, and keep what was in the block for later."""
        self._seen.extend(request.txs)
        return super().finalize_block(request)


def open_byzantine(home: Path) -> ByzantineApplication:
    """Open the cheat over the store in ``home/app``."""
    application = ByzantineApplication(Store.open(home / "app"))
    application.log = home / LOG
    return application


if __name__ == "__main__":
    sys.exit(main(opener=open_byzantine))
