"""``conclave up``: validators, clusters and bridges in the background.

Owns the order of the start and what counts as ready: blocks are made and every bridge has had its first
look. Promises that a failure names the process and its last log lines, and stops what this call started;
what ran before goes on.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click

from conclave import processes
from conclave.command import Session, verb
from conclave.first_look import PAUSE_SECONDS, TROUBLE_SECONDS, FirstLook
from conclave.free_ports import keep_for_devkube
from conclave.home import Home, load
from conclave.programs import Tool, program
from consensus.http import Limits
from consensus.rpc import RpcClient
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused

BLOCKS_SECONDS = 60.0
CLUSTER_SECONDS = 150.0
BRIDGE_SECONDS = 60.0
_QUICK = Limits(exchange_seconds=2.0)
"""Whoever sits on a node's port and says nothing must not keep us waiting."""
YOUNG_SECONDS = 30
"""Half of what a reader takes for stale: what is read right after the start must not be."""
FIRST_HEIGHT = 2
"""The state of block 1 is proven by block 2."""


@dataclass(slots=True)
class _Start:
    """What this call has started so far."""

    session: Session
    home: Home
    names: list[str] = field(default_factory=list)

    def process(self, name: str, argv: list[str], log: Path) -> None:
        """Start one process unless it runs."""
        if processes.start(name, argv, run=self.home.run, log=log):
            self.names.append(name)
            self.session.output.note(f"started {name}")
        else:
            self.session.output.note(f"{name} runs already")

    def undo(self) -> None:
        """Stop what this call started, the last first."""
        for name in reversed(self.names):
            processes.stop(self.home.run, name)


@verb(
    "up",
    "conclave up",
    "KUBECONFIG=~/.kube/config conclave up",
    "conclave up --kubeconfig east=./east.yaml --kubeconfig west=./west.yaml",
    "conclave up --no-bridges",
)
@click.option(
    "--kubeconfig",
    "kubeconfigs",
    multiple=True,
    metavar="[CLUSTER=]FILE",
    help="Use this cluster instead of a devkube [KUBECONFIG].",
)
@click.option("--no-bridges", is_flag=True, help="Start the validators only.")
def command(session: Session, kubeconfigs: tuple[str, ...], *, no_bridges: bool) -> None:
    """Start validators, clusters and bridges in the background, and wait until they are ready.

    A cluster without a kubeconfig is stood for by a devkube: a real API server on this machine whose one
    node is simulated. Stop everything with: conclave down.
    """
    home = load(session.home)
    given = {} if no_bridges else _kubeconfigs(home, kubeconfigs)
    cometbft = program(Tool.COMETBFT, session.output.note)
    needs_devkube = not no_bridges and any(cluster not in given for cluster in home.clusters)
    devkube = program(Tool.DEVKUBE, session.output.note) if needs_devkube else None
    start = _Start(session, home)
    try:
        _start_nodes(start, cometbft)
        if not no_bridges:
            given |= _start_clusters(start, devkube, given)
        _await_blocks(start)
        if not no_bridges:
            _start_bridges(start, given)
    except BaseException:
        start.undo()
        raise
    _tell(session, home, given)


def _start_nodes(start: _Start, cometbft: Path) -> None:
    for folder in start.home.nodes():
        argv = [
            sys.executable,
            "-m",
            "consensus.node",
            "--home",
            str(folder.absolute()),
            "--cometbft",
            str(cometbft),
        ]
        start.process(f"node-{folder.name[4:]}", argv, _node_log(folder))


def _start_clusters(start: _Start, devkube: Path | None, given: dict[str, Path]) -> dict[str, Path]:
    made: dict[str, Path] = {}
    for cluster in start.home.clusters:
        if cluster in given or devkube is None:
            continue
        folder = start.home.devkube(cluster)
        keep_for_devkube(folder, _node_ports(start.home))
        log = folder.parent / f"{cluster}.log"
        seen = _count_ready(log)
        before = len(start.names)
        start.process(f"cluster-{cluster}", [str(devkube), "up", "--dir", str(folder.absolute())], log)
        if len(start.names) > before:
            processes.wait_until(
                lambda log=log, seen=seen: _count_ready(log) > seen,  # type: ignore[misc]
                name=f"cluster-{cluster}",
                run=start.home.run,
                log=log,
                seconds=CLUSTER_SECONDS,
                what="a devkube that says it is ready",
            )
        made[cluster] = folder / "kubeconfig"
    return made


