"""The simulation notices what it is there for: each bug put into the machine is found within some blocks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from abci_app import application, rules
from abci_app.machine import block, proposals, releases, world
from ledger import account, records
from ledger.account import Account
from ledger.actions import Report
from ledger.authority.decision import Decision
from ledger.errors import Code, Refused
from ledger.pb import abci_pb2 as pb
from state.store import Store
from tests.simulation import replica
from tests.simulation.network import network
from tests.support.memory_state import MemoryStore

BLOCKS = 150
Patch = pytest.MonkeyPatch


def agents_and_all_count_alike(patch: Patch) -> None:
    def one_is_enough(
        _constitution: Any, requirement: Any, _scope: Any, voices: Any, _height: int
    ) -> Decision:
        return Decision(len(voices) >= requirement.humans - 1, 1, 1, 0, 0, ())

    patch.setattr(proposals, "decide", one_is_enough)


def organisations_are_not_counted(patch: Patch) -> None:
    def humans_only(_constitution: Any, requirement: Any, _scope: Any, voices: Any, _height: int) -> Decision:
        found = len({voice.subject.did for voice in voices})
        return Decision(found >= requirement.humans, found, 2, 0, 0, ())

    patch.setattr(proposals, "decide", humans_only)


def a_nonce_comes_twice(patch: Patch) -> None:
    def forgetful(used: Account, nonce: int, *, late: bool = False) -> Account:
        del late
        return dataclasses.replace(used, highest=max(used.highest, nonce), seen=1)

    patch.setattr(account, "use_nonce", forgetful)


def a_subject_judges_twice(patch: Patch) -> None:
    def forgetful(record: Any, judgement: Any, _signer: Any) -> None:
        if judgement.digest != record.digest:
            raise Refused(Code.APPROVAL_DIGEST_MISMATCH)

    patch.setattr(rules, "check_judgement", forgetful)


def reports_go_backwards(patch: Patch) -> None:
    honest = rules.check_report

    def forgetful(report: Report, reporter: Any, current: Any, _last: Any) -> None:
        honest(report, reporter, current, 0)

    patch.setattr(rules, "check_report", forgetful)


def expiry_is_off_by_one(patch: Patch) -> None:
    honest = rules.check_open

    def late(record: Any, height: int, **how: Any) -> None:
        honest(record, height - 1, **how)

    patch.setattr(rules, "check_open", late)


def a_refused_transaction_leaves_a_trace(patch: Patch) -> None:
    honest = block.execute

    def littering(ctx: Any, admitted: Any, tx: bytes) -> Any:
        try:
            return honest(ctx, admitted, tx)
        except Refused:
            ctx.state.put(b"litter", tx)
            ctx.state.commit_into_parent()
            raise

    patch.setattr(block, "execute", littering)


def a_revision_is_skipped(patch: Patch) -> None:
    honest = world.release_record

    def ahead(state: Any, name: str) -> Any:
        record = honest(state, name)
        return None if record is None else dataclasses.replace(record, revision=record.revision + 1)

    patch.setattr(releases, "release_record", ahead)


def replicas_count_for_themselves(patch: Patch) -> None:
    calls = itertools.count()
    patch.setattr(records, "write_count", lambda _number: f'{{"count":{next(calls) + 1}}}'.encode())


def a_commit_forgets_a_change(patch: Patch) -> None:
    honest = MemoryStore.commit

    def lossy(store: MemoryStore, staged: Any) -> Any:
        version = honest(store, staged)
        store.content.pop(b"proposals", None)
        return version

    patch.setattr(MemoryStore, "commit", lossy)


def a_commit_is_not_written(patch: Patch) -> None:
    def lazy(store: Store, staged: Any) -> Any:
        store._committed = staged.version
        return staged.version

    patch.setattr(Store, "commit", lazy)


def process_depends_on_the_replica(patch: Patch) -> None:
    calls = itertools.count()
    honest = application.ConclaveApplication.process_proposal

    def moody(self: Any, request: Any) -> Any:
        verdict = honest(self, request)
        if next(calls) % 97 == 0:
            verdict.status = pb.ResponseProcessProposal.REJECT
        return verdict

    patch.setattr(application.ConclaveApplication, "process_proposal", moody)


SABOTAGES = (
    agents_and_all_count_alike,
    organisations_are_not_counted,
    a_nonce_comes_twice,
    a_subject_judges_twice,
    reports_go_backwards,
    expiry_is_off_by_one,
    a_refused_transaction_leaves_a_trace,
    a_revision_is_skipped,
    replicas_count_for_themselves,
    a_commit_forgets_a_change,
    a_commit_is_not_written,
    process_depends_on_the_replica,
)


@pytest.mark.requires("simulation.notices")
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_a_bug_is_found(sabotage: Callable[[Patch], None], monkeypatch: Patch) -> None:
    sabotage(monkeypatch)

    def live() -> None:
        for seed in (101, 102, 103):
            with network(seed) as simulated:
                for _ in range(BLOCKS):
                    simulated.block()
                simulated.settle()

    with pytest.raises((AssertionError, Refused)):
        live()


@pytest.mark.requires("simulation.notices")
def test_every_crash_point_is_visited(monkeypatch: Patch) -> None:
    visited = set()
    honest = replica.Replica.execute

    def noting(self: Any, txs: Any, time: int, crash: str) -> Any:
        visited.add(crash)
        return honest(self, txs, time, crash)

    monkeypatch.setattr(replica.Replica, "execute", noting)
    with network(3) as simulated:
        for _ in range(BLOCKS):
            simulated.block()
    assert visited == {"", *replica.CRASHES}
