"""An independent reference of proposals, judgements, expiry, rollback and revocation, in plain Python.

Owns ``Reference``: what docs/spec/ledger.md says must come of an action, in sets and lists. It shares no code
with the machine but the numbers of the codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.errors import Code


@dataclass(frozen=True)
class Person:
    """Somebody who may act: ``kind`` is human, agent, node or organisation."""

    name: str
    kind: str
    organisation: str


@dataclass
class Case:
    """A proposal: of content on clusters, or of going back to a revision."""

    release: str
    clusters: tuple[str, ...]
    to_revision: int | None
    last_height: int
    state: str = "open"
    approved_by: list[Person] = field(default_factory=list)
    rejected_by: list[Person] = field(default_factory=list)


@dataclass
class Revision:
    """What a release was at some time: the case that carries its content, and where it runs."""

    content: int
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """The code, and of an accepted action the proposal's state and the revision it made."""

    code: Code
    state: str | None = None
    revision: int | None = None


class Reference:
    """The ledger as its specification has it."""

    def __init__(self, humans: int, organisations: int, ttl: int, clusters: set[str]) -> None:
        self._humans, self._organisations = humans, organisations
        self._ttl, self._clusters = ttl, clusters
        self.cases: list[Case] = []
        self.members: set[Person] = set()
        self.revoked: set[Person] = set()
        self.releases: dict[str, list[Revision]] = {}

    def revoke(self, who: Person, subject: Person) -> Outcome:
        """End a subject's only key at once: what it approved counts no more, and it speaks no more."""
        if who in self.revoked:
            return Outcome(Code.KEY_NOT_ACTIVE)
        if subject in self.revoked:
            return Outcome(Code.REVOCATION_WITHOUT_EFFECT)
        if not self._enough([p for p in self.members if p.kind == "human" and p != subject]):
            return Outcome(Code.LOCKOUT)
        self.revoked.add(subject)
        return Outcome(Code.OK)

    def _enough(self, approvers: list[Person]) -> bool:
        counted = {person for person in approvers if person not in self.revoked}
        organisations = {person.organisation for person in counted}
        return len(counted) >= self._humans and len(organisations) >= self._organisations

    def propose_release(self, who: Person, name: str, clusters: tuple[str, ...], height: int) -> Outcome:
        """Propose content for clusters."""
        if who in self.revoked:
            return Outcome(Code.KEY_NOT_ACTIVE)
        if who.kind not in ("human", "agent"):
            return Outcome(Code.VERB_NOT_ALLOWED)
        refused = self._refused_clusters(name, clusters)
        if refused is not None:
            return Outcome(refused)
        self.cases.append(Case(name, clusters, None, height + self._ttl))
        return Outcome(Code.OK, "open")

    def propose_rollback(self, who: Person, name: str, to_revision: int, height: int) -> Outcome:
        """Propose to go back."""
        if who in self.revoked:
            return Outcome(Code.KEY_NOT_ACTIVE)
        if who.kind not in ("human", "agent"):
            return Outcome(Code.VERB_NOT_ALLOWED)
        if name not in self.releases:
            return Outcome(Code.RELEASE_UNKNOWN)
        if to_revision > len(self.releases[name]):
            return Outcome(Code.REVISION_UNKNOWN)
        self.cases.append(Case(name, (), to_revision, height + self._ttl))
        return Outcome(Code.OK, "open")

    def judge(self, who: Person, number: int, height: int, *, approves: bool, exact: bool) -> Outcome:
        """Approve or reject case ``number``, from 0; ``exact`` when its own digest was given."""
        case = self.cases[number]
        refused = self._refused_judgement(who, case, height, exact=exact)
        if refused is not None:
            return Outcome(refused)
        if not approves:
            case.rejected_by.append(who)
            case.state = "rejected"
            return Outcome(Code.OK, "rejected")
        approvers = [*case.approved_by, who]
        if not self._enough(approvers):
            case.approved_by = approvers
            return Outcome(Code.OK, "open")
        # What would become final is judged once more: the ledger went on since the proposal.
        if case.to_revision is None:
            refused = self._refused_clusters(case.release, case.clusters)
            if refused is not None:
                return Outcome(refused)
        case.approved_by, case.state = approvers, "final"
        return Outcome(Code.OK, "final", self._release(number, case))

    def _release(self, number: int, case: Case) -> int:
        history = self.releases.setdefault(case.release, [])
        if case.to_revision is None:
            history.append(Revision(number, case.clusters))
        else:
            history.append(Revision(history[case.to_revision - 1].content, history[-1].clusters))
        return len(history)

    def _refused_judgement(self, who: Person, case: Case, height: int, *, exact: bool) -> Code | None:
        reasons = (
            (who in self.revoked, Code.KEY_NOT_ACTIVE),
            (who.kind == "agent", Code.AGENT_MAY_NOT_APPROVE),
            (who.kind != "human", Code.VERB_NOT_ALLOWED),
            (case.state != "open", Code.PROPOSAL_NOT_OPEN),
            (height > case.last_height, Code.PROPOSAL_EXPIRED),
            (not exact, Code.APPROVAL_DIGEST_MISMATCH),
            (who in case.approved_by or who in case.rejected_by, Code.APPROVAL_DUPLICATE),
        )
        return next((code for holds, code in reasons if holds), None)

    def _refused_clusters(self, name: str, clusters: tuple[str, ...]) -> Code | None:
        if set(clusters) - self._clusters:
            return Code.CLUSTER_UNKNOWN
        history = self.releases.get(name)
        if history and set(history[-1].clusters) - set(clusters):
            return Code.RELEASE_CLUSTERS_CHANGED
        return None
