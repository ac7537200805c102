"""Chapter nine: a validator is killed, the ledger goes on, and the validator catches up."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from conclave.demo.stage import Stage
from consensus.rpc import RpcClient
from ledger.errors import ConclaveError
from runtime import process

VICTIM = 3


def a_validator_dies(stage: Stage) -> None:
    """``kill -9`` of one validator; three go on; restarted, it reaches the same app hash."""
    from conclave.home import load

    endpoints = load(stage.home).endpoints
    killed = _kill_validator(stage.home, VICTIM)
    stage.narrator.check(killed >= 3, f"kill -9: CometBFT, application and supervisor of node {VICTIM}")
    stage.proposed_at = time.time()
    answer = stage.conclave("propose", *stage.source("guestbook-v2"), "--as", "alice")
    number = str(answer["number"])
    stage.conclave("approve", number, "--as", "bob")
    answer = stage.conclave("approve", number, "--as", "carol")
    stage.narrator.check(answer["state"] == "final", "the next release becomes final with three validators")
    stage.wait_applied(answer["revision"])
    revision = answer["revision"]
    stage.measure(f"guestbook revision {revision}, 3 of 4 validators", revision, answer["height"])
    stage.narrator.check(True, f"and revision {revision} is applied")
    stage.conclave("up", *stage.cluster_options())
    one, other = RpcClient(endpoints[0]), RpcClient(endpoints[VICTIM])
    try:
        seconds = stage.until("the validator catches up", lambda: _height(other) >= _height(one) > 0)
        height = min(_height(one), _height(other))
        hashes = {rpc.light_block(height).header.app_hash for rpc in (one, other)}
    finally:
        one.close()
        other.close()
    stage.narrator.check(
        len(hashes) == 1, f"restarted, it caught up in {seconds:.1f} s: same app hash at height {height}"
    )


def _height(rpc: RpcClient) -> int:
    try:
        return rpc.status().height
    except ConclaveError:
        return 0


def _kill_validator(home: Path, number: int) -> int:
    """Kill a validator's supervisor and all its children; give how many processes died."""
    named = process.read_pid_file(home / "run" / f"node-{number}.json")
    if named is None:
        return 0
    children = [
        int(pid)
        for task in Path(f"/proc/{named.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    for pid in (named.pid, *children):
        # The kernel kills the children when the supervisor is gone, perhaps before we do.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return 1 + len(children)
