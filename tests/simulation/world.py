"""Who takes part in one simulated ledger: drawn from the seed.

Owns the subjects and their keys, the approval rule, the time to live of proposals, the validators and the
number of replicas. Promises that a seed gives the same world on every machine.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ledger import standard
from ledger.envelope import SigningKey
from ledger.pb import abci_pb2 as pb
from ledger.pb import comet_pb2
from ledger.types import Did, JsonObject
from tests.support import key_rings
from tests.support.agents import policy_object
from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    CAROL,
    CHAIN_ID,
    NODE,
    ORGANISATION,
    OTHER_NODE,
    STRANGER,
    Subject,
    requirement,
)

DAVE = Subject("dave", organisation="b")
ERIN = Subject("erin", organisation="c")
HUMANS = (ALICE, BOB, CAROL, DAVE, ERIN)
HIRED = tuple(Subject(f"hired-{number}", organisation="abc"[number % 3]) for number in range(6))
"""Humans who may come later."""
NORTH_NODE = Subject("bridge-north", kind="node", cluster="north")
NODES = (NODE, OTHER_NODE, NORTH_NODE)
CLUSTERS = ("east", "north", "west")
RELEASES = ("web", "api", "db")
VALIDATORS = tuple(Subject(f"validator-{number}", kind="node") for number in range(7))
"""Nodes that may validate; the first four do from the beginning."""
FOUNDING = 4
POWER = 30
MEMBERS = (*HUMANS, AGENT, *NODES, ORGANISATION, *VALIDATORS)
EVERYBODY = (*MEMBERS, *HIRED, STRANGER)
GENESIS_SECONDS = 1_800_000_000
RINGS = tuple(key_rings.plain(f"ring-{number}") for number in range(30))
"""The keys that follow each other as those of the one identity whose keys change."""


@dataclass(frozen=True, slots=True)
class Rotating:
    """The human whose keys change: a did:conclave that begins with the first of ``RINGS``."""

    name: str = "rose"
    kind: str = "human"
    organisation: str = "c"
    cluster: str | None = None

    @property
    def spec(self) -> JsonObject:
        """The spec of its ``Identity`` object."""
        return {**key_rings.identity_spec(RINGS[:1], RINGS[1:2]), "organisation": self.organisation}

    @property
    def did(self) -> Did:
        """Its DID."""
        return _ROSE


_ROSE = Did(str(key_rings.identity_spec(RINGS[:1], RINGS[1:2])["did"]))
ROSE = Rotating()
Speaker = Subject | Rotating
KEYS: dict[str, SigningKey] = {
    **{who.key_id: who for who in EVERYBODY},
    **{key.key_id: key for key in RINGS},
}
PUBLIC_KEYS = {
    **{who.key_id: who.public_key for who in EVERYBODY},
    **{key.key_id: key.public_key for key in RINGS},
}


@dataclass(frozen=True)
class World:
    """A ledger's genesis as a seed has it.

    Attributes:
        replicas: how many validators, 4 to 7.
        humans: how many distinct humans must approve.
        organisations: of how many distinct organisations.
        ttl: for how many blocks a proposal can be judged.
    """

    replicas: int
    humans: int
    organisations: int
    ttl: int

    @classmethod
    def of(cls, chance: random.Random) -> World:
        """Draw a world."""
        humans = chance.choice((2, 2, 3))
        return cls(chance.choice((4, 4, 5, 6, 7)), humans, chance.choice((1, 2, 2)), chance.randrange(8, 20))

    @property
    def faulty(self) -> int:
        """How many replicas may be away while the others decide."""
        return (self.replicas - 1) // 3

    @property
    def requirement(self) -> str:
        """The digest of what the rule of genesis requires."""
        return requirement(self.humans, self.organisations, self.ttl)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of genesis."""
        return {
            "imageDigestRequired": True,
            "proposalTtlBlocks": self.ttl,
            "openProposalsMax": 12,
            "rollbacksPerWindowMax": 1,
        }

    @cached_property
    def objects(self) -> list[JsonObject]:
        """The ledger objects of genesis."""
        humans = [(who.name, str(who.did)) for who in (*HUMANS, ROSE)]
        agents = [(AGENT.name, str(AGENT.did))]
        standing = standard.objects(humans, agents, approvals=self.humans, organisations=self.organisations)
        watched = policy_object(AGENT.name, str(AGENT.did), str(NODE.did))
        return [standard.ledger_object("Identity", ROSE.name, ROSE.spec), *standing, watched]

    @cached_property
    def genesis(self) -> bytes:
        """The genesis ``app_state``."""
        document = {
            "parameters": self.parameters,
            "identities": [member.record() for member in MEMBERS],
            "objects": self.objects,
            "clusters": [{"name": name} for name in CLUSTERS],
        }
        return json.dumps(document).encode()

    @property
    def init_chain(self) -> pb.RequestInitChain:
        """What CometBFT sends first."""
        founding = [
            pb.ValidatorUpdate(pub_key=comet_pb2.PublicKey(ed25519=who.public_key), power=POWER)
            for who in VALIDATORS[:FOUNDING]
        ]
        request = pb.RequestInitChain(
            chain_id=CHAIN_ID, app_state_bytes=self.genesis, initial_height=1, validators=founding
        )
        request.time.seconds = GENESIS_SECONDS
        return request
