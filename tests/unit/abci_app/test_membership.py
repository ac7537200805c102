"""Validators and upgrades: changed by proposals, step by step, at a height."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from abci_app.application import ConclaveApplication
from abci_app.check import Constants
from abci_app.genesis import GenesisValidator, genesis_state
from abci_app.machine.block import Block, BlockResult, Opener, TxResult, apply_block
from abci_app.protocols import PROTOCOLS
from ledger import bodies, envelope, records, standard, statekeys
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.inception import did_conclave, inception, inception_proofs
from ledger.pb import abci_pb2 as pb
from ledger.pb import comet_pb2
from ledger.types import ActionKind, JsonObject
from state.reader import Overlay
from state.store import Store
from tests.support.application import Chain
from tests.support.key_rings import SALT, committed, plain, presented
from tests.support.memory_state import MemoryState, MemoryStore
from tests.support.subjects import (
    ALICE,
    BOB,
    CAROL,
    CHAIN_ID,
    NOT_AFTER,
    Pen,
    Subject,
    genesis_bytes,
    genesis_document,
    seal,
)
from tests.unit.abci_app.test_governance import Story

NODES = tuple(Subject(f"node{i}", kind="node") for i in range(5))


def validator(node: Subject, power: int = 10, key: str | None = None) -> JsonObject:
    spec = {"node": node.did, "keyId": key or node.key_id, "power": power}
    return standard.ledger_object("Validator", node.name, spec)


def genesis() -> JsonObject:
    document = genesis_document()
    document["identities"] += [node.record() for node in NODES]
    return document


class Members(Story):
    """A ledger of four validators of power 10 and a node that is none yet."""

    def __init__(self) -> None:
        super().__init__()
        validators = [GenesisValidator(node.public_key, 10) for node in NODES[:4]]
        self.state = MemoryState(genesis_state(genesis_bytes(genesis()), CHAIN_ID, validators))

    @property
    def powers(self) -> dict[str, int]:
        """What the newest block tells CometBFT."""
        assert self.state.result is not None
        return self.state.result.powers


@pytest.mark.requires("abci.validators")
def test_a_validator_joins_and_leaves_by_proposals() -> None:
    story = Members()
    story.configure(validator(NODES[4]))
    assert story.powers == {NODES[4].key_id: 10}
    story.configure(remove=[("Validator", "node0")])
    assert story.powers == {NODES[0].key_id: 0}
    found = records.read_validators(story.state.content[statekeys.VALIDATORS])
    assert [v.name for v in found.validators] == ["node1", "node2", "node3", "node4"]
    assert story.refused(remove=[("Identity", "node1")]) is Code.OBJECT_IN_USE
    story.state.apply([])
    assert story.powers == {}


@pytest.mark.requires("abci.validators")
def test_no_block_changes_more_than_a_third_of_the_power() -> None:
    story = Members()
    assert story.refused(validator(NODES[4], 14)) is Code.VALIDATOR_STEP_TOO_LARGE
    two = [story.propose(bodies.configure_body([validator(NODES[i], p)])) for i, p in ((4, 10), (0, 14))]
    for tx in two:
        assert story.approve(BOB, tx) is Code.OK
    last = [story.pen.approve(CAROL, tx) for tx in two]
    assert story.codes(*last) == [Code.OK, Code.VALIDATOR_STEP_TOO_LARGE]
    assert story.codes(story.pen.approve(CAROL, two[1])) == [Code.OK]
    assert story.powers == {NODES[0].key_id: 14}


@pytest.mark.requires("abci.validators")
def test_cometbft_is_never_told_to_remove_who_was_no_validator_before_the_block() -> None:
    story = Members()
    mistaken = Subject("node5", kind="node")
    story.configure(story.identity(mistaken))
    named = {"node": mistaken.did, "keyId": mistaken.key_id, "power": 4}
    wrong = story.propose(bodies.configure_body([standard.ledger_object("Validator", NODES[4].name, named)]))
    right = story.propose(bodies.configure_body([validator(NODES[4], 4)]))
    gone = story.propose(bodies.configure_body([], [("Validator", "node0")]))
    for tx in (wrong, right, gone):
        assert story.approve(BOB, tx) is Code.OK
    assert story.codes(story.pen.approve(CAROL, wrong), story.pen.approve(CAROL, right)) == [Code.OK] * 2
    assert story.powers == {NODES[4].key_id: 4}
    assert story.codes(story.pen.approve(CAROL, gone)) == [Code.OK]
    assert story.powers == {NODES[0].key_id: 0}


@pytest.mark.requires("abci.validators")
@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (validator(NODES[4], key=NODES[3].key_id), Code.VALIDATORS_INVALID),
        (validator(ALICE), Code.VALIDATORS_INVALID),
        (validator(Subject("nobody")), Code.SIGNER_UNKNOWN),
        (validator(NODES[4], 0), Code.FIELD_INVALID),
        (validator(NODES[0]) | {"metadata": {"name": "again"}}, Code.VALIDATORS_INVALID),
    ],
)
def test_a_validator_is_a_node_with_its_own_key(wanted: JsonObject, code: Code) -> None:
    assert Members().refused(wanted) is code


@pytest.mark.requires("abci.validator-identity")
def test_a_validator_follows_the_rotation_of_its_identity() -> None:
    story, first, second = Members(), plain("first"), plain("second")
    validating = presented(first, purposes=("rotate", "validate"))
    begun = inception(validating, committed(second), SALT)
    did = did_conclave(CHAIN_ID, begun)
    spec: JsonObject = {"kind": "node", "organisation": "d", "cluster": None, "did": did, "inception": begun}
    spec["proofs"] = inception_proofs(CHAIN_ID, did, [first])
    own = {"node": did, "keyId": first.key_id, "power": 5}
    wanted = standard.ledger_object("Validator", "delta", own)
    story.configure(standard.ledger_object("Identity", "delta", spec), wanted)
    assert story.powers == {first.key_id: 5}

    following = [key.to_json() for key in presented(second, purposes=("rotate", "validate"))]
    body = bodies.key_change_body(ActionKind.ROTATION, following, list(committed(plain("third"))))
    rotation = envelope.seal(
        body, chain_id=CHAIN_ID, signer=did, nonce=1, not_after_height=NOT_AFTER, key=(first, second)
    )
    assert story.codes(rotation) == [Code.OK]
    assert story.powers == {}
    assert story.refused(wanted) is Code.VALIDATORS_INVALID
    story.configure(standard.ledger_object("Validator", "delta", own | {"keyId": second.key_id}))
    assert story.powers == {first.key_id: 0, second.key_id: 5}
    found = records.read_validators(story.state.content[statekeys.VALIDATORS]).validators
    assert [(v.node, v.key_id) for v in found if v.name == "delta"] == [(did, second.key_id)]
    assert story.refused(remove=[("Identity", "delta")]) is Code.OBJECT_IN_USE


@pytest.mark.requires("abci.validators")
def test_the_last_validator_stays() -> None:
    story = Members()
    story.state = MemoryState(
        genesis_state(genesis_bytes(genesis()), CHAIN_ID, [GenesisValidator(NODES[0].public_key, 1)])
    )
    assert story.refused(remove=[("Validator", "node0")]) is Code.VALIDATORS_INVALID


def upgrade(height: int, version: int = 2) -> JsonObject:
    return standard.ledger_object("Upgrade", "upgrade", {"height": height, "version": version})


@pytest.mark.requires("abci.upgrade")
def test_an_upgrade_is_planned_called_off_and_done() -> None:
    story = Story()
    for broken in (upgrade(3, 3), upgrade(1), upgrade(99, 1)):
        assert story.refused(broken) is Code.UPGRADE_INVALID
    story.configure(upgrade(90))
    story.configure(remove=[("Upgrade", "upgrade")])
    story.configure(upgrade(30))
    story.state.apply([], height=29)
    assert records.read_protocol(story.state.content[statekeys.PROTOCOL]).version == 1
    story.state.apply([], height=30)
    assert records.read_protocol(story.state.content[statekeys.PROTOCOL]).version == 2
    assert story.refused(remove=[("Upgrade", "upgrade")]) is Code.OBJECT_UNKNOWN


def planned(protocols: object) -> Chain:
    """Give a chain that upgrades to version 2 at height 6."""
    application = ConclaveApplication(cast("Store", MemoryStore()), protocols=protocols)  # type: ignore[arg-type]
    chain, pen = Chain(application), Pen()
    chain.start()
    tx = pen.write(ALICE, bodies.configure_body([upgrade(6)]))
    codes = [r.code for r in chain.block([tx, pen.approve(BOB, tx), pen.approve(CAROL, tx)]).tx_results]
    assert codes == [0, 0, 0]
    return chain


@pytest.mark.requires("abci.upgrade")
def test_headers_carry_the_new_version_from_the_height_on() -> None:
    chain = planned({1: apply_block, 2: apply_block})
    for height in range(2, 8):
        assert chain.application.info(pb.RequestInfo()).app_version == (2 if height >= 6 else 1)
        response = chain.block([])
        updates = response.consensus_param_updates
        expected = comet_pb2.ConsensusParams(version=comet_pb2.VersionParams(app=2))
        assert updates == (expected if height == 5 else comet_pb2.ConsensusParams())


@pytest.mark.requires("abci.upgrade")
def test_a_block_is_judged_by_the_rules_of_its_own_height() -> None:
    def stricter(state: Overlay, block: Block, constants: Constants, open_tx: Opener) -> BlockResult:
        """Version 2, by which nobody's word counts."""
        result = apply_block(state, dataclasses.replace(block, txs=()), constants, open_tx)
        refused = TxResult(Code.TX_REFUSED, b"", Refused(Code.TX_REFUSED))
        return dataclasses.replace(result, results=tuple(refused for _ in block.txs))

    chain, old = planned({1: apply_block, 2: stricter}), planned({1: apply_block, 2: apply_block})
    for height in range(2, 8):
        txs = [seal(ALICE, bodies.freeze_body(f"at-{height}"), height)]
        found, before = chain.block(txs), old.block(txs)
        assert found.tx_results[0].code == (Code.OK if height < 6 else Code.TX_REFUSED)
        assert (found.app_hash == before.app_hash) == (height < 6)


