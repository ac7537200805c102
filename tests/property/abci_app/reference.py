"""An independent reference of proposals: judgements, delay, veto, expiry, rollback, revocation; plain Python.

Owns ``Reference``: what docs/spec/ledger.md and docs/spec/authority.md §4, §5 say must come of an action, in
sets and lists. It shares no code with the machine but the numbers of the codes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from ledger.errors import Code
from tests.property.abci_app.reference_releases import Incident, Releases, Revision
from tests.property.abci_app.reference_rollouts import Plan, Said

RETRY_SECONDS = 60


@dataclass(frozen=True)
class Person:
    """Somebody who may act: ``kind`` is human, agent, node or organisation."""

    name: str
    kind: str
    organisation: str


@dataclass(frozen=True)
class Rule:
    """An approval rule: what it judges (``*`` is everything), and what it asks for."""

    operations: tuple[str, ...]
    namespace: str
    cluster: str
    humans: int
    organisations: int
    delay: int
    ttl: int
    deny: int
    version: int = 1


@dataclass(frozen=True)
class Need:
    """The strictest of the rules that apply."""

    humans: int
    organisations: int
    delay: int
    ttl: int
    deny: int
    digest: str


@dataclass
class Case:
    """A proposal. It is of content (one item) on clusters, of going back, of a rule, or of lifting a stop."""

    operation: str
    proposer: Person
    expires: int = 0
    release: str | None = None
    clusters: tuple[str, ...] = ()
    plan: Plan = field(default_factory=Plan)
    item: str = "settings"
    to_revision: int | None = None
    rule: tuple[str, Rule] | None = None
    lifts: str | None = None
    frees: Person | None = None
    state: str = "open"
    due: int = 0
    held: bool = False
    code: Code | None = None
    approvals: dict[Person, str] = field(default_factory=dict)
    rejections: dict[Person, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The code, and of an accepted action the proposal's state and the revision it made."""

    code: Code
    state: str | None = None
    revision: int | None = None


