"""The first state, and the geneses that make none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from abci_app.genesis import GenesisValidator, genesis_state
from consensus.listing import listing
from ledger import canonical, records, statekeys
from ledger.errors import Code
from ledger.identity import read_identity
from ledger.keys import key_id
from ledger.limits import PROPOSAL_TTL_BLOCKS_MIN
from ledger.records import Parameters
from ledger.standard import approval_rule, binding, ledger_object
from tests.support.refusal import refusal_of
from tests.support.subjects import (
    ALICE,
    CHAIN_ID,
    MEMBERS,
    STRANGER,
    Subject,
    genesis_bytes,
    genesis_document,
)

OBJECTS = genesis_document()["objects"]
VALIDATOR = Subject("node0", kind="node")


@pytest.mark.requires("abci.genesis-state")
def test_the_state_keys_of_height_0() -> None:
    state = genesis_state(genesis_bytes(), CHAIN_ID)
    assert state[statekeys.LEDGER] == b'{"chainId":"test-chain"}'
    parameters = Parameters(image_digest_required=True, proposal_ttl_blocks=50)
    assert records.read_parameters(state[statekeys.PARAMETERS]) == parameters
    dids = listing(state.get, statekeys.INDEX_IDENTITIES)
    assert dids == tuple(sorted(member.did for member in MEMBERS))
    assert listing(state.get, statekeys.index_objects("Cluster")) == ("east", "west")
    assert listing(state.get, statekeys.index_objects("ApprovalRule")) == ("default",)
    alice = read_identity(state[statekeys.identity(ALICE.did)])
    assert (alice.name, alice.organisation, alice.version) == ("alice", "a", 1)
    assert [key.key_id for key in alice.active_keys] == [ALICE.key_id]
    assert records.read_did(state[statekeys.identity_name("alice")]) == ALICE.did
    constitution = records.read_constitution(state[statekeys.CONSTITUTION])
    assert (constitution.version, constitution.height, constitution.authority) == (1, 0, None)
    assert state[statekeys.constitution_version(1)] == state[statekeys.CONSTITUTION]


@pytest.mark.requires("abci.genesis-validators")
def test_a_validator_of_genesis_is_bound_to_the_node_whose_key_it_has() -> None:
    document = genesis_document()
    document["identities"].append(VALIDATOR.record())
    validators = [GenesisValidator(VALIDATOR.public_key, 10), GenesisValidator(STRANGER.public_key, 5)]
    state = genesis_state(genesis_bytes(document), CHAIN_ID, validators)
    found = records.read_validators(state[statekeys.VALIDATORS]).validators
    assert [(v.name, v.node, v.power) for v in found] == [
        ("genesis-1", None, 5),
        (VALIDATOR.name, VALIDATOR.did, 10),
    ]


@pytest.mark.requires("abci.genesis-state")
def test_the_spelling_of_the_genesis_does_not_matter() -> None:
    document = genesis_document()
    for spelled in (json.dumps(document), json.dumps(document, indent=4), canonical.dump(document).decode()):
        assert genesis_state(spelled.encode(), CHAIN_ID) == genesis_state(genesis_bytes(), CHAIN_ID)
    turned = document | {"identities": document["identities"][::-1], "clusters": document["clusters"][::-1]}
    assert genesis_state(genesis_bytes(turned), CHAIN_ID) == genesis_state(genesis_bytes(), CHAIN_ID)


def edit(path: str, value: Any) -> Callable[[Any], None]:
    """Give an edit of the document: sets a field, appends to a list with ``+``, or removes with ``-``."""

    def apply(document: Any) -> None:
        node = document
        *parents, last = path.split(".")
        for step in parents:
            node = node[int(step) if step.isdigit() else step]
        if last == "+":
            node.append(value)
        elif last == "-":
            node.clear()
        else:
            node[last] = value

    return apply


RULE = approval_rule("wide", 2, 2)
FAR = approval_rule("far", 9, 1)
BROKEN: list[tuple[str, Callable[[Any], None]]] = [
    ("unknown field", edit("extra", 1)),
    ("parameters", edit("parameters", None)),
    ("ttl too short", edit("parameters.proposalTtlBlocks", PROPOSAL_TTL_BLOCKS_MIN - 1)),
    ("ttl without end", edit("parameters.proposalTtlBlocks", 2**53 - 1)),
    ("unknown parameter", edit("parameters.fast", True)),
    ("no identities", edit("identities.-", None)),
    ("did twice", edit("identities.+", ALICE.record() | {"name": "other"})),
    ("name twice", edit("identities.+", STRANGER.record() | {"name": "alice"})),
    ("name in capitals", edit("identities.0.name", "Alice")),
    ("kind", edit("identities.0.kind", "robot")),
    ("did of another method", edit("identities.0.did", "did:web:x")),
    ("key of small order", edit("identities.0.did", "did:key:" + key_id((1).to_bytes(32, "little")))),
    ("key not canonical", edit("identities.0.did", ALICE.did + "1")),
    ("lone surrogate", edit("identities.0.organisation", "\ud800")),
    ("no organisation", edit("identities.0.organisation", "")),
    ("human of a cluster", edit("identities.0.cluster", "east")),
    ("node of an unknown cluster", edit("identities.4.cluster", "north")),
    ("cluster twice", edit("clusters.+", {"name": "east"})),
    ("cluster name", edit("clusters.+", {"name": "a/b"})),
    ("cluster field", edit("clusters.0.size", 3)),
    ("no constitution", edit("objects.-", None)),
    ("no rules", edit("objects", OBJECTS[:-1])),
    ("rule twice", edit("objects.+", OBJECTS[-1])),
    ("more humans than there are", edit("objects.+", FAR)),
    ("more organisations than there are", edit("objects.+", approval_rule("far", 2, 3))),
    ("more humans than a proposal can hold", edit("objects.+", approval_rule("wide", 65, 1))),
    ("a rule of nobody", edit("objects.+", approval_rule("none", 0, 1))),
    ("a role nobody defined", edit("objects.+", binding("b", ALICE.did, "nothing"))),
    ("a binding of a stranger", edit("objects.+", binding("b", STRANGER.did, "operator"))),
    ("a validator among the objects", edit("objects.+", ledger_object("Validator", "v", {}))),
    ("list for object", edit("objects", {})),
    ("too many clusters", edit("clusters", [{"name": f"c{i}"} for i in range(1001)])),
]


@pytest.mark.requires("abci.genesis-refused")
@pytest.mark.parametrize("change", [c[1] for c in BROKEN], ids=[c[0] for c in BROKEN])
def test_a_broken_genesis_is_refused(change: Callable[[Any], None]) -> None:
    document = copy.deepcopy(genesis_document())
    change(document)
    refusal = refusal_of(lambda: genesis_state(genesis_bytes(document), CHAIN_ID), Code.GENESIS_INVALID)
    assert refusal.got
    str(refusal).encode()


@pytest.mark.requires("abci.genesis-refused")
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"\xff", b"{", b"[" * 10_000, b'{"a":NaN}'])
def test_bytes_that_are_no_genesis_are_refused(content: bytes) -> None:
    refusal_of(lambda: genesis_state(content, CHAIN_ID), Code.GENESIS_INVALID)


@pytest.mark.requires("abci.genesis-refused")
@pytest.mark.parametrize("chain_id", ["", "c" * 51])
def test_a_chain_id_that_cometbft_would_refuse_is_refused(chain_id: str) -> None:
    refusal_of(lambda: genesis_state(genesis_bytes(), chain_id), Code.GENESIS_INVALID)
