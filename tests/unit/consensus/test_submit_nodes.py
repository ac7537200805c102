"""Sending over several nodes, of which some are away, full of lies, or keep nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import pytest

from consensus.answers import BroadcastAnswer
from consensus.incident import FILE_NAME, IncidentFile
from consensus.sources import Rpc
from consensus.submit import CLAIM_SECONDS, submit
from consensus.witness import Panel
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from ledger.types import ProposalState, sha256
from tests.support.ledger import Ledger, Node
from tests.unit.consensus.ledgers import code_of, reader_of
from tests.unit.consensus.submitting import Away, Refusing, Taking, Time, result_with, tx_of


@pytest.fixture
def node() -> Node:
    ledger = Ledger()
    ledger.commit()
    ledger.commit()
    return Node(ledger)


@pytest.mark.requires("submit.several-nodes")
@pytest.mark.parametrize("first", [Away, Refusing, Taking])
def test_a_node_that_is_away_unwilling_or_silent_is_left_for_another(
    node: Node, tmp_path: Path, first: type[Node]
) -> None:
    bad, time = first(node.ledger), Time(node.ledger.commit)
    proven = submit([bad, node], reader_of(node, tmp_path), tx_of(), patience=time.patience(60))
    assert proven.receipt.state is ProposalState.OPEN
    assert time.now <= (15 if first is Taking else 0)


@pytest.mark.requires("submit.several-nodes")
def test_a_node_that_goes_away_after_taking_it_has_it_offered_elsewhere(node: Node, tmp_path: Path) -> None:
    class Dying(Taking):
        def tx(self, tx_hash: bytes) -> NoReturn:
            raise EnvironmentFault(Code.RPC_UNREACHABLE, got=tx_hash)

    dying, time, tx = Dying(node.ledger), Time(), tx_of()
    proven = submit([dying, node], reader_of(node, tmp_path), tx, patience=time.patience())
    assert (dying.offered, proven.tx_hash) == ([tx], sha256(tx))
    assert time.now <= 2


@pytest.mark.requires("submit.several-nodes")
def test_a_lying_node_is_left_for_an_honest_one(node: Node, tmp_path: Path) -> None:
    for lie in (
        {"tx": lambda a: dataclasses.replace(a, tx=b"other")},
        {"block_results": result_with(code=206)},
    ):
        lying, tx = Node(node.ledger), tx_of(str(lie))
        lying.lies.update(lie)
        proven = submit([lying, node], reader_of(node, tmp_path), tx, patience=Time().patience())
        assert proven.tx_hash == sha256(tx)
        with pytest.raises(VerificationFailed):
            submit([lying, lying], reader_of(node, tmp_path), tx, patience=Time().patience())


@pytest.mark.requires("submit.several-nodes")
def test_one_nodes_word_that_the_rules_refuse_it_is_not_the_ledgers(node: Node, tmp_path: Path) -> None:
    lying, tx = Node(node.ledger), tx_of()
    lying.lies["broadcast_tx_sync"] = lambda a: BroadcastAnswer(int(Code.PERMISSION_DENIED), "no", a.hash)
    lying.ledger = Ledger()
    lying.ledger.commit()
    proven = submit([lying, node], reader_of(node, tmp_path), tx, patience=Time().patience())
    assert proven.tx_hash == sha256(tx)


@pytest.mark.requires("submit.several-nodes")
def test_what_every_node_refuses_is_refused_once_all_were_asked(node: Node, tmp_path: Path) -> None:
    nodes = [_Refuses(node.ledger) for _ in range(3)]
    time = Time()
    with pytest.raises(Refused) as refused:
        submit(nodes, reader_of(node, tmp_path), tx_of(), patience=time.patience())
    assert (code_of(refused), time.now, [each.offered for each in nodes]) == (
        Code.PERMISSION_DENIED,
        0,
        [1, 1, 1],
    )


class _Refuses(Node):
    """A node whose CheckTx refuses everything."""

    offered = 0

    def broadcast_tx_sync(self, tx: bytes) -> BroadcastAnswer:
        self.offered += 1
        return BroadcastAnswer(int(Code.PERMISSION_DENIED), "no", sha256(tx))


@pytest.mark.requires("submit.several-nodes")
@pytest.mark.parametrize("is_first", [True, False])
def test_what_one_node_refuses_by_rule_is_looked_for_where_another_may_have_it(
    node: Node, tmp_path: Path, is_first: bool
) -> None:
    """Sent again, it may wait where the first sending took it: "already in cache" is no rule's refusal."""
    tx, refuses, cached = tx_of(), _Refuses(node.ledger), Refusing(node.ledger)
    nodes: list[Rpc] = [refuses, cached] if is_first else [cached, refuses]
    node.broadcast_tx_sync(tx)
    time = Time(node.ledger.commit)
    proven = submit(nodes, reader_of(node, tmp_path), tx, patience=time.patience())
    assert proven.tx_hash == sha256(tx)
    time = Time()
    with pytest.raises(Refused) as refused:
        submit(nodes, reader_of(node, tmp_path), tx_of("never sent"), patience=time.patience())
    assert code_of(refused) is Code.PERMISSION_DENIED
    assert time.now <= 6