def _node_ports(home: Home) -> set[int]:
    """Give the ports of the validators, which may not listen yet: p2p comes just before RPC."""
    rpc = {urlsplit(endpoint).port or 0 for endpoint in home.endpoints}
    return rpc | {port - 1 for port in rpc}


def _await_blocks(start: _Start) -> None:
    """Wait until every validator here has made the block that proves the first state."""
    what = "a validator that makes blocks"
    run, logs = start.home.run, {f"node-{path.name[4:]}": _node_log(path) for path in start.home.nodes()}

    def makes_blocks(rpc: RpcClient) -> bool:
        # A chain stands still when any validator too many is gone: look at all of them, not at one.
        for name, log in logs.items():
            processes.require_running(name, run=run, log=log, what=what)
        return _makes_blocks(rpc, start.home.chain_id)

    for name, log in logs.items():
        rpc = RpcClient(start.home.endpoints[int(name.removeprefix("node-"))], _QUICK)
        try:
            ready = functools.partial(makes_blocks, rpc)
            processes.wait_until(ready, name=name, run=run, log=log, seconds=BLOCKS_SECONDS, what=what)
        finally:
            rpc.close()
    start.session.output.note(f"{len(logs)} validators make blocks")


def _node_log(folder: Path) -> Path:
    return folder / "log" / "node.log"


def _start_bridges(start: _Start, kubeconfigs: dict[str, Path]) -> None:
    for cluster in start.home.clusters:
        folder = start.home.bridge(cluster)
        argv = [
            sys.executable,
            "-m",
            "conclave",
            "--home",
            str(start.home.path.absolute()),
            "bridge",
            cluster,
        ]
        status, patience_s = folder / "bridge-status.json", TROUBLE_SECONDS
        if processes.is_running(start.home.run, f"bridge-{cluster}"):
            patience_s += PAUSE_SECONDS
        else:
            status.unlink(missing_ok=True)
        log = folder / "log" / "bridge.log"
        start.process(f"bridge-{cluster}", [*argv, "--kubeconfig", str(kubeconfigs[cluster].absolute())], log)
        processes.wait_until(
            FirstLook(status, patience_s),
            name=f"bridge-{cluster}",
            run=start.home.run,
            log=log,
            seconds=BRIDGE_SECONDS,
            what="a bridge that has verified a header and reached its cluster",
        )
        start.session.output.note(f"bridge of {cluster} is ready")


def _makes_blocks(rpc: RpcClient, chain_id: str) -> bool:
    """Tell whether a node of this ledger, not of another on its port, has a young block that proves."""
    try:
        status = rpc.status()
    except ConclaveError:
        return False
    is_young = time.time_ns() - status.time_ns < YOUNG_SECONDS * 10**9
    return status.chain_id == chain_id and status.height >= FIRST_HEIGHT and is_young


def _count_ready(log: Path) -> int:
    try:
        return log.read_bytes().count(b"devkube ready ")
    except OSError:
        return 0


def _kubeconfigs(home: Home, texts: tuple[str, ...]) -> dict[str, Path]:
    """Read ``--kubeconfig``, else KUBECONFIG, into a file for each cluster.

    Raises:
        Refused: NAME_UNKNOWN. EnvironmentFault: KUBECONFIG_INVALID for a file that is not there.
    """
    environment = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    found: dict[str, Path] = {}
    for text in texts or ([environment] if environment else []):
        cluster, equals, path = text.partition("=")
        if equals and cluster not in home.clusters:
            raise Refused(
                Code.NAME_UNKNOWN,
                got=f"cluster {cluster}",
                expected=", ".join(home.clusters),
                todo="see --help",
            )
        file = Path(path if equals else text)
        if not file.is_file():
            raise EnvironmentFault(
                Code.KUBECONFIG_INVALID,
                got=f"{file}: no such file",
                expected="a kubeconfig file",
                todo="check the path, or leave it out (and unset KUBECONFIG) to have a devkube made",
                file=str(file),
            )
        found |= {cluster: file} if equals else dict.fromkeys(home.clusters, file)
    return found


def _tell(session: Session, home: Home, kubeconfigs: dict[str, Path]) -> None:
    running = processes.running(home.run)
    shown = {cluster: str(path) for cluster, path in kubeconfigs.items()}
    if session.output.document({"running": running, "endpoints": list(home.endpoints), "kubeconfigs": shown}):
        return
    session.output.line(f"{home.chain_id} is up: {', '.join(running)}", "bold")
    for cluster, path in shown.items():
        session.output.line(f"cluster {cluster}: export KUBECONFIG={path}")
    session.output.line("next: conclave propose SOURCE --as NAME; stop with: conclave down")
