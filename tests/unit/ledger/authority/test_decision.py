"""Is it approved? Whose voices count, how places are filled, what is missing."""

from __future__ import annotations

import functools

import pytest

from ledger.authority.constitution import Constitution
from ledger.authority.decision import Decision, Voice, check_voice, counted, decide, denied
from ledger.authority.objects import ApprovalRule
from ledger.authority.requirement import break_glass_requirement, requirement
from ledger.errors import Code
from ledger.types import SubjectKind
from tests.support.constitutions import Person, bind, break_glass, denial, grant, role, rule, scope
from tests.support.refusal import refusal_of

ANN, BOB, CAT = Person("ann"), Person("bob"), Person("cat", organisation="org-b")
ROLES = [
    role("open", grant("approve")),
    role("x", grant("approve")),
    role("y", grant("approve")),
    role("shut", denial("approve")),
]
BINDINGS = [bind(f"open-{name}", name, "open") for name in ("ann", "bob", "cat", "bot")]
ASKED = scope()


def world(*rules: ApprovalRule, more: tuple[tuple[str, str], ...] = ()) -> Constitution:
    return Constitution.of(
        ROLES, [*BINDINGS, *(bind(f"{who}-{to}", who, to) for who, to in more)], rules, [break_glass()]
    )


def voiced(constitution: Constitution, *people: Person) -> list[Voice]:
    digest = requirement(constitution, ASKED, 100).digest
    return [Voice(person, keys_revoked=False, requirement=digest) for person in people]


def judged(constitution: Constitution, *people: Person) -> Decision:
    voices = voiced(constitution, *people)
    return decide(constitution, requirement(constitution, ASKED, 100), ASKED, voices, 1)


@pytest.mark.requires("authority.humans-and-organisations")
def test_distinct_humans_of_distinct_organisations_are_counted() -> None:
    constitution = world(rule(humans=2, organisations=2))
    assert judged(constitution, ANN, CAT).approved
    assert not judged(constitution, ANN, BOB).approved
    assert not judged(constitution, ANN, ANN).approved
    assert not judged(constitution).approved
    assert judged(constitution, ANN, ANN).missing() == {"humans": 1, "organisations": 1, "quorum": []}


@pytest.mark.requires("authority.whose-voice-counts")
def test_a_voice_counts_of_an_active_human_who_may_with_good_keys_for_this_requirement() -> None:
    constitution = world(rule(), more=(("dan", "open"), ("dan", "shut")))
    needed = requirement(constitution, ASKED, 100)
    good = Voice(ANN, keys_revoked=False, requirement=needed.digest)
    bad = [
        Voice(ANN, keys_revoked=True, requirement=needed.digest),
        Voice(ANN, keys_revoked=False, requirement="0" * 64),
        Voice(Person("ann", is_active=False), keys_revoked=False, requirement=needed.digest),
        Voice(Person("bot", kind=SubjectKind.AGENT), keys_revoked=False, requirement=needed.digest),
        Voice(Person("bot", kind=SubjectKind.NODE), keys_revoked=False, requirement=needed.digest),
        Voice(Person("stranger"), keys_revoked=False, requirement=needed.digest),
        Voice(Person("dan"), keys_revoked=False, requirement=needed.digest),
    ]
    assert counted(constitution, needed, ASKED, [*bad, good], 1) == [ANN]
    for voice in bad:
        assert not decide(constitution, needed, ASKED, [voice], 1).approved
        assert not denied(constitution, needed, ASKED, [voice], 1)


@pytest.mark.requires("authority.whose-voice-counts")
def test_a_voice_counts_only_while_its_binding_does() -> None:
    constitution = Constitution.of(ROLES, [bind("b", "ann", "open", heights=(5, 9))], [rule()])
    needed = requirement(constitution, ASKED, 100)
    voices = [Voice(ANN, keys_revoked=False, requirement=needed.digest)]
    approved = [decide(constitution, needed, ASKED, voices, height).approved for height in (4, 5, 9, 10)]
    assert approved == [False, True, True, False]