class Reference:
    """The ledger as its specification has it."""

    def __init__(
        self,
        rules: dict[str, Rule],
        ttl: int,
        namespaces: dict[str, str],
        members: set[Person],
        all_: Releases,
    ) -> None:
        self.rules, self._ttl, self._namespaces = dict(rules), ttl, namespaces
        self.members, self.releases, self.seen = members, all_, all_.seen
        self.cases: list[Case] = []
        self.revoked: set[Person] = set()
        self.suspended: set[Person] = set()
        self.height = self.time = 0

    def block(self, height: int, time: int) -> None:
        """Begin a block: what is due comes first, oldest first."""
        self.height, self.time = height, time
        due: list[tuple[int, int, int, str]] = [
            (case.due, int(case.held), number, "")
            for number, case in enumerate(self.cases)
            if case.state == "approved"
        ]
        due += [(at, 2, 0, name) for at, name in self.releases.due()]
        for at, kind, number, name in sorted(due):
            if at <= time and kind < 2:
                self._execute_due(number)
            elif at <= time:
                self.releases.look(name, time)

    def need(self, case: Case) -> Need:
        """Give what a case needs now."""
        namespace = "-"
        clusters: tuple[str, ...] = ("-",)
        if case.release is not None:
            namespace = self._namespaces[case.release]
            clusters = case.clusters or self.releases.clusters_of(case.release)
        found = {
            name: rule
            for name, rule in sorted(self.rules.items())
            if case.operation in rule.operations
            and rule.namespace in ("*", namespace)
            and (rule.cluster == "*" or rule.cluster in clusters)
        }
        most = found.values()
        humans, organisations = max(r.humans for r in most), max(r.organisations for r in most)
        delay, ttl, deny = max(r.delay for r in most), min(r.ttl for r in most), min(r.deny for r in most)
        named = {
            "humans": humans,
            "organisations": organisations,
            "quorum": [],
            "delaySeconds": delay,
            "ttlBlocks": min(ttl, self._ttl),
            "denyThreshold": deny,
            "rules": [[name, rule.version] for name, rule in found.items()],
        }
        gone = self._leaving(case)
        if gone is not None:
            self.seen["an item leaves"] += 1
            named["leaving"] = _digest([["ConfigMap", namespace, gone]])
        return Need(humans, organisations, delay, min(ttl, self._ttl), deny, _digest(named))

    def _leaving(self, case: Case) -> str | None:
        """Give the item that a case would take from its release as it is now."""
        known = self.releases.by_name.get(str(case.release))
        if known is None:
            return None
        back = case.to_revision
        item = case.item if back is None else known.revisions[back - 1].item
        return None if known.revisions[-1].item == item else known.revisions[-1].item

    def revoke(self, who: Person, subject: Person) -> Outcome:
        """End a subject's only key at once: what it approved counts no more, and it speaks no more."""
        if who in self.revoked:
            return Outcome(Code.KEY_NOT_ACTIVE)
        if subject in self.revoked:
            return Outcome(Code.REVOCATION_WITHOUT_EFFECT)
        left = {p for p in self.members - self.revoked if p.kind == "human" and p != subject}
        if not self._enough(left, self.need(Case("configure", who))):
            return Outcome(Code.LOCKOUT)
        self.revoked.add(subject)
        return Outcome(Code.OK)

    def suspend(self, who: Person, agent: Person) -> Outcome:
        """Cut an agent off at once."""
        if who in self.revoked:
            return Outcome(Code.KEY_NOT_ACTIVE)
        if agent in self.suspended:
            return Outcome(Code.OBJECT_DUPLICATE)
        self.suspended.add(agent)
        self.releases.incidents.append(Incident("agent-suspended", None, None))
        return Outcome(Code.OK)

    def propose(self, case: Case) -> Outcome:
        """Propose a change."""
        refused = self._refused_proposal(case)
        if refused is not None:
            return Outcome(refused)
        case.expires = self.height + self.need(case).ttl
        self.cases.append(case)
        return Outcome(Code.OK, "open")

    def _refused_proposal(self, case: Case) -> Code | None:
        if case.proposer in self.revoked:
            return Code.KEY_NOT_ACTIVE
        if case.proposer in self.suspended:
            self.seen["a suspended agent proposes"] += 1
            return Code.AGENT_SUSPENDED
        if case.proposer.kind not in ("human", "agent"):
            return Code.VERB_NOT_ALLOWED
        if case.operation == "rollback":
            return self._refused_rollback(case)
        if case.operation == "configure" and case.proposer.kind == "agent":
            return Code.PERMISSION_DENIED
        return self._refused_change(case)

    def _refused_rollback(self, case: Case) -> Code | None:
        known = self.releases.by_name.get(str(case.release))
        if known is None:
            return Code.RELEASE_UNKNOWN
        return Code.REVISION_UNKNOWN if (case.to_revision or 0) > len(known.revisions) else None

    def _refused_change(self, case: Case) -> Code | None:
        if case.operation == "apply":
            return self.releases.refused_clusters(str(case.release), case.clusters)
        if case.lifts is not None and case.lifts not in self.releases.freezes:
            return Code.OBJECT_UNKNOWN
        if case.frees is not None and case.frees not in self.suspended:
            return Code.OBJECT_UNKNOWN
        return None

    def judge(self, who: Person, number: int, *, approves: bool, exact: bool, digest: str) -> Outcome:
        """Approve or reject case ``number``, from 0; ``exact`` when its own digest was given."""
        case = self.cases[number]
        need, own = self.need(case), who == case.proposer and not approves
        reasons = (
            (who in self.revoked, Code.KEY_NOT_ACTIVE),
            (who in self.suspended, Code.AGENT_SUSPENDED),
            (who.kind == "agent" and not own, Code.AGENT_MAY_NOT_APPROVE),
            (who.kind not in ("human", "agent"), Code.VERB_NOT_ALLOWED),
            (case.state == "expired", Code.PROPOSAL_EXPIRED),
            (case.state == "open" and self.height > case.expires, Code.PROPOSAL_EXPIRED),
            (case.state != "open" and (approves or case.state != "approved"), Code.PROPOSAL_NOT_OPEN),
            (approves and case.proposer in self.suspended, Code.AGENT_SUSPENDED),
            (not exact, Code.APPROVAL_DIGEST_MISMATCH),
            (digest != need.digest, Code.REQUIREMENT_CHANGED),
            (case.rejections.get(who) == need.digest, Code.APPROVAL_DUPLICATE),
            (approves and case.approvals.get(who) == need.digest, Code.APPROVAL_DUPLICATE),
        )
        refused = next((code for holds, code in reasons if holds), None)
        if refused is not None:
            self.seen[f"{refused.name} in {case.state}"] += 1
            self.seen["asked for by a suspended agent"] += (
                refused is Code.AGENT_SUSPENDED and who not in self.suspended
            )
            return Outcome(refused)
        return self._approve(who, number, need) if approves else self._reject(who, case, need)

    def _reject(self, who: Person, case: Case, need: Need) -> Outcome:
        self.seen["an approval taken back"] += case.approvals.pop(who, None) is not None
        case.rejections[who] = need.digest
        against = self._counted(case.rejections, need)
        if who == case.proposer or len(against) >= need.deny:
            self.seen["taken back by an agent"] += who.kind == "agent"
            self.seen["rejected while suspended"] += case.proposer in self.suspended
            self.seen["denied by two"] += need.deny == 2 and who != case.proposer
            self.seen["vetoed in the delay"] += case.state == "approved" and not self.releases.frozen(
                case.release
            )
            case.state = "rejected"
        else:
            self.seen["too few rejections"] += 1
        return Outcome(Code.OK, case.state)

    def _approve(self, who: Person, number: int, need: Need) -> Outcome:
        case = self.cases[number]
        approvals = {**case.approvals, who: need.digest}
        revision = None
        if self._enough(self._counted(approvals, need), need):
            if need.delay:
                case.state, case.due = "approved", self.time + need.delay
                self.seen["delayed"] += 1
            else:
                # What would become final is judged once more: the ledger went on since the proposal.
                refused, revision = self._execute_unless_frozen(number)
                if refused is not None:
                    return Outcome(refused)
        self.seen["approved anew"] += who in case.approvals
        case.approvals = approvals
        return Outcome(Code.OK, case.state, revision)

    def _counted(self, voices: dict[Person, str], need: Need) -> set[Person]:
        return {who for who, digest in voices.items() if who not in self.revoked and digest == need.digest}

    def _enough(self, approvers: set[Person], need: Need) -> bool:
        organisations = {person.organisation for person in approvers}
        return len(approvers) >= need.humans and len(organisations) >= need.organisations

    def _execute_due(self, number: int) -> None:
        case = self.cases[number]
        if case.proposer in self.suspended:
            case.state, case.code = "failed", Code.AGENT_SUSPENDED
            self.seen["suspended in the delay"] += 1
            return
        need = self.need(case)
        self.seen["an approver revoked in the delay"] += bool(self.revoked & set(case.approvals))
        if not self._enough(self._counted(case.approvals, need), need):
            case.state = "open"
            self.seen["no more approved after the delay"] += 1
            return
        case.code, _ = self._execute_unless_frozen(number)
        if case.code is not None:
            case.state = "failed"
        self.seen[f"{case.state} when due"] += 1

    def _execute_unless_frozen(self, number: int) -> tuple[Code | None, int | None]:
        case = self.cases[number]
        if not self.releases.frozen(case.release):
            refused = self._refused_change(case)
            return (refused, None) if refused is not None else (None, self._execute(number))
        case.state, case.due, case.held = "approved", self.time + RETRY_SECONDS, True
        if self.height > case.expires:
            case.state = "expired"
        self.seen[f"frozen, {case.state}"] += 1
        return None, None

    def _execute(self, number: int) -> int | None:
        case = self.cases[number]
        case.state = "final"
        if case.rule is not None:
            name, rule = case.rule
            self.rules[name] = Rule(**{**vars(rule), "version": self.rules[name].version + 1})
        if case.lifts is not None:
            self.seen["freeze lifted"] += 1
            del self.releases.freezes[case.lifts]
            for other in self.cases:
                other.due = self.time if other.held else other.due
        if case.frees is not None:
            self.seen["suspension lifted"] += 1
            self.suspended.remove(case.frees)
        if case.release is None:
            return None
        wanted = Revision(number, case.clusters, case.plan, case.item)
        if case.to_revision is not None:
            source = self.releases.by_name[case.release].revisions[case.to_revision - 1]
            clusters = self.releases.clusters_of(case.release)
            wanted = Revision(source.content, clusters, source.plan, source.item, case.to_revision)
        return self.releases.become(case.release, wanted, self.time)

    def hear(self, node_of: str, about: tuple[str, str, int, int], said: Said) -> Outcome:
        """Take a report from the node of a cluster about (cluster, release, revision, sequence)."""
        return Outcome(self.releases.hear(node_of, about, said, self.time))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
