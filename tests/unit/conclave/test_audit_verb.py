"""``conclave audit``: heads anchored on a ledger by a node, proven from a file, against the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consensus.light.render import validators_json
from consensus.light.timestamp import format_time
from consensus.light.types import SECOND_NS
from consensus.reader import VerifiedReader
from consensus.trust_store import MemoryStore, TrustRoot
from identity.signer import Signer, open_signer
from ledger.errors import Code, Refused, VerificationFailed
from mcp_server.audit.anchoring import Anchoring, Pace
from mcp_server.audit.around import Auditing, audited, own_signer
from mcp_server.audit.audited import Audited
from mcp_server.audit.files import segments
from mcp_server.audit.ledger_anchors import LedgerAnchors
from mcp_server.audit.opening import open_log
from mcp_server.audit.writer import AuditLog, Identity, Settings
from mcp_server.chain import Unguarded
from tests.support.auditing import Server, Ticking, a_log
from tests.support.chain import set_of
from tests.support.ledger import BOB, EAST
from tests.unit.conclave.desk import Desk

USAGE, VERIFICATION, ENVIRONMENT = 2, 3, 4


def server_of(desk: Desk) -> Server:
    """Give a server of the desk's home that signs as the node of east."""
    signer = open_signer(f"file:{desk.path}/keys/{EAST.name}.pem")
    identity = Identity(signer, EAST.did, desk.ledger.chain.chain_id, "1")
    time = Ticking()
    log = open_log(desk.path / "audit", identity, Settings(head_records=2), time.clock())
    return Server(desk.path / "audit", signer, time, log, Audited(Unguarded(), log, lambda: time.now_ns))


def anchors_of(desk: Desk, server: Server, node: str = EAST.did) -> LedgerAnchors:
    chain = desk.ledger.chain
    root = TrustRoot.at(chain.chain_id, 1, chain.trusted(1).hash)
    reader = VerifiedReader(desk.node, MemoryStore(root), clock=lambda: chain.now_ns)
    return LedgerAnchors(desk.node, reader, node, server.signer)


@pytest.fixture
def genesis(desk: Desk, tmp_path: Path) -> Path:
    """The genesis file of the desk's ledger."""
    chain = desk.ledger.chain
    members = validators_json(set_of(chain.members[1]))
    validators = [{**member, "power": member["voting_power"], "name": ""} for member in members]
    document = {"chain_id": chain.chain_id, "initial_height": "1", "validators": validators, "app_state": {}}
    file = tmp_path / "genesis.json"
    file.write_text(json.dumps(document))
    return file


def proof_of(desk: Desk, log: AuditLog, to: Path) -> Path:
    """Export the proof of the newest anchor of a log."""
    desk.ledger.commit()
    desk.run("export", "proof", f"key/audit-anchor/{EAST.did}/{log.id}", "-o", str(to))
    return to


@pytest.mark.requires("audit.anchored")
def test_a_node_anchors_its_heads_and_what_is_there_is_not_sent_again(desk: Desk) -> None:
    server = server_of(desk)
    anchors = anchors_of(desk, server)
    work = Anchoring(server.log, anchors, server.time.seconds, Pace(records=1))
    assert work.step()
    server.call()
    tip = server.log.signed
    assert work.step()
    height = desk.ledger.height
    assert server.log.anchored == tip.sequence
    assert anchors.anchor(server.log.id, tip.sequence, tip.hash) < height
    assert desk.ledger.height == height, "nothing was sent"
    with pytest.raises(VerificationFailed) as refused:
        anchors.anchor(server.log.id, tip.sequence, "ab" * 32)
    assert refused.value.code is Code.AUDIT_FORKED
    with pytest.raises(VerificationFailed) as refused:
        anchors.anchor(server.log.id, tip.sequence - 1, "ab" * 32)
    assert refused.value.code is Code.AUDIT_CUT
    with pytest.raises(Refused):
        anchors_of(desk, server, BOB.did).anchor(server.log.id, 1, "ab" * 32)


