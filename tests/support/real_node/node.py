"""One real node: containerd and kubelet in namespaces of their own, beside a devkube that simulates none.

Promises full teardown: processes, mounts and links end with the namespaces; cgroups and what the kubelet sets
in the kernel for the whole machine are put back. The API server is reached through a relay, at the address
it has out here, so that the node's own kubeconfig holds in there, too.

Source: the devkube notes (cgroup v1, no CAP_SYS_RESOURCE, name resolution).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.node_programs import NodePrograms
from tests.support.real_node.images import PAUSE, write_images
from tests.support.real_node.room import Relay, Room, RoomError

NAME = "devkube-node"
"""As the user of the kubeconfig that a devkube writes for its node."""
ADDRESS = "10.88.0.1"
SUBNET = "10.88.0.0/24"
KUBELET_PORT = 10250
RUNTIME_S = 120.0
CGROUPS = Path("/sys/fs/cgroup")
CGROUPS_GONE_S = 60.0
SOCKET = "/run/containerd/containerd.sock"
"""Where everybody looks for it; it is in a mount namespace of its own."""
PROGRAMS = ("kubelet", "containerd")
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
_SET_BY_KUBELET = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
                   "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")  # fmt: skip


class RealNode:
    """A node on disk in ``folder``, and what of it runs."""

    def __init__(self, folder: Path, programs: NodePrograms, kubelet: Path, cluster: Path) -> None:
        """Write the node's configuration and its images.

        Args:
            folder: of a short path, for unix sockets.
            programs: of the node.
            kubelet: the devkube that has a kubelet as a sub-command.
            cluster: the folder of the devkube that runs.
        """
        self.folder, self._programs, self._kubelet = folder, programs, kubelet
        self._kubeconfig = cluster / "pki" / "node.kubeconfig"
        self._group = f"dk-{os.getpid()}-{folder.name}"
        self._room: Room | None = None
        self._relay: Relay | None = None
        self._kernel = {name: _kernel(name).read_text() for name in _SET_BY_KUBELET}
        for each in ("log", "cni"):
            (folder / each).mkdir(parents=True)
        self.image = write_images(programs.shell, folder / "images.tar")
        (folder / "containerd.toml").write_text(_runtime_configuration(folder, programs.plugins))
        (folder / "cni" / "10-node.conflist").write_text(json.dumps(_network(folder)))
        (folder / "kubelet.json").write_text(json.dumps(_kubelet_configuration(folder, self._group)))
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")

    @property
    def room(self) -> Room:
        """The namespaces, which must be there."""
        assert self._room is not None
        return self._room

    def boot(self) -> None:
        """Make the namespaces and start both programs in them.

        Raises:
            RoomError: the namespaces cannot be made, or the runtime does not come up.
        """
        for group in groups(self._group):
            group.mkdir(exist_ok=True)
        port = _port_of(self._kubeconfig)
        path = os.pathsep.join([self._programs.path, os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
        self._room = Room(path, ADDRESS, self._log("room"))
        self._relay = Relay(self._room.listen("127.0.0.1", port), port)
        self.start()

    def start(self) -> None:
        """Start the runtime and then the kubelet."""
        self.room.start(
            "containerd", "containerd", "-c", self._at("containerd.toml"), log=self._log("containerd")
        )
        self._until("containerd answers", lambda: self._ctr("version"))
        if not (self.folder / "imported").exists():
            self._ctr("images", "import", self._at("images.tar"))
            (self.folder / "imported").touch()
        self.room.start(
            "kubelet", str(self._kubelet), "kubelet", f"--config={self._at('kubelet.json')}",
            f"--kubeconfig={self._kubeconfig}", f"--root-dir={self._at('kubelet')}",
            f"--cert-dir={self._at('kubelet/pki')}", f"--hostname-override={NAME}", f"--node-ip={ADDRESS}",
            "--housekeeping-interval=1s", log=self._log("kubelet"),
        )  # fmt: skip

    def kill(self) -> None:
        """Kill runtime and kubelet at once; what they run goes on."""
        self.room.kill(*PROGRAMS)

    def power_off(self) -> None:
        """End everything that runs on the node at once; its disk stays, and nothing that is in memory."""
        if self._room is not None:
            self._room.close()
        if self._relay is not None:
            self._relay.close()
        self._room = self._relay = None
        end = time.monotonic() + CGROUPS_GONE_S
        while not _remove_groups(self._group) and time.monotonic() < end:
            time.sleep(0.05)

    def close(self) -> None:
        """Leave nothing behind but the folder."""
        self.power_off()
        for name, content in self._kernel.items():
            if _kernel(name).read_text() != content:
                _kernel(name).write_text(content)

    def said(self) -> str:
        """Give the last lines of both programs."""
        return "\n".join(f"{name}: {_tail(self._log(name))}" for name in PROGRAMS)

    def _ctr(self, *arguments: str) -> None:
        self.room.run("ctr", "-n", "k8s.io", *arguments, log=self._log("ctr"))

    def _at(self, name: str) -> str:
        return str(self.folder / name)

    def _log(self, name: str) -> Path:
        return self.folder / "log" / name

    def _until(self, what: str, attempt: Callable[[], None]) -> None:
        end = time.monotonic() + RUNTIME_S
        while True:
            with contextlib.suppress(RoomError):
                return attempt()
            if time.monotonic() > end or "containerd" not in self.room.living():
                raise RoomError(f"{what}: not within {RUNTIME_S} s; {_tail(self._log('containerd'))}")
            time.sleep(0.1)


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-1500:] if path.exists() else ""


def _kernel(name: str) -> Path:
    return Path("/proc/sys") / name


def _port_of(kubeconfig: Path) -> int:
    found = re.search(r"server: https://127\.0\.0\.1:(\d+)", kubeconfig.read_text())
    assert found is not None, kubeconfig
    return int(found[1])


def groups(name: str) -> Iterator[Path]:
    """Give the node's cgroup in every hierarchy: the kubelet wants them there before it starts."""
    if (CGROUPS / "cgroup.controllers").exists():
        yield CGROUPS / name
        return
    for hierarchy in sorted(CGROUPS.iterdir()):
        if hierarchy.is_dir() and not hierarchy.is_symlink() and hierarchy.is_mount():
            yield hierarchy / name


