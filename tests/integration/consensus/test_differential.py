"""Our light client against CometBFT's own on a real chain whose validators change, and on lies about it.

The chain is made by four validators under the ledger's own rule; powers move, a validator joins that never
votes, one leaves. Where we are stricter on purpose, ``EXCEPTIONS`` says so.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from bench.validator import build_go
from consensus.light.types import LightBlock
from consensus.node.genesis import NodeKey
from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.supervise import stop_node
from consensus.rpc import RpcClient
from ledger import bodies, envelope, keys, standard
from ledger.types import ActionKind
from tests.integration.consensus.light_cases import Keys, Question, ours, question, theirs
from tests.integration.consensus.light_mutants import CLASSES, Mutants, Pair
from tests.integration.nodes import FAST, ROOT, WAIT_S, Node, cometbft, free_base, until
from tests.support.subjects import ALICE, BOB, CAROL, Subject, genesis_document, requirement, seal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CHAIN_ID = "differential-test"
SIZE = 4
SILENT = Subject("silent", kind="node")
LEVELS = ((1, 3), (2, 3), (1, 1))
PAIRS_MIN = 150
STEPS: tuple[dict[str, int], ...] = (
    {"node3": 1},
    {"silent": 3, "node0": 15},
    {"node0": 26},
    {"node0": 42},
    {"silent": 5, "node0": 60},
    {"node0": 32},
    {"node0": 13},
    {"node0": 4, "node2": 12},
    {"node0": 0},
    {"node3": 6},
)
"""Powers put by each change, 0 to leave; each is at most a third of the power, as the ledger demands."""

EXCEPTIONS: dict[str, set[tuple[str, str]]] = {
    # light.Verify never sees a next set; we refuse what would be handed on as ground for the next step.
    "wrong_next_set": {("invalid", "ok"), ("invalid", "not_enough_trust")},
    # light.Verify takes the trusted set on faith, light.Client compares it beforehand; our verifier compares.
    "wrong_trusted_set": {("invalid", "ok"), ("invalid", "not_enough_trust")},
    # CometBFT's HTTP provider dies of it where priorities are equal ("Cannot compare identical validators").
    "doubled_validators": {("invalid", "panic")},
    # A field we do not know might change what the others mean.
    "unknown_fields": {("invalid", "ok"), ("invalid", "not_enough_trust")},
    # CometBFT looks at sizes while it counts power, we when we verify: where trust falls short, we first ask
    # for a nearer block.
    "signature_sizes": {("not_enough_trust", "invalid")},
}
"""By class of lies, all the (ours, CometBFT's) that differ, on purpose. None of them believes more."""


@dataclass(frozen=True)
class Recorded:
    """Every light block of the chain, and its validators' private keys."""

    blocks: tuple[LightBlock, ...]
    keys: Keys

    def pair(self, trusted: int, untrusted: int) -> Pair:
        """Give two heights."""
        return Pair(self.blocks[trusted - 1], self.blocks[untrusted - 1], self.keys)


class Governed:
    """Four validators and the quorum that changes them."""

    def __init__(self, root: Path) -> None:
        self.validators = [NodeKey.from_seed(bytes([65 + number]) * 32) for number in range(SIZE)]
        document = genesis_document()
        for number, key in enumerate(self.validators):
            own = {"did": keys.did_key(key.public), "name": f"node{number}", "kind": "node"}
            document["identities"].append(own | {"organisation": "a", "cluster": None})
        document["identities"].append(SILENT.record())
        pairs = tuple((key, NodeKey.generate()) for key in self.validators)
        localnet = Localnet(root, CHAIN_ID, SIZE, free_base(2 * SIZE), timing=FAST)
        planned = write_localnet(localnet, time.time_ns(), document, pairs)
        self.nodes = [
            Node(one.spec, launch(Launch(one.spec.home, cometbft(), "abci_app"))) for one in planned
        ]
        self._nonces = itertools.count(1)

    def change(self, powers: dict[str, int]) -> None:
        """Have new powers proposed, approved and committed."""
        put = [
            standard.ledger_object("Validator", name, self._spec(name, n)) for name, n in powers.items() if n
        ]
        remove = [("Validator", name) for name, n in powers.items() if not n]
        proposal = self._sealed(ALICE, bodies.configure_body(put, remove))
        opened = envelope.decode(proposal)
        identifier = envelope.envelope_id(opened)
        body = bodies.judgement_body(ActionKind.APPROVAL, identifier, opened.digest, requirement())
        for tx in (proposal, self._sealed(BOB, body), self._sealed(CAROL, body)):
            self.nodes[1].commit(tx)

    def record(self) -> Recorded:
        """Read every height made so far."""
        height = self.nodes[1].height() - 1
        with contextlib.closing(RpcClient(self.nodes[1].spec.rpc_url)) as rpc:
            blocks = tuple(rpc.light_block(number) for number in range(1, height + 1))
        private = [SigningKey(key.seed) for key in self.validators] + [SILENT.signing_key]
        addresses = {bytes.fromhex(NodeKey.from_seed(bytes(key)).address): key for key in private}
        return Recorded(blocks, addresses)

    def stop(self) -> None:
        """End every node."""
        for node in self.nodes:
            stop_node(node.spec.home)
            node.supervisor.wait(WAIT_S)

    def _spec(self, name: str, power: int) -> dict[str, object]:
        public = SILENT.public_key if name == "silent" else self.validators[int(name[-1])].public
        return {"node": keys.did_key(public), "keyId": keys.key_id(public), "power": power}

    def _sealed(self, who: Subject, body: bytes) -> bytes:
        return seal(who, body, next(self._nonces), not_after=10_000, chain_id=CHAIN_ID)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    governed = Governed(tmp_path_factory.mktemp("d"))
    try:
        until("the first blocks", lambda: all(n.height() >= 2 for n in governed.nodes), governed.nodes[0])
        for powers in STEPS:
            governed.change(powers)
        last = governed.nodes[1].height() + 4
        until("the last change in force", lambda: governed.nodes[1].height() >= last, governed.nodes[1])
        found = governed.record()
    finally:
        governed.stop()
    return found


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_go(ROOT / "bench" / "light", tmp_path_factory.mktemp("peer") / "light")


def heights(recorded: Recorded) -> list[tuple[int, int]]:
    """Give all adjacent pairs, and as many that skip, of every distance."""
    last = len(recorded.blocks)
    adjacent = [(height, height + 1) for height in range(1, last)]
    skipping = [(low, high) for low in range(1, last) for high in range(low + 2, last + 1)]
    return adjacent + skipping[:: max(1, len(skipping) // PAIRS_MIN)]


@pytest.mark.requires("light.differential")
def test_the_chain_is_worth_the_comparison(recorded: Recorded) -> None:
    sets = {block.header.validators_hash for block in recorded.blocks}
    assert len(sets) == len(STEPS) + 1
    assert {len(block.validators.validators) for block in recorded.blocks} == {4, 5}
    assert any(not sig.signature for sig in recorded.blocks[-1].signed_header.commit.signatures)


@pytest.mark.requires("light.differential")
@pytest.mark.parametrize("level", LEVELS)
def test_every_pair_of_heights_gets_the_same_verdict(
    recorded: Recorded, peer: Path, level: tuple[int, int]
) -> None:
    asked = [
        question(recorded.blocks[low - 1], recorded.blocks[high - 1], level=level)
        for low, high in heights(recorded)
    ]
    seen, different = compare(asked, peer)
    assert not different
    assert seen == {"ok", "not_enough_trust"}


@pytest.mark.requires("light.differential")
@pytest.mark.parametrize("mutants", CLASSES, ids=lambda one: one.__name__)
def test_every_lie_gets_the_same_verdict(recorded: Recorded, peer: Path, mutants: Mutants) -> None:
    asked = [one for pair in chosen(recorded) for one in mutants(pair)]
    allowed = EXCEPTIONS.get(mutants.__name__, set())
    seen, different = compare(asked, peer)
    assert different <= allowed
    assert bool(different) == bool(allowed), "an exception that nothing needs"
    assert "invalid" in seen


@pytest.mark.requires("light.differential")
def test_no_exception_believes_more() -> None:
    assert {mine for pairs in EXCEPTIONS.values() for mine, _ in pairs} <= {"invalid", "not_enough_trust"}
    assert set(EXCEPTIONS) <= {mutants.__name__ for mutants in CLASSES}


def chosen(recorded: Recorded) -> list[Pair]:
    """Give an adjacent pair, one over a change of power, one that skips, one where trust does not reach."""
    last = len(recorded.blocks)
    # How many blocks came before the first change is the machine's affair.
    changed = next(
        b.height for b in recorded.blocks if b.header.next_validators_hash != b.header.validators_hash
    )
    # Most power is with node0, which is gone at the end: what is left of this set is under a third.
    heavy = max(recorded.blocks, key=lambda block: block.validators.validators[0].power).height
    return [
        recorded.pair(*pair) for pair in ((2, 3), (changed, changed + 1), (2, changed + 1), (heavy, last))
    ]


def compare(asked: list[Question], peer: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Give our verdicts, and every (ours, CometBFT's) that differ."""
    verdicts = [
        (ours(one), answer["verdict"]) for one, answer in zip(asked, theirs(peer, asked), strict=True)
    ]
    return {mine for mine, _ in verdicts}, {pair for pair in verdicts if pair[0] != pair[1]}
