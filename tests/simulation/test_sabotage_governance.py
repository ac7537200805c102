"""The simulation notices bugs in governance, rollouts, membership: each, put into the machine, is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from abci_app import autoscaling, rollouts
from abci_app.machine import freezes, membership, progress, proposals, world
from ledger import identity, statekeys
from ledger.authority import decision, liveness
from ledger.key_set import records_of
from ledger.records import ValidatorsRecord
from ledger.types import ProposalState
from tests.simulation.network import network

BLOCKS = 200
SEEDS = (33, 31, 32, 11)
Patch = pytest.MonkeyPatch


def anybody_may_propose(patch: Patch) -> None:
    patch.setattr(proposals, "check_may", lambda *_: None)


def lockouts_pass(patch: Patch) -> None:
    patch.setattr(liveness, "check_not_locked_out", lambda *_: None)


def nothing_waits_for_its_delay(patch: Patch) -> None:
    def at_once(ctx: Any, record: Any, scope: Any) -> Any:
        record = dataclasses.replace(record, state=ProposalState.APPROVED, approved_time=ctx.time)
        return proposals._execute_unless_frozen(ctx, record, scope)

    patch.setattr(proposals, "_approved", at_once)


def earlier_approvals_keep_counting(patch: Patch) -> None:
    honest = decision.decide

    def lenient(constitution: Any, requirement: Any, scope: Any, voices: Any, height: int) -> Any:
        renewed = [dataclasses.replace(voice, requirement=requirement.digest) for voice in voices]
        return honest(constitution, requirement, scope, renewed, height)

    patch.setattr(proposals, "decide", lenient)


def one_rejection_always_denies(patch: Patch) -> None:
    patch.setattr(proposals, "denied", lambda *_: True)


def places_are_not_given_back(patch: Patch) -> None:
    patch.setattr(proposals, "_closed", lambda _ctx, record: record)


def changes_ignore_freezes(patch: Patch) -> None:
    patch.setattr(freezes, "on_scope", lambda *_: None)
    patch.setattr(progress, "_may_start", lambda *_: True)


def what_leaves_is_overlooked(patch: Patch) -> None:
    honest = world._scope
    patch.setattr(world, "_scope", lambda operation, content, _, at: honest(operation, content, None, at))


def rollbacks_have_no_bound(patch: Patch) -> None:
    honest = rollouts.decide_failure

    def eager(rollout: Any, healthy: Any, _rollbacks: Any, time: int, bound: Any) -> Any:
        return honest(rollout, healthy, (), time, (bound[0], 1))

    patch.setattr(rollouts, "decide_failure", eager)


def rollbacks_go_to_what_failed(patch: Patch) -> None:
    honest = rollouts.decide_failure

    def blind(rollout: Any, healthy: Any, rollbacks: Any, time: int, bound: Any) -> Any:
        remedy = honest(rollout, healthy, rollbacks, time, bound)
        return rollouts.RollBack(rollout.revision) if isinstance(remedy, rollouts.RollBack) else remedy

    patch.setattr(rollouts, "decide_failure", blind)


def replicas_have_no_bounds(patch: Patch) -> None:
    patch.setattr(autoscaling, "_within", lambda value, _bounds: value)


def validators_move_as_they_like(patch: Patch) -> None:
    def bold(ctx: Any, record: Any, validators: Any) -> None:
        before = {v.key_id: v.power for v in record.validators}
        after = {v.key_id: v.power for v in validators}
        ctx.put(statekeys.VALIDATORS, ValidatorsRecord(validators))
        ctx.powers |= {
            key: after.get(key, 0) for key in {*before, *after} if before.get(key) != after.get(key)
        }

    patch.setattr(membership, "_become", bold)


def upgrades_come_a_block_late(patch: Patch) -> None:
    honest = membership.version_at
    patch.setattr(membership, "version_at", lambda record, height: honest(record, height - 1))


def old_keys_stay(patch: Patch) -> None:
    def lenient(known: Any, keys: Any, following: Any, _ending: Any, height: int) -> Any:
        fresh = records_of(keys, height)
        return dataclasses.replace(
            known, keys=(*known.keys, *fresh), next=following, version=known.version + 1, height=height
        )

    patch.setattr(identity, "_follow", lenient)


SABOTAGES = (
    anybody_may_propose,
    lockouts_pass,
    nothing_waits_for_its_delay,
    earlier_approvals_keep_counting,
    one_rejection_always_denies,
    places_are_not_given_back,
    changes_ignore_freezes,
    what_leaves_is_overlooked,
    rollbacks_have_no_bound,
    rollbacks_go_to_what_failed,
    replicas_have_no_bounds,
    validators_move_as_they_like,
    upgrades_come_a_block_late,
    old_keys_stay,
)
SOON: dict[Callable[[Patch], None], int] = {
    rollbacks_have_no_bound: 11,
    validators_move_as_they_like: 31,
    rollbacks_go_to_what_failed: 31,
    anybody_may_propose: 33,
    replicas_have_no_bounds: 32,
}
"""Seeds that come to the point soon; any seed does at last."""


@pytest.mark.requires("simulation.notices")
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_a_bug_is_found(sabotage: Callable[[Patch], None], monkeypatch: Patch) -> None:
    sabotage(monkeypatch)

    def live() -> None:
        for seed in (SOON.get(sabotage, 4), *SEEDS):
            with network(seed) as simulated:
                for _ in range(BLOCKS):
                    simulated.block()
                simulated.settle()

    with pytest.raises(AssertionError) as caught:
        live()
    assert caught.value.__notes__