def _remove_groups(name: str) -> bool:
    """Remove the node's cgroups, the deepest first; tells whether all are gone."""
    for group in groups(name):
        for folder, _folders, _files in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    return not any(group.exists() for group in groups(name))


def _runtime_configuration(folder: Path, plugins: Path) -> str:
    # Copied snapshots: two megabytes each, and they work on any file system, an overlay among them.
    return f"""version = 2
root = "{folder}/containerd/root"
state = "/run/containerd"
grpc = {{address = "{SOCKET}"}}
[plugins]
  "io.containerd.internal.v1.opt" = {{path = "{folder}/containerd/opt"}}
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "{PAUSE}"
    restrict_oom_score_adj = true
    netns_mounts_under_state_dir = true
    containerd = {{snapshotter = "native", runtimes = {{runc = {{runtime_type = "io.containerd.runc.v2"}}}}}}
    cni = {{bin_dir = "{plugins}", conf_dir = "{folder}/cni"}}
"""


def _network(folder: Path) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": f"{folder}/addresses",
        "ranges": [[{"subnet": SUBNET}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "node", "plugins": [bridge]}


def _kubelet_configuration(folder: Path, group: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": KUBELET_PORT,
        "healthzPort": 0,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "podLogsDir": f"{folder}/podlogs",
        "volumePluginDir": f"{folder}/volplugins",
        "resolvConf": f"{folder}/resolv.conf",
        "clusterDNS": ["127.0.0.1"],
    }
