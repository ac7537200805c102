"""A bridge that writes down when it does what: the timeline of figure P2.

Runs ``conclave`` with the arguments it is given, the steps between a block and its objects wrapped. Promises
to change nothing of what they do. Each span is one JSON line ``[step, began, ended]`` in the file that the
environment's ``SPANS`` names, in seconds of the machine's monotonic clock, which other processes share.

    SPANS=spans.jsonl python -m bench.traced_bridge --home HOME bridge east
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conclave.__main__ import main
from consensus import reader, rpc, trust_store, witness
from k8s_bridge import client, connection, loop, reconcile, source, state_file, store

FILE_ENV = "SPANS"

STEPS: tuple[tuple[object, str, str], ...] = (
    (loop.Loop, "_look", "look"),
    (loop.Loop, "_reconcile", "reconcile"),
    (reader.VerifiedReader, "newest_height", "newest height asked"),
    (reader.VerifiedReader, "at", "header"),
    (witness, "walk", "header walked"),
    (witness.Panel, "_cross_check", "header witnessed"),
    (trust_store.TrustStore, "save", "header kept"),
    (rpc.RpcClient, "_exchange", "node asked"),
    (source.LedgerSource, "_release", "release read"),
    (store.InventoryStore, "load", "inventories read"),
    (store.InventoryStore, "save", "inventory written"),
    (reconcile, "observe", "observed"),
    (reconcile, "plan", "planned"),
    (reconcile, "carry_out", "carried out"),
    (client.KubernetesClient, "get", "object read"),
    (client.KubernetesClient, "apply", "object applied"),
    (connection.Connection, "ask", "request"),
    (state_file.StateFile, "write", "account written"),
)
"""Owner, name and step of what is wrapped."""


def wrapped(step: str, work: Callable[..., Any], write: Callable[[str], object]) -> Callable[..., Any]:
    """Give ``work`` with its times written down."""

    @functools.wraps(work)
    def timed(*words: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return work(*words, **named)
        finally:
            write(json.dumps([step, began, time.monotonic()]) + "\n")

    return timed


def run() -> None:
    """Wrap the steps, then be ``conclave``."""
    file = Path(os.environ[FILE_ENV]).open("a", buffering=1)  # noqa: SIM115  as long as the process
    for owner, name, step in STEPS:
        setattr(owner, name, wrapped(step, getattr(owner, name), file.write))
    main()


if __name__ == "__main__":
    run()