@pytest.mark.requires("submit.several-nodes")
def test_one_nodes_word_that_it_is_used_up_keeps_it_from_no_other(node: Node, tmp_path: Path) -> None:
    class Used(Node):
        def broadcast_tx_sync(self, tx: bytes) -> BroadcastAnswer:
            return BroadcastAnswer(int(Code.NONCE_REPLAYED), "", sha256(tx))

    nodes: list[Rpc] = [Used(node.ledger), node]
    tx, time = tx_of(), Time(node.ledger.commit)
    assert submit(nodes, reader_of(node, tmp_path), tx, patience=time.patience()).tx_hash == sha256(tx)
    node.lies["broadcast_tx_sync"] = lambda answer: BroadcastAnswer(int(Code.NONCE_REPLAYED), "", answer.hash)
    for first in (_Refuses, Refusing, Away):
        behind = first(Ledger())
        behind.ledger.commit()
        again = submit([behind, node], reader_of(node, tmp_path), tx, patience=Time().patience())
        assert again.tx_hash == sha256(tx), "the one that has it is asked"
    for last in (Used, _Refuses, Refusing, Away):
        nodes = [Used(node.ledger), last(node.ledger)]
        with pytest.raises(Refused) as refused:
            submit(nodes, reader_of(node, tmp_path), tx_of(last.__name__), patience=Time().patience())
        assert code_of(refused) is Code.NONCE_REPLAYED


@pytest.mark.requires("submit.several-nodes")
def test_a_block_that_never_comes_is_waited_for_a_bounded_time(node: Node, tmp_path: Path) -> None:
    lying, tx, time = Node(node.ledger), tx_of(), Time(node.ledger.commit)
    lying.lies["tx"] = lambda answer: dataclasses.replace(answer, height=10**9)
    proven = submit([lying, node], reader_of(node, tmp_path), tx, patience=time.patience(60))
    assert proven.tx_hash == sha256(tx)
    assert time.now <= CLAIM_SECONDS + 2
    time = Time(node.ledger.commit)
    with pytest.raises(EnvironmentFault) as fault:
        submit([lying, lying], reader_of(node, tmp_path), tx, patience=time.patience(60))
    assert (code_of(fault), 60 <= time.now <= 62) == (Code.TIMEOUT, True)


@pytest.mark.requires("submit.several-nodes")
def test_results_one_node_does_not_keep_are_had_from_another(node: Node, tmp_path: Path) -> None:
    def not_kept(_: object) -> NoReturn:
        raise EnvironmentFault(Code.RPC_REFUSED, got="no results kept")

    bare, tx, time = Node(node.ledger), tx_of(), Time()
    bare.lies["block_results"] = not_kept
    proven = submit([bare, node], reader_of(node, tmp_path), tx, patience=time.patience())
    assert (proven.tx_hash, time.now) == (sha256(tx), 1)


@pytest.mark.requires("submit.several-nodes")
def test_where_no_node_answers_it_is_said_at_once(node: Node, tmp_path: Path) -> None:
    time, nodes = Time(), [Away(node.ledger), Away(node.ledger)]
    with pytest.raises(EnvironmentFault) as fault:
        submit(nodes, reader_of(node, tmp_path), tx_of(), patience=time.patience())
    assert (code_of(fault), time.now, [each.offered for each in nodes]) == (Code.RPC_UNREACHABLE, 0, [1, 1])
    with pytest.raises(Refused) as refused:
        submit([], reader_of(node, tmp_path), tx_of())
    assert code_of(refused) is Code.USAGE


class _Peer:
    """A node with an endpoint, as a panel has them."""

    def __init__(self, node: Node, endpoint: str) -> None:
        self._node, self.endpoint = node, endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


@pytest.mark.requires("submit.several-nodes")
@pytest.mark.parametrize(
    "lie", [{"tx": lambda a: dataclasses.replace(a, height=2)}, {"block_results": result_with(code=206)}]
)
def test_a_panel_goes_on_with_another_peer_where_one_lies(
    node: Node, tmp_path: Path, lie: dict[str, Any]
) -> None:
    lying, tx = Node(node.ledger), tx_of(str(lie))
    lying.lies.update(lie)
    peers: list[Any] = [_Peer(lying, "http://lying.test:1"), _Peer(node, "http://honest.test:1")]
    panel = Panel(peers, IncidentFile(tmp_path / FILE_NAME))
    assert submit(panel, reader_of(node, tmp_path), tx, patience=Time().patience()).tx_hash == sha256(tx)
    assert panel.endpoint == "http://honest.test:1"
