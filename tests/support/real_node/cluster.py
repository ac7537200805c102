"""A real API server and a real node under it: what can be started, killed and started again, and read.

Promises that everything it started is gone when its context ends, however it ends.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runtime.node_programs import NodePrograms, find
from runtime.tools import ToolError
from tests.support.devkube import Devkube, DevkubeUnavailableError
from tests.support.real_node.node import RealNode, groups


class RealPodsUnavailableError(Exception):
    """Real pods cannot run on this machine, or not by this user; the text says why."""


class RealCluster:
    """One devkube without a node of its own, and a real one."""

    def __init__(self, control: Devkube, kubeconfig: Path, node: RealNode) -> None:
        self._control, self.kubeconfig, self.node = control, kubeconfig, node

    def kill(self) -> None:
        """Kill everything of the cluster at once: control plane, node and what runs on it."""
        self._control.kill_all()
        self.node.power_off()

    def start_again(self) -> None:
        """Start what was killed, on the same disk."""
        self._control.start()
        self.node.boot()


@contextmanager
def real_cluster() -> Iterator[RealCluster]:
    """Run a cluster with a real node; its containers run in namespaces of their own.

    Raises:
        RealPodsUnavailableError: they cannot run here.
    """
    programs = _needed()
    # A short path: it holds unix sockets.
    with tempfile.TemporaryDirectory(prefix="dk-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        try:
            control = Devkube(Path(name) / "d", simulates_node=False)
            stack.callback(control.stop)
            kubeconfig = control.start()
        except DevkubeUnavailableError as error:
            raise RealPodsUnavailableError(str(error)) from error
        node = RealNode(Path(name) / "n", programs, control.program, Path(name) / "d")
        stack.callback(node.close)
        node.boot()
        yield RealCluster(control, kubeconfig, node)


def _needed() -> NodePrograms:
    if os.geteuid() != 0:
        raise RealPodsUnavailableError("real pods need root, for namespaces, mounts and cgroups")
    try:
        programs = find(os.environ)
    except ToolError as error:
        raise RealPodsUnavailableError(str(error)) from error
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        can_group = all(group.parent.is_dir() and os.access(group.parent, os.W_OK) for group in groups("dk"))
    except OSError:
        can_group = False
    if not can_group:
        raise RealPodsUnavailableError("real pods need cgroups that can be made under /sys/fs/cgroup")
    if tried.returncode:
        raise RealPodsUnavailableError(f"real pods need namespaces of their own: {tried.stderr.strip()}")
    return programs
