"""A real CometBFT takes what the ledger decides about it: validators, and upgrades at a height."""

from __future__ import annotations

import base64
import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus.node.genesis import NodeKey
from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.spec import NodeSpec
from consensus.node.supervise import stop_node
from ledger import bodies, envelope, keys, standard
from ledger.types import ActionKind, JsonObject
from tests.integration.nodes import AWAY, FAST, WAIT_S, Node, cometbft, free_base, until
from tests.support.subjects import ALICE, BOB, CAROL, Subject, genesis_document, release, requirement, seal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CHAIN_ID = "governed-test"
VALIDATOR = NodeKey.from_seed(b"v" * 32)
SECOND = Subject("node1", kind="node")


class Governed:
    """One validator, and the quorum that governs it."""

    def __init__(self, root: Path) -> None:
        document = genesis_document()
        own = {"did": keys.did_key(VALIDATOR.public), "name": "node0", "kind": "node"}
        document["identities"] += [own | {"organisation": "a", "cluster": None}, SECOND.record()]
        localnet = Localnet(root, CHAIN_ID, 1, free_base(2), timing=FAST)
        pair = (VALIDATOR, NodeKey.from_seed(b"n" * 32))
        (planned,) = write_localnet(localnet, time.time_ns(), document, (pair,))
        self.spec: NodeSpec = planned.spec
        self.nodes: list[Node] = []
        self._nonces = itertools.count(1)

    def start(self, application: str = "abci_app") -> Node:
        """Start it."""
        node = Node(self.spec, launch(Launch(self.spec.home, cometbft(), application)))
        self.nodes.append(node)
        until("a block", lambda: node.height() >= 1, node)
        return node

    def pass_(self, node: Node, *put: JsonObject, remove: list[tuple[str, str]] | None = None) -> None:
        """Have a change of ledger objects proposed, approved and committed."""
        proposal = self._seal(ALICE, bodies.configure_body(list(put), remove))
        self._send(node, proposal)
        opened = envelope.decode(proposal)
        body = bodies.judgement_body(
            ActionKind.APPROVAL, envelope.envelope_id(opened), opened.digest, requirement()
        )
        for who in (BOB, CAROL):
            self._send(node, self._seal(who, body))

    def word(self) -> bytes:
        """Give an envelope that is good for a block."""
        return self._seal(ALICE, bodies.release_body(release()))

    def _seal(self, who: Subject, body: bytes) -> bytes:
        return seal(who, body, next(self._nonces), not_after=10_000, chain_id=CHAIN_ID)

    def _send(self, node: Node, tx: bytes) -> None:
        node.commit(tx)


@pytest.fixture
def governed(tmp_path: Path) -> Iterator[Governed]:
    made = Governed(tmp_path)
    yield made
    stop_node(made.spec.home)
    for node in made.nodes:
        node.supervisor.wait(WAIT_S)


def powers(node: Node) -> dict[str, int]:
    """Give the powers of the newest validator set by base64 key."""
    found: list[dict[str, Any]] = node.rpc("validators")["validators"]
    return {v["pub_key"]["value"]: int(v["voting_power"]) for v in found}


def text(public: bytes) -> str:
    return base64.b64encode(public).decode()


@pytest.mark.requires("abci.validators")
def test_a_validator_joins_grows_and_leaves(governed: Governed) -> None:
    node = governed.start()
    own = {"node": keys.did_key(VALIDATOR.public), "keyId": keys.key_id(VALIDATOR.public), "power": 13}
    second = {"node": SECOND.did, "keyId": SECOND.key_id, "power": 4}
    governed.pass_(node, standard.ledger_object("Validator", "node0", own))
    until("more power", lambda: powers(node) == {text(VALIDATOR.public): 13}, node)
    governed.pass_(node, standard.ledger_object("Validator", "node1", second))
    both = {text(VALIDATOR.public): 13, text(SECOND.public_key): 4}
    until("a second validator", lambda: powers(node) == both, node)
    governed.pass_(node, remove=[("Validator", "node1")])
    until("one validator again", lambda: powers(node) == {text(VALIDATOR.public): 13}, node)


@pytest.mark.requires("abci.upgrade")
def test_a_node_stops_before_the_upgrade_and_a_later_release_goes_on(governed: Governed) -> None:
    node = governed.start()
    # Far enough for the three that follow, however many blocks without them a slow machine makes meanwhile.
    height = node.height() + 40
    upgrade = {"height": height, "version": 2}
    governed.pass_(node, standard.ledger_object("Upgrade", "upgrade", upgrade))

    def ended() -> bool:
        # Whatever it is, a block has it: nobody waits for 40 heartbeats.
        with contextlib.suppress(*AWAY):
            node.post("broadcast_tx_sync", tx=base64.b64encode(governed.word()).decode())
        return node.supervisor.poll() is not None

    until("the end", ended, node)
    assert "UPGRADE_REQUIRED" in node.log("app")
    stop_node(governed.spec.home)
    node = governed.start("tests.support.upgraded")
    until("blocks after the upgrade", lambda: node.height() > height, node)
    for at, version in ((height - 1, "1"), (height, "2")):
        header = node.rpc(f"block?height={at}")["block"]["header"]
        assert header["version"].get("app", "0") == version
