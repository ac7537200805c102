"""The reader against a node that lies in one thing at a time: nothing false is ever believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from consensus import release_reader
from consensus.answers import QueryAnswer
from consensus.headers import ReaderSettings
from consensus.light.types import LightBlock, Options
from consensus.node.genesis import EVIDENCE_AGE_NS
from consensus.reader import VerifiedReader, check_fresh
from consensus.trust_store import TrustRoot, TrustStore
from consensus.verified import Verified
from ledger import statekeys
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from tests.support.attacks import Peer, panel_of
from tests.support.chain import CHAIN_ID, Chain, signers
from tests.support.ledger import BatchingNode, Ledger, Node
from tests.support.seals import reachers
from tests.unit.consensus.ledgers import code_of, reader_of, reader_through, root_of

KEY = statekeys.ledger_object("Cluster", "east")
VALUE = b'{"authority":null,"height":0,"kind":"Cluster","labels":{},"name":"east","spec":{},"version":1}'
ABSENT = statekeys.ledger_object("Cluster", "nowhere")


@pytest.fixture
def node() -> Node:
    ledger = Ledger()
    ledger.commit()
    ledger.release()
    ledger.commit()
    return Node(ledger)


@pytest.mark.requires("reader.proven-value")
def test_values_and_absence_are_proven(node: Node, tmp_path: Path) -> None:
    view = reader_of(node, tmp_path).at()
    header = node.ledger.chain.blocks[node.ledger.height].header
    value = view.get(KEY)
    assert (value.value, value.height, value.time_ns, value.chain_id) == (
        VALUE,
        node.ledger.height - 1,
        header.time_ns,
        CHAIN_ID,
    )
    assert view.json(KEY).value["name"] == "east"
    assert view.get(ABSENT).value is None
    assert view.json(ABSENT).value is None


@pytest.mark.requires("reader.proven-value")
def test_a_view_asks_once_for_a_key(node: Node, tmp_path: Path) -> None:
    view = reader_of(node, tmp_path).at()
    view.get(KEY)
    before = len(node.asked)
    view.get(KEY)
    assert len(node.asked) == before


def _block(**changes: Any) -> Callable[[LightBlock], LightBlock]:
    def alter(block: LightBlock) -> LightBlock:
        header = dataclasses.replace(block.header, **changes)
        signed_header = dataclasses.replace(block.signed_header, header=header)
        return dataclasses.replace(block, signed_header=signed_header)

    return alter


def _without_signatures(block: LightBlock) -> LightBlock:
    chain = Chain(signers("v1", "v2", "v3", "v4"))
    chain.blocks[block.height] = block
    chain.members[block.height] = chain.members[1]
    return chain.forge(block.height, absent=chain.members[1][:2])


def _other_validators(block: LightBlock) -> LightBlock:
    other = Chain(signers("w1", "w2", "w3", "w4"))
    other.extend(1)
    return dataclasses.replace(block, validators=other.blocks[1].validators)


def _query(**changes: Any) -> Callable[[QueryAnswer], QueryAnswer]:
    return lambda answer: dataclasses.replace(answer, **changes)


_LIES: list[tuple[str, str, Callable[[Any], Any], Code]] = [
    ("header", "light_block", _block(data_hash=b"\x01" * 32), Code.COMMIT_MISMATCH),
    ("app hash", "light_block", _block(app_hash=b"\x01" * 32), Code.COMMIT_MISMATCH),
    ("validator set", "light_block", _other_validators, Code.VALIDATORS_HASH_MISMATCH),
    ("dropped signatures", "light_block", _without_signatures, Code.COMMIT_UNDER_TWO_THIRDS),
    ("other chain", "light_block", _block(chain_id="other"), Code.HEADER_CHAIN_MISMATCH),
    ("value", "abci_query", _query(value=VALUE.replace(b"east", b"wast")), Code.PROOF_INVALID),
    ("value withheld", "abci_query", _query(value=b""), Code.PROOF_INVALID),
    ("proof", "abci_query", _query(proof=b"\x0a\x02\x0a\x00"), Code.PROOF_INVALID),
    ("no proof", "abci_query", _query(proof=None), Code.PROOF_MISSING),
    ("other height", "abci_query", _query(height=1), Code.PROOF_INVALID),
    ("other key", "abci_query", _query(key=b"cluster/west"), Code.PROOF_INVALID),
    (
        "status of another chain",
        "status",
        lambda s: dataclasses.replace(s, chain_id="x"),
        Code.HEADER_CHAIN_MISMATCH,
    ),
]


@pytest.mark.requires("reader.single-lies")
@pytest.mark.parametrize(("method", "lie", "code"), [lie[1:] for lie in _LIES], ids=[lie[0] for lie in _LIES])
def test_a_lie_is_refused(
    node: Node, tmp_path: Path, method: str, lie: Callable[[Any], Any], code: Code
) -> None:
    reader = reader_of(node, tmp_path)
    reader.at(1)
    node.lies[method] = lie
    with pytest.raises(VerificationFailed) as refused:
        reader.at().get(KEY)
    assert code_of(refused) is code
    del node.lies[method]
    assert reader.at().get(KEY).value == VALUE


@pytest.mark.requires("reader.single-lies")
def test_a_true_value_of_another_key_proves_nothing(node: Node, tmp_path: Path) -> None:
    view = reader_of(node, tmp_path).at()
    west = node.abci_query("/state", statekeys.ledger_object("Cluster", "west"), view.height)
    node.lies["abci_query"] = lambda _: dataclasses.replace(west, key=KEY)
    with pytest.raises(VerificationFailed) as refused:
        view.get(KEY)
    assert code_of(refused) is Code.PROOF_INVALID


@pytest.mark.requires("reader.single-lies")
def test_absence_is_not_claimed_of_what_is_there(node: Node, tmp_path: Path) -> None:
    view = reader_of(node, tmp_path).at()
    absent = node.abci_query("/state", ABSENT, view.height)
    node.lies["abci_query"] = lambda _: dataclasses.replace(absent, key=KEY)
    with pytest.raises(VerificationFailed) as refused:
        view.get(KEY)
    assert code_of(refused) is Code.PROOF_INVALID


@pytest.mark.requires("reader.never-back")
def test_a_node_behind_what_was_verified_is_stale(node: Node, tmp_path: Path) -> None:
    reader = reader_of(node, tmp_path)
    reader.at()
    node.lies["status"] = lambda status: dataclasses.replace(status, height=status.height - 1)
    with pytest.raises(VerificationFailed) as refused:
        reader.at()
    assert code_of(refused) is Code.STALE


@pytest.mark.requires("reader.freshness-shown")
def test_age_is_shown_and_judged_by_the_caller(node: Node, tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(root_of(node.ledger))
    chain = node.ledger.chain
    late = chain.time_ns(chain.height) + 61 * 10**9
    view = VerifiedReader(node, store, clock=lambda: late).at()
    assert (view.age_ns, view.is_stale) == (61 * 10**9, True)
    with pytest.raises(VerificationFailed) as refused:
        check_fresh(view)
    assert code_of(refused) is Code.STALE
    fresh = VerifiedReader(
        node, store, clock=lambda: late, settings=ReaderSettings(staleness_ns=62 * 10**9)
    ).at()
    check_fresh(fresh)


@pytest.mark.requires("reader.clock-explained")
@pytest.mark.parametrize(("hours", "code"), [(-1, Code.HEADER_FROM_FUTURE), (15 * 24, Code.TRUST_EXPIRED)])
def test_a_wrong_clock_is_explained(node: Node, tmp_path: Path, hours: int, code: Code) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(root_of(node.ledger))
    wrong = node.ledger.chain.now_ns + hours * 3600 * 10**9
    with pytest.raises(VerificationFailed) as refused:
        VerifiedReader(node, store, clock=lambda: wrong).at()
    assert code_of(refused) is code
    assert "clock" in refused.value.todo


@pytest.mark.requires("reader.clock-explained")
def test_a_clock_that_is_set_back_is_noticed_on_a_header_verified_before(node: Node, tmp_path: Path) -> None:
    now = [node.ledger.chain.now_ns]
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(root_of(node.ledger))
    reader = VerifiedReader(node, store, clock=lambda: now[0])
    reader.at()
    now[0] -= 3600 * 10**9
    with pytest.raises(VerificationFailed) as refused:
        reader.at()
    assert code_of(refused) is Code.HEADER_FROM_FUTURE


@pytest.mark.requires("reader.trust-kept")
def test_what_was_verified_is_kept_and_built_upon(node: Node, tmp_path: Path) -> None:
    reader_of(node, tmp_path).at()
    kept = TrustStore(tmp_path / "trust.json").load()
    assert kept is not None
    assert kept.newest is not None
    assert kept.newest.height == node.ledger.height
    node.ledger.commit()
    node.asked.clear()
    assert reader_of(node, tmp_path).at().height == node.ledger.height - 1
    assert node.asked.count("light_block") == 1


@pytest.mark.requires("reader.genesis-root")
def test_other_validators_than_the_genesis_names(node: Node, tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    other = Ledger(Chain(signers("w1", "w2", "w3", "w4")))
    store.ensure(root_of(other))
    with pytest.raises(VerificationFailed) as refused:
        VerifiedReader(node, store, clock=lambda: node.ledger.chain.now_ns).at()
    assert code_of(refused) is Code.TRUST_ROOT_MISMATCH


@pytest.mark.requires("reader.genesis-root")
def test_a_root_by_height_and_hash(node: Node, tmp_path: Path) -> None:
    chain = node.ledger.chain
    for digest, code in ((chain.trusted(3).hash, None), (b"\x01" * 32, Code.TRUST_ROOT_MISMATCH)):
        store = TrustStore(tmp_path / f"{digest.hex()}.json")
        store.ensure(TrustRoot.at(CHAIN_ID, 3, digest))
        reader = VerifiedReader(node, store, clock=lambda: chain.now_ns)
        if code is None:
            assert reader.at().get(KEY).value
            continue
        with pytest.raises(VerificationFailed) as refused:
            reader.at()
        assert code_of(refused) is code


@pytest.mark.requires("reader.genesis-root")
def test_no_root_no_reader(node: Node, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        VerifiedReader(node, TrustStore(tmp_path / "trust.json"), clock=lambda: 0)
    assert code_of(fault) is Code.HOME_INVALID


@pytest.mark.requires("reader.older-heights")
def test_older_heights_are_reached_by_hash_links(node: Node, tmp_path: Path) -> None:
    reader = reader_of(node, tmp_path)
    reader.at()
    view = reader.at(2)
    assert view.height == 2
    assert view.get(statekeys.INDEX_RELEASES).value is None
    node.lies["signed_header"] = lambda sh: dataclasses.replace(
        sh, header=dataclasses.replace(sh.header, app_hash=b"\x01" * 32)
    )
    with pytest.raises(VerificationFailed) as refused:
        reader_of(node, tmp_path).at(2)
    assert code_of(refused) is Code.COMMIT_MISMATCH


@pytest.mark.requires("reader.older-heights")
def test_before_the_second_block_nothing_is_provable(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.commit()
    reader = reader_of(Node(ledger), tmp_path)
    for height in (None, 0, -5):
        with pytest.raises(EnvironmentFault) as fault:
            reader.at(height)
        assert code_of(fault) is Code.HEIGHT_NOT_AVAILABLE


@pytest.mark.requires("reader.older-heights")
def test_heights_below_the_root_are_refused(node: Node, tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(TrustRoot.at(CHAIN_ID, 4, node.ledger.chain.trusted(4).hash))
    with pytest.raises(Refused) as refused:
        VerifiedReader(node, store, clock=lambda: node.ledger.chain.now_ns).at(2)
    assert code_of(refused) is Code.HEIGHT_NOT_AVAILABLE


@pytest.mark.requires("reader.node-refusals")
def test_a_height_one_node_does_not_keep_is_told_as_such(node: Node, tmp_path: Path) -> None:
    node.lies["abci_query"] = _query(code=int(Code.HEIGHT_NOT_AVAILABLE), log="too old")
    with pytest.raises(EnvironmentFault) as refused:
        reader_of(node, tmp_path).at().get(KEY)
    assert code_of(refused) is Code.HEIGHT_NOT_AVAILABLE


@pytest.mark.requires("reader.node-refusals")
@pytest.mark.parametrize("code", [Code.RELEASE_UNKNOWN, Code.PERMISSION_DENIED, Code.HEADERS_DIVERGED, 9999])
def test_what_one_nodes_application_refuses_is_never_taken_as_the_ledgers_word(
    node: Node, tmp_path: Path, code: int
) -> None:
    node.lies["abci_query"] = _query(code=int(code), log="no", proof=None)
    with pytest.raises(EnvironmentFault) as refused:
        release_reader.releases(reader_of(node, tmp_path).at(), "east")
    assert code_of(refused) is Code.RPC_REFUSED
    assert refused.value.facts["number"] == code


@pytest.mark.requires("reader.node-refusals")
@pytest.mark.parametrize("code", [Code.RELEASE_UNKNOWN, Code.HEIGHT_NOT_AVAILABLE])
def test_what_one_node_refuses_another_is_asked(tmp_path: Path, code: int) -> None:
    ledger = Ledger()
    for _ in range(3):
        ledger.commit()
    liar, *honest = (Peer(f"http://{name}:1", ledger) for name in ("liar", "one", "two"))
    liar.lies["abci_query"] = _query(code=int(code), log="no", proof=None)
    panel = panel_of([liar, *honest], tmp_path)
    assert reader_through(panel, ledger, tmp_path).at().get(KEY).value is not None
    assert panel.endpoint == honest[0].endpoint
    for peer in honest:
        peer.lies["abci_query"] = liar.lies["abci_query"]
    with pytest.raises(EnvironmentFault):
        reader_through(panel, ledger, tmp_path).at().get(KEY)


class Refusing(Peer):
    """A node that answers some questions with an error of JSON-RPC; of several keys it is asked at once."""

    refuses: frozenset[str] = frozenset()

    def abci_queries(self, path: str, data: Sequence[bytes], height: int) -> list[QueryAnswer]:
        """Give values with their proofs."""
        self._answer("abci_queries", None)
        return [super(Refusing, self).abci_query(path, one, height) for one in data]

    def _answer(self, method: str, answer: Any) -> Any:
        if method in self.refuses:
            raise EnvironmentFault(Code.RPC_REFUSED, got="Internal error")
        return super()._answer(method, answer)


@pytest.mark.requires("reader.node-refusals")
@pytest.mark.parametrize("method", ["status", "abci_queries", "abci_query", "signed_header"])
def test_a_node_that_answers_with_an_error_is_left_for_another(tmp_path: Path, method: str) -> None:
    ledger = Ledger()
    for _ in range(6):
        ledger.commit()
    first, *others = (Refusing(f"http://{name}:1", ledger) for name in ("one", "two", "three"))
    panel = panel_of([first, *others], tmp_path)
    reader = reader_through(panel, ledger, tmp_path)
    reader.at()
    first.refuses = frozenset({method})
    assert panel.endpoint == first.endpoint
    for height in (reader.newest_height() - 1, 2):
        view, keys = reader.at(height), [KEY, statekeys.ledger_object("Cluster", "west")]
        view.ahead(keys)
        assert view.get(KEY).height == height
    assert panel.endpoint == others[0].endpoint


@pytest.mark.requires("reader.one-door")
def test_only_the_reader_holds_the_seal() -> None:
    assert reachers("consensus.verified", {"_SEAL", "_Seal"}) == {"consensus/reader.py"}


@pytest.mark.requires("reader.one-door")
def test_nobody_else_makes_a_verified_value() -> None:
    with pytest.raises(TypeError):
        Verified(1, 1, 1, CHAIN_ID, object())


@pytest.mark.requires("reader.one-door")
def test_a_verified_value_cannot_lend_its_seal(node: Node, tmp_path: Path) -> None:
    proven = reader_of(node, tmp_path).at().get(KEY)
    assert not hasattr(proven, "seal")
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(proven, value=b"something else")  # type: ignore[call-arg]  # that is the point
    with pytest.raises(TypeError):
        Verified(b"something else", proven.height, proven.time_ns, proven.chain_id, proven)


@pytest.mark.requires("reader.settings-sound")
def test_the_trusting_period_is_below_the_evidence_age() -> None:
    assert Options().trusting_period_ns < EVIDENCE_AGE_NS


@pytest.mark.requires("reader.asked-together", "reader.proven-value")
def test_keys_asked_ahead_take_one_exchange_and_each_is_proven(node: Node, tmp_path: Path) -> None:
    batching = BatchingNode(node.ledger)
    view = reader_of(batching, tmp_path).at()
    view.ahead([KEY, ABSENT, KEY])
    assert (view.get(KEY).value, view.get(ABSENT).value) == (VALUE, None)
    assert batching.exchanges == [2]
    view.ahead([KEY, ABSENT])
    assert batching.exchanges == [2], "what is known is not asked again"


@pytest.mark.requires("reader.asked-together", "reader.single-lies")
def test_a_lie_among_keys_asked_ahead_is_believed_by_nobody(node: Node, tmp_path: Path) -> None:
    batching = BatchingNode(node.ledger)
    batching.lies["abci_query"] = lambda answer: (
        dataclasses.replace(answer, value=b"{}") if answer.key == KEY else answer
    )
    view = reader_of(batching, tmp_path).at()
    view.ahead([KEY, ABSENT])
    assert view.get(ABSENT).value is None
    assert batching.exchanges == [2], "what verifies is kept"
    with pytest.raises(VerificationFailed) as lie:
        view.get(KEY)
    assert lie.value.code is Code.PROOF_INVALID


@pytest.mark.requires("reader.asked-together")
def test_a_node_without_batches_is_asked_as_before(node: Node, tmp_path: Path) -> None:
    view = reader_of(node, tmp_path).at()
    before = len(node.asked)
    view.ahead([KEY, ABSENT])
    assert len(node.asked) == before
    assert view.get(KEY).value == VALUE
