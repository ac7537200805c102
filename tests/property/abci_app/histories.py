"""Random histories of a ledger: people, nodes and time, chosen so that every rule comes into play.

Owns ``History``. Promises that a history depends on its source of choices alone.
"""

from __future__ import annotations

import random

from tests.property.abci_app.reference import Case, Rule
from tests.property.abci_app.reference_rollouts import Plan, Said
from tests.property.abci_app.side_by_side import HUMANS, NAMESPACES, NODES, PEOPLE, RULES, SideBySide, person
from tests.support.subjects import AGENT, Subject

CLUSTERS = (("east",), ("east", "north"), ("east", "north", "west"), ("west",), ("east", "mars"))
PLANS = (
    Plan(),
    Plan((("east",),), deadline=20),
    Plan((("east",), ("north",)), deadline=15, settle=4),
    Plan((("east", "north"),), at_once=1, deadline=20, threshold=2),
    Plan((("north", "east"),), deadline=30, percent=60, threshold=2, settle=2),
)
GROWTH = (*[("east",)] * 4, *[("east", "north")] * 2, ("east", "north", "west"), ("west",))
HEARD = (
    (),
    ("good", "good"),
    ("nearly", "good", "good"),
    ("broken", "broken"),
    *[("broken", "good", "good")] * 2,
)
SAID = {
    "good": Said("applied", "current", 3, 3),
    "nearly": Said("applied", "in_progress", 2, 3),
    "slow": Said("applied", "in_progress", 1, 3),
    "partial": Said("partial", "current", 3, 3),
    "sick": Said("applied", "failed", 3, 3),
    "broken": Said("failed", "failed", 0, 3),
}
STEPS = (
    *["judge", "report", "reject", "campaign"] * 4,
    *["propose", "approve_all", "veto", "wait", "lift"] * 3,
    *["release", "roll_back", "change_rule", "revoke", "revoke"] * 2,
    "odd_report",
)


