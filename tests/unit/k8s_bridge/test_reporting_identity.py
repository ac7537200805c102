"""A bridge reports as the node identity it was given, with whichever key that has now."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus import ledger_reader, release_reader
from consensus.trust_store import TrustRoot
from identity.signer import generate_key
from k8s_bridge.run import node_key
from k8s_bridge.settings import BridgeSettings
from ledger import standard
from ledger.bodies import key_change_body
from ledger.envelope import seal
from ledger.errors import Code, ConclaveError
from ledger.keys import Algorithm
from ledger.types import ActionKind
from tests.support.bridge import Bridge
from tests.support.chain import CHAIN_ID
from tests.support.fake_cluster import FakeCluster
from tests.support.key_rings import Ring, committed, composite, identity_spec, plain, presented
from tests.support.ledger import Ledger
from tests.support.manifests import namespace_object
from tests.support.refusal import refusal_of

RINGS = [(plain("one"), plain("two")), (plain("one"), composite("two")), (composite("one"), plain("two"))]
PASSPHRASE = "a passphrase"


def _bridge(folder: Path, first: Ring, following: Ring) -> tuple[Bridge, str]:
    cluster, ledger = FakeCluster(), Ledger()
    cluster.put(namespace_object("guestbook"))
    spec = identity_spec([first], [following], chain_id=CHAIN_ID) | {"kind": "node", "cluster": "east"}
    ledger.configure(standard.ledger_object("Identity", "east-node", spec))
    ledger.commit()
    return Bridge(ledger, cluster, folder), str(spec["did"])


def _rotate(ledger: Ledger, did: str, old: Ring, new: Ring) -> None:
    keys = [key.to_json() for key in presented(new)]
    body = key_change_body(ActionKind.ROTATION, keys, list(committed(plain("three"))))
    tx = seal(
        body, chain_id=CHAIN_ID, signer=did, nonce=1000, not_after_height=ledger.height + 9, key=(old, new)
    )
    assert [result.code for result in ledger.commit(tx)] == [0]
    ledger.commit()


@pytest.mark.requires("bridge.identity")
@pytest.mark.parametrize(("first", "following"), RINGS)
def test_reports_go_on_under_one_identity_when_its_key_is_rotated(
    tmp_path: Path, first: Ring, following: Ring
) -> None:
    bridge, did = _bridge(tmp_path, first, following)
    for text, key in (("one", first), ("two", following)):
        bridge.ledger.release(text)
        bridge.ledger.commit()
        bridge.turn()
        assert bridge.reporter(did, key).send(bridge.offered.findings[-1])
        view = bridge.reader("auditor.json").at()
        record = release_reader.report(view, "east", "guestbook").value
        assert record is not None
        assert (record.reporter, record.outcome) == (did, "applied")
        if key is first:
            _rotate(bridge.ledger, did, first, following)
            bridge.ledger.release("other")
            bridge.ledger.commit()
            bridge.turn()
            with pytest.raises(ConclaveError) as failure:
                bridge.reporter(did, first).send(bridge.offered.findings[-1])
            assert failure.value.code is Code.KEY_NOT_ACTIVE
    (node,) = (who for who in ledger_reader.identities(view).value if who.did == did)
    assert [key.state.value for key in node.keys] == ["retired", "active"]


def _settings(folder: Path, did: str | None, environ: dict[str, str] | None = None) -> BridgeSettings:
    root = TrustRoot.at(CHAIN_ID, 1, bytes(32))
    uri = f"file:{folder / 'node.pem'}"
    return BridgeSettings("east", (), folder, uri, root, environ=environ or {}, did=did)


@pytest.mark.requires("bridge.identity")
def test_a_did_key_is_the_keys_own_and_a_did_conclave_is_believed(tmp_path: Path) -> None:
    made = generate_key(tmp_path / "node.pem")
    for did, expected in ((None, made.did), (made.did, made.did), ("did:conclave:x:y", "did:conclave:x:y")):
        found, key = node_key(_settings(tmp_path, did))
        assert (found, key.key_id) == (expected, made.key_id)
    refusal_of(lambda: node_key(_settings(tmp_path, plain("other").did)), Code.KEY_NOT_OF_SIGNER)


@pytest.mark.requires("bridge.identity")
def test_an_encrypted_key_is_opened_with_the_passphrase_of_the_environment(tmp_path: Path) -> None:
    made = generate_key(tmp_path / "node.pem", PASSPHRASE.encode(), Algorithm.COMPOSITE)
    refusal_of(lambda: node_key(_settings(tmp_path, "did:conclave:x:y")), Code.KEY_FILE_INVALID)
    _, key = node_key(_settings(tmp_path, "did:conclave:x:y", {"CONCLAVE_PASSPHRASE": PASSPHRASE}))
    assert key.key_id == made.key_id
