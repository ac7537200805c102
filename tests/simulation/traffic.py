"""Random transactions, most of them meant well, made of one seed.

Owns ``Traffic``: proposals of every change, judgements, reports, freezes, pauses and changes of keys, and
what enemies send: garbage, damage, replays, forgeries, stale and foreign envelopes, agents that approve.
Promises that a seed gives the same transactions on every machine; never looks at a replica, only at the
recount of what everybody can see.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from ledger import actions, bodies, envelope
from ledger.pb.envelope_pb2 import Envelope
from ledger.records import MetricRecord
from ledger.types import ActionKind, Did, JsonObject
from tests.simulation.authority import digest_of
from tests.simulation.governing import (
    FREEZES,
    GLASS,
    deployment,
    deployment_id,
    governing_change,
    rollout_parts,
)
from tests.simulation.recount import Recount
from tests.simulation.world import (
    CLUSTERS,
    EVERYBODY,
    GENESIS_SECONDS,
    HIRED,
    HUMANS,
    NODES,
    RELEASES,
    RINGS,
    ROSE,
    Rotating,
    Speaker,
    World,
)
from tests.support import key_rings
from tests.support.subjects import (
    AGENT,
    CHAIN_ID,
    ORGANISATION,
    STRANGER,
    Subject,
    configmap,
    judgement_body,
    release,
)

TXS_PER_BLOCK_MAX = 14
AGENTS_FROM = 100
"""The height from which the agent is cut off and let back, observes and takes back, and logs are anchored."""
KINDS = {
    "propose": 4, "configure": 1.5, "judge": 22, "report": 12, "freeze": 0.2, "hold": 0.7, "revoke": 0.1,
    "keys": 0.3, "replay": 2, "damage": 2, "garbage": 1, "forge": 1,
}  # fmt: skip
RECENT = 4
"""How many of the newest proposals are judged most of the time."""
JUDGED = 20
"""How many are judged at all, many of them closed or expired."""
REMEMBERED = 200
"""How many transactions may come again."""
_TARGETS: tuple[tuple[str, ...], ...] = (("east",), ("east", "west"), CLUSTERS, CLUSTERS, ("mars",))


class Traffic:
    """Gives one block's worth of transactions after another."""

    def __init__(self, chance: random.Random, world: World, ledger: Recount | None = None) -> None:
        self._chance = chance
        # What is said about agents disturbs no other choice.
        self._apart = random.Random(repr(chance.getstate()))  # noqa: S311 - reproducible, not secret
        self._requirement = world.requirement
        self._ledger = ledger or Recount(world)
        self._nonces = dict.fromkeys((*(who.did for who in EVERYBODY), ROSE.did), 0)
        self._sequences = dict.fromkeys(CLUSTERS, 0)
        self._proposals: deque[bytes] = deque(maxlen=JUDGED)
        self._sent: deque[bytes] = deque(maxlen=REMEMBERED)
        self._makers = {
            "propose": self._propose,
            "configure": self._configure,
            "judge": self._judge,
            "report": self._report,
            "freeze": self._freeze,
            "hold": self._hold,
            "revoke": self._revoke,
            "keys": self._change_keys,
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
        return txs + (self._about_agents(height) if height >= AGENTS_FROM else [])

    def used(self, did: str) -> int:
        """Give the highest nonce a subject was given."""
        return self._nonces.get(Did(did), 0)

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

    def sign(self, who: Speaker, body: bytes, height: int, key: Sequence[envelope.SigningKey] = ()) -> bytes:
        """Sign as ``who``, mostly with a fresh nonce and time enough."""
        used = self._nonces[who.did]
        nonce = max(1, used + self._chance.choice((*[1] * 30, 2, 3, 70, 0, -1, -70)))
        self._nonces[who.did] = max(used, nonce)
        not_after = max(1, height + self._chance.choice((*[60] * 16, 5, 1, 0, -1, 200_000)))
        chain_id = "other-chain" if self._one_in(50) else CHAIN_ID
        signing = list(key) or [RINGS[self._turn()] if isinstance(who, Rotating) else who]
        return envelope.seal(
            body, chain_id=chain_id, signer=who.did, nonce=nonce, not_after_height=not_after, key=signing
        )

    def _turn(self) -> int:
        """Give the place of the rotating identity's newest key."""
        keys = self._ledger.authority.people[ROSE.did].keys
        return max(number for number, ring in enumerate(RINGS) if ring.key_id in keys)

    # -- proposals -----------------------------------------------------------------------------------

    def _propose(self, height: int) -> bytes:
        clusters: tuple[str, ...]
        name, clusters = self._chance.choice(RELEASES), CLUSTERS[:1]
        choice = self._chance.randrange(20)
        if choice < 4:
            body = bodies.rollback_body(name, self._chance.randrange(1, 5))
        elif choice == 4:
            body = bodies.withdraw_body(name)
        elif choice == 5:
            body = bodies.delete_body(name, prune=self._one_in(2))
        else:
            clusters = self._chance.choice(_TARGETS)
            glass = GLASS if self._one_in(5) else None
            body = bodies.proposal_body({"release": self._release(name, clusters)}, break_glass=glass)
        who = self._chance.choice((*HUMANS, *HUMANS, AGENT, AGENT, ROSE, NODES[0], STRANGER, ORGANISATION))
        tx = self.sign(who, body, height)
        if clusters != ("mars",) and (who in HUMANS or who == AGENT):
            self._proposals.append(tx)
        return tx

    def _release(self, name: str, clusters: tuple[str, ...]) -> JsonObject:
        number = self._chance.randrange(100)
        # Now and then two releases want the same object.
        settings = f"settings-{name}" if number else "settings"
        manifests = [configmap(settings, str(number)), deployment(name)]
        found = release(name, clusters=clusters, manifests=manifests)
        if number % 8 == 1:
            # It moves; what it had in the other namespace leaves.
            found["spec"]["namespace"] = manifests[0]["metadata"]["namespace"] = "other"
        found["spec"] |= rollout_parts(self._chance, name)
        return found

    def _configure(self, height: int) -> bytes:
        time = max(self._ledger.time, GENESIS_SECONDS)
        put, remove = governing_change(self._chance, height, time)
        who = self._chance.choice((*HUMANS, *HUMANS, ROSE, AGENT))
        return self.sign(who, bodies.configure_body(put, remove), height)

    def _judge(self, height: int) -> bytes:
        if not self._proposals:
            return self._propose(height)
        kind = ActionKind.REJECTION if self._one_in(25) else ActionKind.APPROVAL
        waiting = self._ledger.open_cases()
        if waiting and not self._one_in(8):
            found = self._chance.choice(waiting[-RECENT:])
            digest, required = self._ledger.cases[found].digest, self._requirement_of(found)
            body = bodies.judgement_body(kind, found, digest, required)
        else:
            reach = JUDGED if self._one_in(6) else RECENT
            proposal = self._chance.choice([*self._proposals][-reach:])
            body = judgement_body(proposal, kind, self._requirement)
            if self._one_in(4):
                digest = self._chance.choice(("ab" * 32, envelope.decode(proposal).digest))
                identifier = self._chance.choice(("ab" * 32, envelope.envelope_id(envelope.decode(proposal))))
                body = bodies.judgement_body(kind, identifier, digest, "cd" * 32)
        others = (AGENT, ORGANISATION, NODES[0]) if self._one_in(10) else ()
        return self.sign(
            self._chance.choice((*HUMANS, *HUMANS, ROSE, ROSE, *HIRED[:3], *others)), body, height
        )

    def _requirement_of(self, identifier: str) -> str:
        case = self._ledger.cases[identifier]
        if case.glass is not None and ("BreakGlass", case.glass) not in self._ledger.authority.objects:
            return self._requirement
        return digest_of(self._ledger.required(case))

    # -- nodes ---------------------------------------------------------------------------------------

    def _report(self, height: int) -> bytes:
        name = self._chance.choice(RELEASES)
        history = self._ledger.releases.history.get(name)
        cluster = self._chance.choice(history[-1].clusters if history else CLUSTERS)
        self._sequences[cluster] += self._chance.choice((1, 1, 1, 1, 1, 0, -1))
        newest = len(history or ())
        revision = self._chance.randrange(1, 4) if not newest or self._one_in(12) else newest
        sequence, ill = max(1, self._sequences[cluster]), self._one_in(9)
        item = {"object": "v1/ConfigMap/demo/settings", "outcome": "created", "health": "current", "code": 0}
        other = {"object": deployment_id(name), "outcome": "configured", "health": "current", "code": 0}
        other["health"] = self._chance.choice((*["current"] * 5, "in_progress"))
        if name in self._ledger.releases.deleted and self._apart.random() < 0.7:
            item["outcome"] = other["outcome"] = self._apart.choice(("deleted", "skipped"))
        metrics: tuple[MetricRecord, ...] = ()
        if self._one_in(2):
            load = self._chance.choice((0, 5, 40, 400))
            metrics = (MetricRecord(deployment_id(name), "load", load, self._chance.randrange(1, 8)),)
        report = actions.Report(
            cluster,
            name,
            revision,
            sequence,
            self._chance.choice(("failed", "partial")) if ill else "applied",
            "failed" if ill and self._one_in(2) else "current",
            (item, other),
            metrics,
        )
        own = next(node for node in NODES if node.cluster == cluster)
        who = own if not self._one_in(12) else self._chance.choice((*NODES, HUMANS[0]))
        return self.sign(who, bodies.report_body(report), height)

    # -- guards and keys -----------------------------------------------------------------------------

    def _freeze(self, height: int) -> bytes:
        body = bodies.freeze_body(
            self._chance.choice(FREEZES),
            clusters=(self._chance.choice(("*", "w*", "east")),),
            namespaces=(self._chance.choice(("*", "demo", "other")),),
            releases=(self._chance.choice(("*", *RELEASES)),),
        )
        return self.sign(self._chance.choice((*HUMANS, AGENT)), body, height)

    def _hold(self, height: int) -> bytes:
        kind = self._chance.choice((ActionKind.PAUSE, ActionKind.RESUME, ActionKind.RESUME))
        body = bodies.hold_body(kind, self._chance.choice(RELEASES))
        return self.sign(self._chance.choice((*HUMANS, AGENT)), body, height)

    def _revoke(self, height: int) -> bytes:
        subjects: tuple[Speaker, ...] = (*HUMANS, *HIRED, ROSE, AGENT)
        subject = self._chance.choice(subjects)
        known = subject.did in self._ledger.authority.people
        body = bodies.revocation_body((subject if known else HUMANS[0]).did)
        return self.sign(self._chance.choice((*HUMANS, AGENT)), body, height)

    def _change_keys(self, height: int) -> bytes:
        turn = self._turn()
        if turn + 2 >= len(RINGS):
            return self._hold(height)
        fresh, following = RINGS[turn + 1], RINGS[turn + 2]
        kind = self._chance.choice((ActionKind.ROTATION, ActionKind.ROTATION, ActionKind.RECOVERY))
        keys = [key.to_json() for key in key_rings.presented(fresh)]
        body = bodies.key_change_body(kind, keys, list(key_rings.committed(following)))
        signing = [fresh] if kind is ActionKind.RECOVERY else [RINGS[turn], fresh]
        return self.sign(ROSE, body, height, signing)

    # -- agents ---------------------------------------------------------------------------------------

    def _about_agents(self, height: int) -> list[bytes]:
        """Give what is said about the agent, and what it takes back: by chances of their own."""
        chance, txs = self._apart, []
        if chance.randrange(20) == 0:
            evidence = chance.choice(("cd" * 32, "cd" * 32, None))
            body = bodies.suspension_body(AGENT.did, code=905, evidence=evidence)
            txs.append(self._plainly(chance.choice((NODES[0], NODES[1], *HUMANS, AGENT)), body, height))
        if chance.randrange(6) == 0 and self._ledger.suspended:
            body = bodies.configure_body([], [("Suspension", AGENT.name)])
            txs.append(self._plainly(chance.choice(HUMANS), body, height))
        if chance.randrange(6) == 0:
            body = bodies.observation_body("observation", "odd", release=chance.choice(RELEASES))
            txs.append(self._plainly(AGENT, body, height))
        if chance.randrange(6) == 0:
            count = height - chance.randrange(6)
            body = bodies.anchor_body("ab" * 32, count, f"{count:064x}")
            txs.append(self._plainly(chance.choice((NODES[0], AGENT)), body, height))
        waiting = self._ledger.open_cases()
        if waiting and chance.randrange(8) == 0:
            own = [case for case in waiting if self._ledger.cases[case].proposer == AGENT.did]
            found = chance.choice(own or waiting)
            digest, required = self._ledger.cases[found].digest, self._requirement_of(found)
            body = bodies.judgement_body(ActionKind.REJECTION, found, digest, required)
            txs.append(self._plainly(AGENT, body, height))
        return txs

    def _plainly(self, who: Subject, body: bytes, height: int) -> bytes:
        """Sign with the next nonce and time enough."""
        self._nonces[who.did] += 1
        return envelope.seal(
            body,
            chain_id=CHAIN_ID,
            signer=who.did,
            nonce=self._nonces[who.did],
            not_after_height=height + 60,
            key=who,
        )

    # -- enemies -------------------------------------------------------------------------------------

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