class History(SideBySide):
    """A ledger that random things happen to."""

    def walk(self, choices: random.Random, steps: int) -> None:
        """Do so many steps."""
        for _ in range(steps):
            self.state.time += choices.choice((0, 0, 1, 1, 3))
            getattr(self, f"_{choices.choice(STEPS)}")(choices)

    def _release(self, choices: random.Random, name: str = "") -> None:
        name, plan = name or choices.choice(tuple(NAMESPACES)), choices.choice(PLANS)
        known = self.reference.releases.clusters_of(name) if name in self.reference.releases.by_name else ()
        clusters = tuple(sorted({*known, *choices.choice(GROWTH)}))
        self.pass_(
            lambda by: Case("apply", by, release=name, clusters=clusters, plan=plan, item=_item(plan)),
            self._order(choices),
        )

    def _campaign(self, choices: random.Random) -> None:
        """Release and hear of it, again and again, in little time."""
        name = choices.choice(tuple(NAMESPACES))
        for _ in range(choices.choice((1, 3, 4))):
            self._release(choices, name)
            if self.reference.cases and self.reference.cases[-1].state == "approved":
                self.state.time += choices.choice((9, 10, 11))
                self.idle()
            for said in choices.choice(HEARD):
                self.everywhere(name, SAID[said], most=1 if said == "broken" else len(NODES))
                self.state.time += choices.choice((0, 2, 4))

    def _propose(self, choices: random.Random) -> None:
        name = choices.choice(tuple(NAMESPACES))
        clusters, plan = choices.choice(CLUSTERS), choices.choice(PLANS)
        who = choices.choice(PEOPLE)
        made = self.propose(
            who,
            lambda by: Case("apply", by, release=name, clusters=clusters, plan=plan, item=_item(plan)),
        )
        if made and choices.choice((True, False)):
            self._judge_some(choices, "open", approves=False)

    def _roll_back(self, choices: random.Random) -> None:
        name, to = choices.choice(tuple(NAMESPACES)), choices.choice((1, 1, 2, 3, 5))
        who = choices.choice(PEOPLE)
        self.propose(who, lambda by: Case("rollback", by, release=name, to_revision=to))

    def _change_rule(self, choices: random.Random) -> None:
        name = choices.choice(("slow", "strict"))
        asked = {
            "delay": choices.choice((0, 5, 20)),
            "ttl": choices.choice((5, 6)),
            "deny": choices.choice((1, 2, 2)),
        }
        changed = Rule(**{**vars(RULES[name]), **asked})
        number, who = len(self.proposals) - 1, choices.choice(HUMANS)
        if number >= 0:
            self.judge(who, number)
        self.pass_(lambda by: Case("configure", by, rule=(name, changed)), self._order(choices))
        if number >= 0:
            self.judge(who, number)

    def _lift(self, choices: random.Random) -> None:
        name = choices.choice(
            [*self.reference.releases.freezes, *self.reference.releases.freezes, "machine-9"]
        )
        self.pass_(lambda by: Case("configure", by, lifts=name), self._order(choices))

    def _judge(self, choices: random.Random) -> None:
        cases = range(len(self.proposals))
        found = [n for n in cases if self.reference.cases[n].state == "open"][-2:] + [*cases][-4:]
        if found:
            wrong, approves = choices.choice(("", "", "digest", "requirement")), choices.choice((True, False))
            self.judge(choices.choice(PEOPLE), choices.choice(found), approves=approves, wrong=wrong)

    def _approve_all(self, choices: random.Random) -> None:
        self._judge_some(choices, "open", approves=True)

    def _reject(self, choices: random.Random) -> None:
        self._judge_some(choices, "open", approves=False)

    def _veto(self, choices: random.Random) -> None:
        self._judge_some(choices, "approved", approves=False)

    def _judge_some(self, choices: random.Random, state: str, *, approves: bool) -> None:
        lasting = [case.state == state and case.expires >= self.state.height for case in self.reference.cases]
        found = [number for number, lasts in enumerate(lasting) if lasts][-2:]
        if found:
            number, most = choices.choice(found), choices.choice((1, 2, 4)) if approves else len(HUMANS)
            self.judge_all(number, self._order(choices)[:most], approves=approves)

    def _report(self, choices: random.Random) -> None:
        shall = sorted(self.reference.releases.desired)
        if shall:
            cluster, name = choices.choice(shall)
            self.report(cluster, name, SAID[choices.choice(tuple(SAID))])

    def _everywhere(self, choices: random.Random) -> None:
        self.everywhere(
            choices.choice(tuple(NAMESPACES)), SAID[choices.choice(("good", "good", "nearly", "broken"))]
        )

    def _odd_report(self, choices: random.Random) -> None:
        cluster, node = choices.choice(tuple(NODES)), choices.choice(("", "east"))
        name, revision = choices.choice(tuple(NAMESPACES)), choices.choice((1, 2, 5, 40))
        self.sequences[cluster] -= choices.choice((0, 0, 1)) if self.sequences[cluster] else 0
        self.report(cluster, name, SAID["good"], revision=revision, node=node)

    def _wait(self, choices: random.Random) -> None:
        self.state.height += choices.choice((0, 0, 2, 6))
        self.state.time += choices.choice((4, 9, 10, 11, 20, 60, 61))
        if choices.choice((True, False)):
            self.idle()

    def _revoke(self, choices: random.Random) -> None:
        waiting = [case for case in self.reference.cases if case.state == "approved"]
        heard = {who.name for case in waiting for who in case.approvals}
        if waiting or choices.random() < 0.1:
            subject = choices.choice([who for who in HUMANS if who.name in heard] or [*HUMANS, AGENT])
            self.revoke(choices.choice(HUMANS), subject)

    def _order(self, choices: random.Random) -> list[Subject]:
        living = [who for who in HUMANS if person(who) not in self.reference.revoked]
        return choices.sample(living, len(living))


def _item(plan: Plan) -> str:
    """Give what a release is of: another thing with every other plan, so that at times something leaves."""
    return ("settings", "config")[PLANS.index(plan) % 2]
