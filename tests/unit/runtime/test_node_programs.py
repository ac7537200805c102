"""The programs of a real node: found on the machine, or unpacked into the cache and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import node_programs
from runtime.node_programs import NodePrograms, fetch, find, unpacked
from runtime.tools import ToolError

pytestmark = pytest.mark.requires("tools.node-programs")

NAMES = ("containerd-of-this-test", "runc-of-this-test")
ALONE, LINKED = b"\x7fELF alone", b"\x7fELF /lib64/ld-linux-x86-64.so.2"
# Stand-ins that do as Debian's do: a download needs lists, and unpacking makes a tree.
APT_GET = """#!/bin/sh
echo "$*" >>{calls}
if [ "$1" = update ]; then echo lists >{lists}; exit {update}; fi
[ -e {lists} ] || {{ echo "E: Unable to locate package" >&2; exit 100; }}
echo >containerd.deb
"""
DPKG_DEB = """#!/bin/sh
echo "$*" >>{calls}
mkdir "$3" && cp -r {packed}/. "$3"
"""


class Machine:
    """A machine with some programs, an apt-get that works or not, and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.root, self.packed, self._bin = folder / "root", folder / "packed", folder / "bin"
        self.calls, self._lists = folder / "calls", folder / "lists"
        self._bin.mkdir()
        self.environ = {
            "PATH": f"{self._bin}:/usr/bin:/bin",
            "HOME": str(folder),
            "CONCLAVE_TOOLS_DIR": str(folder / "cache"),
        }

    def install_apt(self, update: int = 0) -> None:
        facts = {"calls": self.calls, "lists": self._lists, "packed": self.packed, "update": update}
        for name, script in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
            _program(self._bin / name, script.format(**facts).encode())


def _program(path: Path, content: bytes = b"#!/bin/sh\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)


def _furnish(root: Path, busybox: bytes = ALONE) -> None:
    for name in NAMES:
        _program(root / "usr/bin" / name)
    for name in ("bridge", "host-local", "loopback"):
        _program(root / "usr/lib/cni" / name)
    _program(root / "bin/busybox", busybox)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    # The machine that runs the test may have the real ones on its own PATH.
    monkeypatch.setattr(node_programs, "_ON_PATH", NAMES)
    return made


def test_the_machines_own_are_taken_and_nothing_is_fetched(machine: Machine) -> None:
    _furnish(machine.root)
    machine.install_apt()
    found = fetch(machine.environ, machine.root)
    assert found.plugins == machine.root / "usr/lib/cni"
    assert isinstance(found, NodePrograms)
    assert str(machine.root / "usr/bin") in found.path.split(":")
    assert not machine.calls.exists()


def test_packages_are_unpacked_into_the_cache_once_lists_are_there(machine: Machine) -> None:
    _furnish(machine.packed)
    machine.install_apt()
    found = fetch(machine.environ, machine.root)
    assert found.plugins == unpacked(machine.environ) / "usr/lib/cni"
    calls = [line.split()[0] for line in machine.calls.read_text().splitlines()]
    assert calls == ["download", "update", "download", "-x"]
    assert not machine.root.exists()
    assert find(machine.environ, machine.root) == found
    assert [path.name for path in unpacked(machine.environ).parent.iterdir()] == ["node-packages"]


def test_a_busybox_that_needs_a_loader_is_none(machine: Machine) -> None:
    assert not node_programs._stands_alone(machine.root / "bin/busybox")
    _furnish(machine.root, LINKED)
    assert not node_programs._stands_alone(machine.root / "bin/busybox")
    _furnish(machine.root)
    assert node_programs._stands_alone(machine.root / "bin/busybox")


@pytest.mark.parametrize("has_apt", [False, True])
def test_where_they_cannot_be_had_it_says_what_to_install(machine: Machine, has_apt: bool) -> None:
    if has_apt:
        machine.install_apt(update=100)
    else:
        machine.environ["PATH"] = str(machine.root)
    with pytest.raises(ToolError) as caught:
        fetch(machine.environ, machine.root)
    assert caught.value.code == "TOOL_NODE_MISSING"
    assert "containerd" in caught.value.todo
    assert not unpacked(machine.environ).exists()
