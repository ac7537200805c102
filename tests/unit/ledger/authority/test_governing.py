"""Granting and liveness: nobody gives what is not theirs, and somebody can always change the constitution."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from ledger.authority.constitution import Constitution
from ledger.authority.granting import check_depth, check_grant
from ledger.authority.liveness import GOVERNING_KINDS, check_not_locked_out, most_voices
from ledger.authority.objects import ApprovalRule, Role, RoleBinding
from ledger.authority.requirement import requirement
from ledger.errors import Code
from ledger.types import SubjectKind
from tests.support.constitutions import GOVERNING, Person, bind, denial, governing, grant, role, rule
from tests.support.refusal import refusal_of

ANN, BOB, CAT = Person("ann"), Person("bob"), Person("cat", organisation="org-b")
EVERYBODY = (ANN, BOB, CAT)
GOV = role("gov", grant("propose", "approve", kinds=GOVERNING))
GRANTER = role("granter", grant("grant", kinds=("Role.conclave.internal",), names=("op*",)))
OPERATOR = role("operator", grant("propose"))


def granted(new: RoleBinding, *others: RoleBinding, by: Person = ANN) -> None:
    roles = [GOV, GRANTER, OPERATOR, Role("op-granter", GRANTER.rules)]
    before = Constitution.of(roles, others, ())
    after = Constitution.of(roles, [*(b for b in others if b.name != new.name), new], ())
    check_grant(before, after, new, by, 1)


def locked(
    *bindings: RoleBinding,
    roles: tuple[Role, ...] = (GOV,),
    rules: tuple[ApprovalRule, ...] = (rule(humans=2, organisations=2),),
    people: tuple[Person, ...] = EVERYBODY,
) -> None:
    check_not_locked_out(Constitution.of(roles, bindings, rules), people, 1)


def everybody(*but: str) -> list[RoleBinding]:
    return [bind(f"g-{p.name}", p.name, "gov") for p in EVERYBODY if p.name not in but]


@pytest.mark.requires("authority.granting")
def test_a_root_binding_is_given_by_who_may_grant_its_role() -> None:
    mine = bind("g", "ann", "granter")
    granted(bind("new", "bob", "operator"), mine)
    refusal_of(lambda: granted(bind("new", "bob", "gov"), mine), Code.GRANT_EXCEEDS_GRANTER)
    refusal_of(lambda: granted(bind("new", "bob", "operator"), mine, by=BOB), Code.GRANT_EXCEEDS_GRANTER)


@pytest.mark.requires("authority.granting")
def test_nobody_grants_by_the_right_the_change_itself_would_give() -> None:
    # Once there, the role would let its holder grant it.
    new = bind("new", "ann", "op-granter")
    refusal_of(lambda: granted(new, bind("g", "ann", "operator")), Code.GRANT_EXCEEDS_GRANTER)
    granted(new, bind("g", "ann", "granter"))


@pytest.mark.requires("authority.granting")
def test_a_delegated_binding_is_given_by_its_parents_subject() -> None:
    mine = bind("mine", "ann", "operator")
    granted(bind("new", "bob", "operator", parent="mine"), mine)
    lent = bind("new", "bob", "operator", parent="mine")
    refusal_of(lambda: granted(lent, mine, by=BOB), Code.GRANT_EXCEEDS_GRANTER)
    absent = bind("new", "bob", "operator", parent="absent")
    refusal_of(lambda: granted(absent, mine), Code.OBJECT_UNKNOWN)


@pytest.mark.requires("authority.granting")
@pytest.mark.parametrize("kind", [SubjectKind.AGENT, SubjectKind.NODE, SubjectKind.ORGANISATION])
def test_only_humans_grant_and_delegate(kind: SubjectKind) -> None:
    mine = [bind("mine", "bot", "operator"), bind("g", "bot", "granter")]
    bot = Person("bot", kind=kind)
    for new in (bind("new", "bob", "operator", parent="mine"), bind("new", "bob", "operator")):
        refusal_of(functools.partial(granted, new, *mine, by=bot), Code.GRANT_EXCEEDS_GRANTER)


@pytest.mark.requires("authority.delegation-depth")
def test_a_delegation_is_three_deep_at_most_also_where_it_hangs_below() -> None:
    line = [bind("b0", "ann", "operator")] + [
        bind(f"b{i}", "ann", "operator", parent=f"b{i - 1}") for i in range(1, 4)
    ]
    granted(line[3], *line[:3])
    deep = bind("b4", "ann", "operator", parent="b3")
    refusal_of(lambda: granted(deep, *line), Code.DELEGATION_TOO_DEEP)
    top = bind("top", "ann", "operator")
    lower = bind("b0", "ann", "operator", parent="top")
    granted(lower, top, *line[:3])
    refusal_of(lambda: granted(lower, top, *line), Code.DELEGATION_TOO_DEEP)
    ring = bind("b0", "ann", "operator", parent="b3")
    refusal_of(lambda: granted(ring, *line), Code.DELEGATION_TOO_DEEP)
    refusal_of(
        lambda: check_depth(Constitution.of((), [ring, *line[1:]], ()), ring), Code.DELEGATION_TOO_DEEP
    )


@pytest.mark.requires("authority.lockout")
def test_enough_living_governors_are_no_lockout() -> None:
    locked(*everybody())
    locked(*everybody("bob"))
    sleeping = (Person("ann", is_active=False), CAT)
    locked(*everybody("bob"), people=sleeping)


@pytest.mark.requires("authority.lockout")
@pytest.mark.parametrize("kind", GOVERNING_KINDS)
@pytest.mark.parametrize("verb", ["propose", "approve"])
def test_each_governing_kind_is_asked_for_and_named(kind: str, verb: str) -> None:
    full = f"{kind}.conclave.internal"
    kinds = tuple(k for k in GOVERNING if k != full)
    other = "approve" if verb == "propose" else "propose"
    holed = role("gov", grant(verb, kinds=kinds), grant(other, kinds=GOVERNING))
    refusal = refusal_of(lambda: locked(*everybody(), roles=(holed,)), Code.LOCKOUT)
    assert refusal.facts["kind"] == kind


@pytest.mark.requires("authority.lockout")
@pytest.mark.parametrize(
    ("people", "but"),
    [
        ((ANN, BOB), ()),
        ((ANN, BOB, Person("cat", organisation="org-b", is_living=False)), ()),
        ((ANN, BOB, Person("cat", organisation="org-b", kind=SubjectKind.AGENT)), ()),
        (EVERYBODY, ("cat",)),
        (EVERYBODY, ("ann", "bob")),
        ((), ()),
    ],
)
def test_too_few_who_live_or_are_bound_are_a_lockout(
    people: tuple[Person, ...], but: tuple[str, ...]
) -> None:
    refusal_of(lambda: locked(*everybody(*but), people=people), Code.LOCKOUT)


@pytest.mark.requires("authority.lockout")
@pytest.mark.parametrize(
    "rules",
    [
        (),
        (rule(kinds=tuple(k for k in GOVERNING if not k.startswith("Role."))),),
        (rule(clusters=("east",)),),
        (rule(risks=("low",)),),
        (rule(operations=("apply",)),),
        (rule(humans=4),),
        (rule(organisations=3),),
        (rule(), rule("more", humans=4, kinds=("Role.conclave.internal",))),
        (rule(quorum=(("gov", 4),)),),
        (rule(quorum=(("nobody", 1),)),),
    ],
)
def test_rules_that_nobody_can_satisfy_are_a_lockout(rules: tuple[ApprovalRule, ...]) -> None:
    refusal_of(lambda: locked(*everybody(), rules=rules), Code.LOCKOUT)


@pytest.mark.requires("authority.lockout")
@pytest.mark.parametrize(
    "spoiled",
    [
        bind("g-cat", "cat", "gov", heights=(None, 10**6)),
        bind("g-cat", "cat", "gov", heights=(2, None)),
        bind("g-cat", "cat", "gov", clusters=("east",)),
        bind("g-cat", "cat", "gov", namespaces=("a*",)),
        bind("g-cat", "cat", "named"),
    ],
)
def test_what_ends_has_not_begun_or_is_narrow_does_not_keep_the_ledger_open(spoiled: RoleBinding) -> None:
    named = role("named", grant("propose", "approve", kinds=GOVERNING, names=("a*",)))
    refusal_of(lambda: locked(*everybody("cat"), spoiled, roles=(GOV, named)), Code.LOCKOUT)


@pytest.mark.requires("authority.lockout")
@pytest.mark.parametrize("heights", [(None, None), (100, None), (100, 200)])
@pytest.mark.parametrize("names", [("*",), ("root",), tuple(sorted(f"{c}*" for c in "0123456789abcxyz"))])
def test_a_denial_of_any_name_at_any_later_height_is_reckoned_with(
    heights: tuple[int | None, int | None], names: tuple[str, ...]
) -> None:
    shut = role("shut", denial("approve", kinds=GOVERNING, names=names))
    spoiled = [*everybody(), bind("d", "cat", "shut", heights=heights)]
    refusal_of(lambda: locked(*spoiled, roles=(GOV, shut)), Code.LOCKOUT)


@pytest.mark.requires("authority.lockout")
def test_an_agent_is_never_the_only_one_who_proposes() -> None:
    approver = role("approver", grant("approve", kinds=GOVERNING))
    bindings = [bind(f"a-{p.name}", p.name, "approver") for p in EVERYBODY]
    bot = Person("bot", kind=SubjectKind.AGENT)
    by_bot = (*bindings, bind("bot", "bot", "gov"))
    people = (*EVERYBODY, bot)
    refusal_of(lambda: locked(*by_bot, roles=(approver, GOV), people=people), Code.LOCKOUT)
    locked(*by_bot, bind("ann", EVERYBODY[0].name, "gov"), roles=(approver, GOV), people=people)


@pytest.mark.requires("authority.lockout")
def test_more_approvals_than_a_proposal_holds_are_a_lockout_however_many_there_are() -> None:
    people = tuple(Person(f"p{i}", organisation=f"o{i}") for i in range(70))
    roles = (GOV, Role("x", GOV.rules))
    bindings = [bind(f"{p.name}-{r.name}", p.name, r.name) for p in people for r in roles]

    def ask(places: int) -> None:
        rules = (rule(quorum=(("gov", 32), ("x", places))),)
        locked(*bindings, roles=roles, rules=rules, people=people)

    ask(32)
    refusal_of(lambda: ask(33), Code.LOCKOUT)


@pytest.mark.requires("authority.lockout")
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"humans": 5}, 5),
        ({"organisations": 4}, 4),
        ({"quorum": (("x", 2), ("y", 3)), "organisations": 3}, 7),
        ({"quorum": (("x", 2),), "humans": 9}, 9),
    ],
)
def test_the_most_voices_a_requirement_can_need(parts: dict[str, Any], expected: int) -> None:
    needed = requirement(Constitution.of((), (), [rule(**parts)]), governing("Role"), 100)
    assert most_voices(needed) == expected
