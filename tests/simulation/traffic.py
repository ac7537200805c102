"""Random transactions, most of them meant well, made of one seed.

Owns ``Traffic``: proposals, judgements, reports and rollbacks over a known history, and what enemies send:
garbage, damage, replays, forgeries, stale and foreign envelopes, agents that approve. Promises that a seed
gives the same transactions on every machine; never looks at a replica.
"""

from __future__ import annotations

import random
from collections import deque

from ledger import actions, bodies, envelope
from ledger.pb.envelope_pb2 import Envelope
from ledger.types import ActionKind
from tests.simulation.world import CLUSTERS, EVERYBODY, HUMANS, NODES, RELEASES, World
from tests.support.subjects import (
    AGENT,
    CHAIN_ID,
    ORGANISATION,
    STRANGER,
    Subject,
    configmap,
    judgement_body,
    release,
    seal,
)

TXS_PER_BLOCK_MAX = 18
KINDS = {"propose": 3, "judge": 14, "report": 4, "replay": 2, "damage": 2, "garbage": 1, "forge": 1}
RECENT = 5
"""How many of the newest proposals are judged most of the time."""
JUDGED = 20
"""How many are judged at all, many of them expired."""
REMEMBERED = 200
"""How many transactions may come again."""


class Traffic:
    """Gives one block's worth of transactions after another."""

    def __init__(self, chance: random.Random, world: World) -> None:
        self._chance = chance
        self._requirement = world.requirement
        self._nonces = dict.fromkeys((who.did for who in EVERYBODY), 0)
        self._sequences = dict.fromkeys(CLUSTERS, 0)
        self._proposals: deque[bytes] = deque(maxlen=JUDGED)
        self._sent: deque[bytes] = deque(maxlen=REMEMBERED)
        self._makers = {
            "propose": self._propose,
            "judge": self._judge,
            "report": self._report,
            "replay": lambda _height: self.old(),
            "damage": lambda _height: self._damaged(self.old()),
            "garbage": lambda _height: self.garbage(),
            "forge": self._forge,
        }

    @classmethod
    def of(cls, seed: int) -> Traffic:
        """Make traffic of its own seed."""
        chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        return cls(chance, World.of(chance))

    def block(self, height: int) -> list[bytes]:
        """Give the transactions that are sent while the block at ``height`` is made."""
        count = self._chance.randrange(TXS_PER_BLOCK_MAX + 1)
        kinds = self._chance.choices(list(KINDS), list(KINDS.values()), k=count)
        txs = [self._makers[kind](height) for kind in kinds]
        self._sent.extend(txs)
        return txs

    def old(self) -> bytes:
        """Give a transaction sent before."""
        return self._chance.choice(self._sent) if self._sent else self.garbage()

    def garbage(self) -> bytes:
        """Give bytes without meaning."""
        return self._chance.randbytes(self._chance.randrange(80))

    def _damaged(self, tx: bytes) -> bytes:
        if not tx:
            return b"\0"
        at = self._chance.randrange(len(tx))
        return tx[:at] + bytes((tx[at] ^ 1 << self._chance.randrange(8),)) + tx[at + 1 :]

    def _one_in(self, count: int) -> bool:
        return self._chance.randrange(count) == 0

    def sign(self, who: Subject, body: bytes, height: int) -> bytes:
        """Sign as ``who``, mostly with a fresh nonce and time enough."""
        used = self._nonces[who.did]
        nonce = max(1, used + self._chance.choice((*[1] * 16, 2, 3, 70, 0, -1, -70)))
        self._nonces[who.did] = max(used, nonce)
        not_after = height + self._chance.choice((*[60] * 16, 5, 1, 0, -1, 200_000))
        chain_id = "other-chain" if self._one_in(50) else CHAIN_ID
        return seal(who, body, nonce, not_after=max(1, not_after), chain_id=chain_id)

    def _propose(self, height: int) -> bytes:
        name = self._chance.choice(RELEASES)
        clusters: tuple[str, ...] = ("east",)
        if self._one_in(5):
            body = bodies.rollback_body(name, self._chance.randrange(1, 5))
        else:
            clusters = self._chance.choice((("east",), ("east",), CLUSTERS, CLUSTERS, ("mars",)))
            manifests = [configmap("settings", str(self._chance.randrange(100)))]
            body = bodies.release_body(release(name, clusters=clusters, manifests=manifests))
        who = self._chance.choice((*HUMANS, *HUMANS, AGENT, AGENT, NODES[0], STRANGER, ORGANISATION))
        tx = self.sign(who, body, height)
        if clusters != ("mars",) and (who in HUMANS or who == AGENT):
            self._proposals.append(tx)
        return tx

    def _judge(self, height: int) -> bytes:
        if not self._proposals:
            return self._propose(height)
        kind = ActionKind.REJECTION if self._one_in(15) else ActionKind.APPROVAL
        reach = JUDGED if self._one_in(6) else RECENT
        body = judgement_body(self._chance.choice([*self._proposals][-reach:]), kind, self._requirement)
        if self._one_in(20):
            other = envelope.decode(self._proposals[0])
            body = bodies.judgement_body(kind, envelope.envelope_id(other), "ab" * 32, self._requirement)
        elif self._one_in(20):
            body = bodies.judgement_body(kind, "ab" * 32, "cd" * 32, self._requirement)
        who = self._chance.choice((*HUMANS, *HUMANS, *HUMANS, AGENT, ORGANISATION, NODES[0]))
        return self.sign(who, body, height)

    def _report(self, height: int) -> bytes:
        item = {"object": "v1/ConfigMap/demo/settings", "outcome": "created", "health": "current", "code": 0}
        cluster, name = self._chance.choice((*CLUSTERS, "east")), self._chance.choice(RELEASES)
        self._sequences[cluster] += self._chance.choice((1, 1, 1, 0, -1))
        revision, sequence = self._chance.randrange(1, 4), max(1, self._sequences[cluster])
        report = actions.Report(cluster, name, revision, sequence, "applied", "current", (item,))
        own = next(node for node in NODES if node.cluster == cluster)
        who = own if not self._one_in(5) else self._chance.choice((*NODES, HUMANS[0]))
        return self.sign(who, bodies.report_body(report), height)

    def _forge(self, height: int) -> bytes:
        """Give one member's words under another's name: signer, key or signature exchanged."""
        one, other = self._chance.sample(HUMANS, 2)
        body = judgement_body(self._make_proposal(height), required=self._requirement)
        forged = Envelope.FromString(self.sign(one, body, height))
        match self._chance.randrange(3):
            case 0:
                forged.signer = other.did
            case 1:
                forged.signatures[0].key_id = other.key_id
            case _:
                forged.signer, forged.signatures[0].key_id = other.did, other.key_id
        return forged.SerializeToString()

    def _make_proposal(self, height: int) -> bytes:
        return self._proposals[-1] if self._proposals else self._propose(height)
