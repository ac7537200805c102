"""Attacks signed with a real chain's keys: the reader halts, real nodes take the evidence into a block."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from consensus.incident import FILE_NAME, IncidentFile
from consensus.light.attack import (
    AttackEvidence,
    AttackKind,
    accuse,
    evidence_bytes,
    evidence_hash,
    evidence_json,
)
from consensus.light.encoding import header_hash
from consensus.light.types import LightBlock, SignedHeader
from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.supervise import stop_node
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.trust_store import TrustRoot, TrustStore
from consensus.witness import Panel
from ledger.errors import Code, EnvironmentFault, VerificationFailed
from state.merkle import merkle_root
from tests.integration.nodes import FAST, WAIT_S, Node, cometbft, free_base, until
from tests.support.attacks import INVENTED
from tests.support.chain import Signer, sign, signers
from tests.support.subjects import genesis_document

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SIZE = 4
CHAIN_ID = "evidence-test"
GROUND, LUNATIC, EQUIVOCATION, AMNESIA = 2, 6, 5, 4
HEIGHTS_WAITED = 20
ROUNDS_LOST = 3


@dataclasses.dataclass
class Net:
    """Four running validators, and their keys."""

    nodes: list[Node]
    signers: list[Signer]
    rpc: list[RpcClient]

    def forge(self, height: int, *, by: int = 3, later_rounds: int = 0, **fields: Any) -> LightBlock:
        """Give block ``height`` with other fields, signed by the first ``by`` validators."""
        block = self.rpc[0].light_block(height)
        header = dataclasses.replace(block.header, **fields)
        round_ = block.signed_header.commit.round + later_rounds
        commit = sign(CHAIN_ID, header, self.signers, absent=self.signers[by:], round_=round_)
        return dataclasses.replace(block, signed_header=SignedHeader(header, commit))

    def included(self, evidence: AttackEvidence, since: int) -> tuple[int, Any]:
        """Wait for the block of ``since`` or later with ``evidence``; give its height and header."""
        wanted = merkle_root([evidence_bytes(evidence)]).hex().upper()
        first = self.nodes[0].height()
        found: list[Any] = []

        def seen() -> bool:
            newest = self.nodes[0].height()
            for height in range(since, newest + 1):
                header = self.nodes[0].rpc(f"block?height={height}")["block"]["header"]
                if header["evidence_hash"] == wanted:
                    found.append((height, header))
            return bool(found) or newest > first + HEIGHTS_WAITED

        until("the evidence in a block", seen, self.nodes[0], 2 * WAIT_S)
        assert found, f"in no block from {since} on"
        height, header = found[0]
        return height, header


@contextlib.contextmanager
def running_net(root: Path, size: int) -> Iterator[Net]:
    """Run validators of the real application until the heights that are attacked are there."""
    localnet = Localnet(root, CHAIN_ID, size, free_base(2 * size), timing=FAST)
    nodes: list[Node] = []
    rpc: list[RpcClient] = []
    try:
        for planned in write_localnet(localnet, time.time_ns(), genesis_document()):
            nodes.append(Node(planned.spec, launch(Launch(planned.spec.home, cometbft(), "abci_app"))))
            rpc.append(RpcClient(planned.spec.rpc_url))
        until("blocks", lambda: all(node.height() > LUNATIC for node in nodes), nodes[0])
        yield Net(nodes, _signers(nodes, rpc[0]), rpc)
    finally:
        for client in rpc:
            client.close()
        for node in nodes:
            stop_node(node.spec.home)
            node.supervisor.wait(WAIT_S)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running_net(tmp_path_factory.mktemp("evidence"), SIZE) as found:
        yield found


def _signers(nodes: list[Node], rpc: RpcClient) -> list[Signer]:
    members = rpc.validators(GROUND)
    power = dict(zip(members.addresses, (v.power for v in members.validators), strict=True))
    found = []
    for node in nodes:
        document = json.loads(node.spec.paths.validator_key.read_text())
        seed = base64.b64decode(document["priv_key"]["value"])[:32]
        found.append(Signer(SigningKey(seed), power[bytes.fromhex(document["address"])]))
    return found


class Forging(RpcClient):
    """A client of a node that shows a forged block; its endpoint is another name of the machine."""

    def __init__(self, endpoint: str, forged: LightBlock) -> None:
        super().__init__(endpoint.replace("127.0.0.1", "localhost"))
        self.forged = forged

    def light_block(self, height: int) -> LightBlock:
        """Give a light block."""
        return self.forged if height == self.forged.height else super().light_block(height)


def _halted(net: Net, forged: LightBlock, folder: Path) -> tuple[str, dict[tuple[str, str], str], Any]:
    """Let a reader meet a forged block; give the liar's endpoint, who was told what, and the record."""
    with contextlib.closing(Forging(net.rpc[0].endpoint, forged)) as liar:
        store = TrustStore(folder / "trust.json")
        ground = net.rpc[1].light_block(GROUND)
        store.ensure(TrustRoot.at(CHAIN_ID, GROUND, header_hash(ground.header)))
        panel = Panel([liar, *net.rpc[1:3]], IncidentFile(folder / FILE_NAME))
        reader = VerifiedReader(panel, store, clock=time.time_ns)
        with pytest.raises(VerificationFailed) as refused:
            reader.header(forged.height)
    assert refused.value.code is Code.HEADERS_DIVERGED
    kept = IncidentFile(folder / FILE_NAME).read()
    return liar.endpoint, {(s["against"], s["to"]): s["answer"] for s in kept["sent"]}, kept


