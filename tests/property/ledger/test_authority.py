"""Authority against a second reading of the specification: same answers for any small constitution."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.authority.constitution import Constitution, check_may, may
from ledger.authority.decision import Voice, decide, denied
from ledger.authority.objects import ApprovalRule, Effect, Role, RoleBinding, RoleRule
from ledger.authority.requirement import requirement
from ledger.authority.scope import Operation, Risk, Scope, Touch
from ledger.errors import Code, Refused
from ledger.types import SubjectKind
from tests.support.authority_reference import World, applying, approve_enough, may_all, may_one
from tests.support.constitutions import OPERATIONS, RISKS, Person, bind, rule
from tests.support.refusal import outcome

QUICK = settings(max_examples=200, deadline=None)
KINDS = ("ConfigMap", "Deployment.apps", "Role.conclave.internal", "Secret", "Release.conclave.internal")
CLUSTERS = ("east", "north", "west")
PEOPLE = (
    Person("ann"),
    Person("bob", organisation="org-b"),
    Person("cat"),
    Person("bot", kind=SubjectKind.AGENT),
    Person("org", kind=SubjectKind.ORGANISATION),
)
ROLE_NAMES = ("r0", "r1", "r2")
BINDING_NAMES = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")


SEEDS = st.integers(0, 2**32)
"""A world is made from a seed: drawing each of its parts would take longer than judging it."""


class Draw:
    """Draws small worlds, alike for alike seeds."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a test's choice
        self.one = self.random.choice

    def some(self, *choices: str, most: int = 3) -> tuple[str, ...]:
        return tuple(sorted(self.random.sample(choices, self.random.randint(1, min(most, len(choices))))))

    def any_or(self, *choices: str) -> tuple[str, ...]:
        return ("*",) if self.random.random() < 0.7 else self.some("*", *choices)

    def kinds(self) -> tuple[str, ...]:
        # Often all of them by name, or little would ever be allowed.
        return self.one((("*", *KINDS), self.any_or("Dep*", "S*", *KINDS)))

    def namespaces(self) -> tuple[str, ...]:
        return self.any_or("team-*", "team-a", "-")

    def clusters(self) -> tuple[str, ...]:
        return self.any_or("east", "w*", "north")

    def role_rule(self) -> RoleRule:
        effect = self.one((Effect.ALLOW, Effect.ALLOW, Effect.ALLOW, Effect.DENY))
        verbs = self.one((("approve", "propose"), self.some("approve", "propose")))
        names = self.any_or("x", "y*")
        return RoleRule(effect, verbs, self.kinds(), self.namespaces(), self.clusters(), names)

    def binding(self, name: str) -> RoleBinding:
        return bind(
            name,
            self.one(("ann", "ann", "bob", "bob", "cat", "bot", "org")),
            self.one((*ROLE_NAMES, *ROLE_NAMES, *ROLE_NAMES, "gone")),
            namespaces=self.namespaces(),
            clusters=self.clusters(),
            parent=self.one((*(None,) * 9, *BINDING_NAMES)),
            heights=(self.one((None, None, None, 5)), self.one((None, None, None, 9))),
        )

    def rule(self, name: str) -> ApprovalRule:
        roles = self.random.sample(ROLE_NAMES, self.one((0, 0, 1, 2)))
        return rule(
            name,
            operations=self.one((OPERATIONS, OPERATIONS, self.some(*OPERATIONS))),
            risks=self.one((RISKS, RISKS, self.some(*RISKS))),
            kinds=self.kinds(),
            namespaces=self.namespaces(),
            clusters=self.clusters(),
            humans=self.one((1, 1, 2, 3)),
            organisations=self.one((1, 1, 2)),
            quorum=tuple((name, self.one((1, 1, 2))) for name in sorted(roles)),
        )

    def world(self) -> World:
        return World(
            tuple(
                Role(name, tuple(self.role_rule() for _ in range(self.random.randint(1, 3))))
                for name in ROLE_NAMES
            ),
            tuple(self.binding(name) for name in BINDING_NAMES[: self.random.randint(1, len(BINDING_NAMES))]),
            tuple(self.rule(f"rule-{i}") for i in range(self.one((0, 1, 1, 2, 3)))),
        )

    def scope(self) -> Scope:
        touches = {
            Touch(self.one(KINDS), self.one(("team-a", "team-b", "-")), self.one(("x", "yy", "z")))
            for _ in range(self.one((1, 1, 2, 4)))
        }
        clusters = self.one((("-",), self.some(*CLUSTERS)))
        found = tuple(sorted(touches))
        leaving = found[1:][: self.one((0, 0, 1, 2))]
        return Scope(self.one(tuple(Operation)), found, clusters, self.one(tuple(Risk)), leaving)


