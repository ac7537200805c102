"""``kill -9`` while a process adds to its trust store: what it was told is kept is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.trust_store import TrustStore
from tests.support.chain import Chain, signers

ROOT = Path(__file__).resolve().parents[2]
_WRITER = """
import itertools, sys
from pathlib import Path
import consensus.trust_store as stores
from tests.support.chain import Chain, set_of, signers
stores.ENTRIES_MAX = 5
members = signers("a", "b", "c", "d")
chain = Chain(members)
root = stores.TrustRoot(chain.chain_id, 1, None, set_of(members))
store = stores.TrustStore(Path(sys.argv[1]))
begun = store.ensure(root).newest
for height in itertools.count(1):
    chain.append()
    if begun is None or height > begun.height:
        store.save(stores.TrustState(root, chain.trusted(height), height))
        # Long lines: who reads late holds it up soon, and need not follow it through thousands of blocks.
        print(height, " " * 2000, flush=True)
"""


@pytest.mark.requires("trust.killed")
def test_a_killed_writer_has_lost_nothing_it_was_told_is_kept(tmp_path: Path) -> None:
    file, kept = tmp_path / "trust.json", 0
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    chain = Chain(signers("a", "b", "c", "d"))
    for kill_after in (1, 2, 7, 12, 30):
        argv = [sys.executable, "-c", _WRITER, str(file)]
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(kill_after):
                kept = int(writer.stdout.readline())
            writer.kill()
            told = writer.stdout.read().split()
        kept = int(told[-1]) if told else kept
        state = TrustStore(file).load()
        assert state is not None
        assert state.newest is not None
        assert kept <= state.newest.height <= kept + 1
        while chain.height < state.newest.height:
            chain.append()
        assert state.newest == chain.trusted(state.newest.height)
        assert len(TrustStore(file).history()) <= 6
