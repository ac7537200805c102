"""May this subject? Deny wins, delegation narrows, heights bound, kinds bound."""

from __future__ import annotations

import functools

import pytest

from ledger.authority.constitution import Constitution, check_may, holds_role, may, may_lastingly
from ledger.authority.objects import Role, RoleBinding
from ledger.authority.scope import Scope
from ledger.errors import Code
from ledger.limits import CLUSTERS_PER_RELEASE_MAX, OBJECTS_PER_RELEASE_MAX
from ledger.types import SubjectKind
from tests.support.constitutions import GOVERNING, Person, bind, denial, governing, grant, role, scope
from tests.support.refusal import refusal_of

ANN = Person("ann")
BOB = Person("bob")
OPEN = role("open", grant("propose", "approve"))
SHUT = role("shut", denial("propose"))


def world(roles: list[Role], *bindings: RoleBinding) -> Constitution:
    return Constitution.of(roles, bindings, ())


def asks(constitution: Constitution, asked: Scope, height: int = 1, who: Person = ANN) -> bool:
    return may(constitution, who, "propose", asked, height)


@pytest.mark.requires("authority.only-what-is-bound")
def test_nobody_may_what_no_binding_allows() -> None:
    assert not asks(world([OPEN]), scope())
    assert not asks(world([OPEN], bind("b", "bob", "open")), scope())
    assert not asks(world([], bind("b", "ann", "open")), scope())
    assert asks(world([OPEN], bind("b", "ann", "open")), scope())
    assert not may(world([OPEN], bind("b", "ann", "open")), ANN, "freeze", scope(), 1)


@pytest.mark.requires("authority.only-what-is-bound")
@pytest.mark.parametrize("part", ["kinds", "namespaces", "clusters", "names"])
def test_each_part_of_a_role_rule_has_to_match(part: str) -> None:
    other = role("r", grant("propose", **{part: ("other",)}))  # type: ignore[arg-type]  # a list of patterns
    assert not asks(world([other], bind("b", "ann", "r")), scope())


@pytest.mark.requires("authority.only-what-is-bound")
def test_a_binding_bounds_its_role_to_namespaces_and_clusters() -> None:
    within = world([OPEN], bind("b", "ann", "open", namespaces=("team-a",), clusters=("east",)))
    assert asks(within, scope(("ConfigMap", "team-a", "x")))
    assert not asks(within, scope(("ConfigMap", "team-b", "x")))
    assert not asks(within, scope(("ConfigMap", "team-a", "x"), clusters=("east", "west")))
    assert not asks(within, scope(("ConfigMap", "team-a", "x"), ("ConfigMap", "team-b", "x")))


@pytest.mark.requires("authority.only-what-is-bound")
def test_of_nothing_nothing_is_allowed() -> None:
    constitution = world([OPEN], bind("b", "ann", "open"))
    full = scope()
    assert not asks(constitution, Scope(full.operation, (), ("east",), full.risk))
    assert not asks(constitution, Scope(full.operation, full.touches, (), full.risk))


@pytest.mark.requires("authority.only-what-is-bound")
def test_the_refusal_names_verb_object_and_cluster() -> None:
    within = world([OPEN], bind("b", "ann", "open", clusters=("east",)))
    asked = scope(("ConfigMap", "team-a", "x"), clusters=("east", "west"))
    refusal = refusal_of(lambda: check_may(within, ANN, "propose", asked, 1), Code.PERMISSION_DENIED)
    assert refusal.facts == {
        "verb": "propose",
        "kind": "ConfigMap",
        "namespace": "team-a",
        "name": "x",
        "cluster": "west",
    }


@pytest.mark.requires("authority.deny-wins")
def test_a_denial_wins_over_every_permission() -> None:
    denied = world([OPEN, SHUT], bind("a", "ann", "open"), bind("z", "ann", "shut", namespaces=("team-a",)))
    assert not asks(denied, scope(("ConfigMap", "team-a", "x")))
    assert asks(denied, scope(("ConfigMap", "team-b", "x")))
    assert may(denied, ANN, "approve", scope(("ConfigMap", "team-a", "x")), 1)


@pytest.mark.requires("authority.deny-wins")
def test_each_cluster_has_its_own_denials_even_of_one_role() -> None:
    denied = world(
        [OPEN, SHUT],
        bind("a", "ann", "open"),
        bind("d1", "ann", "shut", namespaces=("team-a",), clusters=("east",)),
        bind("d2", "ann", "shut", namespaces=("team-b",), clusters=("west",)),
    )
    touch = ("ConfigMap", "team-b", "x")
    assert asks(denied, scope(touch, clusters=("east",)))
    assert not asks(denied, scope(touch, clusters=("west",)))
    assert not asks(denied, scope(touch, clusters=("east", "west")))


@pytest.mark.requires("authority.deny-wins")
def test_what_has_to_be_named_to_be_allowed_is_denied_by_a_pattern() -> None:
    secrets = role("s", grant("propose", kinds=("Secret",)))
    touch = ("Secret", "team-a", "x")
    assert asks(world([secrets], bind("a", "ann", "s")), scope(touch))
    assert not asks(world([secrets, SHUT], bind("a", "ann", "s"), bind("b", "ann", "shut")), scope(touch))


