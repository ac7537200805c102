"""A second reading of the chain, from the envelopes alone: what may be final, which nonces are used.

Owns an independent model in plain sets and counters. It shares no rule, no record and no decoder of bodies
with the machine: ids, digests, signatures, quorums and nonce windows are worked out here anew.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import VerifyKey

from ledger.errors import Code
from ledger.pb.envelope_pb2 import Envelope
from tests.simulation.world import MEMBERS, World

WINDOW = 64
ROLLBACKS_MAX = 3
ROLLBACK_WINDOW_SECONDS = 3600
RATE_WINDOW = 100
ADMITTED = {
    Code.OK,
    Code.REPORTER_NOT_OF_CLUSTER,
    Code.PROPOSAL_UNKNOWN,
    Code.PROPOSAL_NOT_OPEN,
    Code.PROPOSAL_EXPIRED,
    Code.APPROVAL_DIGEST_MISMATCH,
    Code.APPROVAL_DUPLICATE,
    Code.RELEASE_UNKNOWN,
    Code.RELEASE_CLUSTERS_CHANGED,
    Code.REVISION_UNKNOWN,
    Code.CLUSTER_UNKNOWN,
    Code.REPORT_SEQUENCE_STALE,
    Code.REQUIREMENT_CHANGED,
    Code.PERMISSION_DENIED,
    Code.OPEN_PROPOSALS_EXCEEDED,
    Code.RELEASE_NOT_ACTIVE,
}
"""Codes of transactions whose signer could speak: these use a nonce, all others leave no trace."""
_BY_DID = {str(member.did): member for member in MEMBERS}


@dataclass(slots=True)
class Case:
    """A proposal as recounted."""

    digest: str
    proposer: str
    release: str
    expires: int
    state: str = "open"
    approvers: set[str] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Account:
    """What a subject has used: nonces, envelopes in a window of heights, places for open proposals."""

    used: set[int] = field(default_factory=set)
    window: int = 0
    count: int = 0
    open: list[int] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Give the record the specification wants (docs/spec/spam.md §1)."""
        highest = max(self.used, default=0)
        seen = sum(1 << age for age in range(WINDOW) if highest - age in self.used)
        return {
            "count": self.count,
            "highest": highest,
            "open": sorted(self.open),
            "seen": f"{seen:016x}",
            "window": self.window,
        }


