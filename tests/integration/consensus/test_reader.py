"""The reader and submit on a real CometBFT and application: all proven, every lie of the RPC refused."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus import release_reader
from consensus.light.types import LightBlock
from consensus.node.localnet import Localnet, write_localnet
from consensus.proof_file.export import export
from consensus.proof_file.form import Kind, Question, decode
from consensus.proof_file.judge import judge
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.submit import submit
from consensus.trust_store import TrustRoot, TrustStore
from ledger import canonical, statekeys
from ledger.bodies import judgement_body, release_body
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from ledger.types import ActionKind, ProposalState
from tests.integration import nodes
from tests.support.ledger import ALICE, BOB, CAROL, a_release, app_state, envelope

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CHAIN_ID = "reader-test"
CLUSTER = statekeys.ledger_object("Cluster", "east")


class Altering(RpcClient):
    """A client whose node's JSON answers to one method are altered on the way.

    It keeps no validator set, so that every lie about one is heard; and where the lie is in ``/status``, the
    node is an older one that does not know ``/header``.
    """

    lie: tuple[str, Callable[[Any], None]] | None = None

    def light_block(self, height: int) -> LightBlock:
        """Ask for every validator set anew."""
        self._set = None
        return super().light_block(height)

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        if self.lie and self.lie[0] == "status" and method == "header":
            raise EnvironmentFault(Code.RPC_REFUSED, got="unknown", expected="an answer", unknown=True)
        result = super()._call(method, params)
        if self.lie and self.lie[0] == method:
            result = copy.deepcopy(result)
            self.lie[1](result)
        return result


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One validator making blocks; gives its RPC endpoint and genesis file."""
    root = tmp_path_factory.mktemp("n")
    localnet = Localnet(root, CHAIN_ID, 1, nodes.free_base(2), "socket", nodes.FAST)
    (planned,) = write_localnet(localnet, time.time_ns(), json.loads(app_state()))
    argv = [sys.executable, "-m", "consensus.node", "--home", str(planned.spec.home)]
    argv += ["--cometbft", str(nodes.cometbft())]
    env = {**os.environ, "PYTHONPATH": str(nodes.ROOT)}
    with (planned.spec.paths.logs / "node.log").open("ab") as log:
        supervisor = subprocess.Popen(argv, cwd=nodes.ROOT, env=env, stderr=log)
    node = nodes.Node(planned.spec, supervisor)
    try:
        nodes.until("two blocks", lambda: node.height() >= 2, node)
        yield planned.spec.rpc_url, planned.spec.paths.genesis
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(nodes.WAIT_S)


@pytest.fixture
def rpc(home: tuple[str, Path]) -> Iterator[Altering]:
    with contextlib.closing(Altering(home[0])) as client:
        yield client


@pytest.fixture
def reader(home: tuple[str, Path], rpc: Altering, tmp_path: Path) -> VerifiedReader:
    store = TrustStore(tmp_path / "trust.json")
    store.ensure(TrustRoot.from_genesis(json.loads(home[1].read_text())))
    return VerifiedReader(rpc, store, clock=time.time_ns)


def _release(rpc: RpcClient, reader: VerifiedReader, text: str) -> str:
    proposed = submit(rpc, reader, _sealed(ALICE, release_body(a_release(text=text)))).receipt
    assert proposed.state is ProposalState.OPEN
    record = release_reader.proposal(reader.at(), proposed.envelope).value
    body = judgement_body(ActionKind.APPROVAL, proposed.envelope, record.digest, record.requirement)
    assert submit(rpc, reader, _sealed(BOB, body)).receipt.state is ProposalState.OPEN
    assert submit(rpc, reader, _sealed(CAROL, body)).receipt.state is ProposalState.FINAL
    return proposed.envelope


def _sealed(subject: Any, body: bytes) -> bytes:
    return envelope(subject, body, chain_id=CHAIN_ID, not_after=10_000)


@pytest.mark.requires("reader.real-chain")
def test_a_release_from_envelope_to_proven_manifests(rpc: Altering, reader: VerifiedReader) -> None:
    identifier = _release(rpc, reader, "real")
    found = release_reader.release(reader.at(), "east", "guestbook")
    assert found.value.authority_proposal == identifier
    assert found.value.manifests[0]["data"] == {"text": "real"}
    assert found.chain_id == CHAIN_ID
    assert found.age_ns(time.time_ns()) < 60 * 10**9