@pytest.mark.requires("attack.real-node", "attack.bytes", "witness.told")
def test_a_lunatic_header_halts_the_reader_and_real_nodes_keep_the_evidence(net: Net, tmp_path: Path) -> None:
    forged = net.forge(LUNATIC, app_hash=INVENTED)
    since = net.nodes[0].height()
    liar, told, kept = _halted(net, forged, tmp_path)
    evidence = accuse(forged, net.rpc[1].light_block(LUNATIC), net.rpc[1].light_block(GROUND))
    assert (evidence.kind, evidence.common_height, len(evidence.byzantine)) == (AttackKind.LUNATIC, GROUND, 3)
    assert kept["accused"][0]["evidence"] == evidence_json(evidence)
    one, other = net.rpc[1].endpoint, net.rpc[2].endpoint
    # Both sides are told; real nodes take what is true and refuse what names their own block.
    assert told == {
        (liar, one): "accepted",
        (liar, other): "accepted",
        (one, liar): "RPC_REFUSED",
        (one, other): "RPC_REFUSED",
    }
    height, header = net.included(evidence, since)
    assert net.rpc[0].broadcast_evidence(evidence_json(evidence)) == evidence_hash(evidence)
    until("all nodes past it", lambda: all(n.height() > height for n in net.nodes), net.nodes[0])
    hashes = {node.rpc(f"block?height={height}")["block_id"]["hash"] for node in net.nodes}
    assert len(hashes) == 1, "one chain, evidence and all"
    named = net.nodes[0].rpc(f"block?height={height}")["block"]["evidence"]["evidence"]
    assert header["height"] == str(height)
    assert {v["address"] for v in named[0]["value"]["ByzantineValidators"]} == {
        s.address.hex().upper() for s in net.signers[:3]
    }


@pytest.mark.requires("attack.real-node", "attack.names")
def test_an_equivocation_goes_into_a_block(net: Net) -> None:
    forged = net.forge(EQUIVOCATION, data_hash=INVENTED)
    evidence = accuse(forged, net.rpc[0].light_block(EQUIVOCATION), net.rpc[0].light_block(GROUND))
    assert (evidence.kind, evidence.common_height) == (AttackKind.EQUIVOCATION, EQUIVOCATION)
    assert evidence.byzantine
    since = net.nodes[0].height()
    assert net.rpc[0].broadcast_evidence(evidence_json(evidence)) == evidence_hash(evidence)
    net.included(evidence, since)


