"""A ledger in memory behind the RPC protocol: the real machine and tree on a ``Chain``, and a node that lies.

``Ledger`` applies envelopes with ``abci_app``'s own rules and proves its state with ``state``'s own tree;
``Node`` answers as CometBFT's RPC would, with a hook a method by which a test alters one answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey

from abci_app.check import Constants, admit, open_envelope
from abci_app.genesis import genesis_state
from abci_app.machine.block import Block, apply_block
from abci_app.machine.block import TxResult as Applied
from consensus.answers import (
    BroadcastAnswer,
    InclusionProof,
    NodeStatus,
    QueryAnswer,
    TxAnswer,
    TxResult,
)
from consensus.light.types import LightBlock, SignedHeader
from consensus.results import result_bytes
from ledger import canonical, keys, records, standard, statekeys
from ledger.actions import Report
from ledger.bodies import (
    configure_body,
    delete_body,
    judgement_body,
    release_body,
    report_body,
    rollback_body,
)
from ledger.envelope import seal
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.records import Parameters
from ledger.types import ActionKind, JsonObject, sha256
from state.merkle import merkle_root, prove
from state.reader import Overlay
from state.tree import Tree
from tests.support.chain import CHAIN_ID, EMPTY_HASH, Chain, signers


@dataclass(frozen=True)
class Subject:
    """Somebody with a key."""

    name: str
    kind: str
    organisation: str
    cluster: str | None = None

    @property
    def key_id(self) -> str:
        """The id of its key."""
        return keys.key_id(bytes(self._key().verify_key))

    @property
    def did(self) -> str:
        """The subject's did:key."""
        return keys.did_key(bytes(self._key().verify_key))

    def sign(self, message: bytes) -> bytes:
        """Sign with its key."""
        return self._key().sign(message).signature

    def _key(self) -> SigningKey:
        return SigningKey(sha256(f"subject {self.name}".encode()))


ALICE = Subject("alice", "human", "a")
BOB = Subject("bob", "human", "a")
CAROL = Subject("carol", "human", "b")
ROBOT = Subject("robot", "agent", "a")
EAST = Subject("east-bridge", "node", "a", "east")
SUBJECTS = (ALICE, BOB, CAROL, ROBOT, EAST)

_nonces = itertools.count(1)


def envelope(subject: Subject, body: bytes, *, chain_id: str = CHAIN_ID, not_after: int = 1000) -> bytes:
    """Sign ``body`` as ``subject``."""
    return seal(
        body,
        chain_id=chain_id,
        signer=subject.did,
        nonce=next(_nonces),
        not_after_height=not_after,
        key=subject,
    )


def a_release(
    name: str = "guestbook", *, text: str = "hello", clusters: tuple[str, ...] = ("east",)
) -> JsonObject:
    """Give a release of one ConfigMap that says ``text``."""
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "greeting", "namespace": name},
        "data": {"text": text},
    }
    return {
        "apiVersion": "conclave.internal/v1",
        "kind": "Release",
        "metadata": {"name": name},
        "spec": {
            "clusters": list(clusters),
            "namespace": name,
            "manifests": [config_map],
            "provenance": {"source": "yaml", "digest": "ab" * 32, "renderer": "test"},
        },
    }


def app_state(*, humans: int = 2, organisations: int = 2) -> bytes:
    """Give a genesis ``app_state`` with the subjects above and one rule."""
    return canonical.dump(
        {
            "parameters": {"imageDigestRequired": True, "proposalTtlBlocks": 500},
            "identities": [
                {
                    "did": s.did,
                    "name": s.name,
                    "kind": s.kind,
                    "organisation": s.organisation,
                    "cluster": s.cluster,
                }
                for s in SUBJECTS
            ],
            "objects": standard.objects(
                [(s.name, s.did) for s in SUBJECTS if s.kind == "human"],
                [(s.name, s.did) for s in SUBJECTS if s.kind == "agent"],
                approvals=humans,
                organisations=organisations,
            ),
            "clusters": [{"name": "east"}, {"name": "west"}],
        }
    )


