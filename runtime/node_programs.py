"""The programs of a real node: a container runtime, network plugins and a shell that stands alone.

Owns where they are found (the machine, else a folder of the tools' cache) and how that folder is filled from
Debian's packages. Promises that nothing is installed: packages are unpacked, no service starts, no file
outside the cache changes. Only tests of real pods need them; whoever lacks them is told what to do.
It never runs what it finds. The kubelet is a part of devkube.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.tools import ToolError, tools_folder

PACKAGES = ("containerd", "runc", "containernetworking-plugins", "busybox-static")
_ON_PATH = ("containerd", "containerd-shim-runc-v2", "ctr", "runc")
_PLUGINS = ("bridge", "host-local", "loopback")
_FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_COMMAND_SECONDS_MAX = 300
_ELF_HEAD_BYTES = 8192


@dataclass(frozen=True, slots=True)
class NodePrograms:
    """Where a node's programs are.

    Attributes:
        path: the folders that hold containerd, its shim, ctr and runc, as PATH has them.
        plugins: the folder of the network plugins.
        shell: a busybox that needs no library.
    """

    path: str
    plugins: Path
    shell: Path


def find(environ: Mapping[str, str], machine: Path = Path("/")) -> NodePrograms:
    """Give the programs, the machine's own or those unpacked before.

    Args:
        environ: PATH, and where the tools' cache is.
        machine: the root of its file system.

    Raises:
        ToolError: ``TOOL_NODE_MISSING`` names what is neither here nor there.
    """
    missing: list[str] = []
    for root, path in ((machine, environ.get("PATH", "")), (unpacked(environ), "")):
        found = _look(root, path)
        if isinstance(found, NodePrograms):
            return found
        missing = missing or found
    raise ToolError(
        "TOOL_NODE_MISSING",
        got=f"no {', '.join(missing)}",
        expected="the programs of a node, for tests of real pods",
        todo=f"run `make tools` on Debian or Ubuntu, or install {' '.join(PACKAGES)}",
    )


def unpacked(environ: Mapping[str, str]) -> Path:
    """Give the folder that packages are unpacked into, whether or not it is there."""
    return tools_folder(environ) / "node-packages"


def fetch(environ: Mapping[str, str], machine: Path = Path("/")) -> NodePrograms:
    """Give the programs; where they are not here, from Debian's packages, verified by apt and unpacked.

    Takes what ``find`` takes.

    Raises:
        ToolError: ``TOOL_NODE_MISSING`` says why they cannot be had.
    """
    try:
        return find(environ, machine)
    except ToolError:
        target = unpacked(environ)
    if all(shutil.which(program, path=environ.get("PATH")) for program in ("apt-get", "dpkg-deb")):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="node-packages-") as scratch:
            _unpack(Path(scratch), environ)
            shutil.rmtree(target, ignore_errors=True)
            (Path(scratch) / "tree").rename(target)
    return find(environ, machine)


def _unpack(scratch: Path, environ: Mapping[str, str]) -> None:
    download = ["apt-get", "download", "-qq", *PACKAGES]
    try:
        _run(download, scratch, environ)
    except ToolError:
        # A fresh machine has no lists of packages yet, or old ones.
        _run(["apt-get", "update", "-qq"], scratch, environ)
        _run(download, scratch, environ)
    for package in sorted(scratch.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), "tree"], scratch, environ)


def _look(root: Path, path: str) -> NodePrograms | list[str]:
    """Give the programs on ``path`` or under ``root``, or the names of those that are not there."""
    folders = [folder for folder in path.split(os.pathsep) if folder]
    folders += [str(root / folder) for folder in _FOLDERS]
    path = os.pathsep.join(folders)
    missing = [name for name in _ON_PATH if shutil.which(name, path=path) is None]
    plugins = [root / place for place in ("usr/lib/cni", "opt/cni/bin")]
    plugins = [folder for folder in plugins if all(os.access(folder / name, os.X_OK) for name in _PLUGINS)]
    shells = [shell for shell in (Path(folder) / "busybox" for folder in folders) if _stands_alone(shell)]
    if not plugins:
        missing.append("network plugins")
    if not shells:
        missing.append("static busybox")
    return missing or NodePrograms(path, plugins[0], shells[0])


def _stands_alone(program: Path) -> bool:
    """Whether a program needs no loader: it shall run in an image that holds nothing else."""
    try:
        with program.open("rb") as file:
            head = file.read(_ELF_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(b"\x7fELF") and b"/ld-" not in head


def _run(command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
    program = shutil.which(command[0], path=environ.get("PATH")) or command[0]
    try:
        subprocess.run(
            [program, *command[1:]], cwd=cwd, env=dict(environ), capture_output=True, text=True, check=True,
            timeout=_COMMAND_SECONDS_MAX,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise ToolError(
            "TOOL_NODE_MISSING",
            got=f"{' '.join(command)}: {said[-1] if said else error}",
            expected="Debian's packages of a container runtime, for tests of real pods",
            todo=f"install {' '.join(PACKAGES)} by hand; without them these tests are skipped",
        ) from error


def main() -> int:
    """Find or unpack the programs; say so, and end well either way: only tests of real pods need them."""
    try:
        found = fetch(os.environ)
    except ToolError as error:
        sys.stderr.write(f"{error}\n")
        return 0
    containerd = shutil.which("containerd", path=found.path)
    sys.stdout.write(f"containerd\t{containerd}\nplugins\t{found.plugins}\nbusybox\t{found.shell}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