@pytest.mark.requires("authority.guarded-kinds")
@pytest.mark.parametrize(
    "touch",
    [("Secret", "team-a", "x"), ("Namespace", "-", "x"), ("Role.rbac.authorization.k8s.io", "team-a", "x")],
)
def test_a_star_covers_no_guarded_and_no_cluster_scoped_object(touch: tuple[str, str, str]) -> None:
    assert not asks(world([OPEN], bind("b", "ann", "open")), scope(touch))
    named = role("named", grant("propose", kinds=(touch[0],)))
    assert asks(world([named], bind("b", "ann", "named")), scope(touch))


@pytest.mark.requires("authority.delegation-narrows")
def test_a_delegation_allows_what_both_ends_allow_and_no_more() -> None:
    constitution = world(
        [OPEN, role("maps", grant("propose", kinds=("ConfigMap",)))],
        bind("top", "ann", "maps", namespaces=("team-*",), clusters=("east", "west")),
        bind("down", "bob", "open", namespaces=("*",), clusters=("west",), parent="top"),
    )
    west = ("west",)
    assert asks(constitution, scope(("ConfigMap", "team-a", "x"), clusters=west), who=BOB)
    assert not asks(constitution, scope(("Pod", "team-a", "x"), clusters=west), who=BOB)
    assert not asks(constitution, scope(("ConfigMap", "other", "x"), clusters=west), who=BOB)
    assert not asks(constitution, scope(("ConfigMap", "team-a", "x"), clusters=("east",)), who=BOB)


@pytest.mark.requires("authority.delegation-narrows")
def test_what_is_denied_above_is_denied_below_and_the_reverse_is_not() -> None:
    both = role("both", grant("propose"), denial("propose", names=("locked",)))
    above = world([OPEN, both], bind("top", "ann", "both"), bind("down", "bob", "open", parent="top"))
    locked = scope(("ConfigMap", "team-a", "locked"))
    assert not asks(above, locked, who=BOB)
    assert asks(above, scope(), who=BOB)
    below = world([OPEN, both], bind("top", "ann", "open"), bind("down", "bob", "both", parent="top"))
    assert asks(below, locked, who=ANN)
    assert not asks(below, locked, who=BOB)


@pytest.mark.requires("authority.delegator-denied")
def test_what_a_delegator_is_denied_by_any_binding_was_not_theirs_to_hand_on() -> None:
    made = (bind("top", "ann", "open"), bind("mid", "bob", "open", parent="top"))
    low = bind("low", "cat", "open", parent="mid")
    shut = bind("shut", "ann", "shut", namespaces=("team-a",), heights=(None, 9))
    here, there, cat = scope(("ConfigMap", "team-a", "x")), scope(("ConfigMap", "team-b", "x")), Person("cat")
    lent = world([OPEN, SHUT], *made, low, shut)
    for who in (BOB, cat):
        assert not may(lent, who, "propose", here, 9)
        assert may(lent, who, "propose", here, 10), "the denial is over"
        assert may(lent, who, "propose", there, 9)
        assert may(lent, who, "approve", here, 9)
        assert not may_lastingly(lent, who, "propose", here, 9)
    own = world([OPEN, SHUT], *made, low, shut, bind("own", "cat", "open"))
    assert may(own, cat, "propose", here, 9), "what is bound to them without the delegator stays"
    below = world([OPEN, SHUT], *made, low, bind("shut", "cat", "shut"))
    assert may(below, BOB, "propose", here, 1), "nothing goes up"


@pytest.mark.requires("authority.delegation-narrows")
def test_a_delegation_ends_with_its_parent_and_three_deep() -> None:
    line = [bind("b0", "ann", "open")] + [
        bind(f"b{i}", f"p{i}", "open", parent=f"b{i - 1}") for i in range(1, 5)
    ]
    assert asks(world([OPEN], *line), scope(), who=Person("p3"))
    assert not asks(world([OPEN], *line), scope(), who=Person("p4"))
    assert not asks(world([OPEN], *line[1:]), scope(), who=Person("p3"))
    ring = [bind("x", "ann", "open", parent="y"), bind("y", "ann", "open", parent="x")]
    assert not asks(world([OPEN], *ring), scope())


@pytest.mark.requires("authority.heights")
def test_a_binding_counts_from_its_first_height_to_its_last() -> None:
    bounded = world([OPEN], bind("b", "ann", "open", heights=(10, 20)))
    asked = scope()
    assert [asks(bounded, asked, height) for height in (9, 10, 20, 21)] == [False, True, True, False]
    under = world([OPEN], bind("b", "ann", "open", heights=(10, 20)), bind("c", "bob", "open", parent="b"))
    assert [asks(under, asked, height, BOB) for height in (9, 10, 20, 21)] == [False, True, True, False]
    denied = world([OPEN, SHUT], bind("a", "ann", "open"), bind("b", "ann", "shut", heights=(10, 20)))
    assert [asks(denied, asked, height) for height in (9, 10, 20, 21)] == [True, False, False, True]


