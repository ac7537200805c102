"""One ledger twice: the machine and the reference, told the same, compared after every block.

Owns ``SideBySide`` and the small ledger both begin with. Promises that every difference in a result or in a
record is a ``Different`` with all steps up to it.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Sequence

from abci_app.check import Constants
from abci_app.genesis import genesis_state
from ledger import actions, bodies, envelope
from ledger.errors import Code
from ledger.records import Parameters
from ledger.standard import ledger_object
from ledger.types import ActionKind, JsonObject
from tests.property.abci_app.comparison import Different, compare
from tests.property.abci_app.reference import Case, Outcome, Person, Reference, Rule
from tests.property.abci_app.reference_releases import Releases
from tests.property.abci_app.reference_rollouts import Said
from tests.support import subjects
from tests.support.agents import policy_object
from tests.support.memory_state import MemoryState
from tests.support.subjects import AGENT, ALICE, BOB, CAROL, NODE, ORGANISATION, OTHER_NODE, Subject

TTL = 8
ROLLBACKS_MAX, WINDOW_SECONDS = 1, 60
ALL = ("apply", "configure", "delete", "rollback", "withdraw")
RULES = {
    "default": Rule(ALL, "*", "*", humans=2, organisations=2, delay=0, ttl=10, deny=2),
    "slow": Rule(("apply", "rollback"), "*", "west", humans=1, organisations=1, delay=10, ttl=9, deny=3),
    "strict": Rule(("apply", "rollback"), "apis", "*", humans=1, organisations=1, delay=0, ttl=5, deny=1),
}
NAMESPACES = {"web": "demo", "api": "apis"}
NODES = {"east": NODE, "north": Subject("bridge-north", kind="node", cluster="north"), "west": OTHER_NODE}
HUMANS = (ALICE, BOB, CAROL, Subject("dave", organisation="b"))
PEOPLE = (*HUMANS, *HUMANS, AGENT, NODE, ORGANISATION)


@functools.cache
def _genesis() -> dict[bytes, bytes]:
    document = subjects.genesis_document()
    members = (*HUMANS, AGENT, *NODES.values(), ORGANISATION)
    document["identities"] = [who.record() for who in members]
    others = [o for o in subjects.constitution(members) if o["kind"] != "ApprovalRule"]
    others.append(policy_object(AGENT.name, AGENT.did, NODE.did))
    document["objects"] = [*others, *(rule_object(name, rule) for name, rule in RULES.items())]
    document["clusters"] = [{"name": name} for name in sorted(NODES)]
    return genesis_state(subjects.genesis_bytes(document), subjects.CHAIN_ID)


def rule_object(name: str, rule: Rule) -> JsonObject:
    """Give a rule as the ledger's object."""
    match = {
        "operations": list(rule.operations),
        "kinds": ["*"],
        "namespaces": [rule.namespace],
        "clusters": [rule.cluster],
        "risks": ["constitution", "high", "low"],
    }
    require = {
        "humans": rule.humans,
        "organisations": rule.organisations,
        "quorum": [],
        "delaySeconds": rule.delay,
        "ttlBlocks": rule.ttl,
        "denyThreshold": rule.deny,
    }
    return ledger_object("ApprovalRule", name, {"match": match, "require": require})


def release_object(case: Case, text: str) -> JsonObject:
    """Give the release that a case asks for."""
    name, plan = str(case.release), case.plan
    manifest = subjects.configmap(case.item, text)
    manifest["metadata"]["namespace"] = NAMESPACES[name]
    wanted = subjects.release(name, clusters=case.clusters, manifests=[manifest])
    rollout: JsonObject = {"progressDeadlineSeconds": plan.deadline, "failureThreshold": plan.threshold}
    if plan.waves:
        rollout["waves"] = [{"clusters": sorted(wave)} for wave in plan.waves]
    if plan.at_once is not None:
        rollout["maxUnavailable"] = plan.at_once
    health = {"healthyPercent": plan.percent, "settleSeconds": plan.settle}
    wanted["spec"] |= {"namespace": NAMESPACES[name], "rollout": rollout, "health": health}
    return wanted


def person(who: Subject) -> Person:
    """Give the reference's idea of a subject."""
    return Person(who.name, who.kind, who.organisation)