class _Values:
    """A dict as a ``StateReader``."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.values = values

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)


class Ledger:
    """The replicated machine on a chain of four validators, one block a ``commit``."""

    def __init__(self, chain: Chain | None = None) -> None:
        self.chain = chain or Chain(signers("v1", "v2", "v3", "v4"))
        self.values: dict[int, dict[bytes, bytes]] = {0: genesis_state(app_state(), self.chain.chain_id)}
        self.trees: dict[int, Tree] = {0: Tree.build(self.values[0].items())}
        self.txs: dict[int, list[bytes]] = {}
        self.results: dict[int, list[TxResult]] = {0: []}
        self.constants = Constants(self.chain.chain_id, Parameters(True, 500))

    @property
    def height(self) -> int:
        """The newest height."""
        return self.chain.height

    def open(self, tx: bytes) -> Any:
        """Open an envelope with this ledger's constants and the keys it knows."""
        return open_envelope(tx, self.constants, _Values(self.values[max(self.values)]))

    def commit(self, *txs: bytes) -> list[TxResult]:
        """Make one block of ``txs``; give the results."""
        last = self.height
        self.chain.append(
            app_hash=self.trees[last].root,
            data_hash=merkle_root([sha256(tx) for tx in txs]) if txs else EMPTY_HASH,
            last_results_hash=merkle_root([result_bytes(r) for r in self.results[last]]),
        )
        height = self.height
        state = Overlay(_Values(self.values[last]))
        block = Block(height, self.chain.time_ns(height) // 10**9, txs)
        applied = apply_block(state, block, self.constants, self.open).results
        self.edit(height, dict(state.changes()), last)
        self.txs[height] = list(txs)
        self.results[height] = [_result(a) for a in applied]
        return self.results[height]

    def edit(self, height: int, changes: dict[bytes, bytes | None], base: int | None = None) -> None:
        """Set the state of ``height`` to that of ``base`` with ``changes``, as a dishonest quorum could."""
        base = height if base is None else base
        values = dict(self.values[base])
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self.values[height], self.trees[height] = values, Tree.build(values.items())

    def requirement(self, identifier: str) -> str:
        """Give the digest of what a proposal requires."""
        content = self.values[self.height][statekeys.proposal(identifier)]
        return records.read_proposal(content).requirement

    def release(self, text: str = "hello", *, approvers: tuple[Subject, ...] = (ALICE, CAROL)) -> str:
        """Propose the release and have it approved, a block each; give the proposal's id."""
        return self.approve(envelope(ALICE, release_body(a_release(text=text))), approvers)

    def roll_back(self, to_revision: int) -> str:
        """Roll the release back through the same approvals."""
        return self.approve(envelope(BOB, rollback_body("guestbook", to_revision)), (ALICE, CAROL))

    def configure(self, *put: JsonObject, remove: tuple[tuple[str, str], ...] = ()) -> str:
        """Put ledger objects through the same approvals."""
        return self.approve(envelope(ALICE, configure_body(list(put), list(remove))), (ALICE, CAROL))

    def delete(self, *, prune: bool) -> str:
        """Delete the release through the same approvals."""
        return self.approve(envelope(ALICE, delete_body("guestbook", prune=prune)), (ALICE, CAROL))

    def report(self, revision: int, *, outcome: str = "applied", health: str = "current") -> None:
        """Let the bridge of ``east`` report on the release."""
        sequence = records.read_count(self.values[self.height].get(statekeys.report_sequence("east"))) + 1
        item = {
            "object": "v1/ConfigMap/guestbook/greeting",
            "outcome": "created",
            "health": health,
            "code": 0,
        }
        said = Report("east", "guestbook", revision, sequence, outcome, health, (item,))
        assert [r.code for r in self.commit(envelope(EAST, report_body(said)))] == [0]

    def approve(self, proposal: bytes, approvers: tuple[Subject, ...]) -> str:
        """Commit a proposal and its approvals; give the proposal's id."""
        assert [r.code for r in self.commit(proposal)] == [0]
        opened = self.open(proposal)
        for approver in approvers:
            body = judgement_body(ActionKind.APPROVAL, opened.id, opened.digest, self.requirement(opened.id))
            assert [r.code for r in self.commit(envelope(approver, body))] == [0]
        identifier: str = opened.id
        return identifier


def _result(applied: Applied) -> TxResult:
    return TxResult(int(applied.code), applied.data, 0, 0, str(applied.refusal or ""))


class Node:
    """Answers as CometBFT's RPC would (``consensus.rpc.Rpc``); ``lies[method]`` alters its answers."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.lies: dict[str, Callable[[Any], Any]] = {}
        self.asked: list[str] = []

    def _answer(self, method: str, answer: Any) -> Any:
        self.asked.append(method)
        return self.lies.get(method, lambda same: same)(answer)

    def status(self) -> NodeStatus:
        """Give the newest height."""
        chain = self.ledger.chain
        status = NodeStatus(chain.chain_id, chain.height, chain.time_ns(chain.height), catching_up=False)
        answer: NodeStatus = self._answer("status", status)
        return answer

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit."""
        answer: SignedHeader = self._answer("signed_header", self._block(height).signed_header)
        return answer

    def light_block(self, height: int) -> LightBlock:
        """Give a light block."""
        answer: LightBlock = self._answer("light_block", self._block(height))
        return answer

    def _block(self, height: int) -> LightBlock:
        if height not in self.ledger.chain.blocks:
            raise EnvironmentFault(Code.RPC_REFUSED, got=height, expected="a height of the chain")
        return self.ledger.chain.blocks[height]

    def abci_query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Give a value with its proof."""
        assert path == "/state"
        values, tree = self.ledger.values[height], self.ledger.trees[height]
        proof = tree.prove(data, values.__getitem__).SerializeToString()
        honest = QueryAnswer(0, "", data, values.get(data, b""), height, proof)
        answer: QueryAnswer = self._answer("abci_query", honest)
        return answer

    def broadcast_tx_sync(self, tx: bytes) -> BroadcastAnswer:
        """Check a transaction; what passes is in the next block at once, and the block after proves it."""
        code, log = 0, ""
        try:
            state = _Values(self.ledger.values[self.ledger.height])
            admit(self.ledger.open(tx), state, self.ledger.height + 1, self.ledger.constants)
        except Refused as refusal:
            code, log = int(refusal.code), str(refusal)
        if code == 0:
            self.ledger.commit(tx)
            self.ledger.commit()
        answer: BroadcastAnswer = self._answer("broadcast_tx_sync", BroadcastAnswer(code, log, sha256(tx)))
        return answer

    def tx(self, tx_hash: bytes) -> TxAnswer:
        """Give an included transaction."""
        for height, txs in self.ledger.txs.items():
            leaves = [sha256(tx) for tx in txs]
            if tx_hash in leaves:
                index = leaves.index(tx_hash)
                proof = InclusionProof(len(txs), index, tuple(prove(leaves, index)))
                answer: TxAnswer = self._answer("tx", TxAnswer(height, txs[index], proof))
                return answer
        raise EnvironmentFault(Code.RPC_REFUSED, got="not found", expected="an included transaction")

    def block_txs(self, height: int) -> tuple[bytes, ...]:
        """Give a block's transactions."""
        self._block(height)
        answer: tuple[bytes, ...] = self._answer("block_txs", tuple(self.ledger.txs.get(height, ())))
        return answer

    def block_results(self, height: int) -> tuple[TxResult, ...]:
        """Give a block's results."""
        answer: tuple[TxResult, ...] = self._answer("block_results", tuple(self.ledger.results[height]))
        return answer


class BatchingNode(Node):
    """A node that is asked for several keys in one exchange; ``exchanges`` counts those."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.exchanges: list[int] = []

    def abci_queries(self, path: str, data: Sequence[bytes], height: int) -> list[QueryAnswer]:
        """Give values with their proofs."""
        self.exchanges.append(len(data))
        return [super(BatchingNode, self).abci_query(path, one, height) for one in data]

    def abci_query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Give a value with its proof."""
        self.exchanges.append(1)
        return super().abci_query(path, data, height)
