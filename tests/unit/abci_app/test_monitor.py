"""The grammar of ABCI calls: every correct order passes, each wrong one is named."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from abci_app.abci import Application, Dispatcher
from ledger.pb import abci_pb2 as pb
from tests.support.abci_monitor import Grammar, Monitor, read_record
from tests.support.application import memory_application
from tests.support.subjects import CHAIN_ID, genesis_bytes

START, INIT = [("start", 0), ("info", 0)], [("init_chain", 0)]


def block(height: int) -> list[tuple[str, int]]:
    """Give the calls of a height with one round."""
    proposal = [("prepare_proposal", height), ("process_proposal", height)]
    return [*proposal, ("finalize_block", height), ("check_tx", 0), ("commit", 0), ("recheck_tx", 0)]


CORRECT = {
    "clean start": [*START, *INIT, *block(1), *block(2), ("query", 5), ("info", 2)],
    "lost rounds": [*START, *INIT, ("process_proposal", 1), ("process_proposal", 1), *block(1)],
    "catching up": [
        *START,
        *INIT,
        ("finalize_block", 1),
        ("commit", 0),
        ("finalize_block", 2),
        ("commit", 0),
    ],
    "killed before commit": [*START, *INIT, *block(1), *block(2)[:3], ("start", 0), ("info", 1), *block(2)],
    "killed in commit, written": [*START, *INIT, *block(1)[:5], ("start", 0), ("info", 1), *block(2)],
    "killed in commit, not written": [*START, *INIT, *block(1)[:5], *START, *INIT, *block(1)],
}
WRONG = {
    "no handshake": [("start", 0), *INIT],
    "no InitChain": [*START, *block(1)],
    "InitChain twice": [*START, *INIT, *INIT],
    "InitChain late": [*START, *INIT, *block(1), *INIT],
    "commit without finalize": [*START, *INIT, ("commit", 0)],
    "commit twice": [*START, *INIT, *block(1), ("commit", 0)],
    "finalize twice": [*START, *INIT, ("finalize_block", 1), ("finalize_block", 1)],
    "a height left out": [*START, *INIT, *block(1), *block(3)],
    "a height again": [*START, *INIT, *block(1), *block(1)],
    "a proposal of the past": [*START, *INIT, *block(1), ("process_proposal", 1)],
    "a proposal before commit": [*START, *INIT, ("finalize_block", 1), ("prepare_proposal", 2)],
    "a lost block": [*START, *INIT, *block(1), *block(2), ("start", 0), ("info", 0)],
    "a block from nowhere": [*START, *INIT, *block(1), ("start", 0), ("info", 2)],
    "a vote extension": [*START, *INIT, ("extend_vote", 1)],
    "a snapshot offered late": [*START, *INIT, *block(1), ("offer_snapshot", 0)],
    "a transaction before the handshake": [("start", 0), ("check_tx", 0)],
    "recheck before any block": [*START, ("recheck_tx", 0)],
}


@pytest.mark.requires("abci.order-judged")
@pytest.mark.parametrize("calls", CORRECT.values(), ids=list(CORRECT))
def test_a_correct_order_passes(calls: list[tuple[str, int]]) -> None:
    assert Grammar.judge(calls).violations == []


@pytest.mark.requires("abci.order-judged")
@pytest.mark.parametrize("calls", WRONG.values(), ids=list(WRONG))
def test_a_wrong_order_is_named(calls: list[tuple[str, int]]) -> None:
    assert len(Grammar.judge(calls).violations) >= 1


@pytest.mark.requires("abci.order-judged")
def test_the_monitor_notes_every_call_and_changes_no_answer(tmp_path: Path) -> None:
    requests = [
        pb.Request(info=pb.RequestInfo()),
        pb.Request(init_chain=pb.RequestInitChain(chain_id=CHAIN_ID, app_state_bytes=genesis_bytes())),
        pb.Request(check_tx=pb.RequestCheckTx(tx=b"x")),
        pb.Request(process_proposal=pb.RequestProcessProposal(height=1)),
        pb.Request(finalize_block=pb.RequestFinalizeBlock(height=1, txs=[b"x"])),
        pb.Request(commit=pb.RequestCommit()),
        pb.Request(check_tx=pb.RequestCheckTx(tx=b"x", type=pb.RECHECK)),
        pb.Request(info=pb.RequestInfo()),
    ]
    monitor = Monitor(memory_application(), tmp_path)
    watched, bare = Dispatcher(cast("Application", monitor)), Dispatcher(memory_application())
    assert [watched.call(r) for r in requests] == [bare.call(r) for r in requests]
    monitor.close()
    names = ["start", "info", "init_chain", "check_tx", "process_proposal", "finalize_block", "commit"]
    assert [name for name, _ in read_record(tmp_path)] == [*names, "recheck_tx", "info"]
    assert Grammar.judge(read_record(tmp_path)).violations == []