class SideBySide:
    """A ledger and its reference; every method does the same to both and compares them."""

    def __init__(self) -> None:
        self.state = MemoryState(_genesis())
        parameters = Parameters(
            image_digest_required=True,
            proposal_ttl_blocks=TTL,
            rollbacks_per_window_max=ROLLBACKS_MAX,
            rollback_window_seconds=WINDOW_SECONDS,
        )
        self.state.constants = Constants(subjects.CHAIN_ID, parameters)
        members = {person(who) for who in (*PEOPLE, *NODES.values())}
        releases = Releases(set(NODES), ROLLBACKS_MAX, WINDOW_SECONDS)
        self.reference = Reference(RULES, TTL, NAMESPACES, members, releases)
        self.proposals: list[str] = []
        self.digests: list[str] = []
        self.nonces = itertools.count(1)
        self.sequences = dict.fromkeys(NODES, 0)
        self.steps: list[str] = []

    # -- one block ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Let the reference begin the next block."""
        self.reference.block(self.state.height + 1, self.state.time)

    def say(self, who: Subject, body: bytes, wanted: Outcome) -> bytes:
        """Put one transaction into the block begun; it must end as the reference says."""
        step = {key: value for key, value in json.loads(body).items() if key not in ("apiVersion", "objects")}
        told = json.dumps(step.get("change", step))[:300]
        self.steps.append(f"{self.state.height + 1}@{self.state.time} {who.name}: {told} {wanted}")
        tx = subjects.seal(who, body, next(self.nonces))
        (result,) = self.state.apply([tx])
        met = Outcome(result.code)
        if result.code is Code.OK:
            receipt = json.loads(result.data)
            met = Outcome(Code.OK, receipt["state"], receipt["revision"])
        if met != wanted:
            raise Different(self.told(f"machine {met}: {result.refusal}"))
        self.compare()
        return tx

    def idle(self) -> None:
        """Let a block without transactions pass."""
        self.begin()
        self.steps.append(f"{self.state.height + 1}@{self.state.time}")
        self.state.apply([])
        self.compare()

    def told(self, *more: object) -> str:
        """Give all steps."""
        return "\n".join(("", *self.steps, *map(str, more)))

    # -- what people do -------------------------------------------------------------------------------

    def propose(self, who: Subject, make: Callable[[Person], Case]) -> bool:
        """Propose what ``make`` gives once the block has begun; tell whether it was accepted."""
        self.begin()
        case = make(person(who))
        if case.operation == "apply":
            body = bodies.release_body(release_object(case, str(next(self.nonces))))
        elif case.to_revision is not None:
            body = bodies.rollback_body(str(case.release), case.to_revision)
        elif case.rule is not None:
            body = bodies.configure_body([rule_object(*case.rule)])
        elif case.frees is not None:
            body = bodies.configure_body([], [("Suspension", case.frees.name)])
        else:
            body = bodies.configure_body([], [("Freeze", str(case.lifts))])
        wanted = self.reference.propose(case)
        tx = self.say(who, body, wanted)
        if wanted.code is Code.OK:
            self.proposals.append(subjects.identifier(tx))
            self.digests.append(envelope.decode(tx).digest)
            self.compare()
        return wanted.code is Code.OK

    def judge(self, who: Subject, number: int, *, approves: bool = True, wrong: str = "") -> Outcome:
        """Approve or reject a proposal, or with something ``wrong``: its digest, its requirement."""
        self.begin()
        case = self.reference.cases[number]
        required = "cd" * 32 if wrong == "requirement" else self.reference.need(case).digest
        digest = "ab" * 32 if wrong == "digest" else self.digests[number]
        kind = ActionKind.APPROVAL if approves else ActionKind.REJECTION
        body = bodies.judgement_body(kind, self.proposals[number], digest, required)
        wanted = self.reference.judge(
            person(who), number, approves=approves, exact=wrong != "digest", digest=required
        )
        self.say(who, body, wanted)
        return wanted

    def pass_(self, make: Callable[[Person], Case], order: Sequence[Subject] = (BOB, CAROL, ALICE)) -> None:
        """Propose and let human after human approve."""
        if self.propose(order[-1], make):
            self.judge_all(len(self.proposals) - 1, order)

    def judge_all(self, number: int, order: Sequence[Subject], *, approves: bool = True) -> None:
        """Let human after human judge while the proposal is in the state it is in."""
        case = self.reference.cases[number]
        before = case.state
        for who in order:
            if case.state == before:
                self.judge(who, number, approves=approves)

    def report(self, cluster: str, name: str, said: Said, *, revision: int = 0, node: str = "") -> None:
        """Report of what the cluster shall have, or of another ``revision``, by its or another node."""
        self.begin()
        number = revision or self.reference.releases.desired.get((cluster, name), 1)
        self.sequences[cluster] += 1
        about = (cluster, name, number, self.sequences[cluster])
        items = [
            {
                "object": f"v1/ConfigMap/{NAMESPACES[name]}/s{i}",
                "outcome": "unchanged",
                "health": "current" if i < said.current else "in_progress",
                "code": 0,
            }
            for i in range(said.total)
        ]
        body = bodies.report_body(actions.Report(*about, said.outcome, said.health, tuple(items)))
        self.say(NODES[node or cluster], body, self.reference.hear(node or cluster, about, said))

    def everywhere(self, name: str, said: Said, most: int = len(NODES)) -> None:
        """Let every node that has the release report the same, or the first of them."""
        for cluster in [c for c in sorted(NODES) if (c, name) in self.reference.releases.desired][:most]:
            self.report(cluster, name, said)

    def revoke(self, who: Subject, subject: Subject) -> None:
        """End somebody's key."""
        self.begin()
        wanted = self.reference.revoke(person(who), person(subject))
        self.say(who, bodies.revocation_body(subject.did), wanted)

    def suspend(self, who: Subject) -> None:
        """Cut the agent off, by a human or by the node that watches over it."""
        self.begin()
        wanted = self.reference.suspend(person(who), person(AGENT))
        self.say(who, bodies.suspension_body(AGENT.did, code=905, evidence="ab" * 32), wanted)

    def compare(self) -> None:
        """Everything the reference knows is what the machine wrote."""
        try:
            compare(self.state.content, self.reference, self.proposals)
        except Different as difference:
            raise Different(self.told(difference)) from None
