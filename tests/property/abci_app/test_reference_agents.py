"""Machine and independent reference agree on an agent that proposes, takes back, is cut off and let back.

A machine with one rule of suspensions broken must disagree.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abci_app import check
from abci_app.machine import proposals as machine
from ledger.errors import Code
from tests.property.abci_app.comparison import Different
from tests.property.abci_app.histories import PLANS, History
from tests.property.abci_app.reference import Case
from tests.property.abci_app.side_by_side import HUMANS, NAMESPACES, NODES, person
from tests.support.subjects import AGENT, CAROL, Subject

SEEDS = range(20)
STEPS = (
    *["agent_proposes", "judge_agents"] * 5,
    *["take_back", "let_back"] * 2,
    *["wait", "suspend", "revoke_somebody"],
)
REACHED = (
    "a suspended agent proposes",
    "asked for by a suspended agent",
    "suspended in the delay",
    "rejected while suspended",
    "suspension lifted",
    "taken back by an agent",
    "final when due",
)


class AgentHistory(History):
    """A ledger on which an agent does most of the proposing."""

    def walk(self, choices: random.Random, steps: int) -> None:
        """Do so many steps."""
        for _ in range(steps):
            self.state.time += choices.choice((0, 0, 1, 3))
            getattr(self, f"_{choices.choice(STEPS)}")(choices)

    def _agent_proposes(self, choices: random.Random) -> None:
        name = choices.choice(tuple(NAMESPACES))
        clusters = choices.choice((("east",), ("east", "west"), ("west",)))
        self.propose(AGENT, lambda by: Case("apply", by, release=name, clusters=clusters, plan=PLANS[0]))

    def _judge_agents(self, choices: random.Random) -> None:
        cases = self.reference.cases
        waiting = [n for n, case in enumerate(cases) if case.state in ("open", "approved")][-3:]
        if waiting:
            number, approves = choices.choice(waiting), choices.choice((True, True, True, False))
            self.judge_all(number, self._order(choices)[: choices.choice((1, 3))], approves=approves)

    def _take_back(self, choices: random.Random) -> None:
        if self.proposals:
            number = choices.choice(range(len(self.proposals))[-3:])
            self.judge(AGENT, number, approves=choices.choice((False, False, True)))

    def _suspend(self, choices: random.Random) -> None:
        self.suspend(choices.choice((NODES["east"], *HUMANS)))

    def _let_back(self, choices: random.Random) -> None:
        if self.reference.suspended or choices.random() < 0.1:
            self.pass_(lambda by: Case("configure", by, frees=person(AGENT)), self._order(choices))

    def _revoke_somebody(self, choices: random.Random) -> None:
        if choices.random() < 0.1:
            subjects: tuple[Subject, ...] = (*HUMANS, AGENT)
            self.revoke(choices.choice(HUMANS), choices.choice(subjects))


@functools.cache
def honest(seed: int) -> Counter[str]:
    """Give what happened in a history of the machine as it is."""
    return walk(seed)


def walk(seed: int) -> Counter[str]:
    """Live through one history; give what happened in it."""
    history = AgentHistory()
    history.walk(random.Random(seed), 60)  # noqa: S311 - choices, not secrets
    return history.reference.seen


@pytest.mark.requires("agents.reference")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(5, 20))
def test_the_machine_agrees_with_the_reference(choices: random.Random, steps: int) -> None:
    AgentHistory().walk(choices, steps)


@pytest.mark.requires("agents.reference")
def test_histories_reach_every_rule_of_suspensions() -> None:
    seen = sum(map(honest, SEEDS), Counter[str]())
    assert {word: seen[word] for word in REACHED if not seen[word]} == {}


_NOT_SUSPENDED = check.check_not_suspended


def _never(state: Any, subject: Any) -> None:
    """Cut nobody off."""


def _not_own(action: Any, state: Any, signer: Any) -> bool:
    """Let nobody take anything back."""
    return False


def _anybodys(action: Any, state: Any, signer: Any) -> bool:
    """Let everybody take back whatever there is."""
    return bool(getattr(action, "kind", None) == "Rejection")


SABOTAGES: dict[str, tuple[str, object, str, Any]] = {
    "speaks while suspended": ("a suspended agent proposes", check, "check_not_suspended", _never),
    "approved while suspended": ("asked for by a suspended agent", machine, "check_not_suspended", _never),
    "nothing is taken back": ("taken back by an agent", check, "_takes_back", _not_own),
    "an agent rejects": ("taken back by an agent", check, "_takes_back", _anybodys),
}
"""What each breaks, and the word of the situation in which it shows."""


@pytest.mark.requires("agents.reference")
@pytest.mark.parametrize("name", SABOTAGES)
def test_a_machine_with_a_broken_rule_disagrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    word, where, what, broken = SABOTAGES[name]
    seeds = sorted(SEEDS, key=lambda seed: not honest(seed)[word])
    monkeypatch.setattr(where, what, broken)

    def walk_all() -> None:
        for seed in seeds:
            walk(seed)

    with pytest.raises(Different):
        walk_all()


@pytest.mark.requires("agents.reference")
def test_what_waits_when_its_agent_is_cut_off_is_not_done() -> None:
    history = AgentHistory()
    history.propose(AGENT, lambda by: Case("apply", by, release="web", clusters=("west",), plan=PLANS[0]))
    history.judge_all(0, HUMANS)
    history.suspend(CAROL)
    history.state.time += 10
    history.idle()
    waited = history.reference.cases[0]
    assert (waited.state, waited.code) == ("failed", Code.AGENT_SUSPENDED)
