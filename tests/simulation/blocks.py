"""Random blocks for simulations, made of one seed.

Owns ``BlockSource``: valid, invalid, replayed, damaged and meaningless transactions over a known history.
Promises that a seed gives the same blocks on every machine; never looks at a replica.
"""

from __future__ import annotations

import random

from ledger import envelope, proposal
from ledger.types import ActionKind
from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    CAROL,
    NODE,
    OTHER_NODE,
    STRANGER,
    configmap,
    judgement_body,
    release,
    report_of,
    seal,
)

HUMANS = (ALICE, BOB, CAROL)
EVERYBODY = (*HUMANS, AGENT, NODE, OTHER_NODE, STRANGER)
TXS_PER_BLOCK_MAX = 12
PROPOSERS_LAST = 3
"""Of ``EVERYBODY``: humans and the agent may propose."""


class BlockSource:
    """Gives one block after another."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._nonce = 0
        self._sequence = 0
        self._proposals: list[bytes] = []
        self._sent: list[bytes] = []

    def block(self, height: int) -> list[bytes]:
        """Give the transactions of the block at ``height``."""
        txs = [self._one(height) for _ in range(self._random.randrange(TXS_PER_BLOCK_MAX + 1))]
        self._sent.extend(txs)
        return txs

    def shuffled(self, txs: list[bytes]) -> list[bytes]:
        """Give the same transactions in another order."""
        return self._random.sample(txs, len(txs))

    def chance(self, percent: int) -> bool:
        """Tell whether something that happens in so many of a hundred cases happens now."""
        return self._random.randrange(100) < percent

    def _one(self, height: int) -> bytes:
        kind = self._random.choices(
            ("propose", "judge", "report", "replay", "damage", "garbage"), (4, 10, 3, 2, 2, 1)
        )[0]
        if kind == "garbage":
            return self._random.randbytes(self._random.randrange(80))
        if kind in ("replay", "damage") and self._sent:
            tx = self._random.choice(self._sent)
            return tx if kind == "replay" or not tx else self._damaged(tx)
        if kind == "judge" and self._proposals:
            return self._judge(height)
        return self._report(height) if kind == "report" else self._propose(height)

    def _damaged(self, tx: bytes) -> bytes:
        at = self._random.randrange(len(tx))
        return tx[:at] + bytes((tx[at] ^ 1 << self._random.randrange(8),)) + tx[at + 1 :]

    def _sign(self, subject_index: int, body: bytes, height: int) -> bytes:
        self._nonce += self._random.choice((1, 1, 1, 2, 70, -3))
        return seal(
            EVERYBODY[subject_index],
            body,
            max(1, self._nonce),
            not_after=max(1, height + self._random.choice((5, 5, 50, 50, 50, 0, -1))),
            chain_id="test-chain" if self.chance(97) else "other-chain",
        )

    def _propose(self, height: int) -> bytes:
        name = self._random.choice(("web", "api"))
        clusters: tuple[str, ...] = ("east",)
        if self.chance(15):
            body = proposal.rollback_body(name, self._random.randrange(1, 4))
        else:
            clusters = self._random.choice((("east",), ("east",), ("east", "west"), ("mars",)))
            manifests = [configmap("settings", str(self._random.randrange(100)))]
            body = proposal.release_body(release(name, clusters=clusters, manifests=manifests))
        who = self._random.choice((0, 0, 1, 1, 2, 2, 3, 4, 6))
        tx = self._sign(who, body, height)
        if who <= PROPOSERS_LAST and clusters != ("mars",):
            self._proposals.append(tx)
        return tx

    def _judge(self, height: int) -> bytes:
        target = self._random.choice(self._proposals[-2:])
        kind = ActionKind.REJECTION if self.chance(8) else ActionKind.APPROVAL
        body = judgement_body(target, kind)
        if self.chance(5):
            digest = envelope.decode(self._proposals[0]).digest
            body = proposal.judgement_body(kind, "ab" * 32, digest)
        return self._sign(self._random.choice((0, 1, 1, 2, 2, 2, 3, 4)), body, height)

    def _report(self, height: int) -> bytes:
        self._sequence += 1
        report = report_of(self._random.choice(("web", "api")), self._random.randrange(1, 4), self._sequence)
        return self._sign(self._random.choice((4, 4, 5, 0)), proposal.report_body(report), height)
