"""Chapter eight: everything that must be refused, each with its own code.

Owns the forged envelopes and the tour of the lying node. Each refusal is seen on the running ledger.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from conclave import processes
from conclave.client import Client, open_key
from conclave.demo.lying_node import LIES, LyingNode
from conclave.demo.narrator import DemoFailed
from conclave.demo.stage import CLUSTER, EXAMPLES, WAIT_S, Stage
from consensus import release_reader
from consensus.speaking import NOT_AFTER_BLOCKS
from consensus.submit import submit
from ledger import account, statekeys
from ledger import envelope as envelopes
from ledger.bodies import judgement_body, rollback_body
from ledger.envelope import Envelope
from ledger.errors import Code, ConclaveError
from ledger.types import ActionKind, Did

EXPECTED: dict[str, Code] = {
    "header altered": Code.COMMIT_MISMATCH,
    "app hash altered": Code.COMMIT_MISMATCH,
    "validator set altered": Code.VALIDATORS_HASH_MISMATCH,
    "proof altered": Code.PROOF_INVALID,
    "value altered": Code.PROOF_INVALID,
    "value withheld": Code.PROOF_INVALID,
    "signatures dropped": Code.COMMIT_UNDER_TWO_THIRDS,
}
_JUDGEMENTS = frozenset(code for code in Code if 500 <= code < 600) - {Code.STALE}


@dataclass(frozen=True, slots=True)
class _Forger:
    """Seals envelopes as anyone could who speaks the protocol."""

    client: Client

    def nonce(self, name: str) -> int:
        """Give the highest nonce ``name`` has used."""
        did = self.client.home.subject(name).did
        key = statekeys.account(did)
        return self.client.view().read(lambda get: account.read(get(key))).value.highest

    def seal(self, name: str, body: bytes, *, nonce: int, chain_id: str = "", not_after: int = 0) -> bytes:
        """Seal ``body`` as ``name``, with anything else chosen freely."""
        subject = self.client.home.subject(name)
        return envelopes.seal(
            body,
            chain_id=chain_id or self.client.home.chain_id,
            signer=Did(subject.did),
            nonce=nonce,
            not_after_height=not_after or self.client.view().height + NOT_AFTER_BLOCKS,
            key=open_key(self.client.home, subject),
        )

    def refused(self, tx: bytes) -> Code:
        """Send ``tx`` and give the code of its refusal; OK if it was taken."""
        try:
            submit(self.client.rpc, self.client.reader, tx)
        except ConclaveError as error:
            return error.code
        return Code.OK


def refusals(stage: Stage) -> None:
    """Forged envelopes, an agent's approval, and a node that lies."""
    number = _open_proposal(stage)
    with stage.client() as client:
        _forged(stage, client, number)
    answer = stage.conclave("approve", str(number), "--as", "scout", status=1)
    stage.narrator.check(
        answer["error"]["code"] == Code.AGENT_MAY_NOT_APPROVE, "the agent approving: AGENT_MAY_NOT_APPROVE"
    )
    answer = stage.conclave("verify", "proposal", str(number), status=1)
    stage.narrator.check(
        answer["error"]["code"] == Code.PROPOSAL_UNDER_APPROVED,
        "relying on an under-approved proposal: PROPOSAL_UNDER_APPROVED",
    )
    _lying_node(stage, number)


def _open_proposal(stage: Stage) -> int:
    answer = stage.conclave("propose", *stage.source("guestbook"), "--as", "scout", status=1)
    stage.narrator.check(
        answer["error"]["code"] == Code.PERMISSION_DENIED,
        "the agent proposing a Namespace, which its role does not name: PERMISSION_DENIED",
    )
    narrower = [str(EXAMPLES / "guestbook"), "--name", "scouting", "--no-create-namespace"]
    answer = stage.conclave("propose", *narrower, "--namespace", stage.namespace, "--as", "scout", status=1)
    stage.narrator.check(
        answer["error"]["code"] == Code.OBJECT_CLAIMED,
        "the agent proposing what another release has already: OBJECT_CLAIMED",
    )
    elsewhere = ("--namespace", f"{stage.namespace}-scouting")
    answer = stage.conclave("propose", *narrower, *elsewhere, "--as", "scout")
    stage.narrator.check(answer["state"] == "open", "within its role the agent scout may propose")
    answer = stage.conclave("propose", *stage.source("guestbook"), "--as", "alice")
    return int(answer["number"])


