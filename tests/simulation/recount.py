"""A second reading of the chain, from the envelopes alone: what may be final, who may speak, what is used up.

Owns an independent model in plain sets and counters. It shares no rule, no record and no decoder of bodies
with the machine: ids, digests, signatures, quorums, requirements, accounts and freezes are worked out anew.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import VerifyKey

from ledger.errors import Code
from ledger.pb.envelope_pb2 import Envelope
from tests.simulation.accounts import Account
from tests.simulation.authority import Authority, Person, Scope, configuring, digest_of
from tests.simulation.events import Segment
from tests.simulation.releases import Releases
from tests.simulation.world import MEMBERS, PUBLIC_KEYS, RINGS, ROSE, World

UNADMITTED = frozenset(range(100, 214)) | {210, 213, 216, 219, 300, 301}
"""Codes of envelopes whose signer could not speak; every other one uses up a nonce."""


@dataclass(slots=True)
class Voice:
    """A judgement: with which keys, of which requirement."""

    keys: tuple[str, ...]
    requirement: str


@dataclass(slots=True)
class Case:
    """A proposal as recounted."""

    digest: str
    proposer: str
    change: dict[str, Any]
    expires: int
    glass: str | None = None
    state: str = "open"
    approved: int | None = None
    approvals: dict[str, Voice] = field(default_factory=dict)
    rejections: dict[str, Voice] = field(default_factory=dict)

    @property
    def is_configure(self) -> bool:
        """Whether it changes the ledger's own objects."""
        return "configure" in self.change