@pytest.mark.requires("audit.marks")
def test_a_proven_anchor_finds_a_log_that_was_cut_or_replaced_behind_it(
    desk: Desk, genesis: Path, tmp_path: Path
) -> None:
    server = server_of(desk)
    server.call()
    work = Anchoring(server.log, anchors_of(desk, server), server.time.seconds, Pace(records=1))
    assert work.step()
    server.log.close()
    proof = proof_of(desk, server.log, tmp_path / "anchor.proof.json")
    at = format_time(desk.ledger.chain.now_ns + SECOND_NS)
    given = ("audit", "verify", "--anchor-proof", str(proof), "--genesis", str(genesis), "--at", at)
    (said,) = desk.run(*given)["logs"]
    assert (said["verdict"], said["marksMet"], said["isClosed"]) == ("verified", 1, True)
    assert said["anchored"]["count"] == server.log.anchored
    assert "VERIFIED" in desk.show(*given)
    (path,) = segments(server.folder)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:3]))
    assert desk.run("audit", "verify")["verdict"] == "verified"
    cut = desk.run(*given, status=VERIFICATION)
    assert cut["verdict"] == "AUDIT_CUT"
    assert "the ledger since height" in cut["logs"][0]["error"]["expected"]
    path.unlink()
    other = a_log(tmp_path)
    gone = desk.run(*given, "--any-key", str(other), status=VERIFICATION)
    assert (gone["verdict"], gone["missing"]["name"]) == ("AUDIT_CUT", "AUDIT_CUT")


@pytest.mark.requires("audit.pinned")
def test_a_log_under_another_key_than_the_homes_own_does_not_verify(desk: Desk, tmp_path: Path) -> None:
    root = desk.path / "audit"

    def written(signer: Signer) -> None:
        with audited(Auditing(root, signer, signer.did, desk.ledger.chain.chain_id)):
            pass

    own, stranger = own_signer(root), own_signer(tmp_path / "elsewhere")
    written(own)
    assert desk.run("audit", "verify")["verdict"] == "verified"
    assert f"of {root}/node.pem" in desk.show("audit", "verify")
    (root / "log-1").rename(tmp_path / "kept")
    written(stranger)
    said = desk.run("audit", "verify", status=VERIFICATION)
    assert said["verdict"] == "AUDIT_SIGNATURE_INVALID"
    assert desk.run("audit", "verify", "--any-key")["verdict"] == "verified"
    assert desk.run("audit", "verify", "--key", stranger.did)["verdict"] == "verified"
    desk.run("audit", "verify", "--key", own.did, status=VERIFICATION)
    desk.run("audit", "verify", "--key", own.did, "--any-key", status=USAGE)
    # Nothing vouches for a log far from its key, but the key named or a head known of it.
    kept = str(tmp_path / "kept")
    assert desk.run("audit", "verify", kept, status=VERIFICATION)["verdict"] == "AUDIT_SIGNATURE_INVALID"
    (told,) = desk.run("audit", "verify", kept, "--key", own.key_id)["logs"]
    head = f"{told['log']}:{told['head']['count']}:{told['head']['hash']}"
    assert desk.run("audit", "verify", kept, "--head", head)["verdict"] == "verified"
    # A node of the home signs for it too.
    written(open_signer(f"file:{desk.path}/keys/{EAST.name}.pem"))
    assert desk.run("audit", "verify", str(root / "log-2"))["verdict"] == "verified"


@pytest.mark.requires("audit.marks")
def test_a_proof_is_believed_from_a_named_root_only_and_only_of_an_anchor(
    desk: Desk, genesis: Path, tmp_path: Path
) -> None:
    server = server_of(desk)
    assert Anchoring(server.log, anchors_of(desk, server), server.time.seconds).step()
    server.log.close()
    proof = proof_of(desk, server.log, tmp_path / "anchor.proof.json")
    at = ("--at", format_time(desk.ledger.chain.now_ns + SECOND_NS))
    desk.run("audit", "verify", "--anchor-proof", str(proof), status=USAGE)
    desk.run("audit", "verify", "--genesis", str(genesis), status=USAGE)
    root = ("--genesis", str(genesis), *at)
    altered = tmp_path / "altered.json"
    altered.write_bytes(proof.read_bytes().replace(b'"height"', b'"heighT"', 1))
    desk.run("audit", "verify", "--anchor-proof", str(altered), *root, status=VERIFICATION)
    other = tmp_path / "other.proof.json"
    desk.run("export", "proof", "Cluster/east", "-o", str(other))
    desk.run("audit", "verify", "--anchor-proof", str(other), *root, status=USAGE)
    absent = tmp_path / "absent.proof.json"
    desk.run("export", "proof", f"key/audit-anchor/{EAST.did}/{'ab' * 32}", "-o", str(absent))
    desk.run("audit", "verify", "--anchor-proof", str(absent), *root, status=USAGE)
    desk.run("audit", "verify", "--anchor-proof", str(tmp_path / "none"), *root, status=ENVIRONMENT)