@pytest.mark.requires("witness.told")
def test_evidence_of_the_newest_height_is_taken_once_its_commit_is_kept(net: Net, tmp_path: Path) -> None:
    height = net.nodes[1].height()
    # It is forged from what another node has.
    until("the block there, too", lambda: net.nodes[0].height() >= height, net.nodes[0])
    forged = net.forge(height, data_hash=INVENTED)
    liar, told, _ = _halted(net, forged, tmp_path)
    assert {told[(liar, client.endpoint)] for client in net.rpc[1:3]} == {"accepted"}
    # The next test must not find this evidence beside its own: a block's hash is over all of its evidence.
    net.included(accuse(forged, net.rpc[1].light_block(height), net.rpc[1].light_block(GROUND)), height)


@pytest.mark.requires("attack.amnesia-withheld")
def test_evidence_of_amnesia_would_stop_a_real_chain(tmp_path: Path) -> None:
    """Why it is withheld: the node takes it and then no longer believes its own proposals."""
    with running_net(tmp_path, 1) as net:
        forged = net.forge(AMNESIA, later_rounds=1, data_hash=INVENTED)
        evidence = accuse(forged, net.rpc[0].light_block(AMNESIA), net.rpc[0].light_block(GROUND))
        assert evidence.byzantine == ()
        assert net.rpc[0].broadcast_evidence(evidence_json(evidence)) == evidence_hash(evidence)

        def lost_rounds() -> bool:
            state = net.nodes[0].rpc("consensus_state")["round_state"]["height/round/step"]
            return int(state.split("/")[1]) >= ROUNDS_LOST

        until("rounds lost", lost_rounds, net.nodes[0])


def _forgeries(net: Net) -> dict[str, AttackEvidence]:
    """Give evidence that is wrong in one way each."""
    height = LUNATIC - 1
    block = net.rpc[0].light_block(height)
    common = net.rpc[0].light_block(GROUND)
    forged = net.forge(height, app_hash=INVENTED)
    good = accuse(forged, block, common)
    strangers = signers("s1", "s2", "s3", "s4")
    commit = sign(CHAIN_ID, forged.header, net.signers, absent=net.signers[2:])
    few = dataclasses.replace(forged, signed_header=SignedHeader(forged.header, commit))
    stranger = sign(CHAIN_ID, forged.header, strangers, absent=strangers[3:])
    by_strangers = dataclasses.replace(forged, signed_header=SignedHeader(forged.header, stranger))
    return {
        "an honest block": accuse(block, forged, common),
        "one name less": dataclasses.replace(good, byzantine=good.byzantine[1:]),
        "an innocent named": dataclasses.replace(good, byzantine=common.validators.validators),
        "nobody named": dataclasses.replace(good, byzantine=()),
        "other power": dataclasses.replace(good, total_power=good.total_power + 1),
        "other time": dataclasses.replace(good, time_ns=good.time_ns + 1),
        "other common height": dataclasses.replace(good, common_height=GROUND + 1),
        "signed by half": dataclasses.replace(good, conflicting=few),
        "signed by strangers": dataclasses.replace(good, conflicting=by_strangers),
    }


@pytest.mark.requires("attack.real-node")
def test_forged_evidence_is_refused(net: Net) -> None:
    forgeries = _forgeries(net)
    answers = {}
    for name, evidence in forgeries.items():
        try:
            net.rpc[0].broadcast_evidence(evidence_json(evidence))
            answers[name] = "accepted"
        except EnvironmentFault as fault:
            answers[name] = fault.code.name
    assert answers == dict.fromkeys(forgeries, "RPC_REFUSED")
