"""What does it need? The strictest of all rules, per field, bound to one digest."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import pytest

from ledger.authority.constitution import Constitution
from ledger.authority.objects import ApprovalRule
from ledger.authority.requirement import Requirement, break_glass_requirement, requirement
from ledger.authority.scope import Operation, Risk, Scope, Touch, release_scope
from ledger.errors import Code
from ledger.limits import CLUSTERS_PER_RELEASE_MAX, OBJECTS_PER_RELEASE_MAX, RULES_MAX
from tests.support.constitutions import break_glass, rule, scope
from tests.support.refusal import refusal_of


def needs(asked: Scope, *rules: ApprovalRule, ttl: int = 1000) -> Requirement:
    return requirement(Constitution.of((), (), rules), asked, ttl)


@pytest.mark.requires("authority.strictest-wins")
def test_each_field_is_the_strictest_of_all_that_apply() -> None:
    found = needs(
        scope(),
        rule(
            "a", 3, humans=3, delay_seconds=10, ttl_blocks=50, deny_threshold=3, quorum=(("x", 1), ("z", 2))
        ),
        rule("b", 7, organisations=2, delay_seconds=90, ttl_blocks=70, deny_threshold=2, quorum=(("x", 2),)),
        rule("c", humans=9, namespaces=("other",)),
    )
    assert (found.humans, found.organisations, found.quorum) == (3, 2, (("x", 2), ("z", 2)))
    assert (found.delay_seconds, found.ttl_blocks, found.deny_threshold) == (90, 50, 2)
    assert (found.rules, found.members) == ((("a", 3), ("b", 7)), None)
    assert needs(scope(), rule(ttl_blocks=100), ttl=20).ttl_blocks == 20


@pytest.mark.requires("authority.strictest-wins")
def test_a_rule_applies_that_judges_any_part_of_a_change() -> None:
    asked = scope(("ConfigMap", "a", "x"), ("Secret", "b", "y"), clusters=("east", "west"))
    most = ("west", "Secret", "b")
    parts: list[dict[str, Any]] = [{"clusters": most[:1]}, {"kinds": ("Sec*",)}, {"namespaces": ("b",)}]
    for part in parts:
        assert needs(asked, rule(), rule("more", humans=5, **part)).humans == 5
    apart: dict[str, Any] = {"kinds": ("Secret",), "namespaces": ("a",)}
    assert needs(asked, rule(), rule("more", humans=5, **apart)).humans == 1


@pytest.mark.requires("authority.strictest-wins")
def test_a_star_in_a_rule_means_every_kind_for_a_rule_only_asks_for_more() -> None:
    assert needs(scope(("Secret", "a", "x")), rule(humans=4)).humans == 4
    assert needs(scope(("Namespace", "-", "x")), rule(humans=4)).humans == 4


@pytest.mark.requires("authority.no-rule")
@pytest.mark.parametrize(
    "part",
    [
        {"operations": ("rollback",)},
        {"risks": ("high",)},
        {"kinds": ("Pod",)},
        {"namespaces": ("team-b",)},
        {"clusters": ("west",)},
    ],
)
def test_what_no_rule_judges_is_impossible(part: dict[str, Any]) -> None:
    refusal_of(lambda: needs(scope(), rule(**part)), Code.NO_RULE_MATCHES)


@pytest.mark.requires("authority.no-rule")
def test_every_touch_on_every_cluster_needs_a_rule_and_the_refusal_names_the_first_without() -> None:
    asked = scope(("ConfigMap", "a", "x"), ("ConfigMap", "b", "y"), clusters=("east", "west"))
    partial = (rule("a", clusters=("east",)), rule("b", namespaces=("a",)))
    refusal = refusal_of(lambda: needs(asked, *partial), Code.NO_RULE_MATCHES)
    assert refusal.facts == {"kind": "ConfigMap", "namespace": "b", "cluster": "west"}
    assert needs(asked, *partial, rule("c", namespaces=("b",))).humans == 1
    for empty in (
        Scope(Operation.APPLY, (), ("east",), Risk.LOW),
        Scope(Operation.APPLY, asked.touches, (), Risk.LOW),
    ):
        refusal_of(functools.partial(needs, empty, rule()), Code.NO_RULE_MATCHES)


@pytest.mark.requires("authority.requirement-digest")
def test_the_digest_is_of_the_json_that_the_specification_gives() -> None:
    found = needs(scope(), rule("b", 2, quorum=(("x", 1),)), rule("a", 5, humans=2))
    text = (
        b'{"delaySeconds":0,"denyThreshold":1,"humans":2,"organisations":1,"quorum":[["x",1]],'
        b'"rules":[["a",5],["b",2]],"ttlBlocks":100}'
    )
    assert found.digest == hashlib.sha256(text).hexdigest()


@pytest.mark.requires("authority.requirement-digest")
def test_another_version_of_a_rule_is_another_requirement() -> None:
    one = needs(scope(), rule(version=1)).digest
    assert one == needs(scope(), rule(version=1), rule("other", humans=9, kinds=("Pod",))).digest
    others = [
        rule(version=2),
        rule(humans=2),
        rule(organisations=2),
        rule(quorum=(("x", 1),)),
        rule(delay_seconds=1),
        rule(ttl_blocks=99),
        rule(deny_threshold=2),
        rule("renamed"),
    ]
    assert len({one, *(needs(scope(), r).digest for r in others)}) == len(others) + 1


def losing(*leaving: tuple[str, str, str], operation: Operation = Operation.APPLY) -> Scope:
    touches = [Touch(*touch) for touch in (("ConfigMap", "team-a", "settings"), *leaving)]
    return release_scope(operation, tuple(touches[:1]), touches, ("east",), host_access=False)


@pytest.mark.requires("authority.leaving")
@pytest.mark.parametrize("operation", [Operation.APPLY, Operation.ROLLBACK])
def test_what_leaves_is_judged_by_the_rules_for_its_deletion(operation: Operation) -> None:
    ordinary = rule("ordinary", operations=("apply", "rollback"), risks=("low",))
    deletions = rule("deletions", operations=("delete",), risks=("high",), kinds=("Secret",), humans=3)
    same = losing(operation=operation)
    assert needs(same, ordinary, deletions).rules == (("ordinary", 1),)
    secret = losing(("Secret", "team-a", "key"), operation=operation)
    found = needs(secret, ordinary, deletions)
    assert (found.humans, found.rules) == (3, (("deletions", 1), ("ordinary", 1)))
    refusal = refusal_of(lambda: needs(secret, ordinary), Code.NO_RULE_MATCHES)
    assert refusal.facts == {"kind": "Secret", "namespace": "team-a", "cluster": "east"}


@pytest.mark.requires("authority.leaving", "authority.requirement-digest")
def test_the_digest_names_what_leaves() -> None:
    one, other = ("Secret", "team-a", "key"), ("Pod", "team-a", "p")
    text = (
        '{"delaySeconds":0,"denyThreshold":1,"humans":1,"leaving":"%s","organisations":1,"quorum":[],'
        '"rules":[["default",1]],"ttlBlocks":100}'
    )
    told = hashlib.sha256(b'[["Pod","team-a","p"],["Secret","team-a","key"]]').hexdigest()
    found = needs(losing(one, other), rule()).digest
    assert found == hashlib.sha256((text % told).encode()).hexdigest()
    assert len({found, *(needs(losing(*some), rule()).digest for some in ((one,), (other,), ()))}) == 4


@pytest.mark.requires("authority.leaving", "authority.break-glass")
def test_under_break_glass_what_leaves_is_a_deletion_too() -> None:
    def asked(what: Scope, **parts: Any) -> Requirement:
        constitution = Constitution.of((), (), [], [break_glass(**parts)])
        return break_glass_requirement(constitution, "night", what, time=1, uses=0, ttl_blocks=7)

    less, both = losing(("Pod", "team-a", "p")), ["apply", "delete"]
    for parts in ({}, {"operations": ["delete"]}, {"operations": both, "kinds": ["ConfigMap"]}):
        refusal_of(functools.partial(asked, less, **parts), Code.BREAK_GLASS_INVALID)
    assert asked(less, operations=both).digest != asked(losing(), operations=both).digest


@pytest.mark.requires("authority.break-glass")
def test_a_break_glass_needs_so_many_of_its_members_at_once_and_nothing_else() -> None:
    constitution = Constitution.of((), (), [rule(humans=9, delay_seconds=60)], [break_glass()])
    found = break_glass_requirement(constitution, "night", scope(), time=1000, uses=1, ttl_blocks=7)
    assert (found.humans, found.organisations, found.quorum, found.delay_seconds) == (2, 1, (), 0)
    assert (found.members, found.ttl_blocks) == (("did:key:ann", "did:key:bob"), 7)
    assert found.rules == (("break-glass/night", 3),)


@pytest.mark.requires("authority.break-glass")
@pytest.mark.parametrize(
    ("part", "asked", "time", "uses"),
    [
        ({}, scope(), 1001, 0),
        ({}, scope(), 1, 2),
        ({}, scope(operation=Operation.ROLLBACK), 1, 0),
        ({}, scope(operation=Operation.CONFIGURE), 1, 0),
        ({"kinds": ["Pod"]}, scope(), 1, 0),
        ({"namespaces": ["team-b"]}, scope(), 1, 0),
        ({"clusters": ["east"]}, scope(clusters=("east", "west")), 1, 0),
        ({}, scope(("Secret", "team-a", "x")), 1, 0),
        ({"kinds": ["Sec*"]}, scope(("Secret", "team-a", "x")), 1, 0),
        ({}, scope(("Namespace", "-", "x")), 1, 0),
        ({}, Scope(Operation.APPLY, (), ("east",), Risk.LOW), 1, 0),
        ({}, Scope(Operation.APPLY, scope().touches, (), Risk.LOW), 1, 0),
    ],
)
def test_outside_its_scope_time_or_uses_there_is_no_break_glass(
    part: dict[str, Any], asked: Scope, time: int, uses: int
) -> None:
    constitution = Constitution.of((), (), (), [break_glass(**part)])
    refusal_of(
        lambda: break_glass_requirement(constitution, "night", asked, time=time, uses=uses, ttl_blocks=7),
        Code.BREAK_GLASS_INVALID,
    )


@pytest.mark.requires("authority.break-glass")
def test_a_guarded_kind_is_within_a_break_glass_that_names_it() -> None:
    constitution = Constitution.of((), (), (), [break_glass(kinds=["Namespace", "Secret"])])
    asked = scope(("Secret", "team-a", "x"), ("Namespace", "-", "x"))
    assert break_glass_requirement(constitution, "night", asked, time=1, uses=0, ttl_blocks=7).humans == 2
    refusal_of(
        lambda: break_glass_requirement(constitution, "day", asked, time=1, uses=0, ttl_blocks=7),
        Code.BREAK_GLASS_INVALID,
    )


@pytest.mark.requires("authority.work-bounded")
def test_rules_are_matched_in_bounded_work() -> None:
    clusters = tuple(f"c{i:04d}" for i in range(CLUSTERS_PER_RELEASE_MAX))
    touches = tuple(("ConfigMap", f"n{i}", "x") for i in range(OBJECTS_PER_RELEASE_MAX))
    asked = scope(*touches, clusters=clusters)
    assert needs(asked, rule()).humans == 1
    apart = [rule(f"r{i}", clusters=(f"c{i:04d}",)) for i in range(RULES_MAX - 1)]
    refusal_of(lambda: needs(asked, rule(), *apart), Code.LIMIT_EXCEEDED)