@pytest.mark.requires("proof-file.real-chain")
def test_a_proof_file_of_a_release_is_judged_with_no_node(
    rpc: Altering, reader: VerifiedReader, home: tuple[str, Path]
) -> None:
    identifier = _release(rpc, reader, "filed")
    target = reader.at().height + 1
    root = TrustRoot.from_genesis(json.loads(home[1].read_text()))
    revision = release_reader.release_record(reader.at(target - 1), "guestbook").value.revision
    question = Question(Kind.RELEASE, "guestbook", revision)
    content = export(rpc, root, question, target, time.time_ns()).content
    judged = judge(decode(content), root, time.time_ns())
    (trail,) = judged.finding.trails
    assert trail.id == identifier
    assert [(v.act, v.who.name) for v in trail.voices] == [
        ("proposed", "alice"),
        ("approved", "bob"),
        ("approved", "carol"),
    ]
    assert judged.included == {voice.envelope: voice.height for voice in trail.voices}
    assert trail.final_height in {header.height for header in judged.headers}
    assert all(header.signed == header.total for header in judged.headers)
    later = TrustRoot.at(CHAIN_ID, target, judged.headers[-1].hash)
    assert judge(decode(content), later, time.time_ns()).finding == judged.finding
    whole = json.loads(content)
    whole["blocks"][-1]["signed_header"]["header"]["app_hash"] = "AB" * 32
    with pytest.raises(VerificationFailed) as refused:
        judge(decode(canonical.dump(whole)), root, time.time_ns())
    assert refused.value.code is Code.COMMIT_MISMATCH


@pytest.mark.requires("submit.idempotent")
def test_an_envelope_sent_twice_gives_one_receipt(rpc: Altering, reader: VerifiedReader) -> None:
    tx = _sealed(ALICE, release_body(a_release("twice")))
    assert submit(rpc, reader, tx) == submit(rpc, reader, tx)


@pytest.mark.requires("submit.refusal-coded")
def test_a_broken_envelope_is_refused_with_its_code(rpc: Altering, reader: VerifiedReader) -> None:
    tx = bytearray(_sealed(ALICE, release_body(a_release("broken"))))
    tx[-1] ^= 1
    with pytest.raises(Refused) as refused:
        submit(rpc, reader, bytes(tx))
    assert refused.value.code is Code.SIGNATURE_INVALID


def _header(field: str, value: str) -> Callable[[Any], None]:
    return lambda result: result["signed_header"]["header"].__setitem__(field, value)


def _drop_signature(result: Any) -> None:
    result["signed_header"]["commit"]["signatures"] = []


def _other_key(result: Any) -> None:
    result["validators"][0]["pub_key"]["value"] = "A" * 43 + "="
    result["validators"][0]["address"] = ""


_LIES: list[tuple[str, Callable[[Any], None], Code]] = [
    ("commit", _header("data_hash", "AB" * 32), Code.COMMIT_MISMATCH),
    ("commit", _header("app_hash", "AB" * 32), Code.COMMIT_MISMATCH),
    ("commit", _header("chain_id", "other"), Code.HEADER_CHAIN_MISMATCH),
    ("commit", _drop_signature, Code.HEADER_MALFORMED),
    ("validators", _other_key, Code.VALIDATORS_HASH_MISMATCH),
    ("abci_query", lambda r: r["response"].__setitem__("value", "e30="), Code.PROOF_INVALID),
    (
        "abci_query",
        lambda r: r["response"]["proofOps"]["ops"][0].__setitem__("data", "CgA="),
        Code.PROOF_INVALID,
    ),
    ("abci_query", lambda r: r["response"].__setitem__("proofOps", None), Code.PROOF_MISSING),
    ("header", lambda r: r["header"].__setitem__("chain_id", "other"), Code.HEADER_CHAIN_MISMATCH),
    ("header", lambda r: r["header"].__setitem__("height", "1"), Code.STALE),
    ("header", lambda r: r["header"].__setitem__("height", "9999999"), Code.RPC_REFUSED),
    ("header", lambda r: r.clear(), Code.HEADER_MALFORMED),
    ("status", lambda r: r["node_info"].__setitem__("network", "other"), Code.HEADER_CHAIN_MISMATCH),
    ("status", lambda r: r["sync_info"].__setitem__("latest_block_height", "1"), Code.STALE),
    ("status", lambda r: r["sync_info"].__setitem__("latest_block_height", "9999999"), Code.RPC_REFUSED),
    ("status", lambda r: r.clear(), Code.RPC_ANSWER_INVALID),
]


def _read_until_refused(reader: VerifiedReader) -> None:
    """A lie about headers shows at the next block: the heartbeat makes one a second."""
    deadline = time.monotonic() + nodes.WAIT_S
    while time.monotonic() < deadline:
        reader.at().get(CLUSTER)
        time.sleep(0.05)


@pytest.mark.requires("reader.real-chain")
@pytest.mark.parametrize(("method", "lie", "code"), _LIES, ids=lambda v: v if isinstance(v, str) else None)
def test_a_lying_rpc_is_refused(
    rpc: Altering, reader: VerifiedReader, method: str, lie: Callable[[Any], None], code: Code
) -> None:
    first = reader.at()
    rpc.lie = (method, lie)
    with pytest.raises((VerificationFailed, EnvironmentFault)) as refused:
        _read_until_refused(reader)
    assert refused.value.code is code
    rpc.lie = None
    assert reader.at().height >= first.height
