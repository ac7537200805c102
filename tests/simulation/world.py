"""Who takes part in one simulated ledger: drawn from the seed.

Owns the subjects, the approval rule, the time to live of proposals and the number of replicas. Promises that
a seed gives the same world on every machine.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cached_property

from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    CAROL,
    NODE,
    ORGANISATION,
    OTHER_NODE,
    STRANGER,
    Subject,
    constitution,
    requirement,
)

DAVE = Subject("dave", organisation="b")
ERIN = Subject("erin", organisation="c")
HUMANS = (ALICE, BOB, CAROL, DAVE, ERIN)
NODES = (NODE, OTHER_NODE)
CLUSTERS = ("east", "west")
RELEASES = ("web", "api", "db")
MEMBERS = (*HUMANS, AGENT, *NODES, ORGANISATION)
EVERYBODY = (*MEMBERS, STRANGER)


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
        return cls(chance.choice((4, 4, 5, 6, 7)), humans, chance.choice((1, 2, 2)), chance.randrange(4, 14))

    @property
    def faulty(self) -> int:
        """How many replicas may be away while the others decide."""
        return (self.replicas - 1) // 3

    @property
    def requirement(self) -> str:
        """The digest of what the rule of genesis requires."""
        return requirement(self.humans, self.organisations, self.ttl)

    @cached_property
    def genesis(self) -> bytes:
        """The genesis ``app_state``."""
        document = {
            "parameters": {"imageDigestRequired": True, "proposalTtlBlocks": self.ttl},
            "identities": [member.record() for member in MEMBERS],
            "objects": constitution(MEMBERS, self.humans, self.organisations),
            "clusters": [{"name": name} for name in CLUSTERS],
        }
        return json.dumps(document).encode()
