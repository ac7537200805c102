"""What processes take: memory and processor time, read from /proc.

Owns the reading of ``smaps_rollup``, ``stat`` and ``net/tcp``, and the grouping of processes by what they
are. A process that ends meanwhile is left out.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_NODE = re.compile(r"/nodes/(node[0-9]+)")
_KUBE = re.compile(r"/kube[0-9]+")
_ESTABLISHED = "01"


def memory(pids: Iterable[int]) -> tuple[list[float], list[float]]:
    """Give the proportional set size and what is private of each process, in MB."""
    pss, private = [], []
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        pss.append(kib["Pss"] * 1024 / 1e6)
        private.append((kib["Private_Clean"] + kib["Private_Dirty"]) * 1024 / 1e6)
    return pss, private


def cpu_s(pid: int) -> float:
    """Give the processor time a process has taken, in seconds; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Groups:
    """Processor time since this was made: of the bridges, of each node, of each API server with its etcd."""

    def __init__(self, folder: Path, bridges: list[int]) -> None:
        self._folder, self._bridges = str(folder), bridges
        self._began, self._before = time.monotonic(), self._now()

    def line(self) -> str:
        """Give the shares of one core, and of one bridge."""
        seconds, now = time.monotonic() - self._began, self._now()
        shares = {name: (now[name] - self._before.get(name, 0.0)) / seconds for name in sorted(now)}
        shown = " ".join(f"{name}={100 * share:.1f}%" for name, share in shares.items())
        each = shares["bridges"] / max(1, len(self._bridges))
        return f"{shown} each={100 * each:.3f}% over {seconds:.0f} s"

    def _now(self) -> dict[str, float]:
        found = {"bridges": sum(map(cpu_s, self._bridges))}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace")
                folder = (process / "cwd").readlink()
            except OSError:
                continue
            about = f"{words} {folder}"
            named = _NODE.search(about) or _KUBE.search(about)
            if self._folder in about and named is not None and int(process.name) not in self._bridges:
                name = named[0].rpartition("/")[2]
                found[name] = found.get(name, 0.0) + cpu_s(int(process.name))
        return found


def connections(ports: list[int]) -> int:
    """Give how many connections are open to these ports of this machine."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        found += int(local.rpartition(":")[2], 16) in ports and state == _ESTABLISHED
    return found