def _forged(stage: Stage, client: Client, number: int) -> None:
    forger = _Forger(client)
    record = release_reader.proposal(client.view(), number).value
    approval = judgement_body(ActionKind.APPROVAL, record.id, record.digest, record.requirement)
    changed = judgement_body(ActionKind.APPROVAL, record.id, "0" * 64, record.requirement)
    fresh = forger.nonce("bob") + 1
    signed = envelopes.decode(forger.seal("bob", approval, nonce=fresh))
    cases: tuple[tuple[str, Code, Callable[[], bytes]], ...] = (
        ("a signature with one bit changed", Code.SIGNATURE_INVALID, lambda: _flipped(signed)),
        (
            "a body changed after signing",
            Code.SIGNATURE_INVALID,
            lambda: envelopes.encode(dataclasses.replace(signed, body=rollback_body("guestbook", 1))),
        ),
        (
            "a nonce used before",
            Code.NONCE_REPLAYED,
            lambda: forger.seal("bob", approval, nonce=forger.nonce("bob")),
        ),
        (
            "a last height that has passed",
            Code.ENVELOPE_EXPIRED,
            lambda: forger.seal("bob", approval, nonce=fresh, not_after=1),
        ),
        (
            "an envelope for another chain",
            Code.CHAIN_ID_MISMATCH,
            lambda: forger.seal("bob", approval, nonce=fresh, chain_id="another-chain"),
        ),
        (
            "an approval of a changed body",
            Code.APPROVAL_DIGEST_MISMATCH,
            lambda: forger.seal("bob", changed, nonce=fresh),
        ),
    )
    for what, expected, make in cases:
        code = forger.refused(make())
        stage.narrator.check(code is expected, f"{what}: {code.name}")


def _flipped(signed: Envelope) -> bytes:
    first = signed.signatures[0]
    value = bytes([first.value[0] ^ 1]) + first.value[1:]
    return envelopes.encode(
        dataclasses.replace(signed, signatures=(dataclasses.replace(first, value=value),))
    )


def _lying_node(stage: Stage, number: int) -> None:
    """Approve for good, but let the bridge see the ledger through a liar, one lie at a time."""
    stage.narrator.say("the bridge is stopped; the next revision is made final meanwhile")
    processes.stop(stage.home / "run", f"bridge-{CLUSTER}")
    stage.conclave("approve", str(number), "--as", "bob")
    answer = stage.conclave("approve", str(number), "--as", "carol")
    stage.narrator.check(answer["revision"] == 3, "revision 3 is final; the cluster still runs revision 2")
    before = stage.look("Deployment", "frontend") or {}
    upstream = _endpoint(stage)
    for name, lie in LIES.items():
        with LyingNode(upstream, lie) as liar:
            code = _through(stage, liar.url)
        stage.narrator.check(code == EXPECTED[name].name, f"a node with its {name}: the bridge says {code}")
    now = stage.look("Deployment", "frontend") or {}
    stage.narrator.check(
        now["spec"] == before["spec"],
        "nothing was applied: the cluster still runs revision 2",
    )
    stage.narrator.say("the bridge is started again on honest nodes")
    stage.quietly("up", *stage.cluster_options())
    stage.wait_applied(3)
    stage.narrator.check(True, "and applies revision 3")


def _endpoint(stage: Stage) -> str:
    with stage.client() as client:
        return client.home.endpoints[0]


def _through(stage: Stage, endpoint: str) -> str:
    """Run the bridge on ``endpoint`` until it has judged it; give the code it says."""
    began_ns = time.time_ns()
    command = [sys.executable, "-m", "conclave", "--home", str(stage.home), "bridge", CLUSTER]
    kubeconfig = stage.kubeconfig or stage.home / "clusters" / CLUSTER / "kubeconfig"
    child = subprocess.Popen(
        [*command, "--kubeconfig", str(kubeconfig), "--endpoint", endpoint],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while time.time_ns() - began_ns < WAIT_S * 1e9:
            status = stage.bridge_status()
            if status.get("writtenNs", 0) > began_ns:
                told = [status["verdict"], *status["refused"].values()]
                # What a slow machine makes of a node, unreachable or behind, is no judgement of what it said.
                names = [entry["name"] for entry in told if entry["code"] in _JUDGEMENTS]
                if names:
                    return str(names[0])
            time.sleep(0.05)
    finally:
        child.terminate()
        child.wait(timeout=30)
    raise DemoFailed("a lying node", "the bridge said nothing against it")
