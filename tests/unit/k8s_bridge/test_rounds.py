"""A plan that was overtaken is made again, and what the rounds did adds up."""

from __future__ import annotations

import pytest

from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome
from k8s_bridge.objects import ObjectKey
from k8s_bridge.rounds import ROUNDS_MAX, until_undisturbed
from ledger.errors import Code, EnvironmentFault

WEB, SETTINGS, OLD = (ObjectKey("v1", "ConfigMap", "shop", name) for name in ("web", "settings", "old"))


def refused(status: int) -> EnvironmentFault:
    return EnvironmentFault(Code.KUBERNETES_REFUSED, got=status, expected="it is taken", status=status)


def result(key: ObjectKey, outcome: Outcome, status: int | None = None, *rivals: str) -> ObjectResult:
    fault = None if status is None else refused(status)
    code = Code.OK if fault is None else fault.code
    return ObjectResult(key, outcome, wanted=key is not OLD, code=code, fault=fault, rivals=rivals)


def rounds(*results: tuple[ObjectResult, ...]) -> tuple[ChangeSet, int]:
    """Play rounds; give the sum and how many were played."""
    left = [ChangeSet("c-1", "shop", 1, found) for found in results]
    played = 0

    def one() -> ChangeSet:
        nonlocal played
        played += 1
        return left.pop(0) if len(left) > 1 else left[0]

    return until_undisturbed(one), played


@pytest.mark.requires("bridge.overtaken")
def test_what_was_overtaken_is_done_in_the_next_round_and_told_once() -> None:
    first = (
        result(SETTINGS, Outcome.CONFIGURED, None, "kubectl"),
        result(WEB, Outcome.FAILED, 409),
        result(OLD, Outcome.SKIPPED),
    )
    second = (
        result(SETTINGS, Outcome.UNCHANGED),
        result(WEB, Outcome.CONFIGURED),
        result(OLD, Outcome.DELETED),
    )
    found, played = rounds(first, second)
    assert played == 2
    assert [each.outcome for each in found.results] == [
        Outcome.CONFIGURED,
        Outcome.CONFIGURED,
        Outcome.DELETED,
    ]
    assert found.results[0].rivals == ("kubectl",)


@pytest.mark.requires("bridge.overtaken")
def test_what_an_earlier_round_deleted_is_still_told() -> None:
    first = (result(WEB, Outcome.FAILED, 409), result(OLD, Outcome.DELETED))
    found, _ = rounds(first, (result(WEB, Outcome.CREATED),))
    assert [(each.key, each.outcome) for each in found.results] == [
        (WEB, Outcome.CREATED),
        (OLD, Outcome.DELETED),
    ]


@pytest.mark.requires("bridge.overtaken")
def test_what_is_overtaken_again_and_again_waits_for_the_next_attempt() -> None:
    found, played = rounds((result(WEB, Outcome.FAILED, 409),))
    assert (played, found.results[0].outcome) == (ROUNDS_MAX, Outcome.FAILED)


@pytest.mark.requires("bridge.overtaken")
@pytest.mark.parametrize("status", [403, 422, 500])
def test_other_refusals_are_not_tried_again_at_once(status: int) -> None:
    assert rounds((result(WEB, Outcome.FAILED, status),))[1] == 1