@pytest.mark.requires("abci.upgrade")
def test_a_binary_without_the_new_rules_stops_before_them_and_says_so() -> None:
    chain = planned(PROTOCOLS)
    for _ in range(2, 6):
        chain.block([])
    with pytest.raises(EnvironmentFault) as stopped:
        chain.block([])
    assert stopped.value.code is Code.UPGRADE_REQUIRED
    assert stopped.value.facts == {"height": 6, "version": 2}
    assert chain.info()[0] == 5


@pytest.mark.requires("abci.validators")
def test_cometbft_is_told_the_keys_and_powers() -> None:
    chain, pen = Chain(), Pen()
    request = pb.RequestInitChain(chain_id=CHAIN_ID, app_state_bytes=genesis_bytes(genesis()))
    for node in NODES[:4]:
        request.validators.add(pub_key=comet_pb2.PublicKey(ed25519=node.public_key), power=10)
    chain.application.init_chain(request)
    tx = pen.write(ALICE, bodies.configure_body([validator(NODES[4], 7)]))
    response = chain.block([tx, pen.approve(BOB, tx), pen.approve(CAROL, tx)])
    (update,) = response.validator_updates
    assert (update.pub_key.ed25519, update.power) == (NODES[4].public_key, 7)
    kinds = {event.type for result in response.tx_results for event in result.events}
    assert {"conclave.proposal", "conclave.validator"} <= kinds