class Recount:
    """Follows a chain, block by block, and asserts what must hold of every answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.cases: dict[str, Case] = {}
        self.revisions: dict[str, int] = defaultdict(int)
        self.sequences: dict[str, int] = {}
        self.accounts: dict[str, Account] = defaultdict(Account)
        self.finals = 0
        self.rollbacks: dict[str, list[int]] = defaultdict(list)

    def transaction(self, tx: bytes, code: int, receipt: bytes, height: int) -> None:
        """Take one transaction and what the replicas answered."""
        if code not in ADMITTED:
            assert not receipt, "a refused transaction with a receipt"
            return
        envelope = Envelope.FromString(tx)
        account = self.accounts[envelope.signer]
        used = account.used
        assert envelope.nonce not in used, f"nonce {envelope.nonce} of {envelope.signer} used twice"
        assert envelope.nonce > max(used, default=0) - WINDOW, "a nonce below the window"
        assert height <= envelope.not_after_height, "an expired envelope was included"
        used.add(envelope.nonce)
        fresh = height // RATE_WINDOW != account.window
        account.window, account.count = height // RATE_WINDOW, 1 if fresh else account.count + 1
        if code == Code.OK:
            self._accepted(envelope, json.loads(receipt), height)

    def events(self, events: Iterable[Any], time: int) -> None:
        """Take what the machine did of its own accord: it may go back to what people approved, and seldom."""
        for event in events:
            said = {attribute.key: attribute.value for attribute in event.attributes}
            if event.type == "conclave.release" and "cause" in said:
                name, source = said["name"], int(said["rollbackOf"])
                assert 1 <= source <= self.revisions[name], "a rollback to what never was"
                self.revisions[name] += 1
                assert int(said["revision"]) == self.revisions[name], "a revision that is not the next one"
                window = [t for t in self.rollbacks[name] if time - t < ROLLBACK_WINDOW_SECONDS]
                assert len(window) < ROLLBACKS_MAX, "more automatic rollbacks than the window allows"
                self.rollbacks[name].append(time)

    def _accepted(self, envelope: Envelope, receipt: dict[str, Any], height: int) -> None:
        signer = _BY_DID[envelope.signer]
        signed = sign_bytes(envelope)
        VerifyKey(signer.public_key).verify(signed, envelope.signatures[0].value)
        identifier = hashlib.sha256(signed).hexdigest()
        assert (receipt["envelope"], receipt["height"]) == (identifier, height)
        body = json.loads(envelope.body)
        match body["kind"]:
            case "Proposal":
                assert signer.kind in ("human", "agent"), f"{signer.kind} {signer.name} proposed"
                case = self._case(body["change"], envelope, height)
                self.cases[identifier] = case
                account = self.accounts[signer.did]
                account.open = [*(last for last in account.open if last >= height), case.expires]
                assert receipt["number"] == len(self.cases)
                assert receipt["state"] == "open"
            case "Report":
                self._report(signer.cluster, body)
            case kind:
                assert signer.kind == "human", f"{signer.kind} {signer.name} judged"
                self._judgement(kind, signer.did, body, receipt, height)

    def _case(self, change: dict[str, Any], envelope: Envelope, height: int) -> Case:
        name = change["release"]["metadata"]["name"] if "release" in change else change["rollback"]["release"]
        digest = hashlib.sha256(envelope.body).hexdigest()
        return Case(digest, envelope.signer, name, height + self._world.ttl)

    def _judgement(
        self, kind: str, did: str, body: dict[str, Any], receipt: dict[str, Any], height: int
    ) -> None:
        case = self.cases[body["proposal"]]
        assert case.state == "open", "a closed proposal was judged"
        assert height <= case.expires, "an expired proposal was judged"
        assert body["digest"] == case.digest, "a judgement of another body counted"
        assert did not in case.judged, "a subject judged twice"
        case.judged.add(did)
        assert body["requirement"] == self._world.requirement, "a judgement of another requirement counted"
        if kind == "Approval":
            case.approvers.add(did)
        else:
            case.approvers.discard(did)
        if kind == "Rejection":
            case.state = "rejected"
        elif self._quorum(case):
            case.state = "final"
            self.revisions[case.release] += 1
            self.finals += 1
        if case.state != "open" and case.expires in self.accounts[case.proposer].open:
            self.accounts[case.proposer].open.remove(case.expires)
        assert receipt["state"] == case.state, f"{receipt['state']}; recounted {case.state}"
        wanted = self.revisions[case.release] if case.state == "final" else None
        assert receipt["revision"] == wanted, "a revision that is not the next one"

    def _quorum(self, case: Case) -> bool:
        organisations = {_BY_DID[did].organisation for did in case.approvers}
        enough = len(case.approvers) >= self._world.humans
        return enough and len(organisations) >= self._world.organisations

    def _report(self, cluster: str | None, body: dict[str, Any]) -> None:
        assert cluster == body["cluster"], "a report of another's cluster"
        assert body["sequence"] > self.sequences.get(cluster or "", 0), "a report went backwards"
        assert 1 <= body["revision"] <= self.revisions[body["release"]], "a report of a revision that is not"
        self.sequences[body["cluster"]] = body["sequence"]


def sign_bytes(envelope: Envelope) -> bytes:
    """Spell what is signed (docs/spec/ledger.md §1.2)."""
    parts = (
        b"conclave/envelope/v1",
        envelope.chain_id.encode(),
        envelope.signer.encode(),
        struct.pack(">Q", envelope.nonce),
        struct.pack(">Q", envelope.not_after_height),
        hashlib.sha256(envelope.body).digest(),
    )
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)