@pytest.mark.requires("authority.whose-voice-counts")
def test_who_may_not_approve_is_told_so() -> None:
    constitution = world(rule())
    needed = requirement(constitution, ASKED, 100)
    check_voice(constitution, needed, ANN, ASKED, 1)
    for someone in (Person("stranger"), Person("bot", kind=SubjectKind.AGENT)):
        refusal_of(
            functools.partial(check_voice, constitution, needed, someone, ASKED, 1), Code.PERMISSION_DENIED
        )


@pytest.mark.requires("authority.whose-voice-counts")
def test_a_voice_too_costly_to_judge_does_not_count_and_stops_nobody() -> None:
    touches = tuple(("ConfigMap", "team-a", f"m{i}") for i in range(4096))
    asked = scope(*touches, clusters=tuple(f"c{i:04d}" for i in range(1000)))
    named = role("named", *(grant("approve", names=(f"m{i}*",)) for i in range(10)))
    heavy = [bind(f"h{i}", "bob", "named", clusters=(f"c{i:04d}",)) for i in range(50)]
    constitution = Constitution.of([*ROLES, named], [*BINDINGS, *heavy], [rule()])
    needed = requirement(constitution, asked, 100)
    voices = [Voice(p, keys_revoked=False, requirement=needed.digest) for p in (ANN, BOB)]
    assert [p.did for p in counted(constitution, needed, asked, voices, 1)] == [ANN.did]


@pytest.mark.requires("authority.quorum")
def test_each_human_fills_one_place_and_a_better_seating_is_found() -> None:
    constitution = world(
        rule(quorum=(("x", 1), ("y", 1))), more=(("ann", "x"), ("ann", "y"), ("bob", "x"), ("cat", "x"))
    )
    assert not judged(constitution, ANN).approved
    assert judged(constitution, ANN, BOB).approved
    assert judged(constitution, BOB, ANN).approved
    assert not judged(constitution, BOB, CAT).approved
    assert judged(constitution, BOB, CAT).missing()["quorum"] == [{"role": "y", "count": 1}]
    assert judged(constitution, ANN).missing()["quorum"] == [{"role": "y", "count": 1}]


@pytest.mark.requires("authority.quorum")
def test_a_role_counts_as_often_as_the_rule_says() -> None:
    constitution = world(rule(quorum=(("x", 2),)), more=(("ann", "x"), ("bob", "x")))
    assert judged(constitution, ANN, BOB).approved
    assert judged(constitution, ANN, CAT).missing()["quorum"] == [{"role": "x", "count": 1}]
    assert judged(constitution, CAT).missing()["quorum"] == [{"role": "x", "count": 2}]


@pytest.mark.requires("authority.denial")
def test_so_many_rejections_close_a_proposal() -> None:
    constitution = world(rule(deny_threshold=2))
    needed = requirement(constitution, ASKED, 100)
    assert not denied(constitution, needed, ASKED, voiced(constitution, ANN, ANN), 1)
    assert denied(constitution, needed, ASKED, voiced(constitution, ANN, BOB), 1)


@pytest.mark.requires("authority.break-glass")
def test_only_human_members_count_under_a_break_glass() -> None:
    constitution = world(rule(humans=9))
    needed = break_glass_requirement(constitution, "night", ASKED, time=1, uses=0, ttl_blocks=7)

    def approved(*people: Person) -> bool:
        voices = [Voice(p, keys_revoked=False, requirement=needed.digest) for p in people]
        return decide(constitution, needed, ASKED, voices, 1).approved

    assert approved(ANN, BOB)
    assert not approved(ANN, CAT)
    assert not approved(ANN, Person("bob", is_active=False))
    assert not approved(ANN, Person("bob", kind=SubjectKind.AGENT))
    check_voice(constitution, needed, ANN, ASKED, 1)
    refusal_of(lambda: check_voice(constitution, needed, CAT, ASKED, 1), Code.PERMISSION_DENIED)