@pytest.mark.requires("authority.kinds-bound")
@pytest.mark.parametrize(
    ("kind", "verbs"),
    [
        (SubjectKind.HUMAN, {"propose", "approve", "grant", "freeze", "revoke", "pause"}),
        (SubjectKind.AGENT, {"propose"}),
        (SubjectKind.NODE, set()),
        (SubjectKind.ORGANISATION, set()),
    ],
)
def test_whatever_it_is_bound_to_a_subject_is_bounded_by_its_kind(kind: SubjectKind, verbs: set[str]) -> None:
    every = ("propose", "approve", "grant", "freeze", "revoke", "pause")
    constitution = world([role("all", grant(*every))], bind("b", "ann", "all"))
    someone = Person("ann", kind=kind)
    assert {v for v in every if may(constitution, someone, v, scope(), 1)} == verbs
    for verb in set(every) - verbs:
        refusal_of(
            functools.partial(check_may, constitution, someone, verb, scope(), 1), Code.PERMISSION_DENIED
        )


@pytest.mark.requires("authority.lasting")
def test_what_lasts_has_no_end_and_no_denial_to_come() -> None:
    asked = governing("Role")
    governor = role("gov", grant("propose", kinds=GOVERNING))
    shut = role("shut", denial("propose", names=("root",)))
    assert may_lastingly(world([governor], bind("b", "ann", "gov")), ANN, "propose", asked, 1)
    for binding in (bind("b", "ann", "gov", heights=(None, 99)), bind("b", "ann", "gov", heights=(2, None))):
        assert not may_lastingly(world([governor], binding), ANN, "propose", asked, 1)
    for heights, expected in (
        ((50, None), False),
        ((None, 1), False),
        ((None, None), False),
        ((None, 0), True),
    ):
        denied = world([governor, shut], bind("b", "ann", "gov"), bind("d", "ann", "shut", heights=heights))
        assert may_lastingly(denied, ANN, "propose", asked, 1) is expected
    assert not may_lastingly(
        world([governor], bind("b", "ann", "gov")), Person("ann", kind=SubjectKind.NODE), "propose", asked, 1
    )


@pytest.mark.requires("authority.quorum")
def test_a_role_is_held_where_its_binding_covers_all_of_a_change() -> None:
    within = world([OPEN], bind("b", "ann", "open", namespaces=("team-a",), clusters=("east",)))
    assert holds_role(within, ANN.did, "open", scope(), 1)
    assert not holds_role(within, ANN.did, "shut", scope(), 1)
    assert not holds_role(within, BOB.did, "open", scope(), 1)
    assert not holds_role(within, ANN.did, "open", scope(clusters=("east", "west")), 1)
    assert not holds_role(within, ANN.did, "open", scope(("Namespace", "-", "x")), 1)
    ending = world([OPEN], bind("b", "ann", "open", heights=(None, 5)))
    assert holds_role(ending, ANN.did, "open", scope(), 5)
    assert not holds_role(ending, ANN.did, "open", scope(), 6)
    assert not holds_role(ending, ANN.did, "open", scope(), 5, lasting=True)


@pytest.mark.requires("authority.quorum")
def test_a_role_that_the_delegator_lacks_is_not_held_by_delegation() -> None:
    security = role("security", grant("approve"))
    lent = world([OPEN, security], bind("top", "ann", "open"), bind("b", "bob", "security", parent="top"))
    assert not holds_role(lent, BOB.did, "security", scope(), 1)
    shared = world([security], bind("top", "ann", "security"), bind("b", "bob", "security", parent="top"))
    assert holds_role(shared, BOB.did, "security", scope(), 1)


@pytest.mark.requires("authority.work-bounded")
def test_the_largest_change_is_judged_and_the_largest_work_refused() -> None:
    touches = tuple(("ConfigMap", f"n{i % 9}", f"m{i}") for i in range(OBJECTS_PER_RELEASE_MAX))
    clusters = tuple(f"c{i:04d}" for i in range(CLUSTERS_PER_RELEASE_MAX))
    asked = scope(*touches, clusters=clusters)
    assert asks(world([OPEN], bind("b", "ann", "open")), asked)
    # Every cluster is told apart and every name asked for.
    named = role("named", *(grant("propose", names=(f"m{i}*",)) for i in range(10)))
    many = [bind(f"b{i}", "ann", "named", clusters=(f"c{i:04d}",)) for i in range(50)]
    refusal_of(lambda: asks(world([named], *many), asked), Code.LIMIT_EXCEEDED)


@pytest.mark.requires("authority.work-bounded")
def test_a_remembered_answer_is_the_same_and_the_memory_is_bounded() -> None:
    constitution = world([OPEN], bind("b", "ann", "open"))
    asked = scope()
    assert asks(constitution, asked)
    assert asks(constitution, asked)
    for i in range(5000):
        assert not asks(constitution, asked, who=Person(f"p{i}"))
    assert len(constitution.memo) <= 4096
    assert asks(constitution, asked)
