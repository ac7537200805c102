"""kill -9 while a snapshot is being restored: an empty state that can begin again, never a part of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from state.batch import Committed
from state.store import Store
from state.tree import Tree
from tests.unit.state.chain import content_at

ROOT = Path(__file__).resolve().parents[2]
HEIGHT = 12
RESTORE_FOR_EVER = """
import sys
import state.store
from state.batch import Committed
from state.store import Store
from state.tree import Tree
state.store.RESTORE_BATCH_BYTES = 1000
def pairs():
    for number in range(10**9):
        print(number, flush=True)
        yield b"restored/%09d" % number, b"x" * 100
with Store.open(sys.argv[1]) as store:
    store.restore(Committed(12, Tree(), 1), pairs())
"""


@pytest.mark.requires("state.snapshot-atomic")
@pytest.mark.parametrize("records", [1, 100, 2000])
def test_a_killed_restore_leaves_an_empty_state(tmp_path: Path, records: int) -> None:
    command = [sys.executable, "-c", RESTORE_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as restoring:
        assert restoring.stdout is not None
        for line in restoring.stdout:
            if int(line) == records:
                restoring.kill()
                break
    with Store.open(tmp_path) as store:
        assert store.committed == Committed()
        frozen = store.freeze()
        assert list(frozen.pairs()) == []
        frozen.close()
        content = content_at(HEIGHT)
        store.restore(Committed(HEIGHT, Tree.build(content.items()), 1), sorted(content.items()))
    with Store.open(tmp_path) as store:
        assert store.committed.app_hash == Tree.build(content.items()).root