def real(world: World) -> Constitution:
    return Constitution.of(world.roles, world.bindings, world.rules)


@pytest.mark.requires("authority.as-specified")
@QUICK
@given(SEEDS)
def test_permissions_are_what_the_specification_says(seed: int) -> None:
    draw = Draw(seed)
    world, asked, height = draw.world(), draw.scope(), draw.random.randint(1, 12)
    constitution, who = real(world), draw.one(PEOPLE)
    for verb in ("propose", "approve", "grant"):
        expected = may_all(world, who, verb, asked, height)
        assert may(constitution, who, verb, asked, height) is expected
        assert may(constitution, who, verb, asked, height) is expected, "remembered"
        try:
            check_may(constitution, who, verb, asked, height)
        except Refused as refusal:
            facts = refusal.facts
            named = Touch(facts["kind"], facts["namespace"], facts["name"])
            assert named in asked.touches
            assert not may_one(world, who, verb, named, facts["cluster"], height)
        else:
            assert expected


@pytest.mark.requires("authority.as-specified")
@QUICK
@given(SEEDS)
def test_the_rules_that_apply_are_those_the_specification_says(seed: int) -> None:
    draw = Draw(seed)
    world, asked = draw.world(), draw.scope()
    found, code = outcome(lambda: requirement(real(world), asked, 100))
    expected = applying(world, asked)
    if expected is None:
        assert code is Code.NO_RULE_MATCHES
        return
    assert found.rules == tuple((r.name, r.version) for r in expected)
    assert found.humans == max(r.require.humans for r in expected)
    assert found.organisations == max(r.require.organisations for r in expected)


@pytest.mark.requires("authority.as-specified")
@QUICK
@given(SEEDS)
def test_approved_is_what_every_rule_alone_would_say_with_the_best_seating(seed: int) -> None:
    draw = Draw(seed)
    world, asked, height = draw.world(), draw.scope(), draw.random.randint(1, 12)
    constitution = real(world)
    found, code = outcome(lambda: requirement(constitution, asked, 100))
    people = draw.random.sample(PEOPLE, draw.random.randint(0, len(PEOPLE)))
    expected = approve_enough(world, people, asked, height)
    if code is not Code.OK:
        assert not expected
        return
    for order in (people, people[::-1]):
        voices = [Voice(p, keys_revoked=False, requirement=found.digest) for p in order]
        assert decide(constitution, found, asked, voices, height).approved is expected


@pytest.mark.requires("authority.monotone")
@QUICK
@given(SEEDS)
def test_fewer_voices_never_approve_more_and_more_rules_never_ask_less(seed: int) -> None:
    draw = Draw(seed)
    world, asked, height = draw.world(), draw.scope(), draw.random.randint(1, 12)
    constitution = real(world)
    found, code = outcome(lambda: requirement(constitution, asked, 100))
    if code is not Code.OK:
        return
    approved, close = {}, {}
    for size in range(len(PEOPLE) + 1):
        for group in itertools.combinations(PEOPLE, size):
            voices = [Voice(p, keys_revoked=False, requirement=found.digest) for p in group]
            approved[group] = decide(constitution, found, asked, voices, height).approved
            close[group] = denied(constitution, found, asked, voices, height)
            for left in itertools.combinations(group, size - 1) if group else ():
                assert approved[group] >= approved[left]
                assert close[group] >= close[left]
    strict = World(world.roles, world.bindings, (*world.rules, rule("zz", humans=3)))
    more = requirement(real(strict), asked, 100)
    assert more.humans == max(3, found.humans)
    assert more.ttl_blocks <= found.ttl_blocks


@pytest.mark.requires("authority.delegation-narrows")
@QUICK
@given(SEEDS)
def test_another_delegation_never_allows_what_its_parent_does_not(seed: int) -> None:
    draw = Draw(seed)
    world, asked, height = draw.world(), draw.scope(), draw.random.randint(1, 12)
    new = Person("new")
    for parent in world.bindings:
        owner = Person("owner")
        moved = bind(
            parent.name,
            "owner",
            parent.role,
            namespaces=parent.namespaces,
            clusters=parent.clusters,
            parent=parent.parent,
            heights=(parent.not_before, parent.not_after),
        )
        others = tuple(b for b in world.bindings if b.name != parent.name)
        for name in ROLE_NAMES:
            lent = bind("lent", "new", name, parent=parent.name)
            constitution = Constitution.of(world.roles, (*others, moved, lent), world.rules)
            if may(constitution, new, "propose", asked, height):
                assert may(constitution, owner, "propose", asked, height)
