"""The theorem on a whole small world: every state that the invariant lets through, by brute force.

Three humans of two organisations; roles, bindings, rules and people change one at a time, in every order.
What the invariant passes is judged by a second reading of the specification that tries every set of humans.
Source: docs/spec/authority.md §6.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ledger.authority.constitution import Constitution, may
from ledger.authority.decision import Voice, decide
from ledger.authority.liveness import GOVERNING_KINDS, check_not_locked_out
from ledger.authority.requirement import requirement
from ledger.authority.scope import Scope
from ledger.errors import Code
from tests.support.authority_reference import World, approve_enough, may_all
from tests.support.constitutions import GOVERNING, Person, bind, denial, governing, grant, role, rule
from tests.support.refusal import outcome

NOW, END, LATER = 1, 50, 1000
"""Heights: of the checks, where bounded bindings end or begin, and long after."""
NAMES = ("root", "x")
FULL = grant("propose", "approve", kinds=GOVERNING)
NO_ROLES = grant("approve", kinds=tuple(k for k in GOVERNING if not k.startswith("Role.")))
SLOTS: dict[str, dict[str, Any]] = {
    "governor": {
        "full": role("governor", FULL),
        "approves no roles": role("governor", grant("propose", kinds=GOVERNING), NO_ROLES),
    },
    "ann": {
        "bound": bind("g-ann", "ann", "governor"),
        "ending": bind("g-ann", "ann", "governor", heights=(None, END)),
        "none": None,
    },
    "bob": {
        "bound": bind("g-bob", "bob", "governor"),
        "by ann": bind("g-bob", "bob", "governor", parent="g-ann"),
        "none": None,
    },
    "cat": {"bound": bind("g-cat", "cat", "governor"), "none": None},
    "denial of cat": {
        "none": None,
        "now": bind("d-cat", "cat", "shut"),
        "to come": bind("d-cat", "cat", "shut", heights=(END, None)),
        "over": bind("d-cat", "cat", "shut", heights=(None, 0)),
    },
    "rule": {
        "one": rule("a"),
        "two of two": rule("a", humans=2, organisations=2),
        "two governors": rule("a", quorum=(("governor", 2),)),
        "none": None,
    },
    "rule for roles": {"none": None, "three": rule("b", humans=3, kinds=("Role.conclave.internal",))},
    "bob's keys": {"active": None, "revoked": None, "dead": None},
    "cat's keys": {"active": None, "dead": None},
}
STATUS = ("bob's keys", "cat's keys")
CONFIGURED = tuple(name for name in SLOTS if name not in STATUS)
SHUT = role("shut", denial("approve", kinds=GOVERNING, names=("root",)))
JOINT = Scope(
    governing("Role").operation,
    tuple(sorted(t for kind in GOVERNING_KINDS for t in governing(kind).touches)),
    ("-",),
    governing("Role").risk,
)
"""A change of everything at once."""


class State(NamedTuple):
    """What each slot holds now, in the order of ``SLOTS``."""

    choices: tuple[str, ...]

    def at(self, name: str) -> str:
        return self.choices[tuple(SLOTS).index(name)]

    def but(self, name: str, choice: str) -> State:
        at = tuple(SLOTS).index(name)
        return State((*self.choices[:at], choice, *self.choices[at + 1 :]))


BEGINNING = State(tuple(next(iter(choices)) for choices in SLOTS.values()))


@functools.cache
def world_of(configured: tuple[str, ...]) -> World:
    parts = {name: SLOTS[name][choice] for name, choice in zip(CONFIGURED, configured, strict=True)}
    bindings = (parts[name] for name in ("ann", "bob", "cat", "denial of cat"))
    rules = (parts[name] for name in ("rule", "rule for roles"))
    return World(
        (parts["governor"], SHUT),
        tuple(b for b in bindings if b is not None),
        tuple(r for r in rules if r is not None),
    )


def configured_of(state: State) -> tuple[str, ...]:
    return state.choices[: len(CONFIGURED)]


@functools.cache
def constitution_of(configured: tuple[str, ...]) -> Constitution:
    world = world_of(configured)
    return Constitution.of(world.roles, world.bindings, world.rules)


def people_of(state: State) -> tuple[Person, ...]:
    bob, cat = state.at("bob's keys"), state.at("cat's keys")
    return (
        Person("ann"),
        Person("bob", is_active=bob == "active", is_living=bob != "dead"),
        Person("cat", "org-b", is_active=cat == "active", is_living=cat != "dead"),
    )


def steps(state: State) -> Iterator[State]:
    """Give every state one change away; who is dead stays dead."""
    for name, choices in SLOTS.items():
        if name in STATUS and state.at(name) == "dead":
            continue
        for choice in choices:
            if choice != state.at(name):
                yield state.but(name, choice)


def is_let_through(state: State) -> bool:
    check = functools.partial(
        check_not_locked_out, constitution_of(configured_of(state)), people_of(state), NOW
    )
    _, code = outcome(check)
    assert code in (Code.OK, Code.LOCKOUT)
    return code is Code.OK


@functools.cache
def explored() -> tuple[tuple[State, ...], tuple[State, ...]]:
    """Give every state reachable through the invariant, and those it refused on the way."""
    verdicts = {BEGINNING: is_let_through(BEGINNING)}
    pending = [BEGINNING]
    while pending:
        for state in steps(pending.pop()):
            if state not in verdicts:
                verdicts[state] = is_let_through(state)
                if verdicts[state]:
                    pending.append(state)
    assert verdicts[BEGINNING]
    return tuple(s for s, ok in verdicts.items() if ok), tuple(s for s, ok in verdicts.items() if not ok)


@functools.cache
def some_group_can(configured: tuple[str, ...], living: tuple[str, ...], height: int) -> bool:
    """Tell whether some set of the living can propose and approve a change of every governing object."""
    world = world_of(configured)
    people = [p for p in people_of(BEGINNING) if p.name in living]
    # Larger sets first: they end the search soonest.
    groups = [g for size in range(len(people), 0, -1) for g in itertools.combinations(people, size)]
    for kind, name in itertools.product(GOVERNING_KINDS, NAMES):
        asked = governing(kind, name)
        if not any(may_all(world, p, "propose", asked, height) for p in people):
            return False
        if not any(approve_enough(world, group, asked, height) for group in groups):
            return False
    return True


def living_of(state: State) -> tuple[str, ...]:
    return tuple(p.name for p in people_of(state) if p.is_living)


@pytest.mark.requires("authority.theorem-no-lockout")
def test_in_every_reachable_state_some_living_set_can_change_every_part_now_and_for_ever() -> None:
    reached, refused = explored()
    assert len(reached) > 300
    assert len(refused) > 1000
    for state in reached:
        for height in (NOW, LATER):
            assert some_group_can(configured_of(state), living_of(state), height), (state, height)


@pytest.mark.requires("authority.theorem-no-lockout")
def test_where_nothing_is_bounded_nor_denied_only_lockouts_are_refused() -> None:
    _, refused = explored()
    exact = [s for s in refused if s.at("ann") != "ending" and s.at("denial of cat") in ("none", "over")]
    assert len(exact) > 100
    for state in exact:
        assert not some_group_can(configured_of(state), living_of(state), NOW), state


def passes(state: State, group: tuple[Person, ...], asked: Scope) -> bool:
    """Tell whether the machine would let a group, all of it speaking, make a change alone."""
    constitution = constitution_of(configured_of(state))
    needed, code = outcome(lambda: requirement(constitution, asked, 100))
    if code is not Code.OK or not any(may(constitution, p, "propose", asked, NOW) for p in group):
        return False
    voices = [Voice(p, keys_revoked=False, requirement=needed.digest) for p in group]
    return decide(constitution, needed, asked, voices, NOW).approved


def own_acts(state: State, group: tuple[Person, ...], scopes: tuple[Scope, ...]) -> Iterator[State]:
    """Give what a group can make of a state alone: anything it passes; and people end, others' or its own."""
    for after in steps(state):
        is_cheap = configured_of(after) == configured_of(state)
        if is_cheap or any(passes(state, group, asked) for asked in scopes):
            yield after


@pytest.mark.requires("authority.theorem-no-capture")
def test_no_group_that_is_not_enough_becomes_enough_by_its_own_acts() -> None:
    scopes = (*(governing(kind, name) for kind in GOVERNING_KINDS for name in NAMES), JOINT)
    reached, _ = explored()
    configured = list(dict.fromkeys(configured_of(s) for s in reached))
    insufficient = 0
    for found in configured[::6]:
        world = world_of(found)
        start = State((*found, "active", "active"))
        for size in (1, 2):
            for group in itertools.combinations(people_of(start), size):
                if any(
                    approve_enough(world, group, asked, NOW)
                    and any(may_all(world, p, "propose", asked, NOW) for p in group)
                    for asked in scopes
                ):
                    continue
                insufficient += 1
                seen, pending = {start}, [start]
                while pending:
                    state = pending.pop()
                    assert not any(passes(state, group, asked) for asked in scopes), (state, group)
                    fresh = [s for s in own_acts(state, group, scopes) if s not in seen]
                    seen.update(fresh)
                    pending += fresh
    assert insufficient > 30
