"""``python -m tests.campaign.crash [KILLS [SEED]]``: kill -9 with load on, again and again; nothing is lost.

Owns the campaign over one real validator: kills of application, CometBFT or supervisor at random moments, and
the judgement at the end: the whole chain executed anew by a fresh application gives every app hash, every
proven receipt is where it was proven, the calls kept the ABCI grammar. Starts everything it kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.spec import NodeSpec
from consensus.node.supervise import stop_node
from runtime import process
from state.store import Store
from tests.campaign.judgement import Evidence, judge
from tests.campaign.load import CHAIN_ID, Load, genesis_document
from tests.integration.nodes import FAST, WAIT_S, Node, cometbft, free_base, until
from tests.support.abci_monitor import RECORD, Grammar, read_record
from tests.support.subjects import genesis_bytes

KILLS = 60
VICTIMS = ("app", "cometbft", "supervisor")
MODULE = "tests.support.monitored"
DEATHS_IN_A_ROW = 2
"""More deaths under one supervisor and its backoff would be most of the campaign."""
PAUSE_S_MAX = 0.6
MOMENTS = ("", "finalize_block", "commit")
"""Kill at any time, or right after the application was asked this."""
MOMENT_S_MAX = 0.004
WATCH_S_MAX = 2.0


@dataclass(slots=True)
class Tally:
    """What a campaign did and found. ``lost`` and ``half`` must stay empty."""

    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    blocks: int = 0
    transactions: int = 0
    proven: int = 0
    unproven: int = 0
    sent_again: int = 0
    replayed: int = 0
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{name} {self.kills[name]}" for name in VICTIMS)
        return (
            f"{self.kills.total()} kills ({kills}) in {self.seconds:.0f} s: {self.blocks} blocks, "
            f"{self.transactions} transactions, {self.proven} proven receipts, {self.unproven} found in the "
            f"chain only, {self.sent_again} sent again, {self.replayed} blocks executed without a proposal; "
            f"lost {len(self.lost)}, half done {len(self.half)}, order broken {len(self.order)}"
        )


class Campaign:
    """One validator under load and under fire."""

    def __init__(self, folder: Path, seed: int) -> None:
        localnet = Localnet(folder, CHAIN_ID, 1, free_base(2), timing=FAST)
        (planned,) = write_localnet(localnet, time.time_ns(), genesis_document())
        self._spec: NodeSpec = planned.spec
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._node = self._start()
        self._load = Load(self._spec, folder)
        self.tally = Tally()

    def run(self, kills: int) -> Tally:
        """Kill so many times, then judge."""
        begun = time.monotonic()
        try:
            until("the first block", lambda: self._node.height() >= 1, self._node)
            self._load.start()
            spared = 0
            for _ in range(kills):
                time.sleep(self._chance.uniform(0, PAUSE_S_MAX))
                self._await_moment()
                victim = "supervisor" if spared >= DEATHS_IN_A_ROW else self._chance.choice(VICTIMS)
                spared = 0 if victim == "supervisor" else spared + 1
                self._kill(victim)
                assert not self._load.failures, self._load.failures
            # Enough to judge, however slow the machine.
            until("a receipt for each kill", lambda: len(self._load.proven) >= kills, self._node)
            self._load.stop()
            last = self._node.height()
            until("the proof of the last block", lambda: self._node.height() > last, self._node)
            blocks = [self._block(height) for height in range(1, last + 2)]
        finally:
            stop_node(self._spec.home)
            self._node.supervisor.wait(WAIT_S)
        self.tally.seconds = time.monotonic() - begun
        self._judge(blocks)
        return self.tally

    def _start(self) -> Node:
        return Node(self._spec, launch(Launch(self._spec.home, cometbft(), MODULE)))

    def _await_moment(self) -> None:
        """Wait until the application was just asked what this kill is to fall into, for some milliseconds."""
        moment = f'"{self._chance.choice(MOMENTS)}"'.encode()
        pause, deadline = self._chance.uniform(0, MOMENT_S_MAX), time.monotonic() + WATCH_S_MAX
        with (self._spec.home / RECORD).open("rb") as record:
            record.seek(0, os.SEEK_END)
            while moment != b'""' and moment not in record.read() and time.monotonic() < deadline:
                time.sleep(0.0002)
        time.sleep(pause)

    def _kill(self, victim: str) -> None:
        """Kill one process and wait until the chain goes on above where it was."""
        members = {name: self._node.member(name) for name in ("app", "cometbft")}
        self.tally.kills[victim] += 1
        if victim == "supervisor":
            self._node.supervisor.kill()
            self._node.supervisor.wait()
            until(
                "nothing left",
                lambda: not any(m and process.is_alive(m) for m in members.values()),
                self._node,
            )
            self._node = self._start()
        else:
            killed = members[victim]
            assert killed is not None
            os.kill(killed.pid, signal.SIGKILL)
            until("a new process", lambda: self._node.member(victim) not in (None, killed), self._node)
        until("the chain", lambda: self._node.height() > 0, self._node)
        height = self._node.height()
        until("the chain going on", lambda: self._node.height() > height, self._node)

    def _block(self, height: int) -> Any:
        return self._node.rpc(f"block?height={height}")["block"]

    def _judge(self, blocks: list[Any]) -> None:
        with Store.open(self._spec.paths.application) as store:
            disk = store.committed.height, store.committed.app_hash
        load, tally = self._load, self.tally
        genesis = genesis_bytes(genesis_document())
        document = json.loads(self._spec.paths.genesis.read_bytes())
        found = judge(Evidence(CHAIN_ID, genesis, blocks, disk, load.proven, load.unproven, document))
        tally.blocks, tally.transactions = len(blocks), found.transactions
        tally.lost, tally.half = found.lost, found.half
        tally.proven, tally.unproven, tally.sent_again = len(load.proven), len(load.unproven), load.again
        record = Grammar.judge(read_record(self._spec.home))
        tally.order, tally.replayed = record.violations, record.seen["replayed"]


def main(kills: int = KILLS, seed: int = 1) -> int:
    """Run a campaign; give the exit status."""
    with tempfile.TemporaryDirectory(prefix="conclave-crash-") as folder:
        tally = Campaign(Path(folder), seed).run(kills)
    sys.stdout.write(f"seed {seed}: {tally}\n")
    for what in (*tally.lost, *tally.half, *tally.order):
        sys.stdout.write(f"  {what}\n")
    return 1 if tally.lost or tally.half or tally.order else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