class Recount:
    """Follows a chain, transaction by transaction, and asserts what must hold of every answer."""

    def __init__(self, world: World) -> None:
        self.authority = Authority()
        self.parameters = dict(world.parameters)
        self.releases = Releases()
        self.cases: dict[str, Case] = {}
        self.sequences: dict[str, int] = {}
        self.accounts: dict[str, Account] = defaultdict(Account)
        self.glasses: dict[tuple[str, int], int] = defaultdict(int)
        self.suspended: set[str] = set()
        self.anchors: dict[tuple[str, str], int] = {}
        self.upgrade: tuple[int, int] | None = None
        self.protocol = 1
        self.finals = 0
        self.height = 0
        self.time = 0
        self._begin(world)

    def _begin(self, world: World) -> None:
        people = self.authority.people
        for who in MEMBERS:
            people[who.did] = Person(
                who.did, who.name, who.kind, who.organisation, who.cluster, {who.key_id: "active"}
            )
        people[ROSE.did] = Person(
            ROSE.did, ROSE.name, ROSE.kind, ROSE.organisation, None, {RINGS[0].key_id: "active"}, {_next(1)}
        )
        for found in world.objects:
            if found["kind"] != "Identity":
                self.authority.put(found["kind"], found["metadata"]["name"], found["spec"])

    # -- what anybody may look up -------------------------------------------------------------------

    def scope(self, case: Case) -> Scope:
        """Give what a case touches now."""
        if case.is_configure:
            change = case.change["configure"]
            named = [(o["kind"], o["name"]) for o in change.get("remove", ())]
            return configuring(named + [(o["kind"], o["metadata"]["name"]) for o in change.get("put", ())])
        return self.releases.scope(case.change)

    def required(self, case: Case) -> dict[str, Any]:
        """Give what a case needs now."""
        ttl = self.parameters["proposalTtlBlocks"]
        if case.glass is not None:
            return self.authority.under_glass(case.glass, self.scope(case), ttl)
        found = self.authority.requirement(self.scope(case), ttl)
        assert found is not None, "a change that no rule judges"
        return found

    def open_cases(self) -> list[str]:
        """Give the ids of the cases that can be judged, oldest first."""
        newest = list(self.cases.items())[-60:]
        return [i for i, case in newest if case.state == "open" and case.expires >= self.height]

    # -- one transaction -----------------------------------------------------------------------------

    def transaction(self, tx: bytes, code: int, receipt: bytes) -> None:
        """Take one transaction and what the replicas answered."""
        assert code == Code.OK or not receipt, "a refused transaction with a receipt"
        if code in UNADMITTED and code != Code.SIGNER_UNKNOWN:
            return
        envelope = Envelope.FromString(tx)
        if code == Code.AGENT_SUSPENDED and envelope.signer in self.suspended:
            return
        if envelope.signer not in self.authority.people:
            assert code == Code.SIGNER_UNKNOWN, "a stranger was heard"
            return
        body = json.loads(envelope.body)
        account = self.accounts[envelope.signer]
        recovers = body["kind"] == "Recovery"
        if not (recovers and account.is_late(envelope.nonce)):
            account.use(envelope.nonce)
        assert self.height <= envelope.not_after_height, "an expired envelope was included"
        if not recovers:
            account.take(self.height)
        if code == Code.OK:
            self._accepted(envelope, body, json.loads(receipt))

    def _accepted(self, envelope: Envelope, body: dict[str, Any], receipt: dict[str, Any]) -> None:
        signer = self.authority.people[envelope.signer]
        assert signer.did not in self.suspended, "a suspended agent was heard"
        signed = sign_bytes(envelope)
        for signature in envelope.signatures:
            VerifyKey(PUBLIC_KEYS[signature.key_id]).verify(signed, signature.value)
            fresh = body["kind"] in ("Rotation", "Recovery") and signature.key_id not in signer.keys
            assert fresh or signer.keys[signature.key_id] == "active", "a key that is not active"
        identifier = hashlib.sha256(signed).hexdigest()
        assert (receipt["envelope"], receipt["height"]) == (identifier, self.height)
        match body["kind"]:
            case "Proposal":
                self._propose(identifier, signer, envelope, body)
                assert (receipt["number"], receipt["state"]) == (len(self.cases), "open")
            case "Report":
                self._report(signer, body)
            case "Approval" | "Rejection" as kind:
                keys = tuple(signature.key_id for signature in envelope.signatures)
                self._judge(kind, signer, keys, body, receipt)
            case "Freeze":
                self.releases.freeze(body["name"], body)
                self._assert_human(signer)
            case "Revocation":
                self._revoke(signer, body)
            case "Suspension" | "Anchor" | "Observation" as kind:
                self._of_agents(kind, signer, body)
            case "Rotation" | "Recovery" as kind:
                self._change_keys(kind, signer, envelope, body)
            case "Deactivation":
                self._end(signer)
            case kind:
                assert kind in ("Pause", "Resume"), kind
                self._assert_human(signer)

    def _assert_human(self, signer: Person) -> None:
        assert signer.kind == "human", f"{signer.kind} {signer.name} stopped something"

    def _propose(self, identifier: str, signer: Person, envelope: Envelope, body: dict[str, Any]) -> None:
        case = Case(
            hashlib.sha256(envelope.body).hexdigest(), signer.did, body["change"], 0, body.get("breakGlass")
        )
        scope, required = self.scope(case), self.required(case)
        if case.glass is None:
            assert self.authority.may(signer, "propose", scope, self.height), "proposed without the right to"
        else:
            members = self.authority.objects["BreakGlass", case.glass].spec["members"]
            assert signer.did in members, "a stranger broke the glass"
            assert not case.is_configure, "the constitution changed under break-glass"
        case.expires = self.height + required["ttlBlocks"]
        self.accounts[signer.did].open_case(case.expires, self.height, self.parameters["openProposalsMax"])
        self.cases[identifier] = case

    def _judge(
        self, kind: str, signer: Person, keys: tuple[str, ...], body: dict[str, Any], receipt: dict[str, Any]
    ) -> None:
        case, did = self.cases[body["proposal"]], signer.did
        vetoed = kind == "Rejection" and case.state == "approved"
        assert case.state == "open" or vetoed, "a closed proposal was judged"
        assert vetoed or self.height <= case.expires, "an expired proposal was judged"
        assert body["digest"] == case.digest, "a judgement of another body counted"
        assert kind == "Rejection" or case.proposer not in self.suspended, "a suspended agent's was approved"
        required, scope = self.required(case), self.scope(case)
        voice = Voice(keys, body["requirement"])
        assert voice.requirement == digest_of(required), "a judgement of another requirement counted"
        # Only a rejection may follow one's own approval.
        for before in (None if kind == "Rejection" else case.approvals.get(did), case.rejections.get(did)):
            assert before is None or before.requirement != voice.requirement, "a subject judged twice"
        own = kind == "Rejection" and did == case.proposer
        assert own or self._may_judge(case, signer, scope), f"{signer.name} judged without the right to"
        if kind == "Approval":
            case.approvals[did] = voice
            if self._enough(case, case.approvals, required, scope):
                self._approved(case, required, scope)
        else:
            case.approvals.pop(did, None)
            case.rejections[did] = voice
            denying = len(self._counted(case, case.rejections, required, scope))
            if own or denying >= required["denyThreshold"]:
                self._close(case, "rejected")
        assert receipt["state"] == case.state, f"{receipt['state']}; recounted {case.state}"
        wanted = self.releases.newest(case.change) if case.state == "final" else None
        assert receipt["revision"] == wanted, "a revision that is not the next one"

    def _approved(self, case: Case, required: dict[str, Any], scope: Scope) -> None:
        case.state, case.approved = "approved", self.time
        if required["delaySeconds"] == 0 and not self._is_frozen(case, scope):
            self._execute(case)

    def _is_frozen(self, case: Case, scope: Scope) -> bool:
        return not case.is_configure and self.releases.is_frozen(case.change, scope)

    def _may_judge(self, case: Case, who: Person, scope: Scope) -> bool:
        if case.glass is not None:
            return who.did in self.authority.objects["BreakGlass", case.glass].spec["members"]
        return self.authority.may(who, "approve", scope, self.height)

    def _counted(
        self, case: Case, voices: dict[str, Voice], required: dict[str, Any], scope: Scope
    ) -> list[Person]:
        wanted, people = digest_of(required), self.authority.people
        return [
            people[did]
            for did, voice in voices.items()
            if people[did].kind == "human"
            and people[did].is_active
            and voice.requirement == wanted
            and all(people[did].keys[key] != "revoked" for key in voice.keys)
            and self._may_judge(case, people[did], scope)
        ]

    def _enough(self, case: Case, voices: dict[str, Voice], required: dict[str, Any], scope: Scope) -> bool:
        found = self._counted(case, voices, required, scope)
        return self.authority.fulfils(required, found, scope, self.height)

    # -- what becomes final --------------------------------------------------------------------------

    def _execute(self, case: Case) -> None:
        self._close(case, "final")
        self.finals += 1
        if case.glass is not None:
            glass = self.authority.objects["BreakGlass", case.glass]
            spec, version = glass.spec, (case.glass, glass.version)
            self.glasses[version] += 1
            assert self.glasses[version] <= spec["usesMax"], "the glass was broken too often"
            assert self.time <= spec["notAfterTime"], "the glass was broken too late"
        if case.is_configure:
            self._configure(case.change["configure"])
        else:
            identifier = next(i for i, other in self.cases.items() if other is case)
            self.releases.execute(identifier, case.change)

    def _close(self, case: Case, state: str) -> None:
        case.state = state
        self.accounts[case.proposer].close_case(case.expires)

    def _configure(self, change: dict[str, Any]) -> None:
        for found in change.get("remove", ()):
            match found["kind"]:
                case "Freeze":
                    self.releases.unfreeze(found["name"])
                case "Identity":
                    self._end(self._named(found["name"]))
                case "Upgrade":
                    self.upgrade = None
                case "Suspension":
                    self.suspended.remove(self._named(found["name"]).did)
                case "Validator" | "Cluster":
                    pass
                case kind:
                    self.authority.remove(kind, found["name"])
        for found in change.get("put", ()):
            self._put(found["kind"], found["metadata"]["name"], found["spec"])
        assert self.authority.locked_out(self.height) is None, "a change that locks everybody out"

    def _put(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        match kind:
            case "Parameters":
                # A block is judged by the parameters before it.
                self.releases.coming_parameters = spec
            case "Identity":
                key = spec["did"].removeprefix("did:key:")
                known = self.authority.people.get(spec["did"])
                if known is None:
                    known = Person(spec["did"], name, spec["kind"], "", None, {key: "active"})
                    self.authority.people[known.did] = known
                known.organisation, known.cluster = spec["organisation"], spec["cluster"]
            case "Upgrade":
                assert spec["version"] == self.protocol + 1
                self.upgrade = (spec["height"], spec["version"])
            case "Validator" | "Cluster":
                pass
            case _:
                self.authority.put(kind, name, spec)

    # -- keys ----------------------------------------------------------------------------------------

    def _named(self, name: str) -> Person:
        return next(p for p in self.authority.people.values() if p.name == name)

    def _of_agents(self, kind: str, signer: Person, body: dict[str, Any]) -> None:
        if kind == "Suspension":
            self._suspend(signer, body)
        elif kind == "Anchor":
            assert signer.kind == "node", "somebody else anchored a log"
            before = self.anchors.get((signer.did, body["log"]), 0)
            assert body["count"] > before, "a log became shorter"
            self.anchors[signer.did, body["log"]] = body["count"]
        else:
            assert signer.kind == "agent", "somebody else observed"

    def _suspend(self, signer: Person, body: dict[str, Any]) -> None:
        agent = self.authority.people[body["agent"]]
        assert agent.kind == "agent", "somebody else was suspended"
        assert agent.did not in self.suspended, "suspended twice"
        if signer.kind == "node":
            guards = self.authority.objects["AgentPolicy", agent.name].spec["guards"]
            assert signer.did in guards, "a stranger's guard suspended"
            assert {"code", "evidence"} <= set(body), "a guard without evidence suspended"
        else:
            scope = configuring([("Suspension", agent.name)])
            assert self.authority.may(signer, "freeze", scope, self.height), "suspended without the right to"
        self.suspended.add(agent.did)

    def _revoke(self, signer: Person, body: dict[str, Any]) -> None:
        subject = self.authority.people[body["subject"]]
        if subject is not signer:
            scope = configuring([("Identity", subject.name)])
            assert self.authority.may(signer, "revoke", scope, self.height), "revoked without the right to"
        named = body["keyIds"] or [key for key, state in subject.keys.items() if state == "active"]
        for key in named:
            subject.keys[key] = "revoked"
        assert self.authority.locked_out(self.height) is None, "a revocation that locks everybody out"

    def _change_keys(self, kind: str, signer: Person, envelope: Envelope, body: dict[str, Any]) -> None:
        signing = {signature.key_id for signature in envelope.signatures}
        fresh = {key["keyId"] for key in body["keys"]}
        for key in fresh:
            assert hashlib.sha256(key.encode()).hexdigest() in signer.next, "a key nobody committed to"
        assert fresh <= signing, "a new key that did not sign"
        assert (signing - fresh != set()) == (kind == "Rotation"), "old keys sign rotations and nothing else"
        ending = "retired" if kind == "Rotation" else "revoked"
        for key, state in signer.keys.items():
            signer.keys[key] = ending if state == "active" else state
        signer.keys |= dict.fromkeys(fresh, "active")
        signer.next = set(body["next"])

    def _end(self, who: Person) -> None:
        who.keys = dict.fromkeys(who.keys, "revoked")
        who.next, who.ended = set(), True
        assert self.authority.locked_out(self.height) is None, "an end that locks everybody out"

    def _report(self, signer: Person, body: dict[str, Any]) -> None:
        assert signer.kind == "node", f"{signer.kind} {signer.name} reported"
        assert signer.cluster == body["cluster"], "a report of another's cluster"
        assert body["sequence"] > self.sequences.get(body["cluster"], 0), "a report went backwards"
        self.sequences[body["cluster"]] = body["sequence"]
        self.releases.report(body, self.time)

    # -- what is due by time -------------------------------------------------------------------------

    def begin_block(self, height: int, time: int) -> None:
        """A block begins."""
        self.height, self.time = height, time
        if self.upgrade is not None and height >= self.upgrade[0]:
            self.protocol, self.upgrade = self.upgrade[1], None

    def end_block(self) -> None:
        """A block is over: new parameters hold from the next one on."""
        if self.releases.coming_parameters is not None:
            self.parameters = {"openProposalsMax": 64, **self.releases.coming_parameters}
            self.releases.coming_parameters = None

    def due(self, segment: Segment) -> None:
        """Take what the machine did at the beginning of a block, by time: executions, deadlines."""
        made = None
        for said in segment.of("proposal"):
            case = self.cases[said["id"]]
            assert case.state == "approved", "executed without an approval"
            if said["state"] == "failed":
                self._close(case, "failed")
                continue
            assert case.proposer not in self.suspended, "what a suspended agent asked for was looked at"
            required, scope = self.required(case), self.scope(case)
            enough = self._enough(case, case.approvals, required, scope)
            over = self.time >= (case.approved or 0) + required["delaySeconds"]
            frozen = self._is_frozen(case, scope)
            match said["state"]:
                case "final":
                    assert enough, "executed without its quorum"
                    assert over, "executed before its delay was over"
                    assert not frozen, "executed in a frozen scope"
                    self._execute(case)
                    made = said.get("release")
                case "open" | "expired" if not enough:
                    # Opened again; who asks after its time is told that it expired.
                    assert (said["state"] == "expired") == (self.height > case.expires)
                    case.state, case.approved = "open", None
                case "expired":
                    assert frozen, "expired for no reason"
                    assert self.height > case.expires, "expired before its time"
                    self._close(case, "expired")
                case state:
                    assert state == "approved", state
                    assert enough
                    assert frozen or not over, "held for no reason"
        self.releases.watch(segment, self.time, self.parameters, made)


def _next(number: int) -> str:
    return hashlib.sha256(RINGS[number].key_id.encode()).hexdigest()


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
