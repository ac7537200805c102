"""Looking at the ledger: what need not be read again, and for how long a node's word for that counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from consensus.answers import NodeStatus, QueryAnswer
from consensus.reader import VerifiedReader
from consensus.trust_store import TrustRoot, TrustStore
from k8s_bridge.source import REST_S, LedgerSource
from ledger.bodies import freeze_body, release_body
from ledger.errors import Code
from tests.support.chain import set_of
from tests.support.ledger import ALICE, CAROL, BatchingNode, Ledger, Node, a_release, envelope


@dataclass
class Looking:
    """A source over a node that tells its newest root."""

    ledger: Ledger
    node: Node
    source: LedgerSource
    seconds: list[float] = field(default_factory=lambda: [100.0])

    def asked(self) -> list[str]:
        """Look, and give what was asked of the node."""
        before = len(self.node.asked)
        self.source.look()
        return self.node.asked[before:]


@pytest.fixture
def looking(tmp_path: Path) -> Looking:
    ledger = Ledger()
    ledger.commit()
    return _looking(Node(ledger), tmp_path)


@pytest.fixture
def batching(tmp_path: Path) -> Looking:
    ledger = Ledger()
    ledger.commit()
    return _looking(BatchingNode(ledger), tmp_path)


def _looking(node: Node, tmp_path: Path) -> Looking:
    ledger = node.ledger
    chain = ledger.chain
    node.lies["status"] = lambda s: replace(s, app_hash=chain.blocks[s.height].signed_header.header.app_hash)
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(TrustRoot(chain.chain_id, 1, None, set_of(chain.members[1])))
    seconds = [100.0]
    source = LedgerSource(VerifiedReader(node, store, clock=lambda: chain.now_ns), "east", lambda: seconds[0])
    return Looking(ledger, node, source, seconds)


@pytest.mark.requires("bridge.same-root-not-read")
def test_a_state_of_the_same_root_is_not_read_again_but_its_header_is_verified(looking: Looking) -> None:
    looking.ledger.release("one")
    looking.ledger.commit()
    first = looking.source.look()
    assert first is not None
    assert list(first.releases) == ["guestbook"]
    looking.ledger.commit()
    assert looking.asked() == ["status"]
    looking.seconds[0] += REST_S
    looking.ledger.commit()
    before = len(looking.node.asked)
    later = looking.source.look()
    assert looking.node.asked[before:] == ["status", "light_block"]
    assert later is not None
    assert (later.releases, later.height) == (first.releases, first.height + 2)
    assert later.time_ns > first.time_ns


@pytest.mark.requires("bridge.same-root-not-read")
def test_a_node_that_denies_a_change_is_believed_for_a_while_only(looking: Looking) -> None:
    looking.ledger.release("one")
    looking.ledger.commit()
    assert looking.source.look() is not None
    newest = looking.ledger.chain.height
    old = looking.ledger.chain.blocks[newest].signed_header.header.app_hash
    looking.node.lies["status"] = lambda status: _with(status, old)
    looking.ledger.release("two")
    looking.ledger.commit()
    assert looking.source.look() is None
    looking.seconds[0] += REST_S
    found = looking.source.look()
    assert found is not None
    assert found.releases["guestbook"].value.revision == 2


@pytest.mark.requires("bridge.same-root-not-read")
def test_what_does_not_verify_is_asked_for_again_under_the_same_root(looking: Looking) -> None:
    looking.ledger.release("one")
    looking.ledger.commit()
    looking.node.lies["abci_query"] = lambda answer: (
        replace(answer, value=b"{}") if b"desired" in answer.key else answer
    )
    found = looking.source.look()
    assert found is not None
    assert [error.code for error in found.refused.values()] == [Code.PROOF_INVALID]
    del looking.node.lies["abci_query"]
    looking.ledger.commit()
    healed = looking.source.look()
    assert healed is not None
    assert list(healed.releases) == ["guestbook"]


@pytest.mark.requires("bridge.same-root-not-read")
def test_a_freeze_is_kept_with_the_root_it_was_read_under(looking: Looking) -> None:
    looking.ledger.release("one")
    looking.ledger.commit(envelope(CAROL, freeze_body("incident", releases=("guestbook",))))
    looking.ledger.commit()
    found = looking.source.look()
    assert found is not None
    assert [error.code for error in found.refused.values()] == [Code.FROZEN]
    looking.ledger.commit()
    assert looking.asked() == ["status"]


@pytest.mark.requires("bridge.freeze-left")
def test_a_freeze_of_the_namespace_that_a_release_is_leaving_stops_it_until_it_has_left(
    looking: Looking,
) -> None:
    ledger = looking.ledger
    ledger.release("one")
    moved = a_release()
    moved["spec"]["namespace"] = "moved"
    moved["spec"]["manifests"][0]["metadata"]["namespace"] = "moved"
    ledger.approve(envelope(ALICE, release_body(moved, against=1)), (ALICE, CAROL))
    ledger.commit(envelope(CAROL, freeze_body("incident", namespaces=("guestbook",))))
    ledger.commit()
    found = looking.source.look()
    assert found is not None
    assert [error.code for error in found.refused.values()] == [Code.FROZEN]
    ledger.report(2, outcome="partial")
    ledger.commit()
    looking.seconds[0] += REST_S
    still = looking.source.look()
    assert still is not None
    assert [error.code for error in still.refused.values()] == [Code.FROZEN]
    ledger.report(2)
    ledger.commit()
    looking.seconds[0] += REST_S
    later = looking.source.look()
    assert later is not None
    assert later.releases["guestbook"].value.revision == 2


@pytest.mark.requires("reader.asked-together")
def test_a_look_takes_few_exchanges_however_many_keys_it_reads(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.commit()
    node, chain = BatchingNode(ledger), ledger.chain
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(TrustRoot(chain.chain_id, 1, None, set_of(chain.members[1])))
    source = LedgerSource(VerifiedReader(node, store, clock=lambda: chain.now_ns), "east")
    taken = []
    for text in ("one", "two", "three"):
        ledger.release(text)
        ledger.commit()
        node.exchanges.clear()
        found = source.look()
        assert found is not None
        assert found.releases["guestbook"].value.manifests[-1]["data"]["text"] == text
        taken.append((len(node.exchanges), sum(node.exchanges)))
    assert taken[0][0] < taken[0][1]
    # What a release needs that the one before needed too is asked with it: five round trips, not one a key.
    assert all(exchanges <= 5 < keys / 2 for exchanges, keys in taken[1:]), taken


def _with(status: NodeStatus, app_hash: bytes) -> NodeStatus:
    return replace(status, app_hash=app_hash)


@pytest.mark.requires("bridge.others-changes")
def test_what_changes_for_others_costs_no_header_and_what_changes_here_is_read(batching: Looking) -> None:
    batching.ledger.release("one")
    batching.ledger.commit()
    assert batching.source.look() is not None
    batching.ledger.commit(envelope(CAROL, release_body(a_release("elsewhere", clusters=("east",)))))
    batching.ledger.commit()
    asked = batching.asked()
    assert set(asked) == {"status", "abci_query"}
    assert asked.count("status") == 1
    batching.ledger.commit()
    assert batching.asked() == ["status"]
    batching.ledger.release("two")
    batching.ledger.commit()
    found = batching.source.look()
    assert found is not None
    assert found.releases["guestbook"].value.revision == 2


@pytest.mark.requires("bridge.others-changes")
def test_a_node_that_says_that_nothing_changed_here_is_believed_for_a_while_only(batching: Looking) -> None:
    batching.ledger.release("one")
    batching.ledger.commit()
    assert batching.source.look() is not None
    before = batching.ledger.height - 1
    batching.ledger.release("two")
    batching.ledger.commit()
    honest = batching.node
    old = Node(batching.ledger)
    honest.lies["abci_query"] = lambda answer: (
        answer if batching.seconds[0] >= 100.0 + REST_S else old.abci_query("/state", answer.key, before)
    )
    assert batching.source.look() is None
    batching.seconds[0] += REST_S
    found = batching.source.look()
    assert found is not None
    assert found.releases["guestbook"].value.revision == 2


class TellingNode(BatchingNode):
    """A node that tells of its newest block, and whether there are transactions in it."""

    def newest(self) -> NodeStatus:
        """Give what its newest header says."""
        height = self.ledger.chain.height
        header = self.ledger.chain.blocks[height].header
        return NodeStatus(
            header.chain_id,
            height,
            header.time_ns,
            catching_up=False,
            app_hash=header.app_hash,
            has_transactions=bool(self.ledger.txs[height]),
        )


@pytest.fixture
def telling(tmp_path: Path) -> Looking:
    ledger = Ledger()
    ledger.commit()
    found = _looking(TellingNode(ledger), tmp_path)
    found.ledger.release("one")
    found.ledger.commit()
    assert found.source.look() is not None
    return found


@pytest.mark.requires("bridge.asked-before-proof")
def test_what_a_block_changed_is_asked_for_before_the_next_one_proves_it(telling: Looking) -> None:
    node = telling.node
    assert isinstance(node, BatchingNode)
    telling.ledger.release("two")
    assert telling.source.look() is None, "nothing proves it yet"
    node.exchanges.clear()
    telling.ledger.commit()
    found = telling.source.look()
    assert found is not None
    assert found.releases["guestbook"].value.revision == 2
    assert node.exchanges == []


@pytest.mark.requires("bridge.asked-before-proof", "reader.single-lies")
@pytest.mark.parametrize(
    "lied", [b"desired/", b"revision/", b"envelope/", b"proposal/", b"identity", b"index/"]
)
def test_a_lie_told_before_the_proof_moves_nothing(telling: Looking, lied: bytes) -> None:
    told: list[bytes] = []

    def lie(answer: QueryAnswer) -> QueryAnswer:
        if not answer.key.startswith(lied) or answer.height < telling.ledger.chain.height:
            return answer
        told.append(answer.key)
        return replace(answer, value=answer.value[:-1] + b"!")

    telling.ledger.release("two")
    telling.node.lies["abci_query"] = lie
    assert telling.source.look() is None
    telling.node.lies.clear()
    telling.ledger.commit()
    found = telling.source.look()
    assert told
    assert found is not None
    assert found.releases["guestbook"].value.revision == 2
    assert found.refused == {}


@pytest.mark.requires("bridge.asked-before-proof")
def test_a_block_without_transactions_is_not_asked_about_before_its_proof(telling: Looking) -> None:
    telling.ledger.commit()
    before = len(telling.node.asked)
    telling.source.look()
    telling.source.look()
    assert "abci_query" not in telling.node.asked[before:]
